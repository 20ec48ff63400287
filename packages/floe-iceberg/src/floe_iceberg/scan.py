"""Iceberg tables as DuckDB reads them.

DuckDB's own Parquet reader is given the files of a snapshot and the schema by field id, which is
the fastest way and right for renamed, added and promoted columns. Where rows are deleted in place,
or files carry no field ids, DuckDB's iceberg extension reads the table's metadata instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile

from floe_iceberg.commit import data_file_of
from floe_iceberg.data_files import duckdb_path, has_field_ids
from floe_iceberg.errors import IcebergError
from floe_iceberg.sql import identifier, literal
from floe_iceberg.types import duckdb_name, to_duckdb

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

COLUMN_TYPES = "duckdb.column-types"
"""Table property: DuckDB's own types of the columns whose values are stored as another, as JSON."""

NAME_MAPPING = "schema.name-mapping.default"


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one snapshot.

    Attributes:
        data: Data files, in the order of the manifests.
        deletes: Of each data file that has them, by its URI, its position delete files.
        is_plain: Whether every delete file belongs to one data file, and the Parquet files carry
            field ids: what floe itself writes.
    """

    data: tuple[DataFile, ...]
    deletes: Mapping[str, tuple[DataFile, ...]]
    is_plain: bool

    @property
    def bytes(self) -> int:
        """Bytes of the data files."""
        return sum(file.file_size_in_bytes for file in self.data)

    @property
    def deleted_rows(self) -> int:
        """Rows that delete files take away."""
        return sum(file.record_count for found in self.deletes.values() for file in found)

    @property
    def rows(self) -> int:
        """Rows that a scan gives; only an upper bound unless `is_plain`."""
        return sum(file.record_count for file in self.data) - self.deleted_rows


def files_of(table: Table, snapshot_id: int | None = None) -> Files:
    """List the files of a snapshot; of the current one unless told.

    Raises:
        IcebergError: if PyIceberg cannot say which rows are deleted.
    """
    data, deletes = [], {}
    is_plain = table.format_version <= 2
    # Some catalogs give every table a name mapping; it is for files without field ids alone.
    is_mapped = NAME_MAPPING in table.properties
    try:
        tasks = list(table.scan(snapshot_id=snapshot_id).plan_files())
    except ValueError as problem:
        raise IcebergError(
            f"{'.'.join(table.name())} cannot be read: {problem}",
            "write it anew with the engine that deletes rows like this",
        ) from problem
    for task in tasks:
        data.append(task.file)
        if is_mapped:
            is_plain = is_plain and has_field_ids(task.file.file_path)
        if task.delete_files:
            deletes[task.file.file_path] = tuple(
                sorted(task.delete_files, key=lambda file: file.file_path)
            )
            is_plain = is_plain and all(
                data_file_of(file) == task.file.file_path for file in task.delete_files
            )
    return Files(tuple(data), deletes, is_plain)


def scan_sql(table: Table, files: Files | None = None, snapshot_id: int | None = None) -> str:
    """A query that gives the rows of a table, with the types that it was written with.

    Args:
        table: The table.
        files: Its files, where they are known.
        snapshot_id: The snapshot; the current one unless told.
    """
    files = files if files is not None else files_of(table, snapshot_id)
    schema = _schema(table, snapshot_id)
    columns = _columns(table, schema)
    if files.data and not (files.is_plain and not files.deletes):
        return f"SELECT {columns} FROM {_iceberg_scan(table, snapshot_id)}"
    return f"SELECT {columns} FROM {stored_rows(schema, files.data)}"


def preview_sql(table: Table, snapshot_id: int | None = None) -> str:
    """The same as `scan_sql` gives, for a few rows: it does without DuckDB's iceberg extension.

    Only files that another engine wrote need it.
    """
    files = files_of(table, snapshot_id)
    if not files.is_plain:
        return scan_sql(table, files, snapshot_id)
    schema = _schema(table, snapshot_id)
    return f"SELECT {_columns(table, schema)} FROM ({live_rows(schema, files, files.data)})"


def _columns(table: Table, schema: Schema) -> str:
    """The columns of a schema as DuckDB has them, whatever they were called then."""
    kept = column_types(table.properties)
    current = {field.field_id: field.name for field in table.schema().fields}
    return ", ".join(
        to_duckdb(field.name, kept.get(current.get(field.field_id, ""))) for field in schema.fields
    )


def stored_rows(schema: Schema, data: Sequence[DataFile]) -> str:
    """What reads data files as they are stored, for use after FROM.

    It has the virtual columns `filename` and `file_row_number` where there are files.
    """
    if not data:
        nothing = ", ".join(
            f"CAST(NULL AS {duckdb_name(field.field_type)}) AS {identifier(field.name)}"
            for field in schema.fields
        )
        return f"(SELECT {nothing} WHERE false)"
    return f"read_parquet({_paths(data)}, schema = {_by_field_id(schema)})"


def delete_rows(files: Files) -> str | None:
    """A query that gives `file_path` and `pos` of the rows that are deleted already."""
    deletes = {file.file_path: file for found in files.deletes.values() for file in found}.values()
    return f"SELECT file_path, pos FROM read_parquet({_paths(deletes)})" if deletes else None


def live_rows(schema: Schema, files: Files, data: Sequence[DataFile]) -> str:
    """A query of the rows of some files that are not deleted, as stored.

    It has two more columns, `__file` (what DuckDB calls the file) and `__row` (the number of the
    row in it).

    Args:
        schema: Has the columns.
        files: The files of the snapshot.
        data: Those of them whose rows are wanted.
    """
    names = ", ".join(identifier(field.name) for field in schema.fields)
    source = stored_rows(schema, data)
    if not data:
        return f"SELECT {names}, NULL::VARCHAR AS __file, NULL::BIGINT AS __row FROM {source}"
    live = f"SELECT {names}, filename AS __file, file_row_number AS __row FROM {source}"
    paths = {file.file_path for file in data}
    kept = {path: found for path, found in files.deletes.items() if path in paths}
    deletes = delete_rows(Files((), kept, is_plain=True))
    if deletes is None:
        return live
    return (
        f"SELECT * FROM ({live}) AS l WHERE NOT EXISTS (SELECT 1 FROM ({deletes}) AS d "
        f"WHERE d.file_path = {uri_sql('l.__file', data)} AND d.pos = l.__row)"
    )


def uri_sql(column: str, data: Sequence[DataFile]) -> str:
    """SQL that turns what DuckDB calls a data file into its URI."""
    uri = data[0].file_path
    path = duckdb_path(uri)
    if all(file.file_path == duckdb_path(file.file_path) for file in data):
        return column
    prefix = uri.removesuffix(path)
    if prefix + path == uri and all(
        prefix + duckdb_path(file.file_path) == file.file_path for file in data
    ):
        return f"{literal(prefix)} || {column}"
    cases = " ".join(
        f"WHEN {literal(duckdb_path(f.file_path))} THEN {literal(f.file_path)}" for f in data
    )
    return f"CASE {column} {cases} END"


def column_types(properties: Mapping[str, str]) -> dict[str, str]:
    """DuckDB's own type of the columns that are stored as another, by name."""
    return dict(json.loads(properties.get(COLUMN_TYPES, "{}")))


def _schema(table: Table, snapshot_id: int | None) -> Schema:
    snapshot = table.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    return table.schemas()[snapshot.schema_id]


def _paths(files: Iterable[DataFile]) -> str:
    return f"[{', '.join(literal(duckdb_path(file.file_path)) for file in files)}]"


def _by_field_id(schema: Schema) -> str:
    fields = ", ".join(
        f"{field.field_id}: {{name: {literal(field.name)}, type: "
        f"{literal(duckdb_name(field.field_type))}, default_value: NULL}}"
        for field in schema.fields
    )
    return f"MAP {{{fields}}}"


def _iceberg_scan(table: Table, snapshot_id: int | None) -> str:
    at = f", snapshot_from_id = {snapshot_id}::UBIGINT" if snapshot_id is not None else ""
    return f"iceberg_scan({literal(duckdb_path(table.metadata_location))}{at})"
