"""dbt's commands beside run and build."""

from __future__ import annotations

import shutil

import duckdb
import pytest

from floe_iceberg import replace

from .conftest import SCHEMA, Project

MODELS = {
    "models/schema.yml": (
        "models:\n"
        "  - name: orders\n"
        "    description: All orders\n"
        "    config: {persist_docs: {relation: true, columns: true}}\n"
        "    columns: [{name: id, description: The key}, {name: 'Größe', quote: true}]\n"
        "  - name: v\n"
        "    description: A view\n"
        "    config: {persist_docs: {relation: true, columns: true}}\n"
        "    columns:\n"
        "      - {name: id, description: The view's key}\n"
        "      - {name: gone, description: Nothing}\n"
    ),
    "orders": 'select 1 as id, 2 as "Größe"',
    "v": "{{ config(materialized='view') }} select id from {{ ref('orders') }}",
}


@pytest.fixture
def orders(project: Project) -> Project:
    project.keeps_artifacts = True
    project.write(MODELS)
    assert "not present in the database: gone" in project.dbt("run").output
    return project


def test_docs_show_tables_with_their_descriptions(orders: Project) -> None:
    orders.forget_duckdb()
    orders.dbt("docs", "generate")
    nodes = orders.artifact("catalog.json")["nodes"]
    table, view = nodes["model.shop.orders"], nodes["model.shop.v"]
    assert table["metadata"]["type"] == "BASE TABLE"
    assert table["metadata"]["comment"] == "All orders"
    assert table["columns"]["id"]["comment"] == "The key"
    assert list(table["columns"]) == ["id", "Größe"]
    assert view["metadata"]["type"] == "VIEW"
    assert view["metadata"]["comment"] == "A view"
    assert view["columns"]["id"]["comment"] == "The view's key"
    assert len(nodes) == 2
    assert orders.table("orders").properties["comment"] == "All orders"
    assert orders.table("orders").schema().find_field("id").doc == "The key"
    orders.dbt("run")
    assert orders.snapshots("orders") == 2


def test_show_and_compile_read_without_a_file_of_duckdb(orders: Project) -> None:
    orders.forget_duckdb()
    assert "1" in orders.dbt("show", "-s", "v").output
    orders.forget_duckdb()
    orders.dbt("compile", "--inline", "{{ dbt_utils_like() if false else 1 }}")
    assert orders.snapshots("orders") == 1


def test_a_failing_test_fails_and_stores_its_rows(orders: Project) -> None:
    orders.write(
        {
            "tests/none.sql": (
                "{{ config(store_failures=true) }} select id from {{ ref('orders') }}"
            ),
        }
    )
    outcome = orders.dbt("test", fails=True)
    assert outcome.statuses["none"] == "fail"
    assert orders.rows(f"{SCHEMA}_dbt_test__audit.none") == [(1,)]
    orders.dbt("test", fails=True)


def test_retry_goes_on_where_it_stopped(project: Project) -> None:
    project.write(
        {
            "a": "select 1 as id",
            "b": "select no_such from {{ ref('a') }}",
            "c": "select id from {{ ref('b') }}",
        }
    )
    project.keeps_artifacts = True
    project.dbt("run", fails=True)
    project.write({"b": "select id from {{ ref('a') }}"})
    project.forget_duckdb()
    assert set(project.dbt("retry").statuses) == {"b", "c"}
    assert project.snapshots("a") == 1


def test_build_empty_makes_tables_without_rows(project: Project) -> None:
    project.write(
        {
            "seeds/items.csv": "id\n1\n",
            "t": "select id from {{ ref('items') }}",
            "i": (
                "{{ config(materialized='incremental', unique_key='id') }}"
                " select id from {{ ref('t') }}"
            ),
        }
    )
    project.dbt("build", "--empty")
    assert (project.rows("t"), project.rows("i")) == ([], [])
    project.forget_duckdb()
    project.dbt("build")
    assert (project.rows("t"), project.rows("i")) == ([(1,)], [(1,)])


@pytest.mark.parametrize(("age", "status"), [("1 hour", "pass"), ("5 days", "error")])
def test_freshness_of_sources_that_are_iceberg_tables(
    project: Project, age: str, status: str
) -> None:
    query = f"SELECT 1 AS id, now() - INTERVAL '{age}' AS seen"
    replace(project.catalog, ("landing", "events"), duckdb.connect(), query)
    project.write(
        {
            "models/sources.yml": (
                "sources:\n  - name: landing\n    config:\n      loaded_at_field: seen\n"
                "      freshness: {error_after: {count: 2, period: day}}\n"
                "    tables: [{name: events}]\n"
            )
        }
    )
    outcome = project.dbt("source", "freshness", fails=status == "error")
    assert outcome.statuses == {"events": status}


