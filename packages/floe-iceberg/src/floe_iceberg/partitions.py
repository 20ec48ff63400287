"""Iceberg's partition transforms, computed by DuckDB.

A transform turns a column into the value that a file's rows share
(https://iceberg.apache.org/spec/#partition-transforms). DuckDB computes it in the query that is
written and groups the rows by it; what it reports for a file becomes the file's partition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from pyiceberg import transforms
from pyiceberg import types as iceberg
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from floe_iceberg.errors import IcebergError
from floe_iceberg.sql import identifier, literal
from floe_iceberg.types import duckdb_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_EXPRESSION = re.compile(r"^\s*(\w+)\s*\((.*)\)\s*$", re.DOTALL)
_NUMBERED: dict[str, Callable[[int], transforms.Transform[Any, Any]]] = {
    "bucket": transforms.BucketTransform,
    "truncate": transforms.TruncateTransform,
}
_PLAIN: dict[str, type[transforms.Transform[Any, Any]]] = {
    "identity": transforms.IdentityTransform,
    "year": transforms.YearTransform,
    "years": transforms.YearTransform,
    "month": transforms.MonthTransform,
    "months": transforms.MonthTransform,
    "day": transforms.DayTransform,
    "days": transforms.DayTransform,
    "date": transforms.DayTransform,
    "hour": transforms.HourTransform,
    "hours": transforms.HourTransform,
    "date_hour": transforms.HourTransform,
}


@dataclass(frozen=True, slots=True)
class PartitionBy:
    """One field of a partition spec that is wanted.

    Attributes:
        column: Name of the source column.
        transform: The transform.
        name: Name of the partition field.
    """

    column: str
    transform: transforms.Transform[Any, Any]
    name: str


def parse_partition_by(text: str) -> PartitionBy:
    """Read one field of a partition spec as engines write it.

    `region`, `day(ordered_at)`, `bucket(16, customer_id)`, `truncate(name, 4)`.

    Raises:
        IcebergError: if it is none of these.
    """
    call = _EXPRESSION.match(text)
    if call is None:
        column = _unquoted(text)
        return PartitionBy(column, transforms.IdentityTransform(), column)
    function, arguments = call[1].lower(), [_unquoted(part) for part in call[2].split(",")]
    if function in _PLAIN and len(arguments) == 1:
        transform = _PLAIN[function]()
        column = arguments[0]
        suffix = "" if function == "identity" else f"_{transform}"
        return PartitionBy(column, transform, column + suffix)
    if function in _NUMBERED and len(arguments) == 2:
        numbers = [part for part in arguments if part.isdigit()]
        columns = [part for part in arguments if not part.isdigit()]
        if len(numbers) == 1 and len(columns) == 1 and int(numbers[0]) > 0:
            name = f"{columns[0]}_{'trunc' if function == 'truncate' else 'bucket'}"
            return PartitionBy(columns[0], _NUMBERED[function](int(numbers[0])), name)
    raise IcebergError(
        f"`{text}` is no Iceberg partition field",
        "write a column, or year, month, day or hour of one, bucket(N, column) or "
        "truncate(N, column)",
    )


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        return text[1:-1].replace(text[0] * 2, text[0])
    return text


def partition_spec(fields: Sequence[PartitionBy], schema: Schema) -> PartitionSpec:
    """Make a spec for a schema.

    Raises:
        IcebergError: if a column is missing, or a transform does not take its type.
    """
    made = []
    for number, field in enumerate(fields):
        source = next((f for f in schema.fields if f.name.lower() == field.column.lower()), None)
        if source is None:
            raise IcebergError(
                f"partition_by names the column {field.column}, which the table does not have",
                f"it has {', '.join(f.name for f in schema.fields)}",
            )
        if not field.transform.can_transform(source.field_type):
            raise IcebergError(
                f"partition_by: {field.transform} does not take column {field.column}, "
                f"which is {source.field_type}"
            )
        name = free_name(field, schema)
        made.append(PartitionField(source.field_id, 1000 + number, field.transform, name))
    return PartitionSpec(*made)


def free_name(field: PartitionBy, schema: Schema) -> str:
    """The name of a partition field, which may be that of a column only if it is the column."""
    name = field.name
    if not isinstance(field.transform, transforms.IdentityTransform):
        while any(column.name == name for column in schema.fields):
            name += "_"
    return name


@dataclass(frozen=True, slots=True)
class PartitionColumn:
    """One partition field as a column of the query that is written.

    Attributes:
        name: Name of the column, which no column of the table has.
        sql: Expression over the stored columns.
        value: Turns what DuckDB reports into the value that a manifest holds.
    """

    name: str
    sql: str
    value: Callable[[str], Any]


def partition_columns(
    connection: DuckDBPyConnection, spec: PartitionSpec, schema: Schema
) -> list[PartitionColumn]:
    """The columns to add to a query, in the order of the spec.

    Raises:
        IcebergError: if DuckDB cannot compute a transform.
    """
    return list(_columns(connection, spec, schema))


def _columns(
    connection: DuckDBPyConnection, spec: PartitionSpec, schema: Schema
) -> Iterator[PartitionColumn]:
    prefix = "__partition"
    while any(field.name.lower().startswith(prefix) for field in schema.fields):
        prefix = f"_{prefix}"
    for number, field in enumerate(spec.fields):
        source = schema.find_field(field.source_id)
        sql, value = _sql(connection, field.transform, source.field_type, source.name)
        yield PartitionColumn(f"{prefix}_{number}", sql, value)


def record(columns: Sequence[PartitionColumn], keys: dict[str, str | None] | None) -> Record:
    """The partition of a file, from what DuckDB reports as its keys."""
    values = keys or {}
    return Record(*(None if (v := values.get(c.name)) is None else c.value(v) for c in columns))


def _sql(
    connection: DuckDBPyConnection,
    transform: transforms.Transform[Any, Any],
    source: iceberg.IcebergType,
    name: str,
) -> tuple[str, Callable[[str], Any]]:
    column = identifier(name)
    match transform:
        case transforms.VoidTransform():
            return "NULL::INTEGER", int
        case transforms.IdentityTransform():
            return _identity(source, name)
        case transforms.YearTransform():
            return f"year({_finite(source, name)}) - 1970", int
        case transforms.MonthTransform():
            moment = _finite(source, name)
            return f"(year({moment}) - 1970) * 12 + month({moment}) - 1", int
        case transforms.DayTransform():
            return f"CAST({_finite(source, name)} AS DATE) - DATE '1970-01-01'", int
        case transforms.HourTransform():
            # in integers: a double does not hold the microseconds of far years
            hours = _floor(f"epoch_us({_finite(source, name)})", _HOUR)
            return f"{hours} // {_HOUR}", int
        case transforms.TruncateTransform():
            return _truncate(source, name, transform.width)
        case transforms.BucketTransform():
            return _bucket(connection, source, column, transform), int
        case _:
            raise IcebergError(f"tables partitioned by {transform} cannot be written")


_HOUR = 3_600_000_000


def _floor(value: str, width: int, kind: str = "BIGINT") -> str:
    """The largest multiple of a width that is not above a value, in a type that has room."""
    wide = f"CAST({value} AS {kind})"
    return f"({wide} - ((({wide} % {width}) + {width}) % {width}))"


def _finite(source: iceberg.IcebergType, name: str) -> str:
    """A date or time without zone; it fails for infinity, for which DuckDB's parts are null."""
    column = identifier(name)
    problem = literal(f"column {name} holds infinity, which has no partition")
    value = f"timezone('UTC', {column})" if isinstance(source, iceberg.TimestamptzType) else column
    return f"(CASE WHEN isinf({column}) THEN error({problem}) ELSE {value} END)"


