"""Iceberg tables as DuckDB reads them.

DuckDB's own Parquet reader is given the files of a snapshot and the schema by field id, which is
the fastest way and right for renamed, added and promoted columns. Rows that floe deleted in place
are taken out by a join with its delete files. Where another engine wrote files without field ids,
or delete files for many data files at once, DuckDB's iceberg extension reads the table's metadata.
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
"""Table property: DuckDB's own types of the columns whose values are stored as another, as JSON.

The keys are field ids, which renaming leaves alone and no other column ever gets, so that earlier
snapshots are read with the types that they were written with.
"""

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
    def is_read_as_parquet(self) -> bool:
        """Whether DuckDB's Parquet reader gives the rows; else its iceberg extension does."""
        return not self.data or self.is_plain

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
    is_plain = table.format_version <= 2 and not _has_renamed_members(table)
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
    kept = column_types(table.properties, schema)
    columns = ", ".join(to_duckdb(field.name, kept.get(field.name)) for field in schema.fields)
    if not files.is_read_as_parquet:
        return f"SELECT {columns} FROM {_iceberg_scan(table, snapshot_id)}"
    whole = [file for file in files.data if file.file_path not in files.deletes]
    thinned = [file for file in files.data if file.file_path in files.deletes]
    parts = [f"SELECT {columns} FROM {stored_rows(schema, whole)}"] if whole or not thinned else []
    if thinned:
        parts.append(f"SELECT {columns} FROM ({live_rows(schema, files, thinned)})")
    return " UNION ALL ".join(parts)


def stored_rows(schema: Schema, data: Sequence[DataFile]) -> str:
    """What reads data files as they are stored, for use after FROM."""
    if not data:
        nothing = ", ".join(
            f"CAST(NULL AS {duckdb_name(field.field_type)}) AS {identifier(field.name)}"
            for field in schema.fields
        )
        return f"(SELECT {nothing} WHERE false)"
    return _read_parquet(data, _by_field_id(schema))


@dataclass(frozen=True, slots=True)
class RowPosition:
    """Where a row is, as two columns of a query beside those of the table.

    Attributes:
        file: Name of the column with the data file, as DuckDB calls it.
        row: Name of the column with the number of the row in the file.
    """

    file: str
    row: str

    @classmethod
    def beside(cls, schema: Schema) -> RowPosition:
        """Names that no column of the table has."""
        file, row = "__file", "__row"
        taken = {field.name.lower() for field in schema.fields}
        while file in taken or row in taken:
            file, row = f"_{file}", f"_{row}"
        return cls(file, row)


def live_rows(schema: Schema, files: Files, data: Sequence[DataFile]) -> str:
    """A query of the rows of some data files that are not deleted, as they are stored.

    It has the columns of `RowPosition` besides. The columns are read under other names at first,
    since one called `filename` or `file_row_number` would take the place of the virtual column.

    Args:
        schema: The schema.
        files: The files of the snapshot.
        data: Those that are read.
    """
    at = RowPosition.beside(schema)
    if not data:
        nothing = f"SELECT *, NULL::VARCHAR AS {at.file}, NULL::BIGINT AS {at.row}"
        return f"{nothing} FROM {stored_rows(schema, ())}"
    names = ", ".join(f"c{field.field_id} AS {identifier(field.name)}" for field in schema.fields)
    source = _read_parquet(data, _by_field_id(schema, prefix="c"))
    live = f"SELECT {names}, filename AS {at.file}, file_row_number AS {at.row} FROM {source}"
    deletes = delete_rows(files, data)
    if deletes is None:
        return live
    return (
        f"SELECT * FROM ({live}) AS l WHERE NOT EXISTS (SELECT 1 FROM ({deletes}) AS d "
        f"WHERE d.file_path = {uri_sql(f'l.{at.file}', data)} AND d.pos = l.{at.row})"
    )


def delete_rows(files: Files, of: Iterable[DataFile]) -> str | None:
    """A query that gives `file_path` and `pos` of the rows that are deleted of some data files."""
    deletes = [delete for file in of for delete in files.deletes.get(file.file_path, ())]
    return f"SELECT file_path, pos FROM read_parquet({_paths(deletes)})" if deletes else None


def column_types(properties: Mapping[str, str], schema: Schema) -> dict[str, str]:
    """DuckDB's own type of the columns of a schema that are stored as another, by name."""
    kept = json.loads(properties.get(COLUMN_TYPES, "{}"))
    return {
        field.name: kept[str(field.field_id)]
        for field in schema.fields
        if str(field.field_id) in kept
    }


def _has_renamed_members(table: Table) -> bool:
    """Whether a field within a struct had another name; DuckDB finds those by name, not by id."""
    schemas = table.metadata.schemas
    if len(schemas) == 1:
        return False
    names: dict[int, str] = {}
    for schema in schemas:
        top = {field.field_id for field in schema.fields}
        for number, name in schema._lazy_id_to_name.items():
            member = name.rpartition(".")[2]
            if number not in top and names.setdefault(number, member) != member:
                return True
    return False


def _schema(table: Table, snapshot_id: int | None) -> Schema:
    snapshot = table.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    return table.schemas()[snapshot.schema_id]


def _read_parquet(data: Sequence[DataFile], schema: str) -> str:
    """DuckDB's reader with its schema given, for which it opens no file while it plans.

    So it has to be told how many rows there are, or it takes a table for a small one and joins it
    the wrong way round.
    """
    rows = sum(file.record_count for file in data)
    return f"read_parquet({_paths(data)}, schema = {schema}, explicit_cardinality = {rows})"


def _paths(files: Iterable[DataFile]) -> str:
    return f"[{', '.join(literal(duckdb_path(file.file_path)) for file in files)}]"


def _by_field_id(schema: Schema, prefix: str | None = None) -> str:
    """The columns that a file is read as: under their names, or a prefix and the field id."""
    fields = ", ".join(
        f"{field.field_id}: {{name: "
        f"{literal(field.name if prefix is None else f'{prefix}{field.field_id}')}, type: "
        f"{literal(duckdb_name(field.field_type))}, default_value: NULL}}"
        for field in schema.fields
    )
    return f"MAP {{{fields}}}"


def uri_sql(column: str, data: Sequence[DataFile]) -> str:
    """SQL that turns what DuckDB calls a data file into its URI."""
    uri = data[0].file_path
    path = duckdb_path(uri)
    prefix = uri.removesuffix(path)
    if all(prefix + duckdb_path(file.file_path) == file.file_path for file in data):
        return f"{literal(prefix)} || {column}" if prefix else column
    cases = " ".join(
        f"WHEN {literal(duckdb_path(f.file_path))} THEN {literal(f.file_path)}" for f in data
    )
    return f"CASE {column} {cases} END"


def _iceberg_scan(table: Table, snapshot_id: int | None) -> str:
    at = f", snapshot_from_id = {snapshot_id}::UBIGINT" if snapshot_id is not None else ""
    return f"iceberg_scan({literal(duckdb_path(table.metadata_location))}{at})"
