"""Python that writes Iceberg tables through a connection of DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import replace
from floe_iceberg.attachment import Attached
from floe_iceberg.connection import MEMORY, Writer, writing

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
