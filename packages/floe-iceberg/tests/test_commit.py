"""Commits of several processes at once lose and double nothing, and leave nothing behind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
)
from pyiceberg.table import Table

from floe_iceberg import Layout, Rows, append, draft, files_of, replace, rewrite, scan_sql, table
from floe_iceberg.errors import CommitConflictError, CommitUnknownError
from floe_iceberg.scan import column_types
from floe_iceberg.shape import creation
from floe_iceberg.types import parse_types

T = ("sales", "counter")
FEW, MANY = 4, pytest.param(20, marks=pytest.mark.integration)


def open_catalog(folder: Path) -> Catalog:
    return load_catalog(
        "lake", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri()
    )


WRITER = """
import sys
import duckdb
from pyiceberg.catalog import load_catalog
from floe_iceberg import Rows, append, replace, rewrite
folder, kind, number, commits = sys.argv[1:]
catalog = load_catalog("lake", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
connection, name = duckdb.connect(), ("sales", "counter")
plan = Rows(matched="true", change=lambda rows: connection.execute(f"UPDATE {rows} SET n = n + 1"))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(commits)):
    query = f"SELECT {number} AS writer, {turn} AS n"
    if kind == "append":
        append(catalog, name, connection, query)
    elif kind == "replace":
        replace(catalog, name, connection, query)
    elif kind == "count":
        rewrite(catalog, name, connection, lambda _: plan)
    else:
        replace(catalog, ("sales", f"own_{number}"), connection, query)
