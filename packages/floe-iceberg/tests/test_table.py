"""Tables that are written, read back by two readers, and kept small."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import (
    Rows,
    append,
    create,
    files_of,
    open_catalog,
    replace,
    rewrite,
    scan_sql,
)
from floe_iceberg.errors import CatalogSetupError

ORDERS = ("sales", "orders")


def rows(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, columns: Sequence[str] = ("id", "name")
) -> list[tuple[Any, ...]]:
    """What DuckDB reads, after seeing that PyIceberg reads the same."""
    table = catalog.load_table(ORDERS)
    selected = ", ".join(columns)
    found = connection.execute(f"SELECT {selected} FROM ({scan_sql(table)})").fetchall()
    arrow = table.scan(selected_fields=tuple(columns)).to_arrow().to_pylist()
    assert Counter(found) == Counter(tuple(row[c] for c in columns) for row in arrow)
    return sorted(found)


def test_a_table_is_created_replaced_and_appended_to_in_one_snapshot_each(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    first = replace(catalog, ORDERS, connection, "SELECT 1 AS id, 'one' AS name")
    assert (first.rows, first.files_added, first.files_removed, first.attempts) == (1, 1, 0, 1)
    second = replace(catalog, ORDERS, connection, "SELECT 2 AS id, 'two' AS name")
    assert (second.rows, second.files_added, second.files_removed) == (1, 1, 1)
    append(catalog, ORDERS, connection, "SELECT 'three' AS name, 3 AS id")
    assert rows(connection, catalog) == [(2, "two"), (3, "three")]
    table = catalog.load_table(ORDERS)
    assert [s.snapshot_id for s in table.snapshots()][:2] == [first.snapshot_id, second.snapshot_id]
    assert len(table.snapshots()) == 3


def test_rows_are_merged_by_sql_of_the_caller(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT range AS id, 'old' AS name FROM range(5)")
    connection.execute(
        "CREATE TEMP TABLE news AS SELECT range + 3 AS id, 'new' AS name FROM range(4)"
    )

    def merge(table: str) -> None:
        connection.execute(
            f"MERGE INTO {table} AS t USING news ON t.id = news.id "
            "WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT"
        )

    keys = "EXISTS (SELECT 1 FROM news WHERE news.id = t.id)"
    rewrite(catalog, ORDERS, connection, lambda _: Rows(matched=keys, change=merge))
    assert rows(connection, catalog) == [
        *((number, "old") for number in range(3)),
        *((number, "new") for number in range(3, 7)),
    ]


def test_many_small_appends_leave_few_files(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT 0 AS id, 'n' AS name")
    for number in range(1, 31):
        append(catalog, ORDERS, connection, f"SELECT {number} AS id, 'n' AS name")
    assert [row[0] for row in rows(connection, catalog)] == list(range(31))
    assert len(files_of(catalog.load_table(ORDERS)).data) <= 8


def test_a_name_mapping_that_a_catalog_adds_says_nothing_of_our_own_files(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT range AS id, 'old' AS name FROM range(3)")
    table = catalog.load_table(ORDERS)
    mapping = {"schema.name-mapping.default": table.schema().name_mapping.model_dump_json()}
    with table.transaction() as transaction:
        transaction.set_properties(mapping)
    rewrite(catalog, ORDERS, connection, lambda _: Rows(matched="t.id = 1"))
    assert rows(connection, catalog) == [(0, "old"), (2, "old")]
    table = catalog.load_table(ORDERS)
    table.append(table.scan().to_arrow())
    assert not files_of(catalog.load_table(ORDERS)).is_plain


def test_tables_of_a_new_namespace_are_created_at_the_same_time(
    catalog: Catalog, tmp_path: Path
) -> None:
    def create(number: int) -> None:
        replace(catalog, ("fresh", f"t{number}"), duckdb.connect(), f"SELECT {number} AS id")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create, range(6)))
    assert sorted(name[-1] for name in catalog.list_tables("fresh")) == [f"t{n}" for n in range(6)]


@pytest.mark.parametrize("end", ["", "/", "/warehouse", "/warehouse/"])
def test_a_table_is_placed_below_its_storage(tmp_path: Path, end: str) -> None:
    table = placed(tmp_path, f"file://{tmp_path}{end}")
    assert table.location().startswith(f"file://{tmp_path}/warehouse/sales/")


@pytest.mark.parametrize("end", ["/elsewhere", "/ware"])
def test_a_table_that_would_be_elsewhere_than_its_storage_is_refused(
    tmp_path: Path, end: str
) -> None:
    with pytest.raises(CatalogSetupError) as refused:
        placed(tmp_path, f"file://{tmp_path}{end}")
    folder = f"file://{tmp_path}"
    message = re.sub(r"-\w{8},", ",", str(refused.value))
    assert message == (
        f"the catalog places sales.placed in {folder}/warehouse/sales/placed, which is not below "
        f"{folder}{end}, where its storage is"
    )
    assert refused.value.help == (
        "write the catalog's bucket and folder as `bucket` and `prefix` of the storage, or let the "
        "catalog place its tables there"
    )
    assert list((tmp_path / "warehouse").rglob("*.*")) == []


def placed(folder: Path, storage: str) -> Table:
    catalog = open_catalog(
        {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": f"file://{folder}/warehouse",
            "storage-location": storage,
        }
    )
    create(catalog, ("sales", "placed"), {"a": "INTEGER"})
    return catalog.load_table(("sales", "placed"))
