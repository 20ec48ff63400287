"""Tables that are kept small, and that lose nothing by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from floe_iceberg import (
    Layout,
    Rows,
    append,
    commit,
    files_of,
    parse_partition_by,
    replace,
    rewrite,
    rewriting,
)
from floe_iceberg.errors import IcebergError, TableGoneError
from floe_iceberg.maintenance import (
    Amount,
    Report,
    compact,
    expire_snapshots,
    expiry,
    remove_orphan_files,
    set_retention,
)

ORDERS = ("sales", "orders")
NOTHING = timedelta(0)


def arrow_rows(table: Table, snapshot_id: int | None = None) -> Counter[tuple[Any, ...]]:
    scan = table.scan(snapshot_id=snapshot_id)
    return Counter(tuple(row.values()) for row in scan.to_arrow().to_pylist())


def folder_of(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"))


def stored(table: Table) -> set[Path]:
    return {path for path in folder_of(table).rglob("*") if path.is_file()}


def age(path: Path, by: timedelta = timedelta(days=10)) -> Path:
    then = time.time() - by.total_seconds()
    os.utime(path, (then, then))
    return path


def kinds(report: Report) -> dict[str, int]:
    return {kind: amount.files for kind, amount in report.removed_by_kind.items()}


@contextmanager
def deleting_in_place() -> Iterator[None]:
    """Delete rows in place however small a table is."""
    known = rewriting._MUCH_BYTES, rewriting._FEW
    rewriting._MUCH_BYTES, rewriting._FEW = 0, 1.0  # type: ignore[misc]
    try:
        yield
    finally:
        rewriting._MUCH_BYTES, rewriting._FEW = known  # type: ignore[misc]


@pytest.fixture
def orders(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> Table:
    for number in range(4):
        replace(catalog, ORDERS, connection, f"SELECT range AS id FROM range({number + 1})")
    return catalog.load_table(ORDERS)


def test_old_snapshots_leave_with_the_files_that_only_they_need(
    catalog: Catalog, orders: Table
) -> None:
    before = stored(orders)
    report = expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1)
    table = catalog.load_table(ORDERS)
    assert [leaving.snapshot_id for leaving in report.snapshots] == [
        snapshot.snapshot_id for snapshot in orders.snapshots()[:3]
    ]
    assert len(table.snapshots()) == 1
    assert kinds(report)["data"] == 3
    assert kinds(report)["manifest list"] == 3
    removed = {Path(file.path.removeprefix("file://")) for file in report.removed}
    assert removed <= before
    assert removed.isdisjoint(stored(table))
    assert report.failed == ()
    assert all(file.bytes > 0 for file in report.removed)
    assert arrow_rows(table) == Counter((number,) for number in range(4))


def test_expiry_keeps_what_the_properties_of_the_table_say(catalog: Catalog, orders: Table) -> None:
    assert expire_snapshots(catalog, ORDERS).is_empty
    with orders.transaction() as transaction:
        transaction.set_properties({"history.expire.max-snapshot-age-ms": "1"})
    assert expire_snapshots(catalog, ORDERS).is_empty  # the last 5 stay
    report = expire_snapshots(catalog, ORDERS, keep_last=2)
    assert len(report.snapshots) == 2
    assert {kept.why for kept in report.kept} == {"branch main", "one of the last 2 of main"}


def test_expiry_keeps_what_branches_and_tags_point_to(catalog: Catalog, orders: Table) -> None:
    first, second, third, last = (snapshot.snapshot_id for snapshot in orders.snapshots())
    orders.manage_snapshots().create_tag(first, "v1").create_branch(second, "dev").create_tag(
        third, "brief", max_ref_age_ms=1
    ).commit()
    time.sleep(0.01)
    report = expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1)
    assert report.refs == ("brief",)
    assert [leaving.snapshot_id for leaving in report.snapshots] == [third]
    assert {kept.name: kept.why for kept in report.kept} == {
        str(first): "tag v1",
        str(second): "branch dev",
        str(last): "branch main",
    }
    table = catalog.load_table(ORDERS)
    assert arrow_rows(table, first) == Counter([(0,)])
    assert arrow_rows(table, second) == Counter([(0,), (1,)])
    assert set(table.metadata.refs) == {"main", "v1", "dev"}


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_snapshot_stays_that_is_tagged_while_it_is_to_leave(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    orders: Table,
    monkeypatch: pytest.MonkeyPatch,
    is_asked_for: bool,
) -> None:
    first = orders.snapshots()[0].snapshot_id
    places: list[tuple[Any, str]] = [(expiry, "unreferenced"), (commit, "expired")]
    module, name = places[0 if is_asked_for else 1]
    plan, tags = getattr(module, name), ["v1"]

    def plan_and_tag(*arguments: Any) -> Any:
        found = plan(*arguments)
        if tags:
            table = catalog.load_table(ORDERS)
            table.manage_snapshots().create_tag(first, tags.pop()).commit()
        return found

    monkeypatch.setattr(module, name, plan_and_tag)
    if is_asked_for:
        expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1)
    else:
        set_retention(catalog, ORDERS, older_than=NOTHING, keep_last=1)
        append(catalog, ORDERS, connection, "SELECT 9 AS id")
    table = catalog.load_table(ORDERS)
    assert "v1" in table.metadata.refs
    assert arrow_rows(table, first) == Counter([(0,)])


@pytest.mark.parametrize(
    "maintain",
    [
        lambda catalog, dry_run: expire_snapshots(
            catalog, ORDERS, older_than=NOTHING, keep_last=1, dry_run=dry_run
        ),
        lambda catalog, dry_run: remove_orphan_files(catalog, ORDERS, dry_run=dry_run),
        lambda catalog, dry_run: compact(catalog, ORDERS, duckdb.connect(), dry_run=dry_run),
    ],
    ids=["expire", "orphans", "compact"],
)
def test_a_dry_run_says_what_a_run_does(
    maintain: Callable[[Catalog, bool], Report],
    catalog: Catalog,
    orders: Table,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    append(catalog, ORDERS, connection, "SELECT 7 AS id")
    left = folder_of(orders) / "data" / "left.parquet"
    left.touch()
    age(left)
    before = stored(orders)
    planned = maintain(catalog, True)
    assert stored(orders) == before
    assert not planned.is_empty
    assert planned.is_dry_run
    done = maintain(catalog, False)
    assert stored(orders) != before
    assert changed(done, is_dry_run=True, written=(), snapshot_id=None) == planned
    assert maintain(catalog, False).is_empty


def test_a_report_is_json(catalog: Catalog, orders: Table) -> None:
    report = expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1, dry_run=True)
    document = json.loads(json.dumps(report.to_dict()))
    assert document["table"] == "sales.orders"
    assert document["removed_by_kind"]["data"]["files"] == 3
    assert document["snapshots"][0]["snapshot_id"] == orders.snapshots()[0].snapshot_id


def test_files_that_others_may_need_stay(catalog: Catalog, orders: Table) -> None:
    with orders.transaction() as transaction:
        transaction.set_properties({"gc.enabled": "false"})
    for refused in (expire_snapshots, remove_orphan_files):
        with pytest.raises(IcebergError, match=r"gc\.enabled of sales\.orders is false"):
            refused(catalog, ORDERS)


def test_orphans_leave_when_they_are_old_enough(catalog: Catalog, orders: Table) -> None:
    data = folder_of(orders) / "data"
    old, young, hidden = data / "old.parquet", data / "young.parquet", data / "_SUCCESS"
    for path in (old, young, hidden):
        path.write_bytes(b"12345")
    age(old), age(hidden)
    empty = data / "region=north"
    (empty / "deeper").mkdir(parents=True)
    age(empty / "deeper"), age(empty)
    before = stored(orders)
    report = remove_orphan_files(catalog, ORDERS)
    assert [Path(file.path).name for file in report.removed] == ["old.parquet"]
    assert report.removed_by_kind == {"data": Amount(1, 5)}
    assert {Path(kept.name).name: kept.why for kept in report.kept} == {
        "_SUCCESS": "hidden, so not the table's own",
        "young.parquet": "younger than 3 days, 0:00:00",
    }
    assert before - stored(orders) == {old}
    assert not empty.exists()
    assert data.exists()


def test_only_what_nobody_needs_is_an_orphan(catalog: Catalog, orders: Table) -> None:
    for path in folder_of(orders).rglob("*"):
        age(path)
    assert remove_orphan_files(catalog, ORDERS).is_empty
    for snapshot in orders.snapshots():
        assert arrow_rows(orders, snapshot.snapshot_id)


def test_what_a_killed_first_write_leaves_is_found(
    catalog: Catalog, orders: Table, connection: duckdb.DuckDBPyConnection
) -> None:
    beside = folder_of(orders).parent
    begun = beside / "orders-0123abcd"
    finished = beside / "orders-0123abce"
    (begun / "data").mkdir(parents=True)
    (finished / "metadata").mkdir(parents=True)
    (begun / "data" / "part.parquet").touch()
    (finished / "metadata" / "00000-x.metadata.json").write_text("{}")
    replace(catalog, ("sales", "orders-0123abcf"), connection, "SELECT 1 AS id")
    other = catalog.load_table(("sales", "orders-0123abcf"))
    for path in (*beside.rglob("*"), begun):
        age(path)
    report = remove_orphan_files(catalog, ORDERS)
    assert [Path(file.path).name for file in report.removed] == ["part.parquet"]
    assert not begun.exists()
    assert [(kept.what, Path(kept.name).name) for kept in report.kept] == [
        ("folder", "orders-0123abce")
    ]
    assert arrow_rows(other) == Counter([(1,)])


KILLED = """
import os, signal, sys
import duckdb
from pyiceberg.catalog import load_catalog
from floe_iceberg import draft, replace

