"""The adapter: what dbt's macros ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.base import BaseRelation
from dbt.adapters.base.impl import ConstraintSupport
from dbt.adapters.base.meta import available
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.adapters.contracts.relation import RelationType
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.impl import DuckDBAdapter, DuckDBConfig
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.contracts.constraints import ConstraintType
from dbt_common.exceptions import DbtRuntimeError

from dbt.adapters.duckdb_iceberg.connections import IcebergConnectionManager
from dbt.adapters.duckdb_iceberg.environment import IcebergCursor, IcebergEnvironment, collecting
from dbt.adapters.duckdb_iceberg.errors import explained
from floe_iceberg import (
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
from floe_iceberg.inspection import columns_of
from floe_iceberg.shape import (
    document_table,
    is_documented,
    needs_new_column,
    reshape_columns,
)
from floe_iceberg.sql import identifier
from floe_iceberg.types import StoredType

if TYPE_CHECKING:
    import agate
    from pyiceberg.table import Table

logger = AdapterLogger("Iceberg")

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

    CONSTRAINT_SUPPORT = {  # noqa: RUF012 - as dbt declares it
        ConstraintType.not_null: ConstraintSupport.ENFORCED,
        ConstraintType.check: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.unique: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.primary_key: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.foreign_key: ConstraintSupport.NOT_SUPPORTED,
    }

    @classmethod
    def get_adapter_run_info(cls, config: Any) -> Any:
        """What dbt records of the adapter; its name cannot be told from the class's."""
        from dbt.adapters.base.impl import AdapterTrackingRelationInfo

        from dbt.adapters.duckdb_iceberg.__version__ import version

        return AdapterTrackingRelationInfo(
            adapter_name="duckdb_iceberg",
            base_adapter_version="",
            adapter_version=version,
            model_adapter_details=cls._get_adapter_specific_run_info(config),
        )

    def __init__(self, config: Any, mp_context: Any) -> None:
        super().__init__(config, mp_context)
        self._owners: Mapping[tuple[str, ...], list[str]] | None = None

    @property
    def lake(self) -> Attachment:
        """The tables and views of the profile's catalogs."""
        self.connections.get_thread_connection().handle  # noqa: B018 - opens the environment
        lake: Attachment = DuckDBConnectionManager.env().lake
        return lake

    def _name(self, relation: BaseRelation) -> Name:
        path = relation.path
        database = path.database or self.config.credentials.database
        return Name(database, path.schema or "", path.identifier or "")

    @property
    def _handle(self) -> IcebergCursor:
        handle: IcebergCursor = self.connections.get_thread_connection().handle.cursor()
        return handle

    @property
    def _cursor(self) -> duckdb.DuckDBPyConnection:
        return self._handle._cursor

    def debug_query(self) -> None:
        """What `dbt debug` tries: DuckDB, and every catalog."""
        super().debug_query()
        lake, credentials = self.lake, DuckDBConnectionManager.env().creds
        with explained(lake):
            for catalog, count in lake.namespaces().items():
                shown = credentials.shown(catalog)
                logger.info(f"Iceberg catalog {catalog} ({shown}): {count} namespaces")

    # Tables

    def describe_table(
        self, database: str | None, schema: str, identifier: str
    ) -> tuple[dict[str, str], str] | None:
        """DuckDB's types of an Iceberg table's columns, and the URI of its folder.

        Asks neither DuckDB nor, of a table that this process knows, the catalog. None where a
        relation is no Iceberg table.
        """
        lake: Attachment = DuckDBConnectionManager.env().lake
        name = Name(database or self.config.credentials.database, schema, identifier)
        with explained(lake):
            table = lake.table(name)
        if table is None:
            return None
        return {column.name: column.type for column in columns_of(table)}, table.location()

    @available
    def refuse_shared_place(self, model: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
        """Refuse a model whose place in a catalog another one of the project has too.

        dbt compares names as they are spelled, and does not know of places that the profile gives.
        """
        if self._owners is None:
            owners: dict[tuple[str, ...], list[str]] = {}
            for node in graph["nodes"].values():
                if _is_stored(node):
                    owners.setdefault(self._place_of(node), []).append(node["unique_id"])
            self._owners = owners
        others = [
            node
            for node in self._owners.get(self._place_of(model), [])
            if node != model["unique_id"]
        ]
        if others:
            raise DbtRuntimeError(
                f"{model['unique_id']} and {others[0]} are both the Iceberg table "
                f"{'.'.join(self._place_of(model)[1:])}: give one of them another `alias` or "
                "`schema`"
            )

    def _place_of(self, node: Mapping[str, Any]) -> tuple[str, ...]:
        name = Name(
            node["database"] or self.config.credentials.database, node["schema"], node["alias"]
        )
        place = self.lake.place(name)
        return (place.catalog, *(part.lower() for part in place.identifier))

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
    ) -> None:
        lake = self.lake
        name = self._name(relation)
        with explained(lake):
            lake.prepare(sql)
            layout = self._layout(config, lake.table_properties(name))
            place = lake.found(name) or lake.place(name)
            with lake.writing(place):
                catalog = lake.catalog(place.catalog)
                done = replace(catalog, place.identifier, cursor, f"{sql}\n", layout)
                lake.written(name, place, done.table)
        self._handle.has_written(done)

    @available
    def response(self) -> AdapterResponse:
        """What dbt is to record of what this thread has written last."""
        response: AdapterResponse = self.connections.get_response(self._handle)
        self._handle.forget()
        return response

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
            partition_by=[parse_partition_by(text) for text in _listed(config, "partition")],
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
        config: Any,
        on_schema_change: str = "ignore",
        can_change_all: bool = False,
    ) -> str:
        """Run SQL that changes the rows of a table whose keys are those of another one.

        Args:
            relation: The Iceberg table.
            source: A temporary table with the same keys.
            keys: Columns that rows are matched by, or an expression. Without them no row matches.
            statement: SQL that changes `"__dbt_target__"`, which stands for a table of the rows
                that match.
            config: The model's configuration.
            on_schema_change: dbt's setting, for columns that only one of the two has.
            can_change_all: Whether the statement may change rows whose keys do not match.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        cursor = self._cursor

        def change(target: str) -> None:
            cursor.execute(statement.replace('"__dbt_target__"', target))

        matched = "true" if can_change_all else _condition(keys, source.render())
        self._rewrite(relation, source, config, on_schema_change, matched, change=change)
        return "select 1"

    @available
    def replace_rows(
        self,
        relation: BaseRelation,
        source: BaseRelation,
        condition: str | None,
        rows: str,
        config: Any,
        on_schema_change: str = "ignore",
    ) -> str:
        """Drop the rows that a condition over `t` holds for, and add those of a query.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        self._rewrite(relation, source, config, on_schema_change, condition, added=rows)
        return "select 1"

    @available
    def replace_partitions(self, relation: BaseRelation, rows: str) -> str:
        """Replace the partitions that a query has rows of.

        Returns:
            `select 1`, for a macro that has to give a statement.
        """
        lake = self.lake
        name = self._name(relation)
        with explained(lake):
            place = lake.existing(name)
            with lake.writing(place):
                catalog = lake.catalog(place.catalog)
                done = overwrite_partitions(catalog, place.identifier, self._cursor, rows)
                lake.written(name, place, done.table)
        self._handle.has_written(done)
        return "select 1"

    def _rewrite(
        self,
        relation: BaseRelation,
        source: BaseRelation,
        config: Any,
        on_schema_change: str,
        matched: str | None,
        *,
        change: Callable[[str], None] | None = None,
        added: str | None = None,
    ) -> None:
        lake, cursor = self.lake, self._cursor
        name = self._name(relation)
        required = _not_null(config.model)
        copy = f"temp.main.{identifier(f'{relation.identifier}__dbt_copy')}"

        def plan(table: Table) -> Rows:
            columns = self._columns(table, source, on_schema_change)
            changed = [] if columns is None else needs_new_column(table.schema(), columns)
            if columns is None or not changed:
                return Rows(
                    matched=matched,
                    change=change,
                    added=added,
                    columns=columns,
                    required=required,
                )
            # Files keep the type that they were written with: all rows are written anew.
            types = {column: columns[column].duckdb for column in changed}
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE {copy} AS {_cast(table, types)}")
            if change is not None:
                for column in columns:
                    kind = columns[column].duckdb
                    quoted = identifier(column)
                    cursor.execute(f"ALTER TABLE {copy} ADD COLUMN IF NOT EXISTS {quoted} {kind}")
                change(copy)
            elif matched is not None:
                cursor.execute(f"DELETE FROM {copy} AS t WHERE {matched}")
            kept = {field.name for field in table.schema().fields} & set(columns)
            names = columns if change is not None else [c for c in columns if c in kept]
            rows = f"SELECT {', '.join(map(identifier, names))} FROM {copy}"
            if added is not None:
                rows = f"{rows} UNION ALL BY NAME ({added})"
            return Rows(added=rows, replaces_all=True, columns=columns, required=required)

        with explained(lake):
            place = lake.existing(name)
            try:
                with lake.writing(place):
                    done = rewrite(lake.catalog(place.catalog), place.identifier, cursor, plan)
                    lake.written(name, place, done.table)
            finally:
                cursor.execute(f"DROP TABLE IF EXISTS {copy}")
        self._handle.has_written(done)

    def _columns(
        self, table: Table, source: BaseRelation, on_schema_change: str
    ) -> dict[str, StoredType] | None:
        """The columns that a table is to have, by dbt's setting; None leaves them alone."""
        if on_schema_change in {"ignore", "fail"}:
            return None
        cursor = self._cursor
        known = describe(cursor, scan_sql(table))
        given = describe(cursor, f"SELECT * FROM {source.render()}")
        spelled = {name.lower(): name for name in known}
        given = {spelled.get(name.lower(), name): stored for name, stored in given.items()}
        if on_schema_change == "append_new_columns":
            return {**known, **{n: s for n, s in given.items() if n not in known}}
        return given

    @available
    def change_columns(
        self, relation: BaseRelation, added: Sequence[Any], removed: Sequence[Any]
    ) -> None:
        """Add and remove columns of an Iceberg table; no data is written."""
        lake = self.lake
        name = self._name(relation)
        with explained(lake):
            place = lake.existing(name)
            with lake.writing(place):
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
        lake = self.lake
        name = self._name(relation)
        docs = {known: column["description"] for known, column in columns.items()}
        with explained(lake):
            table = lake.table(name)
            if table is not None and is_documented(table, comment, docs):
                return
            place = lake.existing(name)
            with lake.writing(place):
                catalog = lake.catalog(place.catalog)
                if document_table(catalog.load_table(place.identifier), comment, docs):
                    lake.written(name, place, catalog.load_table(place.identifier))

    @available
    def document_view(
        self, relation: BaseRelation, comment: str | None, columns: Mapping[str, Any]
    ) -> None:
        """Describe a view and its columns, in DuckDB and in the catalog."""
        there = {column.name for column in self.get_columns_in_relation(relation)}
        docs = {name: column["description"] for name, column in columns.items() if name in there}
        docs[""] = comment or ""
        lake = self.lake
        with explained(lake):
            lake.document_view(self._name(relation), {k: doc for k, doc in docs.items() if doc})

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
            query = f"SELECT * FROM {identifier(rows)}"
            if connection is not cursor:
                # What the model returned may itself read from the cursor, which can do one thing.
                cursor.register("__dbt_rows", connection.sql(query).to_arrow_table())
                query = "SELECT * FROM __dbt_rows"
            cursor.execute(f"CREATE TEMP TABLE {relation.render()} AS {query}")
            if connection is not cursor:
                cursor.unregister("__dbt_rows")

        with collecting(take):
            self.submit_python_job(model, code)

    # Views

    @available
    def refuse_view_of_itself(self, relation: BaseRelation, sql: str) -> None:
        """Refuse a view that reads what has its name: that would be gone when the view is there."""
        name, lake = self._name(relation), self.lake
        with explained(lake):
            is_there = lake.found(name) is not None or lake.stored_view(name) is not None
            if is_there and lake.reads(sql, name):
                raise DbtRuntimeError(
                    f"a view named {name} cannot read {name}, whose place it takes: give it "
                    "another `alias`, or read something else"
                )

    @available
    def keep_view(self, relation: BaseRelation, sql: str) -> None:
        """Keep the SQL of a view in the catalog, and drop an Iceberg table of its name."""
        lake = self.lake
        with explained(lake):
            lake.keep_view(self._name(relation), sql)

    @available
    def is_iceberg_table(self, relation: BaseRelation | None) -> bool:
        """Whether a relation is an Iceberg table."""
        if relation is None or relation.schema is None:
            return False
        lake = self.lake
        with explained(lake):
            return lake.found(self._name(relation)) is not None

    def cleanup_connections(self) -> None:
        """Keep the views of this invocation, and let go of DuckDB's file."""
        environment = DuckDBConnectionManager._ENV
        if not isinstance(environment, IcebergEnvironment):
            super().cleanup_connections()
            return
        try:
            with explained(environment.lake):
                environment.lake.save_views()
        except DbtRuntimeError as problem:
            logger.warning(
                "The SQL of views could not be kept in the catalog, so other processes do not see "
                f"them before dbt has run again. {problem}"
            )
        finally:
            super().cleanup_connections()
            environment.lake.forget()
            environment.release()
            DuckDBConnectionManager._LOGGED_MESSAGES.clear()

    # Relations

    def list_relations_without_caching(self, schema_relation: BaseRelation) -> list[BaseRelation]:
        """Everything in a schema: Iceberg tables, stored views, and what only DuckDB knows."""
        lake = self.lake
        with explained(lake):
            tables, views = lake.relations(schema_relation.database, schema_relation.schema)
        known = {name.key for name in (*tables, *views)}
        found = [self._relation(name, RelationType.Table) for name in tables]
        found += [self._relation(name, RelationType.View) for name in views]
        others = super().list_relations_without_caching(schema_relation)
        return found + [other for other in others if self._name(other).key not in known]

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
        lake = self.lake
        name = self._name(relation)
        with explained(lake):
            if lake.found(name) is not None:
                lake.drop(name)
                self.cache_dropped(relation)
                return
            if relation.type == RelationType.View:
                lake.drop_view(name)
        super().drop_relation(relation)

    def rename_relation(self, from_relation: BaseRelation, to_relation: BaseRelation) -> None:
        """Rename a table or view."""
        lake = self.lake
        name = self._name(from_relation)
        with explained(lake):
            if lake.found(name) is not None:
                lake.rename(name, self._name(to_relation))
                self.cache_renamed(from_relation, to_relation)
                return
        super().rename_relation(from_relation, to_relation)

    def truncate_relation(self, relation: BaseRelation) -> None:
        """Remove all rows of a table."""
        self.execute(f"truncate {relation.render()}")

    def drop_schema(self, relation: BaseRelation) -> None:
        """Drop a schema, with its Iceberg tables and stored views."""
        lake = self.lake
        name = self._name(relation)
        with explained(lake):
            lake.drop_schema(name.database, name.schema)
        super().drop_schema(relation)

    # Documentation

    def get_catalog_by_relations(self, used_schemas: Any, relations: set[BaseRelation]) -> Any:
        """The catalog of dbt docs, with Iceberg tables as tables."""
        lake = self.lake
        with explained(lake):
            for relation in relations:
                lake.see(self._name(relation))
        return super().get_catalog_by_relations(used_schemas, relations)

    def get_catalog(self, relation_configs: Iterable[Any], used_schemas: Any) -> Any:
        """The catalog of dbt docs, with Iceberg tables as tables."""
        lake = self.lake
        with explained(lake):
            for database, schema in used_schemas:
                tables, views = lake.relations(database or self.config.credentials.database, schema)
                for name in (*tables, *views):
                    lake.see(name)
        return super().get_catalog(relation_configs, used_schemas)

    def _catalog_filter_table(self, table: agate.Table, used_schemas: Any) -> agate.Table:
        filtered = super()._catalog_filter_table(table, used_schemas)
        return self._with_iceberg(filtered)

    def _with_iceberg(self, table: agate.Table) -> agate.Table:
        """Rows of the catalog, with kind and comments of Iceberg tables."""
        import agate

        lake = self.lake
        rows = []
        for row in table.rows:
            values = dict(zip(table.column_names, row.values(), strict=True))
            name = Name(values["table_database"], values["table_schema"], values["table_name"])
            with explained(lake):
                loaded = lake.table(name)
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


