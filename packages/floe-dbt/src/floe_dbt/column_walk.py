"""Follows the columns of one query: one `qualify`, then one walk over its scopes.

This module imports sqlglot; `floe_dbt.column_lineage` imports it when there is SQL to read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from sqlglot import exp, parse
from sqlglot.dialects.dialect import Dialect
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import Schema

from floe_dbt.column_lineage import (
    TRANSFORMATIONS,
    ColumnLineage,
    InputField,
    NotReadError,
    Relation,
)

# How a field reaches a value, as bits: several ways may lead from one to the other.
_IDENTITY: Final = 1
_TRANSFORMATION: Final = 2
_AGGREGATION: Final = 4
_JOIN: Final = 8
_FILTER: Final = 16
_GROUP_BY: Final = 32
_SORT: Final = 64
_WINDOW: Final = 128
_CONDITIONAL: Final = 256
_DIRECT: Final = _IDENTITY | _TRANSFORMATION | _AGGREGATION

# The bits are numbered in the order of `TRANSFORMATIONS`.
_WAYS: Final = {1 << position: way for position, way in enumerate(TRANSFORMATIONS.values())}

_MOST_STEPS: Final = 300_000
"""Fields that are copied from one column to the next at most, in one query."""

_MOST_COLUMNS: Final = 50_000
"""Columns that the stars of one query may stand for, at a cautious estimate."""

_MOST_SELECTS: Final = 1_000
"""SELECTs of one query; the time that sqlglot takes grows with the square of their number."""

_MOST_CLIMBING: Final = 1_000_000
"""Levels of all names of columns together: sqlglot climbs from each up to its SELECT."""

_AUTOMATIC: Final = re.compile(r"_col_\d+")
"""Names that sqlglot gives to columns without one; the database names them otherwise."""

_KNOWN_CLAUSES: Final = frozenset(
    {
        *("with_", "expressions", "from_", "joins", "laterals", "where", "group", "having"),
        *("qualify", "windows", "distinct", "order", "limit", "offset", "hint", "sample"),
        *("locks", "sort", "cluster", "distribute", "settings", "format", "options"),
    }
)
"""Parts of a SELECT that are followed, or that change neither columns nor their sources."""

_OFFSETS: Final = (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue)
"""Functions of windows that pick a value and do not sum up."""

_AGGREGATES: Final = frozenset(
    {
        *("approx_top_k", "array_agg", "bitstring_agg", "count_if", "entropy", "favg", "fsum"),
        *("geomean", "geometric_mean", "group_concat", "histogram", "histogram_exact", "list"),
        *("kahan_sum", "kurtosis_pop", "last", "list_agg", "mad", "product", "quantile_disc"),
        *("regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2", "regr_slope"),
        *("regr_sxx", "regr_sxy", "regr_syy", "reservoir_quantile", "sem", "string_agg"),
        *("sum_no_overflow", "sumkahan", "wavg", "weighted_avg"),
    }
)
"""Aggregates that sqlglot takes for functions that it does not know."""

_ROW_MAKERS: Final = (exp.Unnest, exp.Explode, exp.Posexplode, exp.Inline)
"""Functions in a SELECT that make rows, and perhaps several columns."""

_NOT_FOLLOWED: Final = (
    *(exp.Table, exp.TableColumn, exp.PositionalColumn, exp.Parameter, exp.Placeholder, exp.Pivot),
)
"""Parts of an expression that mean more than they show."""

_LISTS: Final = (exp.Array, exp.ArrayAgg, exp.GenerateSeries, exp.Split, exp.StringToArray)
"""Expressions that are lists for certain, so that one column comes of each."""


_is_reading: ContextVar[bool] = ContextVar("_is_reading", default=False)


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not _is_reading.get()


# sqlglot warns of SQL that it does not know. The database knows it, so there is nothing to warn of.
logging.getLogger("sqlglot").addFilter(_is_not_ours)


@dataclass(slots=True)
class _Trace:
    """The fields behind a value, and whether these are all."""

    fields: dict[tuple[int, str], int] = field(default_factory=dict)
    is_known: bool = True


_UNCLEAR: Final = _Trace(is_known=False)


@dataclass(slots=True)
class _Result:
    """What one scope yields.

    Attributes:
        columns: Name and trace, in order. None stands for any number of columns with any names; an
            empty name for one whose name is not known.
        rows: What decides on the rows.
        by_name: The columns whose names occur once.
        has_all_names: Whether `by_name` has every name that the scope can yield.
    """

    columns: list[tuple[str, _Trace] | None]
    rows: _Trace = field(default_factory=_Trace)
    by_name: dict[str, _Trace] = field(init=False)
    has_all_names: bool = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {}
        self.has_all_names = True
        for column in self.columns:
            if column is None or not column[0]:
                self.has_all_names = False
            elif column[0] in self.by_name:
                # DuckDB gives the second one another name.
                self.by_name[column[0]] = _UNCLEAR
                self.has_all_names = False
            else:
                self.by_name[column[0]] = column[1]


def follow_columns(
    sql: str,
    dialect_name: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    target: Relation,
    columns: Sequence[str],
) -> ColumnLineage:
    """Follow the columns of `columns` through one query.

    Raises:
        Exception: of many kinds, when the query is not understood.
    """
    token = _is_reading.set(True)
    try:
        return _follow_columns(sql, dialect_name, schemas, target, columns)
    finally:
        _is_reading.reset(token)


def _follow_columns(
    sql: str,
    dialect_name: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    target: Relation,
    columns: Sequence[str],
) -> ColumnLineage:
    dialect = Dialect.get_or_raise(dialect_name)
    statements = [statement for statement in parse(sql, dialect=dialect) if statement]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise NotReadError("its SQL is no single query")
    relations = _Relations(dialect, schemas, target, columns)
    query = _prepare(statements[0], relations)
    query = qualify(
        query,
        dialect=dialect,
        schema=relations,
        # A chain of aliases that build on each other would grow without bound.
        expand_alias_refs=False,
        allow_partial_qualification=True,
        validate_qualify_columns=False,
        quote_identifiers=False,
    )
    result = _Walk(relations).follow(query)
    return ColumnLineage(
        columns={
            name: relations.name_fields(trace)
            for name, trace in _match(result, relations.fold_all(columns))
            if trace.is_known and not relations.is_all_own(trace)
        },
        dataset=relations.name_fields(result.rows),
    )


def _match(result: _Result, real: Mapping[str, str]) -> Iterator[tuple[str, _Trace]]:
    """Columns of the result that are in the table, with their real names, in the table's order."""
    by_position = _match_positions(result.columns, list(real))
    for position, (folded, name) in enumerate(real.items()):
        trace = by_position[position] if by_position else result.by_name.get(folded)
        if trace is not None:
            yield name, trace


