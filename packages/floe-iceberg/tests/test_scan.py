"""DuckDB plans well with Iceberg tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import append, replace, scan_sql
from floe_iceberg.incoming import Incoming

T = ("sales", "orders")


@pytest.fixture
def orders(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> str:
    catalog.create_namespace(T[0])
    query = "SELECT range AS id, range % 7 AS day, 'x' AS v FROM range({}, {})"
    replace(catalog, T, connection, query.format(0, 300_000))
    append(catalog, T, connection, query.format(300_000, 400_000))
    return f"({scan_sql(catalog.load_table(T))})"


def scans(connection: duckdb.DuckDBPyConnection, how: str, query: str) -> Iterator[dict[str, Any]]:
    [[_, text]] = connection.execute(f"EXPLAIN ({how}, FORMAT json) {query}").fetchall()
    found = json.loads(text)
    nodes = found if isinstance(found, list) else [found]
    while nodes:
        node = nodes.pop()
        nodes += node["children"]
        if "READ_PARQUET" in json.dumps([node.get("name"), node.get("extra_info")]):
            yield node


def test_the_number_of_rows_is_known_before_files_are_opened(
    orders: str, connection: duckdb.DuckDBPyConnection
) -> None:
    [[_, text]] = connection.execute(f"EXPLAIN (FORMAT json) FROM {orders}").fetchall()
    [scan] = json.loads(text)
    assert scan["extra_info"]["Estimated Cardinality"] == "400000"


@pytest.mark.parametrize("keys", [["id"], ["id", "day"]])
def test_an_upsert_skips_rows_that_no_key_is_near(
    orders: str, connection: duckdb.DuckDBPyConnection, keys: list[str]
) -> None:
    rows = "SELECT range AS id, range % 7 AS day FROM range(200_000, 200_100)"
    with Incoming(connection, rows, keys) as incoming:
        query = f"SELECT * FROM {orders} AS t WHERE {incoming.is_matched}"
        assert len(connection.execute(query).fetchall()) == 100
        read = sum(scan["operator_cardinality"] for scan in scans(connection, "ANALYZE", query))
    assert 0 < read < 200_000
