"""Connections to DuckDB whose statements see Iceberg tables."""

from __future__ import annotations

from typing import Any

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse, Connection, ConnectionState
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.exceptions import FailedToConnectError

from dbt.adapters.duckdb_iceberg.environment import IcebergEnvironment


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
        """What dbt records of a statement: the rows that it wrote, where it wrote any."""
        rows, cursor.rows = getattr(cursor, "rows", None), None
        return AdapterResponse(_message="OK", rows_affected=rows)


def _connection_text(problem: Exception) -> str:
    if "Could not set lock" in str(problem):
        return (
            f"{problem}\nAnother process has this file of DuckDB open. It holds no tables: "
            "give each process a `path` of its own, or `:memory:`."
        )
    return str(problem)
