"""Where tables are: namespaces, further catalogs, and views that are not in DuckDB's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import open_catalog, replace

from .conftest import SCHEMA, Project


@pytest.fixture
def partner(project: Project, tmp_path: Path) -> Catalog:
    """A second catalog of the profile, with one table."""
    folder = tmp_path / "partner"
    folder.mkdir()
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": folder.as_uri(),
    }
    project.set_profile(catalogs={"partner": properties})
    catalog = open_catalog(properties)
    replace(catalog, ("raw", "orders"), duckdb.connect(), "SELECT range AS id FROM range(3)")
    return catalog


SOURCES = """
sources:
  - name: raw
    database: partner
    tables: [{name: orders}]
  - name: other
    schema: landing
    tables: [{name: events}]
"""


def test_sources_are_tables_of_another_namespace_and_catalog(
    project: Project, partner: Catalog
) -> None:
    replace(project.catalog, ("landing", "events"), duckdb.connect(), "SELECT 'ö' AS what")
    project.write(
        {
            "models/sources.yml": SOURCES,
            "m": (
                "select id, what"
                " from {{ source('raw', 'orders') }}, {{ source('other', 'events') }}"
            ),
        }
    )
    project.dbt("run")
    assert project.rows("m") == [(0, "ö"), (1, "ö"), (2, "ö")]
    replace(partner, ("raw", "orders"), duckdb.connect(), "SELECT 9 AS id")
    project.dbt("run")
    assert project.rows("m") == [(9, "ö")]


def test_models_are_written_to_a_further_catalog(project: Project, partner: Catalog) -> None:
    project.write(
        {
            "there": (
                "{{ config(database='partner', schema='out', materialized='incremental',"
                " unique_key='id') }} select 1 as id"
            ),
            "seen": (
                "{{ config(database='partner', schema='out', materialized='view') }}"
                " select id from {{ ref('there') }}"
            ),
            "here": "select id + 1 as id from {{ ref('seen') }}",
        }
    )
    project.dbt("run")
    assert partner.table_exists(f"{SCHEMA}_out.there")
    assert not project.has_table(f"{SCHEMA}_out.there")
    project.forget_duckdb()
    project.dbt("run", "-s", "here", "there")
    assert project.rows("here") == [(2,)]
    project.keeps_artifacts = True
    project.dbt("docs", "generate")
    kinds = {
        name: node["metadata"]["type"]
        for name, node in project.artifact("catalog.json")["nodes"].items()
    }
    assert kinds["model.shop.there"] == "BASE TABLE"


def test_a_name_of_a_catalog_that_is_taken(project: Project) -> None:
    project.set_profile(catalogs={"scratch": {"type": "sql"}})
    outcome = project.dbt("debug", fails=True)
    assert "an entry named scratch" in outcome.output


def test_tables_go_where_the_profile_places_them(project: Project, partner: Catalog) -> None:
    project.set_profile(
        tables={
            f"{SCHEMA}.gold": {"namespace": "marts"},
            f"{SCHEMA}.away": {"catalog": "partner", "namespace": "raw"},
            f"{SCHEMA}.v": {"namespace": "marts"},
        }
    )
    project.write(
        {
            "gold": "{{ config(materialized='incremental', unique_key='id') }} select 1 as id",
            "away": "select id from {{ ref('gold') }}",
            "v": "{{ config(materialized='view') }} select id from {{ ref('away') }}",
            "end": "select id from {{ ref('v') }}",
        }
    )
    project.dbt("run")
    assert project.has_table("marts.gold")
    assert partner.table_exists("raw.away")
    assert not project.has_table("gold")
    project.forget_duckdb()
    project.dbt("run", "-s", "end", "gold")
    assert project.rows("marts.gold") == [(1,)]
    assert project.rows("end") == [(1,)]
    project.dbt("run", "--full-refresh")


def test_views_over_views_are_seen_from_another_file_of_duckdb(project: Project) -> None:
    project.write(
        {
            "t": "select 1 as id",
            "V1": "{{ config(materialized='view') }} select id as \"scratch\" from {{ ref('t') }}",
            "v2": (
                '{{ config(materialized=\'view\') }} select "scratch"."scratch" + 1 as n'
                " from {{ ref('V1') }} as \"scratch\""
            ),
        }
    )
    project.dbt("run")
    project.set_profile(path="other.duckdb")
    assert project.show("select n from {{ ref('v2') }}") == [{"n": 2}]
    project.dbt("run")
    project.set_profile(path=":memory:")
    assert project.show("select n from {{ ref('v2') }}") == [{"n": 2}]


def test_each_model_may_run_alone(project: Project) -> None:
    project.set_profile(path=":memory:")
    project.write(
        {
            "t": "select 1 as id",
            "v": "{{ config(materialized='view') }} select id from {{ ref('t') }}",
            "i": (
                "{{ config(materialized='incremental', unique_key='id') }}"
                " select id from {{ ref('v') }}"
            ),
        }
    )
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    for name in ("t", "v", "i", "i", "v", "t"):
        project.dbt("run", "-s", name)
        DuckDBConnectionManager.close_all_connections()
    assert project.rows("i") == [(1,)]


def test_views_of_a_run_that_failed_are_kept(project: Project) -> None:
    project.write(
        {
            "v": "{{ config(materialized='view') }} select 1 as id",
            "bad": "select error('no') as id from {{ ref('v') }}",
        }
    )
    project.dbt("run", fails=True)
    project.forget_duckdb()
    assert project.show("select * from {{ ref('v') }}") == [{"id": 1}]


def test_a_view_costs_a_commit_only_when_its_sql_changes(project: Project) -> None:
    project.write({"v": "{{ config(materialized='view') }} select 1 as id"})
    project.dbt("run")
    project.dbt("run")
    assert project.snapshots("dbt_stored_views") == 1
    project.write({"v": "{{ config(materialized='view') }} select 2 as id"})
    project.dbt("run")
    assert project.snapshots("dbt_stored_views") == 2


def test_a_change_of_places_is_no_reason_to_parse_again(project: Project) -> None:
    project.write({"m": "select 1 as id"})
    project.dbt("run")
    project.set_profile(
        tables={f"{SCHEMA}.m": {"namespace": "elsewhere"}}, table_properties={"a": 1}
    )
    outcome = project.dbt("run")
    assert "Unable to do partial parsing" not in outcome.output
    assert project.has_table("elsewhere.m")


def test_only_what_a_model_names_is_loaded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    project.write(
        {
            "up": "select 1 as id",
            "down": (
                "{{ config(materialized='incremental', unique_key='id') }}"
                " select up.id from {{ ref('up') }} as up where up.id is not null"
            ),
        }
    )
    project.dbt("run")
    table = project.table("up")
    for number in range(300):
        project.catalog.register_table((SCHEMA, f"t{number}"), table.metadata_location)
    calls: dict[str, int] = {}
    for method in ("load_table", "list_tables", "list_namespaces", "namespace_exists"):
        original: Any = getattr(SqlCatalog, method)

        def counted(
            self: Any, *arguments: Any, _name: str = method, _call: Any = original, **options: Any
        ) -> Any:
            calls[_name] = calls.get(_name, 0) + 1
            return _call(self, *arguments, **options)

        monkeypatch.setattr(SqlCatalog, method, counted)
    project.dbt("run", "-s", "down")
    # `up` once; `down` to be seen and to be written; PyIceberg loads it again to commit.
    assert calls["load_table"] <= 5
    assert calls["list_tables"] <= 2
    assert calls["list_namespaces"] <= 3
