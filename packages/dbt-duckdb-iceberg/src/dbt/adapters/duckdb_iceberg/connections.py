"""Connections to DuckDB whose statements see Iceberg tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse, Connection, ConnectionState
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.exceptions import FailedToConnectError

from dbt.adapters.duckdb_iceberg.environment import IcebergCursor, IcebergEnvironment

if TYPE_CHECKING:
    from floe_iceberg import Committed


@dataclass
class IcebergResponse(AdapterResponse):
    """What dbt records of a statement, in run_results.json too: the commit that it made, if any.

    Attributes:
        snapshot_id: The snapshot that was made. A text, for dbt's events hold no such number.
        is_first_snapshot: Whether the table had no snapshot before.
        location: URI of the table's folder.
        added_files: Data and delete files that were written.
        added_files_size: Bytes of them.
        total_data_files: Data files of the table after it.
        total_files_size: Bytes of all files of the table after it.
        total_records: Rows of the table's data files after it, those that are deleted included.
    """

    snapshot_id: str | None = None
    is_first_snapshot: bool | None = None
    location: str | None = None
    added_files: int | None = None
    added_files_size: int | None = None
    total_data_files: int | None = None
    total_files_size: int | None = None
    total_records: int | None = None

    @classmethod
    def of(cls, rows: int | None, done: Committed | None) -> IcebergResponse:
        """What to record of what a cursor has written."""
        response = cls(_message="OK", rows_affected=rows)
        if done is not None:
            snapshot = done.table.snapshot_by_id(done.snapshot_id)
            summary = snapshot.summary if snapshot is not None else None
            response.code = "OK"
            response.snapshot_id = str(done.snapshot_id)
            response.is_first_snapshot = snapshot is not None and not snapshot.parent_snapshot_id
            response.location = done.table.location()
            response.added_files = done.files_added
            response.added_files_size = done.bytes
            for total in ("data_files", "files_size", "records"):
                text = summary[f"total-{total.replace('_', '-')}"] if summary else None
                setattr(response, f"total_{total}", None if text is None else int(text))
        return response


class IcebergConnectionManager(DuckDBConnectionManager):
    """Opens an `IcebergEnvironment` where dbt-duckdb opens a local one.

    dbt-duckdb keeps the environment in a class attribute and asks its own class for it, so it is
    kept there, not here.
    """

    TYPE = "duckdb_iceberg"

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        """Open a connection; the environment too, for the first one or new credentials."""
        if connection.state == ConnectionState.OPEN:
            return connection
        base = DuckDBConnectionManager
        with base._LOCK:
            try:
                if base._ENV is None or base._ENV.creds != connection.credentials:
                    if base._ENV is not None:
                        base._ENV.close()
                    base._ENV = IcebergEnvironment(connection.credentials)
                connection.handle = base._ENV.handle()
                connection.state = ConnectionState.OPEN
            except (RuntimeError, duckdb.Error) as problem:
                connection.handle = None
                connection.state = ConnectionState.FAIL
                raise FailedToConnectError(_connection_text(problem)) from problem
        return connection

    @classmethod
    def close_all_connections(cls) -> None:
        """Forget the environment, where it is kept."""
        DuckDBConnectionManager.close_all_connections()

    @classmethod
    def get_response(cls, cursor: Any) -> AdapterResponse:
        """What dbt records of a statement: what it wrote, where it wrote any."""
        if not isinstance(cursor, IcebergCursor):
            return AdapterResponse(_message="OK")
        return IcebergResponse.of(cursor.rows, cursor.done)

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement; dbt asks twice what it wrote, and the next one is not to say it."""
        found = super().execute(*arguments, **options)
        self.get_thread_connection().handle.cursor().forget()
        return found


def _connection_text(problem: Exception) -> str:
    if "Could not set lock" in str(problem):
        return (
            f"{problem}\nAnother process has this file of DuckDB open. It holds no tables: "
            "give each process a `path` of its own, or `:memory:`."
        )
    return str(problem)
