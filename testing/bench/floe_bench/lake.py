"""What the rows about Iceberg measure: small programs, each of them a process of its own.

Run as `python -m floe_bench.lake PROGRAM ...` in the folder that holds the input. Each ends with a
line that says what it did, which the table shows. Imports are the programs' own, since they are
measured too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.catalog import Catalog

    from floe_iceberg import Committed, Layout

ORDERS = ("bench", "orders")
KEYS = ["order_id"]

_INPUT = """
    SELECT i AS order_id,
        (hash(i) % 1000000)::BIGINT AS customer_id,
        TIMESTAMP '2024-01-01' + to_seconds(i) AS ordered_at,
        ['new', 'paid', 'shipped', 'returned'][1 + (hash(i + 1) % 4)::INT] AS status,
        ['DE', 'FR', 'IT', 'PL', 'SE', 'US'][1 + (hash(i + 2) % 6)::INT] AS country,
        (1 + hash(i + 3) % 20)::INT AS quantity,
        (hash(i + 4) % 100000)::DECIMAL(9, 2) / 100 AS unit_price,
        'note ' || hash(i + 5) % 100000 AS note
    FROM range({rows}) AS t(i)
"""
_MODEL = """
    SELECT order_id, customer_id, ordered_at, status, country, quantity,
        unit_price::DECIMAL(9, 2) AS unit_price,
        (quantity * unit_price)::DECIMAL(12, 2) AS amount, note
    FROM {source}
"""
_QUERY = _MODEL.format(source="read_parquet('orders.parquet')")
_CHANGES = _MODEL.format(source="read_parquet('{changes}.parquet')")
_FILE_BYTES = 32 * 1024 * 1024  # of the table that is merged into, so that it has several files
_MEMORY_LIMIT = "600MB"
_READS = 10


def make_input(rows: str) -> str:
    """Write the orders, and new versions of 1 % of them: of neighbours, and of every hundredth."""
    import duckdb

    number = int(rows)
    low, high = number // 2, number // 2 + number // 100
    source = _INPUT.format(rows=number)
    changed = "SELECT * REPLACE ('changed' AS status, quantity + 1 AS quantity) FROM ({})"
    for name, query in {
        "orders": source,
        "clustered": changed.format(f"{source} WHERE i >= {low} AND i < {high}"),
        "scattered": changed.format(f"{source} WHERE i % 100 = 42"),
    }.items():
        duckdb.execute(f"COPY ({query}) TO '{name}.parquet' (FORMAT parquet)")
    return f"{number} orders"


def write() -> str:
    """Write a new Iceberg table."""
    import duckdb

    from floe_iceberg import replace

    catalog, connection = _catalog("write"), duckdb.connect()
    began = time.perf_counter()
    done = replace(catalog, ORDERS, connection, _QUERY)
    return f"{_said(done)} in {time.perf_counter() - began:.2f} s"


def copy() -> str:
    """Write the same rows as plain Parquet, as DuckDB does unless told."""
    return _copied("copy", "FORMAT parquet")


def copy_like_floe() -> str:
    """Write the same rows as plain Parquet, compressed as floe does."""
    return _copied("copy-like-floe", "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1")


def write_with_pyiceberg() -> str:
    """Write a new Iceberg table with PyIceberg alone."""
    import duckdb

    arrow = duckdb.execute(_QUERY).to_arrow_table()
    table = _catalog("pyiceberg").create_table(ORDERS, schema=arrow.schema)
    table.append(arrow)
    files = [task.file for task in table.scan().plan_files()]
    return _files(len(files), sum(file.file_size_in_bytes for file in files))


def build() -> str:
    """Write the table that is merged into; all of it again where it is there."""
    import duckdb

    from floe_iceberg import replace

    return _said(replace(_catalog("merge"), ORDERS, duckdb.connect(), _QUERY, _in_files()))


def merge(changes: str) -> str:
    """Merge new versions of 1 % of its rows."""
    import duckdb

    from floe_iceberg import upsert

    query = _CHANGES.format(changes=changes)
    return _said(upsert(_catalog("merge"), ORDERS, duckdb.connect(), query, KEYS))


def read(rows: str) -> str:
    """Read 1 % of the Iceberg table, several times."""
    import duckdb

    from floe_iceberg import scan_sql

    connection = duckdb.connect()
    return _read(connection, f"({scan_sql(_catalog('write').load_table(ORDERS))})", int(rows))


def read_plain(rows: str) -> str:
    """Read 1 % of the plain Parquet, several times."""
    import duckdb

    return _read(duckdb.connect(), "read_parquet('copy/orders.parquet')", int(rows))


def write_bounded(rows: str) -> str:
    """Write a new Iceberg table of rows that are made on the way, with little memory."""
    import duckdb

    from floe_iceberg import replace

    connection = duckdb.connect(config={"memory_limit": _MEMORY_LIMIT})
    return _said(replace(_catalog("bounded"), ORDERS, connection, _made(rows)))


def copy_bounded(rows: str) -> str:
    """Write the same rows as plain Parquet, with as little memory."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": _MEMORY_LIMIT})
    Path("bounded-copy").mkdir()
    connection.execute(f"COPY ({_made(rows)}) TO 'bounded-copy/orders.parquet' (FORMAT parquet)")
    return _files(1, Path("bounded-copy/orders.parquet").stat().st_size)


