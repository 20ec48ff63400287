"""Python that writes Iceberg tables through a connection of DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import replace
from floe_iceberg.attachment import Attached
from floe_iceberg.connection import MEMORY, Writer, writing
from floe_iceberg.errors import IcebergError

Read = Callable[..., list[tuple[Any, ...]]]
ORDERS = ("shop", "orders")


@pytest.fixture
def attached(catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Attached:
    catalog.create_namespace("shop")
    replace(catalog, ORDERS, connection, "SELECT 1 AS id, 'a' AS kind")
    properties = {
        "type": "sql",
        "name": "lake",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": tmp_path.as_uri(),
    }
    return Attached({"default": properties}, MEMORY, "shop")


@pytest.fixture
def write(attached: Attached) -> Callable[[Callable[[Writer], object]], None]:
    def write(block: Callable[[Writer], object]) -> None:
        with duckdb.connect() as memory, writing(memory, attached) as writer:
            block(writer)

    return write


def test_tables_of_a_database_that_the_block_attaches_are_not_published(
    catalog: Catalog, write: Callable[..., None], read: Read, tmp_path: Path
) -> None:
    with duckdb.connect(tmp_path / "legacy.duckdb") as legacy:
        legacy.execute("CREATE SCHEMA shop")
        legacy.execute("CREATE TABLE shop.orders AS SELECT 99 AS old_id")
        legacy.execute("CREATE TABLE shop.raw AS SELECT 2 AS id")

    def block(writer: Writer) -> None:
        writer.execute(f"ATTACH '{tmp_path}/legacy.duckdb' AS legacy (READ_ONLY)")
        writer.execute("CREATE TABLE kept AS FROM legacy.shop.raw")

    write(block)
    assert catalog.list_tables("shop") == [("shop", "kept"), ORDERS]
    assert read(ORDERS) == [(1, "a")]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE OR REPLACE TABLE orders AS SELECT id + 10 AS id FROM orders",
        'create or replace table "shop"."Orders" as select id + 10 as id from shop.orders',
        "CREATE OR REPLACE TABLE orders AS SELECT id + 10 AS id FROM orders; "
        "INSERT INTO orders SELECT id + 1 FROM orders; DELETE FROM orders WHERE id = 12",
    ],
)
def test_a_table_is_replaced_by_a_query_that_reads_it(
    write: Callable[..., None], read: Read, sql: str
) -> None:
    write(lambda writer: writer.execute(sql))
    assert read(ORDERS) == [(11,)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE OR REPLACE TABLE orders AS SELECT no_column FROM orders",
        "CREATE OR REPLACE TABLE orders AS SELECT 1 AS id FROM no_table",
        "INSERT INTO orders SELECT 1",
    ],
)
def test_a_table_stays_when_a_statement_fails_that_the_block_expects_to(
    catalog: Catalog, write: Callable[..., None], read: Read, sql: str
) -> None:
    def block(writer: Writer) -> None:
        with pytest.raises(duckdb.Error):
            writer.execute(sql)

    write(block)
    assert catalog.list_tables("shop") == [ORDERS]
    assert read(ORDERS) == [(1, "a")]


@pytest.mark.parametrize(
    "begin",
    [
        lambda writer: writer.begin(),
        lambda writer: writer.execute("START TRANSACTION"),
        lambda writer: writer.execute("SELECT 1; BEGIN"),
        lambda writer: writer.sql("begin"),
        lambda writer: writer.query("begin"),
    ],
)
def test_a_table_stays_though_the_block_would_roll_back(
    write: Callable[..., None], read: Read, begin: Callable[[Writer], object]
) -> None:
    def block(writer: Writer) -> None:
        with suppress(IcebergError):
            begin(writer)
            writer.execute("DELETE FROM orders")
            writer.execute("ROLLBACK")

    write(block)
    assert read(ORDERS) == [(1, "a")]


def test_a_table_that_is_made_anew_says_how_many_rows_it_has(
    write: Callable[[Callable[[Writer], object]], None],
) -> None:
    found = []

    def make(writer: Writer) -> None:
        for name in ("orders", "others"):
            made = writer.execute(f"CREATE OR REPLACE TABLE {name} AS FROM range(3)")
            found.append(made.fetchall())

    write(make)
    assert found == [[(3,)], [(3,)]]
