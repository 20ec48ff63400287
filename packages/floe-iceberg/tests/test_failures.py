"""Disks that are full, folders that cannot be written to, metadata that is broken."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from floe_iceberg import Layout, Rows, append, parse_partition_by, replace, rewrite, scan_sql, table
from floe_iceberg.errors import TableGoneError, WriteError

T = ("sales", "broken")
Connection = duckdb.DuckDBPyConnection


def content(catalog: Catalog, connection: Connection) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(scan_sql(catalog.load_table(T))).fetchall())


def break_metadata(catalog: Catalog, how: str) -> None:
    found = catalog.load_table(T)
    snapshot = found.current_snapshot()
    assert snapshot is not None
    files = {
        "metadata": found.metadata_location,
        "list": snapshot.manifest_list,
        "manifest": snapshot.manifests(found.io)[0].manifest_path,
    }
    kind, _, what = how.partition(" ")
    path = Path(files[what].removeprefix("file://"))
    match kind:
        case "deleted":
            path.unlink()
        case "empty":
            path.write_bytes(b"{}")
        case "cut":
            path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    "how",
    [
        "deleted metadata",
        "empty metadata",
        "cut metadata",
        "deleted list",
        "cut list",
        "deleted manifest",
        "empty manifest",
    ],
)
@pytest.mark.parametrize("write", [append, replace])
def test_broken_metadata_names_the_table_and_changes_nothing(
    catalog: Catalog,
    connection: Connection,
    data_files: Callable[[], set[str]],
    how: str,
    write: Any,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")
    before = data_files()
    break_metadata(catalog, how)
    with pytest.raises(TableGoneError) as caught:
        write(catalog, T, connection, "SELECT 2 AS a")
    assert str(caught.value).startswith("the metadata of sales.broken cannot be read: ")
    assert str(caught.value).endswith("; nothing was changed")
    assert data_files() == before


def test_a_table_that_is_not_there_is_named(catalog: Catalog, connection: Connection) -> None:
    with pytest.raises(TableGoneError) as caught:
        append(catalog, T, connection, "SELECT 1 AS a")
    assert str(caught.value) == "there is no table sales.broken"


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_table_dropped_while_it_is_written_to(
    catalog: Catalog,
    connection: Connection,
    data_files: Callable[[], set[str]],
    is_made_again: bool,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")

    def plan(_: Any) -> Rows:
        if catalog.table_exists(T) and not is_dropped:
            is_dropped.append(True)
            catalog.drop_table(T)
            if is_made_again:
                replace(catalog, T, connection, "SELECT 5 AS a")
        return Rows(added="SELECT 2 AS a")

    is_dropped: list[bool] = []
    if is_made_again:
        rewrite(catalog, T, connection, plan)
        assert content(catalog, connection) == [(2,), (5,)]
        assert len(data_files()) == 3
    else:
        with pytest.raises(TableGoneError) as caught:
            rewrite(catalog, T, connection, plan)
        assert str(caught.value) == (
            "sales.broken was dropped while it was written to; nothing was written"
        )
        assert len(data_files()) == 1


def test_a_schema_changed_while_the_table_is_written_to(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")
    turns = []

    def plan(_: Any) -> Rows:
        turns.append(1)
        if len(turns) == 1:
            replace(catalog, T, connection, "SELECT 'x' AS a, 2 AS b")
        return Rows(added="SELECT 3 AS a")

    done = rewrite(catalog, T, connection, plan)
    assert done.attempts == 2
    assert content(catalog, connection) == [("3", None), ("x", 2)]


def test_a_folder_that_cannot_be_made_is_named(
    catalog: Catalog, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "sales").write_text("a file where the folder should be")
    with pytest.raises(WriteError) as caught:
        replace(catalog, T, connection, "SELECT 1 AS a")
    assert str(caught.value) == (
        "sales.broken could not be written: Not a directory; the table is as it was"
    )
    assert not catalog.table_exists(T)


def test_metadata_that_cannot_be_written_leaves_nothing(
    catalog: Catalog,
    connection: Connection,
    data_files: Callable[[], set[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")
    before = data_files()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(catalog), "_write_metadata", staticmethod(full))
    for write in (append, replace):
        with pytest.raises(WriteError) as caught:
            write(catalog, T, connection, "SELECT 2 AS a")
        assert str(caught.value) == (
            "sales.broken could not be written: No space left on device; the table is as it was"
        )
    monkeypatch.undo()
    assert (data_files(), content(catalog, connection)) == (before, [(1,)])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(["mount", *options], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "layout", [Layout(), Layout([parse_partition_by("bucket(4, a)")])], ids=["plain", "partitioned"]
)
def test_a_full_disk_loses_nothing(
    small_disk: Path, tmp_path: Path, connection: Connection, layout: Layout
) -> None:
    catalog = load_catalog(
        "lake", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=small_disk.as_uri()
    )
    replace(catalog, T, connection, "SELECT 1 AS a, uuid() AS b", layout)
    before = sorted(small_disk.rglob("*.*"))
    large = "SELECT range AS a, uuid() AS b FROM range(1000000)"
    for write in (append, lambda *a: replace(*a, layout)):
        with pytest.raises(WriteError) as caught:
            write(catalog, T, connection, large)
        assert str(caught.value).startswith("sales.broken could not be written: ")
        assert "space" in str(caught.value)
        assert sorted(small_disk.rglob("*.*")) == before
    append(catalog, T, connection, "SELECT 2 AS a, uuid() AS b")
    assert [row[0] for row in content(catalog, connection)] == [1, 2]
    catalog.close()


def test_temporary_tables_are_gone_within_a_transaction_that_failed(
    catalog: Catalog, connection: Connection
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS a")
    connection.execute("BEGIN")
    with pytest.raises(duckdb.Error, match="no column"):
        rewrite(
            catalog,
            T,
            connection,
            lambda _: Rows(matched="t.a = 1", change=lambda rows: fail(connection, rows)),
        )
    connection.execute("ROLLBACK")
    assert table.load(catalog, T) is not None
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def fail(connection: Connection, rows: str) -> None:
    connection.execute(f"UPDATE {rows} SET a = error('no column')")
