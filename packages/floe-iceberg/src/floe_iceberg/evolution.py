"""A table that gets another shape, without its data being written anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyiceberg.types import PrimitiveType

from floe_core.diagnostics import did_you_mean
from floe_iceberg.errors import IcebergError
from floe_iceberg.partitions import PartitionBy
from floe_iceberg.scan import column_types
from floe_iceberg.shape import (
    Identifier,
    add_partition_fields,
    document,
    drop_partition_fields,
    is_same,
    keep_types,
    promotes,
    set_properties,
    set_sort_order,
)
from floe_iceberg.table import until_committed
from floe_iceberg.types import StoredType, parse_types

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction


@dataclass(frozen=True, slots=True)
class Evolution:
    """What becomes of a table's shape.

    Columns that are renamed, dropped or retyped go by their names before the change.

    Attributes:
        rename: New names of columns; they keep their field ids, and so their values.
        drop: Columns that go.
        retype: DuckDB's type of columns that become wider, as Iceberg allows: INTEGER to BIGINT,
            FLOAT to DOUBLE, a decimal with more digits, or a type that DuckDB stored as another
            (TINYINT as INTEGER) to that one.
        add: DuckDB's type of new columns, by name; they are null in the rows that are there.
        docs: Descriptions of columns, by their names after the change.
        partition_by: Fields of the partition spec from now on; None leaves it alone.
        sort_by: Sort order from now on, as in `Layout`; None leaves it alone. Both are by the
            names after the change.
        properties: Table properties that are set.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    retype: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)
    docs: Mapping[str, str] = field(default_factory=dict)
    partition_by: Sequence[PartitionBy] | None = None
    sort_by: Sequence[str] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def evolve(catalog: Catalog, name: Identifier, evolution: Evolution) -> Table:
    """Give a table another shape in one commit; its data stays as it is.

    Files keep the partition spec and the sort order that they were written with, until compaction
    writes them anew. Earlier snapshots keep their columns.

    Raises:
        NoSuchTableError: if there is no such table.
        UnsupportedTypeError: if a new column cannot be stored.
        IcebergError: if the table cannot take this shape.
        CommitConflictError: if somebody else was always faster.
    """
    added, retyped = parse_types(evolution.add), parse_types(evolution.retype)

    def attempt(_: int) -> Table:
        table = catalog.load_table(name)
        _refuse_unknown(table.schema(), evolution)
        _refuse_needed(table, evolution)
        transaction = table.transaction()
        if evolution.partition_by is not None:
            wanted = _under_old_names(evolution.partition_by, evolution.rename)
            drop_partition_fields(transaction, wanted, set(), table.schema())
        kept = column_types(table.properties, table.schema())
        _retype(transaction, kept, retyped)
        _drop_and_rename(transaction, evolution)
        with transaction.update_schema() as update:
            for column, stored in added.items():
                update.add_column((column,), stored.iceberg)
        if evolution.partition_by is not None:
            add_partition_fields(transaction, evolution.partition_by)
        if evolution.sort_by is not None:
            set_sort_order(transaction, evolution.sort_by)
        document(transaction, evolution.docs)
        set_properties(transaction, evolution.properties)
        keep_types(transaction, {**added, **retyped})
        return transaction.commit_transaction()

    return until_committed(name, attempt)


def _under_old_names(wanted: Sequence[PartitionBy], rename: Mapping[str, str]) -> list[PartitionBy]:
    old = {new: column for column, new in rename.items()}
    return [replace(by, column=old.get(by.column, by.column)) for by in wanted]


def _drop_and_rename(transaction: Transaction, evolution: Evolution) -> None:
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for column in evolution.drop:
            update.delete_column((column,))
    aside = {column: f"{column}__renamed" for column in evolution.rename}  # so that two may swap
    with transaction.update_schema() as update:
        for column, other in aside.items():
            update.rename_column((column,), other)
    with transaction.update_schema() as update:
        for column, new in evolution.rename.items():
            update.rename_column((aside[column],), new)


def _retype(
    transaction: Transaction, types: dict[str, str], retyped: Mapping[str, StoredType]
) -> None:
    """Widen columns."""
    schema = transaction.table_metadata.schema()
    with transaction.update_schema() as update:
        for column, stored in retyped.items():
            old = schema.find_field(column).field_type
            if not stored.is_same or not (
                is_same(old, stored.iceberg) or promotes(old, stored.iceberg)
            ):
                raise IcebergError(
                    f"column {column} cannot become {stored.duckdb} without being written anew",
                    f"it is {types.get(column, str(old))}; Iceberg widens INTEGER to BIGINT, FLOAT "
                    "to DOUBLE, and decimals to more digits",
                )
            if isinstance(stored.iceberg, PrimitiveType) and not is_same(old, stored.iceberg):
                update.update_column((column,), field_type=stored.iceberg)


def _refuse_unknown(schema: Schema, evolution: Evolution) -> None:
    known = [column.name for column in schema.fields]
    for column in (*evolution.rename, *evolution.drop, *evolution.retype):
        if column not in known:
            raise IcebergError(
                f"the table has no column {column}", did_you_mean(column, known, "columns")
            )
    twice = set(evolution.drop) & {*evolution.rename, *evolution.retype}
    if twice:
        raise IcebergError(f"column {min(twice)} cannot be dropped and changed at once")
    after = [
        evolution.rename.get(column, column) for column in known if column not in evolution.drop
    ]
    after += evolution.add
    folded = [column.lower() for column in after]
    for column in after:
        if folded.count(column.lower()) > 1:
            raise IcebergError(
                f"two columns would be named {column}", "give one of them another name"
            )
    for column in evolution.docs:
        if column not in after:
            raise IcebergError(
                f"there would be no column {column} to describe",
                did_you_mean(column, after, "columns"),
            )


def _refuse_needed(table: Table, evolution: Evolution) -> None:
    """Stop where a column is to go by which rows are divided or sorted."""
    schema = table.schema()
    going = {schema.find_field(column).field_id for column in evolution.drop}
    if not going:
        return
    if evolution.sort_by is None:
        sources = (f.source_id for f in table.sort_order().fields)
        _refuse(schema, going, sources, "sorted by it", "give another `sort_by`, or an empty one")
    if evolution.partition_by is None:
        sources = (f.source_id for f in table.spec().fields)
        _refuse(schema, going, sources, "divided by it", "give another `partition_by` first")
    used = {
        manifest.partition_spec_id
        for snapshot in table.snapshots()
        for manifest in snapshot.manifests(table.io)
        if manifest.has_added_files() or manifest.has_existing_files()
    }
    specs = (table.specs()[number] for number in sorted(used))
    sources = (f.source_id for spec in specs for f in spec.fields)
    _refuse(
        schema,
        going,
        sources,
        "divided by it in snapshots that are kept",
        "write the table anew without it, or compact it and expire its earlier snapshots",
    )


def _refuse(schema: Schema, going: set[int], sources: Iterable[int], why: str, help: str) -> None:
    for source in sources:
        if source in going:
            raise IcebergError(
                f"column {schema.find_column_name(source)} cannot go: rows are {why}", help
            )
