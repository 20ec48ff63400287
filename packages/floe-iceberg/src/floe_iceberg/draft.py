"""Files that are written for a commit, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchTableError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)
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
from floe_iceberg.errors import IcebergError, WriteError
from floe_iceberg.table_files import remove, unreferenced
from floe_iceberg.tracing import table_span

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog
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
        self._is_open = True  # whether it is certain that no snapshot names the files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_open:
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
            WriteError: if files cannot be written.
            duckdb.Error: if the query fails.
        """
        metadata = transaction.table_metadata
        schema, spec = metadata.schema(), metadata.spec()
        folder = _folder(transaction)
        key = (query, folder.uri, schema.model_dump_json(), spec.model_dump_json(), basis)
        self._discard_all_but({key} | {k for k in self._written if k == ("deletes", basis)})
        self.reach(transaction._table)
        written = self._once(key, transaction, query)
        for name in sorted(required | {field.name for field in schema.fields if field.required}):
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
            WriteError: if files cannot be written.
            duckdb.Error: if a query fails.
        """
        metadata = transaction.table_metadata
        schema, spec = metadata.schema(), metadata.spec()
        folder = _folder(transaction)
        shape = (folder.uri, schema.model_dump_json(), spec.model_dump_json())
        keys = {(query, *shape, partition): (query, partition) for query, partition in queries}
        self._discard_all_but(set(keys))
        self._io = transaction._table.io
        found = [
            self._once(key, transaction, query, partition)
            for key, (query, partition) in keys.items()
        ]
        return Written(
            tuple(file for written in found for file in written.files),
            sum(written.rows for written in found),
            sum(written.bytes for written in found),
        )

    def _once(
        self,
        key: Hashable,
        transaction: Transaction,
        query: str,
        partition: Record | None = None,
    ) -> Written:
        if key in self._written:
            return self._written[key]
        metadata = transaction.table_metadata
        folder = _folder(transaction)
        with table_span("write", transaction._table.name()) as span, _writing(transaction, folder):
            written = write_data_files(
                self.connection,
                query,
                folder,
                schema=metadata.schema(),
                spec=metadata.spec(),
                options=WriteOptions.of(metadata.properties),
                partition=partition,
            )
            span.set_attributes(
                {
                    "iceberg.files.added": len(written.files),
                    "iceberg.bytes.added": written.bytes,
                    "iceberg.rows.added": written.rows,
                }
            )
        self._written[key] = written
        return written

    def write_deletes(
        self, transaction: Transaction, query: str, of: dict[str, DataFile], basis: Hashable
    ) -> Written:
        """Write position delete files; see `write_position_deletes`."""
        self.reach(transaction._table)
        folder = _folder(transaction)
        with _writing(transaction, folder):
            written = write_position_deletes(self.connection, query, folder, of=of)
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

        From when the catalog is asked until it is known to have refused, the files stay, whatever
        happens: a commit may have landed although its answer was lost, or Ctrl-C came before it.

        Args:
            transaction: Is committed.
            change: What it does to the files.
            attempt: Number of the attempt.
            branch: The branch that gets the snapshot.
            expires: Whether old snapshots leave.

        Raises:
            CommitFailedException: if somebody else was first; `ValidationException` likewise.
            CommitStateUnknownException: if nobody can say whether it landed.
            WriteError: if the metadata could not be written.
        """
        with table_span("commit", transaction._table.name()) as span:
            done = self._commit(transaction, change, attempt, branch, expires)
            span.set_attributes(
                {
                    "iceberg.operation": change.operation.value,
                    "iceberg.snapshot.id": str(done.snapshot_id),
                    "iceberg.files.added": done.files_added,
                    "iceberg.files.removed": done.files_removed,
                    "iceberg.bytes.added": done.bytes,
                    "iceberg.rows.added": done.rows,
                    "iceberg.commit.attempt": attempt,
                }
            )
        return done

    def _commit(
        self, transaction: Transaction, change: Change, attempt: int, branch: str, expires: bool
    ) -> Committed:
        producer = Replace(transaction, change, branch=branch)
        try:
            producer.commit()
            before = transaction.table_metadata
            gone = stage_expiry(transaction) if expires else frozenset()
        except OSError as problem:
            producer._clean_all_uncommitted()
            raise _not_written(transaction, problem) from problem
        except BaseException:
            producer._clean_all_uncommitted()
            raise
        self._is_open = False
        try:
            table = committed_table(transaction)
        except Exception as problem:
            landed = _landed(transaction, producer.snapshot_id, problem)
            if landed is None:
                self._is_open = True
                producer._clean_all_uncommitted()
                if isinstance(problem, OSError):
                    raise _not_written(transaction, problem) from problem
                if isinstance(problem, ValueError):
                    raise CommitFailedException("the table has been made anew") from problem
                raise
            table = landed
        self._written.clear()
        if gone:
            with suppress(Exception):  # the commit has landed; what stays is an orphan
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


