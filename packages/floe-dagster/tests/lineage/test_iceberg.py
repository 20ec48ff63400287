"""What the metadata of an Iceberg table tells."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from floe_dagster.lineage.facts import Size, TableColumn
from floe_dagster.lineage.iceberg import iceberg_facts
from floe_iceberg import open_catalog


def test_facts(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/catalog.db"
    catalog = open_catalog({"type": "sql", "uri": uri, "warehouse": f"file://{tmp_path}/lake"})
    rows = pa.table({"id": pa.array([1, 2], pa.int64()), "email": ["a", "b"]})
    catalog.create_namespace("main")
    table = catalog.create_table("main.orders", schema=rows.schema)
    assert iceberg_facts(table).version is None

    table.append(rows)
    first = iceberg_facts(table)
    assert first.columns == (TableColumn("id", "long"), TableColumn("email", "string"))
    assert (first.written.rows, first.written.files, first.change) == (2, 1, "CREATE")
    assert first.size == first.written
    assert first.location == table.location()

    table.append(rows)
    second = iceberg_facts(table)
    assert (second.written.rows, second.size.rows, second.size.files) == (2, 4, 2)
    assert (second.change, second.version != first.version) == (None, True)
    assert iceberg_facts(table, is_written=False).written == Size()
