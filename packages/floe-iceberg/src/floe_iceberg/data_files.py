"""Parquet files that DuckDB writes, and what Iceberg's manifests say of them.

DuckDB writes in parallel and streams, so memory stays bounded; `COPY ... RETURN_STATS` reports each
file's rows, sizes and column statistics, which become the `DataFile` entries of a manifest. No row
passes through Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from uuid import UUID, uuid4

from pyiceberg import types as iceberg
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.utils.truncate import truncate_upper_bound_text_string

from floe_iceberg.partitions import partition_columns, record
from floe_iceberg.sql import identifier, literal
from floe_iceberg.types import field_ids, nested_fields

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.io import FileIO

_TEXT_BOUND = 16  # characters, Iceberg's default `truncate(16)`
_CODECS = {"zstd", "snappy", "gzip", "uncompressed", "brotli", "lz4"}
_CODEC = "zstd"
_LEVEL = 1  # of zstd: a sixth larger than its usual 3, and as fast to write as Snappy
_FILE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How files are written, by the properties of the table.

    Attributes:
        codec: Parquet's compression codec.
        level: The codec's level; None for one that has none.
        file_bytes: Bytes after which a next file begins; DuckDB goes over it by a row group.
    """

    codec: str
    level: int | None
    file_bytes: int

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> WriteOptions:
        """Read them from a table's properties, in Iceberg's own names."""
        codec = properties.get("write.parquet.compression-codec", _CODEC).lower()
        codec = codec if codec in _CODECS else _CODEC
        level = int(properties.get("write.parquet.compression-level", _LEVEL))
        size = int(properties.get("write.target-file-size-bytes", _FILE_BYTES))
        return cls(codec, level if codec == "zstd" else None, size)


@dataclass(frozen=True, slots=True)
class Written:
    """Files that were written, and that nobody knows of yet.

    Attributes:
        files: Their entries, for a manifest.
        rows: Their rows.
        bytes: Their bytes.
    """

    files: tuple[DataFile, ...] = ()
    rows: int = 0
    bytes: int = 0


def duckdb_path(uri: str) -> str:
    """What DuckDB calls the file or folder that Iceberg calls by a URI."""
    parsed = urlparse(uri)
    if parsed.scheme in {"file", ""}:
        return uri[len("file://") :] if uri.startswith("file://") else uri.removeprefix("file:")
    if parsed.scheme in {"s3a", "s3n"}:
        return "s3" + uri[len(parsed.scheme) :]
    return uri


