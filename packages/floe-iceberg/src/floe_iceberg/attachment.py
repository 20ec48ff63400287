"""Iceberg catalogs as a DuckDB database shows them.

DuckDB sees an Iceberg table as a view of its files. The view is made when a statement first names
the table, and anew when the table has changed here; so the DuckDB database can be deleted at any
time. The SQL of views is kept in the catalog too, in one small Iceberg table for each namespace.

Locks are taken in this order: that of a table (`writing`), the attachment's own, DuckDB's
environment.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from datetime import datetime
from itertools import chain

import duckdb
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
)
from pyiceberg.table import Table

from floe_core.diagnostics import near_miss
from floe_iceberg.catalog import explained, open_catalog
from floe_iceberg.commit import may_remove_files
from floe_iceberg.engine import configure, load_iceberg
from floe_iceberg.errors import IcebergError
from floe_iceberg.rewriting import Rows
from floe_iceberg.scan import files_of, scan_sql
from floe_iceberg.shape import Identifier, Layout
from floe_iceberg.snapshots import snapshot_at
from floe_iceberg.sql import identifier, literal
from floe_iceberg.statements import Chain, Change, candidates, with_database
from floe_iceberg.table import create, load, rewrite
from floe_iceberg.tracing import table_span

OWN = "default"
"""Key of the catalog that tables go to unless something else is said."""

VIEWS = "dbt_stored_views"
"""Name of the Iceberg table that keeps a namespace's views: `name`, `sql`, `docs` as JSON.

S3 Tables and servers like it take no name that begins with an underscore.
"""

_MARK = "dbt-duckdb-iceberg shows "
_DATABASE = "{{ database }}"
"""Stands for the main database in the SQL of a stored view."""

_UNKNOWN = re.compile(
    r'(?P<said>Table with name (?P<name>\S+) does not exist!)\n(?:Did you mean "[^"]*"\?\n)?'
)

Key = tuple[str, Identifier]
"""A catalog and a namespace."""


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
    def sql(self) -> str:
        """The name in SQL."""
        return ".".join(map(identifier, (self.database, self.schema, self.identifier)))

    @property
    def schema_sql(self) -> str:
        """The name of its schema in SQL."""
        return f"{identifier(self.database)}.{identifier(self.schema)}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.identifier}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is in Iceberg.

    Attributes:
        catalog: Name of the catalog in the profile.
        identifier: Its identifier there.
    """

    catalog: str
    identifier: Identifier

    @property
    def key(self) -> Key:
        """Its catalog and namespace."""
        return (self.catalog, self.identifier[:-1])


