"""Tables that are made empty, upserted to, given another shape, and looked at as they were."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import (
    Evolution,
    Layout,
    Rows,
    append,
    create,
    evolve,
    fast_forward,
    overwrite_partitions,
    parse_partition_by,
    replace,
    rewrite,
    scan_sql,
    snapshot_at,
    upsert,
)
from floe_iceberg.errors import IcebergError, UnsupportedTypeError
from floe_iceberg.maintenance import compact, expire_snapshots
from floe_iceberg.scan import column_types

ORDERS = ("sales", "orders")


def rows(
    connection: duckdb.DuckDBPyConnection, table: Table, snapshot_id: int | None = None
) -> list[tuple[Any, ...]]:
    """What DuckDB reads, after seeing that PyIceberg reads as many."""
    found = connection.execute(scan_sql(table, snapshot_id=snapshot_id)).fetchall()
    assert table.scan(snapshot_id=snapshot_id).to_arrow().num_rows == len(found)
    return sorted(found)


def head(table: Table) -> int:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return snapshot.snapshot_id


def test_a_table_is_created_without_rows(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(
        partition_by=[parse_partition_by("day(at)")],
        sort_by=["-id"],
        properties={"owner": "sales"},
        docs={"id": "number of the order"},
    )
    table = create(catalog, ORDERS, {"id": "UBIGINT", "at": "TIMESTAMP", "t": "VARCHAR[]"}, layout)
    assert table.current_snapshot() is None
    assert [str(f) for f in table.schema().fields][:2] == [
        "1: id: optional decimal(20, 0) (number of the order)",
        "2: at: optional timestamp",
    ]
    assert [f.name for f in table.spec().fields] == ["at_day"]
    assert len(table.sort_order().fields) == 1
    assert table.properties["owner"] == "sales"
    assert rows(connection, table) == []
    append(catalog, ORDERS, connection, "SELECT 7 AS id, TIMESTAMP '2024-01-01' AS at")
    assert rows(connection, catalog.load_table(ORDERS)) == [(7, datetime(2024, 1, 1), None)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": "NUMBER"}, "column id has the type NUMBER, which DuckDB does not know"),
        ({"id": "INTEGER", "ID": "INTEGER"}, "two columns are named ID"),
        ({"id": "TIMETZ"}, "column id has the type TIME WITH TIME ZONE"),
    ],
)
def test_columns_that_cannot_be_are_refused(
    columns: dict[str, str], message: str, catalog: Catalog
) -> None:
    with pytest.raises(IcebergError, match=message):
        create(catalog, ORDERS, columns)
    assert not catalog.namespace_exists("sales")


def test_a_table_is_created_once(catalog: Catalog) -> None:
    create(catalog, ORDERS, {"id": "INTEGER"})
    with pytest.raises(IcebergError, match=r"there is a table sales\.orders already"):
        create(catalog, ORDERS, {"id": "INTEGER"})


def test_upsert_updates_and_inserts_by_keys(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(
        catalog,
        ORDERS,
        connection,
        "SELECT range AS id, range % 2 AS day, 'old' AS n FROM range(4)",
    )
    query = "SELECT * FROM (VALUES ('new', 1, 1), ('no', 1, 2), ('add', 9, 0)) AS t(n, ID, day)"
    committed = upsert(catalog, ORDERS, connection, query, ["id", "day"])
    assert committed.attempts == 1
    assert rows(connection, committed.table) == [
        (0, 0, "old"),
        (1, 1, "new"),
        (1, 2, "no"),
        (2, 0, "old"),
        (3, 1, "old"),
        (9, 0, "add"),
    ]
    assert len(committed.table.snapshots()) == 2
    upsert(catalog, ORDERS, connection, "SELECT 9 AS id, 5 AS day", ["id"])
    found = rows(connection, catalog.load_table(ORDERS))
    assert found[-1] == (9, 5, "add")  # a column that does not come stays
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


@pytest.mark.parametrize(
    ("query", "keys", "message"),
    [
        ("SELECT 1 AS id, 2 AS x", ["id"], "the table has no column x"),
        ("SELECT 1 AS id", ["name"], 'the key "name" is no column'),
        ("SELECT 1 AS id", [], "no key is given"),
        ("SELECT NULL::INT AS id", ["id"], 'the key "id" is null in 1 row;'),
        ("SELECT 1 AS id FROM range(2)", ["id"], '1 value of the key "id" comes more than once'),
    ],
)
def test_an_upsert_that_makes_no_sense_is_refused(
    query: str,
    keys: list[str],
    message: str,
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    first = replace(catalog, ORDERS, connection, "SELECT 1 AS id, 'n' AS name")
    with pytest.raises(IcebergError, match=message):
        upsert(catalog, ORDERS, connection, query, keys)
    assert head(catalog.load_table(ORDERS)) == first.snapshot_id
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


def test_a_table_evolves_without_its_data_being_written(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    query = (
        "SELECT 1::INTEGER AS id, 5::TINYINT AS tiny, 7::UINTEGER AS many, 'n' AS name, 1.5 AS d"
    )
    before = replace(catalog, ORDERS, connection, query).table
    table = evolve(
        catalog,
        ORDERS,
        Evolution(
            rename={"many": "name", "id": "number"},
            drop=["name"],
            retype={"id": "BIGINT", "tiny": "INTEGER", "d": "DECIMAL(10,1)"},
            add={"extra": "HUGEINT", "id": "VARCHAR"},
            docs={"number": "of the order"},
            partition_by=[parse_partition_by("bucket(4, number)")],
            sort_by=["number"],
            properties={"owner": "sales"},
        ),
    )
    assert head(table) == head(before)
    fields = {field.name: field for field in table.schema().fields}
    assert {name: field.field_id for name, field in fields.items()} == {
        "number": 1,
        "tiny": 2,
        "name": 3,
        "d": 5,
        "extra": 6,
        "id": 7,
    }
    assert fields["number"].doc == "of the order"
    assert column_types(table.properties, table.schema()) == {
        "name": "UINTEGER",
        "extra": "HUGEINT",
    }
    assert table.properties["owner"] == "sales"
    relation = connection.sql(scan_sql(table))
    assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == {
        "number": "BIGINT",
        "tiny": "INTEGER",
        "name": "UINTEGER",
        "d": "DECIMAL(10,1)",
        "extra": "HUGEINT",
        "id": "VARCHAR",
    }
    assert rows(connection, table) == [(1, 5, 7, Decimal("1.5"), None, None)]
    earlier = connection.sql(scan_sql(table, snapshot_id=head(before)))
    assert dict(zip(earlier.columns, map(str, earlier.types), strict=True))["many"] == "UINTEGER"
    assert earlier.fetchall() == [(1, 5, 7, "n", Decimal("1.5"))]
    append(catalog, ORDERS, connection, "SELECT 2 AS number, 'x' AS id")
    compact(catalog, ORDERS, connection)
    assert len(rows(connection, catalog.load_table(ORDERS))) == 2


def test_two_columns_may_swap_their_names(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT 1 AS a, 'x' AS b")
    table = evolve(catalog, ORDERS, Evolution(rename={"a": "b", "b": "a"}))
    assert connection.sql(scan_sql(table)).columns == ["b", "a"]
    assert rows(connection, table) == [(1, "x")]


@pytest.mark.parametrize(
    ("evolution", "message"),
    [
        (Evolution(drop=["ids"]), "the table has no column ids"),
        (Evolution(rename={"id": "day"}), "two columns would be named"),
        (Evolution(add={"Day": "INTEGER"}), "two columns would be named"),
        (Evolution(retype={"id": "VARCHAR"}), "column id cannot become VARCHAR"),
        (Evolution(retype={"id": "TINYINT"}), "column id cannot become TINYINT"),
        (
            Evolution(drop=["id"], retype={"id": "HUGEINT"}, sort_by=[]),
            "cannot be dropped and changed at once",
        ),
        (Evolution(docs={"x": "y"}), "there would be no column x"),
        (Evolution(drop=["day"]), "column day cannot go: rows are divided by it"),
        (Evolution(drop=["id"]), "column id cannot go: rows are sorted by it"),
        (Evolution(partition_by=[parse_partition_by("no")]), "partition_by names the column no"),
        (Evolution(sort_by=["no"]), "sort_by names the column no"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(
    evolution: Evolution,
    message: str,
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    layout = Layout(partition_by=[parse_partition_by("day")], sort_by=["id"])
    before = replace(catalog, ORDERS, connection, "SELECT 1 AS id, 2 AS day", layout).table
    with pytest.raises(IcebergError, match=message):
        evolve(catalog, ORDERS, evolution)
    assert catalog.load_table(ORDERS).metadata == before.metadata


def test_a_partition_column_goes_once_no_kept_file_is_divided_by_it(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(partition_by=[parse_partition_by("day")])
    replace(catalog, ORDERS, connection, "SELECT 1 AS id, range AS day FROM range(3)", layout)
    drop = Evolution(drop=["day"])
    evolve(catalog, ORDERS, Evolution(partition_by=[]))
    with pytest.raises(IcebergError, match="divided by it in snapshots that are kept"):
        evolve(catalog, ORDERS, drop)
    compact(catalog, ORDERS, connection)
    expire_snapshots(catalog, ORDERS, older_than=timedelta(0), keep_last=1)
    table = evolve(catalog, ORDERS, drop)
    assert rows(connection, table) == [(1,)] * 3
    rewrite(catalog, ORDERS, connection, lambda _: Rows(matched="t.id = 1"))
    assert rows(connection, catalog.load_table(ORDERS)) == []


def test_a_snapshot_is_found_by_id_time_branch_and_tag(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    began = datetime.now()
    time.sleep(0.01)
    first = replace(catalog, ORDERS, connection, "SELECT 1 AS id")
    time.sleep(0.01)
    between = datetime.now().astimezone()
    time.sleep(0.01)
    append(catalog, ORDERS, connection, "SELECT 2 AS id")
    table = catalog.load_table(ORDERS)
    table.manage_snapshots().create_tag(first.snapshot_id, "v1").commit()
    for when in (first.snapshot_id, between, "v1"):
        assert snapshot_at(table, when).snapshot_id == first.snapshot_id
    assert snapshot_at(table, "main").snapshot_id == snapshot_at(table, datetime.now()).snapshot_id
    assert rows(connection, table, snapshot_at(table, between).snapshot_id) == [(1,)]
    for absent, message in (
        (7, "has no snapshot 7"),
        ("v2", "no branch or tag v2"),
        (began, "from"),
    ):
        with pytest.raises(IcebergError, match=message):
            snapshot_at(table, absent)  # type: ignore[arg-type]


def test_a_time_whose_snapshot_was_expired_is_no_earlier_one(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    first = replace(catalog, ORDERS, connection, "SELECT 1 AS id").snapshot_id
    append(catalog, ORDERS, connection, "SELECT 2 AS id")
    between = datetime.now()
    time.sleep(0.01)
    append(catalog, ORDERS, connection, "SELECT 3 AS id")
    catalog.load_table(ORDERS).manage_snapshots().create_tag(first, "v1").commit()
    expire_snapshots(catalog, ORDERS, older_than=timedelta(0), keep_last=1)
    table = catalog.load_table(ORDERS)
    with pytest.raises(IcebergError, match="may have been expired"):
        snapshot_at(table, between)
    assert snapshot_at(table, "v1").snapshot_id == first


def test_a_branch_is_written_to_looked_at_and_published(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(partition_by=[parse_partition_by("day")])
    replace(
        catalog, ORDERS, connection, "SELECT range AS id, range % 2 AS day FROM range(2)", layout
    )
    table = catalog.load_table(ORDERS)
    main = rows(connection, table)
    table.manage_snapshots().create_branch(head(table), "audit").commit()
    append(catalog, ORDERS, connection, "SELECT 2 AS id, 0 AS day", branch="audit")
    upsert(catalog, ORDERS, connection, "SELECT 0 AS id, 5 AS day", ["id"], branch="audit")
    overwrite_partitions(catalog, ORDERS, connection, "SELECT 8 AS id, 1 AS day", branch="audit")
    rewrite(catalog, ORDERS, connection, lambda _: Rows(matched="t.id = 2"), branch="audit")
    table = catalog.load_table(ORDERS)
    assert rows(connection, table) == main
    audited = [(0, 5), (8, 1)]
    assert rows(connection, table, snapshot_at(table, "audit").snapshot_id) == audited
    table = fast_forward(catalog, ORDERS, "audit")
    assert rows(connection, table) == audited


def test_a_branch_that_has_gone_its_own_way_is_not_overwritten(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT 1 AS id")
    table = catalog.load_table(ORDERS)
    table.manage_snapshots().create_branch(head(table), "audit").commit()
    append(catalog, ORDERS, connection, "SELECT 2 AS id", branch="audit")
    append(catalog, ORDERS, connection, "SELECT 3 AS id")
    with pytest.raises(
        IcebergError, match=r"main of sales\.orders has snapshots that audit has not"
    ):
        fast_forward(catalog, ORDERS, "audit")
    with pytest.raises(IcebergError, match="no branch adit") as refused:
        append(catalog, ORDERS, connection, "SELECT 2 AS id", branch="adit")
    assert "audit" in str(refused.value.help)


def test_types_that_cannot_be_stored_are_refused_by_name(catalog: Catalog) -> None:
    create(catalog, ORDERS, {"id": "INTEGER"})
    with pytest.raises(UnsupportedTypeError, match="column at"):
        evolve(catalog, ORDERS, Evolution(add={"at": "TIMETZ"}))
