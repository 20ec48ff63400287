"""Diagnostics: what is wrong with a user's files, where, and what to write instead."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]
FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A stretch of one line of a file. Lines and columns count from 1, columns in characters."""

    line: int
    column: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a user's file.

    Attributes:
        code: Stable code, such as `FLOE-S001`; `docs/reference/diagnostics.md` lists them.
        severity: `error` stops the compile, `warning` does not.
        message: What is wrong, as a sentence without a full stop.
        file: Path of the file; None when the finding is about no file.
        field: Path of the field as it is written in the file, such as `transforms[0].layer`.
        position: Where in the file; None when it is about the file as a whole.
        source: The source line at `position`, without its line end.
        help: What to write or type instead.
    """

    code: str
    severity: Severity
    message: str
    file: Path | None = None
    field: str | None = None
    position: Position | None = None
    source: str | None = None
    help: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether it stops the compile."""
        return self.severity == "error"

    @property
    def sentence(self) -> str:
        """What is wrong, after the field that it is about."""
        return f"`{self.field}`: {self.message}" if self.field else self.message

    def render(self, base: Path | None = None) -> str:
        """Write the diagnostic for people, several lines without a final line end.

        Args:
            base: Folder that file paths are shown relative to; the current one when None.
        """
        lines = [f"{self._place(base)}{self.severity}[{self.code}] {self.sentence}"]
        lines += self._excerpt()
        if self.help:
            first, *rest = self.help.splitlines()
            lines.append(f"  help: {first}")
            lines += [f"        {line}" for line in rest]
        return "\n".join(lines)

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """The same as data; the keys are stable. A source line of great length is left out."""
        is_short = self.source is not None and len(self.source) <= _LONGEST_SOURCE
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": display_path(self.file, base) if self.file else None,
            "line": self.position.line if self.position else None,
            "column": self.position.column if self.position else None,
            "end_column": self.position.end_column if self.position else None,
            "field": self.field,
            "source": self.source if is_short else None,
            "help": self.help,
        }

    def _place(self, base: Path | None) -> str:
        if self.file is None:
            return ""
        name = display_path(self.file, base)
        if self.position is None:
            return f"{name}: "
        return f"{name}:{self.position.line}:{self.position.column}: "

    def _excerpt(self) -> list[str]:
        if self.position is None or self.source is None:
            return []
        return excerpt(self.source, self.position)


_WIDEST_EXCERPT = 160
_LONGEST_SOURCE = 2000
_MOST_LISTED = 40


def excerpt(source: str, position: Position) -> list[str]:
    """A source line with its number, and a line of carets below the position."""
    number = f"{position.line:>5}"
    shown, start, length = _clip(source, position)
    padding = "".join("\t" if c == "\t" else " " * _width(c) for c in shown[:start])
    mark = "^" * max(1, sum(_width(c) for c in shown[start : start + length]))
    return [f"{number} | {shown}", f"{' ' * 5} | {padding}{mark}"]


def _width(character: str) -> int:
    """Columns that a terminal gives a character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _clip(source: str, position: Position) -> tuple[str, int, int]:
    """Cut a long source line around the position; returns text, offset and length of the mark."""
    start = min(position.column - 1, len(source))
    length = max(1, min(position.end_column - position.column, len(source) - start))
    if len(source) <= _WIDEST_EXCERPT:
        return _printable(source), start, length
    left = max(0, start - _WIDEST_EXCERPT // 2)
    cut = _printable(source[left : left + _WIDEST_EXCERPT])
    lead = "…" if left else ""
    tail = "…" if left + _WIDEST_EXCERPT < len(source) else ""
    start = start - left + len(lead)
    return f"{lead}{cut}{tail}", start, min(length, len(lead) + len(cut) - start) or 1


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def display_path(path: Path, base: Path | None = None) -> str:
    """Show a path relative to `base` (the current folder when None) if that is shorter to read."""
    folder = base or Path.cwd()
    relative = os.path.relpath(path, folder)
    return str(path) if relative.startswith("../../..") else relative


def field_name(path: FieldPath) -> str:
    """Write a field path for people: `transforms[0].models[1].path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """The known word that the user most likely meant; None when none is close."""
    candidates = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in reversed(candidates)}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], noun: str) -> str:
    """Help for a word that is not known: the near miss first, then what there is."""
    names = sorted(known)
    nearest = near_miss(word, names)
    listed = f"{noun}: {', '.join(f'`{name}`' for name in names[:_MOST_LISTED]) or 'none'}"
    if len(names) > _MOST_LISTED:
        listed += f" and {len(names) - _MOST_LISTED:,} more"
    return f"did you mean `{nearest}`? {listed}" if nearest else listed


@dataclass
class Report:
    """Collects the diagnostics of a compile; equal ones are kept once."""

    _kept: dict[Diagnostic, None] = field(default_factory=dict)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What was found, in the order in which it was found."""
        return list(self._kept)

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic."""
        self._kept.setdefault(diagnostic)

    def update(self, change: Callable[[Diagnostic], Diagnostic]) -> None:
        """Put what `change` makes of each diagnostic in its place."""
        self._kept = dict.fromkeys(map(change, self._kept))

    @property
    def has_errors(self) -> bool:
        """Whether anything stops the compile."""
        return any(diagnostic.is_error for diagnostic in self.diagnostics)

    def sorted(self) -> list[Diagnostic]:
        """Errors and warnings by file, then by place in the file."""

        def key(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
            position = diagnostic.position or Position(0, 0, 0)
            return (str(diagnostic.file or ""), position.line, position.column, diagnostic.code)

        return sorted(self.diagnostics, key=key)
