"""Notices when the private parts of PyIceberg that floe builds on change.

A failure here means: read PyIceberg's changes before widening the range in pyproject.toml.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.manifest import DataFile, ManifestEntry, ManifestWriterV2
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import _SnapshotProducer

from floe_iceberg import Rows, append, replace, rewrite, rewriting

T = ("sales", "inside")

SIGNATURES: dict[Callable[..., Any], list[str]] = {
    _SnapshotProducer.__init__: [
        "self", "operation", "transaction", "io", "commit_uuid", "snapshot_properties", "branch",
    ],
    _SnapshotProducer._manifests: ["self"],
    _SnapshotProducer._deleted_entries: ["self"],
    _SnapshotProducer._existing_manifests: ["self"],
    _SnapshotProducer._summary: ["self", "snapshot_properties"],
    _SnapshotProducer._commit: ["self"],
    _SnapshotProducer.commit: ["self"],
    _SnapshotProducer._validate_concurrency: ["self"],
    _SnapshotProducer._clean_all_uncommitted: ["self"],
    _SnapshotProducer._refresh_for_retry: ["self"],
    _SnapshotProducer.new_manifest_writer: ["self", "spec"],
    _SnapshotProducer.new_manifest_output: ["self"],
    _SnapshotProducer.fetch_manifest_entry: ["self", "manifest", "discard_deleted"],
    _SnapshotProducer.spec: ["self", "spec_id"],
    _SnapshotProducer.schema: ["self"],
    ManifestWriterV2.__init__: [
        "self", "spec", "schema", "output_file", "snapshot_id", "avro_compression",
    ],
    ManifestWriterV2.content: ["self"],
    Transaction._stage: ["self", "updates", "requirements"],
    Transaction.commit_transaction: ["self"],
    MetastoreCatalog._resolve_table_location: ["self", "location", "database_name", "table_name"],
    Table.__init__: [
        "self", "identifier", "metadata", "metadata_location", "io", "catalog", "config",
    ],
}  # fmt: skip


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signatures_are_those_that_were_read(function: Callable[..., Any]) -> None:
    assert list(inspect.signature(function).parameters) == SIGNATURES[function]


def test_attributes_are_there(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> None:
    done = replace(catalog, T, connection, "SELECT 1 AS a")
    transaction = done.table.transaction()
    assert transaction._table is done.table
    producer = transaction.update_snapshot().overwrite()
    names = ("_parent_snapshot_id", "_snapshot_id", "_io", "_compression", "_transaction")
    assert all(hasattr(producer, name) for name in names)
    assert (producer._added_data_files, producer._deleted_data_files) == ([], set())
    assert isinstance(ManifestWriterV2._meta, property)
    assert {"from_args"} <= set(dir(DataFile)) & set(dir(ManifestEntry))
    assert done.table.location_provider().data_path.endswith("/data")


def entries(table: Table) -> list[tuple[int, int, int, bool]]:
    """Status, content and sequence number of each entry, and whether this snapshot made it so."""
    assert table.metadata.current_snapshot_id
    return sorted(
        (
            entry["status"],
            entry["data_file"]["content"],
            entry["sequence_number"],
            entry["snapshot_id"] == table.metadata.current_snapshot_id,
        )
        for entry in table.inspect.entries().to_pylist()
    )


EXISTING, ADDED, DELETED = 0, 1, 2
DATA, DELETES = 0, 1


def test_each_kind_of_commit_is_what_pyiceberg_sees(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_MUCH_BYTES", -1)
    table = replace(catalog, T, connection, "SELECT range AS a FROM range(100)").table
    assert entries(table) == [(ADDED, DATA, 1, True)]
    assert summary(table) == ("append", 1, 0, 100, 0)

    table = append(catalog, T, connection, "SELECT 100 AS a").table
    assert entries(table) == [(ADDED, DATA, 1, False), (ADDED, DATA, 2, True)]
    assert summary(table) == ("append", 2, 0, 101, 0)

    table = rewrite(catalog, T, connection, lambda _: Rows(matched="t.a = 5")).table
    assert entries(table) == [
        (ADDED, DATA, 1, False),
        (ADDED, DATA, 2, False),
        (ADDED, DELETES, 3, True),
    ]
    assert summary(table) == ("overwrite", 2, 1, 101, 1)

    table = rewrite(catalog, T, connection, lambda _: Rows("SELECT 7 AS a", "t.a IN (6, 7)")).table
    assert entries(table) == [
        (ADDED, DATA, 1, False),
        (ADDED, DATA, 2, False),
        (ADDED, DATA, 4, True),
        (ADDED, DELETES, 4, True),
        (DELETED, DELETES, 3, True),
    ]
    assert summary(table) == ("overwrite", 3, 1, 102, 3)

    table = rewrite(catalog, T, connection, lambda _: Rows(matched="t.a = 100")).table
    assert entries(table) == [
        (ADDED, DATA, 1, False),
        (ADDED, DATA, 4, False),
        (ADDED, DELETES, 4, False),
        (DELETED, DATA, 2, True),
        (DELETED, DELETES, 3, False),  # of the snapshot before, whose manifest stays as it is
    ]
    assert summary(table) == ("overwrite", 2, 1, 101, 3)

    table = replace(catalog, T, connection, "SELECT 1 AS a").table
    assert [entry for entry in entries(table) if entry[0] != DELETED] == [(ADDED, DATA, 6, True)]
    assert len(entries(table)) == 4
    assert summary(table) == ("overwrite", 1, 0, 1, 0)

    table = append(catalog, T, connection, "SELECT 2 AS a").table
    live = [entry for entry in entries(table) if entry[0] != DELETED]
    assert live == [(ADDED, DATA, 6, False), (ADDED, DATA, 7, True)]
    assert [snapshot.sequence_number for snapshot in table.snapshots()] == list(range(1, 8))


def summary(table: Table) -> tuple[str, int, int, int, int]:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    names = ("total-data-files", "total-delete-files", "total-records", "total-position-deletes")
    files, deletes, records, positions = (int(snapshot.summary[name] or 0) for name in names)
    return (snapshot.summary.operation.value, files, deletes, records, positions)
