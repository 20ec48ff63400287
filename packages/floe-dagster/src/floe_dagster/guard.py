"""A process that ends the services of `floe dev` when it ends, however it ends.

It reads ids of process groups from standard input, one a line. At the end of its input, which is
when the process that started it is gone or wants to go, it interrupts the groups, and kills what is
left of them after a while.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

_PATIENCE_SECONDS = 60.0  # a run that is at work is cancelled meanwhile
_POLL_SECONDS = 0.1


def end(groups: Iterable[int], patience: float = _PATIENCE_SECONDS) -> None:
    """Interrupt process groups, wait for them to be gone, and kill those that are not."""
    left = [group for group in groups if _send(group, signal.SIGINT)]
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [group for group in left if _send(group, 0)]
    for group in left:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Send a signal to a group; says whether there is such a group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS, for a group of which only zombies are left
        return False
    return True


if __name__ == "__main__":
    end([int(line) for line in sys.stdin])
