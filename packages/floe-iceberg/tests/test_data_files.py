"""The bounds of a file never make a reader skip rows that match."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import (
    EqualTo,
    GreaterThanOrEqual,
    IsNaN,
    IsNull,
    LessThanOrEqual,
    NotEqualTo,
    NotNaN,
)

from floe_iceberg import Layout, append, files_of, replace, scan_sql

T = ("sales", "bounds")

EDGES = st.sampled_from(
    [
        "\x01",
        "a",
        "\x7f",
        "\x80",
        "\ud7fe",
        "\ud7ff",
        "\ue000",
        "\uffff",
        "😀",
        "\U0010fffe",
        "\U0010ffff",
    ]
)
TEXT = st.text(EDGES, max_size=3).flatmap(
    lambda end: st.tuples(EDGES, st.integers(13, 17)).map(lambda run: run[0] * run[1] + end)
) | st.text(EDGES, max_size=2)
LONG_TEXT = st.tuples(EDGES, st.integers(60, 300), st.text(EDGES, max_size=2)).map(
    lambda parts: parts[0] * parts[1] + parts[2]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "VARCHAR": TEXT | LONG_TEXT,
    "DOUBLE": st.floats(allow_infinity=True) | st.sampled_from([0.0, -0.0]),
    # PyIceberg takes infinity for a number above all that a FLOAT holds, and looks for it nowhere.
    "FLOAT": st.floats(width=32, allow_infinity=False) | st.sampled_from([0.0, -0.0]),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "DECIMAL(4,2)": st.decimals(-99, 99, places=2, allow_nan=False),
    "DECIMAL(18,3)": st.decimals(-(10**14), 10**14, places=3, allow_nan=False),
    "DECIMAL(38,10)": st.decimals(-(10**27), 10**27, places=10, allow_nan=False),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "TIMESTAMPTZ": st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)).map(
        lambda moment: moment.replace(tzinfo=UTC)
    ),
    "BOOLEAN": st.booleans(),
    "UUID": st.uuids(),
    "BLOB": st.binary(max_size=20),
    "TIME": st.times(),
}  # fmt: skip


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def literal(kind: str, value: Any) -> Any:
    return str(value) if isinstance(value, UUID | Decimal) else value


@pytest.mark.parametrize("kind", VALUES)
def test_every_value_is_found_in_each_file(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, kind: str
) -> None:
    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(VALUES[kind], min_size=1, max_size=4))
    def check(values: list[Any]) -> None:
        connection.execute(f"CREATE OR REPLACE TABLE given (v {kind})")
        for value in values:
            connection.execute("INSERT INTO given VALUES (?)", [literal(kind, value)])
        replace(catalog, T, connection, "FROM given")
        append(catalog, T, connection, "SELECT NULL AS v")
        table = catalog.load_table(T)
        given_rows = [row[0] for row in connection.execute("FROM given").fetchall()]
        for value in {repr(v): v for v in given_rows}.values():
            if is_nan(value):
                filters: list[Any] = [IsNaN("v")]
            else:
                filters = [p("v", value) for p in (EqualTo, GreaterThanOrEqual, LessThanOrEqual)]
            for wanted in filters:
                found = table.scan(row_filter=wanted).to_arrow()["v"].to_pylist()
                assert any(v == value or is_nan(v) for v in found), (wanted, found)
        assert table.scan(row_filter=IsNull("v")).to_arrow().num_rows == 1
        first = given_rows[0]
        is_other = NotNaN("v") if is_nan(first) else NotEqualTo("v", first)
        others = [v for v in given_rows if not (is_nan(v) if is_nan(first) else v == first)]
        assert table.scan(row_filter=is_other).to_arrow().num_rows >= len(others)
        again = connection.execute(
            f"SELECT count(*) FROM given WHERE v NOT IN (SELECT v FROM ({scan_sql(table)}) "
            "WHERE v IS NOT NULL)"
        )
        assert again.fetchall() == [(0,)]

    check()


@pytest.mark.parametrize(
    ("kind", "values", "low", "high"),
    [
        ("VARCHAR", ["a" * 17, "b" * 17], "a" * 16, "b" * 15 + "c"),
        ("VARCHAR", ["x" * 16], "x" * 16, "x" * 16),
        ("VARCHAR", ["\U0010ffff" * 17], "\U0010ffff" * 16, None),
        ("VARCHAR", ["\ud7ff" * 17], "\ud7ff" * 16, "\ud7ff" * 15 + "\ue000"),
        ("DATE", ["infinity"], None, None),
        ("DATE", ["0044-03-15 (BC)", "2020-01-01"], None, date(2020, 1, 1)),
        ("DOUBLE", ["nan", "1"], None, None),
    ],
)
def test_bounds_are_those_of_the_values(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    values: list[str],
    low: Any,
    high: Any,
) -> None:
    rows = ", ".join(f"('{value}'::{kind})" for value in values)
    replace(catalog, T, connection, f"SELECT * FROM (VALUES {rows}) AS t(v)")
    found = catalog.load_table(T).inspect.files().to_pylist()[0]["readable_metrics"]["v"]
    assert (found["lower_bound"], found["upper_bound"]) == (low, high)


def test_metrics_are_those_of_the_file(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    query = (
        'SELECT range AS a, CASE WHEN range > 6 THEN \'x\' END AS "b""\'.c", '
        "{'m': range / 2, 'n': [range]} AS s, [range] AS l FROM range(10)"
    )
    replace(catalog, T, connection, query)
    table = catalog.load_table(T)
    file = files_of(table).data[0]
    ids = {name: table.schema().find_field(name).field_id for name in ("a", "b\"'.c", "s.m")}
    assert file.record_count == 10
    assert [file.value_counts[ids[name]] for name in ids] == [10, 10, 10]
    assert [file.null_value_counts[ids[name]] for name in ids] == [0, 7, 0]
    assert all(file.column_sizes[number] > 0 for number in ids.values())
    size = connection.execute(f"SELECT size FROM read_blob('{file.file_path[7:]}')").fetchone()
    assert size == (file.file_size_in_bytes,)


def written_bytes(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, properties: dict[str, str]
) -> int:
    query = "SELECT hash(range) % 1000 AS n, 'note ' || hash(range) % 500 AS note FROM range(20000)"
    replace(catalog, T, connection, query, Layout(properties=properties))
    [file] = files_of(catalog.load_table(T)).data
    return file.file_size_in_bytes


def test_the_level_of_zstd_is_a_property(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    level = "write.parquet.compression-level"
    usual = written_bytes(catalog, connection, {})
    assert written_bytes(catalog, connection, {level: "19"}) < usual
    assert written_bytes(catalog, connection, {level: "1"}) == usual


@pytest.mark.parametrize("codec", ["snappy", "gzip", "uncompressed"])
def test_a_codec_without_levels_is_written_all_the_same(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, codec: str
) -> None:
    properties = {
        "write.parquet.compression-codec": codec,
        "write.parquet.compression-level": "3",
    }
    usual = written_bytes(catalog, connection, {"write.parquet.compression-codec": codec})
    assert written_bytes(catalog, connection, properties) == usual > 0
