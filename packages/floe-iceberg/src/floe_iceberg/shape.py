"""The shape of a table: its columns, partitions, sort order and properties, from what is wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

from pyiceberg import types as iceberg
from pyiceberg.partitioning import PartitionField
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table.sorting import (
    UNSORTED_SORT_ORDER,
    NullOrder,
    SortDirection,
    SortField,
    SortOrder,
)
from pyiceberg.table.update import AddSortOrderUpdate, SetDefaultSortOrderUpdate
from pyiceberg.transforms import IdentityTransform

from floe_iceberg.errors import CatalogSetupError, IcebergError
from floe_iceberg.partitions import PartitionBy, free_name, partition_spec
from floe_iceberg.profile import STORAGE_LOCATION
from floe_iceberg.scan import COLUMN_TYPES, column_types
from floe_iceberg.sql import identifier
from floe_iceberg.types import (
    StoredType,
    duckdb_name,
    schema_fields,
    stored_type,
    to_stored,
    to_stored_as,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata

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
        duckdb.Error: if the query is wrong.
    """
    # A relation would do, but its errors do not say in which line they are.
    connection.execute(f"SELECT * FROM ({query}\n) AS __query LIMIT 0")
    return {name: stored_type(name, kind) for name, kind, *_ in connection.description or ()}


def stored_query(query: str, columns: Mapping[str, StoredType]) -> str:
    """The query with its columns as they are stored."""
    selected = ", ".join(
        f"{to_stored(name, stored)} AS {identifier(name)}" for name, stored in columns.items()
    )
    return f"SELECT {selected} FROM ({query}\n) AS __query"


def aligned_query(
    query: str,
    columns: Mapping[str, StoredType],
    schema: Schema,
    kept: Mapping[str, str] | None = None,
) -> str:
    """The query with the columns of a table, as they are stored; those it has not are null.

    Args:
        query: The query.
        columns: How its columns are stored.
        schema: The table's schema.
        kept: DuckDB's own types of the table's columns, where they are stored as another.

    Raises:
        IcebergError: if the query has a column that the table has not.
    """
    given = {name.lower(): name for name in columns}
    selected = []
    for field_ in schema.fields:
        kind = duckdb_name(field_.field_type)
        own = (kept or {}).get(field_.name, kind)
        name = given.pop(field_.name.lower(), None)
        wanted = StoredType(own, kind, field_.field_type)
        value = "NULL" if name is None else to_stored_as(name, columns[name], wanted)
        selected.append(f"CAST({value} AS {kind}) AS {identifier(field_.name)}")
    if given:
        raise IcebergError(
            f"the table has no column {', '.join(given.values())}",
            f"it has {', '.join(field_.name for field_ in schema.fields)}",
        )
    return f"SELECT {', '.join(selected)} FROM ({query}\n) AS __query"


def order_by(sort_by: Sequence[str]) -> str:
    """The clause that sorts rows, with a space before it; empty for none."""
    if not sort_by:
        return ""
    keys = (f"{identifier(c.lstrip('-'))}{' DESC' if c[0] == '-' else ''}" for c in sort_by)
    return f" ORDER BY {', '.join(keys)}"


def creation(
    catalog: Catalog, name: Identifier, columns: Mapping[str, StoredType], layout: Layout
) -> Transaction:
    """Begin to create a table; nothing is there before the transaction is committed.

    Everything is in what it begins with: some catalogs take one change of each kind.

    Raises:
        CatalogSetupError: if the catalog would place it outside of `storage-location`.
    """
    docs = layout.docs or {}
    fields = [
        field_.model_copy(update={"doc": docs.get(field_.name)})
        for field_ in schema_fields(columns)
    ]
    schema = assign_fresh_schema_ids(Schema(*fields))
    spec = partition_spec(layout.partition_by, schema)
    properties = {**NEW_TABLE_PROPERTIES, **_properties(layout)}
    types = _own_types(schema, columns)
    if types:
        properties[COLUMN_TYPES] = json.dumps(types)
    make_namespace(catalog, name[:-1])
    transaction = catalog.create_table_transaction(
        name,
        schema,
        location=_unique_location(catalog, name),
        partition_spec=spec,
        sort_order=_sort_order(layout.sort_by, schema),
        properties=properties,
    )
    _require_place(catalog, name, transaction.table_metadata.location)
    keep_types(transaction, columns)  # where the catalog has given other ids to the columns
    return transaction


