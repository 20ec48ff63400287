"""`make bench`: measures, and prints the table."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import click

from floe_bench import report
from floe_bench.machine import Machine
from floe_bench.measure import MeasureError
from floe_bench.rounds import Workplace, check_programs, run_rounds
from floe_bench.rows import DATA_ROWS, SIZES, Row, rows

_QUICK_SIZES = (100,)
_QUICK_DATA_ROWS = 200_000
_ROUNDS = 5

EPILOG = """\b
Examples:
  make bench
  make bench ARGS="--only compile --sizes 100,1000"
  make bench ARGS="--only iceberg"
  make bench ARGS="--quick"
  make bench ARGS="--output json figures.json"
"""


def _numbers(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"`{text}` is not a list of whole numbers") from None
    if numbers[0] < 10:
        raise click.BadParameter("a product has 10 models or more")
    return numbers


def _words(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    default="",
    callback=_words,
    metavar="NAMES",
    help="Rows to measure, by the beginning of their name, with commas between.",
)
@click.option(
    "--sizes",
    callback=_numbers,
    metavar="NUMBERS",
    help="Numbers of models, with commas between: compiling is measured at each, running at the "
    f"smallest, loading definitions at the largest. Default: {','.join(map(str, SIZES))}.",
)
@click.option(
    "--rows",
    "data_rows",
    type=click.IntRange(min=10_000),
    help=f"Rows of the Iceberg table that is written, merged and read. Default: {DATA_ROWS}.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="How often each command is measured, after one round that is not counted. "
    f"Default: {_ROUNDS}.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Every command once, not warmed up, at 100 models and few rows: shows that the benchmark "
    "works, not what floe costs.",
)
@click.option(
    "--output",
    nargs=2,
    type=(click.Choice(["json"]), click.Path(path_type=Path)),
    metavar="json FILE",
    help="Write all samples to a file.",
)
@click.option(
    "--write-page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the page of the documentation that shows the tables; a table without new rows "
    "stays as it is there.",
)
def main(
    only: tuple[str, ...],
    sizes: tuple[int, ...] | None,
    data_rows: int | None,
    rounds: int | None,
    quick: bool,
    output: tuple[str, Path] | None,
    write_page: Path | None,
) -> None:
    """Measure what floe costs, as ratios to what the same work costs without it.

    CPU seconds of whole process trees; floe and its peers take turns, and the table shows
    medians. Compare ratios: seconds belong to the machine. Everything takes about an hour on two
    quiet cores, most of it at 5000 models; after Ctrl-C the rounds that are over count.
    """
    sizes = sizes or (_QUICK_SIZES if quick else SIZES)
    data_rows = data_rows or (_QUICK_DATA_ROWS if quick else DATA_ROWS)
    chosen = _choose(rows(sizes, data_rows), only)
    rounds = rounds or (1 if quick else _ROUNDS)
    for path in (output and output[1], write_page):
        if path and not path.parent.is_dir():
            raise click.UsageError(f"There is no folder `{path.parent}` to write to.")
    machine, start = Machine.here(), time.monotonic()
    click.echo(machine.text(), err=True)
    try:
        check_programs(chosen)
        with tempfile.TemporaryDirectory(prefix="floe-bench-") as folder:
            workplace = Workplace(Path(folder))
            samples = run_rounds(chosen, workplace, rounds, _tell, warm_up=not quick)
    except MeasureError as problem:
        click.echo(f"error: {problem}", err=True)
        sys.exit(1)
    _tell(f"{(time.monotonic() - start) / 60:.0f} minutes in all")
    rounds = max(map(len, samples.values()))
    found = report.results(chosen, samples)
    click.echo("\n\n".join(filter(None, report.tables(found))))
    if output is not None:
        text = json.dumps(report.document(found, machine, rounds), indent=2)
        output[1].write_text(text + "\n", encoding="utf-8")
    if write_page is not None:
        before = write_page.read_text(encoding="utf-8") if write_page.exists() else ""
        write_page.write_text(report.page(found, machine, rounds, before), encoding="utf-8")


def _choose(all_rows: tuple[Row, ...], only: tuple[str, ...]) -> tuple[Row, ...]:
    names = dict.fromkeys(row.name for row in all_rows)
    for word in only:
        if not any(name.startswith(word) for name in names):
            raise click.UsageError(f"There is no row `{word}`: there are {', '.join(names)}.")
    return tuple(row for row in all_rows if not only or row.name.startswith(only))


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
