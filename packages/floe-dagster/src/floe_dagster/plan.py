"""What a run builds, decided before it starts; a dry run shows it and a run executes it.

Importing this module does not import Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floe_core.asset_selection import is_selected
from floe_core.diagnostics import near_miss
from floe_core.errors import UsageError
from floe_core.index import Node, ProjectIndex
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.connection import invocation, secrets_or_placeholders
from floe_dagster.records import RunRecord, read_records
from floe_dagster.units import Unit, resolve_units
from floe_dbt.engine import FAILED, DbtEngine, DbtError, Selection, Window


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a user asks to run; everything when empty.

    Attributes:
        select: dbt selections; their union is taken.
        exclude: dbt selections to leave out.
        transforms: Names of transforms to run; what they select is narrowed further by `select`.
        failed: Only what failed, was skipped or had no turn in the last run.
        full_refresh: Rebuild incremental models and seeds from nothing.
        threads: Number of dbt threads; the profile's when None.
        job: Name of the job of floe.yaml to run; what it selects is narrowed further by the others.
        window: What microbatch models process; dbt decides when None.
    """

    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()
    failed: bool = False
    full_refresh: bool = False
    threads: int | None = None
    job: str | None = None
    window: Window | None = None

    def as_document(self) -> dict[str, Any]:
        """The request as it is kept in the run's record."""
        return {
            "select": list(self.select),
            "exclude": list(self.exclude),
            "transforms": list(self.transforms),
            "failed": self.failed,
            "full_refresh": self.full_refresh,
            "threads": self.threads,
            "job": self.job,
            "window": self.window.as_document() if self.window else None,
        }


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node or test that a run executes."""

    unique_id: str
    name: str
    resource_type: str
    transform: str | None


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """The part of a plan in one dbt project and dbt target.

    Attributes:
        unit: The unit.
        nodes: Seeds, models and snapshots, parents first.
        tests: Tests, in the order of the nodes that they test.
    """

    unit: Unit
    nodes: tuple[PlannedNode, ...]
    tests: tuple[PlannedNode, ...]

    @property
    def project(self) -> str:
        """Folder of the dbt project, relative to the project root."""
        return self.unit.project

    @property
    def target(self) -> str:
        """Name of the dbt target."""
        return self.unit.target

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """Unique ids of nodes and tests."""
        return tuple(planned.unique_id for planned in (*self.nodes, *self.tests))


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run executes.

    Attributes:
        product: Name of the data product.
        environment: Name of the environment.
        request: What was asked for.
        units: The parts, in the order of the artifacts' transforms.
    """

    product: str
    environment: str
    request: RunRequest
    units: tuple[PlannedUnit, ...] = field(default=())

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """Unique ids of everything that is planned."""
        return tuple(unique_id for unit in self.units for unique_id in unit.unique_ids)


def plan(
    artifacts: CompiledArtifacts,
    *,
    root: Path,
    request: RunRequest | None = None,
    indexes: Sequence[ProjectIndex] | None = None,
    engine: DbtEngine | None = None,
) -> RunPlan:
    """Decide what a request runs. Touches neither the database nor anything outside `.floe`.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        request: What to run; everything when None.
        indexes: What dbt knows of the projects; read from `.floe` when None.
        engine: Resolves dbt selections; dbt-core when None.

    Raises:
        UsageError: if the request matches nothing, names an unknown transform, or holds a
            selection that dbt does not take.
    """
    request = request or RunRequest()
    units = resolve_units(artifacts, root, indexes)
    wanted = _wanted(artifacts, root, request, units, engine)
    planned = [_planned_unit(unit, wanted) for unit in units]
    found = RunPlan(
        product=artifacts.product,
        environment=artifacts.environment,
        request=request,
        units=tuple(unit for unit in planned if unit.nodes or unit.tests),
    )
    if not found.units:
        raise UsageError(_nothing(request), help="`floe list` shows what there is.")
    if request.window is not None and not _has_microbatch(found):
        raise UsageError(
            "--event-time-start and --event-time-end are for microbatch models, and this run has "
            "none",
            help="Leave them out, or select a model with `incremental_strategy: microbatch`.",
        )
    return found


def _has_microbatch(found: RunPlan) -> bool:
    return any(
        unit.unit.index.nodes[node.unique_id].batch_size is not None
        for unit in found.units
        for node in unit.nodes
    )


_IsWanted = Callable[[Unit, str], bool]


def _wanted(
    artifacts: CompiledArtifacts,
    root: Path,
    request: RunRequest,
    units: Sequence[Unit],
    engine: DbtEngine | None,
) -> _IsWanted:
    """Make the one question that decides: is this node of this unit in the run?"""
    filters: list[_IsWanted] = []
    if request.transforms:
        filters.append(_by_transform(request.transforms, units))
    if request.job is not None:
        filters.append(_by_job(request.job, artifacts, units))
    if request.failed:
        again = _to_do_again(Layout(root), artifacts.environment)
        filters.append(lambda unit, unique_id: unique_id in again)
    if request.select or request.exclude:
        selected = _selected(artifacts, root, request, units, engine)
        filters.append(lambda unit, unique_id: unique_id in selected[unit.name])
    return lambda unit, unique_id: all(is_in(unit, unique_id) for is_in in filters)


