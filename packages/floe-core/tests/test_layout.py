"""What floe writes under `.floe/`: all of it or nothing, and a clear word when it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from floe_core.errors import UnwritableError
from floe_core.layout import Layout, make_folder, write_atomic, write_if_changed, writing_to


def words(problem: pytest.ExceptionInfo[UnwritableError]) -> tuple[str, str | None]:
    return problem.value.message, problem.value.help


def test_a_file_in_the_place_of_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    for write in (
        lambda: make_folder(tmp_path / "taken/below"),
        lambda: write_atomic(tmp_path / "taken/below/file", b""),
        lambda: write_if_changed(tmp_path / "taken/below/file", b""),
    ):
        with pytest.raises(UnwritableError) as problem:
            write()
        assert words(problem) == (
            "taken/below cannot be written to: taken is no folder",
            "Move taken away: a folder is needed there.",
        )


def test_a_link_to_nothing_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".floe").symlink_to("elsewhere")
    with pytest.raises(UnwritableError) as problem:
        Layout(tmp_path).prepare()
    assert words(problem) == (
        ".floe cannot be written to: it is no folder",
        "Move .floe away: a folder is needed there.",
    )
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize(
    ("number", "help"),
    [
        (errno.EACCES, "Let this user write to it, or work on a copy in another place."),
        (errno.EROFS, "Let this user write to it, or work on a copy in another place."),
        (errno.ENOSPC, "Make room on the disk, then run it again."),
    ],
)
def test_the_reason_and_what_to_do(
    number: int, help: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnwritableError) as problem, writing_to(tmp_path / "here"):
        raise OSError(number, os.strerror(number))
    assert words(problem) == (f"here cannot be written to: {os.strerror(number)}", help)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableError, match="No space left on device"):
        write_atomic(path, b"new")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("file", b"old")]


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_if_changed(path, b"same")
    before = path.stat()
    write_if_changed(path, b"same")
    assert path.stat().st_ino == before.st_ino
    write_if_changed(path, b"other")
    assert path.read_bytes() == b"other"
