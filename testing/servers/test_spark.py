"""Spark reads what floe has written, and floe what Spark writes."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import (
    Evolution,
    Layout,
    Rows,
    append,
    evolve,
    files_of,
    load_iceberg,
    open_catalog,
    parse_partition_by,
    replace,
    rewrite,
    rewriting,
    scan_sql,
)
from floe_testing import maven

pytestmark = [
    pytest.mark.servers,
    # What Spark's client leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
]

_JARS = (
    "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.1",
    "org.xerial:sqlite-jdbc:3.46.1.3",  # for Spark's own catalog
)
NAME = ("sales", "orders")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    return open_catalog(
        {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": f"file://{folder}/warehouse",
        }
    )


@pytest.fixture(scope="module")
def spark(catalog: Catalog, folder: Path) -> Iterator[Any]:
    """Spark with a catalog of its own, in which tables are registered by their metadata."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.jars": ",".join(str(maven.jar(artifact)) for artifact in _JARS),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(folder / "spark"),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.floe": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.floe.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        "spark.sql.catalog.floe.uri": f"jdbc:sqlite:{folder}/spark.db",
        "spark.sql.catalog.floe.warehouse": f"file://{folder}/warehouse",
        "spark.sql.catalog.floe.cache-enabled": "false",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in maven.java_home().items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        builder = SparkSession.builder.master("local[2]").appName("floe")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        try:
            yield session
        finally:
            session.stop()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def shown(spark: Any, table: Table) -> Any:
    """The table as Spark has it now, under the name `floe.sales.orders`."""
    spark.sql("CREATE NAMESPACE IF NOT EXISTS floe.sales")
    spark.sql("DROP TABLE IF EXISTS floe.sales.orders")
    spark.sql(
        "CALL floe.system.register_table(table => 'sales.orders', "
        f"metadata_file => '{table.metadata_location}')"
    )
    return spark.table("floe.sales.orders")


def rows(spark: Any, query: str = "SELECT * FROM floe.sales.orders ORDER BY id") -> list[Any]:
    return [tuple(row) for row in spark.sql(query).collect()]


def test_spark_reads_what_floe_writes_and_the_other_way(
    spark: Any,
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting, "_MUCH_BYTES", -1)  # delete in place in small tables too
    columns = (
        "range::INTEGER AS id, DATE '2024-01-01' + (range % 3)::INTEGER AS day, "
        "'café ' || range AS name, (range / 4)::DECIMAL(9, 2) AS amount, "
        "{'a': range, 'b': [range, NULL]} AS nested, TIMESTAMP '2024-01-01 12:00:00' AS at"
    )
    layout = Layout(partition_by=[parse_partition_by("day(day)")], sort_by=["id"])
    done = replace(catalog, NAME, connection, f"SELECT {columns} FROM range(3000)", layout)
    assert shown(spark, done.table).count() == 3000
    assert rows(spark)[1] == (
        1,
        dt.date(2024, 1, 2),
        "café 1",
        Decimal("0.25"),
        (1, [1, None]),
        dt.datetime(2024, 1, 1, 12),
    )
    third = "SELECT count(*), sum(id) FROM floe.sales.orders WHERE day = DATE '2024-01-03'"
    assert rows(spark, third) == [(1000, 1499500 + 1000)]

    done = rewrite(catalog, NAME, connection, lambda _: Rows(matched="t.id % 500 = 1"))
    assert files_of(done.table).deletes, "rows went by position deletes"
    assert shown(spark, done.table).count() == 2994
    assert rows(spark, "SELECT * FROM floe.sales.orders WHERE id % 500 = 1") == []

    evolution = Evolution(
        rename={"name": "label"},
        retype={"id": "BIGINT"},
        add={"note": "VARCHAR"},
        drop=["at"],
        partition_by=[parse_partition_by("bucket(4, id)")],
    )
    evolve(catalog, NAME, evolution)
    new = "SELECT 5000000000 AS id, 'new' AS label, 'told' AS note"
    table = append(catalog, NAME, connection, new).table
    assert shown(spark, table).columns == ["id", "day", "label", "amount", "nested", "note"]
    assert rows(spark)[-1] == (5000000000, None, "new", None, None, "told")
    query = "SELECT count(*), sum(id), count(label), sum(amount), max(nested.a) FROM {}"
    ours = connection.execute(query.format(f"({scan_sql(table)})")).fetchall()
    assert rows(spark, query.format("floe.sales.orders")) == ours

    # Its vectorised reader stumbles over columns that have become wider when it looks for rows.
    spark.conf.set("spark.sql.iceberg.vectorization.enabled", "false")
    spark.sql("DELETE FROM floe.sales.orders WHERE id < 10")
    spark.sql("UPDATE floe.sales.orders SET note = 'by Spark' WHERE id = 100")
    entry = "SELECT file FROM floe.sales.orders.metadata_log_entries ORDER BY timestamp DESC"
    written = catalog.register_table(("sales", "from_spark"), rows(spark, entry)[0][0])
    load_iceberg(connection)
    found = connection.execute(f"SELECT * FROM ({scan_sql(written)}) ORDER BY id").fetchall()
    assert [row[0] for row in found[:2]] == [10, 11]
    assert [row[-1] for row in found if row[0] == 100] == ["by Spark"]
    assert len(found) == len(rows(spark))
