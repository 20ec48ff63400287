"""The shape of a table: its columns, partitions, sort order and properties, from what is wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

from pyiceberg import types as iceberg
from pyiceberg.exceptions import NamespaceAlreadyExistsError, ResolveError
from pyiceberg.partitioning import PartitionField
from pyiceberg.schema import Schema, assign_fresh_schema_ids, promote
from pyiceberg.table.sorting import (
    UNSORTED_SORT_ORDER,
    NullOrder,
    SortDirection,
    SortField,
    SortOrder,
)
from pyiceberg.table.update import AddSortOrderUpdate, SetDefaultSortOrderUpdate
from pyiceberg.transforms import IdentityTransform

from floe_iceberg.errors import IcebergError
from floe_iceberg.partitions import PartitionBy, partition_spec
from floe_iceberg.scan import COLUMN_TYPES, column_types
from floe_iceberg.sql import identifier
from floe_iceberg.types import StoredType, duckdb_name, schema_fields, stored_type, to_stored

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Transaction

Identifier = tuple[str, ...]
"""Name of a table: its namespace's parts, then its own."""

NEW_TABLE_PROPERTIES: Mapping[str, str] = {
    "write.metadata.previous-versions-max": "5",
    "write.metadata.delete-after-commit.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "history.expire.min-snapshots-to-keep": "5",
}
"""What a table that is created here gets unless told otherwise: its metadata stays small."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table is to look like besides its columns.

    Attributes:
        partition_by: Fields of the partition spec.
        sort_by: Columns that rows are sorted by within the files, ascending unless they begin with
            `-`.
        properties: Table properties that are set.
        comment: Description of the table; None leaves it alone.
        docs: Descriptions of columns, by name; None leaves them alone.
        required: Columns in which no null may be written.
    """

    partition_by: Sequence[PartitionBy] = ()
    sort_by: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    comment: str | None = None
    docs: Mapping[str, str] | None = None
    required: frozenset[str] = frozenset()


def describe(connection: DuckDBPyConnection, query: str) -> dict[str, StoredType]:
    """Say how the columns of a query are stored, by name.

    Raises:
        UnsupportedTypeError: if one cannot be.
        IcebergError: if two have the same name.
        duckdb.Error: if the query is wrong.
    """
    relation = connection.sql(f"SELECT * FROM ({query}) AS __query LIMIT 0")
    columns: dict[str, StoredType] = {}
    known = set()
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if name.lower() in known:
            raise IcebergError(f"two columns are named {name}", "give one of them another name")
        known.add(name.lower())
        columns[name] = stored_type(name, kind)
    return columns


def stored_query(query: str, columns: Mapping[str, StoredType]) -> str:
    """The query with its columns as they are stored."""
    selected = ", ".join(
        f"{to_stored(name, stored)} AS {identifier(name)}" for name, stored in columns.items()
    )
    return f"SELECT {selected} FROM ({query}) AS __query"


def aligned_query(query: str, columns: Mapping[str, StoredType], schema: Schema) -> str:
    """The query with the columns of a table, as they are stored; those it has not are null.

    Raises:
        IcebergError: if the query has a column that the table has not.
    """
    given = {name.lower(): name for name in columns}
    selected = []
    for field_ in schema.fields:
        kind = duckdb_name(field_.field_type)
        name = given.pop(field_.name.lower(), None)
        value = "NULL" if name is None else to_stored(name, columns[name])
        selected.append(f"CAST({value} AS {kind}) AS {identifier(field_.name)}")
    if given:
        raise IcebergError(
            f"the table has no column {', '.join(given.values())}",
            f"it has {', '.join(field_.name for field_ in schema.fields)}",
        )
    return f"SELECT {', '.join(selected)} FROM ({query}) AS __query"


def order_by(sort_by: Sequence[str]) -> str:
    """The clause that sorts rows, with a space before it; empty for none."""
    if not sort_by:
        return ""
    keys = (f"{identifier(c.lstrip('-'))}{' DESC' if c[0] == '-' else ''}" for c in sort_by)
    return f" ORDER BY {', '.join(keys)}"


