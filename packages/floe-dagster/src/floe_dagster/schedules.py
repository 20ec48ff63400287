"""Schedules of the product."""

from __future__ import annotations

import dagster as dg

from floe_core.dagster_names import schedule_job_name, valid_name
from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.floe import Schedule
from floe_dagster import translator
from floe_dagster.jobs import Jobs


def schedules(
    artifacts: CompiledArtifacts, jobs: Jobs, *, start: bool
) -> list[dg.ScheduleDefinition]:
    """Make the schedules of floe.yaml.

    Args:
        artifacts: The artifacts.
        jobs: The jobs of the product.
        start: Whether enabled schedules run without being turned on in Dagster.

    Raises:
        ArtifactsError: if a schedule names a job that does not exist.
    """
    listed = artifacts.orchestration.schedules if artifacts.orchestration else ()
    return [_schedule(schedule, jobs, start) for schedule in listed]


def _schedule(schedule: Schedule, jobs: Jobs, start: bool) -> dg.ScheduleDefinition:
    own = schedule_job_name(schedule.name) if schedule.job is None else valid_name(schedule.job)
    if own not in jobs:
        raise ArtifactsError(
            f"schedule `{schedule.name}` names job `{schedule.job}`, which does not exist",
            help="Run `floe compile`.",
        )
    is_running = schedule.enabled and start
    return dg.ScheduleDefinition(
        name=valid_name(schedule.name),
        job=jobs[own],
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        tags={"floe/schedule": translator.tag_value(schedule.name)},
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if is_running else dg.DefaultScheduleStatus.STOPPED
        ),
    )
