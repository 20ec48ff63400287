"""The adapter: what dbt's macros ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.base import BaseRelation
from dbt.adapters.base.meta import available
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.adapters.contracts.relation import RelationType
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.impl import DuckDBAdapter, DuckDBConfig
from dbt_common.exceptions import DbtDatabaseError, DbtRuntimeError

from dbt.adapters.duckdb_iceberg.connections import IcebergConnectionManager
from dbt.adapters.duckdb_iceberg.environment import collecting, text_of
from floe_core.errors import FloeError
from floe_iceberg import (
    Committed,
    Layout,
    Rows,
    describe,
    overwrite_partitions,
    parse_partition_by,
    replace,
    rewrite,
    scan_sql,
)
from floe_iceberg.attachment import VIEWS, Attachment, Name
from floe_iceberg.shape import document_table, reshape_columns
from floe_iceberg.sql import identifier
from floe_iceberg.types import StoredType

if TYPE_CHECKING:
    import agate
    from pyiceberg.table import Table

_FORMATS = {"iceberg", "parquet", "default", None}


@dataclass
class IcebergConfig(DuckDBConfig):
    """What a model may configure besides dbt's own.

    Attributes:
        partition_by: Fields of the partition spec: a column, or `day(column)`, `bucket(16, column)`
            and so on; one or a list. `partitioned_by` is the same.
        sort_by: Columns that rows are sorted by within files; `-column` for descending.
            `sorted_by` is the same.
        table_properties: Iceberg table properties.
        file_format: `iceberg` or `parquet`, for models that other engines run too.
        table_format: `iceberg`, likewise.
    """

    partition_by: Any = None
    partitioned_by: Any = None
    sort_by: Any = None
    sorted_by: Any = None
    table_properties: dict[str, Any] | None = None
    file_format: str | None = None
    table_format: str | None = None


class IcebergAdapter(DuckDBAdapter):
    """DuckDB computes; tables, incremental models, seeds and snapshots are Iceberg tables."""

    ConnectionManager = IcebergConnectionManager
    AdapterSpecificConfigs = IcebergConfig

    def get_adapter_run_info(self, config: Any) -> Any:
        """What dbt records of the adapter; its name cannot be told from the class's."""
        from dbt.adapters.base.impl import AdapterTrackingRelationInfo

        from dbt.adapters.duckdb_iceberg.__version__ import version

        return AdapterTrackingRelationInfo(
            adapter_name="duckdb_iceberg",
            base_adapter_version="",
            adapter_version=version,
            model_adapter_details=self._get_adapter_specific_run_info(config),
        )

    @property
    def lake(self) -> Attachment:
        """The tables and views of the profile's catalogs."""
        self.connections.get_thread_connection().handle  # noqa: B018 - opens the environment
        lake: Attachment = DuckDBConnectionManager.env().lake
        return lake

    @property
    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection = (
            self.connections.get_thread_connection().handle.cursor()._cursor
        )
        return cursor

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FloeError as problem:
            raise DbtRuntimeError(text_of(problem)) from problem
        except duckdb.Error as problem:
            raise DbtDatabaseError(str(problem)) from problem

    # Tables

    @available
    def write_table(self, relation: BaseRelation, sql: str, config: Any) -> str:
        """Make an Iceberg table hold the rows of a query and nothing else, in one commit.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        self._replace(relation, sql, config, self._cursor)
        return "select 1"

    def _replace(
        self, relation: BaseRelation, sql: str, config: Any, cursor: duckdb.DuckDBPyConnection
    ) -> Committed:
        lake, name = self.lake, name_of(relation)
        place = lake.found(name) or lake.place(name)
        with self._explained(), lake.writing(place):
            lake.prepare(sql)
            layout = self._layout(config, lake.table_properties(name))
            done = replace(lake.catalog(place.catalog), place.identifier, cursor, sql, layout)
            lake.written(name, place, done.table)
        self._note(relation, done)
        return done

    @available
    def written_rows(self, relation: BaseRelation) -> int:
        """Rows that were last written to a table in this thread."""
        return self._written.get(name_of(relation).key, 0)

    @property
    def _written(self) -> dict[tuple[str, str, str], int]:
        if not hasattr(self, "_written_rows"):
            self._written_rows: dict[tuple[str, str, str], int] = {}
        return self._written_rows

    def _note(self, relation: BaseRelation, done: Committed) -> None:
        self._written[name_of(relation).key] = done.rows

    def _layout(self, config: Any, given: Mapping[str, str]) -> Layout:
        """What a model's configuration says of its table."""
        for key in ("file_format", "table_format"):
            if config.get(key) not in _FORMATS:
                raise DbtRuntimeError(
                    f"`{key}: {config.get(key)}` is not written by duckdb_iceberg: its tables are "
                    "Iceberg tables of Parquet files"
                )
        properties = {
            **DuckDBConnectionManager.env().creds.table_properties,
            **given,
            **(config.get("table_properties") or {}),
        }
        persist = config.get("persist_docs") or {}
        model = config.model
        columns = getattr(model, "columns", None) or {}
        return Layout(
            partition_by=[parse_partition_by(f) for f in _listed(config, "partition")],
            sort_by=_listed(config, "sort"),
            properties={str(key): _text(value) for key, value in properties.items()},
            comment=getattr(model, "description", None) if persist.get("relation") else None,
            docs=(
                {c.name: c.description for c in columns.values() if c.description}
                if persist.get("columns")
                else None
            ),
            required=_not_null(model),
        )

    # Rows

    @available
    def merge_rows(
        self,
        relation: BaseRelation,
        source: BaseRelation,
        keys: Sequence[str] | str | None,
        statement: str,
        on_schema_change: str = "ignore",
    ) -> str:
        """Run SQL that changes the rows of a table whose keys are those of another one.

        Args:
            relation: The Iceberg table.
            source: A temporary table with the same keys.
            keys: Columns that rows are matched by, or a condition over `t` (the table) and `s`.
                Without keys no row matches.
            statement: SQL that changes `"__dbt_target__"`, which stands for a table of the rows that
                match.
            on_schema_change: dbt's setting, for columns that only one of the two has.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        condition = _condition(keys)
        matched = (
            f"EXISTS (SELECT 1 FROM {source.render()} AS s WHERE {condition})"
            if condition
            else "false"
        )
        cursor = self._cursor

        def change(target: str) -> None:
            cursor.execute(statement.replace('"__dbt_target__"', target))

        self._rewrite(
            relation,
            lambda table: Rows(
                matched=matched,
                change=change,
                columns=self._columns(table, source, on_schema_change),
            ),
        )
        return "select 1"

    @available
    def replace_rows(
        self,
        relation: BaseRelation,
        source: BaseRelation,
        condition: str | None,
        rows: str,
        on_schema_change: str = "ignore",
    ) -> str:
        """Drop the rows that a condition over `t` holds for, and add those of a query.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        self._rewrite(
            relation,
            lambda table: Rows(
                matched=condition,
                added=rows,
                columns=self._columns(table, source, on_schema_change),
            ),
        )
        return "select 1"

    @available
    def replace_partitions(self, relation: BaseRelation, rows: str) -> str:
        """Replace the partitions that a query has rows of.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        lake, name = self.lake, name_of(relation)
        place = lake.found(name) or lake.place(name)
        with self._explained(), lake.writing(place):
            done = overwrite_partitions(
                lake.catalog(place.catalog), place.identifier, self._cursor, rows
            )
            lake.written(name, place, done.table)
        self._note(relation, done)
        return "select 1"

    @available
    def change_columns(
        self, relation: BaseRelation, added: Sequence[Any], removed: Sequence[Any]
    ) -> None:
        """Add and remove columns of an Iceberg table; no data is written."""
        lake, name = self.lake, name_of(relation)
        place = lake.found(name) or lake.place(name)
        with self._explained(), lake.writing(place):
            catalog = lake.catalog(place.catalog)
            table = catalog.load_table(place.identifier)
            gone = {column.name.lower() for column in removed}
            columns = {
                known: stored
                for known, stored in describe(self._cursor, scan_sql(table)).items()
                if known.lower() not in gone
            }
            for column in added:
                kind = f"SELECT CAST(NULL AS {column.data_type}) AS {identifier(column.name)}"
                columns |= describe(self._cursor, kind)
            with table.transaction() as transaction:
                reshape_columns(transaction, columns)
            lake.written(name, place, catalog.load_table(place.identifier))

    @available
    def document(
        self, relation: BaseRelation, comment: str | None, columns: Mapping[str, Any]
    ) -> None:
        """Describe an Iceberg table and its columns, where that is not done already."""
        lake, name = self.lake, name_of(relation)
        place = lake.found(name) or lake.place(name)
        docs = {known: column["description"] for known, column in columns.items()}
        with self._explained(), lake.writing(place):
            catalog = lake.catalog(place.catalog)
            if document_table(catalog.load_table(place.identifier), comment, docs):
                lake.written(name, place, catalog.load_table(place.identifier))

    def _rewrite(self, relation: BaseRelation, plan: Any) -> None:
        lake, name = self.lake, name_of(relation)
        place = lake.found(name) or lake.place(name)
        with self._explained(), lake.writing(place):
            done = rewrite(lake.catalog(place.catalog), place.identifier, self._cursor, plan)
            lake.written(name, place, done.table)
        self._note(relation, done)

    def _columns(
        self, table: Table, source: BaseRelation, on_schema_change: str
    ) -> dict[str, StoredType] | None:
        """The columns that a table is to have, by dbt's setting; None leaves them alone."""
        if on_schema_change in {"ignore", "fail"}:
            return None
        cursor = self._cursor
        known = describe(cursor, scan_sql(table))
        given = describe(cursor, f"SELECT * FROM {source.render()}")
        if on_schema_change == "append_new_columns":
            names = {name.lower() for name in known}
            return {**known, **{n: s for n, s in given.items() if n.lower() not in names}}
        return given

    # Python models

    @available
    def write_python_model(
        self, relation: BaseRelation, model: dict[str, Any], code: str, config: Any
    ) -> None:
        """Run a Python model, and make an Iceberg table hold what it returns."""

        def take(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
            self._replace(relation, f"SELECT * FROM {identifier(rows)}", config, connection)

        with collecting(take):
            self.submit_python_job(model, code)

    @available
    def load_python_model(self, relation: BaseRelation, model: dict[str, Any], code: str) -> None:
        """Run a Python model, and let a temporary table hold what it returns."""
        cursor = self._cursor

        def take(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
            arrow = connection.sql(f"SELECT * FROM {identifier(rows)}").arrow()
            cursor.register("__dbt_rows", arrow)
            cursor.execute(f"CREATE TEMP TABLE {relation.render()} AS SELECT * FROM __dbt_rows")
            cursor.unregister("__dbt_rows")

        with collecting(take):
            self.submit_python_job(model, code)

    # Views

    @available
    def keep_view(self, relation: BaseRelation, sql: str) -> None:
        """Keep the SQL of a view in the catalog, and drop an Iceberg table of its name."""
        lake, name = self.lake, name_of(relation)
        with self._explained():
            lake.keep_view(name, sql)

    @available
    def is_iceberg_table(self, relation: BaseRelation | None) -> bool:
        """Whether a relation is an Iceberg table."""
        if relation is None or relation.schema is None:
            return False
        with self._explained():
            return self.lake.found(name_of(relation)) is not None

    @available
    def drop_iceberg_table(self, relation: BaseRelation) -> None:
        """Drop an Iceberg table."""
        with self._explained():
            self.lake.drop(name_of(relation))

    def cleanup_connections(self) -> None:
        """Keep the views of this invocation, and look at the catalogs anew in the next."""
        environment = DuckDBConnectionManager._ENV
        if environment is not None:
            with self._explained():
                environment.lake.save_views()
                environment.lake.forget()
        super().cleanup_connections()

    # Relations

    def list_relations_without_caching(self, schema_relation: BaseRelation) -> list[BaseRelation]:
        """Everything in a schema: Iceberg tables, stored views, and what only DuckDB knows."""
        lake = self.lake
        with self._explained():
            tables, views = lake.relations(schema_relation.database, schema_relation.schema)
        known = {name.key for name in (*tables, *views)}
        found = [self._relation(name, RelationType.Table) for name in tables]
        found += [self._relation(name, RelationType.View) for name in views]
        others = super().list_relations_without_caching(schema_relation)
        return found + [other for other in others if name_of(other).key not in known]

    def _relation(self, name: Name, kind: RelationType) -> BaseRelation:
        return self.Relation.create(
            database=name.database,
            schema=name.schema,
            identifier=name.identifier,
            type=kind,
            quote_policy={"database": True, "schema": True, "identifier": True},
        )

    def drop_relation(self, relation: BaseRelation) -> None:
        """Drop a table or view."""
        if relation.schema is None:
            super().drop_relation(relation)
            return
        lake, name = self.lake, name_of(relation)
        with self._explained():
            if lake.found(name) is not None:
                lake.drop(name)
                self.cache_dropped(relation)
                return
            if relation.type == RelationType.View:
                lake.drop_view(name)
        super().drop_relation(relation)

    def rename_relation(self, from_relation: BaseRelation, to_relation: BaseRelation) -> None:
        """Rename a table or view."""
        lake, name = self.lake, name_of(from_relation)
        with self._explained():
            if lake.found(name) is not None:
                lake.rename(name, name_of(to_relation))
                self.cache_renamed(from_relation, to_relation)
                return
        super().rename_relation(from_relation, to_relation)

    def truncate_relation(self, relation: BaseRelation) -> None:
        """Remove all rows of a table."""
        self.execute(f"truncate {relation.render()}")

    def drop_schema(self, relation: BaseRelation) -> None:
        """Drop a schema, with its Iceberg tables and stored views."""
        lake = self.lake
        with self._explained():
            tables, views = lake.relations(relation.database, relation.schema)
            for name in tables:
                lake.drop(name)
            for name in views:
                lake.drop_view(name)
            lake.drop_namespace(relation.database, relation.schema)
        super().drop_schema(relation)

    # Documentation

    def get_catalog_by_relations(self, *arguments: Any, **options: Any) -> Any:
        """The catalog of dbt docs, with Iceberg tables as tables."""
        relations = arguments[1] if len(arguments) > 1 else options["relations"]
        self._show(relations)
        return super().get_catalog_by_relations(*arguments, **options)

    def get_catalog(self, *arguments: Any, **options: Any) -> Any:
        """The catalog of dbt docs, with Iceberg tables as tables."""
        return super().get_catalog(*arguments, **options)

    def _show(self, relations: Iterable[BaseRelation]) -> None:
        with self._explained():
            for relation in relations:
                self.lake.prepare(relation.render())

    def _catalog_filter_table(self, table: agate.Table, used_schemas: Any) -> agate.Table:
        filtered = super()._catalog_filter_table(table, used_schemas)
        return self._with_iceberg(filtered)

    def _with_iceberg(self, table: agate.Table) -> agate.Table:
        """Rows of the catalog, with kind and comments of Iceberg tables."""
        import agate

        lake = self.lake
        tables: dict[Name, Any] = {}
        rows = []
        for row in table.rows:
            values = dict(zip(table.column_names, row.values(), strict=True))
            name = Name(values["table_database"], values["table_schema"], values["table_name"])
            if name not in tables:
                place = lake.found(name)
                tables[name] = (
                    lake.catalog(place.catalog).load_table(place.identifier) if place else None
                )
            loaded = tables[name]
            if loaded is not None:
                values["table_type"] = "BASE TABLE"
                values["table_comment"] = loaded.properties.get("comment")
                docs = {field.name: field.doc for field in loaded.schema().fields}
                values["column_comment"] = docs.get(values["column_name"])
            if name.identifier != VIEWS:
                rows.append([values[column] for column in table.column_names])
        text = agate.Text()
        kinds = [
            text if column.endswith("comment") else kind
            for column, kind in zip(table.column_names, table.column_types, strict=True)
        ]
        return agate.Table(rows, table.column_names, kinds)

    # What Iceberg has not

    def standardize_grants_dict(self, grants_table: Any) -> dict[str, list[str]]:
        """Iceberg tables have no grants."""
        return {}

    @available
    def note_ignored(self, what: str) -> None:
        """Say once that something is ignored."""
        DuckDBConnectionManager.warn_once(what)

    def valid_incremental_strategies(self) -> Sequence[str]:
        """The strategies that incremental models may name."""
        return ["append", "delete+insert", "merge", "insert_overwrite", "microbatch"]


def name_of(relation: BaseRelation) -> Name:
    """The name of a relation."""
    path = relation.path
    return Name(path.database or "", path.schema or "", path.identifier or "")


def _listed(config: Any, key: str) -> list[str]:
    found = config.get(f"{key}_by") or config.get(f"{key}ed_by") or []
    return [found] if isinstance(found, str) else list(found)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition(keys: Sequence[str] | str | None) -> str | None:
    if not keys:
        return None
    names = [keys] if isinstance(keys, str) else list(keys)
    return " AND ".join(f"s.{name} = t.{name}" for name in names)


def _not_null(model: Any) -> frozenset[str]:
    """The columns that a contract says may not be null."""
    contract = getattr(model, "contract", None)
    if not (contract and contract.enforced):
        return frozenset()
    kinds: Mapping[str, Any] = getattr(model, "columns", None) or {}
    return frozenset(
        column.name
        for column in kinds.values()
        if any(constraint.type.value == "not_null" for constraint in column.constraints or [])
    )


def response(done: Committed) -> AdapterResponse:
    """What dbt shows of a commit."""
    return AdapterResponse(_message="OK", rows_affected=done.rows)