class Folder:
    """The folder of a table's data files, under both of its names."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.path = duckdb_path(self.uri)
        self._is_local = "://" not in self.path

    def make(self) -> None:
        """Make it, where there is something to make."""
        if self._is_local:
            Path(self.path).mkdir(parents=True, exist_ok=True)

    def uri_of(self, path: str) -> str:
        """The URI of a file that DuckDB reports."""
        return self.uri + path[len(self.path) :]


def has_field_ids(uri: str) -> bool:
    """Whether a data file is known to carry field ids: `write_data_files` has named it."""
    return _OURS.search(uri) is not None


_OURS = re.compile(r"/[0-9a-f]{32}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.parquet$")


def write_data_files(
    connection: DuckDBPyConnection,
    query: str,
    folder: Folder,
    *,
    schema: Schema,
    spec: PartitionSpec,
    options: WriteOptions,
    partition: Record | None = None,
) -> Written:
    """Write the rows of a query as Parquet files.

    Args:
        connection: Runs the query.
        query: Gives the columns of the schema, by name, in its order, as they are stored.
        folder: Where the files go.
        schema: Has the ids that the files carry.
        spec: Divides the rows.
        options: How files are written.
        partition: The partition of all the rows, where they are of one; they are written to one
            file then, and stay in their order. DuckDB keeps no order between several.

    Raises:
        OSError: if the folder cannot be made.
        duckdb.Error: if the query fails, or a file cannot be written; files that were begun are
            removed as far as possible.
    """
    folder.make()
    columns = partition_columns(connection, spec, schema) if partition is None else []
    extra = "".join(f", {column.sql} AS {identifier(column.name)}" for column in columns)
    source = f"SELECT *{extra} FROM ({query})" if columns else query
    prefix = uuid4().hex
    settings = [
        "FORMAT parquet",
        "RETURN_STATS",
        f"COMPRESSION {options.codec}",
        f"FIELD_IDS {field_ids(schema.fields)}",
    ]
    if options.level is not None:
        settings.append(f"COMPRESSION_LEVEL {options.level}")
    target = folder.path
    if partition is not None:
        target = f"{folder.path}/{prefix}-{uuid4()}.parquet"
    else:
        settings += ["APPEND true", f"FILENAME_PATTERN '{prefix}-{{uuid}}'"]
    if columns:
        names = ", ".join(identifier(column.name) for column in columns)
        settings += [
            f"PARTITION_BY ({names})",
            "WRITE_PARTITION_COLUMNS false",
            "HIVE_FILE_PATTERN false",
        ]
    else:
        settings.append("WRITE_EMPTY_FILE false")
    if not columns and partition is None:
        settings.append(f"FILE_SIZE_BYTES {options.file_bytes}")
    statement = f"COPY ({source}) TO {literal(target)} ({', '.join(settings)})"
    try:
        rows = connection.execute(statement).fetchall()
    except BaseException:
        _remove_begun(connection, folder, prefix)
        raise
    files = tuple(
        _data_file(
            row, folder, schema, spec, record(columns, row[5]) if partition is None else partition
        )
        for row in rows
        if row[1]
    )
    return Written(files, sum(f.record_count for f in files), _bytes(files))


def write_position_deletes(
    connection: DuckDBPyConnection,
    query: str,
    folder: Folder,
    *,
    of: Mapping[str, DataFile],
) -> Written:
    """Write position delete files, one for each data file that rows are deleted of.

    Args:
        connection: Runs the query.
        query: Gives `file_path` (the data file's URI) and `pos` (number of the row in it).
        folder: Where the files go.
        of: The data files, by URI.
    """
    folder.make()
    prefix = uuid4().hex
    statement = f"""
        COPY (SELECT file_path, CAST(pos AS BIGINT) AS pos, file_path AS __file FROM ({query})
              ORDER BY file_path, pos)
        TO {literal(folder.path)} (
            FORMAT parquet, RETURN_STATS, COMPRESSION zstd, APPEND true,
            FILENAME_PATTERN '{prefix}-{{uuid}}-deletes',
            FIELD_IDS {{file_path: {_PATH_ID}, pos: {_POS_ID}}},
            PARTITION_BY (__file), WRITE_PARTITION_COLUMNS false, HIVE_FILE_PATTERN false)
    """
    try:
        rows = connection.execute(statement).fetchall()
    except BaseException:
        _remove_begun(connection, folder, prefix)
        raise
    files = tuple(_delete_file(row, folder, of) for row in rows)
    return Written(files, sum(f.record_count for f in files), _bytes(files))


_PATH_ID, _POS_ID = 2147483546, 2147483545  # https://iceberg.apache.org/spec/#reserved-field-ids


def discard(io: FileIO, files: Iterable[DataFile]) -> None:
    """Remove files that no snapshot will ever name; what cannot be removed stays an orphan."""
    for file in files:
        with suppress(Exception):
            io.delete(file.file_path)


def _remove_begun(connection: DuckDBPyConnection, folder: Folder, prefix: str) -> None:
    """Remove what an interrupted COPY has left."""
    if "://" in folder.path:
        return  # an object exists only once it is whole; what is left is an orphan
    for begun in Path(folder.path).glob(f"{prefix}-*"):
        with suppress(OSError):
            begun.unlink()


def _bytes(files: Iterable[DataFile]) -> int:
    return sum(file.file_size_in_bytes for file in files)


def _data_file(
    row: tuple[Any, ...],
    folder: Folder,
    schema: Schema,
    spec: PartitionSpec,
    partition: Record,
) -> DataFile:
    path, count, size, _, statistics, _ = row
    sizes, values, nulls, nans = {}, {}, {}, {}
    lower: dict[int, bytes] = {}
    upper: dict[int, bytes] = {}
    for name, field, is_repeated in _leaves(schema.fields):
        known = statistics.get(name)
        if known is None:
            continue
        number = field.field_id
        sizes[number] = int(known["column_size_bytes"])
        if is_repeated:
            continue
        values[number] = int(known["num_values"])
        nulls[number] = int(known["null_count"])
        if known.get("has_nan") == "false":
            nans[number] = 0
        if known.get("has_nan") == "true" or "min" not in known:
            continue
        for end, bounds in (("min", lower), ("max", upper)):
            with suppress(ValueError, OverflowError):
                bound = _bound(field.field_type, known[end], is_upper=end == "max")
                if bound is not None:
                    bounds[number] = bound
    return _entry(
        content=DataFileContent.DATA,
        file_path=folder.uri_of(path),
        partition=partition,
        record_count=count,
        file_size_in_bytes=size,
        column_sizes=sizes,
        value_counts=values,
        null_value_counts=nulls,
        nan_value_counts=nans,
        lower_bounds=lower,
        upper_bounds=upper,
        spec_id=spec.spec_id,
    )


def _delete_file(row: tuple[Any, ...], folder: Folder, of: Mapping[str, DataFile]) -> DataFile:
    path, count, size, _, statistics, keys = row
    data_file = of[keys["__file"]]
    uri = data_file.file_path.encode()
    positions = statistics['"pos"']
    low, high = (to_bytes(iceberg.LongType(), int(positions[end])) for end in ("min", "max"))
    return _entry(
        content=DataFileContent.POSITION_DELETES,
        file_path=folder.uri_of(path),
        partition=data_file.partition,
        record_count=count,
        file_size_in_bytes=size,
        column_sizes={},
        value_counts={_PATH_ID: count, _POS_ID: count},
        null_value_counts={_PATH_ID: 0, _POS_ID: 0},
        nan_value_counts={},
        lower_bounds={_PATH_ID: uri, _POS_ID: low},
        upper_bounds={_PATH_ID: uri, _POS_ID: high},
        spec_id=data_file.spec_id,
    )


def _entry(*, spec_id: int, **values: Any) -> DataFile:
    entry = DataFile.from_args(
        file_format=FileFormat.PARQUET,
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
        **values,
    )
    entry.spec_id = spec_id
    return entry


def _leaves(
    fields: Iterable[iceberg.NestedField], path: str = "", is_repeated: bool = False
) -> Iterator[tuple[str, iceberg.NestedField, bool]]:
    """The columns of a Parquet file: DuckDB's name of each, its field, and whether it repeats."""
    for field in fields:
        yield from _leaf(field.name, field, path, is_repeated)


def _leaf(
    name: str, field: iceberg.NestedField, path: str, is_repeated: bool
) -> Iterator[tuple[str, iceberg.NestedField, bool]]:
    full = f"{path}{identifier(name)}"
    nested = nested_fields(field.field_type)
    if not nested:
        yield full, field, is_repeated
    repeats = is_repeated or isinstance(field.field_type, iceberg.ListType | iceberg.MapType)
    for part, inner in nested:
        yield from _leaf(part, inner, f"{full}.", repeats)


def _bound(field_type: iceberg.IcebergType, text: str, *, is_upper: bool) -> bytes | None:
    """A bound as manifests hold it, from the text that DuckDB reports.

    Text that does not parse (`infinity`, years beyond 9999, before Christ) gives a ValueError: a
    file without a bound is only read more often.
    """
    value: Any
    match field_type:
        case iceberg.StringType():
            if not is_upper:
                value = text[:_TEXT_BOUND]
            elif len(text) <= _TEXT_BOUND:
                value = text
            else:
                value = truncate_upper_bound_text_string(text, _TEXT_BOUND)
                if value is None:
                    return None
                value = value.replace("\ud800", "\ue000")  # what follows \ud7ff is no character
        case iceberg.BooleanType():
            value = text in {"1", "true"}
        case iceberg.IntegerType() | iceberg.LongType():
            value = int(text)
        case iceberg.FloatType() | iceberg.DoubleType():
            value = float(text)
        case iceberg.DecimalType():
            value = Decimal(text)
        case iceberg.DateType():
            value = date.fromisoformat(text)
        case iceberg.TimeType():
            value = time.fromisoformat(text)
        case iceberg.TimestampType() | iceberg.TimestamptzType():
            value = datetime.fromisoformat(text)
        case iceberg.UUIDType():
            value = UUID(text)
        case _:
            return None
    return to_bytes(field_type, value)
