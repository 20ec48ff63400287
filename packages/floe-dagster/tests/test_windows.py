"""Microbatch models: windows of event time, on the command line and as partitions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from floe_core.errors import UsageError
from floe_dagster.definitions import build_definitions
from floe_dagster.execute import RunRequest, execute
from floe_dagster.instance import open_instance
from floe_dagster.partitions import partitions_of
from floe_dagster.windows import parse_window
from floe_dbt.engine import Window

if TYPE_CHECKING:
    from conftest import Product

ROWS = "select list(id order by id) from daily"


def window(start: str, end: str) -> Window:
    found = parse_window(start, end)
    assert found is not None
    return found


def launch(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *names: str, **options: Any
) -> dg.ExecuteInProcessResult:
    """Launch assets as Dagster's web page does."""
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetKey(name) for name in names}
    return job.get_subset(asset_selection=keys).execute_in_process(instance=instance, **options)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-01-01", "2024-01-08", ((2024, 1, 1), (2024, 1, 8))),
        ("2024-01-01T06:00", "2024-01-01T07:30:00", ((2024, 1, 1, 6), (2024, 1, 1, 7, 30))),
        ("2024-01-01T06:00:00+02:00", "2024-01-02", ((2024, 1, 1, 4), (2024, 1, 2))),
    ],
)
def test_window(start: str, end: str, expected: tuple[Any, Any]) -> None:
    first, last = (datetime(*parts).replace(tzinfo=UTC) for parts in expected)
    assert parse_window(start, end) == Window(first, last)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-01-01", None, "--event-time-start needs --event-time-end as well"),
        (None, "2024-01-01", "--event-time-end needs --event-time-start as well"),
        ("2024-02-30", "2024-03-01", "--event-time-start `2024-02-30` is not a date or time"),
        ("yesterday", "2024-03-01", "--event-time-start `yesterday` is not a date or time"),
        ("2024-01-01", "2024-01-01", "--event-time-start 2024-01-01 is not before "
         "--event-time-end 2024-01-01"),
    ],
)  # fmt: skip
def test_no_window(start: str | None, end: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_window(start, end)
    assert caught.value.message == message


def test_a_run_with_a_window_builds_that_window_alone(events: Product) -> None:
    def run(start: str, end: str) -> None:
        select = ("+daily",)
        request = RunRequest(select=select, window=window(start, end))
        assert execute(events.artifacts, root=events.root, request=request).is_success

    run("2024-01-02", "2024-01-04")
    assert events.query(ROWS) == [3, 4]
    before = events.query("select max(built_at) from daily")
    run("2024-01-01", "2024-01-02")
    assert events.query(ROWS) == [1, 2, 3, 4]
    assert events.query("select list(id order by id) from daily where built_at <= "
                        f"'{before}'::timestamptz") == [3, 4]  # fmt: skip
    with open_instance(events.layout) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("daily")) == {
            "2024-01-01",
            "2024-01-02",
            "2024-01-03",
        }
        event = instance.get_latest_materialization_event(dg.AssetKey("daily"))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert metadata["floe/event_time_start"].value == "2024-01-01T00:00:00+00:00"
        assert metadata["floe/event_time_end"].value == "2024-01-02T00:00:00+00:00"
        assert metadata["floe/batches"].value == 1


def test_a_window_without_a_microbatch_model(events: Product) -> None:
    request = RunRequest(select=("arrivals",), window=window("2024-01-01", "2024-01-02"))
    with pytest.raises(UsageError, match="are for microbatch models, and this run has none"):
        execute(events.artifacts, root=events.root, request=request)


