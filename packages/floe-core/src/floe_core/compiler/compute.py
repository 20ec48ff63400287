"""The engines of platform.yaml: their adapters and connection properties."""

from __future__ import annotations

from floe_core import plugins
from floe_core.compiler.findings import from_finding
from floe_core.compiler.load import Loaded
from floe_core.compiler.plugins import unusable
from floe_core.compiler.wording import Wrong, describe_value, following, rewrite
from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Report,
    did_you_mean,
    near_miss,
)
from floe_core.entry_points import blamed
from floe_core.errors import PluginError
from floe_core.plugins import (
    ComputeTarget,
    Property,
)
from floe_core.schemas.platform import (
    ComputeProfile,
)
from floe_core.schemas.secret import SecretRef
from floe_core.source import Source


def check_compute_entries(loaded: Loaded, used: str, report: Report) -> None:
    """Check the properties of every engine of platform.yaml that floe knows.

    Args:
        loaded: The files.
        used: Name of the product's engine; a plugin of another that cannot be used is no matter.
        report: Takes what is found.
    """
    source = loaded.platform_source
    if source is None or loaded.platform is None:
        return
    for name, compute in loaded.platform.compute.items():
        try:
            target = plugins.compute_target(compute.type)
        except PluginError:
            continue  # it is reported if the product uses it
        if target is None:
            continue
        at = ("compute", name)
        try:
            check_compute(source, at, compute, target, report)
        except PluginError as problem:
            if name == used:
                report.add(unusable(source, (*at, "type"), problem))


def check_compute(
    source: Source, at: FieldPath, compute: ComputeProfile, target: ComputeTarget, report: Report
) -> None:
    """Check connection properties by name and type, then by the engine's own rules."""
    known = target.properties
    for key, value in compute.properties.items():
        where = (*at, "properties", key)
        if key not in known:
            report.add(
                source.diagnostic(
                    "FLOE-R002",
                    where,
                    f"`{compute.type}` has no connection property `{key}`",
                    help=did_you_mean(key, known, "properties"),
                    on_key=True,
                )
            )
        elif not _fits(value, known[key]):
            report.add(_wrong_property(source, where, value, known[key]))
    unknown = compute.properties.keys() - known.keys()
    is_partial = any(path[: len(at)] == at for path in source.left_out)
    if is_partial or any(near_miss(key, known) for key in unknown):
        return  # what seems to be missing may be what is wrong or misspelled
    for key, definition in known.items():
        if definition.is_required and key not in compute.properties:
            report.add(
                source.diagnostic(
                    "FLOE-S002",
                    (*at, "properties"),
                    f"is required by `{compute.type}`",
                    help=f"add `{key}:`: {following(definition.description)}",
                    missing=key,
                )
            )
    with blamed(plugins.TARGETS, compute.type):
        findings = target.check(compute)
    for finding in findings:
        report.add(from_finding(source, at, finding))


def _wrong_property(
    source: Source, where: FieldPath, value: object, definition: Property
) -> Diagnostic:
    expected = _type_words(definition)
    wrong = Wrong(kind="", context={}, text="", value=value, raw=source.text(where))
    return source.diagnostic(
        "FLOE-S003",
        where,
        f"must be {expected}, not {describe_value(value)}",
        help=rewrite(expected, wrong) or following(definition.description),
    )


def _fits(value: object, definition: Property) -> bool:
    types = definition.type if isinstance(definition.type, tuple) else (definition.type,)
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, int) and float in types:
        return True
    return isinstance(value, types)


_TYPE_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "`true` or `false`",
    list: "a list",
    dict: "keys and values",
    SecretRef: "a reference to a secret",
}


def _type_words(definition: Property) -> str:
    types = definition.type if isinstance(definition.type, tuple) else (definition.type,)
    return " or ".join(_TYPE_WORDS.get(type_, type_.__name__) for type_ in types)


def report_no_adapter(
    loaded: Loaded, name: str, type_: str, target: ComputeTarget | None, report: Report
) -> None:
    """Say what to install for an engine that has no adapter here."""
    at = ("compute", name, "type")
    source = loaded.platform_source or loaded.floe_source
    if target is not None:
        report.add(
            source.diagnostic(
                "FLOE-R003",
                at,
                f"no adapter for `{type_}`: {target.distribution} is not installed",
                help=f"install it: `pip install {target.distribution}`",
            )
        )
        return
    report.add(
        source.diagnostic(
            "FLOE-R003",
            at,
            f"no adapter for `{type_}`",
            help=did_you_mean(type_, plugins.names(plugins.TARGETS), "installed")
            + "; others come with a package that registers them under `floe.targets`",
        )
    )
