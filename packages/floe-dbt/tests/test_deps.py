from __future__ import annotations

from typing import Any

import pytest

from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import Event, Selection

TOOLS = {
    "dbt_project.yml": "name: tools\nversion: '1.0'\n",
    "macros/twice.sql": "{% macro twice(x) %}({{ x }} * 2){% endmacro %}\n",
    "models/calendar.sql": "select 1 as day, nope from {{ ref('days') }}\n",
    "models/days.sql": "select 1 as day\n",
}


def ignore(event: Event) -> None:
    pass


def test_local_packages_are_fetched_and_used(engine: DbtCore, shop: Any) -> None:
    shop.write(TOOLS, "tools")
    shop.write(
        {
            "packages.yml": "packages: [{local: ../tools}]\n",
            "models/double.sql": "select {{ tools.twice(21) }} as n\n",
        }
    )
    invocation = shop.invocation()
    assert engine.parse(invocation).is_missing_packages
    assert engine.deps(invocation).error is None
    result = engine.build(invocation, Selection(), ignore)
    nodes = {node.name: node for node in result.nodes}
    assert shop.rows("select n from double") == [(42,)]
    assert nodes["days"].status == "success"
    assert nodes["calendar"].path == "dbt_packages/tools/models/calendar.sql"
    assert nodes["calendar"].line == 1


def test_a_hub_that_does_not_answer(
    engine: DbtCore, shop: Any, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{closed_port}/"
    monkeypatch.setattr("dbt.clients.registry.DEFAULT_REGISTRY_BASE_URL", url)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    shop.write({"packages.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n"})
    result = engine.deps(shop.invocation())
    assert result.error == "127.0.0.1 cannot be reached: connection refused"
    assert engine.parse(shop.invocation()).is_missing_packages
