"""The pipelines of one run: a provider, a bounded queue and an exporter for each signal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler

from floe_core import plugins
from floe_core.entry_points import blamed
from floe_core.errors import FloeError, UsageError
from floe_core.observability import DEFAULT_EXPORTER, TelemetrySecrets, resource_attributes
from floe_core.otel.current import has_foreign_logs, meter_providers, tracer_providers
from floe_core.otel.delivery import (
    CountedLogRecords,
    CountedMetrics,
    CountedSpans,
    Pipeline,
    Tally,
    end,
)
from floe_core.otel.log_records import LogRecordHandler, quieten_sdk
from floe_core.otel.sampling import sampler_of
from floe_core.otel.trace_ids import RunIds, span_id_of, trace_id_of
from floe_core.plugins import ExportSettings, TelemetryExporter
from floe_core.schemas.artifacts import CompiledArtifacts, Observability
from floe_core.schemas.observability import Tls


@dataclass
class Pipelines:
    """What has been set up for one run.

    Attributes:
        run_id: Dagster's id of the run.
        signals: The signals that are on, by these pipelines or by a program's own SDK.
        warnings: Why one is off.
        tracer_provider: Makes tracers; None where spans are off, or a program has its own.
        meter_provider: Makes meters; None in the same cases.
        log_handler: Takes records of Python's loggers; None in the same cases.
    """

    run_id: str | None
    signals: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    log_handler: logging.Handler | None = None
    _pipelines: list[Pipeline] = field(default_factory=list)
    _leave: list[Callable[[], None]] = field(default_factory=list)

    def turn_on(self, signal: str, pipeline: Pipeline | None = None) -> None:
        """Note a signal that is on; without a pipeline where a program exports it itself."""
        self.signals |= {signal}
        if pipeline is not None:
            self._pipelines.append(pipeline)

    def enter(self, runs: list[Any], provider: object) -> None:
        """Make a provider the current one of the process until the end."""
        runs.append(provider)
        self._leave.append(lambda: runs.remove(provider))

    @contextmanager
    def ids_of_run(self) -> Iterator[None]:
        """Give the span that is made in the block the id of the run's own."""
        ids = self.tracer_provider.id_generator if self.tracer_provider else None
        if self.run_id is None or not isinstance(ids, RunIds):
            yield
            return
        with ids.next_span_id(span_id_of(self.run_id)):
            yield

    def run_context(self, parent: Context) -> Context:
        """The context of the run's own span, as a process that has not made it knows it."""
        if self.tracer_provider is None or self.run_id is None:
            return parent
        above = trace.get_current_span(parent).get_span_context()
        trace_id = above.trace_id if above.is_valid else trace_id_of(self.run_id)
        sampler: Sampler = self.tracer_provider.sampler
        decision = sampler.should_sample(parent, trace_id, "run").decision
        flags = above.trace_flags if above.is_valid else trace.TraceFlags.RANDOM_TRACE_ID
        if decision is Decision.RECORD_AND_SAMPLE:
            flags |= trace.TraceFlags.SAMPLED
        else:
            flags &= ~trace.TraceFlags.SAMPLED
        span = trace.SpanContext(
            trace_id,
            span_id_of(self.run_id),
            is_remote=True,
            trace_flags=trace.TraceFlags(flags),
            trace_state=above.trace_state,
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(span), parent)

    def end(self, deadline: float) -> dict[str, int]:
        """Send what is left, until the deadline of the monotonic clock; what is lost, by signal."""
        while self._leave:
            self._leave.pop()()
        with suppress(RuntimeError):  # while the interpreter ends, threads cannot be started
            end(self._pipelines, deadline, monotonic)
        return {pipeline.signal: pipeline.tally.missing for pipeline in self._pipelines}


@dataclass(frozen=True)
class _Plan:
    """What the pipeline of a signal is made of."""

    observability: Observability
    exporter: TelemetryExporter
    settings: ExportSettings
    resource: Resource
    mask: Callable[[str], str]


def build(
    artifacts: CompiledArtifacts,
    wanted: Sequence[str],
    root: Path,
    run_id: str | None,
    secrets: TelemetrySecrets,
    mask: Callable[[str], str],
) -> Pipelines:
    """Set up the wanted signals; one that cannot be is off, with a warning."""
    built = Pipelines(run_id)
    observability = artifacts.observability
    missing = secrets.problem_of("otlp_headers.")
    if missing is not None:
        built.warnings = (f"{_listed(wanted)} are off: {missing}",)
        return built
    quieten_sdk()
    settings = _settings(observability, root, secrets)
    resource = _resource(artifacts)
    off: dict[str, list[str]] = {}
    for signal in wanted:
        try:
            name = _exporter_name(observability, signal)
            plan = _Plan(observability, _exporter(name), settings, resource, mask)
            with blamed(plugins.TELEMETRY, name, is_shown=False):
                _BUILD[signal](built, plan)
        except FloeError as problem:
            off.setdefault(problem.message, []).append(signal)
    built.warnings = tuple(f"{_listed(signals)} are off: {why}" for why, signals in off.items())
    return built


