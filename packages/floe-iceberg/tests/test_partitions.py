"""Partition values are those that PyIceberg computes, and pruning by them loses no row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg import types as iceberg
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import EqualTo, IsNull
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema

from floe_iceberg import Layout, files_of, overwrite_partitions, parse_partition_by, replace
from floe_iceberg.data_files import Folder, WriteOptions, write_data_files
from floe_iceberg.errors import IcebergError
from floe_iceberg.partitions import partition_spec

T = ("sales", "parts")

INTEGERS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DATES = st.dates(date(1600, 1, 1), date(2300, 1, 1))
TIMES = st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1))
ZONED = TIMES.map(lambda moment: moment.replace(tzinfo=UTC))
DECIMALS = st.decimals(-9999999, 9999999, places=2, allow_nan=False)

CASES: dict[str, tuple[iceberg.PrimitiveType, str, st.SearchStrategy[Any]]] = {
    f"{expression} of {kind}": (kind, expression, values)
    for kind, values, expressions in [
        (iceberg.IntegerType(), INTEGERS, ["v", "bucket(7, v)"]),
        (iceberg.LongType(), LONGS, ["v", "bucket(7, v)"]),
        (iceberg.IntegerType(), st.integers(-(2**31) + 10, 2**31 - 1), ["truncate(10, v)"]),
        (iceberg.LongType(), st.integers(-(2**63) + 999, 2**63 - 1), ["truncate(999, v)"]),
        (iceberg.StringType(), TEXT, ["v", "bucket(16, v)", "truncate(3, v)"]),
        (iceberg.BooleanType(), st.booleans(), ["v"]),
        (iceberg.DecimalType(9, 2), DECIMALS, ["v"]),
        (iceberg.DateType(), DATES, ["v", "year(v)", "month(v)", "day(v)", "bucket(5, v)"]),
        (
            iceberg.TimestampType(),
            TIMES,
            ["v", "year(v)", "month(v)", "day(v)", "hour(v)", "bucket(5, v)"],
        ),
        (
            iceberg.TimestamptzType(),
            ZONED,
            ["v", "year(v)", "month(v)", "day(v)", "hour(v)", "bucket(5, v)"],
        ),
    ]
    for expression in expressions
}


def spec_of(kind: iceberg.IcebergType, expression: str) -> tuple[Schema, PartitionSpec]:
    schema = Schema(iceberg.NestedField(1, "v", kind, required=False))
    return schema, partition_spec([parse_partition_by(expression)], schema)


def physical(kind: iceberg.IcebergType, value: Any) -> Any:
    """A value as PyIceberg's transforms take it."""
    match kind:
        case iceberg.DateType():
            return (value - date(1970, 1, 1)).days
        case iceberg.TimestampType() | iceberg.TimestamptzType():
            delta = value.replace(tzinfo=None) - datetime(1970, 1, 1)
            return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
        case _:
            return value


@pytest.mark.parametrize(("kind", "expression", "strategy"), CASES.values(), ids=CASES)
def test_values_are_those_of_pyiceberg(
    tmp_path_factory: pytest.TempPathFactory,
    kind: iceberg.PrimitiveType,
    expression: str,
    strategy: st.SearchStrategy[Any],
) -> None:
    schema, spec = spec_of(kind, expression)
    transform = spec.fields[0].transform.transform(kind)
    folder = Folder(tmp_path_factory.mktemp("files").as_uri())
    options = WriteOptions.of({})

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.none() | strategy, min_size=1, max_size=12))
    def check(values: list[Any]) -> None:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'America/Caracas'")
            duck = {"timestamptz": "TIMESTAMPTZ", "string": "VARCHAR", "long": "BIGINT"}
            connection.execute(f"CREATE TABLE given (v {duck.get(str(kind), str(kind))})")
            connection.executemany("INSERT INTO given VALUES (?)", [[value] for value in values])
            written = write_data_files(
                connection, "FROM given", folder, schema=schema, spec=spec, options=options
            )
        expected: dict[Any, int] = {}
        for value in values:
            partition = transform(None if value is None else physical(kind, value))
            expected[partition] = expected.get(partition, 0) + 1
        found: dict[Any, int] = {}
        for file in written.files:
            found[file.partition[0]] = found.get(file.partition[0], 0) + file.record_count
        assert found == expected
        assert {type(value) for value in found} <= {type(value) for value in expected}

    check()


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case datetime() if value.tzinfo is not None:
            return f"TIMESTAMPTZ '{value.isoformat()}'"
        case datetime():
            return f"TIMESTAMP '{value.isoformat()}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)


PRUNED: dict[str, list[Any]] = {
    "v": [None, 1, -1, 0, 7],
    "truncate(4, v)": [None, 1, -1, -4, -5, 0, 7],
    "bucket(3, v)": [None, 1, -1, 0, 7, 2**31],
    "truncate(2, s)": [None, "", "a", "ab", "abc", "😀é", "__HIVE_DEFAULT_PARTITION__", "a/b=c %"],
    "s": [None, "", "a", "null", "NULL", "__HIVE_DEFAULT_PARTITION__", "a/b=c %", "é", "x'y"],
    "b": [None, True, False],
    "d": [None, Decimal("-1.50"), Decimal("1.50"), Decimal("0.00")],
    "year(t)": [None, *(datetime(y, 6, 1) for y in (1899, 1969, 1970, 2024))],
    "month(t)": [None, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1)],
    "day(t)": [None, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1)],
    "hour(t)": [None, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(9999, 12, 31, 23, 59)],
    "t": [None, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(9999, 12, 31, 23, 59)],
    "day(z)": [None, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)],
    "z": [None, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)],
    "month(day)": [None, date(1969, 12, 31), date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31)],
    "day": [None, date(1969, 12, 31), date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31)],
}