def make_namespace(catalog: Catalog, namespace: Identifier) -> None:
    """Create a namespace, and those above it, unless they are there."""
    for depth in range(1, len(namespace) + 1):
        if catalog.namespace_exists(namespace[:depth]):
            continue
        try:
            catalog.create_namespace(namespace[:depth])
        except Exception:
            # Somebody else was faster; a SQL catalog says so with an error of its database.
            if not catalog.namespace_exists(namespace[:depth]):
                raise


def _unique_location(catalog: Catalog, name: Identifier) -> str | None:
    """A folder that no other table has had, so that what is left of one is never another's.

    Characters that mean something in a URI or a path are replaced: PyIceberg does not quote them.
    A REST catalog chooses by itself.
    """
    from pyiceberg.catalog import MetastoreCatalog

    if not isinstance(catalog, MetastoreCatalog):
        return None
    namespace = catalog.namespace_to_string(name[:-1])
    location = catalog._resolve_table_location(None, namespace, _folder_name(name[-1]))
    base, _, folder = location.rpartition("/")
    for end in (namespace, f"{namespace}.db"):
        if base.endswith(f"/{end}"):
            base = base[: -len(end)] + _folder_name(end)
    return f"{base}/{folder}-{uuid4().hex[:8]}"


def _require_place(catalog: Catalog, name: Identifier, location: str) -> None:
    """Let no table be elsewhere than its storage is; a REST catalog says where it puts one."""
    wanted = catalog.properties.get(STORAGE_LOCATION)
    if wanted is None or _place(location).startswith(_place(wanted)):
        return
    raise CatalogSetupError(
        f"the catalog places {'.'.join(name)} in {location}, which is not below {wanted}, where "
        "its storage is",
        "write the catalog's bucket and folder as `bucket` and `prefix` of the storage, or let the "
        "catalog place its tables there",
    )


def _place(uri: str) -> str:
    """A folder's URI as others are compared with it."""
    scheme, _, path = re.sub(r"^(?!\w+:/)", "file:", uri).partition(":")
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:/{path.strip('/')}/"


def _folder_name(name: str) -> str:
    return re.sub(r"^\.+|[^\w.-]", "_", name)


def reshape(transaction: Transaction, columns: Mapping[str, StoredType], layout: Layout) -> None:
    """Let a table take the shape that is asked for, within a transaction that writes all rows."""
    schema = transaction.table_metadata.schema()
    difference = _difference(transaction, columns, has_old_rows=False)
    going = {schema.find_field(name).field_id for name in (*difference.gone, *difference.other)}
    _unsort_by(transaction, going)
    drop_partition_fields(transaction, layout.partition_by, going, schema)
    _apply(transaction, columns, difference)
    _order_columns(transaction, list(columns))
    add_partition_fields(transaction, layout.partition_by)
    set_sort_order(transaction, layout.sort_by)
    set_properties(transaction, _properties(layout))
    keep_types(transaction, columns)
    if layout.docs is not None:
        document(transaction, layout.docs)


def replace_columns(transaction: Transaction, columns: Mapping[str, StoredType]) -> None:
    """Let a table have these columns, within a transaction that writes all rows anew."""
    schema = transaction.table_metadata.schema()
    difference = _difference(transaction, columns, has_old_rows=False)
    going = {schema.find_field(name).field_id for name in (*difference.gone, *difference.other)}
    _unsort_by(transaction, going)
    _apply(transaction, columns, difference)
    keep_types(transaction, columns)


def reshape_columns(transaction: Transaction, columns: Mapping[str, StoredType]) -> None:
    """Let a table have these columns, within a transaction that leaves rows as they are.

    A column whose type grows as Iceberg allows (int to long, a wider decimal) keeps its field id.

    Raises:
        IcebergError: if a column has another type otherwise, or one goes that the table is
            partitioned by.
    """
    metadata = transaction.table_metadata
    schema = metadata.schema()
    difference = _difference(transaction, columns, has_old_rows=True)
    for name in difference.other:
        known = schema.find_field(name)
        new = next(stored for n, stored in columns.items() if n.lower() == name.lower())
        if is_same(known.field_type, new.iceberg):
            continue  # it keeps the type that it has, and values have to fit that
        old = column_types(metadata.properties, schema).get(name, duckdb_name(known.field_type))
        raise IcebergError(
            f"column {name} of {'.'.join(transaction._table.name())} is {old} and cannot become "
            f"{new.duckdb} while rows of it stay",
            "cast it in the query, or write the table anew as a whole once (dbt: --full-refresh)",
        )
    going = {schema.find_field(name).field_id for name in difference.gone}
    for partition in metadata.spec().fields:
        if partition.source_id in going:
            raise IcebergError(
                f"column {schema.find_column_name(partition.source_id)} of "
                f"{'.'.join(transaction._table.name())} cannot be dropped, since the table is "
                "partitioned by it",
                "write the table anew as a whole once (dbt: --full-refresh)",
            )
    kept = {schema.find_field(name).field_id for name in difference.other}
    sorted_by = sort_columns(metadata)
    dropped = {schema.find_column_name(number) for number in going}
    staying = [column for column in sorted_by if column.lstrip("-") not in dropped]
    _unsort_by(transaction, going)
    _apply(transaction, columns, replace(difference, other=()))
    if staying != sorted_by:
        set_sort_order(transaction, staying)
    keep_types(transaction, columns, frozenset(kept))


