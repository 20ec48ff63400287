"""Interrupts, crashes and two runs at once, with real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from floe_testing.cli import normalise, run_floe

FLOE = str(Path(sys.executable).with_name("floe"))
ENDLESS = "select sum(a.range * b.range) as n from range(10000000) a, range(10000000) b"
PATIENCE = 120  # seconds until a test gives a process up

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A product whose second model never ends."""
    folder = tmp_path / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    platform = folder / "platform.yaml"
    platform.write_text(platform.read_text().replace("threads: 4", "threads: 1"))
    (folder / "dbt/models/stg_orders.sql").write_text(
        f"-- {{{{ ref('raw_orders') }}}}\n{ENDLESS}\n"
    )
    return folder


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@contextmanager
def endless_run(shop: Path) -> Iterator[subprocess.Popen[str]]:
    """`floe run` at the moment when its second model is at work."""
    process = subprocess.Popen(
        [FLOE, "run"], cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        log = shop / ".floe/local/logs/dbt.log"
        wait_for(
            lambda: (
                process.poll() is not None
                or (log.exists() and "START sql table model main.stg_orders" in log.read_text())
            )
        )
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_and_says_what_was_done(
    number: signal.Signals, shop: Path
) -> None:
    with endless_run(shop) as process:
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    verdict = stdout.splitlines()[-1]
    assert re.fullmatch(r"Interrupted: 1 built,.* 1 stopped \(\d+\.\d s\)", verdict)
    record = json.loads(max((shop / ".floe/runs/local").glob("*.json")).read_text())
    assert record["status"] == "cancelled"
    assert {node["name"]: node["status"] for node in record["nodes"]}["raw_orders"] == "success"
    counted = run_floe("query", "-C", str(shop), "-o", "csv", "select count(*) n from raw_orders")
    assert counted.stdout == "n\n10\n"


def test_a_second_run_names_the_process_that_holds_the_lock(shop: Path) -> None:
    with endless_run(shop) as process:
        second = subprocess.run(
            [FLOE, "run"], cwd=shop, check=False, capture_output=True, text=True
        )
    assert second.returncode == 1
    assert f"process {process.pid}" in second.stderr
    assert "floe run" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_query_during_a_run_reads_what_is_built(shop: Path) -> None:
    statement = "select count(*) as n from raw_orders"
    with endless_run(shop):
        query = subprocess.run(
            [FLOE, "query", "-o", "csv", statement],
            cwd=shop,
            check=False,
            capture_output=True,
            text=True,
        )
    assert (query.returncode, query.stdout) == (0, "n\n10\n"), query.stderr


def test_a_killed_run_leaves_artifacts_and_records_readable(shop: Path) -> None:
    with endless_run(shop) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
    artifacts = json.loads((shop / ".floe/artifacts.json").read_text())
    assert artifacts["identity"]["name"] == "shop"
    (shop / "dbt/models/stg_orders.sql").write_text("select * from {{ ref('raw_orders') }}\n")
    again = run_floe("run", "-C", str(shop), "--select", "raw_orders", "--output", "json")
    assert again.exit_code == 0, normalise(again.stderr, shop)
    records = sorted((shop / ".floe/runs/local").glob("*.json"))
    assert [json.loads(path.read_text())["status"] for path in records] == ["running", "success"]
