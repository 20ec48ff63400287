"""The places that floe sends traces, metrics and logs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from floe_core.plugins import Finding
from floe_core.schemas.observability import Tracing
from floe_core.urls import is_url

if TYPE_CHECKING:
    from floe_core.plugins import TelemetryExporter

_SIGNAL_PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")
_OF_COLLECTOR = ("endpoint", "protocol", "headers", "tls", "compression")


class OtlpExporter:
    """An OpenTelemetry collector: `otlp`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Look for an endpoint that is no base URL."""
        endpoint = tracing.endpoint
        if endpoint is None:
            return []
        if not is_url(endpoint):
            message = f"`{endpoint}` is not the URL of a collector"
            help = "write it with `http://` or `https://`, as in `http://otel:4317`"
            return [Finding("FLOE-G004", ("endpoint",), message, help)]
        path = urlsplit(endpoint).path.rstrip("/")
        base = endpoint.rstrip("/").removesuffix(path)
        if path.endswith(_SIGNAL_PATHS):
            message = "is a base, to which floe adds the path of each signal"
            base += path.removesuffix(next(filter(path.endswith, _SIGNAL_PATHS)))
            return [Finding("FLOE-G004", ("endpoint",), message, f"write `{base}`")]
        if path and tracing.protocol == "grpc":
            message = "has a path, which gRPC has no use for"
            help = f"write `{base}`, or `protocol: http`"
            return [Finding("FLOE-G004", ("endpoint",), message, help)]
        return []


class ConsoleExporter:
    """The standard error of the process: `console`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Refuse what is for a collector."""
        return _without_effect(tracing, "console", _OF_COLLECTOR)


class NoExporter:
    """Nowhere: `none`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Refuse everything else."""
        return _without_effect(tracing, "none", (*_OF_COLLECTOR, "sampling"))


def _without_effect(tracing: Tracing, exporter: str, fields: Sequence[str]) -> list[Finding]:
    message = f"has no effect with `exporter: {exporter}`"
    help = "remove it, or write `exporter: otlp`"
    return [
        Finding("FLOE-G004", (name,), message, help, on_key=True)
        for name in fields
        if getattr(tracing, name)
    ]


if TYPE_CHECKING:
    _: tuple[type[TelemetryExporter], ...] = (OtlpExporter, ConsoleExporter, NoExporter)
