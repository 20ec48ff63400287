"""Hiding what is secret in texts: known values; in lines of a file what names and looks tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from floe_core.detectors import kinds

_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "credential",
    "authorization",
)
_KEYS = ("private", "api", "access", "secret", "account", "signing", "encryption", "shared")
_NAME = rf"{'|'.join(_WORDS)}|(?<![a-z])pwd|(?:{'|'.join(_KEYS)})[_-]?key"
_ENDS_LIKE_SECRET = re.compile(rf"(?:{_NAME})$", re.IGNORECASE)

_REFERENCE = r"\{\s*[\"']?(?:secret_?ref|key)[\"']?\s*:"
_ASSIGNMENT = re.compile(rf"((?:{_NAME})[\"']?\s*[:=][ \t]*)(?!{_REFERENCE})(\S.*)", re.IGNORECASE)
_OPEN_ASSIGNMENT = re.compile(rf"(?:{_NAME})[\"']?\s*:\s*(?:[|>][+-]?[0-9]?)?\s*$", re.IGNORECASE)
_USER_INFO = re.compile(r"(://)([^/\s:@]{0,200}:[^/\s]{0,500})(?=@)")
_DETAIL = re.compile(r"\s*(?:DETAIL|CONTEXT|LINE \d+|Failing row)\b|\s*\^")
_VALUES = (
    re.compile(r"(')(?:[^']|'')*(')"),
    re.compile(r'(")(?:[^"]*[^\w$. "][^"]*|\d[^"]*)(")'),  # no name of a table or column
    re.compile(r'(: ")[^"]*("\s*$)'),
    re.compile(r"(\)\s*=\s*\()[^)]*(\))"),
    re.compile(r"(\bvalue\s+)-?\d[\w.:+-]*()"),
    re.compile(r"(\(\s*)-?\d[^()]*(\))"),
)
"""Values in what databases say, as they quote them."""
_WORD = re.compile(r"[\w+/=.-]{16,}", re.ASCII)
_BARE = re.compile(r"[^\s\"'\[\]{},]+")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_BEGIN_KEY, _END_KEY = "-----BEGIN", "-----END"
_LONGEST_SECRET = 200
"""Lines of the longest secret that is recognised, a private key."""
_SHORT = 8
"""Fewer characters than this are found in ordinary words by chance."""


def names_secret(key: str) -> bool:
    """Whether a key of this name holds a secret: `password`, `dbToken`, `s3.access-key`."""
    return _ENDS_LIKE_SECRET.search(key) is not None


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """Hide the values of secrets, also as Python and JSON quote them.

    Short ones are hidden where they are words of their own.
    """
    spelled = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
    patterns = [_pattern(spelling) for spelling in sorted(spelled, key=len, reverse=True)]
    return re.sub("|".join(patterns), "*****", text) if patterns else text


def _spellings(secret: str) -> Iterable[str]:
    """How a secret looks in a text that holds it, or a mapping or list that does."""
    quoted = (repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    return (secret, *(text[1:-1] for text in quoted))


def _pattern(secret: str) -> str:
    if len(secret) >= _SHORT:
        return re.escape(secret)
    before = r"(?<!\w)" if re.match(r"\w", secret) else ""
    after = r"(?!\w)" if re.search(r"\w$", secret) else ""
    return f"{before}{re.escape(secret)}{after}"


def mask_data(text: str) -> str:
    """Hide in what a database says the values that it quotes from rows.

    Only the first paragraph stays: what follows are details, excerpts and stacks. Names of tables
    and columns stay, which databases put into double quotes.
    """
    first = text.strip().split("\n\n")[0]
    kept = [line for line in first.splitlines() if not _DETAIL.match(line)]
    for pattern in _VALUES:
        kept = [pattern.sub(lambda found: f"{found[1]}*****{found[2]}", line) for line in kept]
    return "\n".join(kept)


def mask_comment(line: str) -> str:
    """Hide in a line's comment what looks like a secret."""
    if "#" not in line:
        return line
    return _COMMENT.sub(lambda comment: _mask_looks(comment[0]), line)


def mask_unread(lines: Sequence[str], number: int) -> str:
    """A line, from 1, of a file that could not be read, without what looks like a secret."""
    line = lines[number - 1]
    if _is_inside_secret(lines, number):
        return _stars(line)
    for secret in kinds(_BARE.findall(line)):
        line = line.replace(secret, _stars(secret))
    return _mask_looks(line)


def _mask_looks(text: str) -> str:
    for pattern in (_ASSIGNMENT, _USER_INFO):
        text = pattern.sub(lambda found: found[1] + _stars(found[2]), text)
    return _WORD.sub(lambda found: _stars(found[0]) if _is_token(found[0]) else found[0], text)


def _is_token(word: str) -> bool:
    """Whether a long word mixes digits with capitals, or is a long number in base 16."""
    is_mixed = re.search("[0-9]", word) is not None and re.search("[A-Z]", word) is not None
    return is_mixed or re.search("[0-9a-f]{32}", word) is not None


def _stars(text: str) -> str:
    """As many stars as the text has characters, so that columns stay; indentation is kept."""
    body = text.lstrip()
    return text[: len(text) - len(body)] + "*" * len(body)


def _is_inside_secret(lines: Sequence[str], number: int) -> bool:
    """Whether the line continues a secret of a line above it."""
    indentation = _indentation(lines[number - 1])
    is_parent_found = False
    for line in reversed(lines[max(0, number - _LONGEST_SECRET) : number - 1]):
        if _END_KEY in line:
            return False
        if _BEGIN_KEY in line:
            return True
        if not is_parent_found and line.strip() and _indentation(line) < indentation:
            is_parent_found = True
            if _OPEN_ASSIGNMENT.search(line):
                return True
    return False


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
