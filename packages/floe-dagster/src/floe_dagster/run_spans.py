"""Spans and metrics of a run, made of what is heard of it while it goes on.

Names of attributes are OpenTelemetry's own where it has some (`db.*`, `code.*`, `error.*`); for dbt
it has none, so that those begin with `dbt.`. `docs/explanation/telemetry.md` lists all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from floe_core.index import Node
from floe_dagster.plan import RunPlan
from floe_dagster.records import RunRecord
from floe_dagster.units import Unit
from floe_dbt.engine import FAILED, Event, NodeFinished, NodeStarted

if TYPE_CHECKING:
    from floe_core.otel import Telemetry

_ERROR = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception))\b|^(\w[\w ]{0,30} Error):")


@dataclass(slots=True)
class _Open:
    """A node that runs: its span, and the thread that has it as its current one."""

    span: Span
    thread: int
    token: Token[Context]


class RunSpans:
    """Makes the spans of a run's steps and nodes, and counts.

    Safe to call from several threads. The span of a node is the current one of the thread that
    runs it, so that what a library does for the node is below it.

    Args:
        planned: What is run.
        telemetry: Where they go.
        clean: Takes secrets and values of rows out of a message.
    """

    def __init__(self, planned: RunPlan, telemetry: Telemetry, clean: Callable[[str], str]) -> None:
        self._telemetry = telemetry
        self._tracer = telemetry.tracer
        self._instruments = _Instruments(telemetry.meter)
        self._units = {uid: unit.unit for unit in planned.units for uid in unit.unique_ids}
        self._clean = clean
        self._open: dict[str, _Open] = {}
        self._step: Context | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run a block as the span of a step; nodes that begin within are below it."""
        attributes = {"dagster.step.key": name}
        with self._tracer.start_as_current_span(f"step {name}", attributes=attributes):
            self._step = context.get_current()
            try:
                yield
            finally:
                self._step = None
                for open_ in self._open.values():  # what was broken off
                    open_.span.set_status(Status(StatusCode.ERROR, "it did not end"))
                    open_.span.end()
                self._open.clear()

    def hear(self, event: Event) -> None:
        """Take an event of dbt, in the thread that runs the node."""
        if isinstance(event, NodeStarted):
            self._begin(event)
        else:
            self._end(event)

    def run_ended(self, record: RunRecord) -> None:
        """Make the span of the run, and measure it."""
        finished = record.finished_at or datetime.now(UTC)
        attributes = {
            "floe.run.id": record.run_id,
            "floe.run.status": record.status,
            "dagster.run.id": record.run_id,
        }
        start = _nanoseconds(record.started_at)
        span = self._telemetry.start_run(f"run {record.product}", attributes, start)
        if not record.is_success:
            failed = sum(node.status in FAILED for node in record.nodes)
            nodes = "1 node" if failed == 1 else f"{failed} nodes"
            reason = self._clean(record.error) if record.error else f"{nodes} failed"
            span.set_attribute("error.type", record.status)
            span.set_status(Status(StatusCode.ERROR, reason))
        span.end(_nanoseconds(finished))
        duration = (finished - record.started_at).total_seconds()
        self._instruments.run_duration.record(duration, {"floe.run.status": record.status})

    def count_dropped(self, dropped: Mapping[str, int]) -> None:
        """Count what the run before could not deliver, which it knew too late to tell."""
        for signal, count in dropped.items():
            self._instruments.dropped.add(count, {"floe.telemetry.signal": signal})

    def compiled(self, seconds: float) -> None:
        """Measure the compile before the run."""
        self._instruments.compile_duration.record(seconds)

    def _begin(self, event: NodeStarted) -> None:
        span = self._span(event, event.started_at)
        token = context.attach(trace.set_span_in_context(span, self._step))
        self._open[event.unique_id] = _Open(span, threading.get_ident(), token)

    def _end(self, event: NodeFinished) -> None:
        open_ = self._open.pop(event.unique_id, None)
        if open_ is not None and open_.thread == threading.get_ident():
            context.detach(open_.token)
        span = open_.span if open_ is not None else self._span(event, event.started_at)
        attributes: dict[str, AttributeValue | None] = {
            "dbt.node.status": event.status,
            "dbt.node.rows": event.rows,
            "dbt.node.failures": event.failures,
        }
        if event.commit is not None:
            attributes["dbt.node.bytes"] = event.commit.added_files_size
            attributes["iceberg.snapshot.id"] = str(event.commit.snapshot_id)
            attributes["iceberg.table.location"] = event.commit.location
        span.set_attributes(
            {name: value for name, value in attributes.items() if value is not None}
        )
        if event.status in FAILED:
            self._fail(span, event)
        span.end(_nanoseconds(event.started_at + timedelta(seconds=event.seconds)))
        self._instruments.count(event, self._node(event.unique_id))

    def _fail(self, span: Span, event: NodeFinished) -> None:
        message = self._clean(event.message or f"it ended as {event.status}")
        found = _ERROR.match(message)
        kind = (found[1] or found[2]) if found else event.status
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, message))
        if event.status == "error":
            exception = {"exception.type": kind, "exception.message": message}
            at = event.started_at + timedelta(seconds=event.seconds)
            span.add_event("exception", exception, _nanoseconds(at))

    def _span(self, event: Event, at: datetime) -> Span:
        node = self._node(event.unique_id)
        unit = self._units.get(event.unique_id)
        attributes: dict[str, AttributeValue] = {
            "dbt.node.unique_id": event.unique_id,
            "dbt.node.name": event.name,
            "dbt.node.resource_type": event.resource_type,
        }
        if node is not None and unit is not None:
            attributes |= _of_node(node, unit)
        return self._tracer.start_span(
            f"{event.resource_type} {event.name}",
            self._step,
            attributes=attributes,
            start_time=_nanoseconds(at),
        )

    def _node(self, unique_id: str) -> Node | None:
        unit = self._units.get(unique_id)
        return unit.index.nodes.get(unique_id) if unit is not None else None


