"""What is wrong with a file that is not YAML, in a user's words.

libyaml names its own rules ("did not find expected key"); most of its messages come from a few
habits: text that needs quotes, a bracket that stays open, a key that is out of line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

IN_QUOTES = "put the whole text in quotes"
_ALIGN = "begin the keys of one mapping, and the `-` of one list, in the same column"
_KEY_VALUE = "write `key: value`, with a space after the colon"
_CONFLICT = "<<<<<<< "
_JINJA = re.compile(r"(?:^|[\s\[,])\{[{%]")
_INDENTATION = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a file cannot be read as YAML.

    Attributes:
        code: Stable code of the diagnostic.
        line: Line of the problem, from 1.
        column: Column of the problem, from 1.
        message: What is wrong; holds no text of the file, which may be secret.
        help: What to write instead.
    """

    code: str
    line: int
    column: int
    message: str
    help: str | None = None


def explain(lines: Sequence[str], problem: yaml.MarkedYAMLError) -> SyntaxProblem:
    """Explain what libyaml found wrong with a file of these lines."""
    file = _File(lines)
    at = _position(problem.problem_mark or problem.context_mark, lines)
    begin = _position(problem.context_mark or problem.problem_mark, lines)
    return (
        _merge_conflict(lines)
        or _tab(file, at)
        or _jinja(file, at)
        or _known(file, problem.problem or "", begin, at)
        or SyntaxProblem("FLOE-Y001", *at, f"is not valid YAML: {_libyaml(problem)}")
    )


Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _File:
    lines: Sequence[str]

    def before(self, at: Point) -> str:
        return self.lines[at[0] - 1][: at[1] - 1]

    def after(self, at: Point) -> str:
        return self.lines[at[0] - 1][at[1] - 1 :]

    def indentation(self, line: int) -> int:
        found = _INDENTATION.match(self.lines[line - 1])
        return len(found.group()) if found else 0

    def is_first(self, at: Point) -> bool:
        """Whether nothing stands before this point on its line."""
        return not self.before(at).strip()

    def line_above(self, line: int) -> int | None:
        """The nearest line above that is neither empty nor a comment."""
        for number in range(line - 1, 0, -1):
            text = self.lines[number - 1].strip()
            if text and not text.startswith("#"):
                return number
        return None


def _position(mark: yaml.Mark | None, lines: Sequence[str]) -> Point:
    if mark is None:
        return 1, 1
    if mark.line >= len(lines):
        return len(lines), len(lines[-1]) + 1
    return mark.line + 1, mark.column + 1


def _libyaml(problem: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (problem.context, problem.problem) if part)


def _merge_conflict(lines: Sequence[str]) -> SyntaxProblem | None:
    for number, line in enumerate(lines, start=1):
        if line.startswith(_CONFLICT):
            help = "keep one side, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`"
            return SyntaxProblem("FLOE-Y001", number, 1, "holds a merge conflict", help)
    return None


def _tab(file: _File, at: Point) -> SyntaxProblem | None:
    indentation = file.lines[at[0] - 1][: file.indentation(at[0])]
    if "\t" not in indentation:
        return None
    column = indentation.index("\t") + 1
    message = "is indented with a tab, which YAML forbids"
    return SyntaxProblem("FLOE-Y003", at[0], column, message, "indent with spaces")


def _jinja(file: _File, at: Point) -> SyntaxProblem | None:
    found = _JINJA.search(file.lines[at[0] - 1])
    if found is None or found.start() > at[1]:
        return None
    column = file.lines[at[0] - 1].index("{", found.start()) + 1
    return SyntaxProblem("FLOE-Y001", at[0], column, "text cannot begin with `{`", IN_QUOTES)