def _match_positions(
    columns: Sequence[tuple[str, _Trace] | None], real: Sequence[str]
) -> list[_Trace] | None:
    """Traces by position, if the table has these columns and no doubt is left but of names.

    A database makes up a name for an expression, and another for a name that comes twice.
    """
    if len(columns) != len(real):
        return None
    seen: set[str] = set()
    traces = []
    for column, name in zip(columns, real, strict=True):
        if column is None:
            return None
        own, trace = column
        if own and own != name and own not in seen:
            return None
        seen.add(own)
        traces.append(trace)
    return traces


class _Relations(Schema):
    """The relations of a query with their columns, in sqlglot's spelling of names."""

    def __init__(
        self,
        dialect: Dialect,
        schemas: Mapping[Relation, Mapping[str, str]],
        target: Relation,
        columns: Sequence[str],
    ) -> None:
        self._dialect = dialect
        self._given: list[tuple[Relation, Mapping[str, str]]] = [
            (target, dict.fromkeys(columns, "")),
            *((relation, types) for relation, types in schemas.items() if relation != target),
        ]
        self._caseless: dict[tuple[str, ...], list[int]] = {}
        for index, (relation, _) in enumerate(self._given):
            self._caseless.setdefault(_caseless(_parts(relation)), []).append(index)
        self._columns: dict[int, dict[str, str]] = {}
        self._found: dict[tuple[str, ...], int | None] = {}

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    @property
    def empty(self) -> bool:
        return False

    @property
    def supported_table_args(self) -> tuple[str, ...]:
        return ("this", "db", "catalog")

    def add_table(self, *_args: Any, **_kwargs: Any) -> None:
        raise NotImplementedError

    def column_names(self, table: exp.Table | str, *_args: Any, **_kwargs: Any) -> Sequence[str]:
        index = self.index(table) if isinstance(table, exp.Table) else None
        return [] if index is None else list(self.columns(index))

    def get_column_type(self, *_args: Any, **_kwargs: Any) -> exp.DataType:
        return exp.DataType.build("unknown")

    def index(self, table: exp.Table) -> int | None:
        """Which relation a table of the query is."""
        if not isinstance(table.this, exp.Identifier):
            return None
        parts = (table.catalog, table.db, table.name)
        if parts not in self._found:
            self._found[parts] = self._find(parts)
        return self._found[parts]

    def _find(self, parts: tuple[str, ...]) -> int | None:
        """The relation of these names, or else the one whose names mean these without quotes."""
        candidates = self._caseless.get(_caseless(parts), ())
        for is_quoted in (True, False):
            for index in candidates:
                given = _parts(self._given[index][0])
                if all(
                    part in (name, self._fold(name, is_quoted=is_quoted))
                    for part, name in zip(parts, given, strict=True)
                ):
                    return index
        return None

    def columns(self, index: int) -> dict[str, str]:
        """Real names of a relation's columns by their folded ones; none when two fold to one."""
        if index not in self._columns:
            _, types = self._given[index]
            folded = self.fold_all(types)
            self._columns[index] = folded if len(folded) == len(types) else {}
        return self._columns[index]

    def type(self, index: int, column: str) -> str:
        """Type of a column, by its folded name."""
        return self._given[index][1][self.columns(index)[column]]

    def fold_all(self, names: Iterable[str]) -> dict[str, str]:
        """Real names by folded ones, without those that fold to the same."""
        folded: dict[str, str] = {}
        twice = set()
        for name in names:
            key = self._fold(name)
            if key in folded:
                twice.add(key)
            folded[key] = name
        return {key: name for key, name in folded.items() if key not in twice}

    def name_fields(self, trace: _Trace) -> tuple[InputField, ...]:
        """The fields of a trace in order, without those of the target itself."""
        named = [
            InputField(
                self._given[index][0],
                self.columns(index)[column],
                tuple(way for bit, way in _WAYS.items() if ways & bit),
            )
            for (index, column), ways in trace.fields.items()
            if index != 0
        ]
        return tuple(sorted(named, key=lambda field: (field.relation, field.column)))

    def is_all_own(self, trace: _Trace) -> bool:
        """Whether a value is made from the target's former rows alone."""
        direct = [index for (index, _), ways in trace.fields.items() if ways & _DIRECT]
        return bool(direct) and not any(direct)

    def _fold(self, name: str, *, is_quoted: bool = True) -> str:
        return self._dialect.normalize_identifier(exp.Identifier(this=name, quoted=is_quoted)).name


