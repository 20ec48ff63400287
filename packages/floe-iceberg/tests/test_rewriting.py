"""Rows that come, go and change, against a plain DuckDB table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import (
    Layout,
    Rows,
    append,
    files_of,
    overwrite_partitions,
    parse_partition_by,
    replace,
    rewrite,
    rewriting,
    scan_sql,
)
from floe_iceberg.errors import IcebergError

T = ("sales", "orders")
Connection = duckdb.DuckDBPyConnection
COLUMNS = "id INTEGER, day INTEGER, filename VARCHAR, __row HUGEINT"


class Oracle:
    """Does to an Iceberg table and to a native one what should be the same."""

    def __init__(self, catalog: Catalog, connection: Connection, layout: Layout) -> None:
        self.catalog, self.connection = catalog, connection
        connection.execute(f"CREATE OR REPLACE TABLE native ({COLUMNS})")
        connection.execute(f"CREATE OR REPLACE TABLE news ({COLUMNS})")
        replace(catalog, T, connection, "FROM native", layout)

    def deliver(self, rows: list[tuple[int, int]], stamp: int) -> None:
        self.connection.execute("DELETE FROM news")
        for number, day in rows:
            self.connection.execute(
                "INSERT INTO news VALUES (?, ?, ?, ?)", [number, day, f"n{stamp}", stamp]
            )

    def append(self) -> None:
        append(self.catalog, T, self.connection, "FROM news")
        self.connection.execute("INSERT INTO native FROM news")

    def delete_insert(self) -> None:
        keys = "t.id IN (SELECT id FROM news)"
        self._rewrite(Rows(added="FROM news", matched=keys))
        self.connection.execute("DELETE FROM native AS t WHERE " + keys)
        self.connection.execute("INSERT INTO native FROM news")

    def merge(self) -> None:
        def change(table: str) -> None:
            self.connection.execute(merge.format(table))

        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE last AS SELECT DISTINCT ON (id) * FROM news"
        )
        merge = (
            "MERGE INTO {} AS t USING last AS n ON t.id = n.id "
            "WHEN MATCHED AND n.day = 0 THEN DELETE "
            "WHEN MATCHED THEN UPDATE SET day = n.day, filename = n.filename "
            "WHEN NOT MATCHED THEN INSERT BY NAME"
        )
        self._rewrite(Rows(matched="t.id IN (SELECT id FROM last)", change=change))
        self.connection.execute(merge.format("native"))

    def window(self) -> None:
        days = "t.day BETWEEN 1 AND 2"
        self._rewrite(Rows(added="FROM news WHERE day BETWEEN 1 AND 2", matched=days))
        self.connection.execute("DELETE FROM native AS t WHERE " + days)
        self.connection.execute("INSERT INTO native FROM news WHERE day BETWEEN 1 AND 2")

    def delete(self) -> None:
        keys = "t.id % 3 = (SELECT coalesce(min(id), 0) % 3 FROM news)"
        self._rewrite(Rows(matched=keys))
        self.connection.execute("DELETE FROM native AS t WHERE " + keys)

    def _rewrite(self, rows: Rows) -> None:
        rewrite(self.catalog, T, self.connection, lambda _: rows)

    def check(self, step: int) -> None:
        table = self.catalog.load_table(T)
        native = Counter(self.connection.execute("FROM native").fetchall())
        assert Counter(self.connection.execute(scan_sql(table)).fetchall()) == native
        arrow = table.scan().to_arrow().to_pylist()
        assert Counter((r["id"], r["day"], r["filename"], r["__row"]) for r in arrow) == native
        assert len(table.snapshots()) == step + 1
        check_files(table, sum(native.values()))


def check_files(table: Table, rows: int) -> None:
    files = files_of(table)
    assert files.is_plain
    assert files.rows == rows
    assert all(len(found) == 1 for found in files.deletes.values())
    entries = table.inspect.entries().to_pylist() if table.current_snapshot() else []
    live = [entry["data_file"] for entry in entries if entry["status"] != 2]
    data = {file["file_path"] for file in live if file["content"] == 0}
    deletes = [file for file in live if file["content"] == 1]
    assert data == {file.file_path for file in files.data}
    assert len(deletes) == len(files.deletes)
    summary = table.current_snapshot().summary  # type: ignore[union-attr]
    assert summary is not None
    reality = {
        "total-data-files": len(data),
        "total-delete-files": len(deletes),
        "total-position-deletes": sum(file["record_count"] for file in deletes),
        "total-records": sum(file.record_count for file in files.data),
        "total-files-size": sum(file["file_size_in_bytes"] for file in live),
    }
    assert {name: int(summary[name] or 0) for name in reality} == reality


LAYOUTS = {
    "plain": Layout(),
    "sorted": Layout(sort_by=["-day", "id"]),
    "partitioned": Layout(partition_by=[parse_partition_by("day")]),
    "bucketed": Layout(
        partition_by=[parse_partition_by("bucket(2, id)"), parse_partition_by("truncate(2, day)")],
        sort_by=["id"],
    ),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "delete_insert", "merge", "window", "delete"]),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=6),
    ),
    min_size=3,
    max_size=8,
)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    ("few", "much"), [(0.1, 2**26), (0.5, -1), (1.0, -1)], ids=["rewritten", "mixed", "thinned"]
)
def test_any_sequence_gives_what_a_plain_table_has(
    catalog: Catalog,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    layout: Layout,
    few: float,
    much: int,
) -> None:
    monkeypatch.setattr(rewriting, "_FEW", few)
    monkeypatch.setattr(rewriting, "_MUCH_BYTES", much)
    monkeypatch.setattr(rewriting, "_TIER", 5)

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def check(steps: list[tuple[str, list[tuple[int, int]]]]) -> None:
        if catalog.table_exists(T):
            catalog.drop_table(T)
        oracle = Oracle(catalog, connection, layout)
        for number, (step, rows) in enumerate(steps, start=1):
            oracle.deliver(rows, number)
            getattr(oracle, step)()
            oracle.check(number)

    check()


@pytest.fixture
def thinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_MUCH_BYTES", -1)


def three_files(catalog: Catalog, connection: Connection) -> list[str]:
    replace(catalog, T, connection, "SELECT range AS id FROM range(100)")
    for start in (100, 200):
        append(catalog, T, connection, f"SELECT range + {start} AS id FROM range(100)")
    return sorted(file.file_path for file in files_of(catalog.load_table(T)).data)


@pytest.mark.parametrize("is_thinned", [True, False])
def test_a_clustered_change_touches_only_its_files(
    catalog: Catalog, connection: Connection, monkeypatch: pytest.MonkeyPatch, is_thinned: bool
) -> None:
    before = set(three_files(catalog, connection))
    if is_thinned:
        monkeypatch.setattr(rewriting, "_MUCH_BYTES", -1)
    done = rewrite(catalog, T, connection, lambda _: Rows(matched="t.id BETWEEN 110 AND 114"))
    files = files_of(done.table)
    left = {file.file_path for file in files.data}
    assert len(before - left) == int(not is_thinned)
    assert len(files.deletes) == int(is_thinned)
    assert (done.files_added, done.files_removed) == (1, int(not is_thinned))
    assert files.rows == 295


@pytest.mark.usefixtures("thinning")
def test_deletes_of_a_file_are_merged_until_it_is_written_anew(
    catalog: Catalog,
    connection: Connection,
    read: Callable[..., list[Any]],
) -> None:
    three_files(catalog, connection)
    for number in range(100, 110):
        done = rewrite(catalog, T, connection, lambda _: Rows(matched=f"t.id = {number}"))  # noqa: B023
        files = files_of(done.table)
        assert [len(found) for found in files.deletes.values()] == [1]
        assert files.deleted_rows == number - 99
    done = rewrite(catalog, T, connection, lambda _: Rows(matched="t.id = 110"))
    assert files_of(done.table).deletes == {}
    assert len(read(T)) == 289
    replace(catalog, T, connection, "SELECT 1 AS id")
    assert read(T) == [(1,)]


@pytest.mark.usefixtures("thinning")
def test_delete_files_go_when_the_table_is_replaced(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    three_files(catalog, connection)
    rewrite(catalog, T, connection, lambda _: Rows(matched="t.id IN (5, 105)"))
    table = catalog.load_table(T)
    thinned = table.metadata.current_snapshot_id
    assert len(files_of(table).deletes) == 2
    done = replace(catalog, T, connection, "SELECT 7 AS id")
    assert (done.files_added, done.files_removed) == (1, 5)
    check_files(done.table, 1)
    assert len(read(T, snapshot_id=thinned)) == 298


def test_a_change_that_fails_leaves_nothing(
    catalog: Catalog, connection: Connection, data_files: Callable[[], set[str]]
) -> None:
    three_files(catalog, connection)
    before = catalog.load_table(T), data_files()

    def change(table: str) -> None:
        connection.execute(f"UPDATE {table} SET id = error('no')")

    for rows in (Rows(matched="t.id = 5", change=change), Rows(matched="t.nothing = 5")):
        with pytest.raises(duckdb.Error):
            rewrite(catalog, T, connection, lambda _, rows=rows: rows)
    assert (catalog.load_table(T), data_files()) == before
    tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert tables == []


def test_files_without_field_ids_are_not_changed_row_by_row(
    catalog: Catalog, connection: Connection, tmp_path: Path
) -> None:
    replace(catalog, T, connection, "SELECT 1::BIGINT AS id")
    connection.execute(f"COPY (SELECT 2::BIGINT AS id) TO '{tmp_path}/foreign.parquet'")
    catalog.load_table(T).add_files([f"{tmp_path.as_uri()}/foreign.parquet"])
    with pytest.raises(IcebergError) as caught:
        rewrite(catalog, T, connection, lambda _: Rows(matched="t.id = 2"))
    assert str(caught.value) == (
        "sales.orders has files that another engine wrote or deleted rows of, and cannot be "
        "changed row by row"
    )
    append(catalog, T, connection, "SELECT 3 AS id")
    assert sorted(catalog.load_table(T).scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]


@pytest.mark.usefixtures("thinning")
def test_files_of_an_earlier_partition_spec_are_thinned(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    three_files(catalog, connection)
    with catalog.load_table(T).update_spec() as update:
        update.add_identity("id")
    append(catalog, T, connection, "SELECT 5 AS id")
    done = rewrite(catalog, T, connection, lambda _: Rows(matched="t.id IN (5, 105)"))
    assert len(files_of(done.table).deletes) == 2
    assert len(read(T)) == 298


def test_overwriting_without_partitions_replaces_all(
    catalog: Catalog, connection: Connection, read: Callable[..., list[Any]]
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS id")
    overwrite_partitions(catalog, T, connection, "SELECT 2 AS id")
    assert read(T) == [(2,)]
    overwrite_partitions(catalog, T, connection, "SELECT 2 AS id WHERE false")
    assert read(T) == []


def test_overwritten_partitions_are_sorted(catalog: Catalog, connection: Connection) -> None:
    layout = Layout(partition_by=[parse_partition_by("day")], sort_by=["-id"])
    query = "SELECT range AS id, range % 2 AS day FROM range(10)"
    replace(catalog, T, connection, query, layout)
    overwrite_partitions(catalog, T, connection, query)
    for file in files_of(catalog.load_table(T)).data:
        found = connection.execute(f"SELECT id FROM '{file.file_path[7:]}'").fetchall()
        assert found == sorted(found, reverse=True)


def test_a_null_may_not_reach_a_column_that_another_engine_requires(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS id, 2 AS n")
    with catalog.load_table(T).update_schema(allow_incompatible_changes=True) as update:
        update.make_column_optional("n")
        update._updates[1] = update._schema.find_field(1).model_copy(update={"required": True})
    with pytest.raises(IcebergError) as caught:
        append(catalog, T, connection, "SELECT 3 AS n")
    assert str(caught.value) == "column id may not be null, and is in 1 row; nothing was written"
