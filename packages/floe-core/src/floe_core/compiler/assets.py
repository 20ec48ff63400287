"""Transforms that are one asset each: what they are made of, and their place in the graph."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from floe_core import plugins
from floe_core.asset_index import asset_node, unique_id
from floe_core.compiler.findings import from_finding
from floe_core.compiler.plugins import unusable
from floe_core.compiler.resolve import Resolved
from floe_core.compiler.transforms import PlacedTransform
from floe_core.diagnostics import Report
from floe_core.entry_points import blamed
from floe_core.errors import PluginError
from floe_core.index import BUILDABLE, Node, ProjectIndex


def inspect_assets(resolved: Resolved, report: Report) -> dict[str, str]:
    """Look into the files of each such transform; their hash, by the transform's name."""
    hashes: dict[str, str] = {}
    root = resolved.loaded.request.root
    for transform in resolved.transforms:
        if transform.asset is None:
            continue
        source, at = resolved.loaded.floe_source, ("transforms", transform.number)
        try:
            with blamed(plugins.TRANSFORMS, transform.spec.type):
                inspection = transform.asset.inspect(transform.located, root)
                hashes[transform.name] = _hash(transform, inspection.files)
        except PluginError as problem:
            report.add(unusable(source, (*at, "type"), problem))
            continue
        for finding in inspection.findings:
            report.add(from_finding(source, at, finding))
    return hashes


def asset_nodes(resolved: Resolved) -> list[Node]:
    """Each such transform as the one node that it is."""
    return [
        asset_node(
            transform.name,
            transform.spec.type,
            original_file_path=transform.located.project,
            tags=tuple(transform.spec.tags),
        )
        for transform in resolved.transforms
        if transform.asset is not None
    ]


def _hash(transform: PlacedTransform, files: Sequence[Path]) -> str:
    located = transform.located
    words = (transform.spec.type, located.project, *located.models, located.select, located.entry)
    digest = hashlib.sha256("\0".join(word or "" for word in words).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_names(resolved: Resolved, indexes: Iterable[ProjectIndex], report: Report) -> None:
    """Refuse a dbt node that is the same asset: one would stand for the other."""
    named = {
        node.name: index
        for index in indexes
        for node in index.nodes.values()
        if node.resource_type in BUILDABLE
        and node.config_schema is None
        and "asset_key" not in (node.meta.get("dagster") or {})
    }
    for transform in resolved.transforms:
        if transform.asset is not None and transform.name in named:
            report.add(
                resolved.loaded.floe_source.diagnostic(
                    "FLOE-R006",
                    ("transforms", transform.number, "name"),
                    f"`{transform.name}` is the name of a node of dbt project "
                    f"`{named[transform.name].name}` already",
                    help="give the transform another name: both would be one asset",
                )
            )


def check_circles(
    resolved: Resolved,
    indexes: Iterable[ProjectIndex],
    claims: Mapping[str, Iterable[str]],
    report: Report,
) -> None:
    """Refuse a `depends_on` that dbt's graph closes to a circle through such a transform."""
    assets = {transform.name: transform for transform in resolved.transforms if transform.asset}
    if not assets:
        return
    graph = _graph(resolved, indexes, claims, assets)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        circle: list[str] = list(reversed(problem.args[1]))
        first = next((t for name, t in assets.items() if unique_id(name) in circle), None)
        if first is None or not first.spec.depends_on:
            return
        start = circle.index(unique_id(first.name))
        names = [name.rpartition(".")[2] for name in [*circle[start:-1], *circle[: start + 1]]]
        report.add(
            resolved.loaded.floe_source.diagnostic(
                "FLOE-R015",
                ("transforms", first.number, "depends_on"),
                f"contradicts dbt: {' reads '.join(f'`{name}`' for name in names)}",
                help="remove what closes the circle, or split a transform",
            )
        )


def _graph(
    resolved: Resolved,
    indexes: Iterable[ProjectIndex],
    claims: Mapping[str, Iterable[str]],
    assets: Mapping[str, PlacedTransform],
) -> dict[str, set[str]]:
    """What each node and each such transform comes after."""
    graph: dict[str, set[str]] = {}
    for index in indexes:
        for node in index.nodes.values():
            if node.resource_type != "test":
                graph.setdefault(node.unique_id, set()).update(node.depends_on)
            if _asset_of(node) in assets:
                graph[node.unique_id].add(unique_id(str(_asset_of(node))))
    members = {**claims, **{name: [unique_id(name)] for name in assets}}
    for transform in resolved.transforms:
        for earlier in transform.spec.depends_on:
            if transform.name in assets or earlier in assets:
                for node_id in members.get(transform.name, ()):
                    graph.setdefault(node_id, set()).update(members.get(earlier, ()))
    return graph


def _asset_of(node: Node) -> str | None:
    """Name of the asset that a dbt source says it is."""
    meta = node.meta.get("dagster")
    key = (
        meta.get("asset_key") if node.resource_type == "source" and isinstance(meta, dict) else None
    )
    return key[0] if isinstance(key, list) and len(key) == 1 else None
