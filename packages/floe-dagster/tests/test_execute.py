"""Runs of a real dbt project on DuckDB."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from floe_core.errors import ProjectLockedError, UsageError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.secret import SecretRef
from floe_dagster import connection
from floe_dagster.execute import RunRequest, execute, plan
from floe_dagster.instance import open_instance
from floe_dagster.records import RunRecord, read_records
from floe_dbt.engine import Event, NodeFinished, NodeStarted
from floe_testing.canaries import traces

if TYPE_CHECKING:
    from conftest import Product

CANARY = "c4n4ry-7d1f"

pytestmark = pytest.mark.filterwarnings("error")


def statuses(record: RunRecord) -> dict[str, str]:
    return {node.name: node.status for node in record.nodes}


def run(product: Product, **request: object) -> RunRecord:
    return execute(product.artifacts, root=product.root, request=RunRequest(**request))  # type: ignore[arg-type]


def break_model(product: Product) -> None:
    product.write("dbt/models/mid.sql", "select no_such_column from {{ ref('base') }}")


def mend_model(product: Product) -> None:
    product.write("dbt/models/mid.sql", "select id, n from {{ ref('base') }}")


def test_a_run_builds_tests_and_records(small: Product) -> None:
    events: list[Event] = []
    record = execute(small.artifacts, root=small.root, listener=events.append)
    assert statuses(record) == {
        "numbers": "success",
        "base": "success",
        "unique_base_id": "pass",
        "mid": "success",
        "positive": "pass",
        "grown": "success",
        "few": "warn",
    }
    assert (record.status, record.error, record.is_success) == ("success", None, True)
    assert (record.product, record.environment) == ("small", "local")
    assert record.source_hash == small.artifacts.metadata.source_hash
    assert record.seconds is not None
    assert record.finished_at is not None
    by_name = {node.name: node for node in record.nodes}
    assert by_name["numbers"].rows == 3
    assert by_name["base"].transform == "first"
    assert by_name["mid"].transform == "second"
    assert by_name["base"].relation == '"engine"."main"."base"'
    assert by_name["few"].failures == 3
    assert read_records(small.layout, "local") == [record]
    started = {event.unique_id for event in events if isinstance(event, NodeStarted)}
    finished = {event.unique_id for event in events if isinstance(event, NodeFinished)}
    assert started == finished == set(record.planned)


def test_a_run_is_in_dagsters_instance(small: Product) -> None:
    record = run(small, full_refresh=True, threads=1)
    with open_instance(small.layout) as instance:
        found = instance.get_run_by_id(record.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.SUCCESS
        assert found.run_config["ops"]["dbt_project"]["config"] == {
            "full_refresh": True,
            "threads": 1,
        }
        assert found.tags["floe/product"] == "small"
        assert found.tags["floe.label/domain"] == "retail"
        materialized = instance.get_latest_materialization_event(dg.AssetKey(["raw", "numbers"]))
        assert materialized is not None
        assert materialized.asset_materialization is not None
        metadata = materialized.asset_materialization.metadata
        assert metadata["unique_id"].value == "seed.dbt_project.numbers"
        assert metadata["dagster/row_count"].value == 3
        assert "Execution Duration" in metadata
        logs = instance.all_logs(record.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        checks = [log.get_dagster_event().asset_check_evaluation_data for log in logs]
        assert {(check.check_name, check.passed, check.severity.value) for check in checks} == {
            ("unique_base_id", True, "ERROR"),
            ("positive", True, "ERROR"),
            ("few", False, "WARN"),
        }


def test_nothing_reaches_the_terminal(small: Product, capfd: pytest.CaptureFixture[str]) -> None:
    run(small)
    assert capfd.readouterr() == ("", "")
    assert "RUN_SUCCESS" in (small.layout.logs / "dagster.log").read_text()


def test_a_failed_model_stops_what_depends_on_it(small: Product) -> None:
    break_model(small)
    record = run(small)
    found = statuses(record)
    assert (found["base"], found["mid"], found["grown"]) == ("success", "error", "success")
    assert found["positive"] == "skipped"
    assert (record.status, record.error) == ("failed", None)
    failed = next(node for node in record.nodes if node.name == "mid")
    assert "no_such_column" in (failed.message or "")
    assert failed.path == "models/mid.sql"
    with open_instance(small.layout) as instance:
        dagster_run = instance.get_run_by_id(record.run_id)
        assert dagster_run is not None
        assert dagster_run.status is dg.DagsterRunStatus.FAILURE
        assert instance.get_latest_materialization_event(dg.AssetKey("base")) is not None
        assert instance.get_latest_materialization_event(dg.AssetKey("mid")) is None
        messages = [
            log.get_dagster_event().step_failure_data.user_failure_data.description
            for log in instance.all_logs(record.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        ]
        assert messages == ["1 node failed: mid (error)"]


def test_a_failed_test_fails_the_run(small: Product) -> None:
    small.write("dbt/models/base.sql", "select 1 as id, -1 as n from {{ ref('numbers') }}")
    record = run(small)
    assert record.status == "failed"
    found = statuses(record)
    assert (found["unique_base_id"], found["mid"]) == ("fail", "skipped")
    assert next(node for node in record.nodes if node.name == "unique_base_id").failures == 1


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"select": ("base",)}, {"base", "unique_base_id", "few"}),
        (
            {"select": ("base+",), "exclude": ("few",)},
            {"base", "unique_base_id", "mid", "positive", "grown"},
        ),
        ({"transforms": ("second",)}, {"mid", "grown", "positive"}),
        ({"transforms": ("second",), "select": ("mid",)}, {"mid", "positive"}),
        ({"select": ("unique_base_id",)}, {"unique_base_id"}),
        ({"select": ("resource_type:seed",)}, {"numbers"}),
    ],
    ids=["model", "graph", "transform", "both", "test", "seed"],
)
def test_a_selection_runs_what_the_plan_says(
    built: Product, request_: dict[str, tuple[str, ...]], expected: set[str]
) -> None:
    planned = plan(built.artifacts, root=built.root, request=RunRequest(**request_))  # type: ignore[arg-type]
    record = execute(built.artifacts, root=built.root, planned=planned)
    assert set(statuses(record)) == expected
    assert {node.unique_id for node in record.nodes} == set(planned.unique_ids)
    assert record.planned == planned.unique_ids
    assert record.is_success


def test_full_refresh(built: Product) -> None:
    built.write("dbt/seeds/numbers.csv", "id,n\n7,70\n")
    run(built)
    assert built.query("select count(*) from grown") == 4
    run(built, full_refresh=True)
    assert built.query("select count(*) from grown") == 1


def test_failed_runs_what_did_not_succeed(small: Product) -> None:
    break_model(small)
    run(small)
    mend_model(small)
    again = run(small, failed=True)
    assert statuses(again) == {"mid": "success", "positive": "pass"}
    assert again.is_success
    with pytest.raises(UsageError, match="nothing failed in the last run"):
        run(small, failed=True)


def test_failed_without_a_run(small: Product) -> None:
    with pytest.raises(UsageError, match="no run in environment `local` yet"):
        run(small, failed=True)


def test_a_selection_that_matches_nothing(small: Product) -> None:
    with pytest.raises(UsageError, match="`--select nope` matches nothing"):
        run(small, select=("nope",))
    assert read_records(small.layout, "local") == []


def test_an_unknown_transform(small: Product) -> None:
    with pytest.raises(UsageError, match="there is no transform `seconds`") as caught:
        run(small, transforms=("seconds",))
    assert caught.value.help == "Did you mean `second`?"


def test_tests_that_are_no_checks_run_alone(product: Product) -> None:
    record = run(product, select=("totals_match", "source:crm.customers"))
    assert set(statuses(record)) == {"source_not_null_crm_customers_id"} | {"totals_match"}
    assert statuses(record)["source_not_null_crm_customers_id"] == "pass"
    with open_instance(product.layout) as instance:
        found = instance.fetch_observations(dg.AssetKey(["crm", "customers"]), limit=1).records
        assert found[0].asset_observation.metadata["status"].value == "pass"


def test_two_projects_in_order(product: Product) -> None:
    record = run(product)
    assert record.is_success
    names = [node.name for node in record.nodes]
    assert names.index("contacts_clean") < names.index("raw_orders")
    assert {"revenue.v1", "revenue.v2", "orders_history", "totals_add_up"} <= set(names)
    assert len(names) == len(set(names)) == 26
    assert {node.unique_id for node in record.nodes} == set(record.planned)


def test_the_lock_names_its_holder(small: Product) -> None:
    script = (
        "import sys, time; from pathlib import Path; from floe_core.layout import Layout;"
        "from floe_dagster.lock import hold\n"
        "with hold(Layout(Path(sys.argv[1])), 'local', command='floe run --all'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(small.root)], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ProjectLockedError) as caught:
            execute(small.artifacts, root=small.root, lock_wait=0.2)
        other.kill()
    assert f"process {other.pid} (`floe run --all`, since 2" in str(caught.value)
    assert run(small, select=("numbers",)).is_success


RUN_SLOWLY = """
import sys
from pathlib import Path
from floe_core.artifacts import load_artifacts
from floe_dagster.execute import execute
from floe_dbt.engine import NodeStarted
root = Path(sys.argv[1])

