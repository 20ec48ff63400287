"""Where the columns of a dbt model come from, read from its compiled SQL.

sqlglot parses the SQL and says what each name means; floe follows the columns through the query
once. What is stated is known: a column whose sources are not all clear is left out, and SQL that
cannot be read gives nothing. Nothing here raises.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)

_DIALECTS: Mapping[str, str] = {
    "athena": "athena",
    "bigquery": "bigquery",
    "databricks": "databricks",
    "duckdb": "duckdb",
    "duckdb_iceberg": "duckdb",
    "postgres": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "spark": "spark",
    "sqlserver": "tsql",
    "trino": "trino",
}
"""sqlglot's dialect of each of dbt's adapter types whose rules for names are looked into.

ClickHouse is left out, for one: an alias comes before a column of the same name there.
"""

_LONGEST = 200_000
"""Characters of SQL that are read at most: about a second's work. Models have some thousands."""

_DEEPEST = 100
"""Brackets inside each other that are read at most."""

_MOST_SUBSCRIPTS = 500
"""Subscripts right behind each other; sqlglot takes long over many."""

_BRACKET = re.compile(r"[(\[{]|[)\]}]")


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A table or view by name.

    Attributes:
        database: Database, catalog or project; empty when the SQL names none.
        schema: Schema or namespace; empty when the SQL names none.
        identifier: The name itself.
    """

    database: str
    schema: str
    identifier: str


Subtype = Literal[
    "IDENTITY",
    "TRANSFORMATION",
    "AGGREGATION",
    "JOIN",
    "FILTER",
    "GROUP_BY",
    "SORT",
    "WINDOW",
    "CONDITIONAL",
]
"""OpenLineage's subtypes of a transformation, as they are written there."""


@dataclass(frozen=True, slots=True)
class Transformation:
    """How an input field reaches what it is an input of, in OpenLineage's words.

    Attributes:
        type: `DIRECT`: the value is made from the field. `INDIRECT`: the field decides on the value
            or on the rows.
        subtype: The first three subtypes are direct, the others indirect.
    """

    type: Literal["DIRECT", "INDIRECT"]
    subtype: Subtype


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "IDENTITY": Transformation("DIRECT", "IDENTITY"),
    "TRANSFORMATION": Transformation("DIRECT", "TRANSFORMATION"),
    "AGGREGATION": Transformation("DIRECT", "AGGREGATION"),
    "JOIN": Transformation("INDIRECT", "JOIN"),
    "FILTER": Transformation("INDIRECT", "FILTER"),
    "GROUP_BY": Transformation("INDIRECT", "GROUP_BY"),
    "SORT": Transformation("INDIRECT", "SORT"),
    "WINDOW": Transformation("INDIRECT", "WINDOW"),
    "CONDITIONAL": Transformation("INDIRECT", "CONDITIONAL"),
}
"""All transformations, by subtype."""


@dataclass(frozen=True, slots=True)
class InputField:
    """A column of a relation that the model reads, spelled as in the schema that was given."""

    relation: Relation
    column: str
    transformations: tuple[Transformation, ...]


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """What is known of where a table's columns come from.

    Attributes:
        columns: Input fields of each output column, both in the order of the table. A column that
            is not known is absent; one that is made from no column (a literal, `count(*)`) is
            there without fields. Indirect fields are those that act on this column alone:
            the condition of a `CASE`, the partition of a window.
        dataset: Fields that decide on the rows: of joins, filters, groups and sorts. Each is
            true; there may be more.
    """

    columns: Mapping[str, tuple[InputField, ...]]
    dataset: tuple[InputField, ...]


UNKNOWN = ColumnLineage(columns={}, dataset=())
"""Nothing is known."""


def read_column_lineage(
    sql: str,
    dialect: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    target: Relation,
    columns: Sequence[str],
) -> ColumnLineage:
    """Read where the columns of a table come from; `UNKNOWN` when it cannot be said.

    A relation in the SQL is the one of `schemas` with all the same parts, letter case as the
    dialect has it or else by the only name that differs in nothing but case. The target itself
    (`{{ this }}` of an incremental model) is no input: columns are followed to it and not named.

    Args:
        sql: Compiled SQL of the model: one query.
        dialect: dbt's adapter type.
        schemas: Types by column, in the order of the table, of the relations that are read.
        target: The table that was built.
        columns: The real columns of the target, in order.
    """
    try:
        return _read(sql, dialect, schemas, target, columns)
    except NotReadError as problem:
        reason = str(problem)
    except Exception as problem:  # a query that is not understood must never fail a run
        # Its message may quote the SQL, and so what must not be in a log.
        reason = type(problem).__name__
    logger.debug("no column lineage of %s: %s", target.identifier, reason)
    return UNKNOWN


class NotReadError(Exception):
    """SQL is not read, for a reason that may be logged."""


def _read(
    sql: str,
    dialect: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    target: Relation,
    columns: Sequence[str],
) -> ColumnLineage:
    if dialect not in _DIALECTS:
        raise NotReadError(f"SQL of {dialect} is not read")
    if len(sql) > _LONGEST:
        raise NotReadError(f"its SQL has {len(sql)} characters")
    if sql.count("][") > _MOST_SUBSCRIPTS:
        raise NotReadError("its SQL has too many subscripts")
    depth = 0
    for bracket in _BRACKET.finditer(sql):
        depth = depth + 1 if bracket[0] in "([{" else max(depth - 1, 0)
        if depth > _DEEPEST:
            raise NotReadError(f"its SQL has more than {_DEEPEST} brackets inside each other")
    from floe_dbt.column_walk import follow_columns

    return follow_columns(sql, _DIALECTS[dialect], schemas, target, columns)