def _identity(source: iceberg.IcebergType, name: str) -> tuple[str, Callable[[str], Any]]:
    column = identifier(name)
    match source:
        case iceberg.DateType():
            return f"{_finite(source, name)} - DATE '1970-01-01'", int
        case iceberg.TimestampType() | iceberg.TimestamptzType():
            return f"epoch_us({_finite(source, name)})", int
        case iceberg.IntegerType() | iceberg.LongType():
            return column, int
        case iceberg.StringType():
            return column, str
        case iceberg.BooleanType():
            return column, lambda text: text in {"true", "1"}
        case iceberg.DecimalType():
            return column, Decimal
        case _:
            raise IcebergError(
                f"tables partitioned by a column of type {source} cannot be written",
                f"partition by a bucket or another column than {name}",
            )


def _truncate(
    source: iceberg.IcebergType, name: str, width: int
) -> tuple[str, Callable[[str], Any]]:
    column = identifier(name)
    match source:
        case iceberg.StringType():
            return f"left({column}, {width})", str
        case iceberg.IntegerType() | iceberg.LongType():
            kind = duckdb_name(source)
            value = _floor(column, width, "HUGEINT" if kind == "BIGINT" else "BIGINT")
            problem = literal(f"column {name} holds a value that truncate({width}) takes below")
            fits = f"{value} >= {source.min}"
            return (
                f"CASE WHEN {column} IS NULL OR {fits} THEN CAST({value} AS {kind}) "
                f"ELSE error({problem} || ' what {kind} holds') END",
                int,
            )
        case _:
            raise IcebergError(
                f"tables partitioned by truncate of a column of type {source} cannot be written",
                f"partition by another column than {name}",
            )


@cache
def _bucket_function(buckets: int) -> Callable[[Any], Any]:
    """The hash as a function of Arrow arrays.

    It is never freed: DuckDB's catalog, which all cursors share, keeps the function when the
    cursor is closed that made it, and then points to what was there.
    """

    def bucket(values: Any) -> Any:
        import pyarrow  # type: ignore[import-untyped]
        from pyiceberg_core import transform  # type: ignore[import-untyped]

        chunks = values.chunks if isinstance(values, pyarrow.ChunkedArray) else [values]
        return pyarrow.chunked_array(
            [transform.bucket(chunk, buckets) for chunk in chunks], pyarrow.int32()
        )

    return bucket


def _bucket(
    connection: DuckDBPyConnection,
    source: iceberg.IcebergType,
    column: str,
    transform: transforms.BucketTransform[Any],
) -> str:
    """A call of Iceberg's own hash, over Arrow batches: DuckDB does not have that hash."""
    from duckdb import CatalogException, NotImplementedException
    from duckdb.func import PythonUDFType

    kinds: dict[type[iceberg.IcebergType], str] = {
        iceberg.IntegerType: "BIGINT",
        iceberg.LongType: "BIGINT",
        iceberg.StringType: "VARCHAR",
        iceberg.DateType: "DATE",
        iceberg.TimestampType: "TIMESTAMP",
        iceberg.TimestamptzType: "TIMESTAMP",
    }
    kind = kinds.get(type(source))
    if kind is None:
        raise IcebergError(
            f"tables partitioned by bucket of a column of type {source} cannot be written",
            f"partition by another column than {column}",
        )
    name = f"__iceberg_bucket_{transform.num_buckets}_{kind.lower()}"

    with suppress(CatalogException, NotImplementedException):  # it is there already
        function = _bucket_function(transform.num_buckets)
        connection.create_function(name, function, [kind], "INTEGER", type=PythonUDFType.ARROW)
    if isinstance(source, iceberg.TimestamptzType):
        column = f"timezone('UTC', {column})"
    return f"{name}(CAST({column} AS {kind}))"
