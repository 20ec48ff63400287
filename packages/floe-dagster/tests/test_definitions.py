"""Definitions: what Dagster shows, and what a launch from Dagster asks dbt to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from floe_core.dagster_names import RUN_JOB
from floe_core.errors import ArtifactsError
from floe_dagster.assets import BuildConfig
from floe_dagster.connection import invocation
from floe_dagster.definitions import build_definitions
from floe_dagster.selection import dbt_selection
from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import (
    BuildResult,
    CommandResult,
    Invocation,
    Listener,
    NodeFinished,
    Selection,
)

if TYPE_CHECKING:
    from conftest import Product


class Recorder:
    """An engine that runs nothing, and remembers what it was asked."""

    version = "0"

    def __init__(self, outcome: str = "success") -> None:
        self.outcome = outcome
        self.asked: list[tuple[Invocation, Selection, bool]] = []

    def build(
        self,
        invocation: Invocation,
        selection: Selection,
        listener: Listener,
        *,
        full_refresh: bool = False,
    ) -> BuildResult:
        self.asked.append((invocation, selection, full_refresh))
        return BuildResult((), error=None if self.outcome == "success" else self.outcome)

    def cancel(self) -> None:
        raise AssertionError("nothing to cancel")

    def parse(self, invocation: Invocation) -> CommandResult:
        raise NotImplementedError

    def deps(self, invocation: Invocation) -> CommandResult:
        raise NotImplementedError

    def list(self, invocation: Invocation, selection: Selection) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def names(self) -> set[str]:
        """Last parts of the names that the one build selected."""
        [(_, selection, _)] = self.asked
        assert selection.indirect == "empty"
        return {argument.partition(",")[0].rpartition(".")[2] for argument in selection.select}


def definitions(product: Product, **options: Any) -> dg.Definitions:
    return build_definitions(product.artifacts, root=product.root, **options)


def job(product: Product, engine: Recorder) -> dg.JobDefinition:
    return definitions(product, engine=engine).resolve_job_def(RUN_JOB)


def key(*parts: str) -> dg.AssetKey:
    return dg.AssetKey(parts)


def test_from_the_path_alone(shop: Product) -> None:
    found = build_definitions(str(shop.layout.artifacts)).resolve_asset_graph()
    assert key("marts", "customer_totals") in found.materializable_asset_keys


def test_sources_are_external_assets_with_metadata(shop: Product) -> None:
    graph = definitions(shop).resolve_asset_graph()
    source = graph.get(key("crm", "customers"))
    assert source.is_external
    assert source.metadata["dagster/table_name"] == "engine.landing.customers"
    assert source.description == "Customers as the CRM exports them."
    assert key("landing", "events") not in graph.get_all_asset_keys()


def test_a_model_that_nobody_claims_is_external(shop: Product) -> None:
    artifacts = shop.artifacts
    transforms = [t for t in artifacts.transforms if t.name != "marts-and-more"]
    artifacts = artifacts.model_copy(
        update={"transforms": tuple(transforms), "orchestration": None}
    )
    graph = build_definitions(artifacts, root=shop.root).resolve_asset_graph()
    assert graph.get(key("marts", "customer_totals")).is_external
    assert graph.get(key("orders")).is_materializable


def test_depends_on_between_projects(shop: Product) -> None:
    graph = definitions(shop).resolve_asset_graph()
    last = key("contacts_clean")
    assert graph.get(last).child_keys == {key("raw", "raw_orders"), key("people", "customers")}
    assert graph.get(key("contacts")).child_keys == {last}


def test_two_nodes_with_one_key(shop: Product) -> None:
    contacts, orders = shop.indexes
    node = replace(contacts.nodes["model.crm.contacts"], name="orders")
    contacts = replace(contacts, nodes={**contacts.nodes, node.unique_id: node})
    with pytest.raises(ArtifactsError) as caught:
        definitions(shop, indexes=[contacts, orders])
    assert str(caught.value) == (
        "two nodes have the asset key `orders`: model.crm.contacts (crm/models/contacts.sql) and "
        "model.shop.orders (shop/models/staging/orders.sql)"
    )
    assert "asset_key" in (caught.value.help or "")


def test_a_source_that_another_project_builds_is_its_asset(shop: Product) -> None:
    contacts, orders = shop.indexes
    source = orders.nodes["source.shop.crm.customers"]
    source = replace(source, meta={"dagster": {"asset_key": ["contacts_clean"]}})
    orders = replace(orders, nodes={**orders.nodes, source.unique_id: source})
    graph = definitions(shop, indexes=[contacts, orders]).resolve_asset_graph()
    assert key("people", "customers") in graph.get(key("contacts_clean")).child_keys
    assert graph.get(key("contacts_clean")).is_materializable


@pytest.mark.parametrize(
    ("start", "environment", "expected"),
    [(None, "local", "STOPPED"), (None, "prod", "RUNNING"), (True, "local", "RUNNING")],
)
def test_schedules(shop: Product, start: bool | None, environment: str, expected: str) -> None:
    artifacts = shop.artifacts
    assert artifacts.identity is not None
    identity = artifacts.identity.model_copy(update={"environment": environment})
    transforms = tuple(t.model_copy(update={"target": "local"}) for t in artifacts.transforms)
    artifacts = artifacts.model_copy(update={"identity": identity, "transforms": transforms})
    found = build_definitions(
        artifacts, root=shop.root, indexes=shop.indexes, start_schedules=start
    )
    repository = found.get_repository_def()
    daily = repository.get_schedule_def("daily")
    assert (daily.cron_schedule, daily.execution_timezone) == ("0 6 * * *", "Europe/Berlin")
    assert daily.default_status.value == expected
    assert repository.get_schedule_def("weekly").default_status.value == "STOPPED"


def test_a_schedule_runs_the_assets_and_checks_of_its_transforms(shop: Product) -> None:
    engine = Recorder()
    repository = definitions(shop, engine=engine).get_repository_def()
    daily = repository.get_job(repository.get_schedule_def("daily").job_name)
    selected = {name.to_user_string() for name in daily.asset_layer.executable_asset_keys}
    assert selected == {
        "raw/raw_orders",
        "stg_orders",
        "people/customers",
        "orders",
        "orders_open",
    }
    daily.execute_in_process(raise_on_error=False)
    assert "unique_stg_orders_order_id" in engine.names
    assert "unique_customer_totals_customer_id" not in engine.names
    tick = repository.get_schedule_def("daily").evaluate_tick(dg.build_schedule_context())
    assert [request.tags["floe/schedule"] for request in tick.run_requests or ()] == ["daily"]
    assert daily.run_tags["floe.label/domain"] == "retail"
    assert daily.run_tags["floe.label/cost_center"] == "4711"


def test_two_schedules_with_one_name(shop: Product) -> None:
    artifacts = shop.artifacts
    assert artifacts.orchestration is not None
    first, second = artifacts.orchestration.schedules
    schedules = (
        first.model_copy(update={"name": "a.b"}),
        second.model_copy(update={"name": "a-b"}),
    )
    orchestration = artifacts.orchestration.model_copy(update={"schedules": schedules})
    with pytest.raises(ArtifactsError, match=r"schedule `a.b` and schedule `a-b` have"):
        build_definitions(
            artifacts.model_copy(update={"orchestration": orchestration}), root=shop.root
        )


def test_everything_needs_no_selection(small: Product) -> None:
    engine = Recorder()
    result = job(small, engine).execute_in_process(raise_on_error=False)
    [(invocation, selection, full_refresh)] = engine.asked
    assert selection == Selection()
    assert (invocation.project, invocation.target, invocation.threads) == ("dbt", "local", None)
    assert not full_refresh
    assert result.success


def test_launchpad_configuration(small: Product) -> None:
    engine = Recorder()
    config = dg.RunConfig({"dbt_project": BuildConfig(full_refresh=True, threads=7)})
    job(small, engine).execute_in_process(run_config=config)
    [(invocation, _, full_refresh)] = engine.asked
    assert full_refresh
    assert invocation.threads == 7


@pytest.mark.parametrize(
    ("keys", "checks", "expected"),
    [
        # Tests of an ephemeral model come with what that model reads.
        (
            [key("stg_orders")],
            None,
            {
                "stg_orders",
                "no_negative_amounts",
                "not_null_order_totals_eph_customer_id",
                "+4",
            },
        ),
        ([key("stg_orders")], [], {"stg_orders"}),
        ([key("revenue_v2")], None, {"v2", "totals_add_up", "+2"}),
        (
            [],
            [dg.AssetCheckKey(key("stg_orders"), "unique_stg_orders_order_id")],
            {"unique_stg_orders_order_id"},
        ),
        # A test of several nodes comes with the last of them, a source's with what reads it.
        ([key("marts", "customer_totals")], None, {"customer_totals", "totals_match", "+1"}),
        (
            [key("people", "customers")],
            None,
            {"stg_customers", "source_not_null_crm_customers_id", "+1"},
        ),
    ],
    ids=["asset", "no checks", "version", "check", "test of several", "test of a source"],
)
def test_a_subset(
    product: Product,
    keys: Iterable[dg.AssetKey],
    checks: Iterable[dg.AssetCheckKey] | None,
    expected: set[str],
) -> None:
    engine = Recorder()
    subset = job(product, engine).get_subset(
        asset_selection=set(keys),
        asset_check_selection=None if checks is None else set(checks),
    )
    subset.execute_in_process(raise_on_error=False)
    more = sum(int(name) for name in expected if name.startswith("+"))
    named = {name for name in expected if not name.startswith("+")}
    assert named <= engine.names
    assert len(engine.names) == len(named) + more


def test_an_error_of_dbt_fails_the_step(small: Product) -> None:
    result = job(small, Recorder("cannot connect")).execute_in_process(raise_on_error=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data.description == "cannot connect"


class Scripted(Recorder):
    """An engine that reports what it is told to."""

    def __init__(self, *nodes: tuple[str, str, str]) -> None:
        super().__init__()
        self.nodes = nodes

    def build(
        self,
        invocation: Invocation,
        selection: Selection,
        listener: Listener,
        *,
        full_refresh: bool = False,
    ) -> BuildResult:
        finished = tuple(
            NodeFinished(
                unique_id=unique_id,
                resource_type=resource_type,
                name=unique_id.rpartition(".")[2],
                status=status,  # type: ignore[arg-type]
                started_at=datetime.now(UTC),
                seconds=0.1,
            )
            for unique_id, resource_type, status in self.nodes
        )
        for node in finished:
            listener(node)
        return BuildResult(finished)


def test_what_is_materialized_before_a_failure_counts(small: Product) -> None:
    engine = Scripted(
        ("seed.dbt_project.numbers", "seed", "success"),
        ("model.dbt_project.base", "model", "error"),
        ("model.dbt_project.mid", "model", "skipped"),
    )
    result = job(small, engine).execute_in_process(raise_on_error=False)
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [
        key("raw", "numbers")
    ]
    assert not result.success


def test_each_selection_is_exact(shop: Product) -> None:
    unit = shop.units["shop"]
    where = invocation_of(shop)
    engine = DbtCore()
    # `orders` is a model and a folder of models, `revenue` has two versions and a unit test.
    wanted = {"model.shop.orders", "model.shop.revenue.v1", "test.shop.no_negative_amounts"}
    wanted |= {name for name in unit.index.nodes if name.startswith("unit_test.")}
    found = set(engine.list(where, dbt_selection(unit, wanted)))
    assert found == wanted
    everything = {test.unique_id for test in unit.tests} | {node.unique_id for node in unit.assets}
    some = everything - wanted - {"model.shop.orders_open"}
    assert set(engine.list(where, dbt_selection(unit, some))) == some
    assert dbt_selection(unit, everything) == Selection()


def invocation_of(product: Product) -> Invocation:
    return invocation(product.artifacts, product.units["shop"], product.root, {})


def test_without_an_index_the_projects_are_parsed(small: Product) -> None:
    expected = small.indexes
    for name in ("index.json", "profiles.yml"):
        (small.layout.work("local") / name).unlink()
    graph = definitions(small).resolve_asset_graph()
    assert key("mid") in graph.materializable_asset_keys
    assert [index.nodes for index in small.indexes] == [index.nodes for index in expected]


def test_nodes_that_the_project_has_no_longer(shop: Product) -> None:
    contacts, orders = shop.indexes
    nodes = {name: node for name, node in contacts.nodes.items() if name != "model.crm.contacts"}
    with pytest.raises(ArtifactsError, match=r"`contacts` has nodes .* model.crm.contacts"):
        definitions(shop, indexes=[replace(contacts, nodes=nodes), orders])


def dagster(
    product: Product, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("dagster")), *arguments]
    home = product.root / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    variables = {**os.environ, "DAGSTER_HOME": str(home), **environment}
    return subprocess.run(
        command, cwd=product.root, env=variables, capture_output=True, text=True, check=False
    )


def test_dagster_loads_the_module(small: Product) -> None:
    found = dagster(small, "definitions", "validate", "-m", "floe_dagster.definitions")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "All code locations passed validation" in found.stderr + found.stdout


def test_dagster_lists_assets_of_artifacts_that_are_elsewhere(
    small: Product, tmp_path: Path
) -> None:
    mounted = tmp_path / "artifacts.json"
    shutil.copy(small.layout.artifacts, mounted)
    small.layout.artifacts.unlink()
    found = dagster(
        small,
        *("asset", "list", "-m", "floe_dagster.definitions"),
        FLOE_ARTIFACTS=str(mounted),
        FLOE_PROJECT_DIR=str(small.root),
    )
    assert found.stdout.splitlines() == ["base", "grown", "mid", "raw/numbers"]


def test_missing_artifacts_are_one_message(small: Product) -> None:
    small.layout.artifacts.unlink()
    found = dagster(small, "definitions", "validate", "-m", "floe_dagster.definitions")
    assert found.returncode == 1
    output = found.stdout + found.stderr
    assert f"none of these exists:\n  {small.layout.artifacts}" in output
    assert "Run `floe compile` in the folder of floe.yaml" in output


def test_a_run_that_dagster_launches(small: Product) -> None:
    """In processes of its own, through the code location."""
    found = dagster(small, "job", "execute", "-m", "floe_dagster.definitions", "-j", RUN_JOB)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "RUN_SUCCESS" in found.stderr + found.stdout
    assert small.query("select count(*) from mid") == 3
