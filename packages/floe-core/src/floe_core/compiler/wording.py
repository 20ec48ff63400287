"""What Pydantic says about a value, in the words of the user's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from floe_core.diagnostics import did_you_mean
from floe_core.schemas.base import IDENTIFIER_PATTERN, SEMVER_PATTERN

TYPE_WORDS: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
"""What is expected, by the kind of Pydantic's error."""

_YES_NO = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false"} | {
    "false": "false"
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that does not fit.

    Attributes:
        kind: Pydantic's kind of error.
        context: What Pydantic adds to it.
        text: Pydantic's own message.
        value: The value.
        raw: The value as it is written in the file, when it is written on one line.
        field: The field that it was given for; None when it is part of a list or a mapping.
        keys: Keys of the mapping that is expected, or of those in the list that is.
    """

    kind: str
    context: Mapping[str, Any]
    text: str
    value: Any
    raw: str | None = None
    field: FieldInfo | None = None
    keys: Sequence[str] = ()


Explanation = tuple[str, str, str | None]
"""Code, message and help."""


def explain(wrong: Wrong) -> Explanation:
    """Say what is wrong with a value and what to write instead."""
    kind, context = wrong.kind, wrong.context
    if kind in TYPE_WORDS:
        return _wrong_type(wrong)
    if kind in {"literal_error", "union_tag_invalid"}:
        known = _words(str(context.get("expected") or context.get("expected_tags")))
        help = did_you_mean(show(wrong.value), known, "known values")
        return "FLOE-S004", f"{_quoted(wrong.value)} is not known here", help
    if kind == "string_pattern_mismatch":
        return "FLOE-S005", *_wrong_pattern(str(context["pattern"]), wrong.value)
    if kind in {"too_short", "string_too_short"}:
        least = context["min_length"]
        message = "must not be empty" if least == 1 else f"must have at least {least} characters"
        what = described(wrong.field)
        is_list = what is not None and kind == "too_short"
        return "FLOE-S005", message, f"add an entry: {what}" if is_list else what
    if kind in {"too_long", "string_too_long"}:
        return "FLOE-S005", f"is longer than {context['max_length']} characters", None
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = context.get("ge", context.get("le"))
        side = "at least" if "ge" in context else "at most"
        return "FLOE-S007", f"must be {side} {bound}, not {wrong.value}", described(wrong.field)
    if kind == "value_error":
        message, _, advice = str(context["error"]).partition("; ")
        return "FLOE-S005", message, advice or None
    return "FLOE-S003", wrong.text[0].lower() + wrong.text[1:], None


def _wrong_type(wrong: Wrong) -> Explanation:
    if wrong.value is None:
        help = described(wrong.field) or "write one, or remove the key"
        return "FLOE-S003", "has no value", help
    expected = TYPE_WORDS[wrong.kind]
    message = f"must be {expected}, not {describe_value(wrong.value)}"
    return "FLOE-S003", message, rewrite(expected, wrong) or described(wrong.field)


def rewrite(expected: str, wrong: Wrong) -> str | None:
    """How to write the same value so that it is of the expected kind."""
    value, raw = wrong.value, wrong.raw or show(wrong.value)
    if expected == "text" and isinstance(value, bool | int | float):
        is_version = wrong.field is not None and _pattern(wrong.field) == SEMVER_PATTERN
        return f'write it in quotes: `"{_three_numbers(raw) if is_version else raw}"`'
    if expected == "`true` or `false`" and isinstance(value, str):
        word = _YES_NO.get(value.lower())
        return f"write `{word}`, without quotes" if word else None
    if expected in {"a whole number", "a number"} and _is_number(value):
        return f"write it without quotes: `{value}`"
    if expected == "a list":
        return _as_list(wrong, raw)
    if expected == "keys and values":
        return _as_mapping(wrong, raw)
    return None


def _as_list(wrong: Wrong, raw: str) -> str | None:
    if isinstance(wrong.value, dict):
        return "begin each entry with `- name: `" if "name" in wrong.keys else None
    if len(wrong.keys) == 1:
        return f"write a list: `[{{{wrong.keys[0]}: {raw}}}]`"
    return None if wrong.keys else f"write a list: `[{raw}]`"


def _as_mapping(wrong: Wrong, raw: str) -> str | None:
    if len(wrong.keys) == 1 and isinstance(wrong.value, str):
        return f"write `{{{wrong.keys[0]}: {raw}}}`"
    if wrong.keys:
        return "known keys: " + ", ".join(f"`{key}`" for key in sorted(wrong.keys))
    return None


def described(field: FieldInfo | None) -> str | None:
    """A field's description, as it follows a colon."""
    return following(field.description) if field is not None and field.description else None


