"""One commit to one table: files come, files go, old snapshots leave.

PyIceberg's own producers leave a manifest behind for every overwrite and write no delete files, so
`Replace` lists the manifests of a snapshot itself. It builds on PyIceberg's `_SnapshotProducer`,
which is not public: `tests/test_pyiceberg_internals.py` notices when it changes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Summary, ancestors_of
from pyiceberg.table.update import RemoveSnapshotsUpdate
from pyiceberg.table.update.snapshot import _SnapshotProducer
from pyiceberg.typedef import EMPTY_DICT

from floe_iceberg.errors import IcebergError

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata

_MERGE_MANIFESTS = "commit.manifest.min-count-to-merge"
_MERGE_MANIFESTS_DEFAULT = 100
_SMALL_MANIFEST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to the files of a table.

    Attributes:
        added: Data files that come.
        deletes: Position delete files that come.
        is_removed: Whether a file of the table goes. A delete file goes by itself when the data
            file goes whose rows it deletes.
        operation: What the snapshot calls it.
    """

    added: Sequence[DataFile] = ()
    deletes: Sequence[DataFile] = ()
    is_removed: Callable[[DataFile], bool] | None = None
    operation: Operation = Operation.OVERWRITE


class Replace(_SnapshotProducer["Replace"]):
    """A snapshot whose files are those of its parent, but for a change."""

    def __init__(
        self,
        transaction: Transaction,
        change: Change,
        *,
        branch: str = "main",
        summary: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            operation=change.operation,
            transaction=transaction,
            io=transaction._table.io,
            snapshot_properties=summary or {},
            branch=branch,
        )
        version = transaction.table_metadata.format_version
        if version > 2:
            raise IcebergError(f"tables of Iceberg's format version {version} can only be read")
        self._change = change
        self._added_data_files = [*change.added, *change.deletes]

    def _validate_concurrency(self) -> None:
        """Refuse to be tried again: what was planned on one snapshot need not hold on the next."""
        raise ValidationException("the table has been changed meanwhile")

    def _deleted_entries(self) -> list[ManifestEntry]:
        return []

    def _existing_manifests(self) -> list[ManifestFile]:
        return []

    def _manifests(self) -> list[ManifestFile]:
        kept, entries = self._divide(self._parent_manifests())
        self._deleted_data_files = {
            entry.data_file
            for found in entries.values()
            for entry in found
            if entry.status == ManifestEntryStatus.DELETED
        }
        for content, spec_id in list(entries):
            if self._is_of_dropped_columns(spec_id):
                self._refuse_to_forget(entries.pop((content, spec_id)))
        for file in self._added_data_files:
            content = (
                ManifestContent.DATA
                if file.content == DataFileContent.DATA
                else ManifestContent.DELETES
            )
            entries[content, file.spec_id].append(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file
                )
            )
        written = [
            self._write(content, spec_id, found)
            for (content, spec_id), found in entries.items()
            if found
        ]
        return [*written, *kept]

    def _parent_manifests(self) -> list[ManifestFile]:
        """The manifests that still name a file."""
        if self._parent_snapshot_id is None:
            return []
        parent = self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id)
        if parent is None:
            return []
        return [
            manifest
            for manifest in parent.manifests(self._io)
            if manifest.has_added_files() or manifest.has_existing_files()
        ]

    def _divide(self, manifests: list[ManifestFile]) -> tuple[list[ManifestFile], _Entries]:
        """Those that stay as they are, and the entries of those that are written anew."""
        kept: list[ManifestFile] = []
        entries: _Entries = defaultdict(list)
        crowded = self._are_crowded(manifests)
        gone: set[str] = set()
        for manifest in sorted(manifests, key=lambda m: m.content.value):  # data before deletes
            is_small = crowded and manifest.manifest_length < _SMALL_MANIFEST_BYTES
            if self._change.is_removed is None and not is_small:
                kept.append(manifest)
                continue
            found = self.fetch_manifest_entry(manifest)
            removed = [entry for entry in found if self._is_removed(entry.data_file, gone)]
            gone |= {entry.data_file.file_path for entry in removed}
            if not removed and not is_small:
                kept.append(manifest)
                continue
            away = {entry.data_file.file_path for entry in removed}
            entries[manifest.content, manifest.partition_spec_id] += [
                _with_status(
                    entry,
                    ManifestEntryStatus.DELETED
                    if entry.data_file.file_path in away
                    else ManifestEntryStatus.EXISTING,
                    self._snapshot_id,
                )
                for entry in found
            ]
        return kept, entries

    def _is_of_dropped_columns(self, spec_id: int) -> bool:
        """Whether no manifest of a spec can be written, since a column is gone that it divides by.

        Its files can only leave, and leave no trace in the new snapshot.
        """
        schema = self.schema()
        return any(
            schema.find_column_name(source.source_id) is None
            for source in self.spec(spec_id).fields
        )

    def _refuse_to_forget(self, entries: list[ManifestEntry]) -> None:
        if any(entry.status != ManifestEntryStatus.DELETED for entry in entries):
            raise IcebergError(
                f"{'.'.join(self._transaction._table.name())} has files that are divided by a "
                "column that was dropped, and cannot be changed in part",
                "write it anew as a whole once (dbt: --full-refresh)",
            )

    def _is_removed(self, file: DataFile, gone: set[str]) -> bool:
        if self._change.is_removed is None:
            return False
        if self._change.is_removed(file):
            return True
        return file.content == DataFileContent.POSITION_DELETES and data_file_of(file) in gone

    def _are_crowded(self, manifests: list[ManifestFile]) -> bool:
        properties = self._transaction.table_metadata.properties
        most = int(properties.get(_MERGE_MANIFESTS, _MERGE_MANIFESTS_DEFAULT))
        return sum(m.manifest_length < _SMALL_MANIFEST_BYTES for m in manifests) >= max(most, 2)

    def _summary(self, snapshot_properties: Mapping[str, str] = EMPTY_DICT) -> Summary:
        """The totals; PyIceberg has no word for a replacement of files that keeps the rows."""
        wanted, self._operation = self._operation, Operation.OVERWRITE
        try:
            summary = super()._summary(dict(snapshot_properties))
        finally:
            self._operation = wanted
        return Summary(wanted, **summary.additional_properties)

    def _write(
        self, content: ManifestContent, spec_id: int, entries: list[ManifestEntry]
    ) -> ManifestFile:
        with self._writer(content, spec_id) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return writer.to_manifest_file()

    def _writer(self, content: ManifestContent, spec_id: int) -> ManifestWriter:
        if content == ManifestContent.DATA:
            return self.new_manifest_writer(self.spec(spec_id))
        return _DeleteManifestWriter(
            spec=self.spec(spec_id),
            schema=self.schema(),
            output_file=self.new_manifest_output(),
            snapshot_id=self._snapshot_id,
            avro_compression=self._compression,
        )


