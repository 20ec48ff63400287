"""A dbt project that people had before floe runs as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import Event, Selection

FILES = {
    "dbt_project.yml": """
name: jaffle
version: "1.0.0"
config-version: 2
profile: jaffle_shop
model-paths: [models]
seed-paths: [data]
target-path: output
clean-targets: [output, dbt_packages]
vars: {jaffle: {currency: EUR}}
models:
  jaffle:
    +materialized: table
    staging: {+materialized: view, +schema: staging}
on-run-end: ["create or replace table {{ target.schema }}.audit as select '{{ target.name }}' t"]
""",
    "profiles.yml": "jaffle_shop: {target: x, outputs: {x: {type: nothing_that_exists}}}\n",
    "packages.yml": "packages: [{local: ../toolbox}]\n",
    "selectors.yml": "selectors: [{name: nightly, definition: 'tag:nightly'}]\n",
    "data/raw_orders.csv": "order_id,customer,amount\n1,ann,100\n2,bob,250\n3,ann,\n",
    "macros/cents.sql": "{% macro cents(c) %}({{ c }} / 100.0)::decimal(10, 2){% endmacro %}\n",
    "models/staging/stg_orders.sql": "select order_id, customer, {{ cents('amount') }} as amount,\n"
    "  '{{ var('currency') }}' as currency\nfrom {{ ref('raw_orders') }}\n",
    "models/marts/_big.sql": "{{ config(materialized='ephemeral') }}\n"
    "select * from {{ ref('stg_orders') }} where amount > 1\n",
    "models/marts/customers.sql": "{{ config(tags=['nightly']) }}\n"
    "select customer, {{ toolbox.count_all() }} as orders from {{ ref('_big') }}\n"
    "group by customer\n",
    "models/marts/log.sql": "{{ config(materialized='incremental', unique_key='order_id') }}\n"
    "select * from {{ ref('stg_orders') }}\n"
    "{% if is_incremental() %} where order_id > (select max(order_id) from {{ this }})\n"
    "{% endif %}\n",
    "models/marts/points.py": "def model(dbt, session):\n"
    "    dbt.config(materialized='table')\n"
    "    return dbt.ref('customers').project('customer, orders * 10 as points')\n",
    "models/schema.yml": """
models:
  - name: stg_orders
    columns:
      - name: order_id
        data_tests: [unique, not_null]
      - name: amount
        data_tests: [{not_null: {config: {severity: warn}}}]
""",
    "snapshots/orders_history.sql": "{% snapshot orders_history %}\n"
    "{{ config(unique_key='order_id', strategy='check', check_cols='all') }}\n"
    "select * from {{ ref('raw_orders') }}\n{% endsnapshot %}\n",
    "tests/positive.sql": "select * from {{ ref('stg_orders') }} where amount < 0\n",
}
TOOLBOX = {
    "dbt_project.yml": "name: toolbox\nversion: '0.1.0'\n",
    "macros/count_all.sql": "{% macro count_all() %}count(*){% endmacro %}\n",
    "models/numbers.sql": "select 1 as n\n",
}


def ignore(event: Event) -> None:
    pass


@pytest.fixture(scope="module")
def workspace(new_workspace: Callable[[str], Any]) -> Any:
    workspace = new_workspace("existing").write(FILES).write(TOOLBOX, "toolbox")
    engine, invocation = DbtCore(), workspace.invocation()
    assert engine.deps(invocation).error is None
    for _ in range(2):
        result = engine.build(invocation, Selection(), ignore)
        assert [node for node in result.nodes if node.status in {"error", "fail"}] == []
        assert result.is_success
    return workspace


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select count(*) from main.raw_orders", [(3,)]),
        ("select distinct currency from main_staging.stg_orders", [("EUR",)]),
        ("select orders from main.customers", [(1,)]),
        ("select points from main.points", [(10,)]),
        ("select count(*) from main.log", [(3,)]),
        ("select count(*) from main.orders_history", [(3,)]),
        ("select n from main.numbers", [(1,)]),
        ("select t from main.audit", [("local",)]),
    ],
)
def test_everything_is_built(workspace: Any, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert workspace.rows(sql) == rows


def test_its_own_settings_of_folders_do_not_count(workspace: Any) -> None:
    written = {path for path in workspace.files() if not path.startswith((".floe/", "toolbox/"))}
    given = {f"dbt/{name}" for name in FILES}
    assert written - given == {"dbt/package-lock.yml"}


def test_a_warning_does_not_fail(workspace: Any) -> None:
    result = DbtCore().build(workspace.invocation(), Selection(("+stg_orders",)), ignore)
    statuses = {node.name: node.status for node in result.nodes}
    assert result.is_success
    assert statuses["not_null_stg_orders_amount"] == "warn"


def test_its_selectors_work(workspace: Any) -> None:
    nodes = DbtCore().list(workspace.invocation(), Selection(("tag:nightly",), indirect="empty"))
    assert nodes == ("model.jaffle.customers",)
