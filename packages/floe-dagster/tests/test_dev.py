"""The parts of `floe dev`; `testing/integration/test_dev.py` has the whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from floe_core.compiler.load import load
from floe_core.compiler.request import CompileRequest
from floe_core.diagnostics import Report
from floe_core.errors import ProjectLockedError, UsageError
from floe_core.index import Node
from floe_core.layout import Layout
from floe_dagster import guard, lock
from floe_dagster.dev import describe_changes
from floe_dagster.instance import prepare_home
from floe_dagster.services import Address, free_address
from floe_dagster.watching import Inputs, inputs_of, watch

if TYPE_CHECKING:
    from conftest import Product

PATIENCE = 60.0  # seconds until a test gives up


def node(name: str, resource_type: str = "model") -> Node:
    return Node(
        unique_id=f"{resource_type}.shop.{name}",
        resource_type=resource_type,  # type: ignore[arg-type]
        name=name,
        package_name="shop",
        original_file_path=f"models/{name}.sql",
    )


def test_changes_are_counted_by_kind() -> None:
    before = {"a": node("a"), "b": node("b"), "t": node("t", "test")}
    after = {
        "a": replace(node("a"), code_version="2"),
        "b": replace(node("b"), code_version="2"),
        "s": node("s", "seed"),
    }
    assert describe_changes(before, after) == "2 models changed, 1 seed added, 1 test removed"
    assert describe_changes(before, before) == ""


@pytest.mark.parametrize(
    ("path", "is_input"),
    [
        ("floe.yaml", True),
        ("platform.yaml", True),
        ("dbt", True),
        ("notes.txt", False),
        (".floe/artifacts.json", False),
        (".floe", False),
        (".git", False),
        ("dbt/dbt_project.yml", True),
        ("dbt/packages.yml", True),
        ("dbt/.dbtignore", True),
        ("dbt/.user.yml", False),
        ("dbt/target", False),
        ("dbt/target/manifest.json", False),
        ("dbt/logs", False),
        ("dbt/models/a.sql", True),
        ("dbt/models/deep/down/b.yml", True),
        ("dbt/models/.a.sql.swp", False),
        ("dbt/models/__pycache__/a.pyc", False),
        ("dbt/seeds/c.csv", True),
        ("elsewhere/models/a.sql", False),
    ],
)
def test_inputs(path: str, is_input: bool) -> None:
    root = Path("/shop")
    inputs = Inputs(
        trees=frozenset({root / "dbt/models", root / "dbt/seeds"}),
        folders=frozenset({root, root / "dbt"}),
    )
    assert inputs.hold(root / path) is is_input


def test_inputs_of_a_product(small: Product) -> None:
    platform = small.root / "platform/local/platform.yaml"
    small.write("platform/local/platform.yaml", "environment: local\n")
    loaded = load(CompileRequest(small.root / "floe.yaml"), Report())
    inputs = inputs_of(loaded, small.artifacts)
    root = small.root.resolve()
    assert inputs.folders == {root, root / "dbt", platform.parent.resolve()}
    assert root / "dbt/models" in inputs.trees
    assert all(tree.is_dir() and tree.is_relative_to(root / "dbt") for tree in inputs.trees)


def test_the_module_of_a_transform_is_an_input(small: Product) -> None:
    small.write("src/shop/scoring.py", "def build(context): ...\n")
    module = (small.root / "src/shop/scoring.py").resolve()
    transform = small.artifacts.transforms[0].model_copy(
        update={"type": "python", "dbt_project_path": None, "path": "src/shop/scoring.py"}
    )
    artifacts = small.artifacts.model_copy(update={"transforms": (transform,)})
    loaded = load(CompileRequest(small.root / "floe.yaml"), Report())
    inputs = inputs_of(loaded, artifacts)
    assert inputs.files == {module}
    other = module.with_name("other.py")
    with watch(inputs) as wait:
        while not wait(0.2):  # until the watch is set up
            (small.root / "floe.yaml").touch()
        while wait(1.0):
            pass
        other.write_text("def build(context): return {}\n")
        assert not wait(2.0)
        other.replace(module)
        assert wait(PATIENCE)


def test_a_change_is_heard_and_others_are_not(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    (folder / "models/deep").mkdir(parents=True)
    inputs = Inputs(trees=frozenset({folder / "models"}), folders=frozenset({folder}))
    with watch(inputs) as wait:
        while not wait(0.2):  # until the watch is set up
            (folder / "floe.yaml").write_text("name: shop")
        while wait(1.0):
            pass
        (folder / "notes.txt").write_text("not an input")
        (folder / ".floe").mkdir()
        assert not wait(2.0)
        (folder / "models/deep/a.sql").write_text("select 1")
        assert wait(PATIENCE)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            free_address("127.0.0.1", port)
    assert caught.value.message == f"port {port} of 127.0.0.1 is in use by another program"
    assert caught.value.help == "Choose another with `--port`; `--port 0` takes a free one."


def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(UsageError, match=r"one cannot listen on port 0 of 192\.0\.2\.1: "):
        free_address("192.0.2.1", 0)


def test_a_dagster_home_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "missing"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with pytest.raises(UsageError) as caught:
        prepare_home(Layout(tmp_path))
    assert caught.value.message == f"DAGSTER_HOME is {home}, which is not a folder"
    assert caught.value.help == f"Make it with `mkdir -p {home}`, or unset DAGSTER_HOME."
    home.mkdir()
    assert prepare_home(Layout(tmp_path)) == home


def test_port_0_is_a_free_one() -> None:
    address = free_address("127.0.0.1", 0)
    assert address.url == f"http://127.0.0.1:{address.port}"
    with socket.create_server((address.host, address.port)):
        pass


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::1", "http://[::1]:3000"),
    ],
)
def test_urls(host: str, url: str) -> None:
    assert Address(host, 3000).url == url


def test_the_guard_ends_groups_when_its_input_ends() -> None:
    """The process and its child, though both ignore interrupts."""
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        "print('ready', flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", stubborn], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        guard.end([process.pid], patience=0.5)
        assert process.wait(timeout=PATIENCE) == -signal.SIGKILL
        assert process.stdout.read() == ""  # the child has let go of it too


def test_the_guard_runs_as_a_process() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True
        ) as sleeper,
        subprocess.Popen(
            [sys.executable, "-m", "floe_dagster.guard"], stdin=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(f"{sleeper.pid}\n")
        process.stdin.close()
        assert sleeper.wait(timeout=PATIENCE) != 0
        assert process.wait(timeout=PATIENCE) == 0


def test_a_held_file_says_who_does_what(tmp_path: Path) -> None:
    path = tmp_path / "dev.lock"
    one = {"command": "floe dev at http://x", "does": "serves it", "help": "Stop it.", "wait": 0.0}
    with (
        lock.hold_file(path, **one),  # type: ignore[arg-type]
        pytest.raises(ProjectLockedError) as caught,
        lock.hold_file(path, **one),  # type: ignore[arg-type]
    ):
        pass
    assert caught.value.message.startswith(f"process {os.getpid()} (`floe dev at http://x`, since ")
    assert caught.value.message.endswith(") serves it")
    assert caught.value.help == "Stop it."
