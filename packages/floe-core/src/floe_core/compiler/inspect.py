"""Stage `inspect`: what dbt knows of the product's projects, and who claims which node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from floe_core import profiles
from floe_core.compiler.assets import asset_nodes, check_circles, check_names, inspect_assets
from floe_core.compiler.findings import from_finding
from floe_core.compiler.orchestration import resolve_jobs, selections
from floe_core.compiler.resolve import Resolved
from floe_core.compiler.transforms import PlacedTransform, overlap_diagnostic
from floe_core.diagnostics import FieldPath, Report
from floe_core.index import Node, ProjectIndex
from floe_core.index_file import load_index
from floe_core.lake import Lake
from floe_core.layout import Layout
from floe_core.plugins import Inspection, InspectRequest, ProjectExecutor


@dataclass(frozen=True)
class Inspected:
    """The product with what is in its projects.

    Attributes:
        resolved: The product in its environment.
        indexes: One index per project and dbt target, in the order of floe.yaml.
        claims: Unique ids of the nodes of each transform, sorted, by transform name; seeds and
            snapshots that come along are included.
        parsed: Projects that dbt parsed afresh; the others had not changed.
        assets: Hash of the files of each transform that is one asset, by its name.
        job_nodes: Unique ids of the nodes that the selection of a job stands for, sorted, by the
            name of the job.
    """

    resolved: Resolved
    indexes: tuple[ProjectIndex, ...]
    claims: Mapping[str, tuple[str, ...]]
    parsed: tuple[str, ...]
    assets: Mapping[str, str] = field(default_factory=dict)
    job_nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def inspect(resolved: Resolved, report: Report) -> Inspected | None:
    """Parse the dbt projects that have changed, and settle which transform a node belongs to.

    Transforms of other kinds are looked into by their plugins.
    """
    indexes: list[ProjectIndex] = []
    claims: dict[str, set[str]] = {}
    parsed: list[str] = []
    inspections: list[Inspection] = []
    is_complete = True
    assets = inspect_assets(resolved, report)
    for request, executor, members in inspect_requests(resolved):
        inspection = executor.inspect(request)
        _report_findings(resolved, members, inspection, report)
        if inspection.index is None:
            is_complete = False
            continue
        inspections.append(inspection)
        indexes.append(inspection.index)
        if inspection.was_parsed:
            parsed.append(request.project)
        unit_claims = _settle_claims(resolved, members, inspection, report)
        _check_order(resolved, members, unit_claims, inspection.index, report)
        if all(inspection.claims.get(member.name) for member in members):
            _warn_of_unclaimed(resolved, members, unit_claims, inspection.index, report)
        claims.update(unit_claims)
    if not is_complete:
        return None
    _check_tables(resolved, indexes, claims, report)
    check_names(resolved, indexes, report)
    check_circles(resolved, indexes, claims, report)
    _check_asset_keys(resolved, indexes, claims, report)
    nodes = asset_nodes(resolved)
    claims |= {node.name: {node.unique_id} for node in nodes}
    job_nodes = resolve_jobs(resolved.loaded, resolved.floe, inspections, nodes, claims, report)
    return Inspected(
        resolved,
        tuple(indexes),
        {name: tuple(sorted(nodes)) for name, nodes in claims.items()},
        tuple(parsed),
        assets,
        job_nodes,
    )


def inspect_requests(
    resolved: Resolved,
) -> Iterator[tuple[InspectRequest, ProjectExecutor, Sequence[PlacedTransform]]]:
    """What to ask about each project and dbt target, whom, and the transforms that are in it."""
    layout = Layout(resolved.loaded.request.root)
    layout.prepare()
    content = build_profiles(resolved, resolved.lake)
    cached = _cached_indexes(layout, resolved.environment)
    for (project, target), members in _units(resolved).items():
        executor = members[0].project
        if executor is None:
            continue
        request = InspectRequest(
            root=layout.root,
            project=project,
            target=target,
            profiles=content,
            work_dir=layout.work(resolved.environment),
            vars=resolved.loaded.request.vars,
            transforms=[member.located for member in members],
            cached=cached.get((project, target)),
            environment=_placeholders(resolved),
            selections=selections(resolved.loaded, resolved.floe),
        )
        yield request, executor, members


def target_name(transform: PlacedTransform, environment: str) -> str:
    """Dbt target name that a transform's models see."""
    return transform.spec.target or environment


