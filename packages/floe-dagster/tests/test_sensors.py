"""Jobs, and the schedules and sensors that start them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from floe_core.errors import ArtifactsError, UsageError
from floe_dagster.arrivals import QUIET_SECONDS, Seen, look, read_seen
from floe_dagster.definitions import build_definitions
from floe_dagster.execute import RunRequest, execute, plan
from floe_dagster.instance import open_instance

if TYPE_CHECKING:
    from conftest import Product

BY_HOUR = {
    "model.happenings.hourly",
    "model.happenings.totals",
    "test.happenings.not_null_totals_events",
    "test.happenings.unique_hourly_id",
}


def shortened(unique_ids: tuple[str, ...]) -> set[str]:
    """Unique ids without the hash that dbt gives tests."""
    return {name.rpartition(".")[0] if name.startswith("test.") else name for name in unique_ids}


def repository(product: Product, *, start: bool | None = None) -> dg.RepositoryDefinition:
    found = build_definitions(product.artifacts, root=product.root, start_schedules=start)
    return found.get_repository_def()


def age(path: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(path, (at, at))


class Daemon:
    """Evaluates one sensor again and again, as Dagster's daemon does."""

    def __init__(self, product: Product, name: str, instance: dg.DagsterInstance) -> None:
        self.cursor: str | None = None
        self.skipped: str | None = None
        self._sensor = repository(product).get_sensor_def(name)
        self._repository = repository(product)
        self._instance = instance

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            self._instance, cursor=self.cursor, repository_def=self._repository
        )
        data = self._sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.skipped = data.skip_message
        return list(data.run_requests or ())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_definitions(events_once: Product) -> None:
    found = repository(events_once)
    jobs = {job.name for job in found.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {"floe_run", "refresh", "load", "by_hour", "everything_job"}
    assert found.get_schedule_def("nightly").job_name == "refresh"
    assert found.get_schedule_def("everything").job_name == "everything_job"
    started = {sensor.name: sensor.job_name for sensor in found.sensor_defs}
    assert started == {
        "landed": "load",
        "arrived": "refresh",
        "repair": "by_hour",
        "unused": "load",
    }
    landed = found.get_sensor_def("landed")
    assert landed.minimum_interval_seconds == 30
    assert {sensor.default_status.value for sensor in found.sensor_defs} == {"STOPPED"}
    elsewhere = repository(events_once, start=True).sensor_defs
    running = {s.name for s in elsewhere if s.default_status is dg.DefaultSensorStatus.RUNNING}
    assert running == {"landed", "arrived", "repair"}


def test_a_job_runs_the_same_from_dagster_and_from_floe_run(events: Product) -> None:
    found = plan(events.artifacts, root=events.root, request=RunRequest(job="by-hour"))
    assert shortened(found.unique_ids) == BY_HOUR
    built = repository(events).get_job("by_hour")
    keys = {key.to_user_string() for key in built.asset_layer.executable_asset_keys}
    assert keys == {"hourly", "totals"}
    checks = {key.name for key in built.asset_layer.asset_graph.asset_check_keys
              if key.asset_key.to_user_string() in keys}  # fmt: skip
    assert checks == {"unique_hourly_id", "not_null_totals_events"}


def test_floe_run_of_a_job_is_a_run_of_that_job(events: Product) -> None:
    record = execute(events.artifacts, root=events.root, request=RunRequest(job="load"))
    assert record.is_success
    assert [node.name for node in record.nodes] == ["raw_events", "arrivals", "unique_arrivals_id"]
    assert record.selection["job"] == "load"
    with open_instance(events.layout) as found:
        [run] = found.get_runs()
        assert (run.job_name, run.tags["floe/job"]) == ("load", "load")


def test_an_unknown_job(events_once: Product) -> None:
    with pytest.raises(UsageError) as caught:
        plan(events_once.artifacts, root=events_once.root, request=RunRequest(job="by_hour"))
    assert caught.value.message == "there is no job `by_hour`; there are: by-hour, load, refresh"
    assert caught.value.help == "Did you mean `by-hour`?"


def test_artifacts_without_the_nodes_of_a_selection(events_once: Product) -> None:
    artifacts = events_once.artifacts
    assert artifacts.orchestration is not None
    jobs = tuple(job.model_copy(update={"nodes": None}) for job in artifacts.orchestration.jobs)
    orchestration = artifacts.orchestration.model_copy(update={"jobs": jobs})
    artifacts = artifacts.model_copy(update={"orchestration": orchestration})
    with pytest.raises(ArtifactsError, match="do not say which nodes job `by-hour` selects"):
        build_definitions(artifacts, root=events_once.root)


def test_files_that_arrive(events: Product, instance: dg.DagsterInstance) -> None:
    landed = Daemon(events, "landed", instance)
    assert landed.tick() == []
    assert landed.skipped == "no new file at in/**/*.csv"
    for name in ("in/a.csv", "in/deep/b.csv", "in/c.txt"):
        events.write(name, "x")
        age(events.root / name, 60)
    [request] = landed.tick()
    assert request.tags == {
        "dagster/sensor_name": "landed",
        "floe/files": "in/a.csv, in/deep/b.csv",
    }
    assert landed.tick() == []

    events.write("in/a.csv", "x, and more")
    age(events.root / "in/a.csv", 30)
    restarted = Daemon(events, "landed", instance)
    restarted.cursor = landed.cursor
    [changed] = restarted.tick()
    assert changed.tags["floe/files"] == "in/a.csv"
    assert changed.run_key != request.run_key
    assert restarted.tick() == []


def test_the_run_that_a_file_starts(events: Product, instance: dg.DagsterInstance) -> None:
    events.write("in/a.csv", "x")
    age(events.root / "in/a.csv", 60)
    [request] = Daemon(events, "landed", instance).tick()
    job = repository(events).get_job("load")
    assert job.execute_in_process(instance=instance, tags=request.tags).success
    assert events.query("select count(*) from arrivals") == 5
    [run] = instance.get_runs()
    assert run.tags["floe/files"] == "in/a.csv"
    assert run.tags["floe/product"] == "events"


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")
    written = int(path.stat().st_mtime)  # whole seconds, which a file system keeps as they are
    os.utime(path, (written, written))
    arrived, seen = look(tmp_path, "*.csv", Seen(), written + 1)
    assert (arrived, list(seen.growing)) == ({}, ["a.csv"])

    path.write_text("xy")
    os.utime(path, (written + 2, written + 2))
    arrived, seen = look(tmp_path, "*.csv", read_seen(seen.as_text()), written + 3)
    assert arrived == {}

    as_before, _ = look(tmp_path, "*.csv", read_seen(seen.as_text()), written + 4)
    assert list(as_before) == ["a.csv"]
    quiet, _ = look(tmp_path, "*.csv", Seen(), written + 2 + QUIET_SECONDS)
    assert list(quiet) == ["a.csv"]


def test_an_absolute_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")
    age(path, 60)
    arrived, _ = look(Path("/"), str(tmp_path / "*.csv"), Seen(), time.time())
    assert list(arrived) == [str(path)]


def test_a_file_that_goes_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")
    age(path, 60)
    _, seen = look(tmp_path, "*.csv", Seen(), time.time())
    path.unlink()
    arrived, seen = look(tmp_path, "*.csv", seen, time.time())
    assert (arrived, seen) == ({}, Seen())


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", '{"arrived": {"a": 1}}'])
def test_a_cursor_of_something_else(text: str | None) -> None:
    assert read_seen(text) == Seen()


def test_an_asset_that_is_materialized(events: Product, instance: dg.DagsterInstance) -> None:
    arrived = Daemon(events, "arrived", instance)
    assert arrived.tick() == []
    loaded = repository(events).get_job("load").execute_in_process(instance=instance)
    [request] = arrived.tick()
    assert request.run_key == loaded.run_id
    assert request.tags == {"dagster/sensor_name": "arrived", "floe/asset": "arrivals"}
    assert arrived.tick() == []


def test_an_asset_of_another_product(events: Product, instance: dg.DagsterInstance) -> None:
    unused = Daemon(events, "unused", instance)
    assert unused.tick() == []
    instance.report_runless_asset_event(dg.AssetMaterialization(["raw", "events"]))
    [request] = unused.tick()
    assert request.tags["floe/asset"] == "raw/events"
    assert unused.tick() == []


@pytest.mark.integration
def test_a_job_that_fails(events: Product) -> None:
    """Runs of `floe run` count, those of other products and outcomes do not."""
    with open_instance(events.layout) as instance:
        repair = Daemon(events, "repair", instance)
        assert repair.tick() == []
        assert repair.skipped == "runs that end from now on count"

        failed = execute(events.artifacts, root=events.root, request=RunRequest(job="refresh"))
        assert failed.status == "failed"  # there are no arrivals yet
        execute(events.artifacts, root=events.root, request=RunRequest(job="load"))
        [request] = repair.tick()
        assert request.run_key == failed.run_id
        assert request.tags == {
            "dagster/sensor_name": "repair",
            "floe/after_job": "refresh",
            "floe/after_run": failed.run_id,
        }
        assert repair.tick() == []
        instance.add_run_tags(failed.run_id, {"seen": "yes"})
        assert repair.tick() == []
        assert repair.skipped == "no failure of refresh"
