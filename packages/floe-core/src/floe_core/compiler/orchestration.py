"""The jobs, schedules and sensors of floe.yaml: whether they fit together, and what they run."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from floe_core.asset_selection import is_selected
from floe_core.compiler.load import Loaded
from floe_core.compiler.transforms import (
    PlacedTransform,
    check_unique,
    is_stood_in,
    transform_names,
    unknown_name,
)
from floe_core.compiler.validation import is_left_out
from floe_core.dagster_names import RUN_JOB, schedule_job_name, valid_name
from floe_core.diagnostics import FieldPath, Report, did_you_mean, near_miss
from floe_core.errors import UsageError
from floe_core.index import BUILDABLE, Node
from floe_core.plugins import Inspection
from floe_core.schemas.floe import AssetSensor, FloeSpec, RunStatusSensor, Sensor
from floe_core.source import Source

_DAGSTER_WORDS = frozenset(
    {
        *("arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "int"),
        *("input_arg_dict", "meta", "output", "output_arg_dict", "str", "type"),
        *keyword.kwlist,
    }
)
"""Names that Dagster refuses for whatever it runs."""

_SELECT_OR_NAME = "select the transform by its name alone, and add the others to the selection"

_Named = tuple[FieldPath, str, str]
"""Where a name is written, the name, and the name in Dagster."""


def check_orchestration(
    loaded: Loaded, floe: FloeSpec, placed: Sequence[PlacedTransform], report: Report
) -> None:
    """Check names, and what refers to transforms and jobs by name."""
    source = loaded.floe_source
    _check_transforms(source, floe, transform_names(source, floe, placed), report)
    _check_jobs(source, floe, report)
    for section in ("schedules", "jobs", "sensors"):
        named = enumerate(item.name for item in getattr(floe, section))
        check_unique(source, section, named, report)
    _check_names(source, list(_jobs_in_dagster(floe)), report)
    _check_names(source, list(_instigators(floe)), report)
    _check_circles(source, floe, {}, report)


def _check_transforms(
    source: Source, floe: FloeSpec, names: Collection[str] | None, report: Report
) -> None:
    named = {
        "schedules": [schedule.transforms for schedule in floe.schedules],
        "jobs": [job.transforms for job in floe.jobs],
    }
    for section, lists in named.items():
        for number, transforms in enumerate(lists):
            for position, name in enumerate(transforms):
                at = (section, number, "transforms", position)
                if names is not None and name not in names:
                    report.add(unknown_name(source, "FLOE-R009", at, name, names))


def _check_jobs(source: Source, floe: FloeSpec, report: Report) -> None:
    jobs = [job.name for job in floe.jobs]
    is_complete = not is_left_out(source, ("jobs",)) and not any(
        is_stood_in(source, ("jobs", number), job) for number, job in enumerate(jobs)
    )
    for at, name in _references(floe):
        if name not in jobs and is_complete:
            report.add(
                source.diagnostic(
                    "FLOE-R010",
                    at,
                    f"there is no job named `{name}`",
                    help=did_you_mean(name, jobs, "jobs"),
                )
            )


def _references(floe: FloeSpec) -> Iterator[tuple[FieldPath, str]]:
    """Names of jobs that schedules and sensors refer to, and where."""
    for number, schedule in enumerate(floe.schedules):
        if schedule.job is not None:
            yield ("schedules", number, "job"), schedule.job
    for number, sensor in enumerate(floe.sensors):
        if isinstance(sensor, RunStatusSensor):
            for position, name in enumerate(sensor.monitored_jobs):
                yield ("sensors", number, "monitored_jobs", position), name
        yield ("sensors", number, "job"), sensor.job


def _jobs_in_dagster(floe: FloeSpec) -> Iterator[_Named]:
    """The jobs, with those of schedules that name no job of their own."""
    for number, job in enumerate(floe.jobs):
        yield ("jobs", number, "name"), job.name, valid_name(job.name)
    for number, schedule in enumerate(floe.schedules):
        if schedule.job is None:
            at: FieldPath = ("schedules", number, "name")
            yield at, schedule.name, schedule_job_name(schedule.name)


def _instigators(floe: FloeSpec) -> Iterator[_Named]:
    """Schedules and sensors, whose names Dagster keeps in one register."""
    for section in ("schedules", "sensors"):
        for number, item in enumerate(getattr(floe, section)):
            yield (section, number, "name"), item.name, valid_name(item.name)


def _check_names(source: Source, named: Sequence[_Named], report: Report) -> None:
    """Refuse names that Dagster, or floe itself, needs for something else."""
    first: dict[str, _Named] = {}
    for at, name, in_dagster in named:
        if in_dagster in _DAGSTER_WORDS or in_dagster == RUN_JOB or in_dagster.startswith("__"):
            owner = "floe" if in_dagster == RUN_JOB else "Dagster"
            message = f"`{name}` is a name that {owner} keeps for itself"
            report.add(source.diagnostic("FLOE-O001", at, message, help="choose another name"))
        other_at, other, _ = first.setdefault(in_dagster, (at, name, in_dagster))
        if other_at == at or (other == name and other_at[0] == at[0]):
            continue
        item = f"`{other_at[0]}[{other_at[1]}]`"
        message = f"`{name}` and `{other}` of {item} would both be `{in_dagster}` in Dagster"
        if other == name:
            message = f"`{name}` is the name of {item} already, and Dagster knows both by name"
        report.add(source.diagnostic("FLOE-O001", at, message, help="rename one of them"))


def selections(loaded: Loaded, floe: FloeSpec) -> tuple[str, ...]:
    """Selections of the jobs that have one, once each."""
    found = [
        job.select
        for number, job in enumerate(floe.jobs)
        if job.select is not None and not is_left_out(loaded.floe_source, ("jobs", number))
    ]
    return tuple(dict.fromkeys(found))


def resolve_jobs(
    loaded: Loaded,
    floe: FloeSpec,
    inspections: Sequence[Inspection],
    assets: Sequence[Node],
    claims: Mapping[str, Iterable[str]],
    report: Report,
) -> dict[str, tuple[str, ...]]:
    """Find the nodes that the selections of jobs stand for, and check what needs to know nodes.

    Args:
        loaded: The files.
        floe: The spec of floe.yaml.
        inspections: What is in the dbt projects.
        assets: The nodes of transforms that are not dbt's.
        claims: Unique ids of the nodes of each transform, by its name.
        report: Where mistakes go.

    Returns:
        Unique ids of the claimed nodes that a job selects, sorted, by the name of the job.
    """
    source = loaded.floe_source
    claimed = set().union(*claims.values())
    nodes = [*_nodes(inspections, BUILDABLE), *assets]
    found: dict[str, tuple[str, ...]] = {}
    for number, job in enumerate(floe.jobs):
        if job.select is None or is_left_out(source, ("jobs", number)):
            continue
        at: FieldPath = ("jobs", number, "select")
        refused = [i.refused[job.select] for i in inspections if job.select in i.refused]
        selected = {node for i in inspections for node in i.selected.get(job.select, ())}
        beyond = _selected_assets(source, at, job.select, assets, report)
        found[job.name] = tuple(sorted((selected & claimed) | (beyond or set())))
        if refused:
            message = f"`{job.select}` is not a selection that dbt knows: {refused[0]}"
            help: str | None = "see https://docs.getdbt.com/reference/node-selection/syntax"
            report.add(source.diagnostic("FLOE-O003", at, message, help=help))
        elif beyond is not None and not found[job.name]:
            message = f"`{job.select}` selects nothing that a transform builds"
            help = _nearest_node(job.select, nodes)
            report.add(source.diagnostic("FLOE-O003", at, message, help=help))
    _check_build_names(source, floe, inspections, assets, report)
    _check_assets(source, floe, [*nodes, *_nodes(inspections, {"source"})], report)
    _check_circles(source, floe, _built(floe, nodes, claims, found), report)
    return found


def _nodes(inspections: Sequence[Inspection], kinds: Collection[str]) -> Iterator[Node]:
    for inspection in inspections:
        nodes = inspection.index.nodes.values() if inspection.index else ()
        yield from (node for node in nodes if node.resource_type in kinds)


def _selected_assets(
    source: Source, at: FieldPath, select: str, assets: Sequence[Node], report: Report
) -> set[str] | None:
    """Unique ids of transforms that are not dbt's in a selection; None when it is refused."""
    try:
        return {node.unique_id for node in assets if is_selected(node, [select], [])}
    except UsageError as problem:
        report.add(source.diagnostic("FLOE-O003", at, problem.message, help=_SELECT_OR_NAME))
        return None


