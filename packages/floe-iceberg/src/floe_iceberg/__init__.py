"""Iceberg tables that DuckDB writes and reads, in any catalog that PyIceberg speaks to."""

from floe_iceberg.draft import Committed
from floe_iceberg.partitions import PartitionBy, parse_partition_by
from floe_iceberg.rewriting import Rows
from floe_iceberg.scan import Files, files_of, scan_sql
from floe_iceberg.shape import Identifier, Layout, describe
from floe_iceberg.table import append, load, overwrite_partitions, replace, rewrite

__all__ = [
    "Committed",
    "Files",
    "Identifier",
    "Layout",
    "PartitionBy",
    "Rows",
    "append",
    "describe",
    "files_of",
    "load",
    "overwrite_partitions",
    "parse_partition_by",
    "replace",
    "rewrite",
    "scan_sql",
]
