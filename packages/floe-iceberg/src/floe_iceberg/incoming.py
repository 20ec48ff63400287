"""Rows that come into a table by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from floe_iceberg.errors import IcebergError
from floe_iceberg.sql import identifier

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection
    from pyiceberg.table import Table


class Incoming:
    """The rows of a query, held in a temporary table so that the query runs once.

    Raises:
        IcebergError: on entry, if a key is no column of the query, is null or comes twice.
    """

    def __init__(self, connection: DuckDBPyConnection, query: str, keys: Sequence[str]) -> None:
        self._connection = connection
        self._query = query
        self._keys = [identifier(key) for key in keys]
        self._table = f"temp.main.__iceberg_incoming_{uuid4().hex[:12]}"

    def __enter__(self) -> Self:
        self._connection.execute(f"CREATE TEMP TABLE {self._table} AS {self._query}")
        try:
            self._columns = list(self._connection.table(self._table).columns)
            self._refuse_bad_keys()
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._drop()

    def _drop(self) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {self._table}")

    @property
    def is_matched(self) -> str:
        """Predicate over a row of the table, whose alias is `t`: whether a row comes for it.

        Unlike EXISTS, IN lets DuckDB skip the row groups that no key falls into.
        """
        keys, others = (", ".join(f"{side}.{key}" for key in self._keys) for side in "ts")
        return f"({keys}) IN (SELECT {others} FROM {self._table} AS s)"

    @property
    def _on(self) -> str:
        return " AND ".join(f"s.{key} = t.{key}" for key in self._keys)

    def merge(self, rows: str) -> None:
        """Update the matched rows, which are in a temporary table, and add the others to it."""
        columns = [identifier(column) for column in self._columns]
        keys = {key.lower() for key in self._keys}
        changes = ", ".join(f"{c} = s.{c}" for c in columns if c.lower() not in keys)
        update = f"WHEN MATCHED THEN UPDATE SET {changes} " if changes else ""
        self._connection.execute(
            f"MERGE INTO {rows} AS t USING {self._table} AS s ON {self._on} {update}"
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) "
            f"VALUES ({', '.join(f's.{column}' for column in columns)})"
        )

    def refuse_unknown_columns(self, table: Table) -> None:
        """Stop where the table has not all columns.

        Raises:
            IcebergError: if one is missing.
        """
        known = {field.name.lower() for field in table.schema().fields}
        missing = [column for column in self._columns if column.lower() not in known]
        if missing:
            raise IcebergError(
                f"the table has no column {', '.join(missing)}",
                f"it has {', '.join(field.name for field in table.schema().fields)}",
            )

    def _refuse_bad_keys(self) -> None:
        if not self._keys:
            raise IcebergError(
                "no key is given to upsert by", "name the columns that identify a row"
            )
        known = {identifier(column).lower() for column in self._columns}
        for key in self._keys:
            if key.lower() not in known:
                raise IcebergError(
                    f"the key {key} is no column of the query",
                    f"it has {', '.join(self._columns)}",
                )
        keys = ", ".join(self._keys)
        nulls = self._count(
            f"SELECT count(*) FROM {self._table} "
            f"WHERE {' OR '.join(f'{key} IS NULL' for key in self._keys)}"
        )
        if nulls:
            raise IcebergError(
                f"the key {keys} is null in {nulls} row{'s' if nulls != 1 else ''}; "
                "nothing was written",
                "leave them out, or fill the key in",
            )
        twice = self._count(
            f"SELECT count(*) FROM "
            f"(SELECT 1 FROM {self._table} GROUP BY {keys} HAVING count(*) > 1)"
        )
        if twice:
            raise IcebergError(
                f"{twice} value{'s' if twice != 1 else ''} of the key {keys} "
                f"come{'s' if twice == 1 else ''} more than once; nothing was written",
                "keep one row for each",
            )

    def _count(self, query: str) -> int:
        found = self._connection.execute(query).fetchone()
        return int(found[0]) if found else 0
