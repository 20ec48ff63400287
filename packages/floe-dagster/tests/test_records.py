"""Run records."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from floe_core.layout import Layout
from floe_dagster.plan import left_over
from floe_dagster.records import (
    NodeRecord,
    RunRecord,
    RunStatus,
    last_states,
    read_records,
    write_record,
)

START = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def node(name: str, status: str) -> NodeRecord:
    return NodeRecord(f"model.p.{name}", name, "model", status)


def record(
    number: int = 0, status: RunStatus = "success", *nodes: NodeRecord, pid: int | None = None
) -> RunRecord:
    return RunRecord(
        run_id=f"{number:08d}-0000-0000-0000-000000000000",
        product="p",
        environment="local",
        status=status,
        started_at=START + timedelta(minutes=number),
        nodes=nodes,
        planned=tuple(n.unique_id for n in nodes),
        pid=pid if pid is not None else os.getpid(),
    )


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_round_trip_newest_first(layout: Layout) -> None:
    records = [record(n, "success", node("a", "success")) for n in range(3)]
    paths = [write_record(layout, r) for r in records]
    assert paths[0].name == "20260102T030405.000678Z-00000000.json"
    assert read_records(layout, "local") == records[::-1]
    assert read_records(layout, "local", limit=1) == [records[2]]
    assert read_records(layout, "prod") == []


def test_a_run_that_ends_replaces_its_record(layout: Layout) -> None:
    first = write_record(layout, record(0, "running"))
    assert write_record(layout, record(0, "success")) == first
    assert [r.status for r in read_records(layout, "local")] == ["success"]


def test_running_or_crashed(layout: Layout) -> None:
    write_record(layout, record(0, "running"))
    assert [r.status for r in read_records(layout, "local")] == ["running"]
    write_record(layout, record(1, "running", pid=dead_pid()))
    # One run at a time holds the lock: the older one cannot be running whatever its process does.
    assert [r.status for r in read_records(layout, "local")] == ["crashed", "crashed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells in /proc")
def test_a_process_that_nobody_has_waited_for_is_over(layout: Layout) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # ends with the process
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    write_record(layout, record(0, "running", pid=process.pid))
    assert [r.status for r in read_records(layout, "local")] == ["crashed"]
    process.communicate()


def test_other_files_are_left_out_and_named(layout: Layout) -> None:
    good = write_record(layout, record())
    for name, text in {
        "20270101T000000Z-half.json": good.read_text()[:50],
        "20270102T000000Z-foreign.json": '{"hello": 1}',
        "20270103T000000Z-list.json": "[]",
        "20270104T000000Z-odd.json": good.read_text().replace('"success"', '"great"'),
    }.items():
        good.with_name(name).write_text(text)
    skipped: list[str] = []
    found = read_records(layout, "local", on_skip=lambda path, _why: skipped.append(path.name))
    assert found == [record()]
    assert [name.partition("-")[2] for name in skipped] == [
        "odd.json",
        "list.json",
        "foreign.json",
        "half.json",
    ]


def test_fields_of_a_newer_floe_are_ignored(layout: Layout) -> None:
    path = write_record(layout, record(0, "success", node("a", "success")))
    path.write_text(path.read_text().replace('"product"', '"novelty": 1,\n"product"'))
    assert read_records(layout, "local") == [record(0, "success", node("a", "success"))]


def test_last_states() -> None:
    older = record(0, "success", node("a", "success"), node("b", "success"))
    newer = record(1, "failed", node("b", "error"))
    states = last_states([newer, older])
    assert {state.node.name: state.node.status for state in states.values()} == {
        "a": "success",
        "b": "error",
    }
    assert states["model.p.a"].at == older.started_at
    assert states["model.p.b"].run_id == newer.run_id


def test_left_over_is_what_did_not_succeed() -> None:
    nodes = [node(s, s) for s in ("success", "pass", "warn", "error", "fail", "skipped")]
    crashed = RunRecord(
        run_id="1",
        product="p",
        environment="local",
        status="crashed",
        started_at=START,
        planned=("model.p.never", *(n.unique_id for n in nodes)),
        nodes=tuple(nodes),
    )
    assert {name.rpartition(".")[2] for name in left_over(crashed)} == {
        "never",
        "error",
        "fail",
        "skipped",
    }


def test_reading_records_and_planning_need_neither_dagster_nor_dbt() -> None:
    code = (
        "import sys, floe_dagster, floe_dagster.records, floe_dagster.execute, floe_dagster.plan;"
        "print([m for m in sys.modules if m.partition('.')[0] in ('dagster', 'dbt', 'duckdb')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
