"""How DuckDB's types are stored in Iceberg, and how a table's columns are read back.

DuckDB has types that Iceberg has not. Those whose values another type holds exactly are stored as
that type, and a property of the table keeps DuckDB's own, so that a view can cast back. Types whose
values would be changed are refused by the name of the column.

The Parquet that DuckDB writes decides what is exact: it keeps `HUGEINT` as a double, and unsigned
integers as signed ones of the same width, so both are stored wider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from pyiceberg import types as iceberg

from floe_iceberg.errors import IcebergError, UnsupportedTypeError
from floe_iceberg.sql import identifier, literal

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

_SAME: Mapping[str, iceberg.PrimitiveType] = {
    "boolean": iceberg.BooleanType(),
    "integer": iceberg.IntegerType(),
    "bigint": iceberg.LongType(),
    "float": iceberg.FloatType(),
    "double": iceberg.DoubleType(),
    "varchar": iceberg.StringType(),
    "blob": iceberg.BinaryType(),
    "date": iceberg.DateType(),
    "time": iceberg.TimeType(),
    "timestamp": iceberg.TimestampType(),
    "timestamp with time zone": iceberg.TimestamptzType(),
    "uuid": iceberg.UUIDType(),
}
"""Types that Iceberg has, by the id that DuckDB gives them."""

_STORED_AS: Mapping[str, str] = {
    "tinyint": "INTEGER",
    "smallint": "INTEGER",
    "utinyint": "INTEGER",
    "usmallint": "INTEGER",
    "uinteger": "BIGINT",
    "ubigint": "DECIMAL(20,0)",
    "hugeint": "DECIMAL(38,0)",
    "uhugeint": "DECIMAL(38,0)",
    "timestamp_s": "TIMESTAMP",
    "timestamp_ms": "TIMESTAMP",
    "timestamp_ns": "TIMESTAMP",
    "enum": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "VARCHAR",
    "interval": "VARCHAR",
    "time_ns": "VARCHAR",
}
"""What holds every value that it is given exactly, or fails to take it."""

_LOSSY = ("HUGEINT", "TIMESTAMP_NS", "INTERVAL")
"""Types of which not every value fits what is stored; they may be within a nested type."""

_ICEBERG: Mapping[str, iceberg.PrimitiveType] = {
    "INTEGER": iceberg.IntegerType(),
    "BIGINT": iceberg.LongType(),
    "DECIMAL(20,0)": iceberg.DecimalType(20, 0),
    "DECIMAL(38,0)": iceberg.DecimalType(38, 0),
    "TIMESTAMP": iceberg.TimestampType(),
    "VARCHAR": iceberg.StringType(),
}

_REFUSED: Mapping[str, str] = {
    "time with time zone": "Iceberg's time has no zone; cast it to TIME or VARCHAR",
    "union": "Iceberg has no unions; select one of its members, or cast it to VARCHAR",
    "variant": "cast it to JSON or VARCHAR",
    "geometry": "cast it to BLOB (ST_AsWKB) or VARCHAR (ST_AsText)",
}


@dataclass(frozen=True, slots=True)
class StoredType:
    """How values of one DuckDB type are stored.

    Attributes:
        duckdb: DuckDB's name of the type, as in `CAST(x AS ...)`.
        stored: DuckDB's name of the type that is written; the same as `duckdb` where Iceberg has
            the type.
        iceberg: The type in Iceberg. Nested fields are numbered from the field ids that were
            given; see `assign_fresh_schema_ids`.
    """

    duckdb: str
    stored: str
    iceberg: iceberg.IcebergType

    @property
    def is_same(self) -> bool:
        """Whether values are stored as they are."""
        return self.duckdb == self.stored

    @property
    def is_lossy(self) -> bool:
        """Whether some values do not fit what is stored, so that each has to be looked at."""
        return not self.is_same and any(name in self.duckdb for name in _LOSSY)


def stored_type(column: str, duckdb_type: DuckDBPyType) -> StoredType:
    """Say how a column is stored.

    Args:
        column: Name of the column, for the message.
        duckdb_type: Its type, as DuckDB describes a query.

    Raises:
        UnsupportedTypeError: if its values cannot be stored exactly.
    """
    return _Mapper(column).stored(duckdb_type)


def parse_types(columns: Mapping[str, str]) -> dict[str, StoredType]:
    """Say how columns are stored, from DuckDB's names of their types.

    Raises:
        UnsupportedTypeError: if values of one cannot be stored exactly.
        IcebergError: if DuckDB does not know a type, or two columns have the same name.
    """
    from duckdb import Error
    from duckdb.sqltypes import DuckDBPyType

    found: dict[str, StoredType] = {}
    for name, text in columns.items():
        if name.lower() in {known.lower() for known in found}:
            raise IcebergError(f"two columns are named {name}", "give one of them another name")
        try:
            found[name] = stored_type(name, DuckDBPyType(text))
        except Error as problem:
            raise IcebergError(
                f"column {name} has the type {text}, which DuckDB does not know",
                "write a type such as BIGINT, VARCHAR or DECIMAL(10, 2)",
            ) from problem
    return found


def to_stored(column: str, stored: StoredType) -> str:
    """SQL of what is written for a column; it fails where a value cannot be stored exactly."""
    return _stored(identifier(column), column, stored)


def to_stored_as(column: str, given: StoredType, wanted: StoredType) -> str:
    """SQL of what is written for a column that a table has with another type.

    It fails, with the name of the column, where a value does not fit.
    """
    name = identifier(column)
    if given.duckdb == wanted.duckdb or (wanted.is_same and given.stored == wanted.stored):
        return to_stored(column, given)
    if _is_nested(given.iceberg) or _is_nested(wanted.iceberg):
        cast = f"CAST({name} AS {wanted.duckdb})"  # TRY_CAST would make nulls of the parts
    else:
        problem = literal(f"column {column} holds a value that is no {wanted.duckdb}")
        failure = f"CASE WHEN {name} IS NOT NULL THEN error({problem}) END"
        cast = f"COALESCE(TRY_CAST({name} AS {wanted.duckdb}), {failure})"
    return _stored(cast, column, wanted)


def _stored(value: str, column: str, stored: StoredType) -> str:
    if stored.is_same:
        return value
    if not stored.is_lossy:
        return f"CAST({value} AS {stored.stored})"
    problem = literal(
        f"column {column} holds a value that does not fit {stored.stored}, "
        f"as which an Iceberg table stores {stored.duckdb}: {_help(stored)}"
    )
    cast = f"TRY_CAST({value} AS {stored.stored})"
    if stored.duckdb in {"HUGEINT", "UHUGEINT"}:
        return f"COALESCE({cast}, CASE WHEN {value} IS NOT NULL THEN error({problem}) END)"
    same = f"{value} IS NOT DISTINCT FROM TRY_CAST({cast} AS {stored.duckdb})"
    return f"CASE WHEN {same} THEN {cast} ELSE error({problem}) END"


def _help(stored: StoredType) -> str:
    if "HUGEINT" in stored.duckdb:
        return "numbers of more than 38 digits have to be cast to DOUBLE or VARCHAR"
    if "INTERVAL" in stored.duckdb:
        return "an interval of more than 2562047787 hours has to be written in days or months"
    return "round it with date_trunc('microseconds', ...), or cast it to TIMESTAMP"


def _is_nested(field_type: iceberg.IcebergType) -> bool:
    return not isinstance(field_type, iceberg.PrimitiveType)


def to_duckdb(column: str, duckdb_type: str | None) -> str:
    """SQL that reads a column back as the type it was written with."""
    name = identifier(column)
    if duckdb_type is None:
        return name
    return f"CAST({name} AS {duckdb_type}) AS {name}"


def schema_fields(columns: Mapping[str, StoredType]) -> list[iceberg.NestedField]:
    """The fields of a new schema; all are optional, and their ids are preliminary."""
    return [
        iceberg.NestedField(field_id=number, name=name, field_type=stored.iceberg, required=False)
        for number, (name, stored) in enumerate(columns.items(), start=1)
    ]


def field_ids(fields: Iterable[iceberg.NestedField]) -> str:
    """The option FIELD_IDS of DuckDB's COPY, so that Parquet carries the ids of the schema."""
    return "{" + ", ".join(f"{identifier(f.name)}: {_field_id(f)}" for f in fields) + "}"


