"""What maintenance has done to a table, or would do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from floe_iceberg.table_files import Kind, TableFile


@dataclass(frozen=True, slots=True)
class Amount:
    """So many files, and their bytes."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that maintenance leaves alone.

    Attributes:
        what: What it is: a snapshot, a file, a folder.
        name: Its id or URI.
        why: Why it stays.
    """

    what: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """A snapshot that leaves.

    Attributes:
        snapshot_id: Its id.
        committed_at: When it was made.
    """

    snapshot_id: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What maintenance has done to a table, or would do.

    Attributes:
        table: Name of the table.
        operation: What was asked for.
        is_dry_run: Whether nothing was changed.
        snapshots: Snapshots that leave.
        refs: Branches and tags that leave, since they are older than they may become.
        removed: Files that are removed. Those that compaction replaces stay where they are until
            the snapshots leave that name them.
        folders: Empty folders that are removed.
        written: Files that were written; none in a dry run.
        kept: What stays, and why.
        failed: URIs of files that could not be removed.
        snapshot_id: The snapshot that was made.
        skipped: Why nothing can be done.
    """

    table: str
    operation: str
    is_dry_run: bool
    snapshots: tuple[Leaving, ...] = ()
    refs: tuple[str, ...] = ()
    removed: tuple[TableFile, ...] = ()
    folders: tuple[str, ...] = ()
    written: tuple[TableFile, ...] = ()
    kept: tuple[Kept, ...] = ()
    failed: tuple[str, ...] = ()
    snapshot_id: int | None = None
    skipped: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.snapshots or self.refs or self.removed or self.folders or self.written)

    @property
    def removed_by_kind(self) -> dict[Kind, Amount]:
        """Files that are removed, counted."""
        return by_kind(self.removed)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it, with the files counted by kind."""
        document = asdict(self)
        document["snapshots"] = [
            {"snapshot_id": s.snapshot_id, "committed_at": s.committed_at.isoformat()}
            for s in self.snapshots
        ]
        for name, files in (("removed", self.removed), ("written", self.written)):
            document[f"{name}_by_kind"] = {k: asdict(a) for k, a in by_kind(files).items()}
        return document


def by_kind(files: Iterable[TableFile]) -> dict[Kind, Amount]:
    """Count files and bytes of each kind."""
    found: dict[Kind, Amount] = {}
    for file in files:
        known = found.get(file.kind, Amount(0, 0))
        found[file.kind] = Amount(known.files + 1, known.bytes + file.bytes)
    return found