def creation(
    catalog: Catalog, name: Identifier, columns: Mapping[str, StoredType], layout: Layout
) -> Transaction:
    """Begin to create a table; nothing is there before the transaction is committed."""
    schema = assign_fresh_schema_ids(Schema(*schema_fields(columns)))
    spec = partition_spec(layout.partition_by, schema)
    properties = {**NEW_TABLE_PROPERTIES, **_properties(columns, layout)}
    make_namespace(catalog, name[:-1])
    transaction = catalog.create_table_transaction(
        name,
        schema,
        location=_unique_location(catalog, name),
        partition_spec=spec,
        sort_order=_sort_order(layout.sort_by, schema),
        properties=properties,
    )
    if layout.docs:
        document(transaction, layout.docs)
    return transaction


def make_namespace(catalog: Catalog, namespace: Identifier) -> None:
    """Create a namespace, and those above it, unless they are there."""
    for depth in range(1, len(namespace) + 1):
        try:
            if not catalog.namespace_exists(namespace[:depth]):
                catalog.create_namespace(namespace[:depth])
        except NamespaceAlreadyExistsError:
            continue


def _unique_location(catalog: Catalog, name: Identifier) -> str | None:
    """A folder that no other table has had, so that what is left of one is never another's.

    A REST catalog chooses by itself.
    """
    from pyiceberg.catalog import MetastoreCatalog

    if not isinstance(catalog, MetastoreCatalog):
        return None
    namespace = catalog.namespace_to_string(name[:-1])
    return f"{catalog._resolve_table_location(None, namespace, name[-1])}-{uuid4().hex[:8]}"


def reshape(transaction: Transaction, columns: Mapping[str, StoredType], layout: Layout) -> None:
    """Let a table take the shape that is asked for, within a transaction that writes all rows."""
    schema = transaction.table_metadata.schema()
    going = {f.field_id for f in schema.fields if f.name not in columns}
    drop_partition_fields(transaction, layout.partition_by, going, schema)
    reshape_columns(transaction, columns)
    _order_columns(transaction, list(columns))
    add_partition_fields(transaction, layout.partition_by)
    set_sort_order(transaction, layout.sort_by)
    set_properties(transaction, _properties(columns, layout))
    if layout.docs is not None:
        document(transaction, layout.docs)


def reshape_columns(transaction: Transaction, columns: Mapping[str, StoredType]) -> None:
    """Let a table have these columns; one that keeps name and type keeps its field id.

    Columns whose type grows as Iceberg allows (int to long, a wider decimal) keep theirs too.
    """
    schema = transaction.table_metadata.schema()
    known = {field_.name: field_ for field_ in schema.fields}
    gone = [name for name in known if name not in columns]
    other = []
    promoted: dict[str, iceberg.PrimitiveType] = {}
    for name, stored in columns.items():
        if name not in known or is_same(known[name].field_type, stored.iceberg):
            continue
        if promotes(known[name].field_type, stored.iceberg):
            promoted[name] = stored.iceberg  # type: ignore[assignment]
        else:
            other.append(name)
    if gone or other or promoted:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in (*gone, *other):
                update.delete_column((name,))
            for name, kind in promoted.items():
                update.update_column((name,), field_type=kind)
    new = [name for name in columns if name not in known or name in other]
    if new:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in new:
                update.add_column((name,), columns[name].iceberg)
    set_properties(transaction, _column_types(columns))


def is_same(one: iceberg.IcebergType, other: iceberg.IcebergType) -> bool:
    """Whether two types are the same but for the ids within."""
    return duckdb_name(one) == duckdb_name(other)


def promotes(old: iceberg.IcebergType, new: iceberg.IcebergType) -> bool:
    """Whether Iceberg lets a column become of another type, as its values all fit."""
    if not isinstance(old, iceberg.PrimitiveType) or not isinstance(new, iceberg.PrimitiveType):
        return False
    try:
        return promote(old, new) == new
    except ResolveError:
        return False


def _order_columns(transaction: Transaction, wanted: list[str]) -> None:
    if [field_.name for field_ in transaction.table_metadata.schema().fields] == wanted:
        return
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        update.move_first((wanted[0],))
        for before, name in pairwise(wanted):
            update.move_after((name,), (before,))


def _partition_key(field_: PartitionField, schema: Schema) -> tuple[str | None, str]:
    return schema.find_column_name(field_.source_id), str(field_.transform)


