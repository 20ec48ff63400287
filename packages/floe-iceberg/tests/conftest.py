"""A catalog in a folder, and a connection."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from pyiceberg.catalog import Catalog, load_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load_catalog(
        "lake", type="sql", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri()
    )


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()
