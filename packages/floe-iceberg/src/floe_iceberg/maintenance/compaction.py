"""Small files become larger ones, and deleted rows leave the files that hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile, FileFormat
from pyiceberg.table.snapshots import Operation
from pyiceberg.typedef import Record

from floe_iceberg.commit import Change
from floe_iceberg.data_files import WriteOptions, has_field_ids
from floe_iceberg.draft import Draft
from floe_iceberg.errors import IcebergError
from floe_iceberg.maintenance.guards import shown
from floe_iceberg.maintenance.report import Kept, Report
from floe_iceberg.rewriting import sorted_query
from floe_iceberg.scan import NAME_MAPPING, Files, files_of, live_rows
from floe_iceberg.shape import Identifier
from floe_iceberg.sql import identifier
from floe_iceberg.table import until_committed
from floe_iceberg.table_files import table_file

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata


def compact(
    catalog: Catalog, name: Identifier, connection: DuckDBPyConnection, *, dry_run: bool = False
) -> Report:
    """Write small files of a partition into larger ones, and rows anew that have deleted ones.

    Rows stay the same, in the table's sort order, in one snapshot of operation `replace`. Files
    are small below half of `write.target-file-size-bytes`; what is in larger ones stays there
    unless rows of it were deleted in place.

    Args:
        catalog: Where the table is.
        name: The table.
        connection: Reads and writes.
        dry_run: Change nothing.

    Raises:
        NoSuchTableError: if there is no such table.
        CommitConflictError: if somebody else was always faster.
        duckdb.Error: if files cannot be read or written.
    """
    with Draft(connection) as draft:

        def attempt(number: int) -> Report:
            table = catalog.load_table(name)
            plan, groups = _plan_compaction(table)
            if dry_run or not groups:
                return replace(plan, is_dry_run=dry_run)
            transaction = table.transaction()
            written = draft.write_partitions(
                transaction, [(group.query(table.metadata), group.partition) for group in groups]
            )
            _refuse_lost_rows(table, groups, written.rows)
            gone = frozenset(file.path for file in plan.removed)
            change = Change(
                added=written.files,
                is_removed=lambda file: file.file_path in gone,
                operation=Operation.REPLACE,
            )
            committed = draft.commit(transaction, change, number, expires=False)
            return replace(
                plan,
                written=tuple(map(table_file, written.files)),
                snapshot_id=committed.snapshot_id,
            )

        return until_committed(name, attempt)


@dataclass(frozen=True, slots=True)
class _Group:
    """Files that are written anew together.

    Attributes:
        partition: The partition of all their rows; None for files of earlier partition specs.
        data: The data files.
        files: The files of the snapshot.
    """

    partition: Record | None
    data: tuple[DataFile, ...]
    files: Files = field(repr=False)

    @property
    def is_worth_it(self) -> bool:
        """Whether there are files to merge, deleted rows, or an earlier partition spec."""
        return (
            len(self.data) > 1
            or self.partition is None
            or self.data[0].file_path in self.files.deletes
        )

    def query(self, metadata: TableMetadata) -> str:
        schema = metadata.schema()
        names = ", ".join(identifier(column.name) for column in schema.fields)
        live = live_rows(schema, self.files, self.data)
        return sorted_query(f"SELECT {names} FROM ({live})", metadata)


def _plan_compaction(table: Table) -> tuple[Report, Sequence[_Group]]:
    plan = Report(table=shown(table), operation="compact", is_dry_run=False)
    try:
        files = files_of(table)
    except IcebergError as problem:
        return replace(plan, skipped=problem.message), ()
    why = _why_not(table, files)
    if why is not None:
        return replace(plan, skipped=why), ()
    target = WriteOptions.of(table.properties).file_bytes
    spec = table.spec()
    candidates: dict[Record | None, list[DataFile]] = defaultdict(list)
    for file in files.data:
        if file.file_path in files.deletes or file.file_size_in_bytes < target / 2:
            is_current = file.spec_id == spec.spec_id
            candidates[file.partition if is_current else None].append(file)
    groups = []
    for partition, found in candidates.items():
        if partition is not None:
            groups += [_Group(partition, tuple(data), files) for data in _pack(found, target)]
        else:
            groups.append(_Group(None, tuple(found), files))
    groups = [group for group in groups if group.is_worth_it]
    chosen = {file.file_path: file for group in groups for file in group.data}
    deletes = {d.file_path: d for path in chosen for d in files.deletes.get(path, ())}
    large = sum(file.file_path not in chosen for file in files.data)
    return (
        replace(
            plan,
            removed=tuple(sorted(map(table_file, (chosen | deletes).values()))),
            kept=(Kept("files", str(large), "large enough, or alone in their partition"),)
            if large
            else (),
        ),
        groups,
    )


def _pack(found: Sequence[DataFile], target: int) -> list[list[DataFile]]:
    """Divide files so that each part makes a file of the target size, or one file is a part."""
    parts: list[list[DataFile]] = []
    sizes: list[int] = []
    for file in sorted(found, key=lambda f: (-f.file_size_in_bytes, f.file_path)):
        size = file.file_size_in_bytes
        number = next((n for n, full in enumerate(sizes) if full + size <= target), None)
        if number is None:
            parts.append([file])
            sizes.append(size)
        else:
            parts[number].append(file)
            sizes[number] += size
    return parts


def _why_not(table: Table, files: Files) -> str | None:
    """Why the files of a table cannot be written anew one by one."""
    if table.format_version > 2:
        return f"tables of Iceberg's format version {table.format_version} can only be read"
    is_mapped = NAME_MAPPING in table.properties  # some catalogs give every table one
    if is_mapped and not all(has_field_ids(file.file_path) for file in files.data):
        return "it has files without field ids, which another engine wrote"
    deletes = (file for found in files.deletes.values() for file in found)
    if any(file.file_format != FileFormat.PARQUET for file in (*files.data, *deletes)):
        return "it has files that are not Parquet"
    return None


def _refuse_lost_rows(table: Table, groups: Sequence[_Group], written: int) -> None:
    """Compare what was written with what the manifests say, as far as they say it."""
    data = {file.file_path: file for group in groups for file in group.data}
    before = sum(file.record_count for file in data.values())
    files = groups[0].files
    deleted = sum(f.record_count for path in data for f in files.deletes.get(path, ()))
    expected = range(before - deleted, before + 1) if not files.is_plain else (before - deleted,)
    if written not in expected:
        raise IcebergError(
            f"{shown(table)} would have {written} rows in place of {before - deleted}; "
            "nothing was changed",
            "its manifests do not fit its files: look at it with another engine",
        )