def following(sentence: str) -> str:
    """A sentence as it follows a colon: small, unless its first word is a name, and no stop."""
    text = sentence.rstrip(".")
    first = text.partition(" ")[0].rstrip(",;:")
    is_name = not first[1:].islower() and len(first) > 1
    return text if is_name else f"{text[0].lower()}{text[1:]}"


def describe_value(value: Any) -> str:
    """Name the kind of a value, in a user's words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{show(value)}`"
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list():
            return "a list"
    return "keys and values"


def show(value: Any) -> str:
    """A value as YAML writes it; of mappings and lists, what they are."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else describe_value(value)


def _quoted(value: Any) -> str:
    is_scalar = isinstance(value, str | int | float)
    return f"`{show(value)}`" if is_scalar else describe_value(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None


def _words(text: str) -> list[str]:
    return [word for word in text.replace(" or ", ", ").replace("'", "").split(", ") if word]


def _pattern(field: FieldInfo) -> str | None:
    patterns = (getattr(part, "pattern", None) for part in field.metadata)
    return next((pattern for pattern in patterns if pattern), None)


def _three_numbers(text: str) -> str:
    """`1` and `1.2` as the version that was meant."""
    is_short = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None
    return text + ".0" * (2 - text.count(".")) if is_short else "1.0.0"


_FORMS = {
    IDENTIFIER_PATTERN: (
        "a name",
        "starts with a letter or `_` and goes on with letters, digits, `_`, `.`, `-`",
    ),
    r"^https?://.+": ("a URL", "starts with `http://` or `https://`"),
    r"^\d+(\.\d+)?m?$": ("an amount of CPU", "looks like `2`, `0.5` or `500m`"),
    r"^\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?$": ("an amount of memory", "looks like `512Mi` or `2Gi`"),
    r"^[A-Za-z0-9_.-]{1,63}$": ("a tag", "has up to 63 letters, digits, `_`, `.` or `-`"),
    r"^\d{12}$": ("an AWS account id", "has twelve digits"),
    r"^[A-Za-z_][A-Za-z0-9_]*$": (
        "the name of an environment variable",
        "has letters, digits and `_`",
    ),
    r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$": (
        "the ARN of a role",
        "looks like `arn:aws:iam::123456789012:role/Name`",
    ),
    r"^[A-Za-z0-9][A-Za-z0-9_./-]*$": (
        "the name of a secret",
        "has letters, digits, `_`, `.`, `-` and at most one `/`",
    ),
}
"""What a text has to be, and how that looks, by its pattern."""


def _wrong_pattern(pattern: str, value: Any) -> tuple[str, str | None]:
    if pattern == SEMVER_PATTERN:
        return "is not a version of three numbers", f'write `"{_three_numbers(str(value))}"`'
    if pattern not in _FORMS:
        return f"does not match `{pattern}`", None
    noun, form = _FORMS[pattern]
    return f"is not {noun}", f"{_suggestion(pattern, value)}{noun} {form}"


def _suggestion(pattern: str, value: Any) -> str:
    """The value with `_` in place of what a name cannot hold."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(value)).strip("_")
    return f"write `{name}`; " if pattern == IDENTIFIER_PATTERN and re.match(pattern, name) else ""
