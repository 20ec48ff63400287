from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from floe_core.index import Column, ProjectIndex
from floe_dbt.transform import DbtTransformExecutor

FILES = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\n"
    "models: {shop: {gold: {+schema: gold, +tags: [mart]}}}\n",
    "seeds/raw.csv": "id,email\n1,a@x\n",
    "models/base.sql": "{{ config(materialized='ephemeral') }}select * from {{ ref('raw') }}",
    "models/off.sql": "{{ config(enabled=false) }}select 1",
    "models/gold/customers.sql": "{{ config(materialized='table', alias='people', group='crm', "
    "meta={'floe': {'layer': 'gold'}}) }}\n"
    "select * from {{ ref('base') }} union all select * from {{ source('crm', 'users') }}",
    "models/gold/dim_v1.sql": "select 1 as id",
    "models/gold/dim_v2.sql": "select 2 as id",
    "models/schema.yml": """
groups: [{name: crm, owner: {name: CRM, email: crm@acme.dev}}]
sources:
  - name: crm
    schema: raw_crm
    tables: [{name: users, identifier: usr, description: People, columns: [{name: id}]}]
models:
  - name: customers
    description: One row per customer
    columns:
      - {name: id, data_type: integer, data_tests: [not_null, {unique: {config: {severity: warn}}}]}
      - {name: email, description: Address, config: {tags: [pii], meta: {classification: pii}}}
  - name: dim
    latest_version: 2
    versions: [{v: 1}, {v: 2}]
unit_tests:
  - name: keeps_ids
    model: customers
    given: [{input: ref('base'), rows: []}, {input: "source('crm', 'users')", rows: []}]
    expect: {rows: []}
exposures:
  - name: board
    type: dashboard
    owner: {name: Ann, email: ann@acme.dev}
    depends_on: [ref('customers')]
""",
    "snapshots/history.yml": "snapshots: [{name: history, relation: ref('raw'), "
    "config: {strategy: check, check_cols: all, unique_key: id}}]\n",
    "tests/no_one.sql": "select * from {{ ref('customers') }} where id = 1",
    "analyses/thoughts.sql": "select 1",
}


@pytest.fixture(scope="module")
def index(new_workspace: Callable[[str], Any]) -> ProjectIndex:
    workspace = new_workspace("manifest").write(FILES)
    inspection = DbtTransformExecutor().inspect(workspace.request())
    assert inspection.findings == []
    assert inspection.index is not None
    return inspection.index


def test_all_enabled_nodes_are_there_and_sorted(index: ProjectIndex) -> None:
    tests = [unique_id for unique_id in index.nodes if unique_id.startswith("test.")]
    assert [unique_id for unique_id in index.nodes if unique_id not in tests] == [
        "exposure.shop.board",
        "model.shop.base",
        "model.shop.customers",
        "model.shop.dim.v1",
        "model.shop.dim.v2",
        "seed.shop.raw",
        "snapshot.shop.history",
        "source.shop.crm.users",
        "unit_test.shop.customers.keeps_ids",
    ]
    assert len(tests) == 3
    assert list(index.nodes) == sorted(index.nodes)


def test_about_the_project(index: ProjectIndex) -> None:
    assert (index.project, index.name, index.target) == ("dbt", "shop", "local")
    assert index.adapter_type == "duckdb"
    assert index.dbt_version.startswith("1.")


def test_a_model(index: ProjectIndex) -> None:
    node = index.nodes["model.shop.customers"]
    assert node.original_file_path == "models/gold/customers.sql"
    assert node.fqn == ("shop", "gold", "customers")
    assert (node.alias, node.database, node.schema) == ("people", "engine", "main_gold")
    assert (node.config_schema, node.materialized) == ("gold", "table")
    assert (node.group, node.owner) == ("crm", "crm@acme.dev")
    assert node.tags == ("mart",)
    assert node.meta == {"floe": {"layer": "gold"}}
    assert node.description == "One row per customer"
    assert node.depends_on == ("model.shop.base", "source.shop.crm.users")
    assert node.columns == (
        Column("id", data_type="integer"),
        Column("email", description="Address", tags=("pii",), meta={"classification": "pii"}),
    )


