"""The little SQL text that DuckDB is spoken to in."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a name: a column, a table, a schema."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string."""
    return "'" + text.replace("'", "''") + "'"
