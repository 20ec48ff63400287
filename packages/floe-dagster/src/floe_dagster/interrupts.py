"""Signals that are to end the work of a process in an orderly way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any

_BEFORE_POOLS = 100  # the pools of multiprocessing have 15; the highest goes first


@contextmanager
def as_interrupts(*numbers: signal.Signals) -> Iterator[None]:
    """Treat signals like Ctrl-C, and put the process's own signal handling back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    touched = {signal.SIGINT, *numbers}
    before = {number: signal.getsignal(number) for number in touched}
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals that end the process wait until something is done that must be done whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda received, _frame: waiting.append(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for received in waiting[:1]:
            signal.raise_signal(received)


@contextmanager
def closed_at_exit(generator: Generator[Any, None, None]) -> Iterator[None]:
    """Close a generator at the end of the process, should nobody go on with it until then.

    Dagster does not go on with the generator of a step when an interrupt arrives while it handles
    an event of the step; and its run processes end without closing what is left. Further interrupts
    wait meanwhile: a server that goes down interrupts its group, and its runs once more.

    The generator is closed before pools of threads end, such as dbt's: a build whose threads are
    gone waits for them forever.
    """

    def close_whole() -> None:
        with deferred():
            generator.close()

    close = Finalize(None, close_whole, exitpriority=_BEFORE_POOLS)
    try:
        yield
    finally:
        close.cancel()
