"""What `observability` of both files says that cannot work, or that has no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from floe_core.compiler.findings import from_finding
from floe_core.compiler.load import Loaded
from floe_core.compiler.plugins import check_exporter
from floe_core.diagnostics import Report
from floe_core.observability import OWN_ATTRIBUTES, is_header_value
from floe_core.plugins import Finding
from floe_core.schemas.observability import Lineage, PlatformObservability, Sampling, Tls, Tracing
from floe_core.schemas.platform import PlatformSpec
from floe_core.schemas.secret import SecretRef
from floe_core.source import Source
from floe_core.urls import is_unencrypted, is_url

_CANNOT = "FLOE-G004"
_PLAIN = "FLOE-G005"
_OWN_ATTRIBUTE = "FLOE-G007"


def check_observability(loaded: Loaded, platform: PlatformSpec, report: Report) -> None:
    """Check `observability` of both files."""
    check_exporter(loaded, platform, report)
    source, written = loaded.platform_source, platform.observability
    if source is not None and written is not None and not _is_broken(source):
        for finding in _findings(written):
            report.add(from_finding(source, ("observability",), finding))
    product = loaded.floe.observability if loaded.floe else None
    for name in product.attributes if product else ():
        if name in OWN_ATTRIBUTES:
            report.add(
                loaded.floe_source.diagnostic(
                    _OWN_ATTRIBUTE,
                    ("observability", "attributes", name),
                    "is an attribute that floe sets itself",
                    help="remove it",
                    on_key=True,
                )
            )


def _is_broken(source: Source) -> bool:
    """Whether a value was reported and taken out, so that what depends on it cannot be judged."""
    return any(path[:1] == ("observability",) for path in source.left_out)


def move_files(written: PlatformObservability, move: Callable[[str], str]) -> PlatformObservability:
    """The same with the paths of its files moved."""
    tracing, lineage = written.tracing, written.lineage
    if tracing is not None and tracing.tls is not None:
        files = {name: move(path) for name, path in tracing.tls if path is not None}
        tls = tracing.tls.model_copy(update=files)
        written = written.model_copy(update={"tracing": tracing.model_copy(update={"tls": tls})})
    if lineage is not None and lineage.path is not None:
        moved = lineage.model_copy(update={"path": move(lineage.path)})
        written = written.model_copy(update={"lineage": moved})
    return written


def _findings(written: PlatformObservability) -> Iterator[Finding]:
    if written.tracing is not None:
        yield from _below("tracing", _of_tracing(written.tracing))
        yield from _of_other_signals(written, written.tracing)
    if written.lineage is not None:
        yield from _below("lineage", _of_lineage(written.lineage))


def _below(section: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    for found in findings:
        yield Finding(
            found.code,
            (section, *found.field),
            found.message,
            found.help,
            on_key=found.on_key,
            is_warning=found.is_warning,
        )


def _of_other_signals(written: PlatformObservability, tracing: Tracing) -> Iterator[Finding]:
    """Metrics and logs go where spans go, so they go nowhere with them."""
    if tracing.exporter != "none":
        return
    for name, section in (("metrics", written.metrics), ("logging", written.logging)):
        if section is not None and section.enabled:
            field = (name, "enabled") if "enabled" in section.model_fields_set else (name,)
            message = "has no effect: `tracing.exporter: none` is for metrics and logs too"
            help = "remove `exporter: none`; `tracing: {enabled: false}` turns spans alone off"
            yield Finding(_CANNOT, field, message, help, on_key=True)


def _of_tracing(tracing: Tracing) -> Iterator[Finding]:
    if tracing.sampling is not None:
        yield from _of_sampling(tracing.sampling)
    if tracing.tls is not None:
        yield from _of_tls(tracing.tls, tracing.endpoint)
    known: set[str] = set()
    for name, value in tracing.headers.items():
        if name.lower() in known:
            message = "is written twice; upper and lower case are the same in a header"
            yield Finding(_CANNOT, ("headers", name), message, "write it once", on_key=True)
        known.add(name.lower())
        if isinstance(value, str) and not is_header_value(value):
            message = "cannot be sent in a header"
            help = "write it in printable ASCII characters, without blanks around it"
            yield Finding(_CANNOT, ("headers", name), message, help)
    are_secret = any(isinstance(value, SecretRef) for value in tracing.headers.values())
    if are_secret and tracing.endpoint is not None:
        yield from _of_plain_url(tracing.endpoint, "the headers")


def _of_sampling(sampling: Sampling) -> Iterator[Finding]:
    if sampling.sampler == "ratio" and sampling.ratio is None:
        message = "says `ratio`, and not which"
        yield Finding(
            _CANNOT, ("sampling", "sampler"), message, "add `ratio`, such as `ratio: 0.1`"
        )
    elif sampling.sampler != "ratio" and sampling.ratio is not None:
        message = f"has no effect with `sampler: {sampling.sampler}`"
        help = "remove it, or write `sampler: ratio`"
        yield Finding(_CANNOT, ("sampling", "ratio"), message, help, on_key=True)


def _of_tls(tls: Tls, endpoint: str | None) -> Iterator[Finding]:
    if endpoint is not None and endpoint.lower().startswith("http://"):
        message = "has no effect: `endpoint` begins with `http://`"
        help = "remove it, or write the endpoint with `https://`"
        yield Finding(_CANNOT, ("tls",), message, help, on_key=True)
    pair = {"client_certificate": tls.client_certificate, "client_key": tls.client_key}
    for (name, value), other in zip(pair.items(), reversed(pair), strict=True):
        if value is not None and pair[other] is None:
            message, help = f"has no effect without `{other}`", f"add `{other}`"
            yield Finding(_CANNOT, ("tls", name), message, help, on_key=True)


def _of_lineage(lineage: Lineage) -> Iterator[Finding]:
    transport = lineage.transport
    for name, needed in (
        ("endpoint", "http"),
        ("api_key", "http"),
        ("path", "file"),
        ("topic", "kafka"),
        ("properties", "kafka"),
    ):
        if getattr(lineage, name) and transport != needed:
            message = f"has no effect with `transport: {transport}`"
            help = f"remove it, or write `transport: {needed}`"
            yield Finding(_CANNOT, (name,), message, help, on_key=True)
    if transport == "file" and lineage.path is None:
        help = "add `path`, the file that events are added to"
        yield Finding(_CANNOT, ("transport",), "says `file`, and not which", help)
    if transport == "kafka" and lineage.topic is None:
        help = "add `topic`, the topic that events are sent to"
        yield Finding(_CANNOT, ("transport",), "says `kafka`, and not which topic", help)
    if transport == "kafka" and "bootstrap.servers" not in lineage.properties:
        help = 'add `properties: {bootstrap.servers: "broker:9092"}`'
        yield Finding(_CANNOT, ("transport",), "says `kafka`, and not which brokers", help)
    if transport == "http" and lineage.endpoint is not None:
        if not is_url(lineage.endpoint):
            message = f"`{lineage.endpoint}` is not the URL of a lineage server"
            help = "write it with `http://` or `https://`, as in `http://marquez:5000`"
            yield Finding(_CANNOT, ("endpoint",), message, help)
        elif lineage.api_key is not None:
            yield from _of_plain_url(lineage.endpoint, "the API key")


def _of_plain_url(url: str, what: str) -> Iterator[Finding]:
    if is_unencrypted(url):
        message = f"is not encrypted: whoever listens on the way reads {what}"
        yield Finding(_PLAIN, ("endpoint",), message, "use `https://`", is_warning=True)
