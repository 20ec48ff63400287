"""Events that were not delivered, in a bounded file of JSON lines until the next run sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from floe_core.layout import make_folder, write_atomic

LIMIT_BYTES = 20_000_000
"""Most that is kept; the oldest events give way."""

_WAIT_SECONDS = 1.0


class Spool:
    """The file, which several processes may share.

    One of them at a time sends what is in it; any may add to it.

    Args:
        path: The file.
        limit: Most bytes that it holds.
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit = limit
        self._sending = FileLock(f"{path}.sending", thread_local=False)
        self._writing = FileLock(f"{path}.lock", thread_local=False)

    def claim(self) -> list[bytes]:
        """Take what is in the file to send it, the oldest first; empty while another sends it.

        It stays in the file until `settle` says that it was delivered.
        """
        if not self._path.is_file():
            return []
        try:
            self._sending.acquire(blocking=False)
        except Timeout:
            return []
        return sorted(self._lines(), key=_time)

    def settle(self, done: Sequence[bytes], kept: Sequence[bytes]) -> int:
        """Take out what was delivered, add what was not, and let go of the file.

        Args:
            done: Lines of `claim` that need not be sent again.
            kept: New lines.

        Returns:
            How many events had to be dropped, because there is no room.
        """
        try:
            return self._rewrite(Counter(done), kept) if done or kept else 0
        finally:
            self._sending.release()

    def _rewrite(self, done: Counter[bytes], kept: Sequence[bytes]) -> int:
        make_folder(self._path.parent)
        with self._writing.acquire(timeout=_WAIT_SECONDS):
            remaining = []
            for line in self._lines():
                if done[line]:
                    done[line] -= 1
                else:
                    remaining.append(line)
            lines = sorted([*remaining, *kept], key=_time)
            fitting, size = [], 0
            for line in reversed(lines):
                size += len(line) + 1
                if size > self._limit:
                    break
                fitting.append(line)
            if fitting:
                write_atomic(self._path, b"\n".join([*reversed(fitting), b""]))
            else:
                self._path.unlink(missing_ok=True)
            return len(lines) - len(fitting)

    def _lines(self) -> list[bytes]:
        with suppress(FileNotFoundError):
            return [line for line in self._path.read_bytes().split(b"\n") if _event(line)]
        return []


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None of one that was damaged."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "eventTime" in event else None


def _time(line: bytes) -> str:
    event = _event(line)
    return str(event["eventTime"]) if event else ""
