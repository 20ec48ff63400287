"""Names of datasets, engine by engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from floe_core.asset_index import asset_node
from floe_dagster.lineage.datasets import Identifier, Naming, data_parents, storage_name
from floe_testing.shop import HIDDEN, ORDERS, RAW, REVENUE, artifacts_of, index_of

SQL = {"type": "sql"}
S3 = {"type": "s3", "bucket": "lake", "prefix": "floe"}
POLARIS = {"type": "polaris", "uri": "https://u:p@polaris/api/catalog", "warehouse": "lake"}


@pytest.mark.parametrize(
    ("compute", "namespace"),
    [
        ({"type": "postgres", "properties": {"host": "db", "port": 5433}}, "postgres://db:5433"),
        ({"type": "postgres", "properties": {"host": "db"}}, "postgres://db:5432"),
        ({"type": "postgres"}, "postgres://default"),
        (
            {"type": "postgres", "properties": {"host": {"secret_ref": "pg", "key": "host"}}},
            "postgres://default",
        ),
        (
            {
                "type": "redshift",
                "properties": {"host": "dw.abc.eu-west-1.redshift.amazonaws.com"},
            },
            "redshift://dw.eu-west-1:5439",
        ),
        ({"type": "snowflake", "properties": {"account": "org-acc"}}, "snowflake://org-acc"),
        (
            {"type": "snowflake", "properties": {"account": "xy1.eu-west-1"}},
            "snowflake://xy1.eu-west-1.aws",
        ),
        ({"type": "snowflake", "properties": {"account": "xy1"}}, "snowflake://xy1.us-west-1.aws"),
        ({"type": "bigquery", "properties": {"project": "p"}}, "bigquery"),
        ({"type": "trino", "properties": {"host": "t", "port": 443}}, "trino://t:443"),
        ({"type": "databricks", "properties": {"host": "x.net"}}, "databricks://x.net"),
        ({"type": "spark", "properties": {"host": "s", "method": "thrift"}}, "spark://s:10001"),
        ({"type": "sqlserver", "properties": {"server": "m", "port": 1}}, "mssql://m:1"),
    ],
)
def test_engines(compute: dict[str, Any], namespace: str) -> None:
    naming = Naming(artifacts_of(compute), Path("/p"), [index_of(ORDERS)], namespace="acme")
    dataset = naming.dataset(ORDERS)
    assert dataset is not None
    assert (dataset.namespace, dataset.name) == (namespace, "db.main.orders")


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        (None, "duckdb:///p/.floe/data/prod/engine.duckdb"),
        ("wh.duckdb", "duckdb:///p/wh.duckdb"),
        ("/srv/wh.duckdb", "duckdb:///srv/wh.duckdb"),
    ],
)
def test_duckdb_is_named_by_its_file(path: str | None, namespace: str) -> None:
    compute = {"type": "duckdb", "properties": {"path": path} if path else {}}
    naming = Naming(artifacts_of(compute), Path("/p"), [], namespace="acme")
    dataset = naming.dataset(REVENUE)
    assert dataset is not None
    assert (dataset.namespace, dataset.name, dataset.kind) == (namespace, "db.main.revenue", "VIEW")


@pytest.mark.parametrize(
    ("catalog", "storage", "namespace", "name"),
    [
        (SQL, None, "file:/p/.floe/data/prod/warehouse", "main.orders"),
        (SQL, S3, "s3://lake/floe", "main.orders"),
        (POLARIS, S3, "https://polaris/api/catalog/lake", "main.orders"),
        ({"type": "hive", "uri": "thrift://hms:9083"}, S3, "hive://hms:9083", "main.orders"),
        (
            {"type": "glue", "properties": {"glue.region": "eu-west-1", "glue.id": "123456789012"}},
            S3,
            "arn:aws:glue:eu-west-1:123456789012",
            "table/main/orders",
        ),
        ({"type": "glue", "warehouse": "s3://w"}, S3, "glue://lake", "main.orders"),
    ],
)
def test_iceberg_tables(
    catalog: dict[str, Any], storage: dict[str, Any] | None, namespace: str, name: str
) -> None:
    artifacts = artifacts_of(catalog=catalog, storage=storage)
    naming = Naming(artifacts, Path("/p"), [index_of(ORDERS)], namespace="acme")
    unknown = naming.dataset(ORDERS)
    known = naming.dataset(ORDERS, "s3a://lake/floe/main/orders-1f")
    again = naming.dataset(replace(ORDERS, unique_id="source.other.orders"))
    assert unknown is not None
    assert known is not None
    assert (unknown.namespace, unknown.name, unknown.symlinks) == (namespace, name, ())
    assert (known.namespace, known.name) == ("s3://lake", "floe/main/orders-1f")
    assert known.symlinks == (Identifier(namespace, name),)
    assert again == known, "a source of one project may be a model of another"


def test_catalogs_hold_no_password() -> None:
    artifacts = artifacts_of(catalog=POLARIS, storage=S3)
    naming = Naming(artifacts, Path("/p"), [index_of(ORDERS)], namespace="acme")
    assert "u:p" not in str(naming.dataset(ORDERS))


def test_views_beside_a_lake_are_the_products_own() -> None:
    naming = Naming(artifacts_of(catalog=SQL), Path("/p"), [], namespace="acme")
    dataset = naming.dataset(REVENUE)
    assert dataset is not None
    assert (dataset.namespace, dataset.name) == ("duckdb://acme/prod", "db.main.revenue")


def test_layers_name_the_namespace() -> None:
    artifacts = artifacts_of(
        catalog=POLARIS,
        storage=S3,
        layers={"gold": {"storage": "default", "catalog": "lake", "namespace": "mart"}},
        transforms=[{"type": "dbt", "path": ".", "layer": "gold", "nodes": [ORDERS.unique_id]}],
    )
    naming = Naming(artifacts, Path("/p"), [index_of(ORDERS)], namespace="acme")
    dataset = naming.dataset(ORDERS)
    assert dataset is not None
    assert dataset.name == "mart.orders"


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("s3://landing/in/{name}.parquet", "s3://landing", "in/raw_orders.parquet"),
        ("in/{identifier}.csv", "file", "/p/dbt/in/orders.csv"),
        ("/srv/o.csv", "file", "/srv/o.csv"),
        ("read_csv('x')", "duckdb:///p/.floe/data/prod/engine.duckdb", "db.raw.orders"),
        ("{missing}", "duckdb:///p/.floe/data/prod/engine.duckdb", "db.raw.orders"),
    ],
)
def test_files_that_duckdb_reads(location: str, namespace: str, name: str) -> None:
    source = replace(RAW, meta={"external_location": location})
    naming = Naming(artifacts_of(), Path("/p"), [index_of(source)], namespace="acme")
    dataset = naming.dataset(source)
    assert dataset is not None
    assert (dataset.namespace, dataset.name) == (namespace, name)


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("file:///wh/a%20b", "file", "/wh/a b"),
        ("/wh/../x", "file", "/x"),
        ("s3n://b", "s3://b", "/"),
        ("gs://b/k/", "gs://b", "k"),
    ],
)
def test_places(location: str, namespace: str, name: str) -> None:
    assert storage_name(location) == Identifier(namespace, name)


def test_python_transforms_write_the_sources_that_name_them() -> None:
    source = replace(RAW, meta={"dagster": {"asset_key": ["crm"]}})
    crm = asset_node("crm", "python", original_file_path="crm.py")
    naming = Naming(artifacts_of(), Path("/p"), [index_of(source)], namespace="acme")
    assert naming.outputs(crm) == (naming.dataset(source),)
    assert naming.outputs(replace(crm, name="other")) == ()


def test_ephemeral_models_are_looked_through() -> None:
    nodes = {known.unique_id: known for known in (RAW, ORDERS, HIDDEN, REVENUE)}
    assert data_parents(REVENUE, nodes) == [ORDERS]
    naming = Naming(artifacts_of(), Path("/p"), [], namespace="acme")
    assert naming.outputs(HIDDEN) == ()
