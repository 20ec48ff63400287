"""Earlier states of a table, and its branches and tags.

PyIceberg makes and drops branches and tags, and rolls back: `table.manage_snapshots()`. Here is
what it has no word for.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update import AssertRefSnapshotId, SetSnapshotRefUpdate

from floe_core.diagnostics import did_you_mean
from floe_iceberg.errors import IcebergError
from floe_iceberg.scan import Files, files_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from floe_iceberg.shape import Identifier


def snapshot_at(table: Table, when: int | str | datetime) -> Snapshot:
    """The snapshot that is meant.

    Args:
        table: The table.
        when: Id of a snapshot, name of a branch or tag, or the time at which it was current; a time
            without a zone is local.

    Raises:
        IcebergError: if there is none, or if it has been expired.
    """
    if isinstance(when, datetime):
        return _current_at(table, when)
    if isinstance(when, str):
        return _named(table, when)
    snapshot = table.snapshot_by_id(when)
    if snapshot is None:
        raise IcebergError(
            f"{_shown(table)} has no snapshot {when}",
            "it may have been expired; look at the history",
        )
    return snapshot


def _named(table: Table, name: str) -> Snapshot:
    snapshot = table.snapshot_by_name(name)
    if snapshot is None:
        raise _no_ref(table, "branch or tag", name)
    return snapshot


def _no_ref(table: Table, what: str, name: str) -> IcebergError:
    help = did_you_mean(name, table.metadata.refs, "branches and tags")
    return IcebergError(f"{_shown(table)} has no {what} {name}", help)


def _current_at(table: Table, when: datetime) -> Snapshot:
    is_far = when.year <= 1970  # the first years have no time in zones ahead of them
    moment = 0 if is_far else int(when.timestamp() * 1000)
    log = table.history()
    before = [entry for entry in log if entry.timestamp_ms <= moment]
    snapshot = table.snapshot_by_id(before[-1].snapshot_id) if before else None
    if snapshot is None:
        first = f"the oldest is of {_spoken(log[0].timestamp_ms)}" if log else "it is empty"
        raise IcebergError(
            f"{_shown(table)} has no snapshot from "
            f"{(when if is_far else when.astimezone()).isoformat(' ')} or before",
            f"{first}; older ones have been expired, if there were any",
        )
    if len(before) < len(log) and _has_gap(table, snapshot, log[len(before)].snapshot_id):
        raise IcebergError(
            f"the snapshot that was current in {_shown(table)} at "
            f"{when.astimezone().isoformat(' ')} may have been expired",
            f"the one before is {snapshot.snapshot_id}, of {_spoken(snapshot.timestamp_ms)}, and "
            f"the next is of {_spoken(log[len(before)].timestamp_ms)}",
        )
    return snapshot


def _has_gap(table: Table, snapshot: Snapshot, following_id: int) -> bool:
    """Whether snapshots have been expired between two that are left."""
    following = table.snapshot_by_id(following_id)
    if following is None or following.parent_snapshot_id is not None:
        return False
    ancestors = {s.snapshot_id for s in ancestors_of(snapshot, table.metadata)}
    return following.snapshot_id not in ancestors


def _spoken(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000).astimezone().isoformat(" ", "milliseconds")


def files_of_branch(table: Table, branch: str) -> Files:
    """List the files of the head of a branch.

    Raises:
        IcebergError: if there is no such branch.
    """
    ref = table.metadata.refs.get(branch)
    if ref is None and branch == MAIN_BRANCH:
        return files_of(table)  # a table without rows has no branch yet
    if ref is None or ref.snapshot_ref_type != SnapshotRefType.BRANCH:
        raise _no_ref(table, "branch", branch)
    return files_of(table, ref.snapshot_id)


def fast_forward(catalog: Catalog, name: Identifier, to: str, branch: str = MAIN_BRANCH) -> Table:
    """Let a branch point to what another branch or tag points to, if that is a descendant of it.

    This publishes what was written to a branch and looked at there; no data is touched.

    Args:
        catalog: Where the table is.
        name: The table.
        to: The branch or tag that is ahead.
        branch: The branch that moves.

    Raises:
        NoSuchTableError: if there is no such table.
        IcebergError: if there is no such branch, or if it has snapshots that the other has not.
        CommitFailedException: if somebody has moved the branch meanwhile.
    """
    table = catalog.load_table(name)
    ref = table.metadata.refs.get(branch)
    if ref is None or ref.snapshot_ref_type != SnapshotRefType.BRANCH:
        raise _no_ref(table, "branch", branch)
    ahead = _named(table, to)
    if ref.snapshot_id not in {s.snapshot_id for s in ancestors_of(ahead, table.metadata)}:
        raise IcebergError(
            f"{branch} of {_shown(table)} has snapshots that {to} has not",
            f"write to {to} anew what is in {branch}, or drop {to}",
        )
    update = SetSnapshotRefUpdate(
        ref_name=branch,
        type=SnapshotRefType.BRANCH,
        snapshot_id=ahead.snapshot_id,
        max_ref_age_ms=ref.max_ref_age_ms,
        max_snapshot_age_ms=ref.max_snapshot_age_ms,
        min_snapshots_to_keep=ref.min_snapshots_to_keep,
    )
    transaction = table.transaction()
    transaction._stage((update,), (AssertRefSnapshotId(ref=branch, snapshot_id=ref.snapshot_id),))
    return transaction.commit_transaction()


def _shown(table: Table) -> str:
    return ".".join(table.name())
