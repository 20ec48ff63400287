"""Rows of a table that give way to others: which files that touches, and how.

Matched rows are copied into a temporary table, where whoever asked changes them with SQL of their
own; what is in it afterwards is written as new rows. The old ones leave in one of two ways:

- the file that holds them is written anew without them, which costs in proportion to the file;
- a position delete file names them, which costs in proportion to them, and makes reads a little
  slower until the file is written anew.

The second is for rows that are few and scattered over much data. Either way a data file has one
position delete file at most, and one that has lost much of its rows is written anew.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from pyiceberg.manifest import DataFile
from pyiceberg.typedef import Record

from floe_iceberg.data_files import WriteOptions, duckdb_path
from floe_iceberg.errors import IcebergError
from floe_iceberg.scan import (
    Files,
    RowPosition,
    column_types,
    delete_rows,
    live_rows,
    stored_rows,
    uri_sql,
)
from floe_iceberg.shape import aligned_query, describe, order_by, sort_columns
from floe_iceberg.sql import identifier, literal
from floe_iceberg.types import StoredType, to_duckdb

if TYPE_CHECKING:
    from types import TracebackType

    from duckdb import DuckDBPyConnection
    from pyiceberg.table import Transaction
    from pyiceberg.table.metadata import TableMetadata

    from floe_iceberg.draft import Draft

_FEW = 0.1  # share of a file's rows that may be deleted in place
_MUCH_BYTES = 64 * 1024 * 1024  # data below this is written anew faster than it is worth to care
_TIER = 8  # files of about one size, of which there are so many, are written into one


@dataclass(frozen=True, slots=True)
class Rows:
    """What happens to rows of a table, as SQL.

    Attributes:
        added: A query that gives rows that come; None for none.
        matched: A predicate over a row of the table, whose alias is `t`: the rows that it holds
            for are taken out and handed to `change`. None for none.
        change: Is given the name of a temporary table with the matched rows, and leaves in it the
            rows that are to take their place. None drops them.
        columns: How the columns are stored that the table is to have; None leaves them alone.
        replaces_all: Whether every row of the table leaves.
        required: Columns in which no null may be written.
    """

    added: str | None = None
    matched: str | None = None
    change: Callable[[str], None] | None = None
    columns: Mapping[str, StoredType] | None = None
    replaces_all: bool = False
    required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Removal:
    """How rows leave.

    Attributes:
        rewritten: Data files that are written anew, and so leave.
        thinned: Data files that stay, and get a position delete file.
        gone: URIs of the data and delete files that leave.
    """

    rewritten: tuple[DataFile, ...]
    thinned: tuple[DataFile, ...]
    gone: frozenset[str]


class Rewriting:
    """One attempt to rewrite rows; its temporary tables are dropped when it ends."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        transaction: Transaction,
        files: Files,
        rows: Rows,
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._files = files
        self._rows = rows
        suffix = uuid4().hex[:12]
        self._schema = transaction.table_metadata.schema()
        self._at = RowPosition.beside(self._schema)
        self._positions = f"temp.main.__iceberg_positions_{suffix}"
        self._changed = f"temp.main.__iceberg_rows_{suffix}"
        if rows.matched is not None and not files.is_plain:
            raise IcebergError(
                f"{_name(transaction)} has files that another engine wrote or deleted rows of, "
                "and cannot be changed row by row",
                "write it anew as a whole once (dbt: --full-refresh)",
            )

    def __enter__(self) -> Self:
        if self._rows.matched is not None:
            try:
                self._match(self._rows.matched)
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
        from duckdb import Error

        for table in (self._positions, self._changed):
            with suppress(Error):  # within a transaction that has failed they are gone with it
                self._connection.execute(f"DROP TABLE IF EXISTS {table}")

    def _match(self, predicate: str) -> None:
        """Remember where the matched rows are, and have a copy of them changed."""
        kept = column_types(self._transaction.table_metadata.properties, self._schema)
        columns = ", ".join(to_duckdb(f.name, kept.get(f.name)) for f in self._schema.fields)
        at = self._at
        wanted = f"{at.file}, {at.row}" if self._rows.change is None else "*"
        live = live_rows(self._schema, self._files, self._files.data)
        self._connection.execute(
            f"CREATE TEMP TABLE {self._positions} AS SELECT {wanted} FROM "
            f"(SELECT {columns}, {at.file}, {at.row} FROM ({live})) AS t WHERE {predicate}"
        )
        if self._rows.change is not None:
            self._connection.execute(
                f"CREATE TEMP TABLE {self._changed} AS "
                f"SELECT * EXCLUDE ({at.file}, {at.row}) FROM {self._positions}"
            )
            self._rows.change(self._changed)

    def _touched(self) -> list[tuple[DataFile, int]]:
        """The files that hold matched rows, with their number."""
        if self._rows.matched is None:
            return []
        found = dict(
            self._connection.execute(
                f"SELECT {self._at.file}, count(*) FROM {self._positions} GROUP BY ALL"
            ).fetchall()
        )
        paths = ((file, duckdb_path(file.file_path)) for file in self._files.data)
        return [(file, found[path]) for file, path in paths if path in found]

    def removal(self) -> Removal:
        """Decide how the matched rows leave, and which small files go with them."""
        if self._rows.replaces_all:
            deletes = (file for found in self._files.deletes.values() for file in found)
            gone = {file.file_path for file in (*self._files.data, *deletes)}
            return Removal((), (), frozenset(gone))
        touched = self._touched()
        much = sum(file.file_size_in_bytes for file, _ in touched) > _MUCH_BYTES
        spec_id = self._transaction.table_metadata.default_spec_id
        can_thin = self._transaction.table_metadata.format_version == 2
        rewritten: list[DataFile] = []
        thinned: list[DataFile] = []
        for file, count in touched:
            deleted = sum(d.record_count for d in self._files.deletes.get(file.file_path, ()))
            is_few = count + deleted <= _FEW * file.record_count
            (thinned if much and is_few and can_thin else rewritten).append(file)
        busy = {file.file_path for file in (*rewritten, *thinned)}
        idle = [f for f in self._files.data if f.file_path not in busy and f.spec_id == spec_id]
        options = WriteOptions.of(self._transaction.table_metadata.properties)
        if self._files.is_plain:
            rewritten += _crowd(idle, options.file_bytes)
        gone = {file.file_path for file in rewritten}
        for file in (*rewritten, *thinned):
            gone |= {delete.file_path for delete in self._files.deletes.get(file.file_path, ())}
        return Removal(tuple(rewritten), tuple(thinned), frozenset(gone))

    def source(self, removal: Removal) -> str:
        """A query of all rows that are written, as they are stored."""
        names = ", ".join(identifier(f.name) for f in self._schema.fields)
        parts = []
        if removal.rewritten:
            live = live_rows(self._schema, self._files, removal.rewritten)
            at = self._at
            if self._rows.matched is not None:
                live = (
                    f"SELECT * FROM ({live}) AS t WHERE NOT EXISTS "
                    f"(SELECT 1 FROM {self._positions} AS p "
                    f"WHERE p.{at.file} = t.{at.file} AND p.{at.row} = t.{at.row})"
                )
            parts.append(f"SELECT {names} FROM ({live})")
        if self._rows.matched is not None and self._rows.change is not None:
            parts.append(self._aligned(f"SELECT * FROM {self._changed}"))
        if self._rows.added is not None:
            parts.append(self._aligned(self._rows.added))
        if not parts:
            parts.append(f"SELECT {names} FROM {stored_rows(self._schema, ())}")
        query = " UNION ALL ".join(f"({part})" for part in parts)
        return sorted_query(query, self._transaction.table_metadata)

    def _aligned(self, query: str) -> str:
        kept = column_types(self._transaction.table_metadata.properties, self._schema)
        return aligned_query(query, describe(self._connection, query), self._schema, kept)

    def write_deletes(self, draft: Draft, removal: Removal, basis: int) -> Sequence[DataFile]:
        """Write the position delete files of the files that stay."""
        if not removal.thinned:
            return ()
        at = self._at
        uri = uri_sql(at.file, removal.thinned)
        paths = ", ".join(literal(duckdb_path(f.file_path)) for f in removal.thinned)
        query = (
            f"SELECT {uri} AS file_path, {at.row} AS pos FROM {self._positions} "
            f"WHERE {at.file} IN ({paths})"
        )
        thinned = {file.file_path: file for file in removal.thinned}
        before = delete_rows(self._files, removal.thinned)
        if before is not None:
            query = f"{query} UNION ALL {before}"
        return draft.write_deletes(self._transaction, query, thinned, basis).files


def sorted_query(query: str, metadata: TableMetadata) -> str:
    """The query in the sort order of a table."""
    keys = sort_columns(metadata)
    return f"SELECT * FROM ({query}) AS __all{order_by(keys)}" if keys else query


def _crowd(files: Sequence[DataFile], target: int) -> list[DataFile]:
    """Small files of which there are too many of about one size in one partition.

    Written into one, they leave files of eight times the size behind, so that a row is written
    again only as often as the logarithm of the table's size.
    """
    tiers: dict[tuple[Record, int], list[DataFile]] = defaultdict(list)
    for file in files:
        if file.file_size_in_bytes < target / 2:
            tier = int(math.log(max(file.file_size_in_bytes / 65536, 1), _TIER))
            tiers[file.partition, tier].append(file)
    return [file for found in tiers.values() if len(found) >= _TIER for file in found]


def _name(transaction: Transaction) -> str:
    return ".".join(transaction._table.name())