def test_partitions_are_the_batches_of_dbt(events_once: Product) -> None:
    nodes = events_once.units["happenings"].index.nodes
    found = {name: partitions_of(nodes[f"model.happenings.{name}"]) for name in
             ("arrivals", "daily", "hourly", "monthly", "yearly")}  # fmt: skip
    assert found.pop("arrivals") is None
    now = datetime(2024, 1, 2, 7, 30, tzinfo=UTC)
    keys = {name: definition.get_partition_keys(now) for name, definition in found.items()
            if definition is not None}  # fmt: skip
    assert keys["daily"] == ["2024-01-01", "2024-01-02"]
    assert (keys["hourly"][0], keys["hourly"][-1]) == ("2024-01-01T05", "2024-01-02T07")
    assert keys["monthly"] == ["2023-11", "2023-12", "2024-01"]
    assert keys["yearly"] == ["2022", "2023", "2024"]


def test_a_launch_of_a_partition_builds_its_window(events: Product) -> None:
    definitions = build_definitions(events.artifacts, root=events.root)
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch(definitions, instance, "raw_events", "arrivals").success
        result = launch(definitions, instance, "daily", partition_key="2024-01-02")
        assert result.success
        assert len(result.get_asset_check_evaluations()) == 2
        assert events.query(ROWS) == [3]
        [event] = result.asset_materializations_for_node("happenings")
        assert event.partition == "2024-01-02"
        assert event.metadata["floe/event_time_start"].value == "2024-01-02T00:00:00+00:00"

        hour = launch(definitions, instance, "hourly", partition_key="2024-01-03T06")
        assert hour.success
        assert events.query("select list(id) from hourly") == [4]


def test_a_backfill_of_a_range_is_one_build(events: Product) -> None:
    definitions = build_definitions(events.artifacts, root=events.root)
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch(definitions, instance, "raw_events", "arrivals").success
        tags = {
            "dagster/asset_partition_range_start": "2024-01-02",
            "dagster/asset_partition_range_end": "2024-01-04",
        }
        assert launch(definitions, instance, "daily", tags=tags).success
        assert events.query(ROWS) == [3, 4, 5]
        assert instance.get_materialized_partitions(dg.AssetKey("daily")) == {
            "2024-01-02",
            "2024-01-03",
            "2024-01-04",
        }


def test_launch_configuration(events: Product) -> None:
    definitions = build_definitions(events.artifacts, root=events.root)
    config = {"event_time_start": "2024-01-03", "event_time_end": "2024-01-04"}
    run_config = {"ops": {"happenings": {"config": config}}}
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch(definitions, instance, "raw_events", "arrivals").success
        job = definitions.resolve_job_def("floe_run")
        keys = {dg.AssetKey("daily")}
        job = job.get_subset(asset_selection=keys)
        assert job.execute_in_process(instance=instance, run_config=run_config).success
        assert events.query(ROWS) == [4]
        broken = {"ops": {"happenings": {"config": {"event_time_start": "2024-01-03"}}}}
        result = job.execute_in_process(instance=instance, run_config=broken, raise_on_error=False)
        assert not result.success
        result = launch(
            definitions, instance, "daily", partition_key="2024-01-02", run_config=run_config,
            raise_on_error=False,
        )  # fmt: skip
        assert not result.success
        assert events.query(ROWS) == [4]


@pytest.mark.integration
def test_a_job_over_models_with_different_batches(events: Product) -> None:
    """A schedule or sensor starts it without a partition, and dbt decides what is due."""
    definitions = build_definitions(events.artifacts, root=events.root)
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch(definitions, instance, "raw_events", "arrivals").success
        config = {"event_time_start": "2024-01-01", "event_time_end": "2024-01-05"}
        result = definitions.resolve_job_def("refresh").execute_in_process(
            instance=instance, run_config={"ops": {"happenings": {"config": config}}}
        )
        assert result.success
        assert events.query("select list(events order by events) from totals") == [5, 5]
        assert len(result.get_asset_check_evaluations()) == 4
        assert instance.get_materialized_partitions(dg.AssetKey("monthly")) == {"2024-01"}
        later = definitions.resolve_job_def("by_hour").get_subset(
            asset_selection={dg.AssetKey("daily"), dg.AssetKey("totals")}
        )
        assert later.execute_in_process(instance=instance).success
        assert events.query(ROWS) == [1, 2, 3, 4, 5]