def _field_id(field: iceberg.NestedField) -> str:
    nested = _nested_ids(field.field_type)
    if not nested:
        return str(field.field_id)
    return "{" + ", ".join([f"__duckdb_field_id: {field.field_id}", *nested]) + "}"


def _nested_ids(field_type: iceberg.IcebergType) -> list[str]:
    """The ids within a nested type, under the names that DuckDB gives its parts."""
    return [f"{identifier(name)}: {_field_id(field)}" for name, field in nested_fields(field_type)]


def nested_fields(
    field_type: iceberg.IcebergType,
) -> Sequence[tuple[str, iceberg.NestedField]]:
    """The fields of a nested type, under the names that DuckDB's Parquet gives them."""
    match field_type:
        case iceberg.StructType():
            return [(field.name, field) for field in field_type.fields]
        case iceberg.ListType():
            return [("element", field_type.element_field)]
        case iceberg.MapType():
            return [("key", field_type.key_field), ("value", field_type.value_field)]
        case _:
            return []


def duckdb_name(field_type: iceberg.IcebergType) -> str:
    """DuckDB's name of an Iceberg type, as DuckDB reads it."""
    match field_type:
        case iceberg.DecimalType():
            return f"DECIMAL({field_type.precision},{field_type.scale})"
        case iceberg.FixedType():
            return "BLOB"
        case iceberg.StructType():
            members = (
                f"{identifier(f.name)} {duckdb_name(f.field_type)}" for f in field_type.fields
            )
            return f"STRUCT({', '.join(members)})"
        case iceberg.ListType():
            return f"{duckdb_name(field_type.element_type)}[]"
        case iceberg.MapType():
            key, value = duckdb_name(field_type.key_type), duckdb_name(field_type.value_type)
            return f"MAP({key}, {value})"
        case _:
            return _NAMES[type(field_type)]


