"""What SQL text names, found without binding it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import duckdb

from floe_iceberg.sql import identifier

Chain = tuple[str, ...]
"""Names with dots between them, as in `schema.table`, unquoted."""

_KEYWORD = duckdb.token_type.keyword
_IDENTIFIER = duckdb.token_type.identifier
_NAMES = {_KEYWORD, _IDENTIFIER}
_WORD = re.compile(r"[^\W\d][\w$]*")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SKIPPED = {"only", "if", "exists", "not", "or", "ignore", "replace", "into", "from", "table"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a statement.

    Attributes:
        text: The word; a quoted name without its quotes.
        kind: DuckDB's kind of token.
        start: Where it begins, in bytes of UTF-8.
        end: Where it ends.
        is_quoted: Whether it was quoted.
    """

    text: str
    kind: object
    start: int
    end: int
    is_quoted: bool = False

    @property
    def word(self) -> str:
        """The word in lower case; empty for a quoted name."""
        return "" if self.is_quoted else self.text.lower()


def tokens(sql: str) -> list[Token]:
    """Divide SQL into words; comments and white space are left out."""
    raw = sql.encode()
    found = duckdb.tokenize(sql)
    ends = [*(start for start, _ in found), len(raw)][1:]
    made = []
    for (start, kind), end in zip(found, ends, strict=True):
        text = raw[start:end].decode()
        if kind not in _NAMES:
            shown = text[:1] if kind == duckdb.token_type.operator else text
            made.append(Token(shown, kind, start, start + len(shown.encode())))
            continue
        quoted = _QUOTED.match(text)
        word = quoted or _WORD.match(text)
        written = word[0] if word else text.strip()
        name = written[1:-1].replace('""', '"') if quoted else written
        stop = start + len(written.encode())
        made.append(Token(name, _IDENTIFIER if quoted else kind, start, stop, bool(quoted)))
    return made


def chains(sql: str) -> set[Chain]:
    """Every chain of names in SQL: tables, and much else that is none."""
    return set(_chains(tokens(sql)))


def _chains(words: list[Token]) -> Iterator[Chain]:
    chain: list[str] = []
    is_joined = False
    for token in words:
        if token.kind in _NAMES:
            if not is_joined and chain:
                yield tuple(chain)
                chain = []
            chain.append(token.text)
            is_joined = False
        elif token.text == "." and chain:
            is_joined = True
        else:
            if chain:
                yield tuple(chain)
            chain, is_joined = [], False
    if chain:
        yield tuple(chain)


def candidates(sql: str) -> set[Chain]:
    """Chains that may name a table: each with at most three parts, and each part of longer ones."""
    found: set[Chain] = set()
    for chain in chains(sql):
        found.add(chain[:3])
        found.update(pairwise(chain))
        found.add(chain[:1])
    return found


def with_database(sql: str, old: str, new: str) -> str:
    """Let tables of one database be those of another: `old.schema.table` is `new.schema.table`."""
    raw = sql.encode()
    words = tokens(sql)
    parts, position = [], 0
    for before, word, dot, _, second in zip(
        [None, *words], words, words[1:], words[2:], words[3:], strict=False
    ):
        is_first = before is None or before.text != "."
        if is_first and dot.text == second.text == "." and _is(word, old):
            parts += [raw[position : word.start], identifier(new).encode()]
            position = word.end
    return b"".join([*parts, raw[position:]]).decode()


def _is(word: Token, name: str) -> bool:
    return word.kind in _NAMES and word.text.lower() == name.lower()


_CHANGING = {"insert", "update", "delete", "merge", "truncate", "copy", "alter", "drop"}


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that changes a table, or drops a schema.

    Attributes:
        sql: The statement.
        verb: `insert`, `update`, `delete`, `merge`, `truncate`, `copy`, `alter table`,
            `drop table`, `drop view`, `drop schema`; `select` for every other statement.
        target: The table or schema; None where there is none.
        is_cascading: Whether what depends on it is dropped too.
        span: Where the target stands in the statement, in bytes of UTF-8.
    """

    sql: str
    verb: str
    target: Chain | None
    is_cascading: bool = False
    span: tuple[int, int] = (0, 0)

    def aimed_at(self, table: str) -> str:
        """The statement with another table, in SQL, as its target; what it reads stays."""
        return _with_target(self.sql, self.span, table)

    def mentions(self, name: str) -> int:
        """How often a name is in the statement."""
        return sum(token.text.lower() == name.lower() for token in tokens(self.sql))


def changes(sql: str) -> list[Change] | None:
    """Divide SQL into statements, and say which of them change a table.

    Gives None where no word of it does, or where DuckDB cannot divide it.
    """
    words = {token.word for token in tokens(sql)}
    if not words & _CHANGING:
        return None
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error:
        return None
    return [_change(statement.query) for statement in statements]


def _change(sql: str) -> Change:
    words = tokens(sql)
    position = _verb(words)
    if position is None:
        return Change(sql, "select", None)
    verb, rest = words[position].word, words[position + 1 :]
    if verb in {"alter", "drop"}:
        verb, rest = f"{verb} {rest[0].word if rest else ''}", rest[1:]
        if verb not in {"alter table", "drop table", "drop view", "drop schema"}:
            return Change(sql, "select", None)
    while rest and rest[0].word in _SKIPPED:
        rest = rest[1:]
    target = next(_chains(rest), None) if rest and rest[0].kind in _NAMES else None
    if verb in {"select", "explain"} or (verb == "copy" and not _copies_from(rest)):
        return Change(sql, "select", None)
    is_cascading = any(word.word == "cascade" for word in rest)
    return Change(sql, verb, target, is_cascading, _span(rest, target))


def _span(words: list[Token], target: Chain | None) -> tuple[int, int]:
    """Where a chain of names stands that begins with the first word."""
    return (words[0].start, words[2 * len(target) - 2].end) if target else (0, 0)


def _with_target(sql: str, span: tuple[int, int], table: str) -> str:
    raw = sql.encode()
    return b"".join([raw[: span[0]], table.encode(), raw[span[1] :]]).decode()


def _verb(words: list[Token]) -> int | None:
    """Where the word is that says what a statement does; CTEs may come before it."""
    depth = 0
    for position, token in enumerate(words):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.word in _CHANGING | {"select", "explain"}:
            return position
    return None


def _copies_from(rest: list[Token]) -> bool:
    depth = 0
    for token in rest:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.word in {"from", "to"}:
            return token.word == "from"
    return False


@dataclass(frozen=True, slots=True)
class Creation:
    """A statement that creates a table.

    Attributes:
        target: The table.
        is_replaced: Whether it takes the place of a table of the name.
        sql: The SQL that it is the first statement of.
        span: Where the target stands in it, in bytes of UTF-8.
    """

    target: Chain
    is_replaced: bool
    sql: str
    span: tuple[int, int]

    def aimed_at(self, table: str) -> str:
        """The SQL with another table, in SQL, as its target; what it reads stays."""
        return _with_target(self.sql, self.span, table)


def created_table(sql: str) -> Creation | None:
    """The table that a statement creates; None where it creates none, or a temporary one."""
    words = tokens(sql)
    start = [token.word for token in words[:6]]
    if start[:1] != ["create"]:
        return None
    is_replaced = start[1:3] == ["or", "replace"]
    rest = words[3 if is_replaced else 1 :]
    if not rest or rest[0].word != "table":
        return None
    rest = rest[1:]
    while rest and rest[0].word in {"if", "not", "exists"}:
        rest = rest[1:]
    target = next(_chains(rest), None)
    if target is None:
        return None
    return Creation(target, is_replaced, sql, _span(rest, target))
