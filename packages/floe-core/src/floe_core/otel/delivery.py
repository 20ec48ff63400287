"""Sending what a signal has collected, in the background, with a count of what did not arrive.

The SDK's batch processors have bounded queues and daemon threads. What is added here is the count,
and an end that waits for no backend longer than it is told to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

_logger = logging.getLogger(__name__)
_LAST_WORD_SECONDS = 0.25
"""How long an export that was told to end may take to do so, after the deadline."""


class Shutdown(Protocol):
    """What can be shut down: an exporter."""

    def shutdown(self) -> Any:
        """Release connections, and give up what goes on."""
        ...


@dataclass
class Tally:
    """What was to be sent, and what arrived."""

    offered: int = 0
    delivered: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def offer(self, count: int) -> None:
        """Count what is to be sent."""
        with self._lock:
            self.offered += count

    def deliver(self, count: int) -> None:
        """Count what has arrived."""
        with self._lock:
            self.delivered += count

    @property
    def missing(self) -> int:
        """What did not arrive: it was refused, is still under way, or there was no room for it."""
        with self._lock:
            return max(0, self.offered - self.delivered)


class CountedSpans(BatchSpanProcessor):
    """A batch processor that counts the spans it is given, and those that arrive."""

    def __init__(self, exporter: SpanExporter, tally: Tally) -> None:
        super().__init__(_SpanExporter(exporter, tally))
        self._tally = tally

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._tally.offer(1)
        super().on_end(span)


class _SpanExporter(SpanExporter):
    def __init__(self, exporter: SpanExporter, tally: Tally) -> None:
        self._exporter = exporter
        self._tally = tally

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._tally.deliver(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class CountedLogRecords(BatchLogRecordProcessor):
    """A batch processor that counts the log records it is given, and those that arrive."""

    def __init__(self, exporter: LogRecordExporter, tally: Tally) -> None:
        super().__init__(_LogRecordExporter(exporter, tally))
        self._tally = tally

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a record."""
        self._tally.offer(1)
        super().on_emit(log_record)


class _LogRecordExporter(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, tally: Tally) -> None:
        self._exporter = exporter
        self._tally = tally

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        result = self._exporter.export(batch)
        if result is LogRecordExportResult.SUCCESS:
            self._tally.deliver(len(batch))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class CountedMetrics(MetricExporter):
    """An exporter that counts the points of metrics that did not arrive.

    Points are totals since the run began, so an export makes good for those that failed before it;
    not so with `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta`.
    """

    def __init__(self, exporter: MetricExporter, tally: Tally) -> None:
        temporality = exporter._preferred_temporality or {}
        super().__init__(temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._tally = tally
        self._is_delta = AggregationTemporality.DELTA in temporality.values()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send the points."""
        points = sum(
            len(metric.data.data_points)
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        self._tally.offer(points if self._is_delta else points - self._tally.missing)
        result = self._exporter.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self._tally.deliver(points)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Pass it on."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Pass it on."""
        self._exporter.shutdown(timeout_millis=timeout_millis)


@dataclass(frozen=True)
class Pipeline:
    """One signal on its way: the provider's end, the exporter and the count.

    Attributes:
        signal: `traces`, `metrics` or `logs`.
        flush: Sends what is left and ends the provider; may block for as long as the backend does.
        exporter: What sends.
        tally: What was to be sent, and what arrived.
    """

    signal: str
    flush: Callable[[], Any]
    exporter: Shutdown
    tally: Tally = field(default_factory=Tally)


def end(pipelines: Sequence[Pipeline], deadline: float, clock: Callable[[], float]) -> None:
    """Send what is left, of all signals at once, and wait for it until the deadline.

    The SDK's own `shutdown` waits for its threads and exporters one by one, each up to 30 s. Here
    daemon threads wait for them; whatever has not ended by the deadline is told to, and left.

    Args:
        pipelines: The signals.
        deadline: Time of the clock until when to wait.
        clock: Monotonic clock, in seconds.
    """
    for pipeline in pipelines:
        if not pipeline.tally.delivered:  # a backend that never answered gets one attempt
            _stop_retries(pipeline.exporter)
    flushing = [(pipeline, _start(pipeline.flush)) for pipeline in pipelines]
    for _, thread in flushing:
        thread.join(max(0.0, deadline - clock()))
    late = [pipeline for pipeline, thread in flushing if thread.is_alive()]
    closing = [_start(pipeline.exporter.shutdown) for pipeline in late]
    last = clock() + _LAST_WORD_SECONDS
    for thread in closing + [thread for _, thread in flushing if thread.is_alive()]:
        thread.join(max(0.0, last - clock()))


def _start(call: Callable[[], Any]) -> Thread:
    def run() -> None:
        try:
            call()
        except Exception:
            _logger.debug("shutting down", exc_info=True)

    thread = Thread(target=run, name="floe-telemetry-end", daemon=True)
    thread.start()
    return thread


def _stop_retries(exporter: object) -> None:
    """Let an OTLP exporter wait no more between attempts.

    Its `shutdown` does that too, but then refuses what is still to be sent. There is no public way;
    where the names have changed, retries go on until the deadline.
    """
    for owner, name in (
        (exporter, "_shutdown_in_progress"),
        (getattr(exporter, "_client", None), "_shutdown_event"),
    ):
        event = getattr(owner, name, None)
        if event is not None:
            event.set()
