"""What a person sees: each file in `sessions` is what was typed and everything that came back.

Lines that begin with `$ ` are commands; `floe` runs in this process, everything else in bash.
`make refresh-cases` writes the answers anew.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe_testing.cli import normalise, run_floe

SESSIONS = Path(__file__).parent / "sessions"
NAMES = sorted(path.stem for path in SESSIONS.glob("*.txt"))
LONG = frozenset(
    {"diff", "explain", "packages", "python", "queries", "selections", "two_projects", "vars"}
)
"""Sessions of many compiles and runs, which `make test-integration` plays."""


def steps(text: str) -> Iterator[str]:
    """The first line, which says what is shown, and the commands; without the answers."""
    title, *lines = text.splitlines()
    yield title
    yield from (line for line in lines if line.startswith("$ "))


def answer(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    words = shlex.split(command)
    if words[0] == "cd":
        monkeypatch.chdir(Path.cwd() / words[1])
        return ""
    if words[0] == "export":
        monkeypatch.setenv(*words[1].split("=", 1))
        return ""
    if words[0] == "floe":
        return run_floe(*words[1:]).transcript(folder)
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    return normalise(done.stdout, folder)


def play(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    parts = []
    for line in steps(text):
        parts.append(line + "\n")
        if line.startswith("$ "):
            parts.append(answer(line[2:], folder, monkeypatch))
    return "".join(parts)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.integration] * (name in LONG)) for name in NAMES],
)
def test_session(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SESSIONS / f"{name}.txt"
    actual = play(path.read_text(), tmp_path, monkeypatch)
    if os.environ.get("FLOE_REFRESH_CASES"):
        path.write_text(actual)
    assert actual == path.read_text()