def test_versions_and_materializations(index: ProjectIndex) -> None:
    assert index.nodes["model.shop.dim.v2"].version == "2"
    assert index.nodes["model.shop.base"].materialized == "ephemeral"
    assert index.nodes["snapshot.shop.history"].materialized == "snapshot"
    assert index.nodes["seed.shop.raw"].materialized == "seed"


def test_code_versions_differ(index: ProjectIndex) -> None:
    versions = [
        node.code_version
        for node in index.nodes.values()
        if node.resource_type in {"model", "seed", "snapshot"}
    ]
    assert None not in versions
    assert len(set(versions)) == len(versions)


def test_a_source(index: ProjectIndex) -> None:
    node = index.nodes["source.shop.crm.users"]
    assert (node.name, node.source_name, node.alias) == ("users", "crm", "usr")
    assert (node.schema, node.description) == ("raw_crm", "People")
    assert node.columns == (Column("id"),)


def test_tests(index: ProjectIndex) -> None:
    tests = {node.name: node for node in index.nodes.values() if node.resource_type == "test"}
    unique, singular, unit = (
        tests["unique_customers_id"],
        tests["no_one"],
        tests["keeps_ids"],
    )
    assert (unique.test_name, unique.column_name) == ("unique", "id")
    assert (unique.severity, unique.attached_node) == ("warn", "model.shop.customers")
    assert tests["not_null_customers_id"].severity == "error"
    assert (singular.test_name, singular.attached_node) == (None, None)
    assert singular.depends_on == ("model.shop.customers",)
    assert unit.attached_node == "model.shop.customers"
    assert "model.shop.customers" in unit.depends_on


def test_an_exposure(index: ProjectIndex) -> None:
    node = index.nodes["exposure.shop.board"]
    assert (node.owner, node.depends_on) == ("ann@acme.dev", ("model.shop.customers",))


def test_children(index: ProjectIndex) -> None:
    assert index.children()["seed.shop.raw"] == ["model.shop.base", "snapshot.shop.history"]


def test_a_seed_that_dbt_does_not_read(new_workspace: Callable[[str], Any]) -> None:
    large = "id\n" + "1234567\n" * 140_000
    workspace = new_workspace("large").write(
        {"dbt_project.yml": "name: shop\nversion: '1.0'\n", "seeds/big.csv": large}
    )
    versions = set()
    for content in (large, large + "9\n"):
        workspace.write({"seeds/big.csv": content})
        inspection = DbtTransformExecutor().inspect(workspace.request())
        assert inspection.index is not None
        versions.add(inspection.index.nodes["seed.shop.big"].code_version)
    assert len(versions) == 2


def test_what_the_project_configures_beside_the_known_fields(index: ProjectIndex) -> None:
    history = index.nodes["snapshot.shop.history"]
    assert history.config == {"check_cols": "all", "strategy": "check", "unique_key": "id"}
    assert index.nodes["model.shop.customers"].config == {}


def test_the_file_that_describes_a_node(index: ProjectIndex) -> None:
    assert index.nodes["model.shop.customers"].patch_path == "shop://models/schema.yml"
    assert index.nodes["seed.shop.raw"].patch_path is None


def test_macros_are_hashed(new_workspace: Callable[[str], Any]) -> None:
    files = {
        "dbt_project.yml": "name: shop\n",
        "models/a.sql": "select {{ one() }} as x",
        "macros/one.sql": "{% macro one() %}1{% endmacro %}",
    }
    workspace = new_workspace("macros").write(files)
    before = DbtTransformExecutor().inspect(workspace.request()).index
    workspace.write({"macros/one.sql": "{% macro one() %}2{% endmacro %}"})
    after = DbtTransformExecutor().inspect(workspace.request()).index
    assert before is not None
    assert after is not None
    assert before.nodes == after.nodes
    changed = {name for name in after.macros if before.macros.get(name) != after.macros[name]}
    assert changed == {"one"}