_NAMES: Mapping[type[iceberg.IcebergType], str] = {
    iceberg.BooleanType: "BOOLEAN",
    iceberg.IntegerType: "INTEGER",
    iceberg.LongType: "BIGINT",
    iceberg.FloatType: "FLOAT",
    iceberg.DoubleType: "DOUBLE",
    iceberg.StringType: "VARCHAR",
    iceberg.BinaryType: "BLOB",
    iceberg.DateType: "DATE",
    iceberg.TimeType: "TIME",
    iceberg.TimestampType: "TIMESTAMP",
    iceberg.TimestamptzType: "TIMESTAMP WITH TIME ZONE",
    iceberg.TimestampNanoType: "TIMESTAMP_NS",
    iceberg.TimestamptzNanoType: "TIMESTAMP WITH TIME ZONE",
    iceberg.UUIDType: "UUID",
    iceberg.UnknownType: "INTEGER",
}


class _Mapper:
    """Maps the types of one column; numbers nested fields from a range that nobody else uses."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._ids = count(1_000_000)

    def stored(self, duckdb_type: DuckDBPyType) -> StoredType:
        kind, name = str(duckdb_type.id), str(duckdb_type)
        if kind in {"list", "array"}:
            return self._list(duckdb_type, name)
        if kind == "struct":
            return self._struct(duckdb_type, name)
        if kind == "map":
            return self._map(duckdb_type, name)
        if kind == "decimal":
            sizes = _parts(duckdb_type)
            return StoredType(name, name, iceberg.DecimalType(sizes["precision"], sizes["scale"]))
        if name == "JSON":
            return StoredType(name, "VARCHAR", iceberg.StringType())
        if kind in _SAME:
            return StoredType(name, name, _SAME[kind])
        if kind in _STORED_AS:
            return StoredType(name, _STORED_AS[kind], _ICEBERG[_STORED_AS[kind]])
        raise self._refuse(name, _REFUSED.get(kind, "cast it to VARCHAR"))

    def _refuse(self, name: str, help: str) -> UnsupportedTypeError:
        return UnsupportedTypeError(self._column, name, help)

    def _list(self, duckdb_type: DuckDBPyType, name: str) -> StoredType:
        element = self.stored(_parts(duckdb_type)["child"])
        return StoredType(
            name,
            f"{element.stored}[]",
            iceberg.ListType(next(self._ids), element.iceberg, element_required=False),
        )

    def _struct(self, duckdb_type: DuckDBPyType, name: str) -> StoredType:
        members = [(member, self.stored(kind)) for member, kind in _parts(duckdb_type).items()]
        fields = [
            iceberg.NestedField(next(self._ids), member, stored.iceberg, required=False)
            for member, stored in members
        ]
        sql = ", ".join(f"{identifier(member)} {stored.stored}" for member, stored in members)
        is_same = all(stored.is_same for _, stored in members)
        return StoredType(name, name if is_same else f"STRUCT({sql})", iceberg.StructType(*fields))

    def _map(self, duckdb_type: DuckDBPyType, name: str) -> StoredType:
        parts = _parts(duckdb_type)
        key = self.stored(parts["key"])
        value = self.stored(parts["value"])
        kind = iceberg.MapType(
            next(self._ids), key.iceberg, next(self._ids), value.iceberg, value_required=False
        )
        is_same = key.is_same and value.is_same
        return StoredType(name, name if is_same else f"MAP({key.stored}, {value.stored})", kind)


def _parts(duckdb_type: DuckDBPyType) -> dict[str, Any]:
    """What a nested or sized type is made of, by the names that DuckDB gives it."""
    return dict(duckdb_type.children)
