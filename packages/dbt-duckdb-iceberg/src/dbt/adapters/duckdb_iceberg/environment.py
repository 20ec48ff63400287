"""DuckDB, with views of the Iceberg tables that statements name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.adapters.duckdb.environments.local import DuckDBConnectionWrapper, LocalEnvironment

from dbt.adapters.duckdb_iceberg.credentials import IcebergCredentials
from dbt.adapters.duckdb_iceberg.errors import explained
from floe_iceberg.attachment import Attachment, StoredView
from floe_iceberg.errors import IcebergError
from floe_iceberg.statements import Change, changes

if TYPE_CHECKING:
    from floe_iceberg import Committed


class IcebergEnvironment(LocalEnvironment):
    """A DuckDB database in this process, beside the Iceberg catalogs of a profile.

    Attributes:
        lake: The tables and views.
    """

    def __init__(self, credentials: IcebergCredentials) -> None:
        super().__init__(credentials)
        self.conn: duckdb.DuckDBPyConnection | None = None
        self.lake = Attachment(credentials.attached(), self._new_cursor)

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own, outside of what any model does."""
        with self.lock:
            if self.conn is None:
                self.conn = self._open()
            return self.conn.cursor()

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection: duckdb.DuckDBPyConnection = self.initialize_db(self.creds, self._plugins)
        self.lake.prepare_database(connection)
        return connection

    def handle(self) -> DuckDBConnectionWrapper:
        """A connection whose statements see Iceberg tables."""
        with self.lock:
            if self.conn is None:
                self.conn = self._open()
        wrapper = super().handle()
        wrapper._cursor = IcebergCursor(wrapper._cursor._cursor, self.lake)
        return wrapper

    def release(self) -> None:
        """Close DuckDB's file when nothing is under way, so that other programs can open it."""
        with self.lock:
            if self.handle_count <= 0 and self.creds.path != ":memory:":
                self.close()

    def submit_python_job(
        self, handle: Any, parsed_model: dict[str, Any], compiled_code: str
    ) -> AdapterResponse:
        """Run a Python model; what it returns goes to the function that `collecting` was given."""
        cursor = handle.cursor()

        def load(name: str) -> duckdb.DuckDBPyRelation:
            rows: duckdb.DuckDBPyRelation = cursor.query(f"SELECT * FROM {name}")
            return rows

        self.run_python_job(cursor, load, parsed_model["alias"], compiled_code, self.creds)
        return AdapterResponse(_message="OK")


_sink = threading.local()


@contextmanager
def collecting(take: Callable[[duckdb.DuckDBPyConnection, str], None]) -> Iterator[None]:
    """Give what a Python model returns in this thread to a function.

    It is given a connection, and the name under which that knows the rows. What goes wrong in it
    is raised here, and not as a problem of the model's code.
    """
    _sink.take, _sink.problem = take, None
    try:
        yield
        if _sink.problem is not None:
            raise _sink.problem
    finally:
        del _sink.take, _sink.problem


def collect(frame: Any, connection: Any, name: str) -> None:
    """Called at the end of a Python model's code with what the model returned."""
    plain = connection._cursor if isinstance(connection, IcebergCursor) else connection
    plain.register(name, frame)
    try:
        _sink.take(plain, name)
    except Exception as problem:
        _sink.problem = problem
    finally:
        plain.unregister(name)


class IcebergCursor:
    """A cursor that knows Iceberg tables: those it reads are there, and those it changes change.

    Attributes:
        rows: Rows that were written since `forget`; None where nothing was.
        done: The commit that wrote them, if it was one of dbt's own writes.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, lake: Attachment) -> None:
        self._cursor = cursor
        self._lake = lake
        self.rows: int | None = None
        self.done: Committed | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def has_written(self, done: Committed) -> None:
        """Keep what a commit has done until dbt has asked for it."""
        self.rows, self.done = done.rows, done

    def forget(self) -> None:
        """Let nothing have been written."""
        self.rows, self.done = None, None

    def sql(self, query: str, **options: Any) -> Any:
        """A relation, as DuckDB makes it, of Iceberg tables too."""
        with explained(self._lake):
            self._lake.prepare(query)
        return self._cursor.sql(query, **options)

    query = sql

    def table(self, name: str) -> Any:
        """A relation of a table, which may be an Iceberg table."""
        with explained(self._lake):
            self._lake.prepare(name)
        return self._cursor.table(name)

    view = table

    def execute(self, sql: str, bindings: Any = None) -> Any:
        """Run SQL, after views of the Iceberg tables that it names have been renewed."""
        with explained(self._lake):
            self._lake.prepare(sql)
            divided = changes(sql)
        if divided is not None and any(self._is_ours(change) for change in divided):
            with explained(self._lake):
                for change in divided:
                    self._change(change, bindings)
            return self
        try:
            return self._cursor.execute(sql, bindings)
        except (duckdb.CatalogException, duckdb.IOException) as problem:
            # Perhaps somebody else made what it names, or files are gone that were replaced.
            if len(duckdb.extract_statements(sql)) != 1:
                raise
            with explained(self._lake):
                is_there = self._lake.prepare_again(sql)
            if not is_there:
                if isinstance(problem, duckdb.CatalogException):
                    raise self._lake.with_suggestion(problem) from None
                raise
            with explained(self._lake):
                return self._cursor.execute(sql, bindings)

    def _is_ours(self, change: Change) -> bool:
        """Whether a statement changes what is kept in a catalog."""
        if change.target is None or change.verb == "select":
            return False
        if change.verb == "drop schema":
            return True
        if change.verb == "drop view":
            return self._lake.is_table(change.target) or self._stored(change) is not None
        return self._lake.is_table(change.target) and not self._is_temporary(change)

    def _stored(self, change: Change) -> StoredView | None:
        name = self._lake.name(change.target or ())
        return None if name is None else self._lake.stored_view(name)

    def _is_temporary(self, change: Change) -> bool:
        """Whether a name without a schema is that of a temporary table, which goes first."""
        if change.target is None or len(change.target) > 1:
            return False
        found = self._cursor.execute(
            "SELECT 1 FROM duckdb_tables() WHERE temporary AND lower(table_name) = ?",
            [change.target[0].lower()],
        )
        return found.fetchone() is not None

    def _change(self, change: Change, bindings: Any) -> None:
        if not self._is_ours(change):
            self._cursor.execute(change.sql, bindings)
        elif change.verb == "drop schema":
            self._drop_schema(change)
        elif change.verb == "drop view" and not self._lake.is_table(change.target):
            name = self._lake.name(change.target or ())
            self._cursor.execute(change.sql, bindings)
            if name is not None:
                self._lake.drop_view(name)
        else:
            self.rows = self._lake.change(self._cursor, change, bindings)
            self._cursor.execute(f"SELECT {self.rows} AS Count")

    def _drop_schema(self, change: Change) -> None:
        name = self._lake.name((*(change.target or ()), ""))
        if name is not None:
            tables, _ = self._lake.relations(name.database, name.schema)
            if tables and not change.is_cascading:
                raise IcebergError(
                    f"the schema {name.schema} has {len(tables)} Iceberg tables",
                    "drop them first, or use CASCADE",
                )
            self._lake.drop_schema(name.database, name.schema)
        self._cursor.execute(change.sql)
