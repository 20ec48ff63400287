"""Traces, metrics and logs of a program, sent to where the artifacts say.

Libraries use `floe_core.telemetry`, which needs OpenTelemetry's API alone. A program calls `setup`
once a run and `shutdown` at its end; only what is below this package imports the SDK, and only
when a signal is on.
"""

from floe_core.otel.log_lines import formatter
from floe_core.otel.telemetry import Dropped, Telemetry, setup

__all__ = ["Dropped", "Telemetry", "formatter", "setup"]
