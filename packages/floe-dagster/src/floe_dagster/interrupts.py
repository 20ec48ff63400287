"""Signals that are to end the work of a process in an orderly way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
