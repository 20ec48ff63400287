"""The telemetry of one run: what a program sets up at its start and shuts down at its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from opentelemetry import baggage, context, metrics, propagate, trace

from floe_core.observability import (
    DEFAULT_DEADLINE_SECONDS,
    TelemetrySecrets,
    context_attributes,
    is_telemetry_off,
    resolve_secrets,
)
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.telemetry import SCOPE
from floe_core.version import __version__

if TYPE_CHECKING:
    import logging

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from floe_core.otel.pipelines import Pipelines

SIGNALS = ("traces", "metrics", "logs")
_CARRIED = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")


@dataclass(frozen=True)
class Dropped:
    """What did not arrive: the backend refused it or did not answer, or a queue was full."""

    spans: int = 0
    metric_points: int = 0
    log_records: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.spans + self.metric_points + self.log_records

    def __str__(self) -> str:
        counts = {
            "span": self.spans,
            "metric point": self.metric_points,
            "log record": self.log_records,
        }
        parts = [f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n]
        return ", ".join(parts) or "nothing"


@dataclass
class Telemetry:
    """Where a run's spans, metrics and log records go; all of it does nothing where that is off.

    Attributes:
        signals: The signals that are on: of `traces`, `metrics`, `logs`.
        warnings: Why a signal that platform.yaml turns on is off, in a sentence each.
        context: What the run's own span belongs to: a parent from `TRACEPARENT`, the baggage.
        tracer: Makes spans.
        meter: Makes instruments.
        log_handler: To be added to Python's loggers; None where logs are off, or exported already.
        deadline_seconds: Most that `shutdown` waits.
    """

    signals: frozenset[str] = frozenset()
    warnings: Sequence[str] = ()
    context: Context = field(default_factory=context.get_current)
    tracer: trace.Tracer = field(default_factory=trace.NoOpTracer)
    meter: metrics.Meter = field(default_factory=lambda: metrics.NoOpMeter(SCOPE))
    log_handler: logging.Handler | None = None
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    _pipelines: Pipelines | None = None
    _dropped: Dropped | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)

    def start_run(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        start_time: int | None = None,
    ) -> trace.Span:
        """Start the run's own span, once a run; the caller ends it.

        Its trace id is the run's id, unless it has a parent, and its span id follows from the
        run's id as well, so that other processes of the run know both; see `run_context`.

        Args:
            name: Name of the span.
            attributes: Its attributes.
            start_time: Nanoseconds since 1970; now when None.
        """
        with self._pipelines.ids_of_run() if self._pipelines else nullcontext():
            return self.tracer.start_span(
                name, self.context, attributes=attributes, start_time=start_time
            )

    def run_context(self) -> Context:
        """What spans of another process of the run belong to: the span of `start_run` there."""
        if self._pipelines is None:
            return self.context
        return self._pipelines.run_context(self.context)

    def shutdown(self, deadline_seconds: float | None = None) -> Dropped:
        """Send what is left, wait for it no longer than the deadline, and count what is lost.

        It never raises, and may be called again.

        Args:
            deadline_seconds: Most that all signals together may take; platform.yaml's when None.
        """
        with self._lock:
            if self._dropped is None:
                self._dropped = self._end(deadline_seconds)
            return self._dropped

    def _end(self, deadline_seconds: float | None) -> Dropped:
        if self._pipelines is None:
            return Dropped()
        wait = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        missing = self._pipelines.end(monotonic() + wait)
        return Dropped(missing.get("traces", 0), missing.get("metrics", 0), missing.get("logs", 0))


def _as_it_is(text: str) -> str:
    return text


def setup(
    artifacts: CompiledArtifacts,
    *,
    root: Path | None = None,
    run_id: str | None = None,
    secrets: TelemetrySecrets | None = None,
    mask: Callable[[str], str] = _as_it_is,
) -> Telemetry:
    """Start the signals that the artifacts turn on, for one run in this process.

    It never raises and reaches no network: what cannot be set up is off, and `warnings` says why.
    Of a signal that is off there is no provider, no exporter, no thread and no socket.

    Args:
        artifacts: Compiled or pulled.
        root: Project root, which paths of certificates are relative to; the current folder when
            None.
        run_id: Dagster's id of the run. Its 128 bits become the id of the trace.
        secrets: What `floe_core.observability.resolve_secrets` gave; looked up when None.
        mask: Hides what is secret in log records.
    """
    observability = artifacts.observability
    seconds = observability.deadline_seconds
    deadline = DEFAULT_DEADLINE_SECONDS if seconds is None else seconds
    wanted = [signal for signal in SIGNALS if getattr(observability, signal)]
    if not wanted or is_telemetry_off():
        return Telemetry(deadline_seconds=deadline)
    try:
        from floe_core.otel.pipelines import build
    except ImportError as problem:
        missing = f"{' and '.join(wanted)} are off: {problem.name} is not installed; "
        return Telemetry(
            warnings=(f"{missing}`pip install 'floe-core[otel]'`",), deadline_seconds=deadline
        )
    found = secrets if secrets is not None else resolve_secrets(artifacts)
    built = build(artifacts, wanted, root or Path.cwd(), run_id, found, mask)
    return Telemetry(
        signals=built.signals,
        warnings=built.warnings,
        context=_context(artifacts),
        tracer=_tracer(built),
        meter=_meter(built),
        log_handler=built.log_handler,
        deadline_seconds=deadline,
        _pipelines=built,
    )


def _context(artifacts: CompiledArtifacts) -> Context:
    """A parent that the environment names, and what tells the tenant, as baggage."""
    carrier = {name.lower(): os.environ[name] for name in _CARRIED if os.environ.get(name)}
    found = propagate.extract(carrier, context.get_current())
    for name, value in context_attributes(artifacts).items():
        found = baggage.set_baggage(name, value, found)
    return found


def _tracer(built: Pipelines) -> trace.Tracer:
    if "traces" not in built.signals:
        return trace.NoOpTracer()
    return (built.tracer_provider or trace.get_tracer_provider()).get_tracer(SCOPE, __version__)


def _meter(built: Pipelines) -> metrics.Meter:
    if "metrics" not in built.signals:
        return metrics.NoOpMeter(SCOPE)
    return (built.meter_provider or metrics.get_meter_provider()).get_meter(SCOPE, __version__)