def build_profiles(resolved: Resolved, lake: Lake | None) -> dict[str, Any]:
    """Content of profiles.yml, with the dbt target names of all transforms."""
    names = {target_name(transform, resolved.environment) for transform in resolved.transforms}
    compute = resolved.profiles.compute.profile
    return profiles.build(resolved.target, compute, resolved.environment, names, lake)


def _placeholders(resolved: Resolved) -> dict[str, str]:
    """Stand-ins for secrets: a parse needs the variables, not their values."""
    return dict.fromkeys(resolved.secrets, "placeholder")


def _cached_indexes(layout: Layout, environment: str) -> dict[tuple[str, str], ProjectIndex]:
    """Indexes of the previous compile; none when the file is missing or was not written by us."""
    try:
        indexes = load_index(layout.index(environment).read_bytes())
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {(index.project, index.target): index for index in indexes}


def _units(resolved: Resolved) -> dict[tuple[str, str], list[PlacedTransform]]:
    units: dict[tuple[str, str], list[PlacedTransform]] = {}
    for transform in resolved.transforms:
        if transform.project is None:
            continue
        key = (transform.located.project, target_name(transform, resolved.environment))
        units.setdefault(key, []).append(transform)
    return units


def _at(transform: PlacedTransform) -> FieldPath:
    return ("transforms", transform.number)


def _report_findings(
    resolved: Resolved,
    members: Sequence[PlacedTransform],
    inspection: Inspection,
    report: Report,
) -> None:
    by_name = {member.name: member for member in members}
    for name, finding in inspection.findings:
        member = by_name.get(name, members[0])
        report.add(from_finding(resolved.loaded.floe_source, _at(member), finding))


def _settle_claims(
    resolved: Resolved,
    members: Sequence[PlacedTransform],
    inspection: Inspection,
    report: Report,
) -> dict[str, set[str]]:
    """Give each node one transform, and let seeds and snapshots come along with who needs them."""
    owner: dict[str, PlacedTransform] = {}
    claims: dict[str, set[str]] = {}
    for member in members:
        wanted = inspection.claims.get(member.name, ())
        _report_overlap(resolved, member, wanted, owner, inspection.index, report)
        claims[member.name] = {node for node in wanted if node not in owner}
        owner.update((node, member) for node in claims[member.name])
    assert inspection.index is not None
    nodes = inspection.index.nodes
    for member in members:
        for node in sorted(claims[member.name]):
            for parent in nodes[node].depends_on:
                if parent not in owner and _comes_along(nodes, parent):
                    owner[parent] = member
                    claims[member.name].add(parent)
    return claims


def _comes_along(nodes: Mapping[str, Any], unique_id: str) -> bool:
    return unique_id in nodes and nodes[unique_id].resource_type in {"seed", "snapshot"}


def _report_overlap(
    resolved: Resolved,
    member: PlacedTransform,
    wanted: Iterable[str],
    owner: Mapping[str, PlacedTransform],
    index: ProjectIndex | None,
    report: Report,
) -> None:
    if index is None or any(
        d.code == "FLOE-R014" and d.field == f"transforms[{member.number}]"
        for d in report.diagnostics
    ):
        return
    shared: dict[int, list[str]] = {}
    for node in wanted:
        if node in owner:
            shared.setdefault(owner[node].number, []).append(index.nodes[node].name)
    for number, names in shared.items():
        other = next(other for other in owner.values() if other.number == number)
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        report.add(overlap_diagnostic(resolved.loaded.floe_source, member, other, listed))


def _check_order(
    resolved: Resolved,
    members: Sequence[PlacedTransform],
    claims: Mapping[str, set[str]],
    index: ProjectIndex,
    report: Report,
) -> None:
    """Inside a project dbt's graph decides: refuse a `depends_on` that it contradicts."""
    by_name = {member.name: member for member in members}
    owner = {node: name for name, nodes in claims.items() for node in nodes}
    for member in members:
        for number, name in enumerate(member.spec.depends_on):
            if name not in by_name:
                continue
            edge = _edge(index, owner, reader=name, read=member.name)
            if edge is None:
                continue
            child, parent = edge
            report.add(
                resolved.loaded.floe_source.diagnostic(
                    "FLOE-R015",
                    (*_at(member), "depends_on", number),
                    f"contradicts dbt: `{child}` of `{name}` reads `{parent}` of `{member.name}`",
                    help=f"remove it: dbt builds `{parent}` first in any case",
                )
            )


