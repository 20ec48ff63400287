"""Old snapshots leave, and the files that only they need."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemovePartitionStatisticsUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
)

from floe_iceberg.commit import KEEP_LAST, MAX_AGE, Retention, have_refs_moved, kept
from floe_iceberg.maintenance.guards import readable, refuse_shared_files, shown
from floe_iceberg.maintenance.report import Kept, Leaving, Report
from floe_iceberg.shape import Identifier
from floe_iceberg.table import until_committed
from floe_iceberg.table_files import TableFile, remove, unreferenced

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.io import FileIO
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableUpdate


def expire_snapshots(
    catalog: Catalog,
    name: Identifier,
    *,
    older_than: timedelta | None = None,
    keep_last: int | None = None,
    dry_run: bool = False,
) -> Report:
    """Let old snapshots leave, and remove the files that only they need.

    What a branch or tag points to stays; branches and tags that are older than their own
    `max-ref-age-ms` leave, except `main`.

    Args:
        catalog: Where the table is.
        name: The table.
        older_than: Snapshots that are younger stay; what the table's property
            `history.expire.max-snapshot-age-ms` says unless given (5 days if it says nothing).
        keep_last: So many of each branch stay; what the property
            `history.expire.min-snapshots-to-keep` says unless given (1 if it says nothing).
        dry_run: Change nothing.

    Raises:
        NoSuchTableError: if there is no such table.
        IcebergError: if others may need the table's files, or a snapshot cannot be read that stays.
        CommitConflictError: if somebody else was always faster.
    """
    age_ms = None if older_than is None else int(older_than.total_seconds() * 1000)
    now_ms = _now_ms()

    def attempt(_: int) -> Report:
        table = catalog.load_table(name)
        refuse_shared_files(table)
        plan = _plan_expiry(table, now_ms, Retention(age_ms, keep_last))
        if dry_run or not (plan.snapshots or plan.refs):
            return replace(plan, is_dry_run=dry_run)
        _commit_expiry(table, plan)
        return replace(plan, failed=remove(table.io, plan.removed))

    return until_committed(name, attempt)


def set_retention(
    catalog: Catalog,
    name: Identifier,
    *,
    older_than: timedelta | None = None,
    keep_last: int | None = None,
) -> bool:
    """Let a table keep its snapshots by these from now on, whoever writes to it.

    They become the properties that `expire_snapshots` names, which each commit follows too.

    Returns:
        Whether anything was changed.

    Raises:
        NoSuchTableError: if there is no such table.
        CommitConflictError: if somebody else was always faster.
    """
    age_ms = None if older_than is None else int(older_than.total_seconds() * 1000)
    wanted = {
        key: str(value)
        for key, value in ((MAX_AGE, age_ms), (KEEP_LAST, keep_last))
        if value is not None
    }

    def attempt(_: int) -> bool:
        table = catalog.load_table(name)
        changed = {
            key: value for key, value in wanted.items() if table.properties.get(key) != value
        }
        if changed:
            table.transaction().set_properties(changed).commit_transaction()
        return bool(changed)

    return until_committed(name, attempt)


def _plan_expiry(table: Table, now_ms: int, retention: Retention) -> Report:
    before = table.metadata
    refs = [
        name
        for name, ref in sorted(before.refs.items())
        if name != MAIN_BRANCH
        and ref.max_ref_age_ms is not None
        and now_ms - _committed_ms(before, ref.snapshot_id) > ref.max_ref_age_ms
    ]
    staying = {name: ref for name, ref in before.refs.items() if name not in refs}
    reasons = kept(before.model_copy(update={"refs": staying}), now_ms, retention)
    gone = [snapshot for snapshot in before.snapshots if snapshot.snapshot_id not in reasons]
    with readable(table):
        files = unreferenced(before, (s.snapshot_id for s in gone), table.io)
    return Report(
        table=shown(table),
        operation="expire snapshots",
        is_dry_run=False,
        snapshots=tuple(Leaving(s.snapshot_id, _moment(s.timestamp_ms)) for s in gone),
        refs=tuple(refs),
        removed=tuple(_measured(file, table.io) for file in sorted(files)),
        kept=tuple(
            Kept("snapshot", str(s.snapshot_id), reasons[s.snapshot_id])
            for s in before.snapshots
            if s.snapshot_id in reasons
        ),
    )


def _commit_expiry(table: Table, plan: Report) -> None:
    """Commit, unless somebody has moved a branch or tag meanwhile that was looked at."""
    ids = {leaving.snapshot_id for leaving in plan.snapshots}
    metadata = table.metadata
    statistics = {f.snapshot_id for f in metadata.partition_statistics} & ids
    updates: list[TableUpdate] = [
        *(RemoveSnapshotRefUpdate(ref_name=name) for name in plan.refs),
        *(RemovePartitionStatisticsUpdate(snapshot_id=number) for number in sorted(statistics)),
        *([RemoveSnapshotsUpdate(snapshot_ids=sorted(ids))] if ids else []),
    ]
    unmoved = [
        AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id)
        for name, ref in metadata.refs.items()
    ]
    if have_refs_moved(table):
        raise CommitFailedException("somebody has made a branch or tag meanwhile")
    transaction = table.transaction()
    transaction._stage(tuple(updates), tuple(unmoved))
    transaction.commit_transaction()


def _committed_ms(metadata: TableMetadata, snapshot_id: int) -> int:
    snapshot = metadata.snapshot_by_id(snapshot_id)
    return snapshot.timestamp_ms if snapshot is not None else 0


def _measured(file: TableFile, io: FileIO) -> TableFile:
    if file.bytes:
        return file
    try:
        return replace(file, bytes=len(io.new_input(file.path)))
    except OSError:
        return file


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def _moment(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
