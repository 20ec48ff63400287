"""What the documentation shows exists: files, make targets, commands, options and YAML."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from floe_cli.main import cli
from floe_core.compiler.validation import validate
from floe_core.diagnostics import Report
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.platform import PlatformSpec
from floe_core.schemas.spellings import normalise_floe, normalise_platform
from floe_core.source import read_source
from floe_testing.control_plane import API_KEY, control_plane

REPOSITORY = Path(__file__).parents[2]
PAGES = (
    *REPOSITORY.glob("*.md"),
    *REPOSITORY.glob("docs/**/*.md"),
    *REPOSITORY.glob("demo/*/*.md"),
    *REPOSITORY.glob("packages/*/*.md"),
)
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUNS_IN = re.compile(r"^<!-- runs in: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
CONTINUED = re.compile(r"\\\n\s*>?\s*")
SHELL_OPERATORS = {"&&", "||", "|", ";", ">", "<", ">>"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is where its content begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        content = page.read_text()
        for match in FENCE.finditer(content):
            line = content.count("\n", 0, match.start(2)) + 1
            found.append(Block(page, line, match[1], match[2]))
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """Split a block into its commands: all lines of a script, the `$` lines of a session."""
    lines = CONTINUED.sub(" ", block.text).splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found: list[list[str]] = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        found.append([])
        for word in lexer:
            if word in SHELL_OPERATORS:
                found.append([])
            else:
                found[-1].append(word)
    return [command for command in found if command]


def commands_of(program: str) -> list[object]:
    return [
        pytest.param(command[1:], id=f"{block} {shlex.join(command)}")
        for block in blocks("console", "sh", "bash")
        for command in map(without_runner, commands(block))
        if command[:1] == [program]
    ]


def without_runner(command: list[str]) -> list[str]:
    return command[2:] if command[:2] == ["uv", "run"] else command


@cache
def help_of(words: tuple[str, ...]) -> str:
    command = [Path(sys.executable).with_name("floe"), *words, "--help"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("words", commands_of("make"))
def test_make_targets_exist(words: list[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


@pytest.mark.parametrize("words", commands_of("floe"))
def test_commands_and_options_exist(words: list[str]) -> None:
    """The longest prefix of plain words that has a help page has each option that follows."""
    plain = [word for word in words if not word.startswith("-")]
    page = help_of(())
    if plain:
        page = help_of((plain[0],))
        listed = re.search(rf"^ +{re.escape(plain[1])}\b", page, re.M) if plain[1:] else None
        page = help_of((plain[0], plain[1])) if listed else page
    options = {word.split("=")[0] for word in words if word.startswith("-")}
    assert {option for option in options if not re.search(rf"(?<!\S){option}\b", page)} <= {
        "--help"
    }


# `make` would start these tests anew, and CI runs both targets; the environment is there already.
# What `pip install` brings is tested with the wheels.
NOT_EXECUTED = ("make ", ". .venv/bin/activate", "pip install ", "dagster dev")
# `floe dev` serves until it is interrupted: here, until it has printed its address.
DEV = """
floe() {
  if [ "$1" != dev ]; then command floe "$@"; return; fi
  coproc SERVER { exec floe "$@" --port 0; }
  local pid=$SERVER_PID line
  read -r line <&"${SERVER[0]}"
  kill -TERM "$pid"
  wait "$pid" || [ $? = 130 ]
}
"""
FILE_NAME = re.compile(r"# (\w+\.py)\n|-- ([\w/]+\.sql)\n")
# Of a project without floe; its own test_readme.py runs it.
WITHOUT_FLOE = REPOSITORY / "packages" / "dbt-duckdb-iceberg" / "README.md"


def script_of(block: Block) -> list[str]:
    name = FILE_NAME.match(block.text)
    if name is not None:
        return [f"printf %s {shlex.quote(block.text)} > {name[1] or name[2]}"]
    if block.language == "sql":
        return [f"floe query {shlex.quote(block.text)}"]
    if block.language == "python":
        return []
    lines = CONTINUED.sub(" ", block.text).splitlines()
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in typed if not line.startswith(NOT_EXECUTED)]


def sessions() -> list[object]:
    """The `$` lines, queries and named Python files of each page, as one script in their order."""
    scripts: dict[Path, list[str]] = {}
    for block in blocks("console", "sql", "python"):
        if block.page == WITHOUT_FLOE:
            continue
        scripts.setdefault(block.page, []).extend(script_of(block))
    scripts = {page: lines for page, lines in scripts.items() if lines}
    return [
        pytest.param(page, lines, id=str(page.relative_to(REPOSITORY)))
        for page, lines in scripts.items()
    ]


@contextmanager
def needs_of(page: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Variables for a page about a control plane: its platform.yaml, with a real address."""
    block = re.search(r"^# platform\.yaml\n(control_plane:.*?)^```", page.read_text(), re.M | re.S)
    if block is None:
        yield {}
        return
    with control_plane() as server:
        path = folder / "platform.yaml"
        path.write_text(re.sub(r"https?://[^\s,]+", server.url, block[1]))
        yield {"FLOE_PLATFORM_FILE": str(path), "FLOE_API_KEY": API_KEY}


@pytest.mark.integration
@pytest.mark.parametrize(("page", "lines"), sessions())
def test_sessions_run(page: Path, lines: list[str], tmp_path: Path) -> None:
    """A page's commands run one after the other, in a copy of the product that it names."""
    folder = tmp_path / "session"
    named = RUNS_IN.search(page.read_text())
    product = REPOSITORY / named[1] if named else page.parent
    if (product / "floe.yaml").exists():
        shutil.copytree(product.parent, folder, ignore=shutil.ignore_patterns(".floe"))
        folder = folder / product.name
    else:
        folder.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with needs_of(page, tmp_path) as variables:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([DEV, *lines])],
            check=False,
            cwd=folder,
            env=os.environ | {"PATH": path} | variables,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_valid(block: Block, tmp_path: Path) -> None:
    """All YAML parses; a block whose first line names floe.yaml or platform.yaml is one."""
    list(yaml.safe_load_all(block.text))
    title = block.text.partition("\n")[0].removeprefix("# ").strip().rpartition("/")[2]
    if title not in {"floe.yaml", "platform.yaml"}:
        return
    path = tmp_path / title
    path.write_text(block.text)
    report = Report()
    source = read_source(path, report)
    if title == "floe.yaml":
        normalise_floe(source, report)
        validate(FloeSpec, source, report)
    else:
        normalise_platform(source, report)
        validate(PlatformSpec, source, report)
    assert [diagnostic.render() for diagnostic in report.diagnostics] == []


def first_words(text: str) -> list[str]:
    """The first word in the first column of each row of a table, code marks apart."""
    rows = re.findall(r"^\| `?(?:floe )?([\w-]+)", text, re.MULTILINE)
    return rows[1:]  # below the heading


def test_the_readme_lists_every_command_in_the_order_of_help() -> None:
    _, table = (REPOSITORY / "README.md").read_text().split("## The commands")
    assert first_words(table.partition("## ")[0]) == cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("package", sorted(REPOSITORY.glob("packages/*")), ids=lambda p: p.name)
def test_readmes_give_the_reason_for_each_dependency(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    required = [*project["dependencies"], *(one for extra in extras for one in extra)]
    _, table = (package / "README.md").read_text().split("## Dependencies")
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in required]
    assert sorted(first_words(table)) == sorted(names)
