"""A DuckDB connection whose tables are Iceberg tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from floe_iceberg.attachment import Attached, Attachment, Name
from floe_iceberg.rewriting import Rows
from floe_iceberg.shape import describe
from floe_iceberg.sql import identifier
from floe_iceberg.statements import Chain, changes, created_table
from floe_iceberg.table import replace, rewrite

MEMORY = "memory"
"""Name of DuckDB's database in memory."""


class Reader:
    """Reads Iceberg tables, and the views that are kept beside them, by SQL.

    Args:
        connection: A connection to a DuckDB database in memory; it has cursors made of it.
        attached: What is read. Its `database` is the connection's.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, attached: Attached) -> None:
        self._connection = connection
        self.attachment = Attachment(attached, connection.cursor)
        self.attachment.prepare_database(connection)
        schema = identifier(attached.schema)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute(f"USE {schema}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """Run SQL, after DuckDB has been shown the tables that it names.

        Raises:
            FloeError: if the catalog or its storage cannot be used.
            duckdb.Error: if it fails.
        """
        with self.attachment.explained():
            self.attachment.prepare(query)
        try:
            return self._connection.execute(query, parameters)
        except duckdb.CatalogException as problem:
            with self.attachment.explained():
                is_there = self.attachment.prepare_again(query)
            if not is_there:
                raise self.attachment.with_suggestion(problem) from None
            return self._connection.execute(query, parameters)

    def sql(self, query: str, **options: Any) -> duckdb.DuckDBPyRelation | None:
        """Make a relation of a query; see DuckDB's `sql`."""
        with self.attachment.explained():
            self.attachment.prepare(query)
        return self._connection.sql(query, **options)

    query = sql


class Writer(Reader):
    """Reads and writes Iceberg tables by SQL; what was written is committed by `publish`.

    Until then a table that is created or changed is one of DuckDB, which nobody else sees.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, attached: Attached) -> None:
        super().__init__(connection, attached)
        self._changed: dict[tuple[str, str, str], Name] = {}

    def execute(self, query: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """Run SQL; tables that it changes become tables of DuckDB until `publish`.

        Raises:
            duckdb.Error: if it fails.
        """
        with self.attachment.explained():
            self.attachment.prepare(query)
            created = created_table(query)
            if created is not None:
                self._take(created.target, with_rows=not created.is_replaced)
            for change in changes(query) or ():
                if change.target is not None and change.verb != "select":
                    self._take(change.target, with_rows=True, is_dropped=change.verb == "drop")
        return super().execute(query, parameters)

    def _take(self, chain: Chain, *, with_rows: bool, is_dropped: bool = False) -> None:
        """Let DuckDB have an Iceberg table of its own, with the rows that are there now."""
        name = self.attachment.name(chain)
        if name is None or name.key in self._changed:
            return
        place = self.attachment.found(name)
        if place is None:
            return
        self._changed[name.key] = name
        rows = self.attachment.rows(place)
        self.attachment.give_up(name)
        if with_rows or is_dropped:
            self._connection.execute(f"CREATE TABLE {name.sql} AS {rows}")

    def publish(self) -> None:
        """Commit each table that was created, changed or dropped.

        Raises:
            FloeError: if one cannot be committed; those before it are.
        """
        there = self._tables()
        for name in there:
            self._publish(name)
        kept = {name.key for name in there}
        for key, name in self._changed.items():
            if key not in kept:
                self.attachment.drop(name)

    def _tables(self) -> list[Name]:
        """What was created, but for what is in databases that the block has attached."""
        found = self._connection.execute(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() "
            "WHERE NOT internal AND NOT temporary ORDER BY ALL"
        ).fetchall()
        own = {database.lower() for database in self.attachment.databases}
        return [Name(*row) for row in found if row[0].lower() in own]

    def _publish(self, name: Name) -> None:
        place = self.attachment.found(name)
        query = f"SELECT * FROM {name.sql}"
        if place is None:
            place = self.attachment.place(name)
            catalog = self.attachment.catalog(place.catalog)
            replace(
                catalog, place.identifier, self._connection, query, self.attachment.layout(name)
            )
            return
        catalog = self.attachment.catalog(place.catalog)
        rows = Rows(added=query, replaces_all=True, columns=describe(self._connection, query))
        rewrite(catalog, place.identifier, self._connection, lambda _: rows)


@contextmanager
def writing(connection: duckdb.DuckDBPyConnection, attached: Attached) -> Iterator[Writer]:
    """A connection whose tables are committed when the block ends, and dropped when it fails."""
    writer = Writer(connection, attached)
    yield writer
    with suppress(duckdb.TransactionException):  # the block ended its transaction, or had none
        connection.execute("COMMIT")
    with writer.attachment.explained():
        writer.publish()
