"""Colours and progress are for terminals, and only where they are wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from floe_testing.cli import run_floe

FLOE = str(Path(sys.executable).with_name("floe"))
ESCAPE = "\x1b["


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    assert run_floe("init", str(tmp_path / "shop")).exit_code == 0
    floe = tmp_path / "shop/floe.yaml"
    floe.write_text(floe.read_text().replace("version:", "release:"))
    return tmp_path / "shop"


def on_a_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """What `floe` writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", **environment}
    process = subprocess.Popen(
        [FLOE, *arguments], cwd=folder, stderr=theirs, env=os.environ | variables
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    process.wait()
    return written.decode()


def test_a_terminal_shows_colours(broken: Path) -> None:
    assert ESCAPE in on_a_terminal(broken, "validate")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_turned_off(environment: dict[str, str], broken: Path) -> None:
    text = on_a_terminal(broken, "validate", **environment)
    assert "FLOE-S001" in text
    assert ESCAPE not in text


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours_nothing_moves(environment: dict[str, str], tmp_path: Path) -> None:
    assert run_floe("init", str(tmp_path / "shop")).exit_code == 0
    text = on_a_terminal(tmp_path / "shop", "compile", **environment)
    assert text == "Next: floe run\r\n"


def test_anything_else_has_no_colours(broken: Path) -> None:
    result = run_floe("validate", "-C", str(broken))
    assert "FLOE-S001" in result.stderr
    assert ESCAPE not in result.stderr
