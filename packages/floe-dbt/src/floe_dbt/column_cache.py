"""Column lineage of former runs, so that SQL that has not changed is not read again."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson

from floe_core.errors import FloeError
from floe_core.layout import write_atomic
from floe_dbt.column_lineage import (
    TRANSFORMATIONS,
    ColumnLineage,
    InputField,
    Relation,
    read_column_lineage,
)

logger = logging.getLogger(__name__)

_FORMAT = 1
"""To be raised when what is kept, or what is read from SQL, changes."""

_MOST_ENTRIES = 3_000

_MOST_CHARACTERS = 16_000_000
"""Of all entries together. An entry of a model of 20 columns has about a thousand."""


class ColumnLineageCache:
    """Reads column lineage, and keeps it in one file.

    The file is read when lineage is first asked for, and written by `save` alone. A file that is
    absent or damaged is an empty one. Threads may share a cache.

    Args:
        path: The file, such as `Layout.column_lineage(environment)`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, str] | None = None
        self._touched: dict[str, None] = {}
        self._has_changed = False

    def read(
        self,
        sql: str,
        dialect: str,
        schemas: Mapping[Relation, Mapping[str, str]],
        target: Relation,
        columns: Sequence[str],
    ) -> ColumnLineage:
        """As `read_column_lineage`; relations that the SQL does not name make no difference."""
        folded = sql.casefold()
        named = {
            relation: types
            for relation, types in schemas.items()
            if relation.identifier.casefold() in folded
        }
        try:
            key = _key(sql, dialect, named, target, columns)
        except (TypeError, PackageNotFoundError):  # text that is no Unicode, or an odd installation
            return read_column_lineage(sql, dialect, named, target, columns)
        with self._lock:
            if self._entries is None:
                self._entries = _load(self._path)
            entry = self._entries.get(key)
            self._touched[key] = None
        lineage = _decode(entry) if entry else None
        if lineage is None:
            lineage = read_column_lineage(sql, dialect, named, target, columns)
            with self._lock:
                self._entries[key] = _encode(lineage)
                self._has_changed = True
        return lineage

    def save(self) -> None:
        """Write the file if something is new; what was not asked for longest goes first."""
        with self._lock:
            if not self._has_changed or self._entries is None:
                return
            newest_first = [
                *reversed([key for key in self._touched if key in self._entries]),
                *(key for key in reversed(self._entries) if key not in self._touched),
            ]
            kept: dict[str, str] = {}
            characters = 0
            for key in newest_first[:_MOST_ENTRIES]:
                characters += len(self._entries[key])
                if characters > _MOST_CHARACTERS:
                    break
                kept[key] = self._entries[key]
            self._entries = dict(reversed(kept.items()))
            self._has_changed = False
            content = orjson.dumps(self._entries)
        try:
            write_atomic(self._path, content)
        except FloeError as problem:
            logger.debug("column lineage is not kept: %s", problem)


def _key(
    sql: str,
    dialect: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    target: Relation,
    columns: Sequence[str],
) -> str:
    tables = sorted([*_parts(relation), list(types.items())] for relation, types in schemas.items())
    content = orjson.dumps([*_versions(), sql, dialect, tables, _parts(target), list(columns)])
    return hashlib.sha256(content).hexdigest()


@cache
def _versions() -> tuple[object, ...]:
    return _FORMAT, version("floe-dbt"), version("sqlglot")


def _parts(relation: Relation) -> list[str]:
    return [relation.database, relation.schema, relation.identifier]


def _load(path: Path) -> dict[str, str]:
    try:
        entries = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict) or not all(isinstance(text, str) for text in entries.values()):
        return {}
    return entries


def _encode(lineage: ColumnLineage) -> str:
    relations: dict[Relation, int] = {}

    def encode_fields(fields: Sequence[InputField]) -> list[list[object]]:
        return [
            [
                relations.setdefault(field.relation, len(relations)),
                field.column,
                *(way.subtype for way in field.transformations),
            ]
            for field in fields
        ]

    columns = {name: encode_fields(fields) for name, fields in lineage.columns.items()}
    dataset = encode_fields(lineage.dataset)
    return orjson.dumps([[_parts(relation) for relation in relations], columns, dataset]).decode()


def _decode(entry: str) -> ColumnLineage | None:
    """The lineage of an entry; None when it is damaged."""
    try:
        parts, columns, dataset = orjson.loads(entry)
        relations = [Relation(*names) for names in parts]

        def decode_fields(fields: list[list[str]]) -> tuple[InputField, ...]:
            return tuple(
                InputField(
                    relations[int(index)], column, tuple(TRANSFORMATIONS[way] for way in ways)
                )
                for index, column, *ways in fields
            )

        return ColumnLineage(
            columns={name: decode_fields(fields) for name, fields in columns.items()},
            dataset=decode_fields(dataset),
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
