"""Iceberg tables that DuckDB writes and reads, in any catalog that PyIceberg speaks to."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from floe_iceberg.catalog import explained, open_catalog
    from floe_iceberg.draft import Committed
    from floe_iceberg.engine import configure, load_iceberg
    from floe_iceberg.evolution import Evolution, evolve
    from floe_iceberg.partitions import PartitionBy, parse_partition_by
    from floe_iceberg.rewriting import Rows
    from floe_iceberg.scan import Files, files_of, scan_sql
    from floe_iceberg.shape import Identifier, Layout, describe
    from floe_iceberg.snapshots import fast_forward, snapshot_at
    from floe_iceberg.table import (
        append,
        create,
        load,
        overwrite_partitions,
        replace,
        rewrite,
        upsert,
    )

__all__ = [
    "Committed",
    "Evolution",
    "Files",
    "Identifier",
    "Layout",
    "PartitionBy",
    "Rows",
    "append",
    "configure",
    "create",
    "describe",
    "evolve",
    "explained",
    "fast_forward",
    "files_of",
    "load",
    "load_iceberg",
    "open_catalog",
    "overwrite_partitions",
    "parse_partition_by",
    "replace",
    "rewrite",
    "scan_sql",
    "snapshot_at",
    "upsert",
]

_HOMES = {
    "Committed": "floe_iceberg.draft",
    "Evolution": "floe_iceberg.evolution",
    "Files": "floe_iceberg.scan",
    "Identifier": "floe_iceberg.shape",
    "Layout": "floe_iceberg.shape",
    "PartitionBy": "floe_iceberg.partitions",
    "Rows": "floe_iceberg.rewriting",
    "append": "floe_iceberg.table",
    "configure": "floe_iceberg.engine",
    "create": "floe_iceberg.table",
    "describe": "floe_iceberg.shape",
    "evolve": "floe_iceberg.evolution",
    "explained": "floe_iceberg.catalog",
    "fast_forward": "floe_iceberg.snapshots",
    "files_of": "floe_iceberg.scan",
    "load": "floe_iceberg.table",
    "load_iceberg": "floe_iceberg.engine",
    "open_catalog": "floe_iceberg.catalog",
    "overwrite_partitions": "floe_iceberg.table",
    "parse_partition_by": "floe_iceberg.partitions",
    "replace": "floe_iceberg.table",
    "rewrite": "floe_iceberg.table",
    "scan_sql": "floe_iceberg.scan",
    "snapshot_at": "floe_iceberg.snapshots",
    "upsert": "floe_iceberg.table",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `floe validate` needs no PyIceberg."""
    if name not in _HOMES:
        raise AttributeError(f"module `floe_iceberg` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
