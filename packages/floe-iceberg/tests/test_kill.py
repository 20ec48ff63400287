"""A process that is killed at any moment leaves the old rows or the new ones."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import append, replace, scan_sql

pytestmark = pytest.mark.integration

T = ("sales", "killed")
KILLS = 50

WRITER = """
import sys
import duckdb
from pyiceberg.catalog import load_catalog
from floe_iceberg import Rows, append, load, replace, rewrite, scan_sql
folder, kind = sys.argv[1:]
catalog = load_catalog("lake", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
connection, name = duckdb.connect(), ("sales", "killed")
table = load(catalog, name)
turn = connection.sql(f"SELECT max(turn) FROM ({scan_sql(table)})").fetchone()[0]
print("ready", flush=True)
while True:
    turn += 1
    if kind == "replace":
        replace(catalog, name, connection, f"SELECT range AS n, {turn} AS turn FROM range(20000)")
    else:
        rows = Rows(f"SELECT range AS n, {turn} AS turn FROM range(20000)", "t.n >= 0")
        rewrite(catalog, name, connection, lambda _: rows)
"""


def test_random_kills(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    replace(catalog, T, connection, "SELECT range AS n, 0 AS turn FROM range(20000)")
    seen: Counter[Any] = Counter()
    for number in range(KILLS):
        kind = chance.choice(["replace", "rewrite"])
        before = turn_of(catalog, connection)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), kind], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", number
            time.sleep(chance.uniform(0, 0.6))
            process.kill()
        after = turn_of(catalog, connection)
        assert after >= before
        seen["with new rows" if after > before else "with old rows"] += 1
        append(catalog, T, connection, f"SELECT -1 AS n, {after} AS turn")
        replace(catalog, T, connection, f"SELECT range AS n, {after} AS turn FROM range(20000)")
    table = catalog.load_table(T)
    orphans = {path.name for path in tmp_path.rglob("*.parquet")} - data_of(table)
    print(f"{dict(seen)}; orphans: {len(orphans)} data files")
    assert sum(seen.values()) == KILLS


def turn_of(catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> int:
    """The turn that the table is of, after seeing that it is whole for both readers."""
    table = catalog.load_table(T)
    query = f"SELECT count(*), count(DISTINCT n), min(turn), max(turn) FROM ({scan_sql(table)})"
    found = connection.execute(query).fetchall()[0]
    arrow = table.scan().to_arrow()
    assert found[:3] == (20000, 20000, found[3])
    assert (arrow.num_rows, set(arrow["turn"].to_pylist())) == (20000, {found[3]})
    return int(found[3])


def data_of(table: Table) -> set[str]:
    return {
        Path(entry.data_file.file_path).name
        for snapshot in table.snapshots()
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    }