def test_deferring_reads_the_other_schema(orders: Project) -> None:
    shutil.copytree(orders.folder / "target", orders.folder / "state")
    orders.set_profile(schema="dev")
    orders.write({"new": "select id + 1 as id from {{ ref('v') }}"})
    orders.dbt("run", "-s", "new", "--defer", "--state", "state")
    assert orders.rows("dev.new") == [(2,)]
    outcome = orders.dbt("ls", "-s", "state:modified", "--state", "state")
    assert "shop.new" in str(outcome.result)


def test_a_clone_is_a_view(orders: Project) -> None:
    shutil.copytree(orders.folder / "target", orders.folder / "state")
    orders.set_profile(schema="dev")
    orders.dbt("clone", "--state", "state")
    assert not orders.has_table("dev.orders")
    orders.forget_duckdb()
    assert orders.show("select id from {{ ref('orders') }}") == [{"id": 1}]


def test_a_clone_onto_itself_is_refused_and_leaves_the_table(orders: Project) -> None:
    shutil.copytree(orders.folder / "target", orders.folder / "state")
    outcome = orders.dbt("clone", "--state", "state", "--full-refresh", fails=True)
    for name in ("orders", "v"):
        said = f"a view named shop.{name} cannot read shop.{name}, whose place it takes"
        assert said in outcome.messages[name]
    assert orders.rows("orders") == [(1, 2)]
    orders.forget_duckdb()
    assert orders.show("select id from {{ ref('v') }}") == [{"id": 1}]


def test_unit_tests_of_models(project: Project) -> None:
    project.write(
        {
            "up": "select 1 as id, 'a' as name",
            "m": (
                "{{ config(materialized='incremental', unique_key='id') }}"
                " select id from {{ ref('up') }}"
                "{% if is_incremental() %} where id > (select max(id) from {{ this }}){% endif %}"
            ),
            "models/unit.yml": (
                "unit_tests:\n"
                "  - name: only_new\n"
                "    model: m\n"
                "    overrides: {macros: {is_incremental: true}}\n"
                "    given:\n"
                "      - {input: ref('up'), rows: [{id: 1}, {id: 2}]}\n"
                "      - {input: this, rows: [{id: 1}]}\n"
                "    expect: {rows: [{id: 2}]}\n"
            ),
        }
    )
    project.dbt("run")
    outcome = project.dbt("build")
    assert outcome.statuses["only_new"] == "pass"


def test_packages_that_dispatch_on_duckdb(project: Project) -> None:
    project.write(
        {
            "./packages.yml": "packages: [{local: tools}]\n",
            "tools/dbt_project.yml": "name: tools\nversion: '1.0'\n",
            "tools/macros/year.sql": (
                "{% macro year_of(c) %}{{ adapter.dispatch('year_of', 'tools')(c) }}{% endmacro %}"
                "{% macro default__year_of(c) %}no_such({{ c }}){% endmacro %}"
                "{% macro duckdb__year_of(c) %}datepart('year', {{ c }}){% endmacro %}"
            ),
            "m": (
                "select {{ tools.year_of(\"date '2026-01-02'\") }} as y,"
                " '{{ target.type }}' as t, '{{ adapter.type() }}' as a,"
                " {{ dbt.datediff(\"'2026-01-01'\", \"'2026-01-03'\", 'day') }} as d"
            ),
        }
    )
    project.dbt("deps")
    project.dbt("run")
    assert project.rows("m", "y, t, a, d") == [(2026, "duckdb_iceberg", "duckdb_iceberg", 2)]


def test_debug_asks_the_catalog_and_shows_no_secret(project: Project) -> None:
    catalog = {**project.profile()["catalog"], "s3.secret-access-key": "canary"}
    project.set_profile(catalog=catalog)
    outcome = project.dbt("debug")
    assert f"Iceberg catalog default (sql, {catalog['uri']}" in outcome.output
    assert "canary" not in outcome.output


def test_the_file_of_duckdb_is_free_after_each_command(orders: Project) -> None:
    for command in (("run",), ("show", "-s", "orders"), ("docs", "generate"), ("debug",)):
        orders.dbt(*command)
        with duckdb.connect(str(orders.folder / "scratch.duckdb"), config={"threads": 1}):
            pass
