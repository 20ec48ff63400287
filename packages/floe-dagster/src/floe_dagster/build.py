"""Running dbt for a unit while its events are handed on, one by one, as they happen."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator

from floe_dbt.engine import (
    BuildResult,
    DbtEngine,
    Event,
    Invocation,
    Listener,
    NodeFinished,
    Selection,
)

_POLL_SECONDS = 0.2


class Build:
    """One `dbt build` in a thread of its own; iterating yields the nodes as they end.

    An exception in the thread that iterates, an interrupt above all, cancels the build; the nodes
    that end after that are still yielded, and then the exception is raised. Abandoning the
    iteration cancels the build too, and waits for it.

    Args:
        engine: Runs dbt.
        invocation: Where and how.
        selection: What to build.
        listener: Hears every event, from dbt's threads.
        full_refresh: Whether to rebuild from nothing.
        cancelled: Once set, from whatever thread, the build is cancelled.
    """

    def __init__(
        self,
        engine: DbtEngine,
        invocation: Invocation,
        selection: Selection,
        *,
        listener: Listener | None = None,
        full_refresh: bool = False,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._result: BuildResult | None = None
        self._engine = engine
        self._invocation = invocation
        self._selection = selection
        self._listener = listener
        self._full_refresh = full_refresh
        self._cancelled = cancelled or threading.Event()
        self._items: queue.SimpleQueue[NodeFinished | BaseException | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[NodeFinished]:
        context = contextvars.copy_context()
        worker = threading.Thread(target=context.run, args=(self._work,), name="floe-build")
        worker.daemon = True
        worker.start()
        interrupt: BaseException | None = None
        try:
            while True:
                if self._cancelled.is_set():
                    self._engine.cancel()
                try:
                    item = self._items.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                except BaseException as problem:
                    if interrupt is not None:
                        raise  # asked twice: do not wait for dbt any longer
                    interrupt = problem
                    self._cancelled.set()
                    continue
                if item is None:
                    break
                if isinstance(item, BaseException):
                    raise item
                yield item
        except GeneratorExit:
            self._engine.cancel()
            worker.join()
            raise
        if interrupt is not None:
            raise interrupt

    @property
    def result(self) -> BuildResult:
        """What dbt says in the end; there is none before the iteration is over."""
        if self._result is None:
            raise RuntimeError("the build is not over")
        return self._result

    def _work(self) -> None:
        try:
            self._result = self._engine.build(
                self._invocation, self._selection, self._hear, full_refresh=self._full_refresh
            )
        except BaseException as problem:
            self._items.put(problem)
        else:
            self._items.put(None)

    def _hear(self, event: Event) -> None:
        if self._listener is not None:
            self._listener(event)
        if isinstance(event, NodeFinished):
            self._items.put(event)


def failure_message(result: BuildResult, failed: list[NodeFinished]) -> str | None:
    """Say in one line what went wrong; None when nothing did."""
    if result.error is not None:
        return result.error
    if result.was_cancelled:
        return "dbt was cancelled"
    if not failed:
        return None
    names = ", ".join(f"{node.name} ({node.status})" for node in failed[:10])
    more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
    subject = "1 node" if len(failed) == 1 else f"{len(failed)} nodes"
    return f"{subject} failed: {names}{more}"


EngineFactory = Callable[[], DbtEngine]
"""Makes the engine in the process that executes."""


def dbt_core() -> DbtEngine:
    """Make the engine that is used when none is handed in."""
    from floe_dbt.dbt_core import DbtCore

    return DbtCore()
