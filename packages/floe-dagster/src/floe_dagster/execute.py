"""Running a product in this process: `floe run`.

Importing this module does not import Dagster; executing does.
"""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from floe_core.errors import UnwritableError
from floe_core.index import ProjectIndex
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.connection import resolve_secrets
from floe_dagster.interrupts import as_interrupts, deferred
from floe_dagster.lock import hold
from floe_dagster.observation import Observation, observe
from floe_dagster.plan import RunPlan, RunRequest, plan
from floe_dagster.records import NodeRecord, RunRecord, RunStatus, find_record, write_record
from floe_dbt.engine import FAILED, DbtEngine, Event, Listener, NodeFinished

__all__ = ["RunPlan", "RunRequest", "execute", "plan"]


_SECONDS_BETWEEN_WRITES = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        is_success: Whether everything was built and passed.
        was_cancelled: Whether it was interrupted.
        error: What broke it off, when it is not a node that failed.
        is_unreachable: Whether `error` is that the database does not answer.
    """

    is_success: bool
    was_cancelled: bool = False
    error: str | None = None
    is_unreachable: bool = False


def execute(
    artifacts: CompiledArtifacts,
    *,
    root: Path,
    request: RunRequest | None = None,
    listener: Listener | None = None,
    planned: RunPlan | None = None,
    indexes: Sequence[ProjectIndex] | None = None,
    engine: DbtEngine | None = None,
    lock_wait: float = 5.0,
    command: str | None = None,
    compile_seconds: float | None = None,
) -> RunRecord:
    """Run a product, or part of it, and record it in Dagster's instance and under `.floe/runs`.

    An interrupt (Ctrl-C or SIGTERM) ends the run in an orderly way: the record that is returned
    then has status `cancelled` and holds what was done.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        request: What to run; everything when None.
        listener: Hears every event of dbt, from dbt's threads.
        planned: The plan to execute, when it was made before; `request` is then not looked at.
        indexes: What dbt knows of the projects; read from `.floe` when None.
        engine: Runs dbt; dbt-core when None.
        lock_wait: Seconds to wait for another run of the project and environment.
        command: What other processes are told is running; this process's command line when None.
        compile_seconds: How long the compile took that was made for this run, for the metrics.

    Raises:
        ProjectLockedError: if another run is still going on after `lock_wait`.
        UsageError: if the request matches nothing.
        SecretNotFoundError: if a secret cannot be found; nothing has run then.
        SecretBackendError: if a secret backend is not set up, or refuses; nothing has run then.
        ArtifactsError: if the artifacts do not fit what is here.
        UnwritableError: if a file of the run cannot be written.
    """
    layout = Layout(root)
    layout.prepare()
    secrets = resolve_secrets(artifacts)
    name = command or _command_line()
    with hold(layout, artifacts.environment, command=name, wait=lock_wait):
        if planned is None:
            planned = plan(artifacts, root=root, request=request, indexes=indexes, engine=engine)
        record = new_record(artifacts, planned, run_id=str(uuid.uuid4()))
        observation = observe(artifacts, root=root, planned=planned, record=record, secrets=secrets)
        if compile_seconds is not None:
            observation.compiled(compile_seconds)
        record = replace(record, trace_id=observation.trace_id)
        run = Recording(layout, planned, both(observation.hear, listener), record)
        try:
            with run.recorded(), as_interrupts(signal.SIGTERM), observation.current():
                from floe_dagster.job import execute_plan

                cancelled = threading.Event()
                work = partial(
                    execute_plan,
                    artifacts,
                    planned,
                    root,
                    run.record.run_id,
                    secrets,
                    run.hear,
                    cancelled,
                    observation,
                    engine,
                )
                run.outcome = _in_thread(work, cancelled)
        finally:
            observation.run_ended(run.record)
    told(layout, run, observation)  # others may run meanwhile
    return run.record


def both(first: Listener, second: Listener | None) -> Listener:
    """Make a listener that hands on to two."""
    if second is None:
        return first

    def hear(event: Event) -> None:
        first(event)
        second(event)

    return hear


def told(layout: Layout, recording: Recording, observation: Observation) -> Sequence[str]:
    """End what hears of a run, and put what it could not do into the run's record."""
    loss = observation.close()
    if loss.warnings:
        record = recording.record
        known = find_record(layout, record.environment, record.run_id) or record
        # Steps before this one, in whatever process, may have lost something too.
        warnings = tuple(dict.fromkeys((*known.warnings, *loss.warnings)))
        dropped = dict(Counter(known.dropped) + Counter(loss.dropped))
        recording.record = replace(record, warnings=warnings, dropped=dropped)
        with suppress(UnwritableError):
            write_record(layout, replace(known, warnings=warnings, dropped=dropped))
    return loss.warnings


def _in_thread(work: Callable[[], Outcome], cancelled: threading.Event) -> Outcome:
    """Do the work in another thread; an interrupt of this one sets `cancelled` and waits on.

    Dagster handles signals itself in the main thread, and an interrupt then ends it at any point.

    Raises:
        KeyboardInterrupt: at the second interrupt; the work is then left alone.
    """
    future: Future[Outcome] = Future()
    context = contextvars.copy_context()

    def fulfil() -> None:
        try:
            future.set_result(context.run(work))
        except BaseException as problem:
            future.set_exception(problem)

    threading.Thread(target=fulfil, name="floe-run", daemon=True).start()
    while True:
        try:
            return future.result()
        except KeyboardInterrupt:
            if cancelled.is_set():
                raise
            cancelled.set()