def listener(event):
    if isinstance(event, NodeStarted) and event.name == "slow":
        print("slow", flush=True)

execute(load_artifacts(root / ".floe/artifacts.json"), root=root, listener=listener)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_run(slow: Product, number: signal.Signals) -> None:
    def interrupt_once_slow_runs(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.name == "slow":
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    result = execute(slow.artifacts, root=slow.root, listener=interrupt_once_slow_runs)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert result.status == "cancelled"
    [record] = read_records(slow.layout, "local")
    assert record == result
    found = statuses(record)
    assert (record.status, found["base"]) == ("cancelled", "success")
    assert found["slow"] == "cancelled"
    assert found.get("slower", "skipped") == "skipped"
    with open_instance(slow.layout) as instance:
        dagster_run = instance.get_run_by_id(record.run_id)
        assert dagster_run is not None
        assert dagster_run.status is dg.DagsterRunStatus.CANCELED
    again = plan(slow.artifacts, root=slow.root, request=RunRequest(failed=True))
    names = {node.name for unit in again.units for node in unit.nodes}
    assert {"slow", "slower"} <= names
    assert "base" not in names


@pytest.mark.integration
def test_a_killed_run_reads_as_crashed(slow: Product) -> None:
    command = [sys.executable, "-c", RUN_SLOWLY, str(slow.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "slow\n"
        assert [record.status for record in read_records(slow.layout, "local")] == ["running"]
        process.kill()
    assert [record.status for record in read_records(slow.layout, "local")] == ["crashed"]
    assert run(slow, select=("numbers",)).is_success


def test_secrets_are_nowhere(
    small: Product,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    with_secret: Callable[[CompiledArtifacts], None],
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", CANARY)
    with_secret(small.artifacts)
    profiles = small.layout.profiles_dir("local") / "profiles.yml"
    text = profiles.read_text().replace(
        "type: duckdb",
        "type: duckdb\n      config_options:"
        "\n        custom_user_agent: \"{{ env_var('DBT_ENV_SECRET_FLOE_PASSWORD') }}\"",
    )
    assert "SECRET" in text
    profiles.write_text(text)
    small.write("dbt/models/agent.sql", "select current_setting('custom_user_agent') as agent")
    artifacts = small.artifacts
    break_model(small)
    record = execute(artifacts, root=small.root)
    assert record.status == "failed"
    assert list(small.layout.folder.rglob("*.db"))
    printed = {"the streams": "".join(capfd.readouterr())}
    assert traces({"the password": CANARY}, [small.layout.folder], printed) == []


@pytest.fixture
def with_secret(monkeypatch: pytest.MonkeyPatch) -> Callable[[CompiledArtifacts], None]:
    def install(_artifacts: CompiledArtifacts) -> None:
        refs = {"DBT_ENV_SECRET_FLOE_PASSWORD": SecretRef(secret_ref="database/password")}
        monkeypatch.setattr(connection, "secret_refs", lambda _artifacts: refs)

    return install
