"""The places that floe sends traces, metrics and logs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from floe_core.plugins import ExportSettings, Finding
from floe_core.schemas.observability import Tracing
from floe_core.urls import is_url

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

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

    def span_exporter(self, settings: ExportSettings) -> SpanExporter:
        """Sends spans to the collector."""
        from floe_core.otel.exporters import otlp_spans

        return otlp_spans(settings)

    def metric_exporter(self, settings: ExportSettings) -> MetricExporter:
        """Sends metrics to the collector."""
        from floe_core.otel.exporters import otlp_metrics

        return otlp_metrics(settings)

    def log_exporter(self, settings: ExportSettings) -> LogRecordExporter:
        """Sends log records to the collector."""
        from floe_core.otel.exporters import otlp_logs

        return otlp_logs(settings)


class ConsoleExporter:
    """The standard error of the process: `console`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Refuse what is for a collector."""
        return _without_effect(tracing, "console", _OF_COLLECTOR)

    def span_exporter(self, settings: ExportSettings) -> SpanExporter:
        """Writes spans."""
        from floe_core.otel.exporters import console_spans

        return console_spans()

    def metric_exporter(self, settings: ExportSettings) -> MetricExporter:
        """Writes metrics."""
        from floe_core.otel.exporters import console_metrics

        return console_metrics()

    def log_exporter(self, settings: ExportSettings) -> LogRecordExporter:
        """Writes log records."""
        from floe_core.otel.exporters import console_logs

        return console_logs()


class NoExporter:
    """Nowhere: `none`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Refuse everything else."""
        return _without_effect(tracing, "none", (*_OF_COLLECTOR, "sampling"))

    def span_exporter(self, settings: ExportSettings) -> None:
        """Takes none."""

    def metric_exporter(self, settings: ExportSettings) -> None:
        """Takes none."""

    def log_exporter(self, settings: ExportSettings) -> None:
        """Takes none."""


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
