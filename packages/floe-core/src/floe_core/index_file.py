"""`index.json`: the indexes of a product's dbt projects, as one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import orjson

from floe_core.index import Column, Node, ProjectIndex

VERSION = 2
"""Version of the file; a file of another version is not read."""


def dump_index(indexes: Sequence[ProjectIndex]) -> bytes:
    """Serialize indexes; equal indexes give equal bytes."""
    document = {"version": VERSION, "indexes": list(indexes)}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def load_index(content: bytes) -> tuple[ProjectIndex, ...]:
    """Read what `dump_index` wrote.

    Raises:
        ValueError: if the content is not an index file, or one of another version.
    """
    document = orjson.loads(content)
    version = document.get("version") if isinstance(document, dict) else None
    if version != VERSION:
        raise ValueError(
            f"this is not an index file of version {VERSION}; `floe compile` makes one"
        )
    try:
        return tuple(_index(row) for row in document["indexes"])
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"the index file is damaged: {problem}") from problem


def _index(row: dict[str, Any]) -> ProjectIndex:
    nodes = {unique_id: _node(node) for unique_id, node in row["nodes"].items()}
    return ProjectIndex(**_arguments(ProjectIndex, {**row, "nodes": nodes}))


def _node(row: dict[str, Any]) -> Node:
    columns = [Column(**_arguments(Column, column)) for column in row["columns"]]
    return Node(**_arguments(Node, {**row, "columns": columns}))


def _arguments(cls: type[Column | Node | ProjectIndex], row: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a dataclass; JSON has lists where it has tuples."""
    known = {field.name for field in fields(cls)}
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in row.items()
        if key in known
    }
