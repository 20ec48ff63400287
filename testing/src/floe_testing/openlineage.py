"""Checks events against OpenLineage's schema, as the installed client carries it.

The specification is published as JSON Schema on openlineage.io alone. The client's classes are
generated from it, field by field, with the URL of each definition: they are turned back here.
"""

from __future__ import annotations

import enum
import importlib
import pkgutil
import types
import typing
from datetime import datetime
from functools import cache
from typing import Any

import attr
import jsonschema
from openlineage.client import generated
from openlineage.client.event_v2 import RunEvent

_FORMATS = {
    "eventTime": "date-time",
    "nominalStartTime": "date-time",
    "nominalEndTime": "date-time",
    "lastUpdated": "date-time",
    "runId": "uuid",
    "producer": "uri",
    "schemaURL": "uri",
    "_producer": "uri",
    "_schemaURL": "uri",
    "uri": "uri",
    "url": "uri",
}
_ALWAYS = frozenset({"producer", "schemaURL", "_producer", "_schemaURL"})
"""Required, though the classes fill them in."""

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
}


def check(event: dict[str, Any]) -> None:
    """Check an event, and each of its facets against the definition that the facet names.

    Raises:
        jsonschema.ValidationError: if it is not valid.
        AssertionError: if a facet names a definition that the client does not have.
    """
    _validate(event, RunEvent)
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    for facet in _facets(event):
        url = facet["_schemaURL"]
        if url.startswith("https://openlineage.io/"):
            assert url in definitions(), url
            _validate(facet, definitions()[url])


@cache
def definitions() -> dict[str, type]:
    """The client's facet classes, by the URL of their definition."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__, f"{generated.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and hasattr(value, "_get_schema"):
                found[value._get_schema()] = value
    return found


def _validate(document: Any, kind: type) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(_schema(kind), format_checker=checker).validate(document)


def _facets(value: Any) -> typing.Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for item in value.values():
            yield from _facets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _facets(item)


@cache
def _schema(kind: type) -> dict[str, Any]:
    """JSON Schema of a class, with what it refers to inside."""
    hints = typing.get_type_hints(kind)
    properties, required = {}, []
    for field in attr.fields(kind):
        properties[field.name] = _of_type(hints[field.name])
        if field.name in _FORMATS:
            properties[field.name] |= {"format": _FORMATS[field.name]}
        if field.default is attr.NOTHING or field.name in _ALWAYS:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": required}


def _of_type(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return _of_type(next(part for part in arguments if part is not type(None)))
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hint.__name__ == "SchemaDatasetFacetFields":  # it holds itself
        return {"type": "object", "required": ["name"]}
    return _schema(hint)
