"""Iceberg catalogs as a DuckDB database shows them.

DuckDB sees an Iceberg table as a view of its files. The view is made when a statement first names
the table, and anew when the table has changed here; so the DuckDB database can be deleted at any
time. The SQL of views is kept in the catalog too, in one small Iceberg table for each namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import duckdb
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
)
from pyiceberg.table import Table

from floe_iceberg.catalog import explained, open_catalog
from floe_iceberg.engine import configure, load_iceberg
from floe_iceberg.errors import IcebergError
from floe_iceberg.rewriting import Rows
from floe_iceberg.scan import files_of, scan_sql
from floe_iceberg.shape import Identifier, Layout
from floe_iceberg.sql import identifier, literal
from floe_iceberg.statements import Chain, Change, candidates
from floe_iceberg.table import load, replace, rewrite

OWN = "default"
"""Key of the catalog that tables go to unless something else is said."""

VIEWS = "_dbt_views"
"""Name of the Iceberg table that keeps the SQL of a namespace's views: `name`, `sql`."""

_MARK = "Iceberg table "


@dataclass(frozen=True, slots=True)
class Name:
    """What dbt calls a relation.

    Attributes:
        database: DuckDB's database: the main one, or one for each further catalog.
        schema: The schema.
        identifier: The table or view.
    """

    database: str
    schema: str
    identifier: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Equal for names that DuckDB does not tell apart."""
        return (self.database.lower(), self.schema.lower(), self.identifier.lower())

    @property
    def schema_sql(self) -> str:
        """The name of the schema in SQL."""
        return f"{identifier(self.database)}.{identifier(self.schema)}"

    @property
    def sql(self) -> str:
        """The name in SQL."""
        return ".".join(map(identifier, (self.database, self.schema, self.identifier)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is in Iceberg.

    Attributes:
        catalog: Name of the catalog in the profile.
        identifier: Its identifier there.
    """

    catalog: str
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a table is whose name in DuckDB is not its name in Iceberg.

    Attributes:
        catalog: Key of its catalog.
        namespace: Its namespace, with dots between the parts.
        properties: Table properties that it gets.
    """

    catalog: str
    namespace: str
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attached:
    """What is attached to a DuckDB database.

    Attributes:
        catalogs: PyIceberg's properties of each catalog, by key; see `open_catalog`. Tables go to
            `default`; each of the others is a database of its key in DuckDB.
        database: Name of DuckDB's main database.
        schema: The schema of names that have none.
        tables: Where tables are that are not in `default` under their schema, by
            `schema.identifier`.
    """

    catalogs: Mapping[str, Mapping[str, str]]
    database: str
    schema: str = "main"
    tables: Mapping[str, Placement] = field(default_factory=dict)


class Attachment:
    """The tables and views of Iceberg catalogs, as one DuckDB database shows them.

    Args:
        attached: The catalogs.
        new_cursor: Gives a cursor of the database, which is closed after use.
    """

    def __init__(
        self, attached: Attached, new_cursor: Callable[[], duckdb.DuckDBPyConnection]
    ) -> None:
        self._attached = attached
        self._further = [key for key in attached.catalogs if key != OWN]
        self._new_cursor = new_cursor
        self._lock = threading.RLock()
        self._catalogs: dict[str, Catalog] = {}
        self._namespaces: dict[str, set[Identifier]] = {}
        self._listings: dict[tuple[str, Identifier], dict[str, str]] = {}
        self._stored: dict[tuple[str, Identifier], dict[str, str]] = {}
        self._unsaved: dict[tuple[str, Identifier], dict[str, str | None]] = {}
        self._shown: dict[tuple[str, str, str], str] = {}
        self._restored: set[tuple[str, str, str]] = set()
        self._writing: dict[Place, threading.RLock] = {}
        self._placed = {
            tuple(key.lower().split(".", 1)): place for key, place in attached.tables.items()
        }

    # Catalogs and names

    def catalog(self, key: str) -> Catalog:
        """Open a catalog."""
        with self._lock:
            if key not in self._catalogs:
                self._catalogs[key] = open_catalog(self._attached.catalogs[key])
            return self._catalogs[key]

    @contextmanager
    def explained(self, key: str) -> Iterator[None]:
        """Say in one sentence why a catalog or its storage cannot be used; see `catalog`."""
        with explained(key, self._attached.catalogs[key]):
            yield

    def name(self, chain: Chain) -> Name | None:
        """What a chain of names in SQL would be, were it a relation."""
        main, schema = self._attached.database, self._attached.schema
        match chain:
            case (table,):
                return Name(main, schema, table)
            case (schema, table):
                return Name(main, schema, table)
            case (database, schema, table):
                known = {main.lower(), *(key.lower() for key in self._further)}
                return Name(database, schema, table) if database.lower() in known else None
            case _:
                return None

    def place(self, name: Name) -> Place:
        """Where a table of a name is, or would be."""
        placed = self._placement(name)
        if placed is not None:
            return Place(placed.catalog, (*placed.namespace.split("."), name.identifier))
        for key in self._further:
            if key.lower() == name.database.lower():
                return Place(key, (name.schema, name.identifier))
        return Place(OWN, (name.schema, name.identifier))

    def _placement(self, name: Name) -> Placement | None:
        if name.database.lower() != self._attached.database.lower():
            return None
        return self._placed.get((name.schema.lower(), name.identifier.lower()))

    def table_properties(self, name: Name) -> Mapping[str, str]:
        """Table properties that a table gets for where it is."""
        placed = self._placement(name)
        return placed.properties if placed is not None else {}

    def found(self, name: Name) -> Place | None:
        """Where the table of a name is; None where there is none."""
        place = self.place(name)
        actual = self._listing(place.catalog, place.identifier[:-1]).get(
            place.identifier[-1].lower()
        )
        if actual is None or actual == VIEWS:
            return None
        return Place(place.catalog, (*place.identifier[:-1], actual))

    def _listing(self, catalog: str, namespace: Identifier) -> dict[str, str]:
        """The tables of a namespace, by their names in lower case."""
        with self._lock:
            key = (catalog, namespace)
            if key not in self._listings:
                if not self._has_namespace(catalog, namespace):
                    return {}
                try:
                    listed = self.catalog(catalog).list_tables(namespace)
                except NoSuchNamespaceError:
                    return {}
                self._listings[key] = {name[-1].lower(): name[-1] for name in listed}
            return self._listings[key]

    def _has_namespace(self, catalog: str, namespace: Identifier) -> bool:
        if catalog not in self._namespaces:
            self._namespaces[catalog] = set(self.catalog(catalog).list_namespaces())
        known = self._namespaces[catalog]
        if len(namespace) > 1:
            return self.catalog(catalog).namespace_exists(namespace)
        return namespace in known

    def is_empty(self) -> bool:
        """Whether no catalog has a table or a view."""
        with self._lock:
            for key in self._attached.catalogs:
                catalog = self.catalog(key)
                if any(catalog.list_tables(name) for name in catalog.list_namespaces()):
                    return False
        return True

    def forget(self) -> None:
        """Look at the catalogs anew: others may have changed them since."""
        with self._lock:
            self._namespaces.clear()
            self._listings.clear()
            self._stored.clear()
            self._shown.clear()
            self._restored.clear()

    # What DuckDB sees

    def prepare_database(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make room for further catalogs, and drop views of tables that may have changed since."""
        for catalog in self._further:
            connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {identifier(catalog)}")
        stale = connection.execute(
            "SELECT database_name, schema_name, view_name FROM duckdb_views() "
            "WHERE NOT internal AND starts_with(comment, ?)",
            [_MARK],
        ).fetchall()
        for database, schema, view in stale:
            connection.execute(f"DROP VIEW IF EXISTS {Name(database, schema, view).sql}")

    def is_table(self, chain: Chain | None) -> bool:
        """Whether a chain of names is an Iceberg table."""
        name = self.name(chain) if chain else None
        return name is not None and self.found(name) is not None

    def prepare(self, sql: str) -> None:
        """Let DuckDB see the Iceberg tables and stored views that SQL names."""
        for chain in candidates(sql):
            name = self.name(chain)
            if name is not None:
                self._prepare(name)

    def prepare_again(self, sql: str) -> bool:
        """Look at the catalogs anew for what SQL names; says whether there is more now."""
        before = len(self._shown) + len(self._restored)
        with self._lock:
            self._namespaces.clear()
            self._listings.clear()
        self.prepare(sql)
        return len(self._shown) + len(self._restored) > before

    def _prepare(self, name: Name) -> None:
        if name.key in self._shown or name.key in self._restored:
            return
        place = self.found(name)
        if place is not None:
            with self._lock:
                if name.key not in self._shown:
                    self.show(name, self.catalog(place.catalog).load_table(place.identifier))
            return
        sql = self.stored_view(name)
        if sql is not None:
            with self._lock:
                if name.key in self._restored:
                    return
                self._restored.add(name.key)
                self.prepare(sql)
                self._create_view(name, sql)

    def show(self, name: Name, table: Table) -> None:
        """Let DuckDB see a table as it is now."""
        with self._lock:
            if self._shown.get(name.key) == table.metadata_location:
                return
            mark = literal(_MARK + ".".join(table.name()))
            self._in_database(
                f"CREATE SCHEMA IF NOT EXISTS {name.schema_sql}",
                f"CREATE OR REPLACE VIEW {name.sql} AS {self._scan(table)}",
                f"COMMENT ON VIEW {name.sql} IS {mark}",
            )
            self._shown[name.key] = table.metadata_location

    def _scan(self, table: Table) -> str:
        """What reads a table, once DuckDB has the keys and extensions for it."""
        files = files_of(table)
        cursor = self._new_cursor()
        try:
            configure(cursor, table.io.properties, table.location())
            if not files.is_read_as_parquet:
                load_iceberg(cursor)
        finally:
            cursor.close()
        return scan_sql(table, files)

    def hide(self, name: Name) -> None:
        """Let DuckDB no longer see a table."""
        with self._lock:
            self._shown.pop(name.key, None)
            self._restored.discard(name.key)
            self._in_database(f"DROP VIEW IF EXISTS {name.sql}")

    def _create_view(self, name: Name, sql: str) -> None:
        self._in_database(
            f"CREATE SCHEMA IF NOT EXISTS {name.schema_sql}",
            f"CREATE OR REPLACE VIEW {name.sql} AS ({sql})",
        )

    def _in_database(self, *statements: str) -> None:
        cursor = self._new_cursor()
        try:
            for statement in statements:
                cursor.execute(statement)
        finally:
            cursor.close()

    # Views of dbt

    def stored_view(self, name: Name) -> str | None:
        """The SQL of a view that is kept in the catalog; None where there is none."""
        place = self.place(name)
        key = (place.catalog, place.identifier[:-1])
        with self._lock:
            unsaved = self._unsaved.get(key, {})
            if name.identifier.lower() in unsaved:
                return unsaved[name.identifier.lower()]
            return self._views(key).get(name.identifier.lower())

    def _views(self, key: tuple[str, Identifier]) -> dict[str, str]:
        """The stored views of a namespace."""
        if key not in self._stored:
            self._stored[key] = {}
            catalog, namespace = key
            if VIEWS in self._listing(catalog, namespace).values():
                table = self.catalog(catalog).load_table((*namespace, VIEWS))
                cursor = self._new_cursor()
                rows = cursor.execute(f"SELECT name, sql FROM ({self._scan(table)})").fetchall()
                cursor.close()
                self._stored[key] = {name.lower(): self._here(sql) for name, sql in rows}
        return self._stored[key]

    def _here(self, sql: str) -> str:
        """The SQL of a view with the name that the main database has here."""
        return sql.replace(_DATABASE, identifier(self._attached.database))

    def keep_view(self, name: Name, sql: str) -> None:
        """Keep the SQL of a view; it is written to the catalog by `save_views`."""
        place = self.place(name)
        with self._lock:
            self._shown.pop(name.key, None)
            self._restored.add(name.key)
            key = (place.catalog, place.identifier[:-1])
            self._unsaved.setdefault(key, {})[name.identifier.lower()] = sql

    def drop_view(self, name: Name) -> None:
        """Drop a view in DuckDB, and forget its SQL."""
        if self.stored_view(name) is not None:
            place = self.place(name)
            key = (place.catalog, place.identifier[:-1])
            with self._lock:
                self._unsaved.setdefault(key, {})[name.identifier.lower()] = None
        self.hide(name)

    def save_views(self) -> None:
        """Write the SQL of views that have changed to the catalog, one commit a namespace."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
            for key, views in unsaved.items():
                known = self._views(key)
                changed = {name: sql for name, sql in views.items() if known.get(name) != sql}
                if changed:
                    self._save(key, changed)

    def _save(self, key: tuple[str, Identifier], changed: dict[str, str | None]) -> None:
        catalog, table = self.catalog(key[0]), (*key[1], VIEWS)
        here = identifier(self._attached.database)
        rows = [
            f"SELECT {literal(name)} AS name, {literal(sql.replace(here, _DATABASE))} AS sql"
            for name, sql in changed.items()
            if sql is not None
        ]
        added = " UNION ALL ".join(rows) or "SELECT '' AS name, '' AS sql WHERE false"
        names = ", ".join(map(literal, changed))
        cursor = self._new_cursor()
        try:
            if load(catalog, table) is None:
                replace(catalog, table, cursor, added, Layout(comment="Views of dbt, as SQL"))
            else:
                plan = Rows(matched=f"t.name IN ({names})", added=added)
                rewrite(catalog, table, cursor, lambda _: plan)
        finally:
            cursor.close()
        self._listings.pop(key, None)
        self._stored.pop(key, None)

    def relations(self, database: str, schema: str) -> tuple[list[Name], list[Name]]:
        """The Iceberg tables and the stored views of a schema."""
        tables, views = [], []
        for key in self._keys(database, schema):
            for actual in self._listing(*key).values():
                name = Name(database, schema, actual)
                if actual != VIEWS and self.place(name) == Place(key[0], (*key[1], actual)):
                    tables.append(name)
            known = {**self._views(key), **self._unsaved.get(key, {})}
            views += [
                Name(database, schema, name) for name, sql in known.items() if sql is not None
            ]
        return tables, views

    def _keys(self, database: str, schema: str) -> list[tuple[str, Identifier]]:
        """The namespaces that hold what is in a schema."""
        own = self.place(Name(database, schema, ""))
        keys = {(own.catalog, own.identifier[:-1])}
        for placed_schema, table in self._placed:
            if placed_schema == schema.lower():
                place = self.place(Name(database, schema, table))
                keys.add((place.catalog, place.identifier[:-1]))
        return sorted(keys)

    def drop_namespace(self, database: str, schema: str) -> None:
        """Drop the namespace of a schema, when nothing is left in it."""
        own = self.place(Name(database, schema, ""))
        key = (own.catalog, own.identifier[:-1])
        with self._lock:
            if not self._has_namespace(*key):
                return
            self._unsaved.pop(key, None)
            catalog = self.catalog(own.catalog)
            if load(catalog, (*key[1], VIEWS)) is not None:
                catalog.purge_table((*key[1], VIEWS))
            with suppress(NamespaceNotEmptyError):
                catalog.drop_namespace(key[1])
            self.forget()

    # Tables that change

    def writing(self, place: Place) -> threading.RLock:
        """The lock of a table: models of one process do not race for it."""
        with self._lock:
            return self._writing.setdefault(place, threading.RLock())

    def written(self, name: Name, place: Place, table: Table) -> None:
        """See a table as it is after a commit."""
        with self._lock:
            key = (place.catalog, place.identifier[:-1])
            self._namespaces.pop(place.catalog, None)
            if key in self._listings:
                self._listings[key][place.identifier[-1].lower()] = place.identifier[-1]
            if self.stored_view(name) is not None:
                self.drop_view(name)
            self.show(name, table)

    def rows(self, place: Place) -> str:
        """A query that gives the rows of a table."""
        return self._scan(self.catalog(place.catalog).load_table(place.identifier))

    def layout(self, name: Name) -> Layout:
        """What a new table looks like for where it is."""
        return Layout(properties=self.table_properties(name))

    def give_up(self, name: Name) -> None:
        """Leave a name to DuckDB: it is shown as a table of Iceberg no more."""
        self.hide(name)
        with self._lock:
            self._restored.add(name.key)

    def drop(self, name: Name) -> None:
        """Drop a table, its files too."""
        place = self.found(name)
        if place is None:
            return
        with self.writing(place):
            self.hide(name)
            try:
                self.catalog(place.catalog).purge_table(place.identifier)
            except (NoSuchTableError, NotImplementedError):
                self.catalog(place.catalog).drop_table(place.identifier)
            self._gone(place)

    def _gone(self, place: Place) -> None:
        with self._lock:
            key = (place.catalog, place.identifier[:-1])
            self._listings.get(key, {}).pop(place.identifier[-1].lower(), None)

    def rename(self, name: Name, new: Name) -> None:
        """Rename a table; it stays where it is."""
        place, to = self.found(name), self.place(new)
        if place is None:
            raise IcebergError(f"there is no Iceberg table {name.schema}.{name.identifier}")
        catalog = self.catalog(place.catalog)
        self.hide(name)
        table = catalog.rename_table(place.identifier, to.identifier)
        self._gone(place)
        self.written(new, to, table)

    def change(self, cursor: duckdb.DuckDBPyConnection, change: Change, bindings: object) -> None:
        """Run a statement that changes an Iceberg table.

        The statement runs on a copy of the table, which takes its name within a transaction of
        DuckDB; what is in it afterwards becomes the table in one commit, and the copy is rolled
        back. It costs as much as the table is large, but for an INSERT, which is appended.

        Raises:
            IcebergError: if the statement is none that can be run like this.
            duckdb.Error: if it fails.
        """
        name = self.name(change.target or ())
        place = self.found(name) if name is not None else None
        if name is None or place is None:
            raise IcebergError(f"there is no Iceberg table {'.'.join(change.target or ())}")
        if change.verb == "drop":
            self.drop(name)
            return
        if change.verb == "alter":
            raise IcebergError(
                f"{name.schema}.{name.identifier} is an Iceberg table, and ALTER of DuckDB does "
                "not reach it",
                "change its columns in the model (on_schema_change, or --full-refresh)",
            )
        only_adds = change.verb in {"insert", "copy"} and change.mentions(name.identifier) == 1
        catalog = self.catalog(place.catalog)

        def plan(table: Table) -> Rows:
            _roll_back(cursor)
            cursor.execute("BEGIN")
            cursor.execute(f"DROP VIEW IF EXISTS {name.sql}")
            limit = " LIMIT 0" if only_adds else ""
            cursor.execute(f"CREATE TABLE {name.sql} AS {self._scan(table)}{limit}")
            cursor.execute(change.sql, bindings)
            return Rows(added=f"SELECT * FROM {name.sql}", replaces_all=not only_adds)

        with self.writing(place):
            try:
                done = rewrite(catalog, place.identifier, cursor, plan)
            finally:
                _roll_back(cursor)
            self.written(name, place, done.table)


_DATABASE = "{{ database }}"
"""Stands for the main database in the SQL of a stored view."""


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """End the transaction of a copy, if there is one."""
    with suppress(duckdb.TransactionException):
        cursor.execute("ROLLBACK")
