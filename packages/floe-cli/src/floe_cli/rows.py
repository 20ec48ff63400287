"""Rows of tables: as a table for people, as JSON or CSV for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from floe_cli.output import Output, has_colour, plural

if TYPE_CHECKING:
    from floe_core.plugins import QueryResult


_WIDEST = 100_000


def print_rows(out: Output, result: QueryResult, most: int | None) -> None:
    """Print rows as a table, as JSON or as CSV.

    Args:
        out: Where they are printed.
        result: The rows.
        most: How many are shown; None for all. If there are more, it is said.
    """
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


def _print_table(result: QueryResult, rows: Sequence[tuple[Any, ...]]) -> None:
    numbers = [
        any(isinstance(row[number], int | float) for row in rows[:50])
        and not any(isinstance(row[number], bool) for row in rows[:50])
        for number in range(len(result.columns))
    ]
    print_table(result.columns, [[_shown(value) for value in row] for row in rows], numbers)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[bool]
) -> None:
    """Print a table that is as wide as it needs to be.

    Args:
        columns: The headings.
        rows: The cells.
        numbers: Which columns stand on the right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, is_number in zip(columns, numbers, strict=True):
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    is_styled = has_colour(sys.stdout)
    console = Console(
        file=sys.stdout,
        width=_WIDEST,  # cells are never cut, whatever the terminal is like
        no_color=not is_styled,
        force_terminal=is_styled,
        soft_wrap=True,
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
