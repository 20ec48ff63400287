"""AWS for tests: Glue, S3 and STS as moto plays them, on loopback, gone when the test ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from floe_testing.ports import free_ports, is_listening

REGION = "eu-central-1"
_SECONDS_TO_START = 60.0


@contextlib.contextmanager
def server(certificate: Path | None = None, key: Path | None = None) -> Iterator[str]:
    """Start a server, and stop it at the end; gives its URL.

    Args:
        certificate: File of the certificate of `localhost`; plain HTTP when absent.
        key: File of its key.
    """
    [port] = free_ports(1)
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", f"-p{port}"]
    if certificate is not None:
        command += ["-c", str(certificate), "-k", str(key)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _SECONDS_TO_START
        while not is_listening(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("moto_server does not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}" if certificate is None else f"https://localhost:{port}"
    finally:
        process.kill()
        process.wait()
