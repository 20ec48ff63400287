"""dbt's error texts, taken apart: what happened, in which file, on which line."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_BANNER = re.compile(
    r"^(?:[A-Z]\w+ )+Error(?: in \S.* \((?P<path>[^()]+)\))?$|^Encountered an error:$"
)
_SEVERITY = re.compile(r"^(?:\[\w+\])+:?\s*(?:Deprecated functionality\s+)?")
_COMPILED_CODE = re.compile(r"^\s*compiled code at .*$", re.IGNORECASE)
_JINJA_PLACE = re.compile(r"\n\s*line (?P<line>\d+)(?:\n[^\n]*)?$")
_YAML_PLACE = re.compile(r"Syntax error near line (?P<line>\d+)")
_YAML_FILE = re.compile(r"^Error reading \w+: (?P<path>\S+)")
_NAMED_FILE = re.compile(r"\((?P<path>[\w./ @+-]+\.(?:sql|py|csv|ya?ml|md))\)")
_YAML_POSITION = re.compile(r"\s*in \"<unicode string>\", line \d+, column \d+")
_FILE_AFTER = re.compile(r"\nError encountered in (?P<path>.+)$")
_NO_CONNECTION = re.compile(
    r"External connection exception occurred: .*?host='(?P<host>[^']+)'.*\[Errno -?\d+\] "
    r"(?P<reason>[^()'\"]+)",
    re.DOTALL,
)
_DATABASE_LINE = re.compile(r"^\s*LINE \d+: (?P<text>.*)$", re.MULTILINE)

_MISSING_VARIABLE = re.compile(r"Env var required but not provided: '(?P<name>\w+)'")


@dataclass(frozen=True, slots=True)
class Message:
    """A text of dbt, taken apart.

    Attributes:
        text: What happened, without dbt's banner and without the place.
        path: File that dbt names, as dbt writes it.
        line: Line in that file, from 1.
    """

    text: str
    path: str | None = None
    line: int | None = None


def parse(message: str) -> Message:
    """Take the text of a dbt error apart."""
    path, body = _without_banner(message)
    body = _without_compiled_code(body)
    if "Raw Error:" in body:
        return _yaml_error(body, path)
    connection = _NO_CONNECTION.search(body)
    if connection is not None:
        host, reason = connection["host"], connection["reason"].strip()
        return Message(f"{host} cannot be reached: {reason[:1].lower()}{reason[1:]}")
    file = _FILE_AFTER.search(body)
    if file is not None:
        return Message(body[: file.start()].rstrip(), file["path"])
    place = _JINJA_PLACE.search(body)
    if place is not None:
        named = path or _named_file(body)
        return Message(body[: place.start()].rstrip(), named, int(place["line"]))
    return Message(body, path or _named_file(body))


def plain(message: str) -> str:
    """The text of an error or a warning without dbt's decoration."""
    _, body = _without_banner(_SEVERITY.sub("", message.strip()))
    return _without_compiled_code(body)


def _without_banner(message: str) -> tuple[str | None, str]:
    """Split off `Runtime Error in model x (models/x.sql)`, and give the file that it names."""
    path = None
    lines = message.strip().splitlines()
    while len(lines) > 1 and (banner := _BANNER.match(lines[0].strip())) is not None:
        path = banner["path"] or path
        lines = textwrap.dedent("\n".join(lines[1:])).splitlines()
    return path, "\n".join(line.rstrip() for line in lines).strip()


def _without_compiled_code(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not _COMPILED_CODE.match(line)).strip()


def _named_file(body: str) -> str | None:
    """The one file that the text names; None when it names none or several."""
    files = {found["path"] for found in _NAMED_FILE.finditer(body)}
    return files.pop() if len(files) == 1 else None


def _yaml_error(body: str, path: str | None) -> Message:
    """Condense dbt's report of broken YAML, which repeats the file around the error."""
    head, _, raw = body.partition("Raw Error:")
    file, line = _YAML_FILE.match(head), _YAML_PLACE.search(head)
    reasons = [
        _YAML_POSITION.sub("", reason).strip() for reason in raw.splitlines() if "---" not in reason
    ]
    return Message(
        "the file is not YAML: " + ", ".join(reason for reason in reasons if reason),
        file["path"] if file else path or _named_file(head),
        int(line["line"]) if line else None,
    )


def missing_variable(text: str) -> str | None:
    """The environment variable that a project reads and nobody has set."""
    found = _MISSING_VARIABLE.search(text)
    return found["name"] if found is not None else None


def source_line(message: str, source: str, compiled: str) -> int | None:
    """Line of a model's own file that a database error points to, from 1.

    Databases count the lines of the statement that ran, which is not the model's file. They also
    quote the line. It is certain which line is meant when the quoted text is found exactly once in
    the compiled SQL, and either exactly once in the source too, or the lines of both correspond.
    """
    quoted = _DATABASE_LINE.search(message)
    if quoted is None:
        return None
    in_compiled = _lines_like(quoted["text"], compiled)
    if len(in_compiled) != 1:
        return None
    in_source = _lines_like(quoted["text"], source)
    if len(in_source) == 1:
        return in_source[0]
    return in_compiled[0] if _correspond(source, compiled) else None


def _lines_like(quoted: str, content: str) -> list[int]:
    """Numbers of the lines that a quote may be of; databases shorten long lines with dots."""
    text = quoted.strip().removeprefix("...").removesuffix("...")
    is_whole = text == quoted.strip()
    return [
        number
        for number, line in enumerate(content.splitlines(), start=1)
        if (line.strip() == text if is_whole else text in line)
    ]


def _correspond(source: str, compiled: str) -> bool:
    """Whether Jinja changed no number of lines: all lines without Jinja are where they were."""
    lines, results = source.rstrip().splitlines(), compiled.rstrip().splitlines()
    return len(lines) == len(results) and all(
        "{" in line or "}" in line or line.rstrip() == result.rstrip()
        for line, result in zip(lines, results, strict=True)
    )
