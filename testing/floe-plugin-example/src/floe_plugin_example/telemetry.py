"""`exporter: jsonl`: spans in a file, one JSON object a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.plugins import ExportSettings, Finding, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from floe_core.plugins import TelemetryExporter


class JsonLines:
    """Adds spans to the file that `endpoint` names; metrics and logs are not taken."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Look for the file."""
        if tracing.endpoint is None:
            return [Finding("JSONL-001", (), "needs `endpoint`, a file", "add `endpoint:`")]
        return []

    def span_exporter(self, settings: ExportSettings) -> "SpanExporter":
        """Write them into the file."""
        from floe_plugin_example.span_file import SpanFile

        return SpanFile(Path(str(settings.endpoint)))

    def metric_exporter(self, settings: ExportSettings) -> None:
        """None."""

    def log_exporter(self, settings: ExportSettings) -> None:
        """None."""


if TYPE_CHECKING:
    _: type[TelemetryExporter] = JsonLines
