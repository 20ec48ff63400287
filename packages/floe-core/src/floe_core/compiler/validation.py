"""From data to a spec: what Pydantic says, at the place in the user's file."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Set
from copy import deepcopy
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from floe_core.compiler.wording import Wrong, described, explain
from floe_core.diagnostics import FieldPath, Report, did_you_mean, near_miss
from floe_core.schemas.base import IDENTIFIER_PATTERN
from floe_core.schemas.secret import SecretRef
from floe_core.source import Source

Spec = TypeVar("Spec", bound=BaseModel)
OtherFile = tuple[str, type[BaseModel]]

_ATTEMPTS = 8
UNNAMED = "unnamed"
"""Begins the names that are stood in for names that are missing or wrong."""

_STAND_INS: Mapping[str, Any] = {
    "name": UNNAMED,
    "version": "0.0.0",
    "transforms": [{"name": UNNAMED}],
}
"""What stands at the top level for a required key that is missing or wrong."""

_ITEM_STAND_INS: Mapping[FieldPath, Mapping[str, Any]] = {
    ("transforms",): {},
    ("schedules",): {"cron": "@daily"},
    ("jobs",): {"select": "*"},
}
"""What stands, beside its name, for an item that is wrong; the other items keep their numbers."""


def validate(
    model: type[Spec], source: Source, report: Report, other: OtherFile | None = None
) -> Spec | None:
    """Make a spec of the source's data, and report everything that is wrong with it.

    What is wrong is left out or stood in for, and noted in `source.left_out`, so that later
    stages find further problems in the same go. None when too much is wrong.

    Args:
        model: The spec.
        source: The file; its data is changed.
        report: Takes the diagnostics.
        other: Name and spec of the file that keys may have been meant for.
    """
    if source.data is None:
        return None
    spec, errors = _attempt(model, source.data)
    broken = list(_broken_references(source.data))
    checked = [*errors, *(error for _, error in broken)]
    misspelled = _misspelled_keys(model, checked, source.data)
    for error in _worth_saying(checked, misspelled, source):
        _report(model, source, error, report, other)
    source.left_out |= misspelled
    for path, _ in broken:
        _take_out(source, path)
        spec, errors = _attempt(model, source.data)
    for _ in range(_ATTEMPTS):
        if not errors:
            return spec
        for error in errors:
            _leave_out(model, source, error)
        spec, errors = _attempt(model, source.data)
    return None


def _attempt(model: type[Spec], data: Any) -> tuple[Spec | None, list[ErrorDetails]]:
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as problem:
        return None, [
            error for error in problem.errors(include_url=False) if not _is_emptied(error, data)
        ]


def _is_emptied(error: ErrorDetails, data: Any) -> bool:
    """Whether a list is too short only because its items are wrong, which is said of each."""
    return error["type"] == "too_short" and bool(value_at(data, data_path(data, error["loc"])))


def _broken_references(data: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, ErrorDetails]]:
    """Errors of free-form properties that are meant to refer to a secret, and do not."""
    children: Iterable[tuple[str | int, Any]] = ()
    if isinstance(data, dict | list):
        children = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in children:
        at = (*path, key)
        if "properties" in path and isinstance(value, dict) and _is_reference(value):
            for error in _attempt(SecretRef, value)[1]:
                error["loc"] = (*at, *error["loc"])
                yield at, error
        else:
            yield from _broken_references(value, at)


def _is_reference(value: Mapping[str, Any]) -> bool:
    return any(re.sub(r"[_-]", "", key).casefold() == "secretref" for key in value)


# Going on without what is wrong


def _leave_out(model: type[BaseModel], source: Source, error: ErrorDetails) -> None:
    """Take what is wrong out of the data, or put something that is not wrong in its place."""
    path = data_path(source.data, error["loc"])
    if error["type"] == "missing" and len(path) > 1:
        path = path[:-1]
    while path and isinstance(path[-1], int):
        section = path[:-1]
        if section in _ITEM_STAND_INS:
            item = value_at(source.data, path)
            _stand_in(source, path, {**_ITEM_STAND_INS[section], **_name_of(item, path[-1])})
            return
        path = section
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    if field is not None and field.is_required():
        _stand_in(source, path, _STAND_INS[str(path[0])])
    elif path:
        _take_out(source, path)


def _take_out(source: Source, path: FieldPath) -> None:
    parent = value_at(source.data, path[:-1])
    if isinstance(parent, dict):
        source.left_out.add(path)
        parent.pop(path[-1], None)


def _stand_in(source: Source, path: FieldPath, value: Any) -> None:
    source.left_out.add(path)
    value_at(source.data, path[:-1])[path[-1]] = deepcopy(value)


def _name_of(item: Any, number: str | int) -> Mapping[str, Any]:
    """The item's own name if it is one, so that what refers to it still finds it."""
    name = item.get("name") if isinstance(item, dict) else None
    is_name = isinstance(name, str) and re.fullmatch(IDENTIFIER_PATTERN, name)
    return {"name": name if is_name else f"{UNNAMED}_{number}"}


