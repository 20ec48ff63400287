"""Every type of DuckDB comes back as it was written, or is refused by the column's name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import append, replace, scan_sql
from floe_iceberg.errors import FloeError, IcebergError, UnsupportedTypeError
from floe_iceberg.types import stored_type

T = ("sales", "values")

ROUND_TRIPS = {
    "boolean": ["true", "false"],
    "tinyint": ["'-128'::TINYINT", "127::TINYINT"],
    "smallint": ["'-32768'::SMALLINT", "32767::SMALLINT"],
    "integer": ["'-2147483648'::INTEGER", "2147483647"],
    "bigint": ["'-9223372036854775808'::BIGINT", "9223372036854775807"],
    "hugeint": [f"{'9' * 38}::HUGEINT", f"-{'9' * 38}::HUGEINT", "0::HUGEINT"],
    "sum of integers": ["(SELECT sum(range) FROM range(10))"],
    "utinyint": ["0::UTINYINT", "255::UTINYINT"],
    "usmallint": ["0::USMALLINT", "65535::USMALLINT"],
    "uinteger": ["0::UINTEGER", "4294967295::UINTEGER"],
    "ubigint": ["0::UBIGINT", "18446744073709551615::UBIGINT"],
    "uhugeint": ["0::UHUGEINT", f"{'9' * 38}::UHUGEINT"],
    "bignum": ["'-1267650600228229401496703205376'::BIGNUM", f"'{'7' * 200}'::BIGNUM"],
    "float": ["'nan'::FLOAT", "'-inf'::FLOAT", "-0.0::FLOAT", "0.1::FLOAT", "3.4e38::FLOAT"],
    "double": ["'nan'::DOUBLE", "'inf'::DOUBLE", "'-0.0'::DOUBLE", "5e-324::DOUBLE", "0.1::DOUBLE"],
    "decimal(1,1)": ["-0.9::DECIMAL(1,1)", "0.9::DECIMAL(1,1)"],
    "decimal(9,4)": ["-99999.9999::DECIMAL(9,4)", "0.0001::DECIMAL(9,4)"],
    "decimal(18,0)": [f"-{'9' * 18}::DECIMAL(18,0)"],
    "decimal(38,0)": [f"{'9' * 38}::DECIMAL(38,0)", f"-{'9' * 38}::DECIMAL(38,0)"],
    "decimal(38,38)": [f"'0.{'9' * 38}'::DECIMAL(38,38)", f"'-0.{'9' * 38}'::DECIMAL(38,38)"],
    "varchar": ["''", "'x'", "repeat('😀é', 150)", "chr(65535) || chr(1114111)", "chr(1)"],
    "json": ['\'{"a": [1, null, "é"]}\'::JSON', "'null'::JSON", "'\"\"'::JSON"],
    "enum": ["'it''s'::ENUM('a', 'it''s', 'ü,\"x')", "'ü,\"x'::ENUM('a', 'it''s', 'ü,\"x')"],
    "blob": ["''::BLOB", "'\\x00\\xFF'::BLOB", "repeat('\\xAB', 300)::BLOB"],
    "bit": ["'0'::BIT", "'0000101010111'::BIT", "repeat('10', 100)::BIT"],
    "uuid": [
        "'00000000-0000-0000-0000-000000000000'::UUID",
        "'ffffffff-ffff-ffff-8fff-000000000001'::UUID",
    ],
    "date": [
        "'1582-10-15'::DATE",
        "'1969-12-31'::DATE",
        "'9999-12-31'::DATE",
        "'0001-01-01'::DATE",
    ],
    "time": ["'00:00:00'::TIME", "'23:59:59.999999'::TIME"],
    "time_ns": ["'23:59:59.999999999'::TIME_NS", "'00:00:00.000000001'::TIME_NS"],
    "timestamp": [
        "'1969-12-31 23:59:59.999999'::TIMESTAMP",
        "'0001-01-01'::TIMESTAMP",
        "'9999-12-31 23:59:59.999999'::TIMESTAMP",
    ],
    "timestamp_s": ["'1969-12-31 23:59:59'::TIMESTAMP_S", "'9999-12-31 23:59:59'::TIMESTAMP_S"],
    "timestamp_ms": ["'1969-12-31 23:59:59.999'::TIMESTAMP_MS", "'2500-01-01'::TIMESTAMP_MS"],
    "timestamp_ns": [
        "'1969-12-31 23:59:59.999999'::TIMESTAMP_NS",
        "'2262-04-11 23:47:16.854775'::TIMESTAMP_NS",
    ],
    "timestamptz": [
        "'1969-12-31 23:59:59.999999+05:30'::TIMESTAMPTZ",
        "'2024-07-01 00:00:00-03'::TIMESTAMPTZ",
    ],
    "interval": [
        "INTERVAL '14 months -3 days 04:05:06.123456'",
        "INTERVAL '0 days'",
        "INTERVAL '-1 day'",
        "INTERVAL '-00:00:01.5'",
    ],
    "list": ["[1, NULL, 3]", "[]::INTEGER[]"],
    "list of lists": ["[[1], NULL, []]::INTEGER[][]"],
    "list of hugeint": [f"[{'9' * 38}::HUGEINT, NULL, -1]"],
    "list of enum": ["['b', NULL]::ENUM('a', 'b')[]"],
    "list of timestamp_ns": ["['2020-01-01 00:00:00.000001'::TIMESTAMP_NS, NULL]"],
    "array": ["[1, NULL, 3]::INTEGER[3]"],
    "array of arrays": ["[['a', 'b'], ['c', NULL]]::VARCHAR[2][2]"],
    "struct": ["{'a': 1, 'b': NULL::VARCHAR}", "{'a': NULL::INTEGER, 'b': 'x'}"],
    "struct of odd names": [
        "{'a b': 1::HUGEINT, 'q\"x': {'ü.ö': '{}'::JSON}, 'select': [1::UTINYINT]}"
    ],
    "map": ["MAP {'a': 1, 'b': NULL}", "MAP {}::MAP(VARCHAR, INTEGER)"],
    "map of hugeint": [f"MAP {{{'9' * 38}::HUGEINT: 'b'::ENUM('a', 'b')}}"],
    "deep": ["{'l': [MAP {'k': {'u': 1::UBIGINT, 'd': '2020-01-01'::DATE}}]}"],
}

ONLY_DUCKDB = {
    "date": [
        "'infinity'::DATE",
        "'-infinity'::DATE",
        "'0044-03-15 (BC)'::DATE",
        "'12345-01-01'::DATE",
    ],
    "timestamp": [
        "'infinity'::TIMESTAMP",
        "'-infinity'::TIMESTAMP",
        "'0044-03-15 (BC) 10:00:00'::TIMESTAMP",
        "'12345-01-01'::TIMESTAMP",
    ],
    "timestamptz": ["'infinity'::TIMESTAMPTZ", "'-infinity'::TIMESTAMPTZ"],
    "timestamp_s": ["'infinity'::TIMESTAMP_S", "'12345-01-01'::TIMESTAMP_S"],
    "timestamp_ms": ["'infinity'::TIMESTAMP_MS"],
    "timestamp_ns": ["'infinity'::TIMESTAMP_NS", "'-infinity'::TIMESTAMP_NS"],
    "time": ["'24:00:00'::TIME"],
}
"""Values that PyIceberg's Arrow cannot turn into Python."""


