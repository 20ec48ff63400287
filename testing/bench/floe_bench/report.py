"""The figures: medians, ratios, and how they are shown to people and programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from floe_bench.machine import Machine
from floe_bench.measure import Measurement
from floe_bench.rounds import Samples
from floe_bench.rows import Command, Row

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """What a command used, round by round."""

    command: Command
    measurements: tuple[Measurement, ...]

    @property
    def cpu_seconds(self) -> tuple[float, ...]:
        """CPU seconds of each round."""
        return tuple(one.cpu_seconds for one in self.measurements)

    @property
    def wall_seconds(self) -> tuple[float, ...]:
        """Seconds on the clock of each round."""
        return tuple(one.wall_seconds for one in self.measurements)

    @property
    def said(self) -> str:
        """What the command said of itself in the last round."""
        return self.measurements[-1].said

    @property
    def megabytes(self) -> float:
        """Median over the rounds of the memory of the largest process."""
        return median(one.max_rss for one in self.measurements) / _MEGABYTE

    def document(self) -> dict[str, Any]:
        """All samples, for programs."""
        return {
            "command": " ".join(self.command.words),
            "cpu_seconds": [round(seconds, 3) for seconds in self.cpu_seconds],
            "wall_seconds": [round(seconds, 3) for seconds in self.wall_seconds],
            "max_rss": [one.max_rss for one in self.measurements],
            "said": self.said,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """A row with its figures."""

    row: Row
    ours: Side
    peer: Side

    @property
    def ratio(self) -> float:
        """Median of floe's CPU seconds by that of the peer's."""
        return median(self.ours.cpu_seconds) / median(self.peer.cpu_seconds)

    @property
    def clock_ratio(self) -> float:
        """Median of floe's time on the clock by that of the peer's."""
        return median(self.ours.wall_seconds) / median(self.peer.wall_seconds)

    @property
    def memory_ratio(self) -> float:
        """Memory of floe by that of the peer."""
        return self.ours.megabytes / self.peer.megabytes

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest ratio within one round."""
        pairs = zip(self.ours.cpu_seconds, self.peer.cpu_seconds, strict=True)
        ratios = [ours / peer for ours, peer in pairs]
        return min(ratios), max(ratios)

    def document(self) -> dict[str, Any]:
        """The row, for programs."""
        return {
            "name": self.row.name,
            "state": self.ours.command.state,
            "models": self.ours.command.size,
            "rows": self.row.data_rows or None,
            "ratio": round(self.ratio, 4),
            "spread": [round(edge, 4) for edge in self.spread],
            "clock_ratio": round(self.clock_ratio, 4),
            "memory_ratio": round(self.memory_ratio, 4),
            "goal": self.row.goal,
            "memory_goal": self.row.memory_goal,
            "memory_ratio_goal": self.row.memory_ratio_goal,
            "floe": self.ours.document(),
            "peer": self.peer.document(),
        }


def results(rows: Sequence[Row], samples: Samples) -> tuple[Result, ...]:
    """Join the rows with what was measured."""
    return tuple(
        Result(
            row,
            Side(row.ours, tuple(samples[row.ours])),
            Side(row.peer, tuple(samples[row.peer])),
        )
        for row in rows
    )


_COLUMNS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("floe", lambda one: one.ours.command.label),
    ("state", lambda one: one.ours.command.state),
    ("models", lambda one: str(one.ours.command.size or "")),
    ("rows", lambda one: f"{one.row.data_rows:,}" if one.row.data_rows else ""),
    ("peer", lambda one: one.peer.command.label),
    ("floe CPU s", lambda one: _seconds(one.ours)),
    ("peer CPU s", lambda one: _seconds(one.peer)),
    ("ratio", lambda one: f"{one.ratio:.2f}"),
    ("spread", lambda one: "{:.2f} to {:.2f}".format(*one.spread)),
    ("clock", lambda one: f"{one.clock_ratio:.2f}" if one.row.data_rows else ""),
    ("goal", lambda one: _at_most(one.row.goal)),
    ("floe MB", lambda one: f"{one.ours.megabytes:.0f}"),
    ("peer MB", lambda one: f"{one.peer.megabytes:.0f}"),
    ("goal MB", lambda one: _at_most(one.row.memory_goal)),
    ("MB ratio", lambda one: f"{one.memory_ratio:.2f}" if one.row.data_rows else ""),
    ("goal ratio", lambda one: _at_most(one.row.memory_ratio_goal)),
    ("floe did", lambda one: one.ours.said if one.row.data_rows else ""),
    ("peer did", lambda one: one.peer.said if one.row.data_rows else ""),
)  # fmt: skip


def _seconds(side: Side) -> str:
    seconds = median(side.cpu_seconds)
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.1f}"


def _at_most(goal: float | None) -> str:
    return "" if goal is None else f"<= {goal:g}"


