"""`layers` of platform.yaml say where tables are, and how long their snapshots are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from floe_testing.cli import run_floe

FLOE = """\
name: shop
version: "0.1.0"
transforms:
  - {name: raw, project: dbt, select: stg_orders, layer: bronze}
  - {name: people, project: dbt, select: customers, depends_on: [raw]}
  - {name: marts, project: dbt, select: daily_revenue, depends_on: [raw], layer: gold}
"""
PLATFORM = """\
version: "1.1.0"
environment: local
storage:
  default: {type: local, path: lake}
  cold: {type: local, path: cold}
catalogs:
  default: {type: sql}
  archive: {type: sql, uri: "sqlite:///FOLDER/archive.db"}
layers:
  bronze: {storage: cold, catalog: archive, namespace: raw, retention: {snapshots_days: 7}}
  silver: {storage: cold, namespace: silver}
  gold: {retention: {snapshots_days: 90, keep_last: 20}}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    (folder / "floe.yaml").write_text(FLOE)
    (folder / "platform.yaml").write_text(PLATFORM.replace("FOLDER", str(folder)))
    model = folder / "dbt/models/customers.sql"
    config = "{{ config(materialized='table', meta={'floe': {'layer': 'silver'}}) }}\n"
    model.write_text(config + model.read_text())
    for _ in range(2):
        result = run_floe("run", "--quiet", "-C", str(folder))
        assert result.exit_code == 0, result.stderr
    return folder


def document(folder: Path, *words: str) -> Any:
    result = run_floe("tables", *words, "--output", "json", "-C", str(folder))
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_each_table_is_where_its_layer_says(shop: Path) -> None:
    listed = {
        (table["catalog"], table["name"], *table["layers"])
        for table in document(shop, "list")["tables"]
    }
    # The seed comes along with `raw`; a transform without a layer leaves it to its models.
    assert listed == {
        ("archive", "raw.raw_orders", "bronze"),
        ("archive", "raw.stg_orders", "bronze"),
        ("default", "gold.daily_revenue", "gold"),
        ("default", "silver.customers", "silver"),
    }
    folders = {
        path.relative_to(shop).parts[:2]
        for kept in ("cold", "lake")
        for path in (shop / kept).rglob("*.parquet")
    }
    assert folders == {("cold", "raw"), ("cold", "silver"), ("lake", "gold")}


@pytest.mark.parametrize(
    ("table", "age_days", "least"),
    [("raw.stg_orders", 7, "5"), ("silver.customers", None, "5"), ("gold.daily_revenue", 90, "20")],
)
def test_its_snapshots_are_kept_as_its_layer_says(
    shop: Path, table: str, age_days: int | None, least: str
) -> None:
    properties = document(shop, "show", table)["properties"]
    age = properties.get("history.expire.max-snapshot-age-ms")
    assert age == (str(age_days * 24 * 3600 * 1000) if age_days is not None else None)
    assert properties.get("history.expire.min-snapshots-to-keep") == least


def test_names_in_sql_are_those_of_dbt(shop: Path) -> None:
    sql = "select count(*) as n from main.stg_orders join customers using (customer)"
    result = run_floe("query", sql, "--output", "csv", "-C", str(shop))
    assert (result.exit_code, result.stdout) == (0, "n\n10\n"), result.stderr