def _nearest_node(select: str, nodes: Iterable[Node]) -> str | None:
    nearest = near_miss(select.strip("+@*"), {node.name for node in nodes})
    return f"did you mean `{nearest}`?" if nearest is not None else None


def _check_build_names(
    source: Source,
    floe: FloeSpec,
    inspections: Sequence[Inspection],
    assets: Sequence[Node],
    report: Report,
) -> None:
    """Refuse a job named like a dbt project or a transform that Dagster knows a build by."""
    builds = {valid_name(node.name): f"transform `{node.name}`" for node in assets}
    for inspection in inspections:
        if inspection.index:
            name = inspection.index.name
            builds[valid_name(name)] = f"dbt project `{name}`"
    for at, name, in_dagster in _jobs_in_dagster(floe):
        if in_dagster in builds:
            message = f"`{in_dagster}` is the name of {builds[in_dagster]} in Dagster, and cannot "
            message += "be that of a job"
            help = f"call it `{name}_all`, say"
            report.add(source.diagnostic("FLOE-O001", at, message, help=help))


def _check_assets(source: Source, floe: FloeSpec, nodes: Iterable[Node], report: Report) -> None:
    known = {"/".join(node.asset_key) for node in nodes}
    for number, sensor in enumerate(floe.sensors):
        if isinstance(sensor, AssetSensor) and sensor.asset not in known:
            nearest = near_miss(sensor.asset, known)
            report.add(
                source.diagnostic(
                    "FLOE-O004",
                    ("sensors", number, "asset"),
                    f"no asset of this product has the key `{sensor.asset}`; the sensor waits for "
                    "another code location to materialize it",
                    help=f"did you mean `{nearest}`?"
                    if nearest
                    else "an asset of another product is best declared as a dbt source",
                    severity="warning",
                )
            )


