"""Which nodes of a dbt project belong to which transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from floe_core.diagnostics import near_miss
from floe_core.index import BUILDABLE, ProjectIndex
from floe_core.layout import Layout, write_atomic
from floe_core.plugins import Finding, InspectRequest, LocatedTransform
from floe_dbt import paths
from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import DbtError, Selection
from floe_dbt.parsing import invocation
from floe_dbt.words import listed

Claims = dict[str, tuple[str, ...]]
Findings = list[tuple[str, Finding]]


def settle(
    request: InspectRequest, index: ProjectIndex, selections: Selections, findings: Findings
) -> Claims:
    """Nodes of each transform; appends a finding for a transform that has none."""
    claims: Claims = {}
    for transform in request.transforms:
        nodes = _buildable(index)
        if transform.models:
            nodes &= _at_paths(index, transform.models)
        if transform.select is not None:
            try:
                nodes &= selections.nodes(transform.select)
            except DbtError as problem:
                findings.append((transform.name, _bad_selection(transform, problem)))
                claims[transform.name] = ()
                continue
        if not nodes:
            findings.append((transform.name, _nothing_selected(transform, index)))
        claims[transform.name] = tuple(sorted(nodes))
    return claims


def select(
    request: InspectRequest, index: ProjectIndex, selections: Selections
) -> tuple[Claims, dict[str, str]]:
    """Nodes of each selection of the request, and why a selection is not valid."""
    selected: Claims = {}
    refused: dict[str, str] = {}
    for selection in request.selections:
        try:
            nodes = selections.nodes(selection)
        except DbtError as problem:
            refused[selection] = problem.message
        else:
            selected[selection] = tuple(sorted(nodes & _buildable(index)))
    return selected, refused


def _buildable(index: ProjectIndex) -> set[str]:
    return {node.unique_id for node in index.nodes.values() if node.resource_type in BUILDABLE}


def _at_paths(index: ProjectIndex, patterns: Sequence[str]) -> set[str]:
    """Nodes of the project's own package in the files that the patterns name."""
    return {
        node.unique_id
        for node in index.nodes.values()
        if node.package_name == index.name
        and any(paths.matches(node.original_file_path, pattern) for pattern in patterns)
    }


def _bad_selection(transform: LocatedTransform, problem: DbtError) -> Finding:
    return Finding(
        "FLOE-D002",
        ("select",),
        f"`{transform.select}` is not a selection that dbt knows: {problem.message}",
        "see https://docs.getdbt.com/reference/node-selection/syntax",
    )


def _nothing_selected(transform: LocatedTransform, index: ProjectIndex) -> Finding:
    names = {node.name for node in index.nodes.values() if node.resource_type == "model"}
    if transform.models:
        message = f"{listed(transform.models)} holds no model, seed or snapshot that is enabled"
        return Finding("FLOE-D002", ("models",), message)
    if transform.select is None:
        return Finding("FLOE-D002", (), f"project `{index.name}` has no model, seed or snapshot")
    if transform.select == transform.name:
        return _no_such_model(transform, index, names)
    message = f"`{transform.select}` selects no model, seed or snapshot of project `{index.name}`"
    return Finding("FLOE-D002", ("select",), message, _model_help(transform.select, names))


def _no_such_model(transform: LocatedTransform, index: ProjectIndex, names: set[str]) -> Finding:
    """A transform that is nothing but a name has to be the name of a model."""
    help = _model_help(transform.name, names)
    if help is None or transform.name == index.name:
        help = f"for the whole dbt project add `project: {transform.project}`"
    message = f"project `{index.name}` has no model `{transform.name}`"
    return Finding("FLOE-D002", ("name",), message, help)


def _model_help(word: str, names: set[str]) -> str | None:
    nearest = near_miss(word.strip("+@*"), names)
    return f"did you mean `{nearest}`?" if nearest is not None else None


class Selections:
    """What selections of one project stand for, remembered between compiles."""

    def __init__(self, request: InspectRequest, index: ProjectIndex) -> None:
        layout = Layout(request.root)
        slug = layout.target_path("_", request.project, request.target).name
        self._path = request.work_dir / "parse" / f"{slug}.selections.json"
        self._request = request
        self._index = index
        self._known = self._load()
        self._used: dict[str, list[str]] = {}

    def nodes(self, select: str) -> set[str]:
        """Unique ids that a selection stands for.

        Raises:
            DbtError: if it is not valid.
        """
        nodes = self._known.get(select)
        if nodes is None:
            selection = Selection(tuple(select.split()))
            nodes = list(DbtCore().list(invocation(self._request), selection))
        self._used[select] = nodes
        return set(nodes)

    def save(self) -> None:
        """Remember the selections of this compile."""
        content = {"inputs_hash": self._index.inputs_hash, "selections": self._used}
        if self._used and self._used != self._known:
            write_atomic(self._path, orjson.dumps(content, option=orjson.OPT_SORT_KEYS))

    def _load(self) -> Mapping[str, list[str]]:
        try:
            content = orjson.loads(self._path.read_bytes())
            if content["inputs_hash"] == self._index.inputs_hash:
                selections: dict[str, list[str]] = content["selections"]
                return selections
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return {}