def table(found: Sequence[Result]) -> str:
    """The table in Markdown, without the columns that are empty in all rows."""
    columns = [(title, [cell(one) for one in found]) for title, cell in _COLUMNS]
    columns = [(title, cells) for title, cells in columns if any(cells)]
    widths = [max(map(len, (title, *cells))) for title, cells in columns]
    lines = [
        _line([title for title, _ in columns], widths),
        "|" + "|".join("-" * (width + 2) for width in widths) + "|",
        *(_line([cells[place] for _, cells in columns], widths) for place in range(len(found))),
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def tables(found: Sequence[Result]) -> tuple[str, ...]:
    """The tables of products, telemetry and Iceberg; one without rows is empty."""
    sections: tuple[list[Result], ...] = ([], [], [])
    for one in found:
        is_telemetry = one.row.name.startswith("telemetry")
        sections[2 if one.row.data_rows else int(is_telemetry)].append(one)
    return tuple(table(rows) if rows else "" for rows in sections)


def document(found: Sequence[Result], machine: Machine, rounds: int) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": machine.document(),
        "rounds": rounds,
        "rows": [one.document() for one in found],
    }


def page(found: Sequence[Result], machine: Machine, rounds: int, before: str = "") -> str:
    """The page of the documentation that shows the figures.

    Args:
        found: The rows; a section is written for those of products, telemetry and Iceberg each.
        machine: Where they are from.
        rounds: How often each command was measured.
        before: The page as it was; a section without new figures stays as it is there.
    """
    sections = {
        part.partition("\n")[0]: part for part in re.split(r"^(?=## )", before, flags=re.MULTILINE)
    }
    for text, figures in zip(_SECTIONS, tables(found), strict=True):
        if figures:
            section = text.format(table=figures, machine=machine.text(), rounds=rounds)
            sections[section.partition("\n")[0]] = section
    known = (text.partition("\n")[0] for text in _SECTIONS)
    kept = (sections[title].strip() for title in known if title in sections)
    return "\n\n".join([_TOP.strip(), *kept]) + "\n"


_TOP = """
# What floe costs

<!-- Written by `make bench ARGS="--write-page docs/explanation/performance.md"`. -->

CPU seconds of the whole process tree, floe against what the same work costs without it: medians of
rounds in which floe and its peer take turns. *Ratio* is floe by peer, below 1 where floe
costs less; *spread* is the lowest and the highest ratio of one round. *MB* is the memory of the
largest process. Compare ratios: seconds belong to the machine. `testing/bench/README.md` says how
everything is measured.
"""

_PRODUCTS = """\
## Products

{table}

- *Broken*: several mistakes in floe.yaml, and in the YAML of a `dg` component.
- *Nothing changed*, *one model touched*, *cold*: since the command ran last, or with nothing left
  of earlier runs. `dbt parse` has its partial parse in the first two.
- `floe run` and its peers build all models again, over tables that exist, and run all tests.
- `dagster` is measured with dagster-dbt on the same dbt project; for floe's definitions the same
  command loads `floe_dagster.definitions`.

The products are generated. Measured in {rounds} rounds on:

```text
{machine}
```
"""

_TELEMETRY = """\
## Telemetry

`floe run` that sends traces, metrics and lineage to a server on the same machine, against the same
with `--no-telemetry`, and what of that is importing libraries.

{table}

The product is generated. Measured in {rounds} rounds on:

```text
{machine}
```
"""

_ICEBERG = """\
## Iceberg tables

Each command is one Python process, its start included. *Clock* is the ratio of the time on the
clock, and *goal* the most that it and the ratio of CPU seconds should be; *MB ratio* is that of
memory. The catalog is SQLite, the files are local, and an order has nine columns.

{table}

- *write*: `floe_iceberg.replace` makes a new table of a query; DuckDB's bare
  `COPY (query) TO 'orders.parquet' (FORMAT parquet)` of the same query compresses with Snappy. For
  *COPY, zstd* it is told to compress as floe does, with zstd at level 1. What they did ends with
  the seconds of the write alone, on the clock and without the start of Python.
- *pyiceberg append* writes the same rows, read into memory as an Arrow table, with PyIceberg alone.
- *merge 1 %*: `floe_iceberg.upsert`, as dbt's incremental models use it, of new versions of 1 % of
  the rows: neighbours, or every hundredth row so that all files hold some. Its peer writes the
  whole table anew from its source. The table's files are of some 32 MB.
- *read 1 %*: ten ranges of the key, one after the other, against `read_parquet` of the plain file.
- *memory_limit*: DuckDB is told to use at most 600 MB, for rows that it makes up on the way;
  measured once.
- *commits*: upserts of ten rows into a table of a thousand that keeps five snapshots, late in its
  life against early on. They should cost the same.

Measured in {rounds} rounds on:

```text
{machine}
```
"""

_SECTIONS = (_PRODUCTS, _TELEMETRY, _ICEBERG)
