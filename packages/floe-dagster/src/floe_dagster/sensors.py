"""Sensors of the product: what starts a job by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from floe_core.dagster_names import valid_name
from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.floe import AssetSensor, FileSensor, RunStatusSensor, Sensor
from floe_dagster import translator
from floe_dagster.arrivals import fingerprint, look, read_seen
from floe_dagster.jobs import Job, Jobs

_STATUSES = {
    "success": dg.DagsterRunStatus.SUCCESS,
    "failure": dg.DagsterRunStatus.FAILURE,
    "canceled": dg.DagsterRunStatus.CANCELED,
}
_MOST_RUNS = 100
"""Most runs that one look of a run status sensor goes through."""


def sensors(
    artifacts: CompiledArtifacts, root: Path, jobs: Jobs, *, start: bool
) -> list[dg.SensorDefinition]:
    """Make the sensors of floe.yaml.

    Args:
        artifacts: The artifacts.
        root: Absolute project root, which the paths of file sensors are relative to.
        jobs: The jobs of the product.
        start: Whether enabled sensors run without being turned on in Dagster.

    Raises:
        ArtifactsError: if a sensor names a job that does not exist.
    """
    listed = artifacts.orchestration.sensors if artifacts.orchestration else ()
    return [_sensor(artifacts, root, sensor, jobs, start) for sensor in listed]


def _sensor(
    artifacts: CompiledArtifacts, root: Path, sensor: Sensor, jobs: Jobs, start: bool
) -> dg.SensorDefinition:
    watched = sensor.monitored_jobs if isinstance(sensor, RunStatusSensor) else ()
    for name in (sensor.job, *watched):
        if valid_name(name) not in jobs:
            raise ArtifactsError(
                f"sensor `{sensor.name}` names job `{name}`, which does not exist",
                help="Run `floe compile`.",
            )
    is_running = sensor.enabled and start
    shared: dict[str, Any] = {
        "name": valid_name(sensor.name),
        "job": jobs[valid_name(sensor.job)],
        "minimum_interval_seconds": sensor.interval_seconds,
        "default_status": (
            dg.DefaultSensorStatus.RUNNING if is_running else dg.DefaultSensorStatus.STOPPED
        ),
    }
    if isinstance(sensor, FileSensor):
        return _file_sensor(root, sensor, shared)
    if isinstance(sensor, AssetSensor):
        return _asset_sensor(sensor, shared)
    return _run_status_sensor(artifacts, sensor, [jobs[valid_name(n)] for n in watched], shared)


def _file_sensor(root: Path, sensor: FileSensor, shared: dict[str, Any]) -> dg.SensorDefinition:
    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        arrived, seen = look(root, sensor.path, read_seen(context.cursor), time.time())
        if not arrived:
            waiting = f"; still growing: {_listed(list(seen.growing))}" if seen.growing else ""
            skip = dg.SkipReason(f"no new file at {sensor.path}{waiting}")
            return dg.SensorResult(skip_reason=skip, cursor=seen.as_text())
        tags = {"floe/files": _listed(list(arrived))}
        request = dg.RunRequest(run_key=fingerprint(arrived), tags=tags)
        return dg.SensorResult([request], cursor=seen.as_text())

    return dg.SensorDefinition(
        evaluation_fn=evaluate, description=f"New or changed files at {sensor.path}.", **shared
    )


def _listed(paths: Sequence[str], most: int = 20) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more


def _asset_sensor(sensor: AssetSensor, shared: dict[str, Any]) -> dg.SensorDefinition:
    key = dg.AssetKey(sensor.asset.split("/"))

    def evaluate(
        context: dg.SensorEvaluationContext, event: dg.EventLogEntry
    ) -> dg.RunRequest | dg.SkipReason:
        # One run may materialize several partitions; what no run reports has no id.
        run_key = event.run_id or f"{event.timestamp}"
        return dg.RunRequest(run_key=run_key, tags={"floe/asset": sensor.asset})

    return dg.AssetSensorDefinition(
        asset_key=key,
        job_name=None,
        asset_materialization_fn=evaluate,
        description=f"Materializations of {sensor.asset}.",
        **shared,
    )


def _run_status_sensor(
    artifacts: CompiledArtifacts,
    sensor: RunStatusSensor,
    watched: Sequence[Job],
    shared: dict[str, Any],
) -> dg.SensorDefinition:
    """Watch runs of this product and environment, `floe run --job` included.

    Dagster's own run status sensor sees the runs that a code location launched, and no others.
    """
    find = partial(
        _ended,
        [job.name for job in watched],
        _STATUSES[sensor.status],
        {
            "floe/product": translator.tag_value(artifacts.product),
            "floe/environment": translator.tag_value(artifacts.environment),
        },
    )

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if context.cursor is None:
            skip = dg.SkipReason("runs that end from now on count")
            return dg.SensorResult(skip_reason=skip, cursor=_cursor(time.time(), []))
        after, known = json.loads(context.cursor)
        ended = [(at, run) for at, run in find(context.instance, after) if run.run_id not in known]
        if not ended:
            skip = dg.SkipReason(f"no {sensor.status} of {', '.join(sensor.monitored_jobs)}")
            return dg.SensorResult(skip_reason=skip, cursor=context.cursor)
        last = max(at for at, _ in ended)
        at_last = [run.run_id for at, run in ended if at == last]
        requests = [
            dg.RunRequest(
                run_key=run.run_id,
                tags={"floe/after_job": run.job_name, "floe/after_run": run.run_id},
            )
            for _, run in ended
        ]
        return dg.SensorResult(
            requests, cursor=_cursor(last, [*known, *at_last] if last == after else at_last)
        )

    names = ", ".join(sensor.monitored_jobs)
    return dg.SensorDefinition(
        evaluation_fn=evaluate, description=f"Each {sensor.status} of {names}.", **shared
    )


def _cursor(after: float, known: Sequence[str]) -> str:
    """The end of the last run that was seen, and the ids of the runs that ended just then."""
    return json.dumps([after, list(known)])


def _ended(
    names: Sequence[str],
    status: dg.DagsterRunStatus,
    tags: dict[str, str],
    instance: dg.DagsterInstance,
    after: float,
) -> list[tuple[float, dg.DagsterRun]]:
    """Runs that ended after a point of time, oldest first, with the time of their end."""
    found = [
        (record.end_time, record.dagster_run)
        for name in names
        for record in instance.get_run_records(
            filters=dg.RunsFilter(
                job_name=name,
                statuses=[status],
                tags=tags,
                updated_after=datetime.fromtimestamp(after - 1.0, UTC),
            ),
            limit=_MOST_RUNS,
            order_by="update_timestamp",
            ascending=True,
        )
        if record.end_time is not None and record.end_time >= after
    ]
    return sorted(found, key=lambda pair: (pair[0], pair[1].run_id))
