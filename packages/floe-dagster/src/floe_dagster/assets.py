"""One multi-asset per unit: what Dagster shows of a dbt project, and how it is built."""

# Dagster reads the annotations of the functions it decorates, so they are not postponed here.

import posixpath
import threading
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
from pydantic import Field

from floe_core.errors import ArtifactsError, UsageError
from floe_core.index import BUILDABLE, Node
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.telemetry import propagation_environment
from floe_dagster import translator
from floe_dagster.build import Build, EngineFactory, failure_message
from floe_dagster.connection import invocation
from floe_dagster.interrupts import closed_at_exit
from floe_dagster.partitions import partition_key
from floe_dagster.plan import RunRequest
from floe_dagster.selection import dbt_selection
from floe_dagster.units import Unit, is_asset
from floe_dagster.windows import parse_window
from floe_dbt.engine import FAILED, BuildResult, Listener, NodeFinished, Window

BuildEvent = dg.MaterializeResult[None] | dg.AssetCheckResult | dg.AssetObservation


class BuildConfig(dg.Config):
    """What a launch may change; Dagster's launchpad shows it."""

    full_refresh: bool = Field(
        default=False, description="Rebuild incremental models and seeds from nothing."
    )
    threads: int | None = Field(
        default=None, description="Number of dbt threads; the profile's when empty."
    )
    event_time_start: str | None = Field(
        default=None,
        description="Start of what microbatch models process, as ISO 8601; dbt decides when empty.",
    )
    event_time_end: str | None = Field(
        default=None, description="End of it, which is excluded; needs a start."
    )