def is_left_out(source: Source | None, path: FieldPath) -> bool:
    """Whether the value at `path` was wrong, or is part of what was."""
    return source is not None and _is_below(path, source.left_out)


def _is_below(path: FieldPath, paths: Set[FieldPath]) -> bool:
    """Whether a path is one of `paths`, or leads further than one."""
    return any(path[:length] in paths for length in range(1, len(path) + 1))


# Paths


def value_at(data: Any, path: FieldPath) -> Any:
    """The value at `path`, or None."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def data_path(data: Any, location: tuple[str | int, ...]) -> FieldPath:
    """Pydantic's location without the union tags and function names that are not in the data.

    The last part is kept in any case: it is what is missing or unknown.
    """
    path: list[str | int] = []
    was_tag = False
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        was_tag = not was_tag and _is_tag(data, part)
        if was_tag:
            continue
        if _holds(data, part):
            path.append(part)
            data = data[part]
        elif is_last and isinstance(data, dict) and not _is_branch(part):
            path.append(part)
    return tuple(path)


def _is_tag(data: Any, part: str | int) -> bool:
    """Whether a part of a location is the word that chose the branch of a union."""
    return isinstance(data, dict) and any(data.get(key) == part for key in ("type", "mode"))


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(part, int) and isinstance(data, list) and part < len(data)


# What is worth saying

_SCALARS = frozenset({"str", "int", "float", "bool"})
_MODELS = frozenset({"SecretRef", "PrimaryBackend"})


def _is_branch(part: str | int) -> bool:
    """Whether a part of a location names the branch of a union, or a key."""
    return isinstance(part, str) and ("[" in part or part in _SCALARS | _MODELS)


def _worth_saying(
    errors: list[ErrorDetails], misspelled: Set[FieldPath], source: Source
) -> Iterator[ErrorDetails]:
    """The errors that do not merely follow from another one."""
    covered: set[FieldPath] = set()
    for error in sorted(errors, key=lambda error: _distance(error, source.data)):
        path, kind = data_path(source.data, error["loc"]), error["type"]
        if kind == "missing" and path in misspelled:
            continue
        if kind not in {"extra_forbidden", "missing"} and path in covered:
            continue
        covered.update(path[:length] for length in range(len(path) + 1))
        if kind == "extra_forbidden" or not _is_below(path, source.reported):
            yield error


def _misspelled_keys(
    model: type[BaseModel], errors: Iterable[ErrorDetails], data: Any
) -> set[FieldPath]:
    """Paths of the keys that unknown ones were probably meant to be, and that are not there."""
    meant: set[FieldPath] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            path = data_path(data, error["loc"])
            nearest = near_miss(str(path[-1]), _known_keys(model, path[:-1], data))
            if nearest and nearest not in value_at(data, path[:-1]):
                meant.add((*path[:-1], nearest))
    return meant


def _distance(error: ErrorDetails, data: Any) -> int:
    """How far the branch of a union that an error is in is from what is written; 0 fits."""
    distance = 0
    for part in error["loc"]:
        if _holds(data, part):
            data = data[part]
        elif _is_branch(part):
            distance = max(distance, _branch_distance(str(part), data))
    return distance


def _branch_distance(branch: str, value: Any) -> int:
    if isinstance(value, dict):
        return 0 if branch in _MODELS or branch.startswith("dict[") else 1
    if branch.startswith(("list[", "tuple[")):
        return 0 if isinstance(value, list) else 1
    is_scalar_branch = branch in _SCALARS
    if isinstance(value, list):
        return 1
    return 0 if is_scalar_branch or branch == "[key]" else 2


# Reporting


def _report(
    model: type[BaseModel],
    source: Source,
    error: ErrorDetails,
    report: Report,
    other: OtherFile | None,
) -> None:
    path = data_path(source.data, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        _report_unknown_key(model, source, path, report, other)
    elif kind == "missing":
        description = described(_field(model, path, source.data))
        _report_missing(source, path, f": {description}" if description else "", report)
    elif kind == "union_tag_not_found":
        tag = str(error["ctx"]["discriminator"]).strip("'")
        tags = ", ".join(f"`{word}`" for word in _tags(model, path, tag))
        _report_missing(source, (*path, tag), f", one of {tags}", report)
    else:
        wrong, at, on_key = _wrong(model, source, error, path)
        code, message, help = explain(wrong)
        report.add(source.diagnostic(code, at, message, help=help, on_key=on_key))


def _report_missing(source: Source, path: FieldPath, more: str, report: Report) -> None:
    name = str(path[-1])
    report.add(
        source.diagnostic(
            "FLOE-S002",
            path[:-1],
            "is required",
            help=f"add `{name}:`{more}",
            missing=name,
        )
    )


def _wrong(
    model: type[BaseModel], source: Source, error: ErrorDetails, path: FieldPath
) -> tuple[Wrong, FieldPath, bool]:
    """The value that is wrong, its path, and whether its key is what is wrong."""
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    on_key = error["loc"][-1] == "[key]"
    if kind == "union_tag_invalid":
        path = (*path, str(context["discriminator"]).strip("'"))
    value = path[-1] if on_key else value_at(source.data, path)
    is_list = kind in {"list_type", "tuple_type"}
    keys = _known_keys(model, (*path, 0) if is_list else path, source.data)
    field = None if on_key else _field(model, path, source.data)
    raw = None if on_key else source.text(path)
    return Wrong(kind, context, error["msg"], value, raw, field, keys), path, on_key


def _report_unknown_key(
    model: type[BaseModel],
    source: Source,
    path: FieldPath,
    report: Report,
    other: OtherFile | None,
) -> None:
    key = str(path[-1])
    known = _known_keys(model, path[:-1], source.data)
    message = "is not a known key"
    help = did_you_mean(key, known, "known keys") if known else None
    if other is not None and _field(other[1], path, source.data) is not None:
        message = f"is a key of {other[0]}, not of this file"
        help = f"move it to {other[0]}"
    report.add(source.diagnostic("FLOE-S001", path, message, help=help, on_key=True))


# The schema


def _known_keys(model: type[BaseModel], path: FieldPath, data: Any) -> list[str]:
    owner = model_at(model, path, data)
    return list(owner.model_fields) if owner else []


def _field(model: type[BaseModel], path: FieldPath, data: Any) -> Any:
    owner = model_at(model, path[:-1], data)
    return owner.model_fields.get(str(path[-1])) if owner else None


def model_at(model: type[BaseModel], path: FieldPath, data: Any) -> type[BaseModel] | None:
    """The model that describes the value at `path`; the data picks the branch of a union."""
    return _model_in(*_annotation_at(model, path, data))


def _annotation_at(model: type[BaseModel], path: FieldPath, data: Any) -> tuple[Any, Any]:
    """The annotation at `path`, and the value there."""
    annotation: Any = model
    for part in path:
        owner = _model_in(annotation, data)
        if owner is not None:
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field is not None else None
        else:
            annotation = _item_of(annotation)
        data = value_at(data, (part,))
    return annotation, data


def _tags(model: type[BaseModel], path: FieldPath, tag: str) -> list[str]:
    """The values that choose a branch of the union at `path`."""
    annotation, _ = _annotation_at(model, path, None)
    branches = [part for part in _strip(annotation) if isinstance(part, type)]
    fields = [branch.model_fields[tag] for branch in branches if issubclass(branch, BaseModel)]
    return sorted(str(word) for field in fields for word in get_args(field.annotation))


def _strip(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, without Optional and Annotated."""
    if get_origin(annotation) is Annotated:
        return _strip(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for arg in get_args(annotation) for part in _strip(arg)]
    return [annotation]


def _model_in(annotation: Any, data: Any) -> type[BaseModel] | None:
    models = [
        part
        for part in _strip(annotation)
        if isinstance(part, type) and issubclass(part, BaseModel)
    ]
    if len(models) > 1 and isinstance(data, dict):
        return next((m for m in models if _has_tag(m, data)), models[0])
    return models[0] if models else None


def _has_tag(model: type[BaseModel], data: Mapping[str, Any]) -> bool:
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and name in data:
            return data[name] in get_args(field.annotation)
    return False


def _item_of(annotation: Any) -> Any:
    for part in _strip(annotation):
        args = get_args(part)
        if args:
            return args[1] if get_origin(part) is dict else args[0]
    return None
