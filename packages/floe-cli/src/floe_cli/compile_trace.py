"""A compile as a trace: `floe compile --trace`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from floe_core.errors import UsageError

if TYPE_CHECKING:
    from floe_cli.freshness import Fresh
    from floe_cli.output import Output


def send(fresh: Fresh, out: Output) -> None:
    """Send the stages of a compile as spans, to where the artifacts that it made send traces.

    Raises:
        UsageError: if they send none.
    """
    from opentelemetry import trace

    from floe_core.otel import setup

    artifacts = fresh.compilation.artifacts
    telemetry = setup(artifacts, root=fresh.root, run_id=str(uuid.uuid4()))
    if "traces" not in telemetry.signals and not telemetry.warnings:
        telemetry.shutdown(0)
        raise UsageError(
            "there is nowhere to send a trace to",
            help="Write `observability: {tracing: {endpoint: ...}}` in platform.yaml, and see that "
            "neither floe.yaml nor the environment turns traces off.",
        )
    started = int(fresh.started_at.timestamp() * 1e9)
    whole = telemetry.start_run(f"compile {artifacts.product}", None, started)
    context = trace.set_span_in_context(whole)
    at = started
    for stage, seconds in fresh.stages.items():
        span = telemetry.tracer.start_span(f"compile.{stage}", context, start_time=at)
        at += int(seconds * 1e9)
        span.end(at)
    whole.end(at)
    telemetry.meter.create_histogram("floe.compile.duration", "s").record((at - started) / 1e9)
    ids = whole.get_span_context()
    dropped = telemetry.shutdown()
    for warning in telemetry.warnings:
        out.warn(warning)
    if dropped.total:
        out.warn(f"Telemetry was not delivered: {dropped} dropped.")
    elif ids.is_valid:
        out.note(f"Trace {trace.format_trace_id(ids.trace_id)}")
