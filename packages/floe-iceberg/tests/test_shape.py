"""A table takes another shape in one commit, and its earlier snapshots keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import (
    Layout,
    Rows,
    append,
    describe,
    files_of,
    parse_partition_by,
    replace,
    rewrite,
    scan_sql,
)
from floe_iceberg.errors import IcebergError

T = ("sales", "shapes")
Connection = duckdb.DuckDBPyConnection


def layout(*partition_by: str, sort_by: tuple[str, ...] = ()) -> Layout:
    return Layout([parse_partition_by(text) for text in partition_by], sort_by)


EVOLUTIONS = {
    "added": ["SELECT 1 AS a", "SELECT 1 AS a, 'x' AS b"],
    "dropped": ["SELECT 1 AS a, 'x' AS b", "SELECT 'y' AS b"],
    "reordered": ["SELECT 1 AS a, 'x' AS b, 2.5 AS c", "SELECT 2.5 AS c, 1 AS a, 'x' AS b"],
    "renamed": ["SELECT 1 AS a", "SELECT 2 AS b"],
    "other case": ["SELECT 1 AS a, 2 AS b", "SELECT 3 AS A, 4 AS B"],
    "dropped and back": ["SELECT 1 AS a, 2 AS b", "SELECT 1 AS a", "SELECT 1 AS a, 3 AS b"],
    "wider integer": ["SELECT 1 AS a", "SELECT 5000000000 AS a"],
    "wider float": ["SELECT 1.5::FLOAT AS a", "SELECT 1e300::DOUBLE AS a"],
    "wider decimal": ["SELECT 1.25::DECIMAL(4,2) AS a", "SELECT 12345.67::DECIMAL(18,2) AS a"],
    "narrower": ["SELECT 5000000000 AS a", "SELECT 1 AS a"],
    "integer to text": ["SELECT 1 AS a", "SELECT 'x' AS a"],
    "text to blob": ["SELECT 'x' AS a", "SELECT 'y'::BLOB AS a"],
    "date to timestamp": ["SELECT DATE '2020-01-01' AS a", "SELECT TIMESTAMP '2020-01-01' AS a"],
    "text to json": ["SELECT 'no json' AS a", "SELECT '{}'::JSON AS a"],
    "json to text": ["SELECT '{}'::JSON AS a", "SELECT 'no json' AS a"],
    "text to hugeint": ["SELECT 'abc' AS a", "SELECT 1::HUGEINT AS a"],
    "other enum": ["SELECT 'a'::ENUM('a', 'b') AS a", "SELECT 'c'::ENUM('c') AS a"],
    "signed to unsigned": ["SELECT -1::HUGEINT AS a", "SELECT 1::UHUGEINT AS a"],
    "tiny to unsigned": ["SELECT -1::TINYINT AS a", "SELECT 4294967295::UINTEGER AS a"],
    "struct": ["SELECT {'x': 1} AS a", "SELECT {'x': 1, 'y': 2} AS a", "SELECT {'y': 1} AS a"],
    "nested": ["SELECT [1] AS a", "SELECT [5000000000] AS a", "SELECT MAP {1: [2]} AS a"],
    "empty": ["SELECT 1 AS a", "SELECT 'x' AS b WHERE false", "SELECT 1 AS a"],
}


@pytest.mark.parametrize("queries", EVOLUTIONS.values(), ids=EVOLUTIONS)
@pytest.mark.parametrize("is_partitioned", [False, True])
def test_a_table_takes_the_columns_of_each_query(
    catalog: Catalog,
    connection: Connection,
    read: Callable[..., list[Any]],
    queries: list[str],
    is_partitioned: bool,
) -> None:
    expected = {}
    for query in [*queries, queries[0]]:
        wanted = connection.sql(query)
        first = wanted.columns[0]
        if is_partitioned and str(wanted.types[0]) in {"INTEGER", "BIGINT", "VARCHAR", "DATE"}:
            shape = layout(f"bucket(4, {first})", sort_by=(f"-{first}",))
        else:
            is_sorted = is_partitioned and wanted.types[0].id not in {"list", "struct", "map"}
            shape = Layout(sort_by=(first,) if is_sorted else ())
        done = replace(catalog, T, connection, query, shape)
        expected[done.snapshot_id] = (wanted.columns, wanted.types, wanted.fetchall())
        table = catalog.load_table(T)
        assert [s.snapshot_id for s in table.snapshots()] == list(expected)
        fields = [(f.source_id, str(f.transform)) for f in table.spec().fields]
        assert len(fields) == len(shape.partition_by)
        assert len(table.sort_order().fields) == len(shape.sort_by)
        for snapshot_id, (columns, types, rows) in expected.items():
            found = connection.sql(scan_sql(table, snapshot_id=snapshot_id))
            assert (found.columns, found.types) == (columns, types)
            assert found.fetchall() == rows
            arrow = table.scan(snapshot_id=snapshot_id).to_arrow()
            assert (arrow.column_names, arrow.num_rows) == (columns, len(rows))
    assert len(read(T)) >= 1 or "empty" in queries


def test_a_column_that_is_a_partition_grows_and_has_no_namesake(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a, 1 AS n", layout("a"))
    replace(catalog, T, connection, "SELECT 5000000000 AS a, 1 AS n", layout("a"))
    assert read(T) == [(5000000000, 1)]
    before = catalog.load_table(T)
    with pytest.raises(IcebergError) as caught:
        replace(catalog, T, connection, "SELECT 'x' AS a, 1 AS n", layout("a"))
    assert (str(caught.value), caught.value.help) == (
        "sales.shapes is or was partitioned by another column a, and Iceberg gives its name to "
        "no second one",
        "drop the table, so that it is made anew, or give the column another name",
    )
    assert catalog.load_table(T) == before
    replace(catalog, T, connection, "SELECT 1 AS n")
    assert read(T) == [(1,)]
    assert [read(T, s.snapshot_id) for s in before.snapshots()] == [[(1, 1)], [(5000000000, 1)]]


def test_a_partition_field_makes_way_for_a_column_of_its_name(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    query = "SELECT 1 AS a, 2 AS a_bucket"
    for _ in range(2):
        replace(catalog, T, connection, query, layout("bucket(4, a)"))
        assert [f.name for f in catalog.load_table(T).spec().fields] == ["a_bucket_"]
        assert read(T) == [(1, 2)]


def test_specs_and_sort_orders_go_back_and_forth(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    query = "SELECT range AS id, range % 3 AS day, TIMESTAMP '2020-01-01' AS at FROM range(9)"
    shapes = [
        layout(),
        layout("day"),
        layout("bucket(2, id)", "day", sort_by=("id",)),
        layout("day(at)", sort_by=("-id", "day")),
        layout(),
        layout("day", sort_by=("id",)),
        layout("month(at)"),
        layout("truncate(4, id)"),
        layout("truncate(2, id)"),
    ]
    for shape in [*shapes, *reversed(shapes)]:
        replace(catalog, T, connection, query, shape)
        append(catalog, T, connection, query)
        table = catalog.load_table(T)
        wanted = [(field.column, str(field.transform)) for field in shape.partition_by]
        schema = table.schema()
        found = [
            (schema.find_column_name(f.source_id), str(f.transform)) for f in table.spec().fields
        ]
        assert sorted(found) == sorted(wanted)  # type: ignore[type-var]
        order = [
            ("-" if f.direction.value == "desc" else "") + schema.find_field(f.source_id).name
            for f in table.sort_order().fields
        ]
        assert order == list(shape.sort_by)
        assert len(read(T)) == 18
    assert len(table.metadata.snapshots) == 4 * len(shapes)
    assert len(table.metadata.sort_orders) <= 4
    assert len(table.metadata.partition_specs) <= 8


def test_columns_are_added_and_dropped_while_rows_stay(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    first = replace(catalog, T, connection, "SELECT 1 AS a, 2 AS b, 3::HUGEINT AS h")
    query = "SELECT 5000000000 AS a, 'x' AS c, 4::HUGEINT AS h"
    columns = describe(connection, query)
    done = rewrite(catalog, T, connection, lambda _: Rows(added=query, columns=columns))
    table = done.table
    assert len(table.snapshots()) == 2
    found = connection.sql(scan_sql(table))
    assert sorted(zip(found.columns, map(str, found.types), strict=True)) == [
        ("a", "BIGINT"),
        ("c", "VARCHAR"),
        ("h", "HUGEINT"),
    ]
    assert sorted(connection.sql(f"SELECT a, c, h FROM ({scan_sql(table)})").fetchall()) == [
        (1, None, 3),
        (5000000000, "x", 4),
    ]
    assert len(read(T)) == 2
    assert connection.sql(scan_sql(table, snapshot_id=first.snapshot_id)).fetchall() == [(1, 2, 3)]


REFUSED = {
    "SELECT 'x' AS a, 1 AS b": (
        "column a of sales.shapes is INTEGER and cannot become VARCHAR while rows of it stay",
        "cast it in the query, or write the table anew as a whole once (dbt: --full-refresh)",
    ),
    "SELECT 1 AS a": (
        "column b of sales.shapes cannot be dropped, since the table is partitioned by it",
        "write the table anew as a whole once (dbt: --full-refresh)",
    ),
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_would_lose_values_of_rows_that_stay_is_refused(
    catalog: Catalog, connection: Connection, query: str
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a, 1 AS b", layout("b"))
    before = catalog.load_table(T)
    columns = describe(connection, query)
    with pytest.raises(IcebergError) as caught:
        rewrite(catalog, T, connection, lambda _: Rows(added=query, columns=columns))
    assert (str(caught.value), caught.value.help) == REFUSED[query]
    assert catalog.load_table(T) == before


def test_a_column_that_rows_are_sorted_by_can_be_dropped(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a, 1 AS b", layout(sort_by=("b", "a")))
    columns = describe(connection, "SELECT 1 AS a")
    done = rewrite(catalog, T, connection, lambda _: Rows("SELECT 2 AS a", columns=columns))
    assert [field.source_id for field in done.table.sort_order().fields] == [1]
    append(catalog, T, connection, "SELECT 3 AS a")
    assert sorted(connection.execute(scan_sql(catalog.load_table(T))).fetchall()) == [
        (1,),
        (2,),
        (3,),
    ]


def test_a_column_renamed_elsewhere_keeps_its_type(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT 1::HUGEINT AS a, '{}'::JSON AS b")
    with catalog.load_table(T).update_schema() as update:
        update.rename_column("a", "c")
    found = connection.sql(scan_sql(catalog.load_table(T)))
    assert (found.columns, list(map(str, found.types))) == (["c", "b"], ["HUGEINT", "JSON"])
    append(catalog, T, connection, "SELECT 2::HUGEINT AS c")
    assert len(connection.sql(scan_sql(catalog.load_table(T))).fetchall()) == 2


def test_comments_docs_and_properties_stay_unless_told(
    catalog: Catalog, connection: Connection
) -> None:
    told = Layout(properties={"write.target-file-size-bytes": "1000"}, comment="c", docs={"a": "d"})
    replace(catalog, T, connection, "SELECT 1 AS a", told)
    replace(catalog, T, connection, "SELECT 2 AS a")
    table = catalog.load_table(T)
    assert table.schema().find_field("a").doc == "d"
    assert {k: table.properties[k] for k in ("comment", "write.target-file-size-bytes")} == {
        "comment": "c",
        "write.target-file-size-bytes": "1000",
    }
    replace(catalog, T, connection, "SELECT 2 AS a", Layout(comment="", docs={"a": ""}))
    table = catalog.load_table(T)
    assert (table.schema().find_field("a").doc or "", table.properties["comment"]) == ("", "")


def test_required_columns_refuse_nulls(
    catalog: Catalog, connection: Connection, data_files: Callable[[], set[str]]
) -> None:
    with pytest.raises(IcebergError) as caught:
        replace(
            catalog,
            T,
            connection,
            "SELECT CASE WHEN range > 1 THEN 1 END AS a FROM range(4)",
            Layout(required=frozenset({"a"})),
        )
    assert str(caught.value) == "column a may not be null, and is in 2 rows; nothing was written"
    assert (data_files(), catalog.table_exists(T)) == (set(), False)


def test_pruning_by_old_bounds_works_on_promoted_columns(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT range::INTEGER AS a FROM range(10)")
    columns = describe(connection, "SELECT 1::BIGINT AS a")
    query = "SELECT 5000000000 + range AS a FROM range(10)"
    done = rewrite(catalog, T, connection, lambda _: Rows(query, columns=columns))
    assert len(files_of(done.table).data) == 2
    for wanted in ("a >= 5", "a > 9 and a < 5000000001", "a = 9"):
        native = connection.execute(f"SELECT count(*) FROM ({scan_sql(done.table)}) WHERE {wanted}")
        assert native.fetchall() == [(done.table.scan(row_filter=wanted).to_arrow().num_rows,)]


def test_renamed_fields_of_a_struct_are_left_to_the_extension(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT {'x': 1, 'y': 'a'} AS s, 7 AS a")
    with catalog.load_table(T).update_schema() as update:
        update.rename_column(("s", "x"), "z")
    table = catalog.load_table(T)
    assert not files_of(table).is_plain
    assert "iceberg_scan(" in scan_sql(table)


def test_fields_that_were_added_to_a_struct_elsewhere_are_read(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    replace(catalog, T, connection, "SELECT {'x': 1, 'y': 'a'} AS s, 7 AS a")
    with catalog.load_table(T).update_schema() as update:
        update.add_column(("s", "n"), catalog.load_table(T).schema().find_field("a").field_type)
    assert read(T) == [({"x": 1, "y": "a", "n": None}, 7)]
    append(catalog, T, connection, "SELECT {'x': 2, 'y': 'b', 'n': 3} AS s, 8 AS a")
    assert len(read(T)) == 2
    rewrite(catalog, T, connection, lambda _: Rows(matched="t.a = 8"))
    assert read(T) == [({"x": 1, "y": "a", "n": None}, 7)]


def test_nested_columns_have_no_order(catalog: Catalog, connection: Connection) -> None:
    with pytest.raises(IcebergError) as caught:
        replace(catalog, T, connection, "SELECT [1] AS a", layout(sort_by=("a",)))
    assert str(caught.value) == (
        "sort_by names the column a, which is nested and has no order in Iceberg"
    )
