"""From a set of nodes and tests to the arguments with which dbt builds exactly that set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from floe_core.index import Node
from floe_dagster.units import Unit, is_asset
from floe_dbt.engine import Selection

_Prefix = tuple[str, ...]


def dbt_selection(unit: Unit, unique_ids: Iterable[str]) -> Selection:
    """Select exactly these nodes and tests of a unit's dbt project.

    No arguments at all when they are everything that dbt builds, else one fully qualified name for
    each, and no test that is not named.
    """
    nodes = unit.index.nodes
    wanted = {unique_id for unique_id in unique_ids if unique_id in nodes}
    if all(unique_id in wanted for unique_id, node in nodes.items() if _is_built(node)):
        return Selection()
    caught = _caught(nodes)
    ordered = sorted(wanted, key=lambda unique_id: unit.order[unique_id])
    return Selection(
        select=tuple(_selector(nodes[unique_id], caught) for unique_id in ordered),
        indirect="empty",
    )


def _is_built(node: Node) -> bool:
    return node.resource_type == "test" or is_asset(node)


def _selector(node: Node, caught: Mapping[_Prefix, int]) -> str:
    """Name one node; a name that would catch others as well is narrowed to the node's file."""
    selector = "fqn:" + _one_word(".".join(node.fqn))
    if caught[_flat(node.fqn)] <= 1:
        return selector
    return f"{selector},file:{_one_word(PurePosixPath(node.original_file_path).name)}"


def _one_word(text: str) -> str:
    """Replace what separates selectors by a wildcard for one character."""
    return re.sub(r"[\s,]", "?", text)


def _caught(nodes: Mapping[str, Node]) -> Mapping[_Prefix, int]:
    """Count the nodes that each name catches.

    dbt takes `a.b` for the node and for all nodes in a folder of that name, and looks for it with
    and without the name of the package.
    """
    counts: Counter[_Prefix] = Counter()
    for node in nodes.values():
        fqn = _flat(node.fqn)
        ends = range(1, len(fqn) + 1)
        counts.update({fqn[:end] for end in ends} | {fqn[1:end] for end in ends if end > 1})
    return counts


def _flat(fqn: Sequence[str]) -> _Prefix:
    return tuple(part for segment in fqn for part in segment.split("."))
