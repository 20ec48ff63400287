"""What a plugin that is not there, or cannot be used, means at its place in a user's file.

Engines are in `compute`, kinds of transforms in `transforms`.
"""

from __future__ import annotations

from collections.abc import Sequence

from floe_core import plugins
from floe_core.compiler.findings import from_finding
from floe_core.compiler.load import Loaded
from floe_core.diagnostics import Diagnostic, FieldPath, Report, did_you_mean
from floe_core.entry_points import blamed
from floe_core.errors import PluginError
from floe_core.observability import DEFAULT_EXPORTER
from floe_core.plugins import Finding
from floe_core.schemas.platform import PlatformSpec, Security
from floe_core.secrets import DEFAULT_BACKENDS
from floe_core.source import Source


def unusable(source: Source, at: FieldPath, problem: PluginError) -> Diagnostic:
    """Say where a plugin is needed that cannot be used."""
    return source.diagnostic(problem.code, at, problem.message, help=problem.help)


def check_catalogs(loaded: Loaded, used: str, report: Report) -> None:
    """Check each catalog of platform.yaml by its plugin.

    Args:
        loaded: The files.
        used: Name of the product's catalog; a plugin of another that cannot be used is no matter.
        report: Takes what is found.
    """
    source, platform = loaded.platform_source, loaded.platform
    if source is None or platform is None:
        return
    for name, catalog in platform.catalogs.items():
        at = ("catalogs", name)
        try:
            client = plugins.catalog_client(catalog.type)
            with blamed(plugins.CATALOGS, catalog.type):
                findings = () if client is None else client.check(catalog)
        except PluginError as problem:
            if name == used:
                report.add(unusable(source, (*at, "type"), problem))
            continue
        if client is None:
            what = "kind of catalog"
            report.add(_unknown(source, (*at, "type"), what, catalog.type, plugins.CATALOGS))
            continue
        _add(source, at, findings, report)
        if not client.nests_namespaces:
            _check_namespaces(source, platform, name, report)


def _check_namespaces(source: Source, platform: PlatformSpec, catalog: str, report: Report) -> None:
    for name, layer in platform.layers.items():
        if layer.catalog == catalog and "." in (layer.namespace or ""):
            report.add(
                source.diagnostic(
                    "FLOE-G004",
                    ("layers", name, "namespace"),
                    f"`{layer.namespace}` has several parts, but in a catalog of type "
                    f"`{platform.catalogs[catalog].type}` a namespace has one",
                    help=f"write `{str(layer.namespace).replace('.', '_')}`",
                )
            )


def check_exporter(loaded: Loaded, platform: PlatformSpec, report: Report) -> None:
    """Check `observability.tracing` by the plugin of its exporter."""
    source = loaded.platform_source
    tracing = platform.observability.tracing if platform.observability else None
    if source is None or tracing is None:
        return
    at = ("observability", "tracing")
    name = tracing.exporter or DEFAULT_EXPORTER
    try:
        exporter = plugins.telemetry_exporter(name)
        with blamed(plugins.TELEMETRY, name):
            findings = () if exporter is None else exporter.check(tracing)
    except PluginError as problem:
        report.add(unusable(source, (*at, "exporter"), problem))
        return
    if exporter is None:
        where = (*at, "exporter")
        report.add(_unknown(source, where, "exporter", name, plugins.TELEMETRY))
        return
    _add(source, at, findings, report)


def check_secret_backends(loaded: Loaded, platform: PlatformSpec, report: Report) -> None:
    """Check that each secret backend is installed."""
    source = loaded.platform_source
    if source is None:
        return
    for number, name in enumerate(secret_backends(platform.security)):
        at: FieldPath = ("security", "secret_backends", number)
        if at not in source.places:
            at = ("security", "secret_backends", "primary")
        try:
            is_installed = plugins.secret_backend(name) is not None
        except PluginError as problem:
            report.add(unusable(source, at, problem))
            continue
        if not is_installed:
            report.add(_unknown(source, at, "secret backend", name, plugins.SECRETS))


def secret_backends(security: Security | None) -> tuple[str, ...]:
    """Names of the backends that secrets are looked up in, in order."""
    if security is None or not security.secret_backends:
        return DEFAULT_BACKENDS
    if isinstance(security.secret_backends, tuple):
        return security.secret_backends
    return (security.secret_backends.primary,)


def _unknown(source: Source, at: FieldPath, what: str, name: str, group: str) -> Diagnostic:
    return source.diagnostic(
        "FLOE-G003",
        at,
        f"there is no {what} named `{name}`",
        help=did_you_mean(name, plugins.names(group), "installed")
        + f"; others come with a package that registers them under `{group}`",
    )


def _add(source: Source, at: FieldPath, findings: Sequence[Finding], report: Report) -> None:
    for finding in findings:
        report.add(from_finding(source, at, finding))
