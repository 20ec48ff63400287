"""The lock of a project and environment."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from floe_core.errors import ProjectLockedError
from floe_core.layout import Layout
from floe_dagster.lock import Holder, hold, read_holder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_second_holder_of_the_same_process_waits(layout: Layout) -> None:
    waited_for: list[Holder | None] = []
    with (
        hold(layout, "local", command="first"),
        pytest.raises(ProjectLockedError, match=rf"process {os.getpid()} \(`first`"),
        hold(layout, "local", command="second", wait=0.05, on_wait=waited_for.append),
    ):
        pass
    assert [holder.command for holder in waited_for if holder] == ["first"]
    with hold(layout, "local", command="third"):
        pass


def test_other_environments_are_free(layout: Layout) -> None:
    with hold(layout, "local", command="a"), hold(layout, "dev", command="b", wait=0):
        pass


def test_waiting_ends_when_the_holder_does(layout: Layout) -> None:
    is_held, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with hold(layout, "local", command="first"):
            is_held.set()
            go_on.wait()

    thread = threading.Thread(target=first)
    thread.start()
    is_held.wait()
    with hold(layout, "local", command="second", wait=10, on_wait=lambda _holder: go_on.set()):
        holder = read_holder(layout.lock("local"))
        assert holder is not None
        assert holder.command == "second"
    thread.join()


@pytest.mark.parametrize("content", ["", "{}", '{"pid": 1}', "[]"])
def test_a_damaged_note_of_the_holder_does_no_harm(layout: Layout, content: str) -> None:
    with hold(layout, "local", command="first"):
        layout.lock("local").with_suffix(".json").write_text(content)
        with (
            pytest.raises(ProjectLockedError, match="another process runs this project"),
            hold(layout, "local", command="second", wait=0),
        ):
            pass


def test_the_lock_is_free_after_an_error(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), hold(layout, "local", command="first"):
        raise ZeroDivisionError
    with hold(layout, "local", command="second", wait=0):
        pass
