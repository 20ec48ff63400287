"""Files, folders and globs that name models, relative to a dbt project."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath

LONGEST = 1000
"""Characters of the longest path that is looked for; operating systems end soon after."""


def is_too_long(path: str) -> bool:
    """Whether no file system could hold a file of this path."""
    return len(path) > LONGEST or any(len(part.encode()) > 255 for part in path.split("/"))


def normal(path: str) -> str:
    """`path` without `./` and without a slash at the end; `.` for the folder itself."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def leaves(path: str) -> bool:
    """Whether a relative path has a `..` in it or is absolute."""
    pure = PurePosixPath(path.replace("\\", "/"))
    return pure.is_absolute() or ".." in pure.parts


def matches(path: str, pattern: str) -> bool:
    """Whether `pattern` names the file `path`, or a folder that it is in.

    `*` and `?` stay within one folder, `**` crosses folders, `[...]` is a set of characters.
    """
    return _expression(normal(pattern)).fullmatch(path) is not None


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """The paths that `pattern` names."""
    return [path for path in paths if matches(path, pattern)]


_REPEATED = re.compile(r"(?:\*\*/){2,}")
"""Says no more than one of them, and would be slow to match."""


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    if pattern == ".":
        return re.compile(".*")
    pattern = _REPEATED.sub("**/", pattern)
    translated = ""
    position = 0
    while position < len(pattern):
        token, step = _token(pattern, position)
        translated += token
        position += step
    return re.compile(f"{translated}(?:/.*)?")


def _token(pattern: str, position: int) -> tuple[str, int]:
    """The regular expression for what stands at `position`, and how long that is."""
    rest = pattern[position:]
    if rest.startswith("**/"):
        return "(?:[^/]+/)*", 3
    if rest.startswith("**"):
        return ".*", 2
    if rest[0] == "*":
        return "[^/]*", 1
    if rest[0] == "?":
        return "[^/]", 1
    negation = "^" if rest[1:2] in ("!", "^") else ""
    closing = rest.find("]", 2 + len(negation))
    if rest[0] == "[" and closing > 0:
        characters = rest[1 + len(negation) : closing]
        return f"[{negation}{_set(characters)}]", closing + 1
    return re.escape(rest[0]), 1


def _set(characters: str) -> str:
    """What stands in brackets, as a regular expression; of a backward range its end counts."""

    def escaped(found: re.Match[str]) -> str:
        first, last, single = found.groups()
        if single is not None or first > last:
            return re.escape(single or last)
        return f"{re.escape(first)}-{re.escape(last)}"

    return re.sub("(.)-(.)|(.)", escaped, characters, flags=re.DOTALL)