def _by_transform(names: Sequence[str], units: Sequence[Unit]) -> _IsWanted:
    known = {name for unit in units for name in unit.transforms}
    for name in names:
        if name not in known:
            nearest = near_miss(name, known)
            hint = f"Did you mean `{nearest}`?" if nearest else None
            raise UsageError(
                f"there is no transform `{name}`; there are: {', '.join(sorted(known))}", help=hint
            )
    wanted = frozenset(names)

    def is_wanted(unit: Unit, unique_id: str) -> bool:
        node = unit.index.nodes[unique_id]
        if node.resource_type != "test":
            return unit.transform_of.get(unique_id) in wanted
        return unit.transform_for(unique_id) in wanted or any(
            unit.transform_of.get(parent) in wanted for parent in node.depends_on
        )

    return is_wanted


def _by_job(name: str, artifacts: CompiledArtifacts, units: Sequence[Unit]) -> _IsWanted:
    """What Dagster runs when it launches the job."""
    jobs = (
        {job.name: job for job in artifacts.orchestration.jobs} if artifacts.orchestration else {}
    )
    if name not in jobs:
        nearest = near_miss(name, jobs)
        known = f"there are: {', '.join(sorted(jobs))}" if jobs else "floe.yaml has none"
        raise UsageError(
            f"there is no job `{name}`; {known}",
            help=f"Did you mean `{nearest}`?" if nearest else None,
        )
    from floe_dagster.assets import tests_of
    from floe_dagster.jobs import nodes_of_job

    nodes = nodes_of_job(jobs[name], units)
    wanted = {unit.name: nodes[unit.name] | tests_of(unit, nodes[unit.name]) for unit in units}
    return lambda unit, unique_id: unique_id in wanted[unit.name]


def _selected(
    artifacts: CompiledArtifacts,
    root: Path,
    request: RunRequest,
    units: Sequence[Unit],
    engine: DbtEngine | None,
) -> Mapping[str, frozenset[str]]:
    """What the selection stands for in each unit, by the unit's name; dbt is asked for its own."""
    others = {
        unit.name: frozenset(
            node.unique_id
            for node in unit.assets
            if is_selected(node, request.select, request.exclude)
        )
        for unit in units
        if not unit.is_dbt
    }
    units = [unit for unit in units if unit.is_dbt]
    if engine is None and units:
        from floe_dbt.dbt_core import DbtCore

        engine = DbtCore()
    environment = secrets_or_placeholders(artifacts)
    selection = Selection(select=request.select, exclude=request.exclude)
    try:
        return others | {
            unit.name: frozenset(
                engine.list(invocation(artifacts, unit, root, environment), selection)
            )
            for unit in units
            if engine is not None
        }
    except DbtError as problem:
        raise UsageError(
            f"dbt does not take this selection: {problem.message}",
            help="See https://docs.getdbt.com/reference/node-selection/syntax.",
        ) from None


def _to_do_again(layout: Layout, environment: str) -> frozenset[str]:
    records = read_records(layout, environment, limit=1)
    if not records:
        raise UsageError(f"there is no run in environment `{environment}` yet, so none has failed")
    again = left_over(records[0])
    if not again and records[0].error:
        raise UsageError(
            f"every node of the last run succeeded, but it broke off: {records[0].error}",
            help="Run the same command without `--failed`.",
        )
    if not again:
        raise UsageError("nothing failed in the last run, so there is nothing to run again")
    return again


def left_over(record: RunRecord) -> frozenset[str]:
    """Unique ids of what a run did not finish: failed, skipped, or without a turn."""
    done = {
        node.unique_id
        for node in record.nodes
        if node.status not in FAILED and node.status != "skipped"
    }
    return frozenset({*record.planned, *(node.unique_id for node in record.nodes)} - done)


def plan_of(
    artifacts: CompiledArtifacts,
    request: RunRequest,
    wanted: Sequence[tuple[Unit, Collection[str]]],
) -> RunPlan:
    """The plan of a run that was decided elsewhere, as the unique ids in each unit."""
    chosen = {unit.name: names for unit, names in wanted}

    def is_wanted(unit: Unit, unique_id: str) -> bool:
        return unique_id in chosen[unit.name]

    planned = [_planned_unit(unit, is_wanted) for unit, _ in wanted]
    return RunPlan(artifacts.product, artifacts.environment, request, tuple(planned))


def _planned_unit(unit: Unit, is_wanted: _IsWanted) -> PlannedUnit:
    return PlannedUnit(
        unit,
        nodes=_planned(unit, unit.assets, is_wanted),
        tests=_planned(unit, unit.tests, is_wanted),
    )


def _planned(unit: Unit, nodes: Sequence[Node], is_wanted: _IsWanted) -> tuple[PlannedNode, ...]:
    ordered = sorted(nodes, key=lambda node: unit.order[node.unique_id])
    return tuple(
        PlannedNode(
            node.unique_id,
            display_name(node),
            node.resource_type,
            unit.transform_for(node.unique_id),
        )
        for node in ordered
        if is_wanted(unit, node.unique_id)
    )


def display_name(node: Node) -> str:
    """Name of a node as people write it in a selection: with the version, where it has one."""
    return f"{node.name}.v{node.version}" if node.version is not None else node.name


def _nothing(request: RunRequest) -> str:
    parts = [
        *(f"--select {selection}" for selection in request.select),
        *(f"--exclude {selection}" for selection in request.exclude),
        *(f"--transform {name}" for name in request.transforms),
        *([f"--job {request.job}"] if request.job is not None else []),
        *(["--failed"] if request.failed else []),
    ]
    return f"`{' '.join(parts)}` matches nothing" if parts else "the product has nothing to run"