def _parts(relation: Relation) -> tuple[str, str, str]:
    return (relation.database, relation.schema, relation.identifier)


def _caseless(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)


def _prepare(query: exp.Query, relations: _Relations) -> exp.Query:
    """Put tables that nothing is known of in place of what is not followed.

    qualify would give these columns names and sources, and not always the right ones.
    """
    stars = 0
    width = 0
    opaque = 0
    for node in _list_nodes(query):
        if isinstance(node, exp.Column):
            # Later all columns have the name of a table.
            node.meta["is_qualified"] = bool(node.table)
        elif isinstance(node, exp.Coalesce):
            node.meta["is_written"] = True
        elif isinstance(node, exp.Select):
            stars += sum(item.is_star for item in node.expressions)
            _mark(node)
        elif isinstance(node, exp.CTE):
            if isinstance(node.this, exp.Pivot) or (
                _refers_to_itself(node, node.this) and not _is_recursive_union(node)
            ):
                opaque += 1
                node.this.replace(exp.select("*").from_(_opaque_table(opaque)))
                node.set("alias", exp.TableAlias(this=node.args["alias"].this))
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Pivot):
            opaque += 1
            node.this.replace(exp.select("*").from_(_opaque_table(opaque)))
        elif isinstance(node, exp.Table | exp.Subquery) and node.args.get("pivots"):
            if node is query:
                raise NotReadError("its SQL is a PIVOT")
            opaque += 1
            alias = node.args["pivots"][-1].args.get("alias") or node.args.get("alias")
            table = _opaque_table(opaque)
            if alias:
                table.set("alias", exp.TableAlias(this=alias.this))
            table.set("joins", node.args.get("joins"))
            node.replace(table)
        elif isinstance(node, exp.Table) and (index := relations.index(node)) is not None:
            width += len(relations.columns(index))
    if stars * width > _MOST_COLUMNS:
        raise NotReadError("its stars stand for too many columns")
    return query


def _list_nodes(query: exp.Query) -> list[exp.Expr]:
    nodes = []
    selects = 0
    climbing = 0
    stack: list[tuple[exp.Expr, int]] = [(query, 0)]
    while stack:
        node, level = stack.pop()
        nodes.append(node)
        if isinstance(node, exp.Column):
            climbing += level
        elif isinstance(node, exp.Select):
            selects += 1
        stack.extend((child, level + 1) for child in node.iter_expressions())
    if selects > _MOST_SELECTS or climbing > _MOST_CLIMBING:
        raise NotReadError("its SQL is too large or too deep")
    return nodes


def _mark(select: exp.Select) -> None:
    """Note what can no longer be seen when sqlglot has taken USING and stars apart."""
    joins = list(_joins(select))
    select.meta["is_natural"] = any(join.method == "NATURAL" for join in joins)
    is_joined = any(join.method == "NATURAL" or join.args.get("using") for join in joins)
    stars = [item for item in select.expressions if item.is_star]
    tables = [star.text("table").casefold() for star in stars]
    is_twice = len(stars) > 1 and ("" in tables or len(set(tables)) < len(tables))
    changes = {
        name
        for star in stars
        for name, change in (star if isinstance(star, exp.Star) else star.this).args.items()
        if change
    }
    has_comma = any(
        not any(join.args.get(part) for part in ("on", "using", "method", "side", "kind"))
        for join in joins
    )
    # sqlglot applies what is said of one star to all stars of a table, and forgets a column that
    # two tables share in the second star. It forgets new names and values of a shared column, and
    # takes `a, b JOIN c USING (k)` for `(a, b) JOIN c USING (k)`.
    select.meta["is_unclear"] = (is_twice and (changes or is_joined)) or (
        is_joined and (has_comma or {"replace", "rename"} & changes)
    )


def _opaque_table(number: int) -> exp.Table:
    return exp.to_table(f"__floe_opaque_{number}")


