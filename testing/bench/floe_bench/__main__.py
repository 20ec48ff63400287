"""`make bench`: measures, and prints the table."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from floe_bench import report
from floe_bench.machine import Machine
from floe_bench.measure import MeasureError
from floe_bench.rounds import Workplace, check_programs, run_rounds
from floe_bench.rows import SIZES, Row, rows

_QUICK_SIZES = (100,)

EPILOG = """\b
Examples:
  make bench
  make bench ARGS="--only compile --sizes 100,1000"
  make bench ARGS="--quick"
  make bench ARGS="--output json figures.json"
"""


def _numbers(_context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"{text} is not a list of whole numbers") from None
    if numbers[0] < 10:
        raise click.BadParameter("a product has 10 models or more")
    return numbers


def _words(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", callback=_words, metavar="NAMES", help="Rows to measure, by the beginning of their name, with commas between.")
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, callback=_numbers, metavar="SIZES", help="Numbers of models. Compiling is measured at each, running at the smallest, loading of definitions at the largest.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often each command is measured, after one round that is not counted.")
@click.option("--quick", is_flag=True, help="Everything once, at 100 models: shows that the benchmark works, not what floe costs.")
@click.option("--output", nargs=2, type=(click.Choice(["json"]), click.Path(path_type=Path)), metavar="json FILE", help="Write all samples to a file.")
@click.option("--write-page", type=click.Path(path_type=Path), metavar="FILE", help="Write the page of the documentation that shows the table.")
def main(
    only: tuple[str, ...],
    sizes: tuple[int, ...],
    rounds: int,
    quick: bool,
    output: tuple[str, Path] | None,
    write_page: Path | None,
) -> None:
    """Measure what floe costs, as ratios to what the same work costs without it.

    CPU seconds of whole process trees; floe and its peers take turns, and the table shows
    medians. Seconds vary with the machine, ratios hardly.
    """
    if quick:
        sizes, rounds = _QUICK_SIZES, 1
    chosen = _choose(rows(sizes), only)
    machine = Machine.here()
    click.echo(machine.text(), err=True)
    try:
        check_programs(chosen)
        with tempfile.TemporaryDirectory(prefix="floe-bench-") as folder:
            samples = run_rounds(chosen, Workplace(Path(folder)), rounds, _tell)
    except MeasureError as problem:
        click.echo(f"error: {problem}", err=True)
        sys.exit(1)
    found = report.results(chosen, samples)
    click.echo(report.table(found))
    if output is not None:
        text = json.dumps(report.document(found, machine, rounds), indent=2)
        output[1].write_text(text + "\n", encoding="utf-8")
    if write_page is not None:
        write_page.write_text(report.page(found, machine, rounds), encoding="utf-8")


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