_Built = Mapping[str, frozenset[str]]
"""Keys of the assets that each job builds, parts joined by `/`, by the name of the job."""


def _built(
    floe: FloeSpec,
    nodes: Iterable[Node],
    claims: Mapping[str, Iterable[str]],
    selected: Mapping[str, Iterable[str]],
) -> _Built:
    keys = {node.unique_id: "/".join(node.asset_key) for node in nodes}
    built = {}
    for job in floe.jobs:
        chosen = set(selected.get(job.name, ()))
        chosen.update(node for name in job.transforms for node in claims.get(name, ()))
        built[job.name] = frozenset(keys[node] for node in chosen if node in keys)
    return built


def _check_circles(source: Source, floe: FloeSpec, built: _Built, report: Report) -> None:
    """Refuse sensors that start jobs in a circle, which would never end."""
    if any(diagnostic.code == "FLOE-O002" for diagnostic in report.diagnostics):
        return
    starters: dict[tuple[str, str], int] = {}
    for number, sensor in enumerate(floe.sensors):
        for watched in _watched(sensor, built):
            starters.setdefault((watched, sensor.job), number)
    graph: dict[str, list[str]] = {}
    for watched, started in starters:
        graph.setdefault(started, []).append(watched)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        steps = list(pairwise(problem.args[1]))
        first = min(range(len(steps)), key=lambda step: starters[steps[step]])
        steps = [*steps[first:], *steps[:first]]
        number = starters[steps[0]]
        circle = [watched for watched, _ in (*steps, steps[0])]
        message = f"jobs start each other in a circle: {' -> '.join(circle)}"
        if len(steps) == 1:
            message = f"job `{circle[0]}` would start itself, again and again"
        at = ("sensors", number, "job")
        help = "remove one of these sensors, or let it start another job"
        report.add(source.diagnostic("FLOE-O002", at, message, help=help))


def _watched(sensor: Sensor, built: _Built) -> Iterator[str]:
    """Names of the jobs whose runs make a sensor start its job."""
    if isinstance(sensor, RunStatusSensor):
        yield from sensor.monitored_jobs
    elif isinstance(sensor, AssetSensor):
        yield from (job for job, keys in built.items() if sensor.asset in keys)
