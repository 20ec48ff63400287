"""What one command costs: CPU seconds of its process tree, time on the clock, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SUPERVISE = Path(__file__).with_name("supervise.py")


class MeasureError(Exception):
    """A command did not do what it was measured for; the message holds what it printed."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of a command used.

    Attributes:
        cpu_seconds: User and system time of the command and all its descendants.
        wall_seconds: Time until the command itself ended.
        max_rss: Bytes of memory of the largest process among them.
        said: The last line that it printed.
    """

    cpu_seconds: float
    wall_seconds: float
    max_rss: int
    said: str = ""


def measure(
    words: Sequence[str], *, folder: Path, env: Mapping[str, str], exit_code: int = 0
) -> Measurement:
    """Run a command in a folder and measure it.

    Raises:
        MeasureError: if it ends with another exit code than expected, or leaves processes behind.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report, printed = Path(scratch, "report.json"), Path(scratch, "printed")
        with printed.open("wb") as output:
            supervisor = [sys.executable, "-I", "-S", os.fspath(_SUPERVISE), os.fspath(report)]
            subprocess.run(
                [*supervisor, *words],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        text = printed.read_text(encoding="utf-8", errors="replace")
        if not report.exists():
            raise MeasureError(f"`{' '.join(words)}` could not be started\n{text}")
        found = json.loads(report.read_text(encoding="utf-8"))
    if found["exit_code"] != exit_code:
        raise MeasureError(
            f"`{' '.join(words)}` in {folder} ended with exit code {found['exit_code']}, "
            f"expected {exit_code}\n{text}"
        )
    if found["left_running"]:
        raise MeasureError(f"`{' '.join(words)}` in {folder} left processes running\n{text}")
    said = text.splitlines()[-1] if text else ""
    return Measurement(found["cpu_seconds"], found["wall_seconds"], found["max_rss"], said)
