"""The lock that keeps two runs of one project and environment apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from floe_core.errors import ProjectLockedError
from floe_core.layout import Layout, make_folder, write_atomic, writing_to

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        pid: Its process id.
        command: Its command line, or what it says it does.
        started_at: When it took the lock.
    """

    pid: int
    command: str
    started_at: datetime


@contextmanager
def hold(
    layout: Layout,
    environment: str,
    *,
    command: str,
    wait: float = 5.0,
    on_wait: Callable[[Holder | None], None] | None = None,
) -> Iterator[None]:
    """Hold the lock of one environment of a project.

    The operating system releases it when the process ends, however it ends; what a killed process
    leaves behind does no harm.

    Args:
        layout: The project's files.
        environment: Name of the environment.
        command: What the holder does, for the message that others get.
        wait: Seconds to wait for another holder.
        on_wait: Called once, with the holder where it is known, when there is one to wait for.

    Raises:
        ProjectLockedError: if another process still holds it then.
        UnwritableError: if the lock file cannot be written.
    """
    does = f"runs this project in environment `{environment}`"
    help = "Wait for it to end, or stop it, and run again."
    path = layout.lock(environment)
    with hold_file(path, command=command, does=does, help=help, wait=wait, on_wait=on_wait):
        yield


@contextmanager
def hold_file(
    path: Path,
    *,
    command: str,
    does: str,
    help: str,
    wait: float,
    on_wait: Callable[[Holder | None], None] | None = None,
) -> Iterator[None]:
    """Hold the lock in a file; see `hold`.

    Args:
        path: The file.
        command: What the holder does, for the message that others get.
        does: What another holder is doing, as the end of a sentence, for the error.
        help: What to do about that.
        wait: Seconds to wait for another holder.
        on_wait: Called once when there is one to wait for.

    Raises:
        ProjectLockedError: if another process still holds it then.
        UnwritableError: if the lock file cannot be written.
    """
    make_folder(path.parent)
    lock = FileLock(path, thread_local=False)
    with writing_to(path.parent):
        try:
            _acquire(lock, path, wait, on_wait)
        except Timeout:  # which is an OSError, and says nothing of the folder
            raise ProjectLockedError(f"{_who(read_holder(path))} {does}", help=help) from None
    sidecar = _sidecar(path)
    try:
        holder = Holder(os.getpid(), command, datetime.now(UTC))
        write_atomic(sidecar, orjson.dumps(holder))
        yield
    finally:
        sidecar.unlink(missing_ok=True)
        lock.release()


def _acquire(
    lock: FileLock,
    path: Path,
    wait: float,
    on_wait: Callable[[Holder | None], None] | None,
) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait(read_holder(path))
    else:
        return
    lock.acquire(timeout=wait, poll_interval=_POLL_SECONDS)


def _who(holder: Holder | None) -> str:
    if holder is None:
        return "another process"
    since = holder.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"process {holder.pid} (`{holder.command}`, since {since})"


def read_holder(lock: Path) -> Holder | None:
    """Read who holds a lock; None when that cannot be told."""
    try:
        document = orjson.loads(_sidecar(lock).read_bytes())
        return Holder(
            pid=int(document["pid"]),
            command=str(document["command"]),
            started_at=datetime.fromisoformat(document["started_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock at this moment."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, thread_local=False).acquire(timeout=0):
            return False
    except (Timeout, PermissionError):
        return True


def _sidecar(lock: Path) -> Path:
    return lock.with_suffix(".json")