def _landed(transaction: Transaction, snapshot_id: int, problem: Exception) -> Table | None:
    """The table if a commit landed in spite of a problem; None if it is certain that it did not.

    Raises:
        CommitStateUnknownException: if nobody can say.
    """
    if _is_refusal(problem):
        return None
    catalog, name = transaction._table.catalog, transaction._table.name()
    try:
        table = catalog.load_table(name)
        if table.snapshot_by_id(snapshot_id) is not None:
            return table
        if table.metadata.table_uuid != transaction.table_metadata.table_uuid:
            return None
    except NoSuchTableError:
        pass
    except Exception:
        raise CommitStateUnknownException(str(problem)) from problem
    if _is_of_this_machine(catalog, problem):
        return None
    raise CommitStateUnknownException(str(problem)) from problem


def _is_refusal(problem: Exception) -> bool:
    """Whether a problem says by itself that the commit did not land."""
    refusals = (
        AuthorizationExpiredError,
        BadRequestError,
        CommitFailedException,
        ForbiddenError,
        NoSuchTableError,
        TableAlreadyExistsError,
        TooManyRequestsError,
        UnauthorizedError,
        ValidationException,
    )
    return isinstance(problem, refusals) or is_locked(problem)


def is_locked(problem: BaseException) -> bool:
    """Whether SQLite has given up waiting for another writer, which leaves all as it was."""
    return type(problem).__name__ == "OperationalError" and "database is locked" in str(problem)


def _is_of_this_machine(catalog: Catalog, problem: Exception) -> bool:
    """Whether nothing of a commit can still be under way, so that looking once is enough."""
    is_connection = isinstance(problem, ConnectionError | TimeoutError)
    if isinstance(problem, OSError) and not is_connection and problem.errno is not None:
        return True  # a file could not be written; what requests and S3 raise has no number
    dialect = getattr(getattr(catalog, "engine", None), "dialect", None)
    return getattr(dialect, "name", None) == "sqlite"


@contextmanager
def _writing(transaction: Transaction, folder: Folder) -> Iterator[None]:
    """Tell a folder that cannot be written to from a query that fails."""
    from duckdb import IOException

    try:
        yield
    except OSError as problem:
        raise _not_written(transaction, problem) from problem
    except IOException as problem:
        if folder.path not in str(problem):
            raise
        raise _not_written(transaction, problem) from problem


def _not_written(transaction: Transaction, problem: Exception) -> WriteError:
    number = problem.errno if isinstance(problem, OSError) else None
    reason = os.strerror(number) if number else str(problem)
    return WriteError(
        f"{'.'.join(transaction._table.name())} could not be written: {reason}; "
        "the table is as it was",
        f"look at {transaction._table.location()}: free space, and the right to write there",
    )


def _folder(transaction: Transaction) -> Folder:
    return Folder(transaction._table.location_provider().data_path)
