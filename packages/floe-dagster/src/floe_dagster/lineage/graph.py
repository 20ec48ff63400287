"""The lineage graph of a product: tables from dbt's index, columns from the last runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from floe_core.diagnostics import near_miss
from floe_core.errors import UsageError
from floe_core.index import Node, ProjectIndex
from floe_dagster.lineage.facts import ColumnSource, TableColumn
from floe_dagster.lineage.store import StoredLineage, StoredNode

_SHOWN = frozenset({"model", "seed", "snapshot", "source", "asset", "exposure"})


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A table, view, file or consumer.

    Attributes:
        unique_id: Its unique id.
        name: Its name: of a source with the source's, of a version with the version.
        kind: Its materialization, else its resource type.
        description: What the project says about it.
        parents: Unique ids of what it reads, in order.
        columns: Its columns, in order.
        built: What the last run that built it told.
    """

    unique_id: str
    name: str
    kind: str
    description: str = ""
    parents: tuple[str, ...] = ()
    columns: tuple[TableColumn, ...] = ()
    built: StoredNode | None = None


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """A column of a node."""

    node: str
    name: str


@dataclass(frozen=True, slots=True)
class ColumnEdge:
    """A column, and one that is made of it or whose rows it decides on."""

    source: Column
    target: Column
    how: ColumnSource


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by unique id, parents first."""

    nodes: Mapping[str, GraphNode] = field(default_factory=dict)

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Parent and child."""
        return [
            (parent, node.unique_id)
            for node in self.nodes.values()
            for parent in node.parents
            if parent in self.nodes
        ]

    @property
    def column_edges(self) -> list[ColumnEdge]:
        """What columns are made of, as far as it is known."""
        return [edge for node in self.nodes.values() for edge in self._column_edges(node)]

    def find(self, name: str) -> GraphNode:
        """The node that a user names: by its name, or by its unique id.

        Raises:
            UsageError: if there is none, or more than one.
        """
        if name in self.nodes:
            return self.nodes[name]
        found = [node for node in self.nodes.values() if name in _names(node)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"`{node.unique_id}`" for node in found)
            raise UsageError(
                f"`{name}` is the name of {len(found)} nodes", help=f"Name one: {ids}."
            )
        names = [known for node in self.nodes.values() for known in _names(node)]
        nearest = near_miss(name, names)
        hint = f"Did you mean `{nearest}`?" if nearest else "`floe lineage` shows all there are."
        raise UsageError(f"there is no model, seed, snapshot or source `{name}`", help=hint)

    def column(self, node: GraphNode, name: str) -> Column:
        """A column of a node, whatever the case of its name.

        Raises:
            UsageError: if it has no such column, or its columns are not known yet.
        """
        known = {column.name.lower(): column.name for column in node.columns}
        for edge in self.column_edges:
            for end in (edge.source, edge.target):
                if end.node == node.unique_id:
                    known.setdefault(end.name.lower(), end.name)
        if not known:
            raise UsageError(
                f"the columns of `{node.name}` are not known yet",
                help="`floe run` builds it, and notes what its columns are made of.",
            )
        if name.lower() not in known:
            nearest = near_miss(name, known.values())
            listed = ", ".join(known.values())
            raise UsageError(
                f"`{node.name}` has no column `{name}`",
                help=f"Did you mean `{nearest}`?" if nearest else f"It has {listed}.",
            )
        return Column(node.unique_id, known[name.lower()])

    def around(self, start: str, *, upstream: bool, downstream: bool) -> Graph:
        """The part of the graph that a node is made of, that is made of it, or both."""
        wanted = {start}
        if upstream:
            parents: dict[str, list[str]] = {uid: [] for uid in self.nodes}
            for parent, child in self.edges:
                parents[child].append(parent)
            wanted.update(_reached(start, lambda uid: parents[uid]))
        if downstream:
            children = self.children()
            wanted.update(_reached(start, lambda uid: children[uid]))
        return Graph({uid: node for uid, node in self.nodes.items() if uid in wanted})

    def children(self) -> dict[str, list[str]]:
        """Unique ids of the direct children of each node."""
        found: dict[str, list[str]] = {uid: [] for uid in self.nodes}
        for parent, child in self.edges:
            found[parent].append(child)
        return found

    def _column_edges(self, node: GraphNode) -> Iterator[ColumnEdge]:
        lineage = node.built.lineage if node.built else None
        for name, sources in (lineage.columns if lineage else {}).items():
            target = Column(node.unique_id, name)
            for source in sources:
                if source.node in self.nodes:
                    yield ColumnEdge(Column(source.node, source.column), target, source)