_Entries = defaultdict[tuple[ManifestContent, int], list[ManifestEntry]]


class _DeleteManifestWriter(ManifestWriterV2):
    """Writes a manifest of delete files, which PyIceberg reads and does not write."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def data_file_of(delete_file: DataFile) -> str | None:
    """The data file whose rows a position delete file deletes, where that is only one."""
    path_id = 2147483546  # https://iceberg.apache.org/spec/#reserved-field-ids
    low = (delete_file.lower_bounds or {}).get(path_id)
    high = (delete_file.upper_bounds or {}).get(path_id)
    return low.decode() if low is not None and low == high else None


def _with_status(
    entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int
) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id if status == ManifestEntryStatus.DELETED else entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


MAX_AGE = "history.expire.max-snapshot-age-ms"
_MAX_AGE_DEFAULT = 5 * 24 * 3600 * 1000
KEEP_LAST = "history.expire.min-snapshots-to-keep"
_KEEP_DEFAULT = 1


@dataclass(frozen=True, slots=True)
class Retention:
    """Which snapshots are kept, in place of what the table's properties say.

    Attributes:
        max_age_ms: Younger ones are; None for what the table says.
        keep_last: So many of each branch are; None for what the table says.
    """

    max_age_ms: int | None = None
    keep_last: int | None = None


def kept(
    metadata: TableMetadata,
    now_ms: int | None = None,
    retention: Retention = Retention(),
) -> dict[int, str]:
    """The snapshots that a table keeps, by its own properties, each with the reason.

    A snapshot is kept while it is younger than `history.expire.max-snapshot-age-ms` (5 days unless
    set), is one of the last `history.expire.min-snapshots-to-keep` of a branch (1 unless set), or
    is what a branch or tag points to. Branches may set both for themselves.
    """
    now = now_ms if now_ms is not None else int(time.time() * 1000)
    properties = metadata.properties
    max_age, keep = retention.max_age_ms, retention.keep_last
    if max_age is None:
        max_age = int(properties.get(MAX_AGE, _MAX_AGE_DEFAULT))
    if keep is None:
        keep = int(properties.get(KEEP_LAST, _KEEP_DEFAULT))
    found = {
        ref.snapshot_id: f"{ref.snapshot_ref_type.value} {name}"
        for name, ref in sorted(metadata.refs.items())
    }
    for name, ref in sorted(metadata.refs.items()):
        if ref.snapshot_ref_type != SnapshotRefType.BRANCH:
            continue
        head = metadata.snapshot_by_id(ref.snapshot_id)
        age = ref.max_snapshot_age_ms if ref.max_snapshot_age_ms is not None else max_age
        least = ref.min_snapshots_to_keep if ref.min_snapshots_to_keep is not None else keep
        for number, snapshot in enumerate(ancestors_of(head, metadata)):
            if number < least:
                found.setdefault(snapshot.snapshot_id, f"one of the last {least} of {name}")
            elif now - snapshot.timestamp_ms < age:
                found.setdefault(snapshot.snapshot_id, _younger(age))
    for snapshot in metadata.snapshots:
        if now - snapshot.timestamp_ms < max_age:
            found.setdefault(snapshot.snapshot_id, _younger(max_age))
    return found


def _younger(age_ms: int) -> str:
    return f"younger than {timedelta(milliseconds=age_ms)}"


def expired(metadata: TableMetadata, now_ms: int | None = None) -> frozenset[int]:
    """The snapshots that a table need not keep, by its own properties; see `kept`."""
    return frozenset(s.snapshot_id for s in metadata.snapshots) - kept(metadata, now_ms).keys()


def may_remove_files(metadata: TableMetadata) -> bool:
    """Whether a table's files are its own; `gc.enabled` is false where others need them too."""
    return metadata.properties.get("gc.enabled", "true").lower() != "false"


def have_refs_moved(table: Table) -> bool:
    """Whether somebody has made, moved or dropped a branch or tag since a table was loaded.

    A new one may point to a snapshot that is to leave, and no requirement of a commit says that
    there is none: catalogs then let the branch or tag go too.
    """
    return table.catalog.load_table(table.name()).metadata.refs != table.metadata.refs


def stage_expiry(transaction: Transaction) -> frozenset[int]:
    """Let old snapshots leave with a transaction; gives their ids."""
    metadata = transaction.table_metadata
    gone = expired(metadata) if may_remove_files(metadata) else frozenset()
    if gone and have_refs_moved(transaction._table):
        return frozenset()  # the next commit lets them leave
    if gone:
        transaction._stage((RemoveSnapshotsUpdate(snapshot_ids=sorted(gone)),))
    return gone
