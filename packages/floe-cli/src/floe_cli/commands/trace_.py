"""`floe trace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import artifacts_option, source_options
from floe_cli.output import Output

if TYPE_CHECKING:
    from floe_core.index import Node
    from floe_dagster.records import NodeRecord, RunRecord

_BAR = 30

EPILOG = """\b
Examples:
  floe trace                  where the time of the last run went
  floe trace --slowest 10     its ten longest nodes
  floe trace 1f27acf9         another run, by the beginning of its id
"""


@floe_command("trace", short_help="Show where the time of a run went.", epilog=EPILOG)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--slowest", type=click.IntRange(min=1), metavar="N", help="Only the N longest.")
@source_options
@artifacts_option
def command(
    out: Output, run_id: str | None, slowest: int | None, artifacts: Path | None, **source: Any
) -> None:
    """Show when each node of a run began and how long it took, and the longest chain of them.

    RUN is the id of a run, or its beginning; the last one without it. Everything comes from
    .floe/runs: no server is asked, and none has to have been there.
    """
    from floe_cli.freshness import current_artifacts
    from floe_core.errors import UsageError
    from floe_core.layout import Layout
    from floe_dagster.records import read_records
    from floe_dagster.units import resolve_units

    stored = current_artifacts(artifacts, source, out)
    environment = stored.artifacts.environment
    records = read_records(Layout(stored.root), environment)
    found = [record for record in records if record.run_id.startswith(run_id or "")]
    if not found:
        which = f"no run whose id begins with `{run_id}`" if run_id else "no run yet"
        raise UsageError(
            f"there is {which} in environment {environment}",
            help="`floe run` makes one." if not records else f"The last is {records[0].run_id}.",
        )
    record = found[0]
    index = {
        uid: node
        for unit in resolve_units(stored.artifacts, stored.root)
        for uid, node in unit.index.nodes.items()
    }
    ran = sorted(_ran(record), key=_start)
    chain = _longest_chain(ran, index)
    shown = ran
    if slowest is not None:
        shown = sorted(ran, key=lambda node: -node.seconds)[:slowest]
    out.document(
        {
            "ok": True,
            "run_id": record.run_id,
            "trace_id": record.trace_id,
            "status": record.status,
            "started_at": record.started_at.isoformat(),
            "seconds": record.seconds,
            "nodes": [_row(record, node) for node in shown],
            "longest_chain": [node.unique_id for node in chain],
            "longest_chain_seconds": _seconds(chain),
        }
    )
    out.result("\n".join([_title(record), *_lines(record, shown), *_chain_line(chain)]))


def _ran(record: RunRecord) -> list[NodeRecord]:
    return [
        node for node in record.nodes if node.started_at is not None and node.status != "skipped"
    ]


def _start(node: NodeRecord) -> float:
    return node.started_at.timestamp() if node.started_at is not None else 0.0


def _offset(record: RunRecord, node: NodeRecord) -> float:
    """Seconds from the start of the run to that of the node."""
    return round(max(_start(node) - record.started_at.timestamp(), 0.0), 3)


def _row(record: RunRecord, node: NodeRecord) -> dict[str, Any]:
    return {
        "unique_id": node.unique_id,
        "name": node.name,
        "resource_type": node.resource_type,
        "status": node.status,
        "offset_seconds": _offset(record, node),
        "seconds": node.seconds,
        "rows": node.rows,
    }


def _longest_chain(ran: Sequence[NodeRecord], index: Mapping[str, Node]) -> list[NodeRecord]:
    """The nodes that waited for each other and took longest together, parents first."""
    ends: dict[str, tuple[float, list[NodeRecord]]] = {}

    def above(unique_id: str) -> list[str]:
        node = index.get(unique_id)
        return list(node.depends_on) if node is not None else []

    for record in ran:  # parents began before their children
        best: tuple[float, list[NodeRecord]] = (0.0, [])
        waiting, seen = above(record.unique_id), set[str]()  # through parents that did not run
        while waiting:
            parent = waiting.pop()
            if parent in ends:
                best = max(best, ends[parent], key=lambda chain: chain[0])
            elif parent not in seen:
                seen.add(parent)
                waiting += above(parent)
        ends[record.unique_id] = (best[0] + record.seconds, [*best[1], record])
    return max(ends.values(), key=lambda chain: chain[0], default=(0.0, []))[1]


def _seconds(chain: Sequence[NodeRecord]) -> float:
    return round(sum(node.seconds for node in chain), 3)


def _title(record: RunRecord) -> str:
    took = f", {record.seconds:.1f} s" if record.seconds is not None else ""
    trace = f"\nTrace {record.trace_id}" if record.trace_id is not None else ""
    at = f"{record.started_at.astimezone():%Y-%m-%d %H:%M}"
    return f"Run {record.run_id} of {record.product}: {record.status}, {at}{took}{trace}\n"


def _lines(record: RunRecord, shown: Sequence[NodeRecord]) -> list[str]:
    if not shown:
        return ["  nothing was built"]
    first = min(_offset(record, node) for node in shown)
    last = max(_offset(record, node) + node.seconds for node in shown)
    scale = _BAR / max(last - first, 0.001)
    width = min(max(len(node.name) for node in shown), 60)
    return [
        f"  {_offset(record, node):>7.2f} s  {node.resource_type:<8}  {_short(node.name, width)}  "
        f"{node.seconds:>7.2f} s  {_bar(_offset(record, node) - first, node.seconds, scale)}"
        for node in shown
    ]


def _short(name: str, width: int) -> str:
    return f"{name:<{width}}" if len(name) <= width else f"{name[: width - 1]}…"


def _bar(offset: float, seconds: float, scale: float) -> str:
    before = min(int(offset * scale), _BAR - 1)
    return f"{' ' * before}{'█' * max(1, min(round(seconds * scale), _BAR - before))}"


def _chain_line(chain: Sequence[NodeRecord]) -> list[str]:
    if len(chain) < 2:
        return []
    names = " > ".join(node.name for node in chain)
    return ["", f"Longest chain ({_seconds(chain):.2f} s): {names}"]
