"""Facts of Iceberg tables, from what their metadata says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floe_dagster.lineage.facts import Change, Size, TableColumn, TableFacts
from floe_iceberg import inspection

if TYPE_CHECKING:
    from pyiceberg.table import Table


def iceberg_facts(table: Table, *, is_written: bool = True) -> TableFacts:
    """What the metadata of a table says; no data is read.

    Args:
        table: The table, loaded after it was written.
        is_written: Whether its current snapshot is what the run wrote.
    """
    snapshot = table.current_snapshot()
    size = inspection.size_of(snapshot)
    written, change = Size(), None
    if is_written and snapshot is not None:
        added = next(
            found
            for found in inspection.history_of(table)
            if found.snapshot_id == snapshot.snapshot_id
        )
        written = Size(added.rows_added, added.bytes_added, added.files_added)
        change = _change(added)
    return TableFacts(
        columns=tuple(
            TableColumn(column.name, column.iceberg_type, column.doc or "")
            for column in inspection.columns_of(table)
        ),
        written=written,
        size=Size(size.rows, size.bytes, size.files),
        version=str(snapshot.snapshot_id) if snapshot else None,
        location=table.location(),
        change=change,
    )


def _change(made: inspection.Change) -> Change | None:
    """Nothing is certain of a later snapshot: overwriting may replace one file or all."""
    return "CREATE" if made.parent_id is None else None
