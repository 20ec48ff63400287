"""What telemetry and lineage hear of a run. Nothing here fails a run, and its end is bounded."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from floe_core.errors import FloeError
from floe_core.layout import Layout
from floe_core.masking import mask_data, mask_values
from floe_core.observability import (
    DEFAULT_DEADLINE_SECONDS,
    TelemetrySecrets,
    is_lineage_off,
    is_telemetry_off,
    lineage_namespace,
    resolve_secrets,
)
from floe_core.schemas.artifacts import CompiledArtifacts, Observability
from floe_dagster.plan import RunPlan
from floe_dagster.records import RunRecord, read_records
from floe_dbt.engine import LOGGER, Event

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from opentelemetry.context import Context

    from floe_core.otel import Telemetry
    from floe_dagster.lineage.delivery import Counts, Delivery
    from floe_dagster.lineage.settings import LineageSettings
    from floe_dagster.run_lineage import RunLineage
    from floe_dagster.run_spans import RunSpans

_log = logging.getLogger("floe")

_Heard = TypeVar("_Heard")

_LOGGERS = ("floe", LOGGER)
"""Loggers whose level is theirs to choose; that of all others is the program's."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What could not be done.

    Attributes:
        warnings: One sentence on each kind of thing that did not arrive, or is off, and why.
        dropped: How much is lost, by `traces`, `metrics`, `logs` and `lineage`.
    """

    warnings: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Observation:
    """What hears of one run, or of the part of it that this process executes.

    Attributes:
        deadline_seconds: Most that `close` takes.
        warnings: What is off though platform.yaml turns it on, and why, in a sentence each.
        trace_id: Id of the run's trace, as 32 hexadecimal digits; None without traces.
    """

    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    warnings: list[str] = field(default_factory=list)
    trace_id: str | None = None
    _telemetry: Telemetry | None = None
    _context: Context | None = None
    _spans: RunSpans | None = None
    _lineage: RunLineage | None = None
    _delivery: Delivery | None = None

    @property
    def describes(self) -> bool:
        """Whether the database is to be asked about tables; see `Invocation.describes`."""
        return self._lineage is not None

    @property
    def log_handler(self) -> logging.Handler | None:
        """Exports log records; None where logs are off."""
        return self._telemetry.log_handler if self._telemetry is not None else None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let spans of this thread, and of those that take its context, belong to the run.

        What is logged meanwhile is exported too.
        """
        if self._context is None:
            yield
            return
        from opentelemetry import context

        token = context.attach(self._context)
        try:
            with _logged(self.log_handler):
                yield
        finally:
            context.detach(token)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run a block as a step of the run."""
        if self._spans is None:
            yield
            return
        with self._spans.step(name):
            yield

    def hear(self, event: Event) -> None:
        """Take an event of dbt, in the thread that it happens in."""
        if self._spans is not None:
            self._try(self._spans.hear, event)
        if self._lineage is not None:
            self._try(self._lineage.hear, event)

    def compiled(self, seconds: float) -> None:
        """Take how long the compile before the run took."""
        if self._spans is not None:
            self._try(self._spans.compiled, seconds)

    def run_ended(self, record: RunRecord) -> None:
        """Take how the run ended; its own span is made now, as of its start."""
        if self._lineage is not None:
            self._try(self._lineage.run_ended, record)
        if self._spans is not None:
            self._try(self._spans.run_ended, record)
        self.end_part()

    def end_part(self) -> None:
        """End what this process does of a run that goes on in another."""
        if self._lineage is not None:
            self._try(_keep, self._lineage)

    def _try(self, take: Callable[[_Heard], None], heard: _Heard) -> None:
        """Let what goes wrong here be one warning, and nothing to the run."""
        try:
            take(heard)
        except FloeError as problem:
            self._warn(f"Telemetry is incomplete: {problem.message}.")
        except Exception as problem:
            kind = type(problem).__name__
            _log.debug("telemetry could not take a %s", type(heard).__name__, exc_info=True)
            self._warn(f"Telemetry is incomplete: floe itself failed with {kind}.")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def close(self) -> Loss:
        """Send what is left, for no longer than the deadline; gives what could not be done."""
        until = time.monotonic() + self.deadline_seconds
        warnings = list(self.warnings)
        dropped: dict[str, int] = {}
        closed: list[Counts] = []

        def close_lineage() -> None:
            if self._delivery is not None:
                closed.append(self._delivery.close(until - time.monotonic()))

        # Beside each other, for the one that hangs is not to take the time of the other.
        other = Thread(target=close_lineage, name="floe-lineage-end", daemon=True)
        other.start()
        if self._telemetry is not None:
            lost = self._telemetry.shutdown(self.deadline_seconds)
            dropped |= {
                "traces": lost.spans,
                "metrics": lost.metric_points,
                "logs": lost.log_records,
            }
            if lost.total:
                warnings.append(f"Telemetry was not delivered: {lost} dropped.")
        other.join(max(until - time.monotonic(), 0.0) + 1.0)
        for counts in closed:
            dropped["lineage"] = counts.dropped
            warning = counts.warning()
            warnings += [warning] if warning else []
        return Loss(tuple(warnings), {name: count for name, count in dropped.items() if count})


def observe(
    artifacts: CompiledArtifacts,
    *,
    root: Path,
    planned: RunPlan,
    record: RunRecord,
    secrets: Mapping[str, str],
    starts: bool = True,
    scheduled_at: datetime | None = None,
) -> Observation:
    """Start what the artifacts turn on.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        planned: What is run here.
        record: The record of the run, as it starts.
        secrets: Values that must not leave this machine, by whatever name.
        starts: Whether the run begins here, rather than in another process before.
        scheduled_at: The tick of the schedule that the run is for.
    """
    observability = artifacts.observability
    has_signals = observability.traces or observability.metrics or observability.logs
    seconds = observability.deadline_seconds
    found = Observation(DEFAULT_DEADLINE_SECONDS if seconds is None else seconds)
    own = resolve_secrets(artifacts)
    hidden = (*secrets.values(), *own.values.values())

    def hide(text: str) -> str:
        return mask_values(text, hidden)

    try:
        if has_signals and not is_telemetry_off():
            _add_telemetry(found, artifacts, root, planned, record, own, hide)
            if starts and found._spans is not None:
                for before in read_records(Layout(root), artifacts.environment, limit=1):
                    found._spans.count_dropped(before.dropped)
        if not is_lineage_off():
            window = planned.request.window
            scheduled = (scheduled_at, None) if scheduled_at is not None else None
            nominal = (window.start, window.end) if window is not None else scheduled
            _add_lineage(found, artifacts, root, planned, record, own, hidden, nominal)
            if starts and found._lineage is not None:
                found._lineage.run_started()
    except Exception as problem:
        _log.debug("telemetry cannot be set up", exc_info=True)
        found.warnings.append(f"Telemetry or lineage is off: {hide(str(problem))}.")
    return found


@contextmanager
def _logged(handler: logging.Handler | None) -> Iterator[None]:
    """Hand to a handler what floe, dbt and others log, as low as the handler goes."""
    if handler is None:
        yield
        return
    loggers = [logging.getLogger(name) for name in (None, *_LOGGERS)]
    levels = [logger.level for logger in loggers]
    handler.addFilter(_is_new)
    for logger in loggers:
        logger.addHandler(handler)
        if logger.name in _LOGGERS:
            logger.setLevel(min(handler.level, logger.level or handler.level))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def _is_new(record: logging.LogRecord) -> bool:
    """Whether a record comes for the first time: loggers hand on to those above them, or do not."""
    is_new = not hasattr(record, "floe_is_exported")
    record.floe_is_exported = True
    return is_new


def _keep(lineage: RunLineage) -> None:
    lineage.keep()


def _add_telemetry(
    found: Observation,
    artifacts: CompiledArtifacts,
    root: Path,
    planned: RunPlan,
    record: RunRecord,
    own: TelemetrySecrets,
    hide: Callable[[str], str],
) -> None:
    from opentelemetry import trace

    from floe_core.otel import setup
    from floe_core.otel.log_records import LogRecordHandler
    from floe_dagster.run_spans import RunSpans

    telemetry = setup(artifacts, root=root, run_id=record.run_id, secrets=own, mask=hide)
    found.warnings += telemetry.warnings
    found._telemetry = telemetry
    if not telemetry.signals:
        return
    found._context = telemetry.run_context()
    if isinstance(telemetry.log_handler, LogRecordHandler):
        telemetry.log_handler.outside = found._context
    ids = trace.get_current_span(found._context).get_span_context()
    if "traces" in telemetry.signals and ids.is_valid:
        found.trace_id = trace.format_trace_id(ids.trace_id)
    found._spans = RunSpans(planned, telemetry, lambda text: mask_data(hide(text)))


def _add_lineage(
    found: Observation,
    artifacts: CompiledArtifacts,
    root: Path,
    planned: RunPlan,
    record: RunRecord,
    own: TelemetrySecrets,
    hidden: tuple[str, ...],
    nominal: tuple[datetime, datetime | None] | None,
) -> None:
    from floe_dagster.lineage.datasets import Naming
    from floe_dagster.lineage.store import read_lineage
    from floe_dagster.run_lineage import RunLineage

    layout, environment = Layout(root), artifacts.environment
    namespace = lineage_namespace(artifacts)
    indexes = [unit.unit.index for unit in planned.units]
    kept = read_lineage(layout.lineage(environment))
    naming = Naming(artifacts, root, indexes, namespace=namespace, locations=kept.locations)
    events = None
    if artifacts.observability.lineage:
        found._delivery = _delivery(found, artifacts, root, own)
    if found._delivery is not None:
        from floe_dagster.lineage.events import RunEvents
        from floe_dagster.lineage.facts import run_facts

        facts = run_facts(
            artifacts,
            root=root,
            run_id=record.run_id,
            namespace=namespace,
            started_at=record.started_at,
            job=planned.request.job,
            nominal=nominal,
            environ=os.environ,
            secrets=hidden,
        )
        events = RunEvents(facts, indexes, naming, planned.unique_ids)
    send = found._delivery.send if found._delivery is not None else _nowhere
    found._lineage = RunLineage(layout, environment, record.run_id, indexes, naming, events, send)


def _nowhere(events: Sequence[RunEvent]) -> None:
    pass


def _delivery(
    found: Observation, artifacts: CompiledArtifacts, root: Path, own: TelemetrySecrets
) -> Delivery | None:
    """What sends events; None, with a warning, where it cannot be had."""
    problem = own.problem_of("lineage_")
    if problem is None:
        from floe_dagster.lineage.delivery import open_delivery
        from floe_dagster.lineage.settings import completed

        settings = _lineage_settings(artifacts, root, own, found.deadline_seconds)
        try:
            return open_delivery(completed(settings, os.environ))
        except FloeError as refused:
            problem = refused.message
    found.warnings.append(f"Lineage is off: {problem}.")
    return None


def _lineage_settings(
    artifacts: CompiledArtifacts, root: Path, own: TelemetrySecrets, deadline_seconds: float
) -> LineageSettings:
    from floe_dagster.lineage.settings import LineageSettings

    written: Observability = artifacts.observability
    properties = {
        key: own.values.get(f"lineage_properties.{key}", str(value))
        for key, value in written.lineage_properties.items()
    }
    return LineageSettings(
        transport=written.lineage_transport or "http",
        endpoint=written.lineage_endpoint,
        api_key=own.values.get("lineage_api_key"),
        namespace=lineage_namespace(artifacts),
        path=root / written.lineage_path if written.lineage_path else None,
        topic=written.lineage_topic,
        properties=properties,
        deadline_seconds=deadline_seconds,
        spool=Layout(root).undelivered_lineage(artifacts.environment),
    )
