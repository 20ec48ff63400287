"""Where the values of the artifacts came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from floe_core.diagnostics import FieldPath, Position, display_path, field_name, near_miss
from floe_core.errors import UsageError
from floe_core.source import Source

Kind = Literal[
    "file", "default", "built-in", "environment", "option", "policy", "dbt", "computed", "unset"
]
"""What made a value: it is written in a file, the schema's default or part of the built-in
platform, follows from the choice of the environment, was given as an option, is the stricter of
two policies, is what dbt knows, was computed by floe, or is no value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value came from.

    Attributes:
        kind: What made it.
        reason: The same in words, without a full stop; empty when the place says it all.
        file: File that it stands in.
        position: Where in the file.
        source: The source line at `position`, with secrets masked.
        field: Field path as it is written in the file.
        also: What else had a say.
    """

    kind: Kind
    reason: str = ""
    file: Path | None = None
    position: Position | None = None
    source: str | None = None
    field: str | None = None
    also: tuple[Origin, ...] = ()

    def place(self) -> str | None:
        """`file:line:column`, as far as it is known."""
        if self.file is None:
            return None
        name = display_path(self.file)
        if self.position is None:
            return name
        return f"{name}:{self.position.line}:{self.position.column}"

    def to_dict(self) -> dict[str, Any]:
        """The same as data; the keys are stable."""
        return {
            "kind": self.kind,
            "reason": self.reason or None,
            "file": display_path(self.file) if self.file else None,
            "line": self.position.line if self.position else None,
            "column": self.position.column if self.position else None,
            "field": self.field,
            "source": self.source,
            "also": [origin.to_dict() for origin in self.also],
        }


def in_file(source: Source, path: FieldPath, *, kind: Kind = "file", reason: str = "") -> Origin:
    """The place of a value in a file, which must be there."""
    place = source.places[path]
    return Origin(
        kind,
        reason,
        source.path,
        place.value,
        source.line(place.value),
        field_name(place.written) or None,
    )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value of the artifacts, and where it came from."""

    path: FieldPath
    value: Any
    origin: Origin

    @property
    def field(self) -> str:
        """Its path for people."""
        return field_name(self.path)

    def to_dict(self) -> dict[str, Any]:
        """The same as data; the keys are stable."""
        return {"field": self.field, "value": self.value, "origin": self.origin.to_dict()}


def leaves(data: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    """Single values of a document with their paths; empty mappings and lists are values too."""
    if isinstance(data, dict | list) and data:
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, (*path, key))
    else:
        yield path, data


def find(found: Sequence[Leaf], document: Mapping[str, Any], field: str) -> list[Leaf]:
    """The leaves that a field names: itself, or everything below it.

    Args:
        found: All leaves.
        document: The document that they are of; items of its lists may be called by name.
        field: A path such as `transforms[0].layer` or `transforms.bronze.layer`.

    Raises:
        UsageError: if there is no such field.
    """
    names: dict[str, FieldPath] = {}
    for leaf in found:
        for length in range(1, len(leaf.path) + 1):
            for name in _spellings(leaf.path[:length], document):
                names.setdefault(name, leaf.path[:length])
    path = names.get(field)
    if path is None:
        nearest = near_miss(field, names) or near_miss(field.rpartition(".")[2], names)
        sections = ", ".join(f"`{name}`" for name in document)
        hint = f"did you mean `{nearest}`? " if nearest else ""
        raise UsageError(
            f"the artifacts have no field `{field}`",
            help=f"{hint}sections: {sections}; `floe explain --all` shows every field",
        )
    return [leaf for leaf in found if leaf.path[: len(path)] == path]


def _spellings(path: FieldPath, document: Any) -> Iterator[str]:
    """A path for people, with items of lists by number and by name."""
    choices: list[tuple[str | int, ...]] = []
    at = document
    for part in path:
        at = at[part]
        name = at.get("name") if isinstance(part, int) and isinstance(at, dict) else None
        choices.append((part,) if name is None else (part, str(name)))
    for parts in product(*choices):
        yield field_name(parts)
