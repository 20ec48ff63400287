"""Programs that serve while a test needs them, on the loopback interface."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from floe_testing.ports import is_listening

PATIENCE_SECONDS = 60


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process listens on the port."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_listening(port):
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args!r} does not listen on {port}"
        time.sleep(0.1)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the process with the block."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