def new_record(artifacts: CompiledArtifacts, planned: RunPlan, run_id: str) -> RunRecord:
    """Make the record of a run that starts now."""
    return RunRecord(
        run_id=run_id,
        product=planned.product,
        environment=planned.environment,
        status="running",
        started_at=datetime.now(UTC),
        source_hash=artifacts.metadata.source_hash,
        selection=planned.request.as_document(),
        vars=artifacts.dbt_vars,
        planned=planned.unique_ids,
    )


class Recording:
    """A run while it goes on: gathers what happens, and keeps the record up to date.

    Args:
        layout: The project's files.
        planned: What is run here; the record's own plan may hold more.
        listener: Hears every event of dbt too.
        record: The record as it is so far.
    """

    def __init__(
        self,
        layout: Layout,
        planned: RunPlan,
        listener: Listener | None,
        record: RunRecord,
    ) -> None:
        self.outcome: Outcome | None = None
        self._layout = layout
        self._planned = planned
        self._listener = listener
        self._known = {
            node.unique_id: node for unit in planned.units for node in (*unit.nodes, *unit.tests)
        }
        self._ephemeral = frozenset(
            node.unique_id
            for unit in planned.units
            for node in unit.unit.index.nodes.values()
            if node.materialized == "ephemeral"
        )
        self._nodes = [node for node in record.nodes if node.unique_id not in self._known]
        self._written = time.monotonic()
        self._clock = self._written - (datetime.now(UTC) - record.started_at).total_seconds()
        self.record = record

    @property
    def has_failed_nodes(self) -> bool:
        """Whether a node has failed so far."""
        return any(node.status in FAILED for node in self._nodes)

    def hear(self, event: Event) -> None:
        """Take an event of dbt and hand it on.

        dbt reports ephemeral models when it builds a whole project, though it builds nothing for
        them; they are left out, as they are not in the plan, unless one cannot be compiled.
        """
        has_failed = isinstance(event, NodeFinished) and event.status in FAILED
        if event.unique_id in self._ephemeral and not has_failed:
            return
        known = self._known.get(event.unique_id)
        event = replace(event, name=known.name) if known else event
        if isinstance(event, NodeFinished):
            self._nodes.append(self._node(event))
            self._write_now_and_then()
        if self._listener is not None:
            self._listener(event)

    def _write_now_and_then(self) -> None:
        """Keep what a killed run had done by then; only the last write must succeed."""
        if time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
            self._written = time.monotonic()
            with suppress(UnwritableError):
                write_record(self._layout, replace(self.record, nodes=tuple(self._nodes)))

    def _without_a_turn(self) -> list[NodeRecord]:
        """What was planned and never reached, as when another project broke: it was skipped."""
        ended = {node.unique_id for node in self._nodes}
        return [
            NodeRecord(node.unique_id, node.name, node.resource_type, "skipped", node.transform)
            for node in self._known.values()
            if node.unique_id not in ended
        ]

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the record at the start and, however the run ends, at the end."""
        write_record(self._layout, self.record)
        status: RunStatus = "failed"
        error: str | None = None
        try:
            yield
            status, error = self._status(), self.outcome.error if self.outcome else None
        except KeyboardInterrupt:
            status = "cancelled"
        except BaseException as problem:
            error = f"{type(problem).__name__}: {problem}"
            raise
        finally:
            with deferred():
                self._finish(status, error)

    def _finish(self, status: RunStatus, error: str | None) -> None:
        self.record = replace(
            self.record,
            status=status,
            finished_at=datetime.now(UTC),
            seconds=round(time.monotonic() - self._clock, 3),
            nodes=(*self._nodes, *self._without_a_turn()),
            error=error,
            is_unreachable=bool(self.outcome and self.outcome.is_unreachable),
        )
        write_record(self._layout, self.record)

    def _status(self) -> RunStatus:
        if self.outcome is None or self.outcome.was_cancelled:
            return "cancelled"
        return "success" if self.outcome.is_success and not self.has_failed_nodes else "failed"

    def _below_root(self, path: str | None) -> str | None:
        root = self._layout.root
        if path is None or not Path(path).is_relative_to(root):
            return path
        return Path(path).relative_to(root).as_posix()

    def _node(self, event: NodeFinished) -> NodeRecord:
        known = self._known.get(event.unique_id)
        return NodeRecord(
            unique_id=event.unique_id,
            name=event.name,
            resource_type=event.resource_type,
            status=event.status,
            transform=known.transform if known else None,
            started_at=event.started_at,
            seconds=round(event.seconds, 3),
            rows=event.rows,
            failures=event.failures,
            message=event.message,
            path=event.path,
            line=event.line,
            compiled_path=self._below_root(event.compiled_path),
            relation=event.relation,
            traceback=event.traceback,
            metadata=event.metadata,
        )


def _command_line() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "floe"
