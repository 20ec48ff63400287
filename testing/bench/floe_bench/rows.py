"""What is measured against what. A new row of the table is a new entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from floe_bench import states

Prepare = Callable[[Path], None]
"""Puts a product's folder into the state that a command is measured in; not measured itself."""

SIZES = (100, 1000, 5000)
DATA_ROWS = 20_000_000


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
        is_once: Whether one measurement is enough, as it takes long.
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
    is_once: bool = False
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
        goal: Most that the ratio of CPU seconds should be; of time on the clock too for Iceberg.
        memory_goal: Most megabytes that floe's largest process should use.
        memory_ratio_goal: Most that the ratio of memory should be.
        data_rows: Rows of data that it is about, for Iceberg; 0 for products of models.
    """

    name: str
    ours: Command
    peer: Command
    goal: float | None = None
    memory_goal: float | None = None
    memory_ratio_goal: float | None = None
    data_rows: int = 0


_VALIDATE = ("dagster", "definitions", "validate", "-m")


def rows(sizes: Sequence[int] = SIZES, data_rows: int = DATA_ROWS) -> tuple[Row, ...]:
    """All rows. Runs are of the smallest size, definitions are of the largest."""
    small, large = min(sizes), max(sizes)
    return (
        Row("version", Command(("floe", "--version")), Command(("python", "-c", "pass"))),
        Row("help", Command(("floe", "--help")), Command(("dg", "--help"))),
        Row("validate", *_broken(small)),
        *(row for size in sizes for row in _compile(size)),
        *_run(small),
        *_telemetry(small),
        Row("definitions", *_definitions(large)),
        *_iceberg(data_rows),
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


def _telemetry(size: int) -> tuple[Row, ...]:
    """Everything on, to a server on this machine; and what of it is imports."""

    def run(*words: str, name: str = "") -> Command:
        return Command(
            ("floe", "run", *words), "run-observed", size, prepare=states.observe, name=name
        )

    def imports(*words: str, name: str) -> Command:
        return Command(("python", "-m", "floe_bench.imports", *words), name=name)

    everything = run(name="floe run, telemetry and lineage")
    return (
        Row("telemetry-run", everything, run("--no-telemetry"), goal=1.09),
        Row(
            "telemetry-imports",
            imports("telemetry", name="imports of dbt, Dagster and telemetry"),
            imports(name="imports of dbt and Dagster"),
        ),
    )


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


def _iceberg(number: int) -> tuple[Row, ...]:
    making = _lake("make_input", number)
    write = _lake("write", name="write", folder="write", setup=making)
    copy = _lake("copy", name="COPY", folder="copy", setup=making)
    like_floe = _lake("copy_like_floe", name="COPY, zstd", folder="copy-like-floe", setup=making)
    append = _lake(
        "write_with_pyiceberg", name="pyiceberg append", folder="pyiceberg", setup=making
    )
    building = _lake("build", setup=making)

    def change(*words: str, name: str) -> Command:
        return replace(
            _lake(*words, name=name, setup=building), prepare=partial(states.restore, "merge")
        )

    rewrite = change("build", name="write all again")
    return (
        Row("iceberg-write", write, copy, goal=1.15, memory_ratio_goal=1.3, data_rows=number),
        Row("iceberg-write-zstd", write, like_floe, data_rows=number),
        Row("iceberg-write-pyiceberg", write, append, data_rows=number),
        Row(
            "iceberg-merge-clustered",
            change("merge", "clustered", name="merge 1 %, clustered"),
            rewrite,
            data_rows=number,
        ),
        Row(
            "iceberg-merge-scattered",
            change("merge", "scattered", name="merge 1 %, scattered"),
            rewrite,
            goal=1.2,
            data_rows=number,
        ),
        Row(
            "iceberg-read",
            _lake("read", number, name="read 1 %", setup=write),
            _lake("read_plain", number, name="read_parquet 1 %", setup=copy),
            data_rows=number,
        ),
        _bounded(number * 5 // 2),
        _commits(max(2, min(100, number // 2000))),
    )


def _lake(
    *words: str | int, name: str = "", folder: str = "", setup: Command | None = None
) -> Command:
    """A program of `lake`; what it wrote before into its folder is removed."""
    return Command(
        ("python", "-m", "floe_bench.lake", *map(str, words)),
        product="iceberg",
        setup=setup,
        prepare=partial(states.remove, folder) if folder else states.as_is,
        name=name,
    )


def _bounded(number: int) -> Row:
    write = _lake("write_bounded", number, name="write, memory_limit", folder="bounded")
    copy = _lake("copy_bounded", number, name="COPY, memory_limit", folder="bounded-copy")
    return Row(
        "iceberg-write-bounded",
        replace(write, is_once=True),
        replace(copy, is_once=True),
        memory_goal=1000,
        data_rows=number,
    )


def _commits(number: int) -> Row:
    def after(before: int) -> Command:
        folder = f"commits-{before}"
        return replace(
            _lake("commit", folder, number, setup=_lake("commit", folder, before)),
            prepare=partial(states.restore, folder),
            name=f"{number} commits after {before}",
        )

    return Row("iceberg-commits", after(9 * number), after(number), goal=1.1, data_rows=1000)
