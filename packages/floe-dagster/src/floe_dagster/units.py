"""Units: the transforms of one dbt project and one dbt target, with what dbt knows of them.

A unit is what one multi-asset, and one invocation of dbt, builds. A transform that is not dbt's is
a unit with a single node.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from floe_core.asset_index import asset_index
from floe_core.dagster_names import valid_name
from floe_core.errors import ArtifactsError
from floe_core.index import BUILDABLE, Node, ProjectIndex
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_dagster.inspection import load_indexes
from floe_dagster.placement import project_of


@dataclass(frozen=True)
class Unit:
    """The transforms of one dbt project and dbt target.

    Attributes:
        name: Name of the unit, valid as the name of a Dagster op and unique in the product.
        index: What dbt knows of the project.
        transforms: The transforms, by name.
        transform_of: Name of the transform that each claimed node belongs to, by unique id.
    """

    name: str
    index: ProjectIndex
    transforms: Mapping[str, CompiledTransform]
    transform_of: Mapping[str, str]

    @property
    def project(self) -> str:
        """Folder of the dbt project, relative to the project root."""
        return self.index.project

    @property
    def target(self) -> str:
        """Name of the dbt target."""
        return self.index.target

    @cached_property
    def is_dbt(self) -> bool:
        """Whether dbt builds it; else it is one asset, which a plugin makes."""
        return not any(transform.is_asset for transform in self.transforms.values())

    @cached_property
    def children(self) -> Mapping[str, list[str]]:
        """Direct children of each node."""
        return self.index.children()

    @cached_property
    def order(self) -> Mapping[str, int]:
        """Position of each node in an order that has parents before children."""
        nodes = self.index.nodes
        graph = {
            unique_id: [parent for parent in node.depends_on if parent in nodes]
            for unique_id, node in nodes.items()
        }
        try:
            ordered = list(TopologicalSorter(graph).static_order())
        except CycleError:  # dbt refuses cycles; an index that has one is shown, not run
            ordered = list(nodes)
        return {unique_id: position for position, unique_id in enumerate(ordered)}

    @cached_property
    def assets(self) -> tuple[Node, ...]:
        """The claimed nodes that exist in the database: all but ephemeral models."""
        claimed = (self.index.nodes[unique_id] for unique_id in self.transform_of)
        return tuple(node for node in claimed if is_asset(node))

    @cached_property
    def tests(self) -> tuple[Node, ...]:
        """The tests that come with the claimed nodes.

        A test belongs here if one of its parents is claimed, or is a source that a claimed node
        reads. When every node of the project is claimed, every test does, as in `dbt build`.
        """
        tests = [node for node in self.index.nodes.values() if node.resource_type == "test"]
        if self.is_whole_project:
            return tuple(tests)
        reach = set(self.transform_of)
        for unique_id in self.transform_of:
            parents = self.index.nodes[unique_id].depends_on
            reach.update(parent for parent in parents if parent.startswith("source."))
        return tuple(test for test in tests if reach.intersection(test.depends_on))

    @cached_property
    def is_whole_project(self) -> bool:
        """Whether every node that dbt builds here is claimed."""
        return all(
            unique_id in self.transform_of
            for unique_id, node in self.index.nodes.items()
            if node.resource_type in BUILDABLE
        )

    def transform_for(self, unique_id: str) -> str | None:
        """Name of the transform that a node or test belongs to."""
        if unique_id in self.transform_of:
            return self.transform_of[unique_id]
        node = self.index.nodes.get(unique_id)
        if node is None:
            return None
        tested = [node.attached_node or "", *node.depends_on]
        return next((self.transform_of[t] for t in tested if t in self.transform_of), None)

    def upstream(self, node: Node) -> list[str]:
        """Unique ids of the assets and sources that a node reads, through ephemeral models too."""
        found: set[str] = set()
        seen: set[str] = set()
        queue = list(node.depends_on)
        while queue:
            unique_id = queue.pop()
            parent = self.index.nodes.get(unique_id)
            if parent is None or unique_id in seen:
                continue
            seen.add(unique_id)
            if is_asset(parent) or parent.resource_type == "source":
                found.add(unique_id)
            elif parent.resource_type in BUILDABLE:
                queue.extend(parent.depends_on)
        return sorted(found)


def is_asset(node: Node) -> bool:
    """Whether dbt leaves a relation for the node in the database."""
    return node.resource_type in BUILDABLE and node.materialized != "ephemeral"


def resolve_units(
    artifacts: CompiledArtifacts, root: Path, indexes: Sequence[ProjectIndex] | None = None
) -> tuple[Unit, ...]:
    """Join the artifacts' transforms with the indexes of their dbt projects.

    Each transform that is not dbt's is a unit of its own, after those of dbt.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        indexes: What dbt knows of the projects; read from `.floe` when None.

    Raises:
        ArtifactsError: if a project has no index, or an index lacks nodes of a transform.
    """
    grouped = _by_project_and_target(artifacts, root)
    if indexes is None:
        indexes = load_indexes(artifacts, root, grouped)
    known = {(index.project, index.target): index for index in indexes}
    names = _unit_names([known[key] for key in grouped if key in known])
    units = []
    for key, transforms in grouped.items():
        index = known.get(key)
        if index is None:
            project, target = key
            raise ArtifactsError(
                f"the artifacts name dbt project `{project}` with target `{target}`, "
                "but nothing is known of it here",
                help="Run `floe compile`.",
            )
        units.append(_unit(names[key], index, transforms, artifacts.is_pulled))
    return (*units, *_asset_units(artifacts, {unit.name for unit in units}))


def _asset_units(artifacts: CompiledArtifacts, taken: set[str]) -> Iterator[Unit]:
    for transform in artifacts.transforms:
        if not transform.is_asset:
            continue
        index = asset_index(transform, artifacts.environment)
        name = base = valid_name(index.name)
        number = 1
        while name in taken:
            number += 1
            name = f"{base}__{number}"
        taken.add(name)
        yield _unit(name, index, [transform], artifacts.is_pulled)


def _by_project_and_target(
    artifacts: CompiledArtifacts, root: Path
) -> dict[tuple[str, str], list[CompiledTransform]]:
    grouped: dict[tuple[str, str], list[CompiledTransform]] = {}
    for transform in artifacts.transforms:
        if transform.is_asset:
            continue
        project = project_of(transform, artifacts, root)
        target = transform.target or artifacts.environment
        grouped.setdefault((project, target), []).append(transform)
    return grouped


def _unit_names(indexes: Sequence[ProjectIndex]) -> dict[tuple[str, str], str]:
    """Name units after their dbt projects, adding the target and then the folder where needed."""
    names: dict[tuple[str, str], str] = {}
    for index in indexes:
        candidates = [
            index.name,
            f"{index.name}__{index.target}",
            f"{index.name}__{index.target}__{index.project}",
        ]
        rivals = [other for other in indexes if other is not index]
        taken = {
            valid_name(name)
            for other in rivals
            for name in (other.name, f"{other.name}__{other.target}")
        }
        free = (name for name in candidates[:-1] if valid_name(name) not in taken)
        names[index.project, index.target] = valid_name(next(free, candidates[-1]))
    return names


def _unit(
    name: str, index: ProjectIndex, transforms: Iterable[CompiledTransform], is_pulled: bool
) -> Unit:
    transform_of: dict[str, str] = {}
    by_name: dict[str, CompiledTransform] = {}
    for transform in transforms:
        transform_name = transform.name or index.name
        by_name[transform_name] = transform
        nodes = transform.nodes if transform.nodes is not None else _claims_of_1_0(transform, index)
        missing = [unique_id for unique_id in nodes if unique_id not in index.nodes]
        if missing:
            raise ArtifactsError(
                f"transform `{transform_name}` has nodes that dbt project `{index.project}` does "
                f"not: {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}",
                help="The dbt project here is not the one that they were compiled from: take its "
                "version of the files, or pull again."
                if is_pulled
                else "Run `floe compile`: the dbt project has changed since the last one.",
            )
        transform_of.update(dict.fromkeys(nodes, transform_name))
    return Unit(name, index, by_name, dict(sorted(transform_of.items())))


def _claims_of_1_0(transform: CompiledTransform, index: ProjectIndex) -> list[str]:
    """Nodes of a transform of contract 1.0: those below its path, or the whole project.

    Seeds and snapshots that they read come along.
    """
    below = posixpath.normpath(transform.path) + "/"
    buildable = {key: node for key, node in index.nodes.items() if node.resource_type in BUILDABLE}
    inside = [key for key, node in buildable.items() if node.original_file_path.startswith(below)]
    if not inside:
        return list(buildable)
    claimed = dict.fromkeys(inside)
    queue = list(inside)
    while queue:
        for parent in buildable[queue.pop()].depends_on:
            if parent in buildable.keys() - claimed and not parent.startswith("model."):
                claimed[parent] = None
                queue.append(parent)
    return list(claimed)