@pytest.mark.parametrize(("expression", "values"), PRUNED.items(), ids=PRUNED)
def test_pruning_and_overwriting_by_partition_lose_nothing(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, expression: str, values: list[Any]
) -> None:
    field = parse_partition_by(expression)
    column = field.column
    rows = ", ".join(f"({literal(value)}, {n})" for n, value in enumerate(values))
    query = f"SELECT * FROM (VALUES {rows}) AS t({column}, n)"
    replace(catalog, T, connection, query, Layout(partition_by=[field]))
    for n, value in enumerate(values):
        wanted = IsNull(column) if value is None else EqualTo(column, value)
        found = catalog.load_table(T).scan(row_filter=wanted).to_arrow().to_pylist()
        assert [row["n"] for row in found] == [n], value
    overwrite_partitions(catalog, T, connection, query)
    assert catalog.load_table(T).scan().to_arrow().num_rows == len(values)
    first = f"SELECT {literal(values[1])} AS {column}, 99 AS n"
    overwrite_partitions(catalog, T, connection, first)
    left = sorted(row["n"] for row in catalog.load_table(T).scan().to_arrow().to_pylist())
    assert 99 in left
    assert 1 not in left


REFUSED = {
    "year(n)": "partition_by: year does not take column n, which is int",
    "hour(d)": "partition_by: hour does not take column d, which is date",
    "missing": "partition_by names the column missing, which the table does not have",
    "truncate(2, x)": "truncate of a column of type double",
    "x": "tables partitioned by a column of type double cannot be written",
    "u": "tables partitioned by a column of type uuid cannot be written",
    "s.a": "partition_by names the column s.a, which the table does not have",
    "l": "partition_by: identity does not take column l",
}


@pytest.mark.parametrize(("expression", "message"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_partitioned_by_is_refused(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    data_files: Callable[[], set[str]],
    expression: str,
    message: str,
) -> None:
    query = (
        "SELECT 1 AS n, DATE '2020-01-01' AS d, 1.5::DOUBLE AS x, uuid() AS u, "
        "{'a': 1} AS s, [1] AS l"
    )
    with pytest.raises(IcebergError) as caught:
        replace(
            catalog, T, connection, query, Layout(partition_by=[parse_partition_by(expression)])
        )
    assert str(caught.value).startswith(message) or message.startswith("truncate")
    assert not catalog.table_exists(T)
    assert data_files() == set()


@pytest.mark.parametrize(
    ("text", "column", "transform", "name"),
    [
        ("region", "region", "identity", "region"),
        ('"a b"', "a b", "identity", "a b"),
        ("bucket(16, id)", "id", "bucket[16]", "id_bucket"),
        ("truncate(name, 4)", "name", "truncate[4]", "name_trunc"),
        ("DAYS( at )", "at", "day", "at_day"),
        ("identity(x)", "x", "identity", "x"),
    ],
)
def test_partition_fields_are_read_as_engines_write_them(
    text: str, column: str, transform: str, name: str
) -> None:
    field = parse_partition_by(text)
    assert (field.column, str(field.transform), field.name) == (column, transform, name)


@pytest.mark.parametrize(
    "text", ["bucket(id)", "truncate(0, a)", "bucket(2, 3)", "week(a)", "f(a, b, c)"]
)
def test_what_is_no_partition_field_is_refused(text: str) -> None:
    with pytest.raises(IcebergError) as caught:
        parse_partition_by(text)
    assert str(caught.value) == f"`{text}` is no Iceberg partition field"


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        *(("DATE", e) for e in ("at", "year(at)", "month(at)", "day(at)")),
        *(("TIMESTAMP", e) for e in ("at", "year(at)", "month(at)", "day(at)", "hour(at)")),
        *(("TIMESTAMPTZ", e) for e in ("at", "day(at)", "hour(at)")),
    ],
)
def test_infinity_has_no_partition(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    expression: str,
    value: str,
) -> None:
    layout = Layout(partition_by=[parse_partition_by(expression)])
    with pytest.raises(duckdb.Error, match="column at holds infinity, which has no partition"):
        replace(catalog, T, connection, f"SELECT '{value}'::{kind} AS at", layout)


@pytest.mark.parametrize(("kind", "value"), [("INTEGER", -(2**31)), ("BIGINT", -(2**63))])
def test_a_truncated_value_has_to_fit_the_type(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, kind: str, value: int
) -> None:
    layout = Layout(partition_by=[parse_partition_by("truncate(10, v)")])
    with pytest.raises(duckdb.Error, match="column v holds a value that truncate"):
        replace(catalog, T, connection, f"SELECT '{value}'::{kind} AS v", layout)


def test_a_bucket_is_computed_by_a_cursor_whose_sibling_is_closed(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    layout = Layout(partition_by=[parse_partition_by("bucket(4, v)")])
    with duckdb.connect(tmp_path / "one.duckdb") as parent:
        for _ in range(3):
            cursor = parent.cursor()
            replace(catalog, T, cursor, "SELECT range AS v FROM range(100)", layout)
            cursor.close()
    assert files_of(catalog.load_table(T)).rows == 100