@dataclass(frozen=True, slots=True)
class StoredView:
    """A view of dbt.

    Attributes:
        name: Its name.
        sql: Its query; None for a view that is to be forgotten.
        docs: Descriptions as JSON: of its columns by their names, and its own by the empty name.
    """

    name: str
    sql: str | None
    docs: str = "{}"


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
        path: DuckDB's file, for messages.
        names: Names of the catalogs in platform.yaml, by key, for messages; none where floe did
            not write the profile.
        at: The time that tables are read as of; now when None.
    """

    catalogs: Mapping[str, Mapping[str, str]]
    database: str
    schema: str = "main"
    tables: Mapping[str, Placement] = field(default_factory=dict)
    path: str = ":memory:"
    names: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None


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
        self._asked = threading.local()
        self._namespaces: dict[str, set[Identifier]] = {}
        self._listings: dict[Key, dict[str, str]] = {}
        self._stored: dict[Key, dict[str, StoredView]] = {}
        self._unsaved: dict[Key, dict[str, StoredView]] = {}
        self._shown: dict[tuple[str, str, str], Table] = {}
        self._restored: set[tuple[str, str, str]] = set()
        self._restoring: set[tuple[str, str, str]] = set()
        self._writing: dict[Place, threading.RLock] = {}
        self._placed = {
            tuple(key.lower().split(".", 1)): place for key, place in attached.tables.items()
        }

    # Catalogs and names

    def catalog(self, key: str) -> Catalog:
        """Open a catalog."""
        self._asked.key = key
        with self._lock:
            if key not in self._catalogs:
                self._catalogs[key] = open_catalog(self._attached.catalogs[key])
            return self._catalogs[key]

    @property
    def has_names(self) -> bool:
        """Whether somebody says what messages are to call the catalogs."""
        return bool(self._attached.names)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say in one sentence why a catalog or its storage cannot be used; see `catalog.explained`.

        It is the catalog that this thread has asked for last.
        """
        try:
            yield
        except Exception:
            key = getattr(self._asked, "key", OWN)
            with explained(self._attached.names.get(key, key), self._attached.catalogs[key]):
                raise

    def namespaces(self) -> dict[str, int]:
        """Ask every catalog how many namespaces it has, by the catalog's key."""
        return {key: len(self.catalog(key).list_namespaces()) for key in self._attached.catalogs}

    @property
    def databases(self) -> list[str]:
        """DuckDB's databases that show what is in the catalogs."""
        return [self._attached.database, *self._further]

    def name(self, parts: Chain) -> Name | None:
        """What a chain of names in SQL would be, were it a relation."""
        main = self._attached.database
        match parts:
            case (table,):
                return Name(main, self._attached.schema, table)
            case (schema, table):
                return Name(main, schema, table)
            case (database, schema, table):
                known = {key.lower() for key in self.databases}
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
        listing = self._listing(place.key)
        actual = listing.get(_spelling(listing, place.identifier[-1]))
        if actual is None or actual == VIEWS:
            return None
        return Place(place.catalog, (*place.identifier[:-1], actual))

    def existing(self, name: Name) -> Place:
        """Where the table of a name is.

        Raises:
            IcebergError: if there is none.
        """
        place = self.found(name)
        if place is None:
            raise IcebergError(
                f"{name} is no Iceberg table",
                "build it first; a table of DuckDB's own that has its name has to be dropped",
            )
        return place

    def table(self, name: Name) -> Table | None:
        """The table of a name as it was last seen; None where there is none."""
        self.see(name)
        return self._shown.get(name.key)

    def _listing(self, key: Key) -> dict[str, str]:
        """The tables of a namespace, by their names in lower case.

        Of those that differ in case alone, all but one are listed by their own spelling.
        """
        catalog, namespace = key
        with self._lock:
            if key not in self._listings:
                try:
                    is_there = self._has_namespace(catalog, namespace)
                    listed = self.catalog(catalog).list_tables(namespace) if is_there else []
                except NoSuchNamespaceError:
                    listed = []
                listing: dict[str, str] = {}
                for name in sorted(listed, key=lambda name: name[-1] != name[-1].lower()):
                    _note(listing, name[-1])
                self._listings[key] = listing
            return self._listings[key]

    def _has_namespace(self, catalog: str, namespace: Identifier) -> bool:
        if len(namespace) > 1:
            return self.catalog(catalog).namespace_exists(namespace)
        if catalog not in self._namespaces:
            self._namespaces[catalog] = set(self.catalog(catalog).list_namespaces())
        return namespace in self._namespaces[catalog]

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
        self._shown.clear()
        self._restored.clear()

    def is_table(self, parts: Chain | None) -> bool:
        """Whether a chain of names is an Iceberg table."""
        name = self.name(parts) if parts else None
        return name is not None and self.found(name) is not None

    def prepare(self, sql: str) -> None:
        """Let DuckDB see the Iceberg tables and stored views that SQL names."""
        for name in self._named(sql):
            self.see(name)

    def prepare_again(self, sql: str) -> bool:
        """Look at the catalogs anew for what SQL names; says whether any of it is there."""
        named = self._named(sql)
        with self._lock:
            self._namespaces.clear()
            self._listings.clear()
            for name in named:
                self._shown.pop(name.key, None)
                self._restored.discard(name.key)
        for name in named:
            self.see(name)
        return any(name.key in self._shown or name.key in self._restored for name in named)

    def with_suggestion(self, problem: duckdb.CatalogException) -> duckdb.CatalogException:
        """An error about a table that is not known, with the name that was most likely meant.

        DuckDB knows only what statements have named so far, so what it suggests is of no use.
        """
        found = _UNKNOWN.search(str(problem))
        if found is None:
            return problem
        nearest = near_miss(found["name"], self._names())
        meant = f'Did you mean "{nearest}"?\n' if nearest else ""
        text = _UNKNOWN.sub(lambda match: f"{match['said']}\n{meant}", str(problem), count=1)
        return duckdb.CatalogException(text)

    def _names(self) -> set[str]:
        """The tables and views of the main database, as SQL may call them."""
        schemas = {name[0] for name in self.catalog(OWN).list_namespaces()}
        schemas |= {schema for schema, _ in self._placed}
        names = set()
        for schema in schemas | {self._attached.schema}:
            for name in chain(*self.relations(self._attached.database, schema)):
                names.add(str(name))
                if schema == self._attached.schema:
                    names.add(name.identifier)
        return names

    def reads(self, sql: str, name: Name) -> bool:
        """Whether SQL names a relation with its schema; a name alone may be that of a CTE."""
        named = (self.name(parts) for parts in candidates(sql) if len(parts) > 1)
        return any(found is not None and found.key == name.key for found in named)

    def _named(self, sql: str) -> list[Name]:
        return [name for parts in candidates(sql) if (name := self.name(parts)) is not None]

    def see(self, name: Name) -> None:
        """Let DuckDB see the Iceberg table or stored view of a name, if there is one."""
        if name.key in self._shown or name.key in self._restored:
            return
        place = self.found(name)
        if place is not None:
            with self._lock:
                if name.key not in self._shown:
                    table = load(self.catalog(place.catalog), place.identifier)
                    if table is None:  # somebody has dropped it since it was listed
                        self._gone(place)
                    else:
                        self._show(name, table, replaces_table=False)
            return
        view = self.stored_view(name)
        if view is not None and view.sql is not None:
            with self._lock:
                if name.key in self._restored or name.key in self._restoring:
                    return
                self._restoring.add(name.key)
                try:
                    self.prepare(view.sql)
                    self._in_database(
                        f"CREATE SCHEMA IF NOT EXISTS {name.schema_sql}",
                        f"CREATE OR REPLACE VIEW {name.sql} AS (\n{view.sql}\n)",
                        *_comments(name, view.docs),
                    )
                finally:
                    self._restoring.discard(name.key)
                self._restored.add(name.key)

    def _show(self, name: Name, table: Table, *, replaces_table: bool) -> None:
        """Let DuckDB see a table as it is now."""
        known = self._shown.get(name.key)
        if known is not None and known.metadata_location == table.metadata_location:
            return
        view = f"CREATE OR REPLACE VIEW {name.sql} AS {self._scan(table, self._attached.at)}"
        mark = f"COMMENT ON VIEW {name.sql} IS {literal(_MARK + '.'.join(table.name()))}"
        try:
            self._in_database(f"CREATE SCHEMA IF NOT EXISTS {name.schema_sql}", view, mark)
        except duckdb.CatalogException as problem:
            if "is of type Table" not in str(problem):
                raise
            if not replaces_table:
                raise IcebergError(
                    f"{name} is both an Iceberg table and a table in {self._attached.path}",
                    "drop the table there, or give the profile another `path`",
                ) from problem
            self._in_database(f"DROP TABLE {name.sql}", view, mark)
        self._shown[name.key] = table

    def _scan(self, table: Table, at: datetime | None = None) -> str:
        """What reads a table, once DuckDB has the keys and extensions for it."""
        snapshot_id = snapshot_at(table, at).snapshot_id if at is not None else None
        with table_span("scan", table.name()) as span:
            files = files_of(table, snapshot_id)
            span.set_attributes(
                {
                    "iceberg.files.data": len(files.data),
                    "iceberg.files.delete": len(files.deletes),
                }
            )
        cursor = self._new_cursor()
        try:
            configure(cursor, table.io.properties, table.location())
            if not files.is_read_as_parquet:
                load_iceberg(cursor)
        finally:
            cursor.close()
        return scan_sql(table, files, snapshot_id)

    def hide(self, name: Name) -> None:
        """Let DuckDB no longer see a table."""
        with self._lock:
            self._shown.pop(name.key, None)
            self._restored.discard(name.key)
            self._in_database(f"DROP VIEW IF EXISTS {name.sql}")

    def _in_database(self, *statements: str) -> None:
        cursor = self._new_cursor()
        try:
            for statement in statements:
                cursor.execute(statement)
        finally:
            cursor.close()

    # Views of dbt

    def stored_view(self, name: Name) -> StoredView | None:
        """The view that is kept in the catalog, for this database; None where there is none."""
        key, view = self.place(name).key, name.identifier.lower()
        with self._lock:
            unsaved = self._unsaved.get(key, {})
            found = unsaved[view] if view in unsaved else self._views(key).get(view)
        if found is None or found.sql is None:
            return None
        sql = with_database(found.sql, _DATABASE, self._attached.database)
        return StoredView(found.name, sql, found.docs)

    def _views(self, key: Key) -> dict[str, StoredView]:
        """The stored views of a namespace, by their names in lower case."""
        if key not in self._stored:
            catalog, namespace = key
            views: dict[str, StoredView] = {}
            listed = VIEWS in self._listing(key).values()
            table = load(self.catalog(catalog), (*namespace, VIEWS)) if listed else None
            if table is not None:
                cursor = self._new_cursor()
                query = f"SELECT name, sql, docs FROM ({self._scan(table)})"
                rows = cursor.execute(query).fetchall()
                cursor.close()
                views = {name.lower(): StoredView(name, sql, docs) for name, sql, docs in rows}
            self._stored[key] = views
        return self._stored[key]

    def keep_view(self, name: Name, sql: str) -> None:
        """Keep the SQL of a view that DuckDB has; `save_views` writes it to the catalog.

        Where an Iceberg table has its name, the view takes its place at once.
        """
        place = self.place(name)
        kept = StoredView(name.identifier, with_database(sql, self._attached.database, _DATABASE))
        with self._lock:
            self._shown.pop(name.key, None)
            self._restored.add(name.key)
            self._unsaved.setdefault(place.key, {})[name.identifier.lower()] = kept
        table = self.found(name)
        if table is not None:
            self.save_views()
            with self.writing(table):
                self._purge(table)

    def document_view(self, name: Name, docs: Mapping[str, str]) -> None:
        """Describe a view, and its columns; what other descriptions it has stays.

        Args:
            name: The view, which `keep_view` has been told of.
            docs: Descriptions of columns by their names, and its own by the empty name.
        """
        key, view = self.place(name).key, name.identifier.lower()
        with self._lock:
            kept = self._unsaved.get(key, {}).get(view) or self._views(key).get(view)
            if kept is not None:
                merged = json.dumps({**json.loads(kept.docs), **docs}, sort_keys=True)
                self._unsaved.setdefault(key, {})[view] = replaced(kept, docs=merged)
        self._in_database(*_comments(name, json.dumps(dict(docs))))

    def drop_view(self, name: Name) -> None:
        """Drop a view in DuckDB, and forget its SQL."""
        self.forget_view(name)
        self.hide(name)

    def forget_view(self, name: Name) -> None:
        """Forget the SQL of a view, if it is kept."""
        if self.stored_view(name) is not None:
            key = self.place(name).key
            with self._lock:
                gone = StoredView(name.identifier, None)
                self._unsaved.setdefault(key, {})[name.identifier.lower()] = gone

    def save_views(self) -> None:
        """Write the SQL of views that have changed to the catalog, one commit a namespace."""
        with self._lock:
            for key in list(self._unsaved):
                known = self._views(key)
                changed = [
                    view
                    for name, view in self._unsaved[key].items()
                    if known.get(name, StoredView(view.name, None)) != view
                ]
                if changed:
                    self._save(key, changed)
                del self._unsaved[key]

    def _save(self, key: Key, changed: Iterable[StoredView]) -> None:
        catalog, table = self.catalog(key[0]), (*key[1], VIEWS)
        rows = [
            f"SELECT {literal(view.name)} AS name, {literal(view.sql)} AS sql, "
            f"{literal(view.docs)} AS docs"
            for view in changed
            if view.sql is not None
        ]
        added = " UNION ALL ".join(rows) or "SELECT '' AS name, '' AS sql, '' AS docs WHERE false"
        names = ", ".join(literal(view.name.lower()) for view in changed)
        cursor = self._new_cursor()
        try:
            if load(catalog, table) is None:
                _create_views(catalog, table)
            plan = Rows(matched=f"lower(t.name) IN ({names})", added=added)
            rewrite(catalog, table, cursor, lambda _: plan)
        finally:
            cursor.close()
        self._namespaces.pop(key[0], None)
        if key in self._listings:
            self._listings[key][VIEWS] = VIEWS
        self._stored.pop(key, None)

    def relations(self, database: str, schema: str) -> tuple[list[Name], list[Name]]:
        """The Iceberg tables and the stored views of a schema."""
        tables, views = [], []
        with self._lock:
            for key in self._keys(database, schema):
                for actual in self._listing(key).values():
                    name = Name(database, schema, actual)
                    if actual != VIEWS and self.place(name).key == key:
                        tables.append(name)
                known = {**self._views(key), **self._unsaved.get(key, {})}
                for view in known.values():
                    name = Name(database, schema, view.name)
                    is_here = self.place(name).key == key and self.found(name) is None
                    if view.sql is not None and is_here:
                        views.append(name)
        return tables, views

    def _keys(self, database: str, schema: str) -> list[Key]:
        """The namespaces that hold what is in a schema."""
        keys = {self.place(Name(database, schema, "")).key}
        for placed_schema, table in self._placed:
            if placed_schema == schema.lower():
                keys.add(self.place(Name(database, schema, table)).key)
        return sorted(keys)

    def drop_schema(self, database: str, schema: str) -> None:
        """Drop the tables and views of a schema, and its namespace when nothing is left in it."""
        tables, views = self.relations(database, schema)
        for name in tables:
            self.drop(name)
        for name in views:
            self.drop_view(name)
        own = self.place(Name(database, schema, ""))
        with self._lock:
            self._unsaved.pop(own.key, None)
            catalog = self.catalog(own.catalog)
            if self._has_namespace(*own.key):
                if load(catalog, (*own.key[1], VIEWS)) is not None:
                    self._purge(Place(own.catalog, (*own.key[1], VIEWS)))
                with suppress(NamespaceNotEmptyError):
                    catalog.drop_namespace(own.key[1])
            self._namespaces.pop(own.catalog, None)
            self._listings.pop(own.key, None)
            self._stored.pop(own.key, None)

    # Tables that change

    def writing(self, place: Place) -> threading.RLock:
        """The lock of a table: models of one process do not race for it."""
        with self._lock:
            return self._writing.setdefault(place, threading.RLock())

    def written(self, name: Name, place: Place, table: Table) -> None:
        """See a table as it is after a commit."""
        with self._lock:
            self._namespaces.pop(place.catalog, None)
            if place.key in self._listings:
                _note(self._listings[place.key], place.identifier[-1])
            self.forget_view(name)
            self._restored.discard(name.key)
            self._show(name, table, replaces_table=True)

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
        """Drop a table, its files too unless its property `gc.enabled` is false."""
        place = self.found(name)
        if place is not None:
            with self.writing(place):
                self._purge(place)
                self.hide(name)

    def _purge(self, place: Place) -> None:
        catalog = self.catalog(place.catalog)
        table = load(catalog, place.identifier)
        if table is not None:
            drop = catalog.purge_table if may_remove_files(table.metadata) else catalog.drop_table
            try:
                drop(place.identifier)
            except NotImplementedError:
                catalog.drop_table(place.identifier)
            except NoSuchTableError:
                pass
        self._gone(place)

    def _gone(self, place: Place) -> None:
        with self._lock:
            listing = self._listings.get(place.key, {})
            listing.pop(_spelling(listing, place.identifier[-1]), None)

    def rename(self, name: Name, new: Name) -> None:
        """Rename a table; its files stay where they are."""
        place, to = self.existing(name), self.place(new)
        table = self.catalog(place.catalog).rename_table(place.identifier, to.identifier)
        self.hide(name)
        self._gone(place)
        self.written(new, to, table)

    def change(self, cursor: duckdb.DuckDBPyConnection, change: Change, bindings: object) -> int:
        """Run a statement that changes an Iceberg table; gives the number of rows that it changed.

        The statement runs on a copy of the table, which takes its name within a transaction of
        DuckDB; what is in it afterwards becomes the table in one commit, and the copy is rolled
        back. It costs as much as the table is large, but for an INSERT, which is appended: it goes
        to an empty table, and reads the table as it is, by whatever views.

        Raises:
            IcebergError: if the statement is none that can be run like this.
            duckdb.Error: if it fails.
        """
        name = self.name(change.target or ())
        place = self.found(name) if name is not None else None
        if name is None or place is None:
            raise IcebergError(f"there is no Iceberg table {'.'.join(change.target or ())}")
        if change.verb == "drop table":
            self.drop(name)
            return 0
        if change.verb == "drop view":
            raise IcebergError(f"{name} is an Iceberg table, not a view", "use DROP TABLE")
        if change.verb == "alter table":
            raise IcebergError(
                f"{name} is an Iceberg table, and ALTER of DuckDB does not reach it",
                "change its columns in the model (on_schema_change, or --full-refresh)",
            )
        only_adds = change.verb in {"insert", "copy"} and change.mentions(name.identifier) == 1
        copy = f"temp.main.{identifier(f'{name.identifier}__dbt_added')}" if only_adds else name.sql
        statement = change.aimed_at(copy) if only_adds else change.sql
        catalog = self.catalog(place.catalog)
        count = 0

        def plan(table: Table) -> Rows:
            nonlocal count
            _roll_back(cursor)
            cursor.execute("BEGIN")
            if not only_adds:
                cursor.execute(f"DROP VIEW IF EXISTS {name.sql}")
            limit = " LIMIT 0" if only_adds or change.verb == "truncate" else ""
            kind = "TEMP TABLE" if only_adds else "TABLE"
            cursor.execute(f"CREATE {kind} {copy} AS {self._scan(table)}{limit}")
            found = cursor.execute(statement, bindings).fetchall()
            count = found[0][0] if len(found) == 1 and isinstance(found[0][0], int) else len(found)
            return Rows(added=f"SELECT * FROM {copy}", replaces_all=not only_adds)

        with self.writing(place):
            try:
                done = rewrite(catalog, place.identifier, cursor, plan)
            finally:
                _roll_back(cursor)
            self.written(name, place, done.table)
        return count


def _spelling(listing: Mapping[str, str], table: str) -> str:
    """What a listing has a table by, if it has it."""
    return table if table in listing else table.lower()


def _note(listing: dict[str, str], table: str) -> None:
    if listing.get(_spelling(listing, table)) != table:
        listing[table if table.lower() in listing else table.lower()] = table


def _create_views(catalog: Catalog, table: Identifier) -> None:
    """Create the table of a namespace's views, unless somebody else has just done so."""
    columns = dict.fromkeys(("name", "sql", "docs"), "VARCHAR")
    try:
        create(catalog, table, columns, Layout(comment="Views of dbt, as SQL"))
    except IcebergError:
        if load(catalog, table) is None:
            raise


def _comments(name: Name, docs: str) -> Iterator[str]:
    """Statements that describe a view, and its columns, in DuckDB."""
    for column, doc in json.loads(docs).items():
        what = f"COLUMN {name.sql}.{identifier(column)}" if column else f"VIEW {name.sql}"
        yield f"COMMENT ON {what} IS {literal(doc)}"


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """End the transaction of a copy, if there is one."""
    with suppress(duckdb.TransactionException):
        cursor.execute("ROLLBACK")
