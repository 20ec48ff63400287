"""Finding literal secrets in a user's file before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from floe_core.detectors import USER_INFO, kinds
from floe_core.diagnostics import Diagnostic, FieldPath, Position, Report
from floe_core.masking import names_secret
from floe_core.source import Source

REFUSED = {"secret_ref": "refused"}
"""Stands in the data for a literal secret that was refused."""

_MASKED = "***"
_REFERENCE_KEYS = frozenset({"secretref", "secretname", "key", "ref", "name"})
"""Keys of a reference, and what users take for them, without `_` and `-`."""

_ENTRIES: frozenset[FieldPath] = frozenset(
    {
        ("storage",),
        ("catalogs",),
        ("compute",),
        ("layers",),
        ("resource_presets",),
        ("governance", "policies"),
    }
)
"""Mappings whose keys are names that users choose: an entry named `token` is none."""

_HELP = (
    "keep the value in a secret and write `{secret_ref: NAME, key: KEY}`; "
    "environment variable NAME_KEY is one place for it"
)
_HELP_URL = (
    "take the user name and the password out of the URL; "
    "where floe signs in, they are written as `{secret_ref: NAME, key: KEY}`"
)
_HELP_VALUE = "remove it; where a secret is needed, it is written as `{secret_ref: NAME, key: KEY}`"

_VARIABLE = re.compile(r"\$\{\w+\}|\{\{.*\benv_var\(.*\}\}")


def refuse_literal_secrets(source: Source, report: Report) -> None:
    """Report literal secrets, mask them in the source's lines and take them out of its data.

    A key named like a secret (`password`, `db_token`, `privateKey`, ...) must hold
    `{secret_ref: NAME}`; keys ending in `_ref` and `_env` hold names. All other keys and values
    are searched for tokens and private keys with detect-secrets.
    """
    if source.data is None:
        return
    parts: list[tuple[FieldPath, dict[str, Any]]] = [((), source.data), *source.dropped.items()]
    for root, data in parts:
        _refuse_by_name(source, data, root, report)
    found = kinds(text for _, data in parts for text in _texts(data))
    if found:
        for root, data in parts:
            _refuse_by_looks(source, data, root, found, report)
    if source.masked:
        report.update(lambda diagnostic: _masked_anew(source, diagnostic))


def _masked_anew(source: Source, diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic with all that is known to be secret masked on its line."""
    if diagnostic.file != source.path or diagnostic.position is None:
        return diagnostic
    return replace(diagnostic, source=source.line(diagnostic.position))


def _refuse_by_name(source: Source, data: Any, path: FieldPath, report: Report) -> None:
    """Refuse what stands under a key that is named like a secret, and is no reference."""
    for key, value in _items(data):
        at = (*path, key)
        is_entry = isinstance(value, dict) and path in _ENTRIES
        if not isinstance(key, str) or is_entry or not names_secret(key):
            _refuse_by_name(source, value, at, report)
            continue
        if value is None:
            _mask_to_line_end(source, at)
        literals = list(_literals(value, at))
        for literal in literals:
            _mask(source, literal)
        if literals:
            _report_named(source, at, literals[0], value, report)
            data[key] = dict(REFUSED)


def _report_named(
    source: Source, at: FieldPath, literal: FieldPath, value: Any, report: Report
) -> None:
    message = "holds a literal secret"
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        message = "must name a secret; variables are not filled in here"
    source.reported.add(at)
    report.add(source.diagnostic("FLOE-X001", literal, message, help=_HELP))


def _literals(value: Any, path: FieldPath) -> Iterator[FieldPath]:
    """Paths of the values in what should be a reference that are not parts of one."""
    if isinstance(value, dict | list):
        for key, item in _items(value):
            if not (isinstance(key, str) and _is_reference_key(key)):
                yield from _literals(item, (*path, key))
    elif value is not None and not isinstance(value, bool):
        yield path


def _is_reference_key(key: str) -> bool:
    return re.sub(r"[_-]", "", key).casefold() in _REFERENCE_KEYS


def _refuse_by_looks(
    source: Source, data: Any, path: FieldPath, found: Mapping[str, str], report: Report
) -> None:
    """Refuse keys and values that look like a secret."""
    for key, value in _items(data):
        at = (*path, key)
        if key in found:
            _refuse_key(source, data, at, found[key], report)
        elif isinstance(value, str) and value in found:
            _mask(source, at)
            source.reported.add(at)
            is_url = USER_INFO.search(value) is not None
            data[key] = USER_INFO.sub("://", value) if is_url else _MASKED
            message = f"looks like a secret ({found[value]})"
            help = _HELP_URL if is_url else _HELP_VALUE
            report.add(source.diagnostic("FLOE-X001", at, message, help=help))
        else:
            _refuse_by_looks(source, value, at, found, report)


def _refuse_key(source: Source, data: Any, at: FieldPath, kind: str, report: Report) -> None:
    del data[at[-1]]
    message = f"has a key that looks like a secret ({kind})"
    diagnostic = source.diagnostic("FLOE-X001", at[:-1], message, help=_HELP_VALUE)
    place = source.places.get(at)
    if place is not None and place.key is not None:
        source.masked.add(place.key)
        diagnostic = replace(diagnostic, position=place.key)
    report.add(diagnostic)


def _items(data: Any) -> list[tuple[Any, Any]]:
    if isinstance(data, dict):
        return list(data.items())
    return list(enumerate(data)) if isinstance(data, list) else []


def _texts(data: Any) -> Iterator[str]:
    """All keys and all texts of the data."""
    for key, value in _items(data):
        if isinstance(key, str):
            yield key
        if isinstance(value, str):
            yield value
        yield from _texts(value)


def _mask(source: Source, path: FieldPath) -> None:
    """Show the value at `path` as stars, on all of its lines."""
    place = source.places.get(path)
    if place is None:
        return
    start = place.value
    line = source.lines[start.line - 1]
    end = start.end_column
    is_cut = end <= start.column + 1 and place.last_line > start.line
    if is_cut or re.match(r"\s+#", line[end - 1 :]):
        end = len(line) + 1
    source.masked.add(Position(start.line, start.column, end))
    for number in range(start.line + 1, place.last_line + 1):
        source.masked.add(Position(number, 1, len(source.lines[number - 1]) + 1))


def _mask_to_line_end(source: Source, path: FieldPath) -> None:
    """Show as stars what YAML takes for a comment or an anchor after the key at `path`."""
    place = source.places.get(path)
    if place is None or place.key is None:
        return
    line = source.lines[place.key.line - 1]
    colon = line.find(":", place.key.end_column - 1)
    if line[colon + 1 :].strip():
        source.masked.add(Position(place.key.line, colon + 3, len(line) + 1))