@dataclass(frozen=True, slots=True)
class _Difference:
    """How the columns of a table differ from those that are wanted, by the table's names.

    `other` are columns of a type that old values cannot be read as; they are dropped, and new ones
    of their name added, since a field id never changes its meaning.
    """

    gone: tuple[str, ...]
    other: tuple[str, ...]
    promoted: Mapping[str, iceberg.PrimitiveType]
    renamed: Mapping[str, str]


def _difference(
    transaction: Transaction, columns: Mapping[str, StoredType], *, has_old_rows: bool
) -> _Difference:
    metadata = transaction.table_metadata
    schema = metadata.schema()
    kept = column_types(metadata.properties, schema)
    wanted = {name.lower(): name for name in columns}
    other = []
    promoted: dict[str, iceberg.PrimitiveType] = {}
    renamed = {}
    for known in schema.fields:
        name = wanted.get(known.name.lower())
        if name is None:
            continue
        new = columns[name]
        own = None if new.is_same else new.duckdb
        is_read_as = kept.get(known.name) == own or (has_old_rows and new.is_same)
        if is_read_as and promotes(known.field_type, new.iceberg):
            promoted[known.name] = new.iceberg  # type: ignore[assignment]
        elif not (is_read_as and is_same(known.field_type, new.iceberg)):
            other.append(known.name)
        if name != known.name:
            renamed[known.name] = name
    gone = tuple(f.name for f in schema.fields if f.name.lower() not in wanted)
    return _Difference(gone, tuple(other), promoted, renamed)


def _apply(
    transaction: Transaction, columns: Mapping[str, StoredType], difference: _Difference
) -> None:
    if difference.gone or difference.other:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in (*difference.gone, *difference.other):
                update.delete_column((name,))
    if difference.promoted:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name, kind in difference.promoted.items():
                update.update_column((name,), field_type=kind)
    renamed = {o: n for o, n in difference.renamed.items() if o not in difference.other}
    if renamed:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for old, name in renamed.items():
                update.rename_column((old,), name)
    metadata = transaction.table_metadata
    known = {field_.name for field_ in metadata.schema().fields}
    new = [name for name in columns if name not in known]
    divided = {field_.name for spec in metadata.partition_specs for field_ in spec.fields}
    if taken := [name for name in new if name in divided]:
        raise IcebergError(
            f"{'.'.join(transaction._table.name())} is or was partitioned by another column "
            f"{taken[0]}, and Iceberg gives its name to no second one",
            "drop the table, so that it is made anew, or give the column another name",
        )
    if new:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in new:
                update.add_column((name,), columns[name].iceberg)


def needs_new_column(schema: Schema, columns: Mapping[str, StoredType]) -> list[str]:
    """The columns whose type changes so that Iceberg needs a new column, without the old values."""
    return [
        field_.name
        for field_ in schema.fields
        if field_.name in columns
        and not is_same(field_.field_type, columns[field_.name].iceberg)
        and not promotes(field_.field_type, columns[field_.name].iceberg)
    ]


def is_same(one: iceberg.IcebergType, other: iceberg.IcebergType) -> bool:
    """Whether two types are the same but for the ids within."""
    return duckdb_name(one) == duckdb_name(other)