@dataclass(frozen=True)
class Execution:
    """How the assets run dbt.

    Attributes:
        engine: Makes the engine.
        secrets: Looks up the secrets that dbt needs in a run, by the run's id.
        around: Entered around each build, with what it builds and tests; gives who hears of it.
        planned: Unique ids of what the run builds and tests, by the unit's name; when None, what
            Dagster selects, with all tests that belong to it.
        on_result: Called with dbt's result of each build.
        cancelled: Once set, the builds are cancelled, and Dagster takes it for an interrupt.
    """

    engine: EngineFactory
    secrets: Callable[[str], Mapping[str, str]]
    around: "Around"
    planned: Mapping[str, frozenset[str]] | None = None
    on_result: Callable[[BuildResult], None] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Step:
    """A build that Dagster has asked for.

    Attributes:
        context: Dagster's context.
        request: What the launch asks for.
        unit: The unit.
        wanted: Unique ids of what is built and tested.
    """

    context: dg.AssetExecutionContext
    request: RunRequest
    unit: Unit
    wanted: Collection[str]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who hears of a build.

    Attributes:
        listener: Hears every event of dbt.
        describes: Whether it wants to know what the database knows of tables; see `Invocation`.
    """

    listener: Listener
    describes: bool = False


Around = Callable[[Step], AbstractContextManager[Audience]]


@dataclass(frozen=True)
class Names:
    """The two names of everything in a unit: dbt's unique ids and Dagster's keys."""

    keys: Mapping[str, dg.AssetKey]
    checks: Mapping[str, dg.AssetCheckKey]
    nodes: Mapping[dg.AssetKey, str] = field(init=False)
    tests: Mapping[dg.AssetCheckKey, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", {key: name for name, key in self.keys.items()})
        object.__setattr__(self, "tests", {key: name for name, key in self.checks.items()})

    @classmethod
    def of(cls, unit: Unit) -> "Names":
        """Names of everything in a unit."""
        return cls(
            {node.unique_id: translator.asset_key(node) for node in unit.assets},
            {unique_id: spec.key for unique_id, spec in translator.check_specs(unit).items()},
        )


def unit_assets(
    artifacts: CompiledArtifacts,
    unit: Unit,
    root: Path,
    execution: Execution,
    extra_deps: Mapping[str, Sequence[dg.AssetKey]],
) -> dg.AssetsDefinition:
    """Make the multi-asset of a unit.

    Args:
        artifacts: The artifacts.
        unit: The unit.
        root: Absolute project root.
        execution: How it runs dbt.
        extra_deps: Assets of other dbt projects that a node comes after, by its unique id.
    """
    owner = artifacts.identity.owner if artifacts.identity else None
    specs = {
        node.unique_id: translator.asset_spec(unit, node, owner, extra_deps.get(node.unique_id, ()))
        for node in unit.assets
    }
    checks = translator.check_specs(unit)
    names = Names.of(unit)

    @dg.multi_asset(
        name=unit.name,
        specs=list(specs.values()),
        check_specs=list(checks.values()),
        can_subset=True,
        description=f"dbt project {unit.project}, target {unit.target}",
        allow_arbitrary_check_specs=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def build(context: dg.AssetExecutionContext, config: BuildConfig) -> Iterator[BuildEvent]:
        selected = (context.selected_asset_keys, context.selected_asset_check_keys)
        request = RunRequest(
            full_refresh=config.full_refresh,
            threads=config.threads,
            window=_window(context, config),
        )
        step = Step(context, request, unit, wanted(unit, names, *selected, execution.planned))
        events = _surrounded(step, artifacts, root, execution, names)
        with closed_at_exit(events):
            yield from events

    return build


def _surrounded(
    step: Step, artifacts: CompiledArtifacts, root: Path, execution: Execution, names: Names
) -> Generator[BuildEvent, None, None]:
    with execution.around(step) as audience:
        yield from _build(step, artifacts, root, execution, names, audience)


def _build(
    step: Step,
    artifacts: CompiledArtifacts,
    root: Path,
    execution: Execution,
    names: Names,
    audience: Audience,
) -> Iterator[BuildEvent]:
    context, request, unit = step.context, step.request, step.unit
    checks = frozenset(context.selected_asset_check_keys)
    selection = dbt_selection(unit, step.wanted)
    environment = {**execution.secrets(context.run.run_id), **propagation_environment()}
    how = invocation(artifacts, unit, root, environment, request.threads)
    build = Build(
        execution.engine(),
        replace(how, window=request.window, describes=audience.describes),
        selection,
        listener=audience.listener,
        full_refresh=request.full_refresh,
        cancelled=execution.cancelled,
    )
    failed: list[NodeFinished] = []
    for node in build:
        if node.status in FAILED:
            failed.append(node)
        if not _is_partitioned(context):
            _report_batches(context, node, unit, names)
        yield from _to_dagster(node, unit, names, context.selected_asset_keys, checks)
    result = build.result
    if execution.on_result is not None:
        execution.on_result(result)
    if result.was_cancelled:
        if execution.cancelled.is_set():
            # Without this, Dagster takes the interrupt for a failure of the machine.
            context.instance.report_run_canceling(context.run)
        raise dg.DagsterExecutionInterruptedError
    message = failure_message(result, failed)
    if message is not None:
        raise dg.Failure(message, allow_retries=not failed)


def _is_partitioned(context: dg.AssetExecutionContext) -> bool:
    return bool(context.has_partition_key or context.has_partition_key_range)


def _window(context: dg.AssetExecutionContext, config: BuildConfig) -> Window | None:
    """The window that the launch asks for, by its configuration or its partitions."""
    try:
        window = parse_window(config.event_time_start, config.event_time_end)
    except UsageError as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
    if not _is_partitioned(context):
        return window
    if window is not None:
        raise dg.Failure(
            "a launch of partitions has its window, and takes no other", allow_retries=False
        )
    launched = context.partition_time_window
    return Window(launched.start, launched.end)


def _report_batches(
    context: dg.AssetExecutionContext, node: NodeFinished, unit: Unit, names: Names
) -> None:
    """Mark the partitions that a run without partitions has built."""
    key = names.keys.get(node.unique_id)
    if key is None or node.status != "success":
        return
    for batch in node.batches:
        partition = partition_key(unit.index.nodes[node.unique_id], batch)
        context.log_event(dg.AssetMaterialization(key, partition=partition))


def wanted(
    unit: Unit,
    names: Names,
    selected: Iterable[dg.AssetKey],
    selected_checks: Iterable[dg.AssetCheckKey],
    planned: Mapping[str, frozenset[str]] | None = None,
) -> set[str]:
    """Unique ids of what is built and tested in a unit when Dagster selects these of its keys."""
    nodes = {names.nodes[key] for key in selected}
    checks = {names.tests[key] for key in selected_checks}
    return nodes | checks | _loose_tests(unit, planned, names, nodes, checks)


def _loose_tests(
    unit: Unit,
    planned_by_unit: Mapping[str, frozenset[str]] | None,
    names: Names,
    nodes: set[str],
    checks: set[str],
) -> set[str]:
    """Tests that are not checks and belong to this step.

    Dagster cannot select them, so they come with the nodes that they test: with the last one in
    dbt's order, where they test several. They stay away when checks of the nodes were deselected.
    """
    loose = [test for test in unit.tests if test.unique_id not in names.checks]
    if planned_by_unit is not None:
        planned = planned_by_unit.get(unit.name, frozenset())
        loose = [test for test in loose if test.unique_id in planned]
        return {test.unique_id for test in loose if _belongs(unit, test, nodes, planned)}
    left_out = (key for key, test in names.tests.items() if test not in checks)
    if any(names.nodes[key.asset_key] in nodes for key in left_out):
        return set()
    return {test.unique_id for test in loose if _belongs(unit, test, nodes, names.keys.keys())}


def tests_of(unit: Unit, nodes: Collection[str]) -> frozenset[str]:
    """Tests that a launch of exactly these nodes, and all of their checks, runs."""
    built = [node.unique_id for node in unit.assets]
    keys = {translator.asset_key(unit.index.nodes[name]) for name in built if name in nodes}
    checks = translator.check_specs(unit)
    own = {test for test, spec in checks.items() if spec.key.asset_key in keys}
    loose = (test for test in unit.tests if test.unique_id not in checks)
    return frozenset(own | {test.unique_id for test in loose if _belongs(unit, test, nodes, built)})


def _belongs(unit: Unit, test: Node, nodes: Collection[str], candidates: Collection[str]) -> bool:
    """Whether a loose test belongs to the step that builds `nodes`, among all `candidates`."""
    tested = [parent for parent in unit.upstream(test) if parent in candidates]
    if not tested:  # a test of sources comes with the nodes that read them
        read = set(test.depends_on)
        readers = (node for node in unit.assets if read.intersection(node.depends_on))
        tested = [node.unique_id for node in readers if node.unique_id in candidates]
    return not tested or max(tested, key=lambda name: unit.order[name]) in nodes


def _to_dagster(
    node: NodeFinished,
    unit: Unit,
    names: Names,
    selected: Iterable[dg.AssetKey],
    checks: frozenset[dg.AssetCheckKey],
) -> Iterator[BuildEvent]:
    """Say in Dagster's terms what happened to a node."""
    if node.resource_type in BUILDABLE:
        key = names.keys.get(node.unique_id)
        if node.status == "success" and key is not None and key in selected:
            yield dg.MaterializeResult(asset_key=key, metadata=_metadata(node))
    elif node.status not in {"skipped", "cancelled"}:
        check = names.checks.get(node.unique_id)
        if check is not None and check in checks:
            yield _check_result(node, check)
        else:
            yield from observations(node, unit)