folder = sys.argv[1]
catalog = load_catalog(
    "lake", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
)
draft.Draft.commit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
replace(catalog, ("sales", "orders"), duckdb.connect(), "SELECT 1 AS id")
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_writer_leaves_that_is_killed_before_its_commit_is_removed(
    is_first: bool, catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    if not is_first:
        replace(catalog, ORDERS, connection, "SELECT 2 AS id")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    if is_first:
        replace(catalog, ORDERS, connection, "SELECT 2 AS id")
    table = catalog.load_table(ORDERS)
    beside = folder_of(table).parent
    assert remove_orphan_files(catalog, ORDERS).is_empty  # it may be at work still
    report = remove_orphan_files(catalog, ORDERS, older_than=NOTHING)
    assert kinds(report) == {"data": 1}
    assert [path for path in beside.iterdir() if path.is_dir()] == [folder_of(table)]
    assert len(list(beside.rglob("*.parquet"))) == 1
    assert arrow_rows(table) == Counter([(2,)])


def test_a_location_that_two_tables_share_is_left_alone(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    schema = connection.sql("SELECT 1 AS id").to_arrow_table().schema
    catalog.create_namespace("sales")
    catalog.create_table(ORDERS, schema)
    catalog.rename_table(ORDERS, ("sales", "old_orders"))
    catalog.create_table(ORDERS, schema)  # PyIceberg gives it the same folder
    with pytest.raises(IcebergError, match=r"sales\.old_orders lives below the location of"):
        remove_orphan_files(catalog, ORDERS, older_than=NOTHING)


def test_orphans_stay_while_another_table_cannot_be_read(
    catalog: Catalog, orders: Table, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ("sales", "broken"), connection, "SELECT 1 AS id")
    broken = catalog.load_table(("sales", "broken"))
    Path(broken.metadata_location.removeprefix("file://")).unlink()
    with pytest.raises(TableGoneError, match=r"files of sales\.broken lie among"):
        remove_orphan_files(catalog, ORDERS)


@pytest.mark.parametrize(
    "maintain",
    [partial(expire_snapshots, keep_last=1), remove_orphan_files],
    ids=["expire", "orphans"],
)
def test_nothing_is_removed_while_a_snapshot_cannot_be_read(
    maintain: Callable[..., Report], catalog: Catalog, orders: Table
) -> None:
    current = orders.current_snapshot()
    assert current is not None
    Path(current.manifests(orders.io)[0].manifest_path.removeprefix("file://")).unlink()
    before = stored(orders)
    with pytest.raises(IcebergError, match=r"nobody can say what sales\.orders needs"):
        maintain(catalog, ORDERS, older_than=NOTHING)
    assert stored(orders) == before


def test_small_files_become_one_in_the_sort_order_and_the_rows_stay(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(sort_by=["-id"])
    replace(catalog, ORDERS, connection, "SELECT range AS id FROM range(10)", layout)
    for number in range(1, 4):
        append(catalog, ORDERS, connection, f"SELECT range + {10 * number} AS id FROM range(10)")
    before = catalog.load_table(ORDERS)
    report = compact(catalog, ORDERS, connection)
    table = catalog.load_table(ORDERS)
    assert kinds(report) == {"data": 4}
    assert len(report.written) == len(files_of(table).data) == 1
    assert [row["id"] for row in table.scan().to_arrow().to_pylist()] == list(range(39, -1, -1))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert snapshot.snapshot_id == report.snapshot_id
    assert snapshot.summary is not None
    assert snapshot.summary.operation == Operation.REPLACE
    assert snapshot.summary["total-records"] == "40"
    assert len(table.snapshots()) == len(before.snapshots()) + 1


def test_compaction_goes_partition_by_partition_up_to_the_target_size(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(
        partition_by=[parse_partition_by("day(at)"), parse_partition_by("bucket(2, id)")],
        sort_by=["id"],
        properties={
            "write.target-file-size-bytes": "32000",
            "write.parquet.compression-codec": "uncompressed",
        },
    )
    query = (
        "SELECT (hash(range) % 1000000)::BIGINT AS id, "
        "TIMESTAMP '2024-01-01' + INTERVAL (range % 2) DAY AS at FROM range({})"
    )
    replace(catalog, ORDERS, connection, query.format(20_000), layout)  # above half of the target
    large = {file.file_path for file in files_of(catalog.load_table(ORDERS)).data}
    for number in range(5):
        append(catalog, ORDERS, connection, query.format(6_000 + number))
    before = arrow_rows(catalog.load_table(ORDERS))
    report = compact(catalog, ORDERS, connection)
    table = catalog.load_table(ORDERS)
    assert arrow_rows(table) == before
    found = files_of(table).data
    assert large < {file.file_path for file in found}
    assert kinds(report) == {"data": 16}  # of five, two and two fit together
    assert max(Counter(file.partition for file in found).values()) == 4
    for file in report.written:
        assert file.bytes <= 32_000
        ids = connection.execute(f"SELECT id FROM '{file.path[7:]}'").fetchall()
        assert ids == sorted(ids)
    compact(catalog, ORDERS, connection)
    assert compact(catalog, ORDERS, connection).is_empty


def test_compaction_writes_files_of_an_earlier_spec_for_the_current_one(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT range AS id, range % 2 AS part FROM range(4)")
    append(catalog, ORDERS, connection, "SELECT 9 AS id, 0 AS part")
    with catalog.load_table(ORDERS).update_spec() as update:
        update.add_identity("part")
    append(catalog, ORDERS, connection, "SELECT 10 AS id, 1 AS part")
    before = arrow_rows(catalog.load_table(ORDERS))
    compact(catalog, ORDERS, connection)
    compact(catalog, ORDERS, connection)
    table = catalog.load_table(ORDERS)
    assert arrow_rows(table) == before
    assert {file.spec_id for file in files_of(table).data} == {table.spec().spec_id}
    assert len(files_of(table).data) == 2


def test_compaction_applies_position_deletes(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    replace(catalog, ORDERS, connection, "SELECT range AS id FROM range(100)")
    with deleting_in_place():
        rewrite(catalog, ORDERS, connection, lambda _: Rows(matched="t.id % 7 = 0"))
    table = catalog.load_table(ORDERS)
    assert files_of(table).deleted_rows == 15
    before = arrow_rows(table)
    report = compact(catalog, ORDERS, connection)
    table = catalog.load_table(ORDERS)
    assert kinds(report) == {"data": 1, "position deletes": 1}
    assert arrow_rows(table) == before
    assert not files_of(table).deletes
    assert table.scan().to_arrow().num_rows == 85


def test_a_file_of_which_all_rows_are_deleted_leaves(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection
) -> None:
    layout = Layout(partition_by=[parse_partition_by("id")])
    replace(catalog, ORDERS, connection, "SELECT range AS id FROM range(2)", layout)
    with deleting_in_place():
        rewrite(catalog, ORDERS, connection, lambda _: Rows(matched="t.id = 1"))
    report = compact(catalog, ORDERS, connection)
    assert report.written == ()
    assert arrow_rows(catalog.load_table(ORDERS)) == Counter([(0,)])
    expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1)
    assert remove_orphan_files(catalog, ORDERS, older_than=NOTHING).is_empty


def test_compaction_plans_again_when_somebody_else_is_faster(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from floe_iceberg.draft import Draft

    replace(catalog, ORDERS, connection, "SELECT 1 AS id")
    append(catalog, ORDERS, connection, "SELECT 2 AS id")
    commit, others = Draft.commit, [3]

    def after_another(self: Draft, *arguments: Any, **options: Any) -> Any:
        if others:
            append(catalog, ORDERS, duckdb.connect(), f"SELECT {others.pop()} AS id")
        return commit(self, *arguments, **options)

    monkeypatch.setattr(Draft, "commit", after_another)
    compact(catalog, ORDERS, connection)
    table = catalog.load_table(ORDERS)
    assert arrow_rows(table) == Counter([(1,), (2,), (3,)])
    assert len(files_of(table).data) == 1
    assert remove_orphan_files(catalog, ORDERS, older_than=NOTHING).is_empty


def test_files_of_another_engine_without_field_ids_are_skipped(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    replace(catalog, ORDERS, connection, "SELECT 1::BIGINT AS id")
    path = tmp_path / "foreign.parquet"
    connection.execute(f"COPY (SELECT 2::BIGINT AS id) TO '{path}'")
    catalog.load_table(ORDERS).add_files([path.as_uri()])
    report = compact(catalog, ORDERS, connection)
    assert report.skipped == "it has files without field ids, which another engine wrote"
    assert arrow_rows(catalog.load_table(ORDERS)) == Counter([(1,), (2,)])


ACTIONS = st.sampled_from(
    ["append", "append", "merge", "delete", "delete in place", "tag", "expire", "compact", "sweep"]
)


@settings(max_examples=12, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=10), is_partitioned=st.booleans())
def test_maintenance_keeps_the_rows_of_every_kept_snapshot(
    actions: list[str], is_partitioned: bool
) -> None:
    with TemporaryDirectory() as folder:
        catalog = load_catalog(
            "lake", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}"
        )
        connection = duckdb.connect()
        layout = Layout(partition_by=[parse_partition_by("part")] if is_partitioned else ())
        query = "SELECT range AS id, range % 3 AS part FROM range({})"
        replace(catalog, ORDERS, connection, query.format(20), layout)
        known: dict[int, Counter[tuple[Any, ...]]] = {}
        for number, action in enumerate(actions):
            table = catalog.load_table(ORDERS)
            before = arrow_rows(table)
            act(action, catalog, connection, number)
            table = catalog.load_table(ORDERS)
            if action in {"tag", "expire", "compact", "sweep"}:
                assert arrow_rows(table) == before
            current = table.current_snapshot()
            assert current is not None
            known[current.snapshot_id] = arrow_rows(table)
            for snapshot in table.snapshots():
                rows = arrow_rows(table, snapshot.snapshot_id)
                assert rows == known.setdefault(snapshot.snapshot_id, rows)
        expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1)
        assert remove_orphan_files(catalog, ORDERS, older_than=NOTHING).is_empty
        catalog.close()  # type: ignore[attr-defined]


def act(action: str, catalog: Catalog, connection: duckdb.DuckDBPyConnection, number: int) -> None:
    table = catalog.load_table(ORDERS)
    match action:
        case "append":
            append(
                catalog, ORDERS, connection, f"SELECT {100 + number} AS id, {number % 3} AS part"
            )
        case "merge":

            def merge(rows: str) -> None:
                connection.execute(f"UPDATE {rows} SET part = part + 1")

            rewrite(
                catalog, ORDERS, connection, lambda _: Rows(matched="t.id % 5 = 1", change=merge)
            )
        case "delete":
            rewrite(catalog, ORDERS, connection, lambda _: Rows(matched=f"t.id = {number}"))
        case "delete in place":
            with deleting_in_place():
                rewrite(catalog, ORDERS, connection, lambda _: Rows(matched=f"t.id = {number}"))
        case "tag":
            current = table.current_snapshot()
            assert current is not None
            table.manage_snapshots().create_tag(current.snapshot_id, f"t{number}").commit()
        case "expire":
            expire_snapshots(catalog, ORDERS, older_than=NOTHING, keep_last=1 + number % 2)
        case "compact":
            compact(catalog, ORDERS, connection)
        case "sweep":
            assert remove_orphan_files(catalog, ORDERS, older_than=NOTHING).removed == ()
