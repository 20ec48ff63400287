"""The lineage graph as text, as data and as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from floe_dagster.lineage.facts import ColumnSource
from floe_dagster.lineage.graph import Column, ColumnEdge, Graph, GraphNode, column_trail

Sides = tuple[bool, bool]
"""Whether upstream and whether downstream is shown."""


def text(
    title: str, graph: Graph, start: GraphNode | None, column: Column | None, sides: Sides
) -> str:
    """The graph for people."""
    if start is None:
        return "\n".join([title, "", *_all(graph)])
    lines = [_described(start)]
    if column is not None:
        lines = [_label(graph, column)]
    for heading, is_upstream in (("upstream", True), ("downstream", False)):
        if sides[0 if is_upstream else 1]:
            found = (
                _column_tree(graph, column, is_upstream)
                if column is not None
                else _tree(graph, start, is_upstream)
            )
            lines += ["", heading, *(found or ["  nothing that is known"])]
    return "\n".join(lines)


def document(
    graph: Graph, start: GraphNode | None, column: Column | None, sides: Sides
) -> dict[str, Any]:
    """The graph for programs; the keys are stable."""
    edges = graph.column_edges
    if column is not None:
        edges = [edge for side in _sides(sides) for _, edge in column_trail(edges, column, **side)]
    return {
        "model": start.unique_id if start else None,
        "column": column.name if column else None,
        "nodes": [_node(node) for node in graph.nodes.values()],
        "edges": [{"from": parent, "to": child} for parent, child in graph.edges],
        "column_edges": [_edge(edge) for edge in edges],
    }


def mermaid(graph: Graph, column: Column | None, sides: Sides) -> str:
    """The graph as a Mermaid flowchart."""
    if column is not None:
        edges = graph.column_edges
        trail = [edge for side in _sides(sides) for _, edge in column_trail(edges, column, **side)]
        ends = dict.fromkeys(
            [column, *(end for edge in trail for end in (edge.source, edge.target))]
        )
        ids = {end: f"c{number}" for number, end in enumerate(ends)}
        lines = [f'  {ids[end]}["{_quoted(_label(graph, end))}"]' for end in ends]
        lines += [f"  {ids[edge.source]} --> {ids[edge.target]}" for edge in trail]
        return "\n".join(["flowchart LR", *lines])
    names = {uid: f"n{number}" for number, uid in enumerate(graph.nodes)}
    lines = [f"  {names[uid]}{_shape(node)}" for uid, node in graph.nodes.items()]
    lines += [f"  {names[parent]} --> {names[child]}" for parent, child in graph.edges]
    return "\n".join(["flowchart LR", *lines])


def _sides(sides: Sides) -> Iterator[dict[str, bool]]:
    for is_shown, is_upstream in zip(sides, (True, False), strict=True):
        if is_shown:
            yield {"upstream": is_upstream}


def _all(graph: Graph) -> list[str]:
    width = max((len(node.name) for node in graph.nodes.values()), default=0)
    kinds = max((len(node.kind) for node in graph.nodes.values()), default=0)
    lines = []
    for node in graph.nodes.values():
        parents = [graph.nodes[uid].name for uid in node.parents]
        reads = f"reads {', '.join(parents)}" if parents else ""
        lines.append(f"  {node.name:<{width}}  {node.kind:<{kinds}}  {reads}".rstrip())
    return lines


def _tree(graph: Graph, start: GraphNode, is_upstream: bool) -> list[str]:
    """Everything on one side, indented by its distance; what was shown before is not unfolded."""
    around: dict[str, list[str]] = {uid: [] for uid in graph.nodes}
    for parent, child in graph.edges:
        near, far = (child, parent) if is_upstream else (parent, child)
        around[near].append(far)
    lines: list[str] = []
    seen: set[str] = set()
    waiting = [(1, uid) for uid in reversed(around[start.unique_id])]
    while waiting:
        depth, uid = waiting.pop()
        further = around[uid]
        again = " (see above)" if uid in seen and further else ""
        lines.append(f"{'  ' * depth}{_described(graph.nodes[uid])}{again}")
        if uid not in seen:
            seen.add(uid)
            waiting += [(depth + 1, more) for more in reversed(further)]
    return lines


def _column_tree(graph: Graph, start: Column, is_upstream: bool) -> list[str]:
    trail = column_trail(graph.column_edges, start, upstream=is_upstream)
    return [
        f"{'  ' * (depth + 1)}{_label(graph, edge.source if is_upstream else edge.target)}"
        f"  {_how(edge.how)}"
        for depth, edge in trail
    ]


def _described(node: GraphNode) -> str:
    return f"{node.name}  {node.kind}"


def _label(graph: Graph, column: Column) -> str:
    return f"{graph.nodes[column.node].name}.{column.name}"


def _how(source: ColumnSource) -> str:
    words = (source.subtype or source.type).lower().replace("_", " ")
    return f"{words}, masked" if source.is_masked else words


def _node(node: GraphNode) -> dict[str, Any]:
    built = node.built
    return {
        "unique_id": node.unique_id,
        "name": node.name,
        "kind": node.kind,
        "description": node.description or None,
        "datasets": [
            {"namespace": data.namespace, "name": data.name}
            for data in (built.datasets if built else ())
        ],
        "columns": [
            {"name": column.name, "type": column.type, "description": column.description or None}
            for column in node.columns
        ],
        "run_id": built.run_id if built else None,
        "built_at": built.at.isoformat() if built else None,
    }


def _edge(edge: ColumnEdge) -> dict[str, Any]:
    return {
        "from": {"node": edge.source.node, "column": edge.source.name},
        "to": {"node": edge.target.node, "column": edge.target.name},
        "type": edge.how.type,
        "subtype": edge.how.subtype,
        "masked": edge.how.is_masked,
    }


def _shape(node: GraphNode) -> str:
    name = _quoted(node.name)
    match node.unique_id.partition(".")[0]:
        case "source":
            return f'[("{name}")]'
        case "exposure":
            return f'(["{name}"])'
        case _:
            return f'["{name}"]'


def _quoted(name: str) -> str:
    return name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
