"""The providers that OpenTelemetry's API hands out: those of the run that goes on.

The API takes one provider a process, for good, but a process may execute several runs, each with
its own resource, trace and exporters. So floe sets a provider that asks for the current run's at
each span. Where a program has set providers of its own they stay, and floe uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.util._decorator import _agnosticcontextmanager  # what the API returns

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes


class CurrentTracerProvider(trace.TracerProvider):
    """Hands out tracers whose spans belong to the current run; between runs they do nothing."""

    def __init__(self) -> None:
        self.runs: list[trace.TracerProvider] = []

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """A tracer that may be kept for longer than a run."""
        scope = (
            instrumenting_module_name,
            instrumenting_library_version,
            schema_url,
            attributes,
        )
        return _CurrentTracer(self.runs, scope)


class _CurrentTracer(trace.Tracer):
    def __init__(self, runs: list[trace.TracerProvider], scope: tuple[Any, ...]) -> None:
        self._runs = runs
        self._scope = scope
        self._known: tuple[trace.TracerProvider | None, trace.Tracer] = (None, trace.NoOpTracer())

    def _tracer(self) -> trace.Tracer:
        provider, tracer = self._known
        current = self._runs[-1] if self._runs else None
        if provider is not current:
            tracer = current.get_tracer(*self._scope) if current else trace.NoOpTracer()
            self._known = (current, tracer)
        return tracer

    def start_span(self, *arguments: Any, **options: Any) -> trace.Span:
        return self._tracer().start_span(*arguments, **options)

    @_agnosticcontextmanager
    def start_as_current_span(self, *arguments: Any, **options: Any) -> Iterator[trace.Span]:
        with self._tracer().start_as_current_span(*arguments, **options) as span:
            yield span


class CurrentMeterProvider(metrics.MeterProvider):
    """Hands out the meters of the current run; between runs they do nothing.

    Instruments belong to the run that they were made in.
    """

    def __init__(self) -> None:
        self.runs: list[metrics.MeterProvider] = []

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> metrics.Meter:
        """A meter for as long as the run goes on."""
        current = self.runs[-1] if self.runs else metrics.NoOpMeterProvider()
        return current.get_meter(name, version, schema_url, attributes)


def tracer_providers() -> CurrentTracerProvider | None:
    """The provider of floe, set for the process; None where a program has set another."""
    existing = trace.get_tracer_provider()
    if isinstance(existing, trace.ProxyTracerProvider):
        trace.set_tracer_provider(CurrentTracerProvider())
        existing = trace.get_tracer_provider()
    return existing if isinstance(existing, CurrentTracerProvider) else None


def meter_providers() -> CurrentMeterProvider | None:
    """The same for meters."""
    existing = metrics.get_meter_provider()
    if type(existing).__module__.startswith("opentelemetry.metrics."):  # the API's own: none is set
        metrics.set_meter_provider(CurrentMeterProvider())
        existing = metrics.get_meter_provider()
    return existing if isinstance(existing, CurrentMeterProvider) else None


def has_foreign_logs() -> bool:
    """Whether a program has set a provider of loggers, so that it exports logs itself."""
    from opentelemetry import _logs

    existing = _logs.get_logger_provider()
    return not type(existing).__module__.startswith("opentelemetry._logs.")
