"""`.floe/lineage/<environment>.json`: what the last runs told of tables and columns.

Which node reads which is not in it: dbt's index knows that at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from floe_core.layout import write_atomic
from floe_dagster.lineage.datasets import Dataset, Identifier
from floe_dagster.lineage.facts import ColumnLineage, ColumnSource, NodeFacts, TableColumn

VERSION = 1
"""Version of the file; a file of another version is not read."""


@dataclass(frozen=True, slots=True)
class StoredNode:
    """The last that is known of one node.

    Attributes:
        run_id: Run that built it.
        at: When it was built.
        datasets: Where its tables are.
        location: Where its Iceberg table is.
        columns: Columns of its table.
        lineage: What they are made of; None when that is not known.
    """

    run_id: str
    at: datetime
    datasets: tuple[Identifier, ...] = ()
    location: str | None = None
    columns: tuple[TableColumn, ...] = ()
    lineage: ColumnLineage | None = None


@dataclass(frozen=True, slots=True)
class StoredLineage:
    """What the last runs told, by unique id."""

    nodes: Mapping[str, StoredNode] = field(default_factory=dict)

    @property
    def locations(self) -> dict[str, str]:
        """Location of each Iceberg table that is known, by unique id."""
        return {uid: node.location for uid, node in self.nodes.items() if node.location}


def stored_node(
    run_id: str, at: datetime, facts: NodeFacts, datasets: Iterable[Dataset]
) -> StoredNode:
    """What is kept of a node that was built."""
    return StoredNode(
        run_id=run_id,
        at=at,
        datasets=tuple(Identifier(data.namespace, data.name) for data in datasets),
        location=facts.table.location,
        columns=facts.table.columns,
        lineage=facts.columns,
    )


def read_lineage(path: Path) -> StoredLineage:
    """Read what was kept; nothing when there is no file, or one that cannot be used."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["version"] != VERSION:
            return StoredLineage()
        return StoredLineage({uid: _node(row) for uid, row in document["nodes"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return StoredLineage()


def remember(path: Path, built: Mapping[str, StoredNode], known: Collection[str]) -> None:
    """Add what a run built to what is kept of the nodes that still exist.

    Args:
        path: The file.
        built: What the run built, by unique id.
        known: Unique ids of all nodes of the product.

    Raises:
        UnwritableError: if the file cannot be written.
    """
    nodes = {**read_lineage(path).nodes, **built}
    rows = {uid: _row(node) for uid, node in sorted(nodes.items()) if uid in known}
    write_atomic(path, orjson.dumps({"version": VERSION, "nodes": rows}))


def _row(node: StoredNode) -> dict[str, Any]:
    lineage = node.lineage
    return {
        "run_id": node.run_id,
        "at": node.at.isoformat(),
        "datasets": [[data.namespace, data.name] for data in node.datasets],
        "location": node.location,
        "columns": [[column.name, column.type, column.description] for column in node.columns],
        "lineage": lineage
        and {
            "columns": {
                name: [*map(_source_row, known)] for name, known in lineage.columns.items()
            },
            "rows": [*map(_source_row, lineage.rows)],
        },
    }


def _source_row(source: ColumnSource) -> list[Any]:
    return [source.node, source.column, source.type, source.subtype, source.is_masked]


def _node(row: Mapping[str, Any]) -> StoredNode:
    lineage = row["lineage"]
    return StoredNode(
        run_id=row["run_id"],
        at=datetime.fromisoformat(row["at"]),
        datasets=tuple(Identifier(*data) for data in row["datasets"]),
        location=row["location"],
        columns=tuple(TableColumn(*column) for column in row["columns"]),
        lineage=lineage
        and ColumnLineage(
            {name: _sources(known) for name, known in lineage["columns"].items()},
            _sources(lineage["rows"]),
        ),
    )


def _sources(rows: Iterable[Any]) -> tuple[ColumnSource, ...]:
    return tuple(ColumnSource(*row) for row in rows)
