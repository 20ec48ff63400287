"""Connections to DuckDB whose statements see Iceberg tables."""

from __future__ import annotations

from dbt.adapters.contracts.connection import Connection, ConnectionState
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
            except RuntimeError as problem:
                connection.handle = None
                connection.state = ConnectionState.FAIL
                raise FailedToConnectError(str(problem)) from problem
        return connection

    @classmethod
    def close_all_connections(cls) -> None:
        """Forget the environment, where it is kept."""
        DuckDBConnectionManager.close_all_connections()