def commit(folder: str, times: str) -> str:
    """Merge a few rows into a small table, again and again; snapshots that are old leave."""
    import duckdb

    from floe_iceberg import Layout, load, replace, upsert

    catalog, connection = _catalog(folder), duckdb.connect()
    if load(catalog, ORDERS) is None:
        old = {
            "history.expire.max-snapshot-age-ms": "0",
            "history.expire.min-snapshots-to-keep": "5",
        }
        query = "SELECT range AS order_id, 0 AS turn FROM range(1000)"
        replace(catalog, ORDERS, connection, query, Layout(properties=old))
    start = time.perf_counter()
    for turn in range(int(times)):
        rows = f"SELECT (range * 97 + {turn}) % 1000 AS order_id, {turn} AS turn FROM range(10)"
        upsert(catalog, ORDERS, connection, rows, KEYS)
    milliseconds = (time.perf_counter() - start) / int(times) * 1000
    metadata = sum(path.stat().st_size for path in Path(folder).rglob("metadata/*"))
    return f"{milliseconds:.0f} ms a commit, {metadata / 1000:.0f} kB of metadata"


def _catalog(folder: str) -> Catalog:
    """A catalog of its own, in a folder beside the input."""
    from floe_iceberg import open_catalog

    path = Path(folder).resolve()
    catalog = open_catalog(
        {"type": "sql", "uri": f"sqlite:///{path}/catalog.db", "warehouse": path.as_uri()}
    )
    catalog.create_namespace_if_not_exists(ORDERS[:-1])
    return catalog


def _in_files() -> Layout:
    from floe_iceberg import Layout

    return Layout(properties={"write.target-file-size-bytes": str(_FILE_BYTES)})


def _copied(folder: str, options: str) -> str:
    import duckdb

    Path(folder).mkdir()
    connection = duckdb.connect()
    began = time.perf_counter()
    connection.execute(f"COPY ({_QUERY}) TO '{folder}/orders.parquet' ({options})")
    seconds = time.perf_counter() - began
    return f"{_files(1, Path(folder, 'orders.parquet').stat().st_size)} in {seconds:.2f} s"


def _made(rows: str) -> str:
    return _MODEL.format(source=f"({_INPUT.format(rows=int(rows))})")


def _read(connection: duckdb.DuckDBPyConnection, source: str, rows: int) -> str:
    start = time.perf_counter()
    share = rows // 100
    for number in range(_READS):
        low = number * rows // _READS
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE found AS SELECT * FROM {source} "
            f"WHERE order_id >= {low} AND order_id < {low + share}"
        )
        assert connection.table("found").shape[0] == share
    return f"{(time.perf_counter() - start) / _READS * 1000:.0f} ms a query"


def _said(done: Committed) -> str:
    snapshot = done.table.snapshot_by_id(done.snapshot_id)
    assert snapshot is not None
    assert snapshot.summary is not None
    added, removed, thinned, total = (
        int(snapshot.summary[name] or 0)
        for name in (
            *("added-data-files", "deleted-data-files", "added-delete-files"),
            "total-data-files",
        )
    )
    before = total - added + removed
    if not before:
        return _files(added, done.bytes)
    return f"{done.bytes / 1_000_000:.0f} MB, {removed + thinned} of {before} files touched"


def _files(number: int, size: int) -> str:
    return f"{number} file{'s' if number != 1 else ''} of {size / 1_000_000:.0f} MB"


PROGRAMS: dict[str, Callable[..., str]] = {
    program.__name__: program
    for program in (
        *(make_input, write, copy, copy_like_floe, write_with_pyiceberg),
        *(build, merge, read, read_plain, write_bounded, copy_bounded, commit),
    )
}

if __name__ == "__main__":
    print(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