def _refers_to_itself(cte: exp.CTE, part: exp.Expr) -> bool:
    name = cte.alias.casefold()
    return bool(
        isinstance(cte.parent, exp.With)
        and cte.parent.recursive
        and any(
            table.name.casefold() == name and not table.db for table in part.find_all(exp.Table)
        )
    )


def _is_recursive_union(cte: exp.Expr | None) -> bool:
    """Whether the right side of a union, and only that, reads what the union has yielded."""
    return (
        isinstance(cte, exp.CTE)
        and isinstance(cte.this, exp.Union)
        and _refers_to_itself(cte, cte.this.expression)
        and not _refers_to_itself(cte, cte.this.this)
    )


def _traces(columns: Iterable[tuple[str, _Trace] | None]) -> list[_Trace]:
    return [column[1] if column else _UNCLEAR for column in columns]


def _under(ways: int, outer: int) -> int:
    """The ways by which a field reaches a value, when `outer` is done to what it reaches."""
    direct = ways & _DIRECT
    if outer == _IDENTITY or not direct:
        return ways
    if outer == _TRANSFORMATION:
        kept = direct & _AGGREGATION
        outer = kept | (_TRANSFORMATION if direct != kept else 0)
    return ways & ~_DIRECT | outer


class _Walk:
    """One walk over the scopes of a query, innermost first."""

    def __init__(self, relations: _Relations) -> None:
        self._relations = relations
        self._results: dict[int, _Result] = {}
        self._complete: dict[int, bool] = {}
        self._scopes: list[Scope] = []
        self._steps = 0

    def follow(self, query: exp.Expr) -> _Result:
        """What the whole query yields."""
        self._scopes = traverse_scope(query)
        for scope in self._scopes:
            self._results[id(scope.expression)] = self._scope(scope)
        return self._result(self._scopes[-1])

    def _scope(self, scope: Scope) -> _Result:
        expression = scope.expression
        if isinstance(expression, exp.Select):
            return self._select(scope, expression)
        if isinstance(expression, exp.SetOperation):
            if _is_recursive_union(expression.parent):
                return self._recursive_union(scope, expression)
            return self._set_operation(scope, expression)
        if isinstance(expression, exp.Values):
            return self._values(scope, expression)
        if isinstance(expression, exp.Unnest):
            return self._made_rows(scope, expression, expression.expressions)
        if isinstance(expression, exp.Lateral):
            return self._lateral(scope, expression)
        if isinstance(expression, exp.Subquery):
            return self._results.get(id(expression.unnest()), _Result([None]))
        return _Result([None])

    # Scopes

    def _select(self, scope: Scope, select: exp.Select) -> _Result:
        if (
            any(part and name not in _KNOWN_CLAUSES for name, part in select.args.items())
            or select.meta.get("is_unclear")
            or (select.meta.get("is_natural") and not self.has_all_names(scope))
        ):
            return _Result([None], _Trace(is_known=False))
        columns: list[tuple[str, _Trace] | None] = []
        aliases: dict[str, _Trace] = {}
        grouped: list[_Trace] = []
        is_open = False
        for projection in select.expressions:
            starred = self._star_of_table(scope, projection)
            if starred and not is_open:
                columns.extend(starred)
                grouped.extend(trace for _, trace in starred)
                continue
            reader = _Reader(self, scope, aliases)
            trace = reader.read(projection)
            if reader.is_wide or self._may_be_wide(projection, trace):
                is_open = True
                columns.append(None)
                continue
            if is_open:
                # A name before it may be the same.
                trace = _UNCLEAR
            name = projection.alias_or_name
            name = "" if _AUTOMATIC.fullmatch(name) else name
            columns.append((name, trace))
            if name:
                aliases[name] = _UNCLEAR if name in aliases else trace
            if not reader.has_aggregate:
                grouped.append(trace)
        rows = _Trace()
        for _, source in self._sources(scope):
            if isinstance(source, Scope):
                self.add(rows, self._result(source).rows, _IDENTITY)
        reader = _Reader(self, scope, aliases, is_clause=True)
        for join in _joins(select):
            if join.args.get("using") or join.method == "NATURAL":
                rows.is_known = False
            self._add_clause(rows, reader, join.args.get("on"), _JOIN)
        self._add_clause(rows, reader, select.args.get("where"), _FILTER)
        group = select.args.get("group")
        if group:
            self._add_clause(rows, reader, group, _GROUP_BY)
            if group.args.get("all"):
                self._add_all(rows, grouped, _GROUP_BY)
        for name in ("having", "qualify", "limit", "offset"):
            self._add_clause(rows, reader, select.args.get(name), _FILTER)
        distinct = select.args.get("distinct")
        if distinct and distinct.args.get("on"):
            self._add_clause(rows, reader, distinct, _GROUP_BY)
        elif distinct:
            self._add_all(rows, _traces(columns), _GROUP_BY)
        self._add_orders(rows, reader, select, columns)
        return _Result(columns, rows)

    def _set_operation(self, scope: Scope, operation: exp.SetOperation) -> _Result:
        left, right = (self._result(side) for side in scope.set_operation_scopes)
        rows = _Trace()
        for side in (left, right):
            self.add(rows, side.rows, _IDENTITY)
        if any(operation.args.get(name) for name in ("side", "kind", "on")):
            return _Result([None], _Trace(rows.fields, is_known=False))
        is_union = isinstance(operation, exp.Union)
        if operation.args.get("by_name"):
            columns = self._unite_by_name(left, right)
        else:
            columns = self._unite(left, right, is_union)
        if not is_union:
            for side in (left, right):
                self._add_all(rows, _traces(side.columns), _FILTER)
        elif operation.args.get("distinct"):
            self._add_all(rows, _traces(columns), _GROUP_BY)
        aliases = _Result(columns).by_name
        reader = _Reader(self, scope, aliases, is_clause=True)
        for name in ("limit", "offset"):
            self._add_clause(rows, reader, operation.args.get(name), _FILTER)
        self._add_orders(rows, reader, operation, columns)
        return _Result(columns, rows)

    def _recursive_union(self, scope: Scope, union: exp.SetOperation) -> _Result:
        """The right side reads the rows of both, so it is followed until nothing is added."""
        left, right = scope.set_operation_scopes
        inner = self._scopes[self._scopes.index(left) + 1 : self._scopes.index(right) + 1]
        result = self._set_operation(scope, union)
        while True:
            # The name of the CTE leads sqlglot to the left side.
            self._results[id(left.expression)] = result
            for other in inner:
                self._results[id(other.expression)] = self._scope(other)
            again = self._set_operation(scope, union)
            if again == result:
                return result
            result = again

    def _unite(
        self, left: _Result, right: _Result, is_union: bool
    ) -> list[tuple[str, _Trace] | None]:
        columns: list[tuple[str, _Trace] | None] = []
        is_open = len(left.columns) != len(right.columns)
        for position, column in enumerate(left.columns):
            other = right.columns[position] if position < len(right.columns) else None
            if column is None:
                columns.append(None)
                is_open = True
                continue
            is_open = is_open or other is None
            name, trace = column
            if is_open or other is None:
                columns.append((name, _UNCLEAR))
            elif is_union:
                columns.append((name, self._join(trace, other[1])))
            else:
                columns.append(column)
        return columns

    def _unite_by_name(self, left: _Result, right: _Result) -> list[tuple[str, _Trace] | None]:
        columns: list[tuple[str, _Trace] | None] = []
        is_closed = left.has_all_names and right.has_all_names
        for name in dict.fromkeys((*left.by_name, *right.by_name)):
            traces = [side.by_name[name] for side in (left, right) if name in side.by_name]
            columns.append((name, self._join(*traces) if is_closed else _UNCLEAR))
        return columns if is_closed else [*columns, None]

    def _values(self, scope: Scope, values: exp.Values) -> _Result:
        rows = [row.expressions for row in values.expressions if isinstance(row, exp.Tuple)]
        names = values.alias_column_names
        widths = {len(row) for row in rows}
        if len(rows) != len(values.expressions) or len(widths) != 1:
            return _Result([None])
        width = widths.pop()
        reader = _Reader(self, scope, {})
        columns: list[tuple[str, _Trace] | None] = [
            (
                names[position] if position < len(names) else "",
                self._join(*(reader.read(row[position]) for row in rows)),
            )
            for position in range(width)
        ]
        return _Result(columns)

    def _made_rows(self, scope: Scope, maker: exp.Expr, arguments: Sequence[exp.Expr]) -> _Result:
        """Rows that are made from the lists in `arguments`, a column from each."""
        names = maker.alias_column_names
        if len(arguments) != len(names) and len(arguments) != 1:
            return _Result([None])
        traces = [
            self._join(_Reader(self, scope, {}).read(argument), outer=_TRANSFORMATION)
            for argument in arguments
        ]
        if len(traces) == 1:
            traces *= len(names)
        columns: list[tuple[str, _Trace] | None] = list(zip(names, traces, strict=True))
        return _Result(columns or [None])

    def _lateral(self, scope: Scope, lateral: exp.Lateral) -> _Result:
        made = lateral.this
        if isinstance(made, exp.Subquery):
            result = self._results.get(id(made.unnest()))
            if result is None:
                return _Result([None])
            names = lateral.alias_column_names
            columns = [
                (names[position], column[1]) if column and position < len(names) else column
                for position, column in enumerate(result.columns)
            ]
            return _Result(columns, result.rows)
        if isinstance(made, exp.Unnest):
            return self._made_rows(scope, lateral, made.expressions)
        if isinstance(made, exp.Explode | exp.Posexplode):
            return self._made_rows(scope, lateral, [made.this])
        return _Result([None])

    def _star_of_table(self, scope: Scope, projection: exp.Expr) -> list[tuple[str, _Trace]] | None:
        """What `t.*` stands for; sqlglot leaves it when another table is not known."""
        star = projection.this if isinstance(projection, exp.Column) else None
        if not isinstance(star, exp.Star) or any(star.args.values()):
            return None
        node, source = scope.selected_sources.get(projection.text("table"), (None, None))
        if isinstance(source, Scope):
            columns = self._result(source).columns
        elif isinstance(source, exp.Table) and (index := self._relations.index(source)) is not None:
            columns = [
                (name, _Trace({(index, name): _IDENTITY}))
                for name in self._relations.columns(index)
            ]
        else:
            return None
        if None in columns or (isinstance(node, exp.Table) and node.alias_column_names):
            return None
        return [column for column in columns if column]

    def _may_be_wide(self, projection: exp.Expr, trace: _Trace) -> bool:
        """Whether a projection makes rows of a struct, and so a column of each of its fields."""
        made = projection.unalias()
        if not isinstance(made, _ROW_MAKERS):
            return False
        source = made.expressions[0] if isinstance(made, exp.Unnest) else made.this
        if isinstance(source, _LISTS):
            return False
        if not isinstance(source, exp.Column) or isinstance(made, exp.Posexplode | exp.Inline):
            return True
        types = [
            self._relations.type(index, column).lower() for index, column in trace.fields if index
        ]
        return len(types) != 1 or not (types[0].endswith("]") or types[0].startswith("array"))

    # Sources of a scope

    def _sources(self, scope: Scope) -> Iterator[tuple[str, exp.Table | Scope]]:
        for name, (_, source) in scope.selected_sources.items():
            yield name, source
        for name in scope.semi_or_anti_join_tables:
            if name in scope.sources:
                yield name, scope.sources[name]

    def _result(self, scope: Scope) -> _Result:
        return self._results.get(id(scope.expression)) or _Result([None])

    def result(self, query: exp.Expr) -> _Result | None:
        """What a query inside an expression yields."""
        return self._results.get(id(query.unnest()))

    def has_all_names(self, scope: Scope) -> bool:
        """Whether all names are known that a column without a table's name can mean."""
        if id(scope) not in self._complete:
            self._complete[id(scope)] = all(
                self._result(source).has_all_names
                if isinstance(source, Scope)
                else self._relations.index(source) is not None
                or (isinstance(source.this, exp.GenerateSeries) and source.alias_column_names)
                for _, source in self._sources(scope)
            )
        return self._complete[id(scope)]

    @staticmethod
    def is_own(scope: Scope, table: str) -> bool:
        """Whether a scope reads a table itself, and not a query around it."""
        return (
            table in scope.selected_sources
            or table in scope.semi_or_anti_join_tables
            or table in scope.lateral_sources
        )

    def lookup(self, scope: Scope, table: str, name: str, *, is_qualified: bool = False) -> _Trace:
        """The column of a source that a name means in a scope."""
        inner = scope
        while True:
            if table in inner.selected_sources:
                return self._column(inner, *inner.selected_sources[table], name)
            if self.is_own(inner, table):
                source = inner.sources.get(table)
                return _UNCLEAR if source is None else self._column(inner, source, source, name)
            if inner.parent is None or not (is_qualified or self.has_all_names(inner)):
                return _UNCLEAR
            inner = inner.parent

    def lookup_unqualified(self, scope: Scope, name: str) -> _Trace | None:
        """The only column of the sources with a name; None when there is none."""
        tables = [
            table
            for table, (node, source) in scope.selected_sources.items()
            if name in self._names(node, source)
        ]
        if not tables:
            return None
        return self.lookup(scope, tables[0], name) if len(tables) == 1 else _UNCLEAR

    def _column(self, scope: Scope, node: Any, source: exp.Table | Scope, name: str) -> _Trace:
        if isinstance(node, exp.Table) and node.alias_column_names:
            return self._renamed_column(scope, node, source, name)
        if isinstance(source, Scope):
            return self._result(source).by_name.get(name, _UNCLEAR)
        index = self._relations.index(source)
        if index is not None and name in self._relations.columns(index):
            return _Trace({(index, name): _IDENTITY})
        return _UNCLEAR

    def _renamed_column(
        self, scope: Scope, node: exp.Table, source: exp.Table | Scope, name: str
    ) -> _Trace:
        """A column of `FROM t AS u(a, b)`."""
        if isinstance(source, exp.Table) and isinstance(source.this, exp.GenerateSeries):
            return self._join(_Reader(self, scope, {}).read(source.this))
        names = self._names(node, source)
        if names.count(name) != 1:
            return _UNCLEAR
        position = names.index(name)
        if isinstance(source, Scope):
            columns = self._result(source).columns[: position + 1]
            column = columns[-1]
            return _UNCLEAR if column is None or None in columns else column[1]
        index = self._relations.index(source)
        if index is None:
            return _UNCLEAR
        return _Trace({(index, list(self._relations.columns(index))[position]): _IDENTITY})

    def _names(self, node: Any, source: exp.Table | Scope) -> list[str]:
        """The names of a source's columns, in order, where they are known."""
        if isinstance(source, Scope):
            names = [column[0] if column else "" for column in self._result(source).columns]
        else:
            index = self._relations.index(source)
            names = [] if index is None else list(self._relations.columns(index))
        renamed = node.alias_column_names if isinstance(node, exp.Table) else []
        return [*renamed[: len(names)], *names[len(renamed) :]]

    # Traces

    def add(self, trace: _Trace, other: _Trace, outer: int) -> None:
        self._steps += len(other.fields) + 1
        if self._steps > _MOST_STEPS:
            raise NotReadError("its columns have too many sources")
        for key, ways in other.fields.items():
            trace.fields[key] = trace.fields.get(key, 0) | _under(ways, outer)
        trace.is_known = trace.is_known and other.is_known

    def _add_all(self, trace: _Trace, others: Iterable[_Trace], outer: int) -> None:
        for other in others:
            self.add(trace, other, outer)

    def _add_clause(
        self, rows: _Trace, reader: _Reader, clause: exp.Expr | None, outer: int
    ) -> None:
        if isinstance(clause, exp.Expr):
            self.add(rows, reader.read(clause, outer), _IDENTITY)

    def _add_orders(
        self,
        rows: _Trace,
        reader: _Reader,
        query: exp.Expr,
        columns: Sequence[tuple[str, _Trace] | None],
    ) -> None:
        for name in ("order", "sort", "cluster", "distribute"):
            order = query.args.get(name)
            if not order:
                continue
            self._add_clause(rows, reader, order, _SORT)
            if any(isinstance(item.this, exp.Var) for item in order.expressions):  # ORDER BY ALL
                self._add_all(rows, _traces(columns), _SORT)

    def _join(self, *traces: _Trace, outer: int = _IDENTITY) -> _Trace:
        if len(traces) == 1 and outer == _IDENTITY:
            return traces[0]
        joined = _Trace()
        self._add_all(joined, traces, outer)
        return joined