def query_of(values: list[str]) -> str:
    kind = values[0]
    rows = [f"SELECT {n} AS n, {value} AS v" for n, value in enumerate(values)]
    return " UNION ALL ".join([*rows, f"SELECT -1, CASE WHEN false THEN {kind} END"])


def plain(value: Any) -> str:
    """A value as text; Arrow has lists of pairs where DuckDB's client has dictionaries."""
    match value:
        case dict():
            return plain(list(value.items()))
        case list() | tuple():
            return f"[{', '.join(map(plain, value))}]"
        case datetime():
            return value.isoformat()
        case _:
            return repr(value)


def shown(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[str, list[tuple[Any, ...]]]:
    relation = connection.sql(f"SELECT v FROM ({query}) LIMIT 0")
    rows = connection.execute(f"SELECT n, v::VARCHAR FROM ({query}) ORDER BY n").fetchall()
    return str(relation.types[0]), rows


@pytest.mark.parametrize("values", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_values_and_type_come_back(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, values: list[str]
) -> None:
    query = query_of(values)
    replace(catalog, T, connection, query)
    table = catalog.load_table(T)
    assert shown(connection, scan_sql(table)) == shown(connection, query)
    stored = stored_type("v", connection.sql(query).types[1])
    wanted = connection.execute(f"SELECT n, v::{stored.stored} AS v FROM ({query})").fetchall()
    found = [tuple(row.values()) for row in table.scan().to_arrow().to_pylist()]
    assert sorted(map(plain, found)) == sorted(map(plain, wanted))
    append(catalog, T, connection, query)
    again = connection.execute(f"SELECT count(*) FROM ({scan_sql(catalog.load_table(T))})")
    assert again.fetchall() == [(2 * len(found),)]


@pytest.mark.parametrize("values", ONLY_DUCKDB.values(), ids=ONLY_DUCKDB)
def test_values_that_python_has_not_come_back_in_duckdb(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, values: list[str]
) -> None:
    query = query_of(values)
    replace(catalog, T, connection, query)
    assert shown(connection, scan_sql(catalog.load_table(T))) == shown(connection, query)


def test_no_type_of_duckdb_is_forgotten(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall()
    words = " ".join([*ROUND_TRIPS, *REFUSED]).replace("timestamptz", "timestamp with time zone")
    missing = {name for (name,) in found if name.lower() not in words}
    assert missing == {"NULL", "TYPE"}  # neither is ever the type of a column of a query


REFUSED = {
    "time with time zone": (
        "'10:00:00+01'::TIMETZ",
        "column the v has the type TIME WITH TIME ZONE, which an Iceberg table cannot hold",
        "Iceberg's time has no zone; cast it to TIME or VARCHAR",
    ),
    "union": (
        "union_value(a := 1)",
        "column the v has the type UNION(a INTEGER), which an Iceberg table cannot hold",
        "Iceberg has no unions; select one of its members, or cast it to VARCHAR",
    ),
    "variant": (
        "1::VARIANT",
        "column the v has the type VARIANT, which an Iceberg table cannot hold",
        "cast it to JSON or VARCHAR",
    ),
    "geometry": (
        "'POINT(1 1)'::GEOMETRY",
        "column the v has the type GEOMETRY, which an Iceberg table cannot hold",
        "cast it to BLOB (ST_AsWKB) or VARCHAR (ST_AsText)",
    ),
    "nested": (
        "[{'a': 1::VARIANT}]",
        "column the v has the type VARIANT, which an Iceberg table cannot hold",
        "cast it to JSON or VARCHAR",
    ),
}


@pytest.mark.parametrize(("value", "message", "help"), REFUSED.values(), ids=REFUSED)
def test_types_that_iceberg_has_not_are_refused(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, value: str, message: str, help: str
) -> None:
    with pytest.raises(UnsupportedTypeError) as caught:
        replace(catalog, T, connection, f'SELECT 1 AS n, {value} AS "the v"')
    assert (str(caught.value), caught.value.help) == (message, help)
    assert not catalog.namespace_exists("sales")


TOO_LARGE = "numbers of more than 38 digits have to be cast to DOUBLE or VARCHAR"
ROUND = "round it with date_trunc('microseconds', ...), or cast it to TIMESTAMP"
HOURS = "an interval of more than 2562047787 hours has to be written in days or months"
MISFITS = {
    "hugeint": ("1::HUGEINT", f"1{'0' * 38}::HUGEINT", "HUGEINT", "DECIMAL(38,0)", TOO_LARGE),
    "uhugeint": ("1::UHUGEINT", f"1{'0' * 38}::UHUGEINT", "UHUGEINT", "DECIMAL(38,0)", TOO_LARGE),
    "list": (
        "[1::HUGEINT]",
        f"[1, 1{'0' * 38}::HUGEINT]",
        "HUGEINT[]",
        "DECIMAL(38,0)[]",
        TOO_LARGE,
    ),
    "struct": (
        "{'a': 1::HUGEINT}",
        f"{{'a': 1{'0' * 38}::HUGEINT}}",
        "STRUCT(a HUGEINT)",
        'STRUCT("a" DECIMAL(38,0))',
        TOO_LARGE,
    ),
    "nanoseconds": (
        "'2020-01-01'::TIMESTAMP_NS",
        "'2020-01-01 00:00:00.000000001'::TIMESTAMP_NS",
        "TIMESTAMP_NS",
        "TIMESTAMP",
        ROUND,
    ),
    "nested nanoseconds": (
        "['2020-01-01'::TIMESTAMP_NS]",
        "['2020-01-01 00:00:00.000000001'::TIMESTAMP_NS]",
        "TIMESTAMP_NS[]",
        "TIMESTAMP[]",
        ROUND,
    ),
    "interval": (
        "INTERVAL '1 day'",
        "to_microseconds(9223372036854775807)",
        "INTERVAL",
        "VARCHAR",
        HOURS,
    ),
}


@pytest.mark.parametrize(("good", "bad", "own", "stored", "help"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("write", [replace, append])
def test_a_value_that_does_not_fit_names_its_column_and_leaves_nothing(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    data_files: Callable[[], set[str]],
    write: Any,
    good: str,
    bad: str,
    own: str,
    stored: str,
    help: str,
) -> None:
    replace(catalog, T, connection, f'SELECT {good} AS "the v"')
    before = catalog.load_table(T), data_files()
    with pytest.raises(duckdb.InvalidInputException) as caught:
        write(catalog, T, connection, f'SELECT {good} AS "the v" UNION ALL SELECT {bad}')
    assert str(caught.value) == (
        f"Invalid Input Error: column the v holds a value that does not fit {stored}, "
        f"as which an Iceberg table stores {own}: {help}"
    )
    assert (catalog.load_table(T), data_files()) == before


KEPT = {
    "json": ("'{}'::JSON", "'no json'", "JSON"),
    "enum": ("'a'::ENUM('a', 'b')", "'c'", "ENUM('a', 'b')"),
    "utinyint": ("1::UTINYINT", "256", "UTINYINT"),
    "hugeint": ("1::HUGEINT", "'x'", "HUGEINT"),
    "interval": ("INTERVAL '1 day'", "'soon'", "INTERVAL"),
    "integer": ("1", "'x'", "INTEGER"),
    "date": ("'2020-01-01'::DATE", "'x'", "DATE"),
}


@pytest.mark.parametrize(("good", "bad", "own"), KEPT.values(), ids=KEPT)
def test_a_value_of_another_type_has_to_fit_the_column_it_goes_to(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, good: str, bad: str, own: str
) -> None:
    replace(catalog, T, connection, f"SELECT {good} AS v")
    append(catalog, T, connection, f"SELECT ({good})::VARCHAR AS v UNION ALL SELECT NULL")
    with pytest.raises(duckdb.Error, match=r"column v holds a value that is no ") as caught:
        append(catalog, T, connection, f"SELECT {bad} AS v")
    assert str(caught.value).endswith(f"column v holds a value that is no {own}")
    relation = connection.sql(scan_sql(catalog.load_table(T)))
    assert str(relation.types[0]) == own
    assert len(relation.fetchall()) == 3


@pytest.mark.parametrize(
    "kind", ["INTEGER", "HUGEINT", "JSON", "STRUCT(a HUGEINT[])", "VARCHAR[2]"]
)
@pytest.mark.parametrize("rows", [0, 3])
def test_empty_tables_and_columns_of_nulls_keep_their_type(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, kind: str, rows: int
) -> None:
    done = replace(catalog, T, connection, f"SELECT NULL::{kind} AS v FROM range({rows})")
    assert (done.rows, done.files_added) == (rows, int(rows > 0))
    found = connection.sql(scan_sql(catalog.load_table(T)))
    assert str(found.types[0]) == kind
    assert found.fetchall() == [(None,)] * rows
    assert catalog.load_table(T).scan().to_arrow().num_rows == rows
    append(catalog, T, connection, f"SELECT NULL::{kind} AS v")
    assert len(connection.sql(scan_sql(catalog.load_table(T))).fetchall()) == rows + 1


NAMES = [
    "select",
    'quo"te',
    "it's",
    "größe",
    "列",
    "a.b",
    "a b",
    "UPPER",
    "x,y",
    "100%",
    "$1",
    "{}",
    "[a]",
    "a*b?",
]


@pytest.mark.parametrize(
    "name",
    [*NAMES, "filename", "file_row_number", "file_index", "__file", "__row", "__partition_0"],
)
def test_columns_of_any_name(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    replace(catalog, T, connection, f"SELECT range AS {quoted}, 'x' AS other FROM range(3)")
    append(catalog, T, connection, f"SELECT 3 AS {quoted}")
    table = catalog.load_table(T)
    found = connection.sql(scan_sql(table))
    assert found.columns == [name, "other"]
    assert sorted(found.fetchall()) == [(0, "x"), (1, "x"), (2, "x"), (3, None)]
    arrow = table.scan().to_arrow()
    assert (arrow.column_names, arrow.num_rows) == ([name, "other"], 4)


@pytest.mark.parametrize("name", [*NAMES, "..", "a/b", "../x", "#1", "a?b=c"])
def test_tables_and_namespaces_of_any_name(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    for identifier in ((name, "plain"), ("plain", name), (name, name)):
        if "." in identifier[0]:
            continue  # the parts of a namespace are written with dots between them
        replace(catalog, identifier, connection, "SELECT 1 AS a")
        append(catalog, identifier, connection, "SELECT 2 AS a")
        table = catalog.load_table(identifier)
        assert sorted(connection.execute(scan_sql(table)).fetchall()) == [(1,), (2,)]
        assert table.scan().to_arrow().num_rows == 2


def test_columns_that_differ_only_by_case_get_names_as_in_duckdb(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    query = "SELECT * FROM (SELECT 1 AS a), (SELECT 2 AS A)"
    connection.execute(f"CREATE TABLE native AS {query}")
    replace(catalog, T, connection, query)
    found = connection.sql(scan_sql(catalog.load_table(T)))
    assert found.columns == connection.table("native").columns


def test_a_query_may_end_with_a_comment(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a -- the one")
    append(catalog, T, connection, "SELECT 2 AS a -- the other")
    assert catalog.load_table(T).scan().to_arrow().num_rows == 2


def test_a_failing_query_is_told_by_duckdb(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, data_files: Callable[[], set[str]]
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")
    before = data_files()
    late = (
        "SELECT CASE WHEN range = 999999 THEN error('midway') ELSE range END AS a "
        "FROM range(1000000)"
    )
    for write in (replace, append):
        with pytest.raises(duckdb.Error, match="midway"):
            write(catalog, T, connection, late)
    assert data_files() == before
    assert issubclass(IcebergError, FloeError)
