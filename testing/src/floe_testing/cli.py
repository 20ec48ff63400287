"""Running `floe` in tests, in this process, with everything that it prints."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

_VARYING = (
    (re.compile(r"(?: {2,})(?=\d+\.\d+ s\b)"), "  "),  # right-aligned durations
    (re.compile(r"\d+\.\d+ s\b"), "<seconds> s"),
    (re.compile(r'("pid": )\d+|("host": )"[^"]*"'), r"\1\2<process>"),
    (re.compile(r'("seconds": )\d+(\.\d+)?'), r"\1<seconds>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
)


@dataclass(frozen=True)
class FloeResult:
    """What a run of `floe` printed, and its exit code."""

    exit_code: int
    stdout: str
    stderr: str

    def transcript(self, folder: Path) -> str:
        """Everything as one text, with ids, times, durations and the folder replaced."""
        parts = [f"exit code: {self.exit_code}\n"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text:
                parts.append(f"--- {name}\n{normalise(text, folder)}")
        return "".join(parts)


def normalise(text: str, folder: Path) -> str:
    """Replace what differs between two runs."""
    for path in {str(folder.resolve()), str(folder)}:
        text = text.replace(path, "<folder>")
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


class _Stream(io.TextIOWrapper):
    """A text stream over bytes, as standard output is, that is no terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


@contextlib.contextmanager
def _captured() -> Iterator[tuple[_Stream, _Stream]]:
    out, err = _Stream(), _Stream()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def run_floe(*arguments: str, stdin: str = "") -> FloeResult:
    """Run `floe` in this process, in the current folder."""
    from floe_cli.main import main

    code = 0
    with (
        _captured() as (out, err),
        patch.object(sys, "argv", ["floe", *arguments]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
    return FloeResult(code, out.text, err.text)
