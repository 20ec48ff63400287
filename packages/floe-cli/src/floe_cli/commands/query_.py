"""`floe query`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import artifacts_option, compile_request, source_options
from floe_cli.output import Output, has_colour, plural

if TYPE_CHECKING:
    from floe_core.plugins import QueryResult
    from floe_core.schemas.artifacts import CompiledArtifacts

EPILOG = """\b
Examples:
  floe query "select * from customers limit 10"
  floe query --file report.sql --output csv > report.csv
  echo "select 1" | floe query --file -
"""


@floe_command(
    "query",
    formats=("text", "json", "csv"),
    short_help="Query the product's tables, read-only.",
    epilog=EPILOG,
)
@click.argument("sql", required=False)
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    help="Read the statement from a file; `-` is standard input.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Most rows to show as text or JSON; 0 for all.",
)
@source_options
@artifacts_option
def command(
    out: Output,
    sql: str | None,
    file: Any,
    limit: int,
    artifacts: Path | None,
    **source: Any,
) -> None:
    """Run one statement that reads, on the engine that the product runs on.

    Tables are named as dbt names them: `customers`, or `schema.customers`. Compiles first if
    anything has changed.
    """
    from floe_core.errors import UsageError
    from floe_core.secrets import remembered
    from floe_dagster.connection import compute_target, resolve_secrets

    if (sql is None) == (file is None):
        raise UsageError("give one statement, or `--file`", help='floe query "select 1"')
    statement = sql if sql is not None else file.read()
    with remembered():
        what, root = _artifacts(out, artifacts, source)
        target, compute = compute_target(what)
        secrets = resolve_secrets(what)
    most = None if limit == 0 or out.format == "csv" else limit
    ask = None if most is None else most + 1
    result = target.query(compute, what.environment, root, secrets, statement, ask)
    _print(out, result, most)


def _artifacts(
    out: Output, named: Path | None, source: dict[str, Any]
) -> tuple[CompiledArtifacts, Path]:
    """The artifacts that run: those that are named or pulled, else fresh ones."""
    from floe_cli.freshness import compile_now, stored_artifacts

    stored = stored_artifacts(named, source, out)
    if stored is not None:
        return stored.artifacts, stored.root
    fresh = compile_now(compile_request(**source), out)
    return fresh.compilation.artifacts, fresh.root


def _print(out: Output, result: QueryResult, most: int | None) -> None:
    is_cut = most is not None and len(result.rows) > most
    rows = result.rows[:most] if is_cut else result.rows
    names = _distinct(result.columns)
    if out.format == "csv":
        _print_csv(result)
    elif out.is_json:
        out.document(
            {
                "ok": True,
                "columns": [
                    {"name": name, "type": type_}
                    for name, type_ in zip(names, result.types, strict=True)
                ],
                "rows": [dict(zip(names, map(_as_json, row), strict=True)) for row in rows],
                "is_cut": is_cut,
            }
        )
    else:
        _print_table(result, rows)
        cut = f"; more were cut, `--limit {2 * (most or 1)}` shows them" if is_cut else ""
        out.note(f"{plural(len(rows), 'row')}{cut}")


def _print_csv(result: QueryResult) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_as_csv(value) for value in row] for row in result.rows)


def _distinct(columns: Sequence[str]) -> list[str]:
    """Column names as keys of an object: a second `a` becomes `a_2`."""
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _as_json(value: Any) -> Any:
    """What JSON has no word for as text: `NaN`, `Infinity`, bytes as hexadecimal digits."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    return value


def _as_csv(value: Any) -> Any:
    """Lists and structures as JSON, truth values as SQL writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | dict | bytes | bytearray | memoryview):
        document = _as_json(value)
        is_text = isinstance(document, str)
        return document if is_text else json.dumps(document, default=str, ensure_ascii=False)
    return value


def _print_table(result: QueryResult, rows: list[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(result.columns):
        is_number = any(isinstance(row[number], int | float) for row in rows[:50])
        is_number = is_number and not any(isinstance(row[number], bool) for row in rows[:50])
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    is_styled = has_colour(sys.stdout)
    console = Console(
        file=sys.stdout, no_color=not is_styled, force_terminal=is_styled, soft_wrap=True
    )
    width = console.measure(table).maximum
    console.print(table, width=max(width, 20), crop=False, no_wrap=True)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    return str(value)