def _of_node(node: Node, unit: Unit) -> dict[str, AttributeValue]:
    """What dbt's index says of a node; where a database keeps it, in the words of databases."""
    file = Path(unit.project) / node.original_file_path
    found: dict[str, AttributeValue | None] = {
        "code.file.path": file.as_posix() if node.original_file_path else None,
        "dbt.node.materialized": node.materialized,
    }
    if unit.is_dbt and node.resource_type != "test" and node.schema is not None:
        adapter = unit.index.adapter_type
        found["db.system.name"] = "duckdb" if adapter.startswith("duckdb") else adapter
        found["db.namespace"] = ".".join(filter(None, (node.database, node.schema)))
        found["db.collection.name"] = node.alias or node.name
    return {name: value for name, value in found.items() if value is not None}


class _Instruments:
    """Metrics of runs; attributes have few values, so that no metric is one of each model."""

    def __init__(self, meter: Meter) -> None:
        self.run_duration = meter.create_histogram(
            "floe.run.duration", "s", "How long runs take, on the clock."
        )
        self.compile_duration = meter.create_histogram(
            "floe.compile.duration", "s", "How long the compile before a run takes, on the clock."
        )
        self.dropped = meter.create_counter(
            "floe.telemetry.dropped", "{item}", "What the run before could not deliver."
        )
        self.node_duration = meter.create_histogram(
            "dbt.node.duration", "s", "How long nodes take, on the clock."
        )
        self.nodes = meter.create_counter("dbt.nodes", "{node}", "Nodes that ended.")
        self.rows = meter.create_counter("dbt.node.rows", "{row}", "Rows that were written.")
        self.bytes = meter.create_counter("dbt.node.bytes", "By", "Bytes that were written.")
        self.failures = meter.create_counter(
            "dbt.test.failures", "{row}", "Rows that failed a test."
        )
        self.table_size = meter.create_histogram(
            "iceberg.table.size", "By", "Bytes of an Iceberg table's files after a commit."
        )
        self.table_files = meter.create_histogram(
            "iceberg.table.files", "{file}", "Data files of an Iceberg table after a commit."
        )

    def count(self, event: NodeFinished, node: Node | None) -> None:
        """Count a node that ended."""
        kind = {"dbt.node.resource_type": event.resource_type}
        ended = {**kind, "dbt.node.status": event.status}
        self.nodes.add(1, ended)
        if event.status != "skipped":
            made = (
                {"dbt.node.materialized": node.materialized} if node and node.materialized else {}
            )
            self.node_duration.record(event.seconds, {**ended, **made})
        if event.rows is not None:
            self.rows.add(event.rows, kind)
        if event.failures:
            self.failures.add(event.failures, {"dbt.node.status": event.status})
        commit = event.commit
        if commit is not None:
            self.bytes.add(commit.added_files_size, kind)
            if commit.total_files_size is not None:
                self.table_size.record(commit.total_files_size)
            if commit.total_data_files is not None:
                self.table_files.record(commit.total_data_files)


def _nanoseconds(at: datetime) -> int:
    """Nanoseconds since 1970, without what a float would lose."""
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