def _known(file: _File, text: str, begin: Point, at: Point) -> SyntaxProblem | None:
    """Explain the messages of libyaml that users meet."""
    match text:
        case "could not find expected ':'":
            return _not_a_key(*begin)
        case "mapping values are not allowed in this context":
            return _second_colon(file, at)
        case "found unexpected end of stream" | "found unexpected document indicator":
            quote = file.after(begin)[:1]
            help = f"end it with `{quote}`"
            return SyntaxProblem("FLOE-Y001", *begin, "a quote begins here and does not end", help)
        case "did not find expected ',' or ']'" | "did not find expected ',' or '}'":
            return _open_bracket(file, begin, at, text[-2])
        case "did not find expected key" | "did not find expected '-' indicator":
            return _out_of_line(file, at)
        case "block sequence entries are not allowed in this context":
            message = "a list cannot begin on the line of its key"
            help = "put each `-` on a line of its own, or write `[first, second]`"
            return SyntaxProblem("FLOE-Y001", *at, message, help)
        case (
            "found character that cannot start any token"
            | "did not find expected alphabetic or numeric character"
            | "found unexpected non-alphabetical character"
        ):
            message = f"text cannot begin with `{file.after(begin)[:1]}`"
            return SyntaxProblem("FLOE-Y001", *begin, message, IN_QUOTES)
        case _ if text.startswith(("found unknown escape", "did not find expected hex")):
            message = "a backslash in double quotes begins an escape, and this is none"
            help = r"write `\\` for a backslash, or use single quotes"
            return SyntaxProblem("FLOE-Y001", *at, message, help)
        case "did not find expected comment or line break":
            message = "text cannot follow `|` or `>` on the same line"
            return SyntaxProblem("FLOE-Y001", *at, message, "begin the text on the next line")
    return None


def _not_a_key(line: int, column: int) -> SyntaxProblem:
    message = "is neither a key with a value nor an item of a list"
    return SyntaxProblem("FLOE-Y001", line, column, message, _KEY_VALUE)


def _second_colon(file: _File, at: Point) -> SyntaxProblem:
    """A `:` where no key can be: in a text, below a value, or below a line without one."""
    line, _ = at
    above = file.line_above(line)
    if re.search(r":\s", file.before(at)):
        message = "a second `: ` on this line"
        return SyntaxProblem("FLOE-Y001", *at, message, IN_QUOTES)
    if above is not None and file.indentation(above) < file.indentation(line):
        column = file.indentation(line) + 1
        message = f"is indented below line {above}, which has a value already"
        return SyntaxProblem("FLOE-Y001", line, column, message, _ALIGN)
    if above is not None:
        return _not_a_key(above, file.indentation(above) + 1)
    return SyntaxProblem("FLOE-Y001", *at, "a `:` cannot stand here", _KEY_VALUE)


def _open_bracket(file: _File, begin: Point, at: Point, closing: str) -> SyntaxProblem:
    opening = "[" if closing == "]" else "{"
    is_dedented = at[0] > begin[0] and (
        file.indentation(at[0]) <= file.indentation(begin[0]) or not file.after(at).strip()
    )
    if is_dedented:
        message = f"a `{opening}` begins here and does not end"
        return SyntaxProblem("FLOE-Y001", *begin, message, f"end it with `{closing}`")
    message = f"`,` or `{closing}` is expected here"
    where = f" of line {begin[0]}" if begin[0] != at[0] else ""
    help = f"put a comma between two entries; `{closing}` ends the `{opening}`{where}"
    return SyntaxProblem("FLOE-Y001", *at, message, help)


def _out_of_line(file: _File, at: Point) -> SyntaxProblem:
    if file.is_first(at):
        return SyntaxProblem("FLOE-Y001", *at, "does not fit what stands above it", _ALIGN)
    if file.after(at)[:1] in {"]", "}"}:
        return SyntaxProblem("FLOE-Y001", *at, "closes a bracket that is not open", "remove it")
    help = "check the quotes: they go around the whole text"
    return SyntaxProblem("FLOE-Y001", *at, "stands after the end of a value", help)
