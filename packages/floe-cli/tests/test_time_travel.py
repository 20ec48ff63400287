"""`floe query --at`: the tables of a product as they were."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from floe_testing.cli import run_floe

COUNT = "select count(*) as n, sum(revenue) as revenue from customers"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """A product that was run, and run again with one order more; and the time between."""
    folder = tmp_path_factory.mktemp("time") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    assert run_floe("run", "--quiet", "-C", str(folder)).exit_code == 0
    between = datetime.now(UTC)
    with (folder / "dbt/seeds/raw_orders.csv").open("a") as orders:
        orders.write("99,zoe,2026-01-09 10:00:00,100000,completed\n")
    assert run_floe("run", "--quiet", "-C", str(folder)).exit_code == 0
    return folder, between


def rows(folder: Path, sql: str, *options: str) -> list[list[object]]:
    result = run_floe("query", sql, "--output", "json", "-C", str(folder), *options)
    assert result.exit_code == 0, result.stderr
    found = [list(row.values()) for row in json.loads(result.stdout)["rows"]]
    return found


def test_a_query_reads_what_was_there_at_a_time(shop: tuple[Path, datetime]) -> None:
    folder, between = shop
    [[now, revenue]] = rows(folder, COUNT)
    [[then, revenue_then]] = rows(folder, COUNT, "--at", between.isoformat())
    assert (now, then) == (5, 4)
    assert round(float(str(revenue)) - float(str(revenue_then))) == 1000
    local = between.astimezone().replace(tzinfo=None)
    assert rows(folder, COUNT, "--at", str(local)) == [[then, revenue_then]]


def test_tables_before_there_were_any(shop: tuple[Path, datetime]) -> None:
    folder, _ = shop
    result = run_floe("query", COUNT, "--at", "2020-01-01 00:00:00+00:00", "-C", str(folder))
    assert (result.exit_code, result.stdout) == (1, "")
    said, help = result.stderr.splitlines()
    assert said.startswith("error: main.customers has no snapshot from 20")
    assert help.startswith("  help: the oldest is of 20")


def test_what_is_no_time(shop: tuple[Path, datetime]) -> None:
    folder, _ = shop
    result = run_floe("query", COUNT, "--at", "yesterday", "-C", str(folder))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: invalid value for '--at': `yesterday` is no time; "
        "write it like `2026-03-01 09:00`\n"
        "  help: `floe query --help` shows what there is.\n"
    )


def test_tables_that_are_the_engines_own(shop: tuple[Path, datetime]) -> None:
    folder, _ = shop
    artifacts = json.loads((folder / ".floe/artifacts.json").read_text())
    artifacts["profiles"]["catalog"] = None
    (folder / "own.json").write_text(json.dumps(artifacts))
    result = run_floe("query", COUNT, "--at", "2026-01-01", "--artifacts", str(folder / "own.json"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: `--at` reads Iceberg tables, and those of shop are the engine's own\n"
        "  help: Ask for the tables as they are now.\n"
    )
