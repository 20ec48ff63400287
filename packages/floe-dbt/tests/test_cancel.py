from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import BuildResult, Event, NodeStarted, Selection

SLOW = (
    "{{ config(materialized='table') }}\n"
    "select count(*) as n from range(10000000) a, range(1000000) b\n"
    "where (a.range * b.range) % 7 = 3\n"
)


def ignore(event: Event) -> None:
    pass


class Running:
    """A build in a thread of its own, which can be waited for."""

    def __init__(self, engine: DbtCore, workspace: Any, *, until: int = 1) -> None:
        self.engine = engine
        self._started = threading.Semaphore(0)
        self._until = until
        self._results: list[BuildResult] = []
        self._thread = threading.Thread(target=self._build, args=(workspace.invocation(),))
        self._thread.start()

    def _build(self, invocation: Any) -> None:
        self._results.append(self.engine.build(invocation, Selection(), self._listen))

    def _listen(self, event: Event) -> None:
        if isinstance(event, NodeStarted) and event.name.startswith("slow"):
            self._started.release()

    def wait_until_started(self) -> None:
        for _ in range(self._until):
            assert self._started.acquire(timeout=30)
        time.sleep(0.2)

    def result(self) -> BuildResult:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self._results[0]


def test_running_queries_end_and_no_node_begins(shop: Any) -> None:
    waiting = {f"models/waiting_{number}.sql": "select 1 as a\n" for number in range(8)}
    shop.write({"models/slow_1.sql": SLOW, "models/slow_2.sql": SLOW, **waiting})
    shop.write({"models/child.sql": "select * from {{ ref('slow_1') }}\n"})
    invocation = shop.invocation(threads=2)
    started: list[str] = []
    is_busy = threading.Semaphore(0)

    def listen(event: Event) -> None:
        if isinstance(event, NodeStarted):
            started.append(event.name)
            if event.name.startswith("slow"):
                is_busy.release()

    engine = DbtCore()
    results: list[BuildResult] = []
    selection = Selection(("slow_1+", "slow_2", "waiting_*"))
    thread = threading.Thread(
        target=lambda: results.append(engine.build(invocation, selection, listen))
    )
    thread.start()
    assert is_busy.acquire(timeout=30)
    assert is_busy.acquire(timeout=30)
    begun = list(started)
    at = time.monotonic()
    engine.cancel()
    thread.join(30)
    assert time.monotonic() - at < 2
    [result] = results
    assert result.was_cancelled
    assert not result.is_success
    assert result.error is None
    assert started == begun
    outcome = {node.name: node.status for node in result.nodes}
    assert {outcome[name] for name in begun if name.startswith("slow")} == {"cancelled"}
    assert {outcome[name] for name in outcome if name not in begun} == {"skipped"}
    assert outcome["child"] == "skipped"
    with duckdb.connect(str(shop.database)) as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_a_build_after_a_cancelled_one_works(shop: Any) -> None:
    shop.write({"models/slow_1.sql": SLOW})
    engine = DbtCore()
    running = Running(engine, shop)
    running.wait_until_started()
    engine.cancel()
    assert running.result().was_cancelled
    selection = Selection(exclude=("slow_1",))
    assert engine.build(shop.invocation(), selection, ignore).is_success
    assert shop.rows("select count(*) from revenue") == [(2,)]


def test_before_dbt_has_its_turn_nothing_is_built(engine: DbtCore, shop: Any) -> None:
    shop.write({"models/slow_1.sql": SLOW})
    running = Running(DbtCore(), shop)
    running.wait_until_started()
    waiting = DbtCore()
    results: list[BuildResult] = []
    thread = threading.Thread(
        target=lambda: results.append(waiting.build(shop.invocation(), Selection(), ignore))
    )
    thread.start()
    while not waiting._builds:
        time.sleep(0.01)
    waiting.cancel()
    running.engine.cancel()
    assert running.result().was_cancelled
    thread.join(30)
    [result] = results
    assert (result.was_cancelled, result.nodes) == (True, ())


def test_hooks_do_not_run_any_more(shop: Any) -> None:
    shop.write(
        {
            "dbt_project.yml": "name: shop\nversion: '1.0'\n"
            "on-run-end: ['create table after_all as select 1']\n",
            "models/slow_1.sql": SLOW,
        }
    )
    running = Running(DbtCore(), shop)
    running.wait_until_started()
    running.engine.cancel()
    assert running.result().was_cancelled
    tables = shop.rows("select table_name from information_schema.tables")
    assert ("after_all",) not in tables


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_an_interrupt_cancels_before_it_is_raised(
    shop: Any, cancel_after: Callable[[float], None]
) -> None:
    shop.write({"models/slow_1.sql": SLOW})
    engine = DbtCore()

    def interrupt_soon(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.name == "slow_1":
            cancel_after(0.3)

    with pytest.raises(KeyboardInterrupt):
        engine.build(shop.invocation(), Selection(), interrupt_soon)
    with duckdb.connect(str(shop.database)) as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


@pytest.fixture
def cancel_after() -> Callable[[float], None]:
    """Interrupt this process after some seconds, as Ctrl-C does."""
    return lambda seconds: threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_without_a_build_nothing_happens(engine: DbtCore) -> None:
    engine.cancel()