class _Reader:
    """Reads the expressions of one scope.

    Attributes:
        is_wide: Whether what was read stands for several columns, such as `COLUMNS('a.*')`.
        has_aggregate: Whether what was read sums up rows of a group.
    """

    def __init__(
        self, walk: _Walk, scope: Scope, aliases: Mapping[str, _Trace], *, is_clause: bool = False
    ) -> None:
        self.is_wide = False
        self.has_aggregate = False
        self._walk = walk
        self._scope = scope
        self._aliases = aliases
        self._is_clause = is_clause
        self._trace = _Trace()
        self._stack: list[tuple[exp.Expr, int, bool]] = []

    def read(self, expression: exp.Expr, outer: int = _IDENTITY) -> _Trace:
        """The fields behind an expression, with `outer` done to it."""
        bare = expression.unalias()
        if outer == _IDENTITY and type(bare) is exp.Column:
            return self._column(bare)
        self._trace = _Trace()
        self._stack = [(expression, outer, False)]
        while self._stack:
            self._visit(*self._stack.pop())
        return self._trace

    def _visit(self, node: exp.Expr, outer: int, in_window: bool) -> None:
        if isinstance(node, exp.Column):
            self._walk.add(self._trace, self._column(node), outer)
        elif isinstance(node, exp.Identifier | exp.Literal | exp.DataType):
            pass
        elif isinstance(node, exp.Alias | exp.Paren):
            self._push(outer, node.this)
        elif isinstance(node, exp.Query):
            self._visit_query(node, outer)
        elif isinstance(node, exp.Exists):
            self._visit_rows(node.this)
        elif isinstance(node, exp.Window):
            self._push(outer, node.this, in_window=True)
            self._visit_window(node)
        elif isinstance(node, exp.Filter):
            self._push(outer, node.this, in_window=in_window)
            self._push(_CONDITIONAL, node.expression)
        elif isinstance(node, exp.IgnoreNulls | exp.RespectNulls):
            self._push(outer, node.this, in_window=in_window)
        elif isinstance(node, exp.Case):
            self._push(_CONDITIONAL, node.this)
            for branch in node.args["ifs"]:
                self._push(outer, branch)
            self._push(_under(_TRANSFORMATION, outer), node.args.get("default"))
        elif isinstance(node, exp.If):
            self._push(_CONDITIONAL, node.this)
            for name in ("true", "false"):
                self._push(_under(_TRANSFORMATION, outer), node.args.get(name))
        elif isinstance(node, exp.WithinGroup):
            self._visit_within_group(node, outer)
        elif isinstance(node, exp.Order):
            self._push(outer, node.this)
            for item in node.expressions:
                self._push(_SORT, item)
        elif isinstance(node, exp.Coalesce) and not node.meta.get("is_written"):
            self._visit_using(node, outer)
        elif isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
            self.has_aggregate = self.has_aggregate or not in_window
        elif _is_aggregate(node):
            self.has_aggregate = self.has_aggregate or not in_window
            way = _TRANSFORMATION if isinstance(node, _OFFSETS) else _AGGREGATION
            self._push_children(node, _under(way, outer))
        elif isinstance(node, exp.Lambda | exp.Comprehension):
            if any(name in self._scope.selected_sources for name in _variables(node)):
                # Databases differ in whether `x.y` is the table's.
                self._trace.is_known = False
            self._push_children(node, _under(_TRANSFORMATION, outer))
        elif isinstance(node, exp.Star | exp.Columns | exp.Aliases | exp.QueryTransform):
            around = node.find_ancestor(exp.Func, exp.Query)
            if not isinstance(node, exp.Star) or not isinstance(around, exp.Func):
                # A function takes all columns by a plain star and yields one.
                self.is_wide = True
            self._trace.is_known = False
        elif isinstance(node, _NOT_FOLLOWED):
            self._trace.is_known = False
        else:
            self._push_children(node, _under(_TRANSFORMATION, outer))

    def _push(self, outer: int, node: exp.Expr | str | None, *, in_window: bool = False) -> None:
        if isinstance(node, exp.Expr):
            self._stack.append((node, outer, in_window))

    def _push_children(self, node: exp.Expr, outer: int) -> None:
        self._stack.extend((child, outer, False) for child in node.iter_expressions())

    def _column(self, column: exp.Column) -> _Trace:
        if isinstance(column.this, exp.Star):
            self.is_wide = True
            return _UNCLEAR
        if not isinstance(column.this, exp.Identifier) or column.args.get("db"):
            return _UNCLEAR
        if not column.table:
            return self._unqualified(column)
        is_qualified = bool(column.meta.get("is_qualified"))
        if (
            not is_qualified
            and column.name in self._aliases
            and not self._walk.is_own(self._scope, column.table)
        ):
            # sqlglot found it in the query around this one; DuckDB means the alias.
            return _UNCLEAR
        return self._walk.lookup(self._scope, column.table, column.name, is_qualified=is_qualified)

    def _unqualified(self, column: exp.Column) -> _Trace:
        """What a name means that sqlglot left alone: an alias, or a column of a late clause."""
        name = column.name
        if not self._walk.has_all_names(self._scope):
            return _UNCLEAR
        alias = self._aliases.get(name)
        found = self._walk.lookup_unqualified(self._scope, name)
        if not self._is_clause:
            return _UNCLEAR if found or self._scope.can_be_correlated else alias or _UNCLEAR
        if not alias or not found:
            return alias or found or _UNCLEAR
        if isinstance(column.parent, exp.Ordered):
            return alias
        if isinstance(column.find_ancestor(exp.AggFunc, exp.Query), exp.AggFunc):
            return found
        # Databases differ in which of the two comes first.
        return found if found.fields.keys() == alias.fields.keys() else _UNCLEAR

    def _visit_query(self, query: exp.Query, outer: int) -> None:
        result = self._walk.result(query)
        if result is None or None in result.columns:
            self._trace.is_known = False
        if result is not None:
            for column in result.columns:
                if column:
                    self._walk.add(self._trace, column[1], outer)
            self._walk.add(self._trace, result.rows, _IDENTITY)

    def _visit_rows(self, query: exp.Expr) -> None:
        result = self._walk.result(query)
        self._walk.add(self._trace, result.rows if result else _UNCLEAR, _IDENTITY)

    def _visit_window(self, window: exp.Window) -> None:
        seen = set()
        while True:
            order = window.args.get("order")
            for part in (
                *(window.args.get("partition_by") or ()),
                *(order.expressions if order else ()),
                window.args.get("spec"),
            ):
                self._push(_WINDOW, part)
            name = window.alias
            if not name:
                return
            named = {
                definition.name: definition
                for definition in self._scope.expression.args.get("windows") or ()
            }
            if name in seen or name not in named:
                self._trace.is_known = False
                return
            seen.add(name)
            window = named[name]

    def _visit_within_group(self, node: exp.WithinGroup, outer: int) -> None:
        self._push(outer, node.this)
        is_value = isinstance(node.this, exp.PercentileCont | exp.PercentileDisc | exp.Mode)
        for item in node.expression.expressions:
            self._push(_under(_AGGREGATION, outer) if is_value else _SORT, item.this)

    def _visit_using(self, node: exp.Coalesce, outer: int) -> None:
        """The column of a USING: the left one, unless rows may be on the right alone."""
        sides = [join.side for join in _joins(self._scope.expression)]
        if sides == ["RIGHT"]:
            self._push(outer, node.expressions[-1])
        elif {"RIGHT", "FULL"} & set(sides):
            self._push_children(node, _under(_TRANSFORMATION, outer))
        else:
            self._push(outer, node.this)


def _is_aggregate(node: exp.Expr) -> bool:
    return isinstance(node, exp.AggFunc) or (
        isinstance(node, exp.Anonymous) and node.name.lower() in _AGGREGATES
    )


def _variables(node: exp.Lambda | exp.Comprehension) -> list[str]:
    if isinstance(node, exp.Lambda):
        return [variable.name for variable in node.expressions]
    return [node.text("expression"), node.text("position")]


def _joins(node: exp.Expr) -> Iterator[exp.Join]:
    """The joins of a SELECT, with those in brackets: `FROM a JOIN (b JOIN c ON ...) ON ...`."""
    from_ = node.args.get("from_")
    if from_:
        yield from _joins(from_.this)
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Subquery | exp.Table):
        yield from _joins(node.this)
    for join in node.args.get("joins") or ():
        yield join
        yield from _joins(join.this)
