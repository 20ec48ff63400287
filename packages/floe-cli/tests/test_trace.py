"""`floe trace` shows where the time of a run went."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from floe_core.layout import Layout
from floe_dagster.records import RunRecord, read_records, write_record
from floe_testing.cli import run_floe

SECONDS = {"raw_orders": (0.0, 1.0), "stg_orders": (1.0, 2.0), "customers": (3.0, 0.5)}
OTHERS = {"daily_revenue": (3.0, 3.0), "not_null_customers_customer": (3.5, 0.25)}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product that was run, with times that are known."""
    folder = tmp_path_factory.mktemp("trace") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_floe("run").exit_code == 0
    layout = Layout(folder)
    [record] = read_records(layout, "local")
    write_record(layout, timed(record))
    return folder


def timed(record: RunRecord) -> RunRecord:
    known = {**SECONDS, **OTHERS}
    return replace(
        record,
        seconds=6.5,
        nodes=tuple(
            replace(
                node,
                started_at=record.started_at + timedelta(seconds=known[node.name][0]),
                seconds=known[node.name][1],
            )
            for node in record.nodes
            if node.name in known
        ),
    )


def test_nodes_in_the_order_of_their_start(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    result = run_floe("trace")
    assert result.exit_code == 0, result.stderr
    title, empty, *lines = result.stdout.splitlines()
    assert re.fullmatch(
        r"Run [0-9a-f-]{36} of shop: success, \d{4}-\d\d-\d\d \d\d:\d\d, 6.5 s", title
    )
    assert empty == ""
    early, late = " " * 5, " " * 15
    assert sorted(lines[:-2]) == sorted(
        [
            "     0.00 s  seed      raw_orders                      1.00 s  █████",
            f"     1.00 s  model     stg_orders                      2.00 s  {early}{'█' * 10}",
            f"     3.00 s  model     customers                       0.50 s  {late}██",
            f"     3.00 s  model     daily_revenue                   3.00 s  {late}{'█' * 15}",
            f"     3.50 s  test      not_null_customers_customer     0.25 s  {late}  █",
        ]
    )
    assert lines == [*sorted(lines[:-2], key=lambda line: line[:12]), *lines[-2:]]
    assert lines[-2:] == ["", "Longest chain (6.00 s): raw_orders > stg_orders > daily_revenue"]


def test_the_slowest_as_data(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    found = json.loads(run_floe("trace", "--slowest", "2", "--output", "json").stdout)
    assert [(node["name"], node["offset_seconds"], node["seconds"]) for node in found["nodes"]] == [
        ("daily_revenue", 3.0, 3.0),
        ("stg_orders", 1.0, 2.0),
    ]
    assert [uid.rpartition(".")[2] for uid in found["longest_chain"]] == [
        "raw_orders",
        "stg_orders",
        "daily_revenue",
    ]
    assert found["longest_chain_seconds"] == 6.0
    named = json.loads(run_floe("trace", found["run_id"][:8], "--output", "json").stdout)
    assert named["run_id"] == found["run_id"]


def test_a_run_that_is_not_there(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    [record] = read_records(Layout(shop), "local")
    result = run_floe("trace", "nonsense")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no run whose id begins with `nonsense` in environment local\n"
        f"  help: The last is {record.run_id}.\n"
    )


def test_no_run_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_floe("init", str(tmp_path / "shop")).exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    result = run_floe("trace")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no run yet in environment local\n  help: `floe run` makes one.\n"
    )
