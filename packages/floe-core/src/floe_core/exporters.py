"""The places that floe sends spans to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from floe_core.plugins import Finding
from floe_core.schemas.observability import Tracing

if TYPE_CHECKING:
    from floe_core.plugins import TelemetryExporter


class OtlpExporter:
    """An OpenTelemetry collector: `otlp`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Look for an endpoint that is no URL."""
        if tracing.endpoint is None or re.match(r"https?://[^/\s]+", tracing.endpoint):
            return []
        message = f"`{tracing.endpoint}` is not the URL of a collector"
        help = "write it with `http://` or `https://`, as in `http://otel:4317`"
        return [Finding("FLOE-G004", ("endpoint",), message, help)]


class ConsoleExporter:
    """The standard error of the process: `console`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Nothing is needed."""
        return []


class NoExporter:
    """Nowhere: `none`."""

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Nothing is needed."""
        return []


if TYPE_CHECKING:
    _: tuple[type[TelemetryExporter], ...] = (OtlpExporter, ConsoleExporter, NoExporter)
