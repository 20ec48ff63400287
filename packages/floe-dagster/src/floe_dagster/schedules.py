"""Jobs and schedules of the product."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.floe import Schedule
from floe_dagster import translator
from floe_dagster.units import Unit, valid_name

RUN_JOB = "floe_run"
"""The job of everything that the product builds; `floe run` executes it."""


def run_job(artifacts: CompiledArtifacts, units: Sequence[Unit]) -> UnresolvedAssetJobDefinition:
    """Make the job that builds all transforms of the product."""
    return dg.define_asset_job(
        RUN_JOB,
        selection=_selection(units, None),
        description=f"Everything that {artifacts.product} builds.",
        tags=translator.run_tags(artifacts),
    )


def schedules(
    artifacts: CompiledArtifacts, units: Sequence[Unit], *, start: bool
) -> list[dg.ScheduleDefinition]:
    """Make the schedules of floe.yaml, each with a job over the assets of its transforms.

    Args:
        artifacts: The artifacts.
        units: The units of the product.
        start: Whether enabled schedules run without being turned on in Dagster.

    Raises:
        ArtifactsError: if two schedules have one name in Dagster, or one names no transform.
    """
    listed = artifacts.orchestration.schedules if artifacts.orchestration else ()
    names: dict[str, Schedule] = {}
    for schedule in listed:
        other = names.setdefault(valid_name(schedule.name), schedule)
        if other is not schedule:
            raise ArtifactsError(
                f"schedules `{other.name}` and `{schedule.name}` have the same name in Dagster",
                help="Rename one of them in floe.yaml.",
            )
    return [_schedule(artifacts, units, name, names[name], start) for name in names]


def _schedule(
    artifacts: CompiledArtifacts, units: Sequence[Unit], name: str, schedule: Schedule, start: bool
) -> dg.ScheduleDefinition:
    tags = {**translator.run_tags(artifacts), "floe/schedule": translator.tag_value(schedule.name)}
    known = {transform for unit in units for transform in unit.transforms}
    for transform in schedule.transforms:
        if transform not in known:
            raise ArtifactsError(
                f"schedule `{schedule.name}` names transform `{transform}`, which does not exist",
                help="Run `floe compile`.",
            )
    job = dg.define_asset_job(
        f"{name}_job",
        selection=_selection(units, frozenset(schedule.transforms) or None),
        description=f"What schedule {schedule.name} builds.",
        tags=tags,
    )
    is_running = schedule.enabled and start
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if is_running else dg.DefaultScheduleStatus.STOPPED
        ),
    )


def _selection(units: Sequence[Unit], transforms: frozenset[str] | None) -> dg.AssetSelection:
    keys = [
        translator.asset_key(node)
        for unit in units
        for node in unit.assets
        if transforms is None or unit.transform_of[node.unique_id] in transforms
    ]
    return dg.AssetSelection.assets(*keys)