"""


@pytest.fixture
def writers(tmp_path: Path, catalog: Catalog) -> Callable[[str, int], None]:
    """Runs three processes that commit at the same time."""

    def run(kind: str, commits: int) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), kind, str(number), str(commits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.communicate()
        assert [process.returncode for process in processes] == [0, 0, 0]

    return run


def referenced(table: Table) -> tuple[set[str], set[str]]:
    """Names of the data files, and of the manifests and lists, that any snapshot has."""
    data, metadata = set(), set()
    for snapshot in table.snapshots():
        metadata.add(Path(snapshot.manifest_list).name)
        for manifest in snapshot.manifests(table.io):
            metadata.add(Path(manifest.manifest_path).name)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                data.add(Path(entry.data_file.file_path).name)
    return data, metadata


def on_disk(folder: Path, pattern: str) -> set[str]:
    return {path.name for path in folder.rglob(pattern)}


@pytest.mark.parametrize("kind", ["append", "replace", "count"])
@pytest.mark.parametrize("commits", [FEW, MANY])
def test_writers_of_one_table_lose_and_double_nothing(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    writers: Callable[[str, int], None],
    tmp_path: Path,
    kind: str,
    commits: int,
) -> None:
    replace(catalog, T, connection, "SELECT -1 AS writer, 0 AS n")
    writers(kind, commits)
    table = catalog.load_table(T)
    rows = Counter(connection.execute(scan_sql(table)).fetchall())
    every = Counter((writer, n) for writer in range(3) for n in range(commits))
    match kind:
        case "append":
            assert rows == every + Counter([(-1, 0)])
        case "replace":
            assert len(rows) == 1
            assert next(iter(rows))[1] == commits - 1
        case "count":
            assert rows == Counter([(-1, 3 * commits)])
    assert len(table.snapshots()) == 3 * commits + 1
    assert table.scan().to_arrow().num_rows == rows.total()
    assert (on_disk(tmp_path, "*.parquet"), on_disk(tmp_path, "*.avro")) == referenced(table)


@pytest.mark.parametrize("commits", [FEW, MANY])
def test_writers_of_different_tables_all_succeed(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    writers: Callable[[str, int], None],
    commits: int,
) -> None:
    writers("other tables", commits)
    for number in range(3):
        table = catalog.load_table(("sales", f"own_{number}"))
        assert connection.execute(scan_sql(table)).fetchall() == [(number, commits - 1)]
        assert len(table.snapshots()) == commits


def test_the_first_of_two_creators_wins_and_the_other_writes_after_it(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    create = table.creation

    def beaten(*arguments: Any) -> Any:
        transaction = create(*arguments)
        monkeypatch.setattr(table, "creation", create)
        replace(catalog, T, connection, "SELECT 1 AS n")
        return transaction

    monkeypatch.setattr(table, "creation", beaten)
    done = replace(catalog, T, connection, "SELECT 2 AS n")
    assert done.attempts == 2
    assert connection.execute(scan_sql(done.table)).fetchall() == [(2,)]
    assert (on_disk(tmp_path, "*.parquet"), on_disk(tmp_path, "*.avro")) == referenced(done.table)


def test_a_locked_catalog_is_waited_for(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    with closing(sqlite3.connect(tmp_path / "catalog.db", check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(6.5, other.rollback)  # longer than SQLite itself waits
        release.start()
        append(catalog, T, connection, "SELECT 2 AS n")
        release.join()
    found = connection.execute(scan_sql(catalog.load_table(T))).fetchall()
    assert sorted(found) == [(1,), (2,)]
    assert on_disk(tmp_path, "*.parquet") == referenced(catalog.load_table(T))[0]


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> Callable[..., None]:
    """Lets the catalog raise a problem, before it commits or after it."""
    real = type(catalog).commit_table

    def fail(problem: BaseException, *, lands: bool, times: int = 1) -> None:
        left = times

        def commit_table(self: Catalog, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                return real(self, *arguments)
            if lands:
                real(self, *arguments)
            raise type(problem)(*problem.args)  # one that is raised again is its own context

        monkeypatch.setattr(type(catalog), "commit_table", commit_table)

    return fail


def test_somebody_who_is_always_faster_is_named(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    monkeypatch.setattr(table, "_LONGEST_WAIT_SECONDS", 0.01)
    commit(CommitFailedException("no"), lands=False, times=100)
    with pytest.raises(CommitConflictError) as caught:
        append(catalog, T, connection, "SELECT 2 AS n")
    assert str(caught.value) == (
        "sales.counter was changed by somebody else each of the 20 times that a commit was tried; "
        "nothing was written"
    )
    assert (on_disk(tmp_path, "*.parquet"), on_disk(tmp_path, "*.avro")) == referenced(
        catalog.load_table(T)
    )


@pytest.mark.parametrize("refusal", [ForbiddenError("no"), BadRequestError("no")])
def test_a_refusal_is_known_to_have_failed(
    refusal: Exception,
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    monkeypatch.setattr(draft, "_is_of_this_machine", lambda *_: False)
    commit(refusal, lands=False)
    with pytest.raises(type(refusal)):
        append(catalog, T, connection, "SELECT 2 AS n")
    assert (on_disk(tmp_path, "*.parquet"), on_disk(tmp_path, "*.avro")) == referenced(
        catalog.load_table(T)
    )


def test_a_table_is_created_with_one_change_of_each_kind(catalog: Catalog) -> None:
    columns = parse_types({"a": "HUGEINT", "b": "JSON"})
    layout = Layout(comment="A table", docs={"a": "A column"})
    transaction = creation(catalog, T, columns, layout)
    kinds = Counter(update.action for update in transaction._updates)
    assert {kind for kind, count in kinds.items() if count > 1} == set()
    made = transaction.commit_transaction()
    assert made.schema().find_field("a").doc == "A column"
    assert column_types(made.properties, made.schema()) == {"a": "HUGEINT", "b": "JSON"}


PROBLEMS = [CommitStateUnknownException("?"), RuntimeError("connection closed"), ConnectionError()]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
@pytest.mark.parametrize("write", [append, replace])
def test_a_commit_that_landed_without_an_answer_counts_as_done(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    commit: Callable[..., None],
    problem: Exception,
    write: Any,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    commit(problem, lands=True)
    done = write(catalog, T, connection, "SELECT 2 AS n")
    assert done.attempts == 1
    assert (2,) in connection.execute(scan_sql(catalog.load_table(T))).fetchall()
    assert len(catalog.load_table(T).snapshots()) == 2


def test_files_stay_while_nobody_knows(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    load, loads = catalog.load_table, []

    def gone(name: Any) -> Table:
        loads.append(name)
        if len(loads) > 1:
            raise ConnectionError("no route")
        return load(name)

    monkeypatch.setattr(catalog, "load_table", gone)
    commit(CommitStateUnknownException("502"), lands=False)
    with pytest.raises(CommitUnknownError) as caught:
        append(catalog, T, connection, "SELECT 2 AS n")
    assert (
        str(caught.value) == "the catalog does not say whether the commit to sales.counter landed"
    )
    assert len(on_disk(tmp_path, "*.parquet")) == 2
    assert len(files_of(load(T)).data) == 1


@pytest.mark.parametrize("lands", [True, False])
def test_ctrl_c_while_the_catalog_is_asked_keeps_the_files(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    commit: Callable[..., None],
    lands: bool,
) -> None:
    replace(catalog, T, connection, "SELECT 1 AS n")
    commit(KeyboardInterrupt(), lands=lands)
    with pytest.raises(KeyboardInterrupt):
        append(catalog, T, connection, "SELECT 2 AS n")
    found = sorted(connection.execute(scan_sql(catalog.load_table(T))).fetchall())
    assert found == ([(1,), (2,)] if lands else [(1,)])


def bounded(catalog: Catalog, folder: Path) -> dict[str, int]:
    table = catalog.load_table(T)
    metadata = [p for p in folder.rglob("metadata/*") if p.is_file()]
    return {
        "snapshots": len(table.snapshots()),
        "manifests": len(on_disk(folder, "*-m*.avro")),
        "lists": len(on_disk(folder, "snap-*.avro")),
        "metadata files": len(on_disk(folder, "*.metadata.json")),
        "data files": len(on_disk(folder, "*.parquet")),
        "metadata bytes": sum(path.stat().st_size for path in metadata),
    }


BOUNDS = {
    "snapshots": 6,
    "manifests": 60,
    "lists": 6,
    "metadata files": 7,
    "data files": 60,
    "metadata bytes": 600_000,
}


@pytest.mark.parametrize(
    ("kind", "commits"),
    [
        ("append", 60),
        pytest.param("append", 1000, marks=pytest.mark.integration),
        pytest.param("merge", 1000, marks=pytest.mark.integration),
    ],
)
def test_commits_do_not_pile_up(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    kind: str,
    commits: int,
) -> None:
    old = Layout(properties={"history.expire.max-snapshot-age-ms": "0"})
    replace(catalog, T, connection, "SELECT 0 AS n, 'x' AS v", old)
    half: dict[str, int] = {}
    started = time.monotonic()
    for turn in range(1, commits + 1):
        row = f"SELECT {turn if kind == 'append' else turn % 50} AS n, 'x{turn}' AS v"
        if kind == "append":
            append(catalog, T, connection, row)
        else:
            rows = Rows(added=row, matched=f"t.n = {turn % 50}")
            rewrite(catalog, T, connection, lambda _, rows=rows: rows)
        if turn in {100, 500, 1000}:
            print(kind, turn, f"{(time.monotonic() - started) / turn * 1000:.0f} ms a commit")
        if turn == commits // 2:
            half = bounded(catalog, tmp_path)
    full = bounded(catalog, tmp_path)
    print(kind, half, full)
    for name, most in BOUNDS.items():
        assert half[name] <= most, name
        assert full[name] <= most, name
    rows_left = len(connection.execute(scan_sql(catalog.load_table(T))).fetchall())
    assert rows_left == (commits + 1 if kind == "append" else 50)
    assert on_disk(tmp_path, "*.parquet") == referenced(catalog.load_table(T))[0]