def _is_stored(node: Mapping[str, Any]) -> bool:
    """Whether what a node makes has a name in a catalog."""
    kind = node["config"].get("materialized")
    return node["resource_type"] in {"model", "seed", "snapshot"} and kind != "ephemeral"


def _listed(config: Any, key: str) -> list[str]:
    """The columns of `partition_by` or `sort_by`, however it is spelled."""
    found = config.get(f"{key}_by") or config.get(f"{key}ed_by") or []
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(column, str) for column in listed):
        example = "day(ordered_at)" if key == "partition" else "ordered_at"
        raise DbtRuntimeError(
            f"`{key}_by` is a column or a list of them, such as `{example}`, "
            f"not {json.dumps(found)}"
        )
    return listed


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition(keys: Sequence[str] | str | None, source: str) -> str | None:
    """What holds for a row `t` whose keys are those of a row of a source."""
    if not keys:
        return "false"
    if isinstance(keys, str):
        return f"({keys}) IN (SELECT ({keys}) FROM {source})"
    # Unlike EXISTS, IN lets DuckDB skip the row groups that no key falls into.
    wanted, given = (", ".join(f"{side}.{key}" for key in keys) for side in "ts")
    return f"({wanted}) IN (SELECT {given} FROM {source} AS s)"


def _cast(table: Table, types: Mapping[str, str]) -> str:
    """The rows of a table, some columns with another type."""
    casts = (f"CAST({identifier(c)} AS {kind}) AS {identifier(c)}" for c, kind in types.items())
    return f"SELECT * REPLACE ({', '.join(casts)}) FROM ({scan_sql(table)})"


def _not_null(model: Any) -> frozenset[str]:
    """The columns that a contract says may not be null."""
    contract = getattr(model, "contract", None)
    if not (contract and contract.enforced):
        return frozenset()
    kinds: Mapping[str, Any] = getattr(model, "columns", None) or {}
    columns = {
        column.name
        for column in kinds.values()
        if any(constraint.type.value == "not_null" for constraint in column.constraints or [])
    }
    for constraint in getattr(model, "constraints", None) or []:
        if constraint.type.value == "not_null":
            columns.update(constraint.columns)
    return frozenset(columns)
