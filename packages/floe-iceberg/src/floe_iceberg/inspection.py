"""What there is to know of tables: their size, their shape, and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import ValidationError
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.transforms import BucketTransform, IdentityTransform, TruncateTransform

from floe_iceberg.errors import TableGoneError
from floe_iceberg.scan import column_types
from floe_iceberg.shape import Identifier
from floe_iceberg.types import duckdb_name

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.partitioning import PartitionField
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table


def tables_of(catalog: Catalog, namespace: Identifier = ()) -> Iterator[Identifier]:
    """All tables of a catalog, or of a namespace and those below it."""
    if namespace:
        yield from sorted(catalog.list_tables(namespace))
    for below in sorted(catalog.list_namespaces(namespace)):
        if len(below) > len(namespace):
            yield from tables_of(catalog, below)


def look_at(catalog: Catalog, name: Identifier) -> Table:
    """Load a table.

    Raises:
        NoSuchTableError: if there is no such table.
        TableGoneError: if its metadata is lost or spoilt.
    """
    try:
        return catalog.load_table(name)
    except (OSError, ValueError, ValidationError) as problem:
        reason = (str(problem).strip() or repr(problem)).splitlines()[0]
        raise TableGoneError(
            f"the metadata of {'.'.join(name)} cannot be read: {reason}",
            "restore the file that the catalog names, or drop the table and build it anew",
        ) from problem


@dataclass(frozen=True, slots=True)
class Size:
    """How large a snapshot is, by what it says of itself; None where it does not say.

    Attributes:
        rows: Rows that are not deleted.
        files: Data files.
        delete_files: Delete files.
        bytes: Bytes of both.
    """

    rows: int | None
    files: int | None
    delete_files: int | None
    bytes: int | None


def size_of(snapshot: Snapshot | None) -> Size:
    """Say how large a snapshot is; nothing at all where there is none."""
    if snapshot is None:
        return Size(0, 0, 0, 0)
    rows, deleted = _figure(snapshot, "total-records"), _figure(snapshot, "total-position-deletes")
    if rows is not None and _figure(snapshot, "total-equality-deletes"):
        rows = None  # how many rows these delete is only known by reading
    return Size(
        rows=rows - (deleted or 0) if rows is not None else None,
        files=_figure(snapshot, "total-data-files"),
        delete_files=_figure(snapshot, "total-delete-files"),
        bytes=_figure(snapshot, "total-files-size"),
    )


def _figure(snapshot: Snapshot, key: str) -> int | None:
    value = snapshot.summary.get(key) if snapshot.summary is not None else None
    return int(value) if value is not None else None


@dataclass(frozen=True, slots=True)
class Change:
    """One snapshot of a table, as an entry of its history.

    Attributes:
        snapshot_id: Its id.
        parent_id: The one before; None for the first that is left.
        committed_at: When it was made.
        operation: What Iceberg calls the change.
        rows_added: Rows in files that came; those that were only written anew count too.
        rows_removed: Rows in files that went, and rows that were deleted in place.
        files_added: Data and delete files that came.
        files_removed: Data and delete files that went.
        bytes_added: Bytes of the files that came.
        refs: Branches and tags that point to it.
        is_current: Whether readers see it, or did before the current one.
    """

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str | None
    rows_added: int
    rows_removed: int
    files_added: int
    files_removed: int
    bytes_added: int
    refs: tuple[str, ...]
    is_current: bool


def history_of(table: Table) -> list[Change]:
    """The snapshots of a table that are left, the newest first."""
    current = {s.snapshot_id for s in ancestors_of(table.current_snapshot(), table.metadata)}
    found = sorted(table.snapshots(), key=lambda s: (s.timestamp_ms, s.sequence_number or 0))
    return [_change(table, snapshot, current) for snapshot in reversed(found)]


def _change(table: Table, snapshot: Snapshot, current: set[int]) -> Change:
    def count(*keys: str) -> int:
        return sum(_figure(snapshot, key) or 0 for key in keys)

    return Change(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        committed_at=moment(snapshot),
        operation=snapshot.summary.operation.value if snapshot.summary is not None else None,
        rows_added=count("added-records"),
        rows_removed=count("deleted-records", "added-position-deletes"),
        files_added=count("added-data-files", "added-delete-files"),
        files_removed=count("deleted-data-files", "removed-delete-files"),
        bytes_added=count("added-files-size"),
        refs=tuple(
            name
            for name, ref in sorted(table.metadata.refs.items())
            if ref.snapshot_id == snapshot.snapshot_id
        ),
        is_current=snapshot.snapshot_id in current,
    )


def moment(snapshot: Snapshot) -> datetime:
    """When a snapshot was made."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        type: DuckDB's type.
        iceberg_type: The type that is stored.
        is_required: Whether no null may be in it.
        doc: Its description.
    """

    name: str
    type: str
    iceberg_type: str
    is_required: bool
    doc: str | None


def columns_of(table: Table) -> list[Column]:
    """The columns of a table."""
    kept = column_types(table.properties, table.schema())
    return [
        Column(
            name=field.name,
            type=kept.get(field.name, duckdb_name(field.field_type)),
            iceberg_type=str(field.field_type),
            is_required=field.required,
            doc=field.doc,
        )
        for field in table.schema().fields
    ]


def partitions_of(table: Table) -> list[str]:
    """The fields of the partition spec, as `partition_by` takes them."""
    return [_spoken(field, table.schema()) for field in table.spec().fields]


def _spoken(field: PartitionField, schema: Schema) -> str:
    column = schema.find_column_name(field.source_id) or field.name
    transform: Any = field.transform
    match transform:
        case IdentityTransform():
            return column
        case BucketTransform():
            return f"bucket({transform.num_buckets}, {column})"
        case TruncateTransform():
            return f"truncate({transform.width}, {column})"
        case _:
            return f"{transform}({column})"


def sort_order_of(table: Table) -> list[str]:
    """The columns that rows are sorted by; descending where they begin with `-`."""
    schema = table.schema()
    return [
        ("-" if field.direction.value == "desc" else "")
        + (schema.find_column_name(field.source_id) or str(field.source_id))
        for field in table.sort_order().fields
    ]


def refs_of(table: Table) -> dict[str, dict[str, int]]:
    """Branches and tags, each with its snapshot."""
    found: dict[str, dict[str, int]] = {"branches": {}, "tags": {}}
    for name, ref in sorted(table.metadata.refs.items()):
        kind = "branches" if ref.snapshot_ref_type == SnapshotRefType.BRANCH else "tags"
        found[kind][name] = ref.snapshot_id
    return found