def drop_partition_fields(
    transaction: Transaction, wanted: Sequence[PartitionBy], going: set[int], schema: Schema
) -> None:
    """Let a partition spec lose the fields that are not wanted, or whose column goes."""
    keys = {(field_.column, str(field_.transform)) for field_ in wanted}
    stale = [
        field_.name
        for field_ in transaction.table_metadata.spec().fields
        if field_.source_id in going or _partition_key(field_, schema) not in keys
    ]
    if stale:
        with transaction.update_spec() as update:
            for name in stale:
                update.remove_field(name)


def add_partition_fields(transaction: Transaction, wanted: Sequence[PartitionBy]) -> None:
    """Let a partition spec have the fields that are wanted.

    Raises:
        IcebergError: if one does not fit the columns.
    """
    schema = transaction.table_metadata.schema()
    partition_spec(wanted, schema)
    known = {_partition_key(field_, schema) for field_ in transaction.table_metadata.spec().fields}
    new = [field_ for field_ in wanted if (field_.column, str(field_.transform)) not in known]
    if new:
        with transaction.update_spec() as update:
            for field_ in new:
                update.add_field(field_.column, field_.transform, field_.name)


def _sort_order(sort_by: Sequence[str], schema: Schema) -> SortOrder:
    return SortOrder(
        *(
            SortField(
                source_id=_sort_column(column, schema).field_id,
                transform=IdentityTransform(),
                direction=SortDirection.DESC if column[0] == "-" else SortDirection.ASC,
                null_order=NullOrder.NULLS_LAST,
            )
            for column in sort_by
        )
    )


def _sort_column(column: str, schema: Schema) -> iceberg.NestedField:
    try:
        return schema.find_field(column.lstrip("-"), case_sensitive=False)
    except ValueError:
        raise IcebergError(
            f"sort_by names the column {column.lstrip('-')}, which the table does not have",
            f"it has {', '.join(schema.column_names)}",
        ) from None


def set_sort_order(transaction: Transaction, sort_by: Sequence[str]) -> None:
    """Let rows that are written from now on be sorted.

    Raises:
        IcebergError: if the table has not the column.
    """
    metadata = transaction.table_metadata
    schema = metadata.schema()
    wanted = _sort_order(sort_by, schema)
    known = metadata.sort_order_by_id(metadata.default_sort_order_id)
    if (known.fields if known is not None else []) == wanted.fields:
        return
    for order in metadata.sort_orders:
        if order.fields == wanted.fields:
            transaction._stage((SetDefaultSortOrderUpdate(sort_order_id=order.order_id),))
            return
    if not wanted.fields:
        transaction._stage(
            (
                AddSortOrderUpdate(sort_order=UNSORTED_SORT_ORDER),
                SetDefaultSortOrderUpdate(sort_order_id=UNSORTED_SORT_ORDER.order_id),
            )
        )
        return
    with transaction.update_sort_order() as update:
        for field_ in wanted.fields:
            column = schema.find_column_name(field_.source_id) or ""
            add = update.desc if field_.direction == SortDirection.DESC else update.asc
            add(column, field_.transform, field_.null_order)


def _properties(columns: Mapping[str, StoredType], layout: Layout) -> dict[str, str]:
    comment = {} if layout.comment is None else {"comment": layout.comment}
    return {**layout.properties, **comment, **_column_types(columns)}


def _column_types(columns: Mapping[str, StoredType]) -> dict[str, str]:
    kept = {name: stored.duckdb for name, stored in columns.items() if not stored.is_same}
    return {COLUMN_TYPES: json.dumps(kept)}


def set_properties(transaction: Transaction, wanted: Mapping[str, str]) -> None:
    """Set those properties that are another."""
    known = transaction.table_metadata.properties
    if not column_types(known) and wanted.get(COLUMN_TYPES) == "{}":
        wanted = {key: value for key, value in wanted.items() if key != COLUMN_TYPES}
    changed = {key: value for key, value in wanted.items() if known.get(key) != value}
    if changed:
        transaction.set_properties(changed)


def document(transaction: Transaction, docs: Mapping[str, str]) -> None:
    """Let columns have descriptions."""
    known = {field_.name: field_ for field_ in transaction.table_metadata.schema().fields}
    changed = {
        name: doc for name, doc in docs.items() if name in known and (known[name].doc or "") != doc
    }
    if changed:
        with transaction.update_schema() as update:
            for name, doc in changed.items():
                update.update_column((name,), doc=doc)
