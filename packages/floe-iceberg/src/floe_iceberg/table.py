"""What happens to Iceberg tables: rows come, go and change, each time in one commit.

Every function plans on the table as it is, writes files, and commits. When somebody else has
committed meanwhile it plans again, on the table as it is then; files that are of no use any more
are removed. A process that dies leaves the table as it was, and perhaps files that nobody names,
which `maintenance.remove_orphan_files` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.manifest import DataFile
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from floe_iceberg.commit import Change
from floe_iceberg.draft import Committed, Draft, committed_table, is_locked
from floe_iceberg.errors import (
    CommitConflictError,
    CommitUnknownError,
    IcebergError,
    TableGoneError,
)
from floe_iceberg.explanation import RESTORE, unreadable
from floe_iceberg.incoming import Incoming
from floe_iceberg.rewriting import Rewriting, Rows
from floe_iceberg.scan import Files, column_types
from floe_iceberg.shape import (
    Identifier,
    Layout,
    aligned_query,
    creation,
    describe,
    order_by,
    replace_columns,
    reshape,
    reshape_columns,
    sort_columns,
    stored_query,
)
from floe_iceberg.snapshots import files_of_branch
from floe_iceberg.tracing import table_span
from floe_iceberg.types import parse_types

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

T = TypeVar("T")

_ATTEMPTS = 20
_LONGEST_WAIT_SECONDS = 5.0


def until_committed(name: Identifier, attempt: Callable[[int], T]) -> T:
    """Try a commit until nobody else is faster.

    Args:
        name: Identifier of the table, for messages.
        attempt: Plans and commits; is given the number of the attempt, from 1. It is called again
            where a commit is known to have failed because of another one.

    Raises:
        CommitConflictError: if somebody else always is.
        CommitUnknownError: if nobody knows whether a commit landed.
    """
    shown = ".".join(name)
    number = 0

    def once() -> T:
        nonlocal number
        number += 1
        return attempt(number)

    retrying = Retrying(
        retry=retry_if_exception(is_conflict),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=_LONGEST_WAIT_SECONDS),
        reraise=True,
    )
    try:
        return retrying(once)
    except CommitStateUnknownException as problem:
        raise CommitUnknownError(
            f"the catalog does not say whether the commit to {shown} landed",
            "look at the table's snapshots before this is run again",
        ) from problem
    except NoSuchTableError as problem:
        raise TableGoneError(
            f"{shown} was dropped while it was written to; nothing was written"
        ) from problem
    except Exception as problem:
        if not is_conflict(problem):
            raise
        raise CommitConflictError(
            f"{shown} was changed by somebody else each of the {_ATTEMPTS} times "
            "that a commit was tried; nothing was written",
            "run it again when the others are done",
        ) from problem


def is_conflict(problem: BaseException) -> bool:
    """Whether a commit failed only because somebody else was faster."""
    conflicts = CommitFailedException | ValidationException | TableAlreadyExistsError
    return isinstance(problem, conflicts) or is_locked(problem)


def load(catalog: Catalog, name: Identifier) -> Table | None:
    """Load a table; None where there is none.

    Raises:
        TableGoneError: if there is one, and its metadata is gone or cannot be read.
    """
    with table_span("load", name), _readable(name):
        try:
            return catalog.load_table(name)
        except NoSuchTableError:
            return None


@contextmanager
def _readable(name: Identifier) -> Iterator[None]:
    """Name a table that is gone, or whose metadata is missing or broken."""
    shown = ".".join(name)
    try:
        yield
    except NoSuchTableError as problem:
        raise TableGoneError(f"there is no table {shown}") from problem
    except Exception as problem:
        reason = unreadable(problem)
        if reason is None:
            raise
        message = f"the metadata of {shown} cannot be read: {reason}; nothing was changed"
        raise TableGoneError(message, RESTORE) from problem


def _planned(catalog: Catalog, name: Identifier, branch: str) -> tuple[Table, Files]:
    with _readable(name):
        table = catalog.load_table(name)
        try:
            return table, files_of_branch(table, branch)
        except FileNotFoundError as problem:
            if catalog.load_table(name).metadata_location == table.metadata_location:
                raise
            raise CommitFailedException("its snapshot has been expired meanwhile") from problem


def replace(
    catalog: Catalog,
    name: Identifier,
    connection: DuckDBPyConnection,
    query: str,
    layout: Layout = Layout(),  # noqa: B008 - it is frozen
) -> Committed:
    """Make a table hold the rows of a query and nothing else; create it where there is none.

    The table's schema, partition spec and sort order become those that are asked for; columns of
    the same name and type keep their field ids. Earlier snapshots stay readable.

    Raises:
        UnsupportedTypeError: if a column cannot be stored.
        IcebergError: if the layout does not fit the columns.
        TableGoneError: if the table's metadata cannot be read.
        WriteError: if files cannot be written.
        CommitConflictError: if somebody else was always faster.
        duckdb.Error: if the query fails.
    """
    columns = describe(connection, query)
    source = stored_query(query, columns) + order_by(layout.sort_by)
    with Draft(connection) as draft:

        def attempt(number: int) -> Committed:
            table = load(catalog, name)
            if table is None:
                transaction = creation(catalog, name, columns, layout)
                before = Files((), {}, is_plain=True)
            else:
                table, before = _planned(catalog, name, MAIN_BRANCH)
                transaction = table.transaction()
                reshape(transaction, columns, layout)
            written = draft.write(transaction, source, required=layout.required)
            change = Change(
                added=written.files,
                is_removed=(lambda _: True) if before.data else None,
                operation=Operation.OVERWRITE if before.data else Operation.APPEND,
            )
            return draft.commit(transaction, change, number)

        return until_committed(name, attempt)


def create(
    catalog: Catalog,
    name: Identifier,
    columns: Mapping[str, str],
    layout: Layout = Layout(),  # noqa: B008 - it is frozen
) -> Table:
    """Create a table without rows.

    Args:
        catalog: Where the table is to be.
        name: The table.
        columns: DuckDB's type of each column, by name.
        layout: What else the table is to look like.

    Raises:
        UnsupportedTypeError: if a column cannot be stored.
        IcebergError: if there is such a table already, a type is not known, or the layout does
            not fit the columns.
    """
    try:
        return committed_table(creation(catalog, name, parse_types(columns), layout))
    except (TableAlreadyExistsError, CommitFailedException) as problem:
        raise IcebergError(
            f"there is a table {'.'.join(name)} already", "drop it first, or write to it"
        ) from problem


def append(
    catalog: Catalog,
    name: Identifier,
    connection: DuckDBPyConnection,
    query: str,
    *,
    branch: str = MAIN_BRANCH,
) -> Committed:
    """Add the rows of a query to a table, by the names of the columns.

    Columns of the table that the query has not become null. Small files that many appends have
    left are written into larger ones on the way.

    Args:
        catalog: Where the table is.
        name: The table.
        connection: Reads and writes.
        query: Gives the rows.
        branch: The branch that is written to.

    Raises:
        TableGoneError: if there is no such table, or its metadata cannot be read.
        IcebergError: if the query has a column that the table has not, or there is no such branch.
        WriteError: if files cannot be written.
        CommitConflictError: if somebody else was always faster.
        duckdb.Error: if the query fails.
    """
    return rewrite(catalog, name, connection, lambda _: Rows(added=query), branch=branch)


def upsert(
    catalog: Catalog,
    name: Identifier,
    connection: DuckDBPyConnection,
    query: str,
    keys: Sequence[str],
    *,
    branch: str = MAIN_BRANCH,
) -> Committed:
    """Let the rows of a query take the place of those with the same keys; others are added.

    Columns that the query has not stay as they are, and are null in rows that are added.

    Args:
        catalog: Where the table is.
        name: The table.
        connection: Reads and writes; a temporary table is made and dropped in it.
        query: Gives the rows; it is run once.
        keys: Columns by which rows are the same.
        branch: The branch that is written to.

    Raises:
        NoSuchTableError: if there is no such table.
        IcebergError: if a key is null or comes twice, or as `append` does.
        CommitConflictError: if somebody else was always faster.
        duckdb.Error: if the query fails, or a value does not fit the column.
    """
    with Incoming(connection, query, keys) as incoming:

        def plan(table: Table) -> Rows:
            incoming.refuse_unknown_columns(table)
            return Rows(matched=incoming.is_matched, change=incoming.merge)

        return rewrite(catalog, name, connection, plan, branch=branch)


def overwrite_partitions(
    catalog: Catalog,
    name: Identifier,
    connection: DuckDBPyConnection,
    query: str,
    *,
    branch: str = MAIN_BRANCH,
) -> Committed:
    """Replace the partitions that a query has rows of; the others stay as they are.

    A table without partitions is replaced as a whole.

    Raises:
        As `append` does; IcebergError also where files of another partition spec are left.
    """
    columns = describe(connection, query)
    with Draft(connection) as draft:

        def attempt(number: int) -> Committed:
            table, files = _planned(catalog, name, branch)
            spec_id = table.spec().spec_id
            if any(file.spec_id != spec_id for file in files.data):
                raise IcebergError(
                    f"{'.'.join(name)} has files of an earlier partition spec, so its partitions "
                    "cannot be overwritten one by one",
                    "write it anew as a whole once (dbt: --full-refresh)",
                )
            transaction = table.transaction()
            schema = table.schema()
            source = aligned_query(
                query, columns, schema, column_types(table.properties, schema)
            ) + order_by(sort_columns(table.metadata))
            written = draft.write(transaction, source)
            partitions = {file.partition for file in written.files}
            gone = {
                file.file_path
                for file in files.data
                if file.partition in partitions or table.spec().is_unpartitioned()
            }
            change = Change(added=written.files, is_removed=_named(gone) if gone else None)
            return draft.commit(transaction, change, number, branch=branch)

        return until_committed(name, attempt)


def rewrite(
    catalog: Catalog,
    name: Identifier,
    connection: DuckDBPyConnection,
    plan: Callable[[Table], Rows],
    *,
    branch: str = MAIN_BRANCH,
) -> Committed:
    """Take rows out of a table and put others in, in one commit.

    Rows that leave are deleted in place (position deletes) where they are few and scattered over
    much data; else the files that hold them are written anew, and no others.

    Args:
        catalog: Where the table is.
        name: The table.
        connection: Reads and writes; temporary tables are made and dropped in it.
        plan: Says what happens, for the table as it is; asked again when somebody else was faster.
        branch: The branch that is written to.

    Raises:
        TableGoneError: if there is no such table, or its metadata cannot be read.
        IcebergError: if there is no such branch.
        CommitConflictError: if somebody else was always faster.
        duckdb.Error: if a query fails.
    """
    with Draft(connection) as draft:

        def attempt(number: int) -> Committed:
            table, files = _planned(catalog, name, branch)
            draft.reach(table)
            transaction = table.transaction()
            rows = plan(table)
            if rows.columns is not None:
                shaped = replace_columns if rows.replaces_all else reshape_columns
                shaped(transaction, rows.columns)
            with Rewriting(connection, transaction, files, rows) as rewriting:
                removal = rewriting.removal()
                source = rewriting.source(removal)
                written = draft.write(transaction, source, required=rows.required, basis=number)
                deletes = rewriting.write_deletes(draft, removal, basis=number)
            change = Change(
                added=written.files,
                deletes=deletes,
                is_removed=_named(removal.gone) if removal.gone else None,
                operation=Operation.OVERWRITE if removal.gone or deletes else Operation.APPEND,
            )
            return draft.commit(transaction, change, number, branch=branch)

        return until_committed(name, attempt)


def _named(paths: Iterable[str]) -> Callable[[DataFile], bool]:
    names = frozenset(paths)
    return lambda file: file.file_path in names