def build_graph(indexes: Sequence[ProjectIndex], stored: StoredLineage) -> Graph:
    """Put together what dbt knows and what the last runs told."""
    known = {uid: node for index in indexes for uid, node in index.nodes.items()}
    known = {uid: node for uid, node in known.items() if node.resource_type in _SHOWN}
    made = _writers(known)
    nodes = {}
    for uid, node in known.items():
        parents = dict.fromkeys(parent for parent in node.depends_on if parent in known)
        if node.resource_type == "source":
            parents |= dict.fromkeys(made.get(uid, ()))
        built = stored.nodes.get(uid)
        nodes[uid] = GraphNode(
            unique_id=uid,
            name=_name(node),
            kind=node.materialized or node.resource_type,
            description=node.description,
            parents=tuple(parents),
            columns=_columns(node, built),
            built=built,
        )
    return Graph({uid: nodes[uid] for uid in _in_order(nodes)})


def column_trail(
    edges: Iterable[ColumnEdge], start: Column, *, upstream: bool
) -> list[tuple[int, ColumnEdge]]:
    """The edges that lead to a column or away from it, depth first, each with its depth from 0."""
    found: dict[Column, list[ColumnEdge]] = {}
    for edge in edges:
        found.setdefault(edge.target if upstream else edge.source, []).append(edge)
    trail: list[tuple[int, ColumnEdge]] = []
    seen: set[Column] = {start}
    waiting = [(0, edge) for edge in reversed(found.get(start, ()))]
    while waiting:
        depth, edge = waiting.pop()
        trail.append((depth, edge))
        following = edge.source if upstream else edge.target
        if following not in seen:
            seen.add(following)
            waiting += [(depth + 1, more) for more in reversed(found.get(following, ()))]
    return trail


def _writers(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """What writes the table of a source: a Python transform, or a model of another project."""
    assets: dict[tuple[str, ...], str] = {}
    tables: dict[tuple[str | None, str], str] = {}
    for uid, node in nodes.items():
        if node.resource_type == "asset":
            assets[node.asset_key] = uid
        elif node.resource_type in {"model", "seed", "snapshot"}:
            tables[node.schema, node.alias or node.name] = uid
    found: dict[str, list[str]] = {}
    for uid, node in nodes.items():
        if node.resource_type == "source":
            writers = (
                assets.get(node.asset_key),
                tables.get((node.schema, node.alias or node.name)),
            )
            found[uid] = [writer for writer in writers if writer is not None]
    return found


def _columns(node: Node, built: StoredNode | None) -> tuple[TableColumn, ...]:
    documented = {column.name.lower(): column for column in node.columns}
    if built is None or not built.columns:
        return tuple(
            TableColumn(column.name, column.data_type, column.description)
            for column in node.columns
        )
    return tuple(
        TableColumn(
            column.name,
            column.type,
            column.description
            or (words.description if (words := documented.get(column.name.lower())) else ""),
        )
        for column in built.columns
    )


def _name(node: Node) -> str:
    if node.resource_type == "source":
        return f"{node.source_name}.{node.name}"
    return node.name if node.version is None else f"{node.name}.v{node.version}"


def _names(node: GraphNode) -> tuple[str, ...]:
    return (node.name, node.name.rpartition(".")[2]) if _is_source(node) else (node.name,)


def _is_source(node: GraphNode) -> bool:
    return node.unique_id.startswith("source.")


def _in_order(nodes: Mapping[str, GraphNode]) -> list[str]:
    graph = {uid: node.parents for uid, node in sorted(nodes.items())}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError:  # a source that is a model's own table
        return sorted(nodes)


def _reached(start: str, following: Callable[[str], Iterable[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for uid in following(waiting.pop()):
            if uid not in found:
                found.add(uid)
                waiting.append(uid)
    return found
