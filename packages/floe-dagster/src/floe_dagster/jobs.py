"""Jobs: what runs together, whoever starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from floe_core.dagster_names import RUN_JOB, schedule_job_name, valid_name
from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledJob
from floe_core.schemas.floe import Schedule
from floe_dagster import translator
from floe_dagster.units import Unit

Job = UnresolvedAssetJobDefinition | dg.JobDefinition
Jobs = Mapping[str, Job]
"""Jobs by their names in Dagster."""


def define_jobs(artifacts: CompiledArtifacts, units: Sequence[Unit]) -> Jobs:
    """Make the job of everything, the jobs of floe.yaml, and one for each schedule without a job.

    Raises:
        ArtifactsError: if two jobs have one name in Dagster, or one runs what does not exist.
    """
    jobs = {RUN_JOB: run_job(artifacts, units)}
    subjects = {RUN_JOB: "floe's own job"}
    for name, subject, tags, keys in _described(artifacts, units):
        other = subjects.setdefault(name, subject)
        if name in jobs:
            raise ArtifactsError(
                f"{other} and {subject} have the same name in Dagster",
                help="Rename one of them in floe.yaml.",
            )
        jobs[name] = _job(artifacts, name, f"What {subject} builds.", tags, keys)
    return jobs


def run_job(
    artifacts: CompiledArtifacts, units: Sequence[Unit], name: str | None = None
) -> UnresolvedAssetJobDefinition:
    """Make the job that builds all of the units.

    Args:
        artifacts: The artifacts.
        units: The units.
        name: Job of floe.yaml that it runs as; none when None.
    """
    keys = [translator.asset_key(node) for unit in units for node in unit.assets]
    description = f"Everything that {artifacts.product} builds."
    return _job(
        artifacts,
        RUN_JOB if name is None else valid_name(name),
        description,
        {} if name is None else _job_tags(name),
        keys,
    )


def _job_tags(name: str) -> dict[str, str]:
    return {"floe/job": translator.tag_value(name)}


_Described = tuple[str, str, Mapping[str, str], list[dg.AssetKey]]


def _described(artifacts: CompiledArtifacts, units: Sequence[Unit]) -> Iterator[_Described]:
    """Name in Dagster, what it is in floe.yaml, tags and assets of each job."""
    orchestration = artifacts.orchestration
    for job in orchestration.jobs if orchestration else ():
        keys = _keys(units, nodes_of_job(job, units))
        yield valid_name(job.name), f"job `{job.name}`", _job_tags(job.name), keys
    for schedule in orchestration.schedules if orchestration else ():
        if schedule.job is None:
            keys = _keys(units, _nodes_of_schedule(schedule, units))
            yield schedule_job_name(schedule.name), f"schedule `{schedule.name}`", {}, keys


Chosen = Mapping[str, frozenset[str]]
"""Unique ids of chosen nodes, by the name of the unit."""


def nodes_of_job(job: CompiledJob, units: Sequence[Unit]) -> Chosen:
    """The claimed nodes that a job builds.

    Raises:
        ArtifactsError: if its transforms do not exist, or its selection was never resolved.
    """
    if job.select is None:
        return _nodes_of_transforms(f"job `{job.name}`", job.transforms, units)
    if job.nodes is None:
        raise ArtifactsError(
            f"the artifacts do not say which nodes job `{job.name}` selects",
            help="Run `floe compile`.",
        )
    selected = frozenset(job.nodes)
    return {unit.name: selected.intersection(unit.transform_of) for unit in units}


def _nodes_of_schedule(schedule: Schedule, units: Sequence[Unit]) -> Chosen:
    if not schedule.transforms:
        return {unit.name: frozenset(unit.transform_of) for unit in units}
    return _nodes_of_transforms(f"schedule `{schedule.name}`", schedule.transforms, units)


def _nodes_of_transforms(subject: str, transforms: Sequence[str], units: Sequence[Unit]) -> Chosen:
    known = {transform for unit in units for transform in unit.transforms}
    for transform in transforms:
        if transform not in known:
            raise ArtifactsError(
                f"{subject} names transform `{transform}`, which does not exist",
                help="Run `floe compile`.",
            )
    return {
        unit.name: frozenset(
            node for node, transform in unit.transform_of.items() if transform in transforms
        )
        for unit in units
    }


def _keys(units: Sequence[Unit], chosen: Chosen) -> list[dg.AssetKey]:
    return [
        translator.asset_key(node)
        for unit in units
        for node in unit.assets
        if node.unique_id in chosen[unit.name]
    ]


def _job(
    artifacts: CompiledArtifacts,
    name: str,
    description: str,
    tags: Mapping[str, str],
    keys: list[dg.AssetKey],
) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*keys),
        description=description,
        tags={**translator.run_tags(artifacts), **tags},
    )
