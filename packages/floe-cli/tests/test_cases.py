"""Each planted mistake prints exactly what its folder expects."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from floe_testing.cli import run_floe

CASES = Path(__file__).parent / "cases"
BASE = CASES / "_base"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir() and path != BASE)
SECRET = "planted"
"""Part of each literal secret in the cases; their other words are without it."""
_NOT_INPUT = shutil.ignore_patterns("expected.txt", "command", "setup.sh")


def prepare(case: Path, folder: Path) -> None:
    shutil.copytree(BASE, folder, symlinks=True, dirs_exist_ok=True)
    shutil.copytree(case, folder, symlinks=True, dirs_exist_ok=True, ignore=_NOT_INPUT)
    if (case / "setup.sh").exists():
        subprocess.run(["bash", str(case / "setup.sh")], cwd=folder, check=True)


def arguments(case: Path) -> list[str]:
    command = case / "command"
    return shlex.split(command.read_text()) if command.exists() else ["validate"]


def holds_secret(case: Path) -> bool:
    files = (path for path in case.rglob("*") if path.is_file() and path.name != "expected.txt")
    return any(SECRET.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, folder = CASES / name, tmp_path / "shop"
    prepare(case, folder)
    monkeypatch.chdir(folder)
    if (folder / "site").is_dir():  # distributions that are installed in this case
        monkeypatch.syspath_prepend(folder / "site")
    actual = run_floe(*arguments(case)).transcript(folder)
    expected = case / "expected.txt"
    if os.environ.get("FLOE_REFRESH_CASES"):
        expected.write_text(actual)
    assert actual == expected.read_text()


def test_there_are_enough() -> None:
    assert len(NAMES) >= 150


@pytest.mark.parametrize("name", NAMES)
def test_case_is_a_finding_and_no_traceback(name: str) -> None:
    expected = (CASES / name / "expected.txt").read_text()
    assert "Traceback" not in expected
    assert "floe itself failed" not in expected
    assert "error" in expected.lower() or "warning" in expected


@pytest.mark.parametrize("option", ["--verbose", "--output=json"])
@pytest.mark.parametrize("name", [name for name in NAMES if holds_secret(CASES / name)])
def test_secret_is_printed_and_written_nowhere(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shop"
    prepare(CASES / name, folder)
    monkeypatch.chdir(folder)
    result = run_floe(*arguments(CASES / name), option)
    assert result.exit_code == 3
    assert SECRET not in (result.stdout + result.stderr).lower()
    written = [path for path in folder.glob(".floe/**/*") if path.is_file()]
    assert written, "not even a log"
    assert [path for path in written if SECRET.encode() in path.read_bytes().lower()] == []
