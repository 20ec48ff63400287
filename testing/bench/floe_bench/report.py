"""The figures: medians, ratios, and how they are shown to people and programs."""

from __future__ import annotations

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
    def megabytes(self) -> float:
        """Median over the rounds of the memory of the largest process."""
        return median(one.max_rss for one in self.measurements) / _MEGABYTE

    def document(self) -> dict[str, Any]:
        """All samples, for programs."""
        return {
            "command": " ".join(self.command.words),
            "cpu_seconds": [round(seconds, 3) for seconds in self.cpu_seconds],
            "wall_seconds": [round(one.wall_seconds, 3) for one in self.measurements],
            "max_rss": [one.max_rss for one in self.measurements],
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
            "ratio": round(self.ratio, 4),
            "spread": [round(edge, 4) for edge in self.spread],
            "goal": self.row.goal,
            "memory_goal": self.row.memory_goal,
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
    ("peer", lambda one: one.peer.command.label),
    ("floe CPU s", lambda one: _seconds(one.ours)),
    ("peer CPU s", lambda one: _seconds(one.peer)),
    ("ratio", lambda one: f"{one.ratio:.2f}"),
    ("spread", lambda one: "{:.2f} to {:.2f}".format(*one.spread)),
    ("goal", lambda one: _at_most(one.row.goal)),
    ("floe MB", lambda one: f"{one.ours.megabytes:.0f}"),
    ("peer MB", lambda one: f"{one.peer.megabytes:.0f}"),
    ("goal MB", lambda one: _at_most(one.row.memory_goal)),
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


def document(found: Sequence[Result], machine: Machine, rounds: int) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": machine.document(),
        "rounds": rounds,
        "rows": [one.document() for one in found],
    }


def page(found: Sequence[Result], machine: Machine, rounds: int) -> str:
    """The page of the documentation that shows the figures."""
    return _PAGE.format(table=table(found), machine=machine.text(), rounds=rounds)


_PAGE = """\
# What floe costs

<!-- Written by `make bench ARGS="--write-page docs/explanation/performance.md"`. -->

CPU seconds of the whole process tree, floe against what the same work costs without it: medians of
{rounds} rounds in which floe and its peer take turns. *Ratio* is floe by peer, below 1 where floe
costs less; *spread* is the lowest and the highest ratio of one round. *MB* is the memory of the
largest process. Compare ratios: seconds belong to the machine.

{table}

- *Broken*: several mistakes in floe.yaml, and in the YAML of a `dg` component.
- *Nothing changed*, *one model touched*, *cold*: since the command ran last, or with nothing left
  of earlier runs. `dbt parse` has its partial parse in the first two.
- `floe run` and its peers build all models again, over tables that exist, and run all tests.
- `dagster` is measured with dagster-dbt on the same dbt project; for floe's definitions the same
  command loads `floe_dagster.definitions`.

Measured on:

```text
{machine}
```

The products are generated; `testing/bench/README.md` says how they look and
how everything is measured.
"""
