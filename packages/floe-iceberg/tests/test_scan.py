"""DuckDB plans well with Iceberg tables."""

from __future__ import annotations

import json

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import append, replace, scan_sql

T = ("sales", "orders")


@pytest.fixture
def orders(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> str:
    catalog.create_namespace(T[0])
    query = "SELECT range AS id, range % 7 AS day, 'x' AS v FROM range({}, {})"
    replace(catalog, T, connection, query.format(0, 300_000))
    append(catalog, T, connection, query.format(300_000, 400_000))
    return f"({scan_sql(catalog.load_table(T))})"


def test_the_number_of_rows_is_known_before_files_are_opened(
    orders: str, connection: duckdb.DuckDBPyConnection
) -> None:
    [[_, text]] = connection.execute(f"EXPLAIN (FORMAT json) FROM {orders}").fetchall()
    [scan] = json.loads(text)
    assert scan["extra_info"]["Estimated Cardinality"] == "400000"