def _listed(signals: Sequence[str]) -> str:
    *first, last = signals
    return f"{', '.join(first)} and {last}" if first else last


def _build_traces(built: Pipelines, plan: _Plan) -> None:
    providers = tracer_providers()
    if providers is None:
        built.turn_on("traces")
        return
    exporter = plan.exporter.span_exporter(plan.settings)
    if exporter is None:
        return
    trace_id = trace_id_of(built.run_id) if built.run_id is not None else None
    provider = TracerProvider(
        resource=plan.resource,
        sampler=sampler_of(plan.observability.sampling),
        id_generator=RunIds(trace_id) if trace_id is not None else RandomIdGenerator(),
        shutdown_on_exit=False,
    )
    tally = Tally()
    provider.add_span_processor(CountedSpans(exporter, tally))
    built.tracer_provider = provider
    built.enter(providers.runs, provider)
    built.turn_on("traces", Pipeline("traces", provider.shutdown, exporter, tally))


def _build_metrics(built: Pipelines, plan: _Plan) -> None:
    providers = meter_providers()
    if providers is None:
        built.turn_on("metrics")
        return
    exporter = plan.exporter.metric_exporter(plan.settings)
    if exporter is None:
        return
    tally = Tally()
    reader = PeriodicExportingMetricReader(CountedMetrics(exporter, tally))
    provider = MeterProvider([reader], resource=plan.resource, shutdown_on_exit=False)
    built.meter_provider = provider
    built.enter(providers.runs, provider)
    built.turn_on("metrics", Pipeline("metrics", provider.shutdown, exporter, tally))


def _build_logs(built: Pipelines, plan: _Plan) -> None:
    if has_foreign_logs():
        built.turn_on("logs")
        return
    exporter = plan.exporter.log_exporter(plan.settings)
    if exporter is None:
        return
    tally = Tally()
    provider = LoggerProvider(resource=plan.resource, shutdown_on_exit=False)
    provider.add_log_record_processor(CountedLogRecords(exporter, tally))
    level = logging.getLevelNamesMapping()[plan.observability.log_level or "INFO"]
    built.log_handler = LogRecordHandler(provider, plan.mask, level)
    built.turn_on("logs", Pipeline("logs", provider.shutdown, exporter, tally))


_BUILD: Mapping[str, Callable[[Pipelines, _Plan], None]] = {
    "traces": _build_traces,
    "metrics": _build_metrics,
    "logs": _build_logs,
}


def _resource(artifacts: CompiledArtifacts) -> Resource:
    """What emits: floe's attributes, and what `OTEL_RESOURCE_ATTRIBUTES` adds to them."""
    attributes = resource_attributes(artifacts)
    if OTELResourceDetector().detect().attributes.get("service.name"):
        del attributes["service.name"]  # OTEL_SERVICE_NAME, or the same in the other variable
    return Resource.create(dict(attributes))


def _exporter_name(observability: Observability, signal: str) -> str:
    """What platform.yaml names, else `OTEL_TRACES_EXPORTER` and its like, else `otlp`."""
    variable = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    return observability.exporter or variable or DEFAULT_EXPORTER


def _exporter(name: str) -> TelemetryExporter:
    exporter = plugins.telemetry_exporter(name)
    if exporter is None:
        known = ", ".join(plugins.names(plugins.TELEMETRY))
        raise UsageError(f"there is no exporter named `{name}` here (installed: {known})")
    return exporter


def _settings(
    observability: Observability, root: Path, secrets: TelemetrySecrets
) -> ExportSettings:
    headers = {
        name: value if isinstance(value, str) else secrets.values[f"otlp_headers.{name}"]
        for name, value in observability.otlp_headers.items()
    }
    tls = observability.otlp_tls
    if tls is not None:
        tls = Tls(**{name: str(root / path) for name, path in tls if path is not None})
    return ExportSettings(
        endpoint=observability.otlp_endpoint,
        protocol=observability.otlp_protocol,
        headers=headers,
        tls=tls,
        compression=observability.otlp_compression,
    )
