"""A shell completes commands, options and the names that a project has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from floe_testing.cli import run_floe

BIN = Path(sys.executable).parent
ENVIRONMENTS = ["dev", "local", "prod"]
NAMES = ["customers", "daily_revenue", "raw_orders", "stg_orders", "tag:mart"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled product with three environments; its models have tags."""
    folder = tmp_path_factory.mktemp("completion") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    (folder / ".git").mkdir()
    for path in ("platform/dev", "prod"):
        (folder / path).mkdir(parents=True)
        (folder / path / "platform.yaml").write_text("")
    project = folder / "dbt/dbt_project.yml"
    project.write_text(project.read_text() + "models: {+tags: [mart]}\n")
    assert run_floe("compile", "-C", str(folder)).exit_code == 0
    return folder


def files_below(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def complete(line: str, folder: Path) -> list[str]:
    """What `floe` offers for the last word of a line, by the protocol of the shells' scripts."""
    before = files_below(folder)
    environment = {
        "_FLOE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run(
        [BIN / "floe"],
        cwd=folder,
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert files_below(folder) == before
    return [row.partition(",")[2] for row in done.stdout.splitlines() if row]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("floe va", ["validate"]),
        ("floe run --full", ["--full-refresh"]),
        ("floe run --env ", ENVIRONMENTS),
        ("floe run -e d", ["dev"]),
        ("floe run -t ", ["shop"]),
        ("floe run -t nothing", []),
        ("floe run -s c", ["customers"]),
        (
            "floe run --select ",
            ["customers", "daily_revenue", "raw_orders", "stg_orders", "tag:mart"],
        ),
        ("floe run --select +da", ["+daily_revenue"]),
        ("floe run --select 2+da", ["2+daily_revenue"]),
        ("floe run --select @da", ["@daily_revenue"]),
        ("floe run --select customers+,da", ["customers+,daily_revenue"]),
        ("floe run --exclude stg", ["stg_orders"]),
        ("floe run --env prod --select c", []),
        ("floe lineage da", ["daily_revenue"]),
        ("floe validate --output ", ["text", "json", "github", "sarif"]),
        ("floe schema export f", ["floe"]),
        ("floe completion ", ["bash", "zsh", "fish"]),
        ("floe nothing va", ["validate"]),
        ("floe run 'unfinished", []),
    ],
)
def test_what_is_offered(line: str, expected: list[str], shop: Path) -> None:
    assert complete(line, shop) == expected


def test_a_project_that_was_named(shop: Path, tmp_path: Path) -> None:
    assert complete(f"floe run -C {shop} --env ", tmp_path) == ENVIRONMENTS
    assert complete(f"floe run -C {shop}/floe.yaml -s c", tmp_path) == ["customers"]


def test_nothing_to_offer_is_silent(tmp_path: Path) -> None:
    for option in ("--env", "--transform", "--select"):
        assert complete(f"floe run {option} ", tmp_path) == []
    (tmp_path / "floe.yaml").write_text("{")
    (tmp_path / ".floe").mkdir()
    (tmp_path / ".floe/artifacts.json").write_text("[")
    assert complete("floe run --env ", tmp_path) == ["local"]
    for option in ("--transform", "--select"):
        assert complete(f"floe run {option} ", tmp_path) == []


def in_bash(words: list[str], folder: Path) -> list[str]:
    """What bash completes for the last of the words, with the script that floe prints."""
    listed = " ".join(map(shlex.quote, words))
    script = f"""
        eval "$(floe completion bash)"
        complete -p floe > /dev/null
        COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}
        _floe_completion floe
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-euc", script],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash(shop: Path) -> None:
    assert in_bash(["floe", "comp"], shop) == ["compile", "completion"]
    assert in_bash(["floe", "run", "--env", ""], shop) == ENVIRONMENTS
    assert in_bash(["floe", "run", "--select", "+da"], shop) == ["+daily_revenue"]


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "    complete -o nosort -F _floe_completion floe"),
        ("zsh", "#compdef floe"),
        ("fish", "function _floe_completion;"),
    ],
)
def test_scripts(shell: str, line: str) -> None:
    result = run_floe("completion", shell)
    assert result.exit_code == 0
    assert line in result.stdout.splitlines()
    assert f"_FLOE_COMPLETE={shell}_complete" in result.stdout


IMPORTED = """
import sys
from floe_cli.main import main
try:
    main()
except SystemExit:
    pass
roots = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(*sorted(root for root in roots if not root.startswith("_")), file=sys.stderr)
"""


@pytest.mark.parametrize("line", ["floe ", "floe run --env ", "floe run --select c"])
def test_it_imports_little(line: str, shop: Path) -> None:
    variables = {
        "_FLOE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=shop,
        env=os.environ | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout
    imported = {name for name in done.stderr.split() if not name.startswith("cython_runtime")}
    assert imported <= {"click", "floe_cli", "floe_core"}
