"""Files that are written for a commit, and what becomes of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.refs import MAIN_BRANCH

from floe_iceberg.commit import Change, Replace, stage_expiry
from floe_iceberg.data_files import (
    Folder,
    WriteOptions,
    Written,
    discard,
    write_data_files,
    write_position_deletes,
)
from floe_iceberg.engine import configure
from floe_iceberg.errors import IcebergError
from floe_iceberg.table_files import remove, unreferenced

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Transaction
    from pyiceberg.typedef import Record


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit has done.

    Attributes:
        table: The table as it is now.
        snapshot_id: The snapshot that was made.
        rows: Rows that were written.
        bytes: Bytes of the data and delete files that were written.
        files_added: Data and delete files that came.
        files_removed: Data and delete files that the snapshot no longer names.
        attempts: Commits that were tried, this one included.
    """

    table: Table
    snapshot_id: int
    rows: int
    bytes: int
    files_added: int
    files_removed: int
    attempts: int = 1


class Draft:
    """The files of one commit.

    Files that fit the table as it is at the next attempt are used again; what is of no use is
    removed, unless a commit that names it may have landed.
    """

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self.connection = connection
        self._written: dict[Hashable, Written] = {}
        self._io: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._discard_all_but(set())

    def reach(self, table: Table) -> None:
        """Let DuckDB read and write the table's files, with the keys that hold for it now."""
        self._io = table.io
        configure(self.connection, table.io.properties, table.location())

    def write(
        self,
        transaction: Transaction,
        query: str,
        *,
        required: frozenset[str] = frozenset(),
        basis: Hashable = None,
    ) -> Written:
        """Write data files, or use those of an attempt before.

        Args:
            transaction: Has the schema and the partition spec that they are written for.
            query: Gives the columns of the schema, as they are stored.
            required: Columns in which no null may be.
            basis: What the query depends on besides its text.

        Raises:
            IcebergError: if a required column has a null.
            duckdb.Error: if the query fails or files cannot be written.
        """
        metadata = transaction.table_metadata
        schema, spec = metadata.schema(), metadata.spec()
        folder = _folder(transaction)
        key = (query, folder.uri, schema.model_dump_json(), spec.model_dump_json(), basis)
        self._discard_all_but({key} | {k for k in self._written if k == ("deletes", basis)})
        self.reach(transaction._table)
        if key not in self._written:
            self._written[key] = write_data_files(
                self.connection,
                query,
                folder,
                schema=schema,
                spec=spec,
                options=WriteOptions.of(metadata.properties),
            )
        written = self._written[key]
        for name in sorted(required):
            number = schema.find_field(name).field_id
            nulls = sum(file.null_value_counts.get(number, 0) for file in written.files)
            if nulls:
                raise IcebergError(
                    f"column {name} may not be null, and is in {nulls} "
                    f"row{'s' if nulls != 1 else ''}; nothing was written"
                )
        return written

    def write_partitions(
        self, transaction: Transaction, queries: Sequence[tuple[str, Record | None]]
    ) -> Written:
        """Write data files partition by partition, or use those of an attempt before.

        Args:
            transaction: Has the schema and the partition spec that they are written for.
            queries: Each gives the columns of the schema, as they are stored, and comes with the
                partition that its rows are of; None where they are of several.

        Raises:
            duckdb.Error: if a query fails or files cannot be written.
        """
        metadata = transaction.table_metadata
        schema, spec = metadata.schema(), metadata.spec()
        folder = _folder(transaction)
        shape = (folder.uri, schema.model_dump_json(), spec.model_dump_json())
        keys = {(query, *shape, partition): (query, partition) for query, partition in queries}
        self._discard_all_but(set(keys))
        self._io = transaction._table.io
        for key, (query, partition) in keys.items():
            if key not in self._written:
                self._written[key] = write_data_files(
                    self.connection,
                    query,
                    folder,
                    schema=schema,
                    spec=spec,
                    options=WriteOptions.of(metadata.properties),
                    partition=partition,
                )
        found = [self._written[key] for key in keys]
        return Written(
            tuple(file for written in found for file in written.files),
            sum(written.rows for written in found),
            sum(written.bytes for written in found),
        )

    def write_deletes(
        self, transaction: Transaction, query: str, of: dict[str, DataFile], basis: Hashable
    ) -> Written:
        """Write position delete files; see `write_position_deletes`."""
        self.reach(transaction._table)
        written = write_position_deletes(self.connection, query, _folder(transaction), of=of)
        self._written["deletes", basis] = written
        return written

    def commit(
        self,
        transaction: Transaction,
        change: Change,
        attempt: int,
        *,
        branch: str = MAIN_BRANCH,
        expires: bool = True,
    ) -> Committed:
        """Commit what was written, let old snapshots leave, and remove what only they named.

        Args:
            transaction: Is committed.
            change: What it does to the files.
            attempt: Number of the attempt.
            branch: The branch that gets the snapshot.
            expires: Whether old snapshots leave.

        Raises:
            CommitFailedException: if somebody else was first; `ValidationException` likewise.
            CommitStateUnknownException: if nobody can say whether it landed.
        """
        producer = Replace(transaction, change, branch=branch)
        producer.commit()
        before = transaction.table_metadata
        gone = stage_expiry(transaction) if expires else frozenset()
        table = committed_table(transaction)
        self._written.clear()
        if gone:
            with suppress(Exception):  # the commit stands; what is left, maintenance finds
                remove(table.io, unreferenced(before, gone, table.io))
        added = [*change.added, *change.deletes]
        return Committed(
            table=table,
            snapshot_id=producer.snapshot_id,
            rows=sum(file.record_count for file in change.added),
            bytes=sum(file.file_size_in_bytes for file in added),
            files_added=len(added),
            files_removed=len(producer._deleted_data_files),
            attempts=attempt,
        )

    def _discard_all_but(self, kept: set[Hashable]) -> None:
        for key in [key for key in self._written if key not in kept]:
            written = self._written.pop(key)
            if self._io is not None:
                discard(self._io, written.files)


def committed_table(transaction: Transaction) -> Table:
    """Commit; gives the table, which can be scanned even if it was only just created."""
    table = transaction.commit_transaction()
    if not isinstance(table, StagedTable):
        return table
    return Table(
        table.name(), table.metadata, table.metadata_location, table.io, table.catalog, table.config
    )


def _folder(transaction: Transaction) -> Folder:
    return Folder(transaction._table.location_provider().data_path)
