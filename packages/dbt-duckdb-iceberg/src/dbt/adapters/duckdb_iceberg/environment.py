"""DuckDB, with views of the Iceberg tables that statements name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.adapters.duckdb.environments.local import DuckDBConnectionWrapper, LocalEnvironment
from dbt_common.exceptions import DbtRuntimeError

from dbt.adapters.duckdb_iceberg.credentials import IcebergCredentials
from floe_core.errors import FloeError
from floe_iceberg.attachment import Attachment
from floe_iceberg.statements import changes

_sink = threading.local()


class IcebergEnvironment(LocalEnvironment):
    """A DuckDB database in this process, beside the Iceberg catalogs of a profile.

    Attributes:
        lake: The tables and views.
    """

    def __init__(self, credentials: IcebergCredentials) -> None:
        super().__init__(credentials)
        self.lake = Attachment(credentials.attached(), self._new_cursor)

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own, outside of what any model does."""
        with self.lock:
            if self.conn is None:
                self.conn = self._open()
            return self.conn.cursor()

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = self.initialize_db(self.creds, self._plugins)
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

    def submit_python_job(
        self, handle: Any, parsed_model: dict[str, Any], compiled_code: str
    ) -> AdapterResponse:
        """Run a Python model; what it returns goes to the function that `collecting` was given."""
        cursor = handle.cursor()
        self.lake.prepare(compiled_code)

        def load(name: str) -> duckdb.DuckDBPyRelation:
            self.lake.prepare(name)
            return cursor.query(f"SELECT * FROM {name}")

        self.run_python_job(cursor, load, parsed_model["alias"], compiled_code, self.creds)
        return AdapterResponse(_message="OK")


@contextmanager
def collecting(take: Callable[[duckdb.DuckDBPyConnection, str], None]) -> Iterator[None]:
    """Give what a Python model returns in this thread to a function.

    It is given a connection, and the name under which that knows the rows.
    """
    _sink.take = take
    try:
        yield
    finally:
        del _sink.take


def collect(frame: Any, connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Called at the end of a Python model's code with what the model returned."""
    connection.register(name, frame)
    try:
        _sink.take(connection, name)
    finally:
        connection.unregister(name)


class IcebergCursor:
    """A cursor that knows Iceberg tables: those it reads are there, and those it changes change."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, lake: Attachment) -> None:
        self._cursor = cursor
        self._lake = lake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, bindings: Any = None) -> Any:
        """Run SQL, after views of the Iceberg tables that it names have been renewed."""
        try:
            self._lake.prepare(sql)
            divided = changes(sql)
            if divided is not None and any(self._lake.is_table(c.target) for c in divided):
                return self._change(divided, bindings)
            return self._run(sql, bindings)
        except FloeError as problem:
            raise DbtRuntimeError(text_of(problem)) from problem

    def _run(self, sql: str, bindings: Any) -> Any:
        try:
            return self._cursor.execute(sql, bindings)
        except duckdb.CatalogException:
            if not self._lake.prepare_again(sql):
                raise
            return self._cursor.execute(sql, bindings)

    def _change(self, divided: list[Any], bindings: Any) -> Any:
        result = None
        for change in divided:
            if self._lake.is_table(change.target):
                self._lake.change(self._cursor, change, bindings)
                result = self._cursor
            else:
                result = self._cursor.execute(change.sql, bindings)
        return result


def text_of(problem: FloeError) -> str:
    """A message and what to do about it."""
    return f"{problem.message}: {problem.help}" if problem.help else problem.message