def promotes(old: iceberg.IcebergType, new: iceberg.IcebergType) -> bool:
    """Whether values of one type are read as another: https://iceberg.apache.org/spec/#schema-evolution."""
    match old, new:
        case iceberg.IntegerType(), iceberg.LongType():
            return True
        case iceberg.FloatType(), iceberg.DoubleType():
            return True
        case iceberg.DecimalType(), iceberg.DecimalType():
            return old.scale == new.scale and old.precision < new.precision
        case _:
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
                update.add_field(field_.column, field_.transform, free_name(field_, schema))


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
    name = column.lstrip("-")
    found = next((f for f in schema.fields if f.name.lower() == name.lower()), None)
    if found is None:
        raise IcebergError(
            f"sort_by names the column {name}, which the table does not have",
            f"it has {', '.join(f.name for f in schema.fields)}",
        )
    if not isinstance(found.field_type, iceberg.PrimitiveType):
        raise IcebergError(
            f"sort_by names the column {name}, which is nested and has no order in Iceberg",
            "sort by another column",
        )
    return found


def _unsort_by(transaction: Transaction, going: set[int]) -> None:
    """Take away a sort order whose columns go, which PyIceberg refuses to let go otherwise."""
    metadata = transaction.table_metadata
    order = metadata.sort_order_by_id(metadata.default_sort_order_id)
    if order is not None and any(field_.source_id in going for field_ in order.fields):
        set_sort_order(transaction, ())


def sort_columns(metadata: TableMetadata) -> list[str]:
    """The columns of a table's sort order that it still has, descending ones with a `-`."""
    order = metadata.sort_order_by_id(metadata.default_sort_order_id)
    columns = []
    for field_ in order.fields if order is not None else ():
        name = metadata.schema().find_column_name(field_.source_id)
        if name is None:
            break
        columns.append(("-" if field_.direction == SortDirection.DESC else "") + name)
    return columns


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
    number = max((order.order_id for order in metadata.sort_orders), default=0) + 1
    transaction._stage(
        (
            AddSortOrderUpdate(sort_order=SortOrder(*wanted.fields, order_id=number)),
            SetDefaultSortOrderUpdate(sort_order_id=number),
        )
    )


def _properties(layout: Layout) -> dict[str, str]:
    comment = {} if layout.comment is None else {"comment": layout.comment}
    return {**layout.properties, **comment}


def _own_types(schema: Schema, columns: Mapping[str, StoredType]) -> dict[str, str]:
    """DuckDB's types that are not plain from Iceberg's, by the id of the column."""
    return {
        str(field_.field_id): columns[field_.name].duckdb
        for field_ in schema.fields
        if not columns[field_.name].is_same
    }


def keep_types(
    transaction: Transaction,
    columns: Mapping[str, StoredType],
    unchanged: frozenset[int] = frozenset(),
) -> None:
    """Remember DuckDB's own types of the columns, and of those that earlier snapshots have."""
    metadata = transaction.table_metadata
    known = json.loads(metadata.properties.get(COLUMN_TYPES, "{}"))
    ids = {field_.field_id for schema in metadata.schemas for field_ in schema.fields}
    wanted = {number: own for number, own in known.items() if int(number) in ids}
    for field_ in metadata.schema().fields:
        stored = columns.get(field_.name)
        if stored is None or field_.field_id in unchanged:
            continue
        wanted.pop(str(field_.field_id), None)
        if not stored.is_same:
            wanted[str(field_.field_id)] = stored.duckdb
    if wanted != known:
        transaction.set_properties({COLUMN_TYPES: json.dumps(wanted)})


def set_properties(transaction: Transaction, wanted: Mapping[str, str]) -> None:
    """Set those properties that are another."""
    known = transaction.table_metadata.properties
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


def is_documented(table: Table, comment: str | None, docs: Mapping[str, str]) -> bool:
    """Whether a table and its columns, as far as it has them, are described like this."""
    known = {field_.name: field_.doc or "" for field_ in table.schema().fields}
    has_docs = all(known.get(name, doc) == doc for name, doc in docs.items())
    return has_docs and (comment is None or table.properties.get("comment", "") == comment)


def document_table(table: Table, comment: str | None, docs: Mapping[str, str]) -> bool:
    """Describe a table and its columns; says whether anything had to change."""
    if is_documented(table, comment, docs):
        return False
    with table.transaction() as transaction:
        document(transaction, docs)
        if comment is not None:
            transaction.set_properties({"comment": comment})
    return True


def columns_of(schema: Schema) -> Iterable[tuple[str, str]]:
    """Name and DuckDB type of each column, as it is stored."""
    return ((field_.name, duckdb_name(field_.field_type)) for field_ in schema.fields)
