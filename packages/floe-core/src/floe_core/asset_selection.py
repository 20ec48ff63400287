"""dbt's selection syntax for transforms that are not dbt's: names, tags, unions, intersections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from floe_core.errors import UsageError
from floe_core.index import Node

_GRAPH = re.compile(r"(?P<before>@|\d*\+)?(?P<plain>.*?)(?P<after>\+\d*)?")


def is_selected(node: Node, select: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the node of such a transform is among what `--select` and `--exclude` stand for.

    `NAME`, `tag:NAME` and wildcards are understood; other methods of dbt's match nothing.

    Raises:
        UsageError: if a graph operator stands at the transform: dbt's graph ends there.
    """
    is_in = not select or _matches(node, select)
    return is_in and not _matches(node, exclude)


def _matches(node: Node, selections: Sequence[str]) -> bool:
    return any(
        all(_matches_one(node, criterion) for criterion in union.split(","))
        for selection in selections
        for union in selection.split()
    )


def _matches_one(node: Node, criterion: str) -> bool:
    found = _GRAPH.fullmatch(criterion)
    if found is None:
        return False
    method, separator, value = found["plain"].partition(":")
    words: Sequence[str] = (node.name,)
    if separator and method == "tag":
        words = node.tags
    elif separator and method != "fqn":
        return False
    pattern = value if separator else found["plain"]
    is_match = any(fnmatchcase(word, pattern) for word in words)
    if is_match and (found["before"] or found["after"]):
        raise UsageError(
            f"`{criterion}` asks for what is before or after transform `{node.name}`, which is "
            "not dbt's",
            help=f"Select `{found['plain']}`, and name the other transforms with `--transform` or "
            "`--select`.",
        )
    return is_match
