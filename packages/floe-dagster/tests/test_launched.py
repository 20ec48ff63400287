"""Runs that Dagster launches write the record that `floe list` and `floe run --failed` read."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from floe_core.dagster_names import RUN_JOB
from floe_core.errors import UsageError
from floe_core.layout import Layout
from floe_dagster import assets, execute, launched
from floe_dagster.definitions import build_definitions
from floe_dagster.lock import hold
from floe_dagster.plan import RunRequest, plan
from floe_dagster.records import RunRecord, find_record, read_records, write_record
from floe_dbt.engine import (
    BuildResult,
    CommandResult,
    Invocation,
    Listener,
    NodeFinished,
    Selection,
)

if TYPE_CHECKING:
    from conftest import Product


class Script:
    """An engine that says of each node of a unit that it succeeded, or what it is told to say."""

    version = "0"

    def __init__(self, product: Product, **statuses: str) -> None:
        self.product = product
        self.statuses = statuses
        self.seen: list[RunRecord] = []

    def build(
        self,
        invocation: Invocation,
        selection: Selection,
        listener: Listener,
        *,
        full_refresh: bool = False,
    ) -> BuildResult:
        self.seen += read_records(self.product.layout, "local", limit=1)
        [unit] = [u for u in self.product.units.values() if u.project == invocation.project]
        finished = tuple(
            NodeFinished(
                unique_id=node.unique_id,
                resource_type=node.resource_type,
                name=node.name,
                status=self.statuses.get(  # type: ignore[arg-type]
                    node.name, "pass" if node.resource_type == "test" else "success"
                ),
                started_at=datetime.now(UTC),
                seconds=0.1,
            )
            for node in sorted(
                (*unit.assets, *unit.tests), key=lambda node: unit.order[node.unique_id]
            )
        )
        for node in finished:
            listener(node)
        return BuildResult(finished)

    def cancel(self) -> None:
        raise NotImplementedError

    def parse(self, invocation: Invocation) -> CommandResult:
        raise NotImplementedError

    def deps(self, invocation: Invocation) -> CommandResult:
        raise NotImplementedError

    def list(self, invocation: Invocation, selection: Selection) -> tuple[str, ...]:
        raise NotImplementedError


def launch(product: Product, engine: Script, **options: Any) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(product.artifacts, root=product.root, engine=engine)
    job = definitions.resolve_job_def(RUN_JOB)
    return job.execute_in_process(raise_on_error=False, **options)


def test_the_steps_of_a_run_are_one_record(product: Product) -> None:
    engine = Script(product)
    result = launch(product, engine)
    assert result.success
    [record] = read_records(product.layout, "local")
    assert (record.run_id, record.status) == (result.run_id, "success")
    everything = plan(product.artifacts, root=product.root)
    assert set(record.planned) == set(everything.unique_ids)
    assert {node.unique_id for node in record.nodes} == set(everything.unique_ids)
    assert {node.transform for node in record.nodes} >= {"contacts", "base"}
    first, second = engine.seen
    assert (first.status, first.nodes) == ("running", ())
    assert second.status == "running"
    assert second.nodes != ()
    assert set(second.planned) == set(everything.unique_ids)
    with pytest.raises(UsageError, match="nothing failed in the last run"):
        plan(product.artifacts, root=product.root, request=RunRequest(failed=True))


def test_what_failed_and_what_had_no_turn_is_left(product: Product) -> None:
    assert not launch(product, Script(product, contacts="error")).success
    [record] = read_records(product.layout, "local")
    assert (record.status, record.error) == ("failed", None)
    again = plan(product.artifacts, root=product.root, request=RunRequest(failed=True))
    assert "model.crm.contacts" in again.unique_ids
    assert "model.shop.orders" in again.unique_ids


def test_a_selection_is_what_was_planned(small: Product) -> None:
    result = launch(small, Script(small), asset_selection=[dg.AssetKey(["raw", "numbers"])])
    record = find_record(small.layout, "local", result.run_id)
    assert record is not None
    assert [name for name in record.planned if not name.startswith("test.")] == [
        "seed.dbt_project.numbers"
    ]


def test_the_launch_is_in_the_record(small: Product) -> None:
    unit = next(iter(small.units))
    config = {"ops": {unit: {"config": {"full_refresh": True, "threads": 2}}}}
    result = launch(small, Script(small), run_config=config)
    record = find_record(small.layout, "local", result.run_id)
    assert record is not None
    assert record.selection == RunRequest(full_refresh=True, threads=2).as_document()


def test_why_a_run_broke_off(small: Product) -> None:
    class Broken(Script):
        def build(self, *_: Any, **__: Any) -> BuildResult:
            return BuildResult((), error="cannot connect")

    launch(small, Broken(small))
    [record] = read_records(small.layout, "local")
    assert (record.status, record.error) == ("failed", "cannot connect")
    assert {node.status for node in record.nodes} == {"skipped"}


def test_an_interrupt_does_not_cut_off_the_end_of_a_record(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_record

    def interrupted(layout: Layout, record: RunRecord) -> None:
        if record.finished_at is not None:
            signal.raise_signal(signal.SIGINT)
        write(layout, record)

    monkeypatch.setattr(execute, "write_record", interrupted)
    assert not launch(small, Script(small)).success
    [record] = read_records(small.layout, "local")
    assert record.status == "success"


def test_an_interrupt_while_a_later_step_waits_ends_the_record(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter([hold])

    @contextmanager
    def held(*arguments: Any, **options: Any) -> Iterator[None]:
        with next(turns, interrupted)(*arguments, **options):
            yield

    @contextmanager
    def interrupted(*_: Any, **__: Any) -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        yield

    monkeypatch.setattr(launched, "hold", held)
    assert not launch(product, Script(product)).success
    [record] = read_records(product.layout, "local")
    assert record.status == "cancelled"
    assert record.finished_at is not None
    assert 0 < len(record.nodes) < len(record.planned)


UNFINISHED = """
import multiprocessing
import sys
from floe_dagster.interrupts import closed_at_exit