def _edge(
    index: ProjectIndex, owner: Mapping[str, str], *, reader: str, read: str
) -> tuple[str, str] | None:
    for node in index.nodes.values():
        if owner.get(node.unique_id) != reader:
            continue
        for parent in node.depends_on:
            if owner.get(parent) == read:
                return node.name, index.nodes[parent].name
    return None


def _check_tables(
    resolved: Resolved,
    indexes: Iterable[ProjectIndex],
    claims: Mapping[str, set[str]],
    report: Report,
) -> None:
    """Refuse two nodes that would write one table: the second would overwrite the first."""
    owner = {node: name for name, nodes in claims.items() for node in nodes}
    placed = {transform.name: transform for transform in resolved.transforms}
    first: dict[tuple[str, ...], Node] = {}
    for index in indexes:
        for node in index.nodes.values():
            if node.unique_id not in owner or node.materialized == "ephemeral":
                continue
            other = first.setdefault(_table(node), node)
            if other is node:
                continue
            report.add(
                resolved.loaded.floe_source.diagnostic(
                    "FLOE-R016",
                    _at(placed[owner[node.unique_id]]),
                    f"`{node.name}` ({index.name}) and `{other.name}` ({other.package_name}) both "
                    f"write the table `{node.schema}.{node.alias}`",
                    help="give one of them another `alias` or `schema` in its dbt project",
                )
            )


def _table(node: Node) -> tuple[str, ...]:
    return tuple((part or "").casefold() for part in (node.database, node.schema, node.alias))


def _check_asset_keys(
    resolved: Resolved,
    indexes: Iterable[ProjectIndex],
    claims: Mapping[str, set[str]],
    report: Report,
) -> None:
    """Refuse two nodes that would be one asset, unless they are one table, which is said above."""
    owner = {node: name for name, nodes in claims.items() for node in nodes}
    placed = {transform.name: transform for transform in resolved.transforms}
    first: dict[tuple[str, ...], tuple[str, Node]] = {}
    for index in indexes:
        for node in index.nodes.values():
            if node.unique_id not in owner or node.materialized == "ephemeral":
                continue
            project, other = first.setdefault(node.asset_key, (index.project, node))
            is_same = (project, other.unique_id) == (index.project, node.unique_id)
            if is_same or _table(other) == _table(node):
                continue
            report.add(
                resolved.loaded.floe_source.diagnostic(
                    "FLOE-R006",
                    _at(placed[owner[node.unique_id]]),
                    f"`{node.name}` ({index.name}) and `{other.name}` ({other.package_name}) both "
                    f"have the asset key `{'/'.join(node.asset_key)}`",
                    help="give one of them another in its dbt project: "
                    "`meta: {dagster: {asset_key: [another, name]}}`",
                )
            )


def _warn_of_unclaimed(
    resolved: Resolved,
    members: Sequence[PlacedTransform],
    claims: Mapping[str, set[str]],
    index: ProjectIndex,
    report: Report,
) -> None:
    claimed = set().union(*claims.values())
    idle = sorted(
        node.name
        for node in index.nodes.values()
        if node.resource_type == "model"
        and node.unique_id not in claimed
        and node.materialized != "ephemeral"
    )
    if not idle:
        return
    readers = sorted(
        f"`{node.name}` reads `{parent.name}`"
        for node in index.nodes.values()
        for parent in (index.nodes.get(unique_id) for unique_id in node.depends_on)
        if node.unique_id in claimed and parent is not None and parent.name in idle
    )
    listed = enumerate_names(idle)
    verb = "belongs" if len(idle) == 1 else "belong"
    need = f"; {readers[0]}, which must exist already" if readers else ""
    report.add(
        resolved.loaded.floe_source.diagnostic(
            "FLOE-D004",
            _at(members[-1]),
            f"{listed} of project `{index.name}` {verb} to no transform and will not be "
            f"built{need}",
            help="widen a transform, or add one for them",
            severity="warning",
        )
    )


def enumerate_names(names: Sequence[str], most: int = 8) -> str:
    """List names for a message, the first few of them."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
