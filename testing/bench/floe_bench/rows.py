"""What is measured against what. A new row of the table is a new entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from floe_bench import states

Prepare = Callable[[Path], None]
"""Puts a product's folder into the state that a command is measured in; not measured itself."""

SIZES = (100, 1000, 5000)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line in a product of its own.

    Attributes:
        words: Program, beside the running Python, and arguments.
        product: Name of the product's folder; commands that name the same one share its state.
        size: Number of its models; None for an empty folder.
        within: Folder in the product that the command runs in.
        exit_code: What it ends with when it does what it is measured for.
        setup: Has to have run once before.
        prepare: Done before each measurement.
        state: What `prepare` comes to, in a word.
        name: What the table says, where the words are too long.
    """

    words: tuple[str, ...]
    product: str = "empty"
    size: int | None = None
    within: str = "."
    exit_code: int = 0
    setup: Command | None = None
    prepare: Prepare = states.as_is
    state: str = ""
    name: str = ""

    def __str__(self) -> str:
        models = f"{self.size} models" if self.size else ""
        return ", ".join(filter(None, (self.label, self.state, models)))

    @property
    def label(self) -> str:
        """What the table calls it."""
        return self.name or " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: one command of floe against one of a peer.

    Attributes:
        name: What `--only` selects by its beginning.
        goal: Most that the ratio of CPU seconds should be.
        memory_goal: Most megabytes that floe's largest process should use.
    """

    name: str
    ours: Command
    peer: Command
    goal: float | None = None
    memory_goal: float | None = None


_VALIDATE = ("dagster", "definitions", "validate", "-m")


def rows(sizes: Sequence[int] = SIZES) -> tuple[Row, ...]:
    """All rows. Runs are of the smallest size, definitions are of the largest."""
    small, large = min(sizes), max(sizes)
    return (
        Row("version", Command(("floe", "--version")), Command(("python", "-c", "pass"))),
        Row("help", Command(("floe", "--help")), Command(("dg", "--help"))),
        Row("validate", *_broken(small)),
        *(row for size in sizes for row in _compile(size)),
        *_run(small),
        Row("definitions", *_definitions(large)),
    )


def _broken(size: int) -> tuple[Command, Command]:
    ours = Command(
        ("floe", "validate"),
        product="broken",
        size=size,
        exit_code=3,
        prepare=states.break_floe,
        state="broken",
    )
    peer = Command(
        ("dg", "check", "yaml"),
        product="broken",
        size=size,
        within="dg",
        exit_code=1,
        prepare=states.break_dg,
        state="broken",
    )
    return ours, peer


def _compile(size: int) -> tuple[Row, ...]:
    def both(state: str, prepare: Prepare) -> tuple[Command, Command]:
        return (
            replace(_compiling(size), prepare=prepare, state=state),
            replace(_parsing(f"dbt-{size}", size), prepare=prepare, state=state),
        )

    return (
        Row("compile-cold", *both("cold", states.make_cold)),
        Row("compile-unchanged", *both("nothing changed", states.as_is)),
        Row("compile-touched", *both("one model touched", states.touch_a_model)),
    )


def _compiling(size: int) -> Command:
    return Command(("floe", "compile"), f"floe-{size}", size)


def _parsing(product: str, size: int) -> Command:
    return Command(("dbt", "parse"), product, size, within="dbt")


def _run(size: int) -> tuple[Row, ...]:
    ours = Command(("floe", "run"), "run-floe", size)
    build = Command(("dbt", "build"), "run-dbt", size, within="dbt")
    materialize = Command(
        ("dagster", "asset", "materialize", "--select", "*", "-m", "definitions"),
        "run-dagster",
        size,
        name="dagster asset materialize",
        setup=_parsing("run-dagster", size),
    )
    return (Row("run-dbt", ours, build), Row("run-dagster", ours, materialize))


def _definitions(size: int) -> tuple[Command, Command]:
    compiling, parsing = _compiling(size), _parsing(f"dbt-{size}", size)
    ours = Command(
        (*_VALIDATE, "floe_dagster.definitions"),
        compiling.product,
        size,
        name="dagster definitions validate, floe",
        setup=compiling,
    )
    peer = Command(
        (*_VALIDATE, "definitions"),
        parsing.product,
        size,
        name="dagster definitions validate, dagster-dbt",
        setup=parsing,
    )
    return ours, peer