def events():
    try:
        yield 1
    finally:
        print("closed", flush=True)

def step(inner):
    with closed_at_exit(inner):
        yield from inner

def leave():
    sys.modules["left"] = left = step(events())  # something holds on to it to the end
    next(left)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=leave)
    process.start()
    process.join()
"""


def test_what_is_left_unfinished_is_closed_when_the_process_ends(tmp_path: Path) -> None:
    """In such a process as Dagster makes for a run."""
    script = tmp_path / "unfinished.py"
    script.write_text(UNFINISHED)
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"closed\n"


def test_an_interrupt_while_dagster_handles_an_event_ends_the_record(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = dg.DagsterInstance.handle_new_event

    def interrupted(instance: dg.DagsterInstance, event: dg.EventLogEntry, **options: Any) -> None:
        if event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            signal.raise_signal(signal.SIGINT)
        handle(instance, event, **options)

    @contextmanager
    def at_exit(events: Generator[Any, None, None]) -> Iterator[None]:
        left.append(events)
        yield

    left: list[Generator[Any, None, None]] = []
    monkeypatch.setattr(assets, "closed_at_exit", at_exit)
    monkeypatch.setattr(dg.DagsterInstance, "handle_new_event", interrupted)
    monkeypatch.setattr(Script, "cancel", lambda _: None)
    assert not launch(small, Script(small)).success
    [record] = read_records(small.layout, "local")
    assert record.status == "running"
    left[0].close()
    [record] = read_records(small.layout, "local")
    assert (record.status, record.error) == ("cancelled", None)


def test_there_is_no_record_of_another_run(small: Product) -> None:
    assert find_record(small.layout, "local", "0" * 36) is None