def _check_result(node: NodeFinished, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
    is_warning = node.status == "warn"
    return dg.AssetCheckResult(
        passed=node.status == "pass",
        asset_key=check.asset_key,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        metadata=_metadata(node),
    )


def observations(node: NodeFinished, unit: Unit) -> Iterator[dg.AssetObservation]:
    """Results of a test that is no check, shown on everything that it tests."""
    test = unit.index.nodes.get(node.unique_id)
    for parent in unit.upstream(test) if test is not None else ():
        yield dg.AssetObservation(
            asset_key=translator.asset_key(unit.index.nodes[parent]),
            description=f"dbt test {node.name}",
            metadata=_metadata(node),
        )


def _metadata(node: NodeFinished) -> dict[str, str | int | float]:
    found: dict[str, str | int | float | None] = {
        "unique_id": node.unique_id,
        "Execution Duration": node.seconds,
        "status": node.status,
        "dagster/row_count": node.rows,
        "dagster_dbt/failed_row_count": node.failures,
        **_window_metadata(node.batches),
    }
    return {key: value for key, value in found.items() if value is not None}


def _window_metadata(batches: Sequence[Window]) -> dict[str, str | int | float | None]:
    if not batches:
        return {}
    return {
        "floe/event_time_start": batches[0].start.isoformat(),
        "floe/event_time_end": batches[-1].end.isoformat(),
        "floe/batches": len(batches),
    }


def external_specs(units: Sequence[Unit]) -> list[dg.AssetSpec]:
    """Specs of what is seen and not built: sources that are read, and models nobody claims.

    A source that another project of the product builds is that project's asset, and not here.
    """
    built = {translator.asset_key(node) for unit in units for node in unit.assets}
    claimed = {(unit.project, unique_id) for unit in units for unique_id in unit.transform_of}
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    for unit in units:
        for node in _seen(unit, claimed):
            spec = translator.external_spec(unit, node)
            if spec.key not in built:
                specs.setdefault(spec.key, spec)
    return list(specs.values())


def _seen(unit: Unit, claimed: set[tuple[str, str]]) -> list[Node]:
    models = [
        node
        for node in unit.index.nodes.values()
        if is_asset(node) and (unit.project, node.unique_id) not in claimed
    ]
    readers = [*unit.assets, *models, *unit.tests]
    read = {parent for reader in readers for parent in unit.upstream(reader)}
    nodes = unit.index.nodes
    sources = [nodes[name] for name in sorted(read) if nodes[name].resource_type == "source"]
    return [*sources, *models]


def cross_project_deps(units: Sequence[Unit]) -> dict[str, dict[str, list[dg.AssetKey]]]:
    """Turn `depends_on` between transforms of different dbt projects into asset dependencies.

    A transform that is not dbt's is a project of its own here.

    The first assets of the later transform depend on the last assets of the earlier one. Within one
    dbt project dbt's own graph decides.

    Returns:
        Keys that a node depends on, by the unit's name and the node's unique id.
    """
    homes = {name: unit for unit in units for name in unit.transforms}
    deps: dict[str, dict[str, list[dg.AssetKey]]] = {unit.name: {} for unit in units}
    for unit in units:
        for name, transform in unit.transforms.items():
            for earlier in transform.depends_on:
                home = homes.get(earlier)
                if home is None or _is_same_project(home, unit):
                    continue
                keys = [translator.asset_key(node) for node in _last(home, earlier)]
                for node in _first(unit, name):
                    deps[unit.name].setdefault(node.unique_id, []).extend(keys)
    return deps


def _is_same_project(one: Unit, other: Unit) -> bool:
    return one is other or (one.is_dbt and other.is_dbt and one.project == other.project)


def _members(unit: Unit, transform: str) -> dict[str, Node]:
    return {
        node.unique_id: node
        for node in unit.assets
        if unit.transform_of[node.unique_id] == transform
    }


def _first(unit: Unit, transform: str) -> list[Node]:
    members = _members(unit, transform)
    return [node for node in members.values() if members.keys().isdisjoint(unit.upstream(node))]


def _last(unit: Unit, transform: str) -> list[Node]:
    members = _members(unit, transform)
    read = {parent for node in members.values() for parent in unit.upstream(node)}
    return [node for unique_id, node in members.items() if unique_id not in read]


def check_keys_are_unique(units: Sequence[Unit]) -> None:
    """Refuse two nodes with one asset key.

    Raises:
        ArtifactsError: if there are some; it names the nodes and their files.
    """
    owners: dict[dg.AssetKey, tuple[Unit, Node]] = {}
    for unit in units:
        local = [*unit.assets, *_sources_read(unit)]
        for node in local:
            key = translator.asset_key(node)
            other = owners.setdefault(key, (unit, node))
            if _is_clash(other, (unit, node)):
                raise _clash(key, other, (unit, node))


def _sources_read(unit: Unit) -> list[Node]:
    read = {parent for node in unit.assets for parent in unit.upstream(node)}
    return [unit.index.nodes[name] for name in sorted(read) if name.startswith("source.")]


def _is_clash(one: tuple[Unit, Node], other: tuple[Unit, Node]) -> bool:
    """Whether two nodes must not share a key; a source may be what another project builds."""
    if _is_same_project(one[0], other[0]):
        return one[1].unique_id != other[1].unique_id
    return "source" not in {one[1].resource_type, other[1].resource_type}


def _clash(key: dg.AssetKey, one: tuple[Unit, Node], other: tuple[Unit, Node]) -> ArtifactsError:
    places = " and ".join(
        f"{node.unique_id} ({posixpath.normpath(f'{unit.project}/{node.original_file_path}')})"
        for unit, node in (one, other)
    )
    return ArtifactsError(
        f"two nodes have the asset key `{key.to_user_string()}`: {places}",
        help="Give one of them a key of its own in dbt: "
        "`meta: {dagster: {asset_key: [another, name]}}`.",
    )
