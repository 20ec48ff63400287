"""A catalog in SQLite, a connection, and what both readers say of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import open_catalog, scan_sql

Read = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(
        {
            "name": "lake",
            "type": "sql",
            "uri": f"sqlite:///{tmp_path}/catalog.db",
            "warehouse": tmp_path.as_uri(),
        }
    )
    yield catalog
    catalog.close()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture
def read(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> Read:
    """Sorted rows of a table, which DuckDB and PyIceberg agree on."""

    def read(name: tuple[str, ...], snapshot_id: int | None = None) -> list[tuple[Any, ...]]:
        table = catalog.load_table(name)
        found = connection.execute(scan_sql(table, snapshot_id=snapshot_id)).fetchall()
        arrow = table.scan(snapshot_id=snapshot_id).to_arrow()
        other = [tuple(row.values()) for row in arrow.to_pylist()]
        assert sorted(found, key=repr) == sorted(other, key=repr)
        return sorted(found, key=repr)

    return read


@pytest.fixture
def data_files(tmp_path: Path) -> Callable[[], set[str]]:
    """Names of the Parquet files that are on disk."""
    return lambda: {path.name for path in tmp_path.rglob("*.parquet")}
