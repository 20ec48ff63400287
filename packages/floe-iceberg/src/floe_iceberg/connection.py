"""A DuckDB connection whose tables are Iceberg tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from floe_iceberg.attachment import Attached, Attachment, Name
from floe_iceberg.errors import IcebergError
from floe_iceberg.rewriting import Rows
from floe_iceberg.shape import describe
from floe_iceberg.sql import identifier
from floe_iceberg.statements import Chain, Creation, changes, created_table
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
            IcebergError: if it begins or ends a transaction.
            duckdb.Error: if it fails.
        """
        _refuse_transactions(query)
        with self.attachment.explained():
            self.attachment.prepare(query)
            created = created_table(query)
            if created is not None and created.is_replaced and len(_statements(query)) == 1:
                name = self._iceberg(created.target)
                if name is not None:
                    return self._make_anew(name, created, parameters)
            elif created is not None:
                self._take(created.target)
            for change in changes(query) or ():
                if change.target is not None and change.verb != "select":
                    self._take(change.target)
        return super().execute(query, parameters)

    def sql(self, query: str, **options: Any) -> duckdb.DuckDBPyRelation | None:
        """Make a relation of a query; see DuckDB's `sql`."""
        _refuse_transactions(query)
        return super().sql(query, **options)

    query = sql

    def begin(self) -> None:
        """Refuse to begin a transaction."""
        _refuse_transactions("BEGIN")

    def _iceberg(self, chain: Chain) -> Name | None:
        """The Iceberg table that a chain of names is; None where it is none, or DuckDB's now."""
        name = self.attachment.name(chain)
        if name is None or name.key in self._changed or self.attachment.found(name) is None:
            return None
        return name

    def _take(self, chain: Chain) -> None:
        """Let DuckDB have an Iceberg table of its own, with the rows that are there now."""
        name = self._iceberg(chain)
        if name is None:
            return
        rows = self.attachment.rows(self.attachment.existing(name))
        self._connection.execute(f"CREATE TABLE {_new(name).sql} AS {rows}")
        self._put(name)

    def _make_anew(
        self, name: Name, created: Creation, parameters: object
    ) -> duckdb.DuckDBPyConnection:
        """Let DuckDB have a table in place of an Iceberg table, which the query may read."""
        counted = super().execute(created.aimed_at(_new(name).sql), parameters).fetchall()
        self._put(name)
        return self._connection.execute(f"SELECT {counted[0][0] if counted else 0} AS Count")

    def _put(self, name: Name) -> None:
        """Let a new table have the name of an Iceberg table; one that is missing was dropped."""
        self.attachment.give_up(name)
        self._connection.execute(
            f"ALTER TABLE {_new(name).sql} RENAME TO {identifier(name.identifier)}"
        )
        self._changed[name.key] = name

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


def _new(name: Name) -> Name:
    return Name(name.database, name.schema, f"{name.identifier}__floe_new")


def _statements(query: str) -> list[duckdb.Statement]:
    with suppress(duckdb.Error):  # which running it says better
        return duckdb.extract_statements(query)
    return []


def _refuse_transactions(query: str) -> None:
    """A rollback would take away the copy of a table, as if the table had been dropped."""
    kinds = {statement.type for statement in _statements(query)}
    if duckdb.StatementType.TRANSACTION in kinds:
        raise IcebergError(
            "transactions of DuckDB do not reach Iceberg tables: what is written here is committed "
            "when the block ends without an error, and dropped otherwise",
            "leave BEGIN, COMMIT and ROLLBACK out",
        )


@contextmanager
def writing(connection: duckdb.DuckDBPyConnection, attached: Attached) -> Iterator[Writer]:
    """A connection whose tables are committed when the block ends, and dropped when it fails."""
    writer = Writer(connection, attached)
    yield writer
    with writer.attachment.explained():
        writer.publish()
