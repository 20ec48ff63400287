"""Writes the reference pages in `docs/reference` from the code; `make generate` runs it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from typing_extensions import get_protocol_members

from floe_cli.main import cli
from floe_core import environment_variables, plugins
from floe_core.codes import CODES
from floe_core.layout import write_atomic
from floe_core.schemas.json_schema import SCHEMAS

_CASES = Path(__file__).parents[3] / "packages" / "floe-cli" / "tests" / "cases"
_FINDING = re.compile(r"^(?:\S.*?: )?(?:error|warning)\[(FLOE-\w+)\].*$", re.MULTILINE)
_NOTE = "<!-- Written by `make generate`; changes are overwritten. -->\n\n"


def cli_page() -> str:
    """The help of every command."""
    context = click.Context(cli, info_name="floe", max_content_width=90, terminal_width=90)
    parts = ["# Commands\n"]
    for words, command, parent in _walk(cli, context, ("floe",)):
        sub = click.Context(
            command, info_name=words[-1], parent=parent, max_content_width=90, terminal_width=90
        )
        parts.append(f"## `{' '.join(words)}`\n\n```text\n{command.get_help(sub).rstrip()}\n```\n")
    return "\n".join(parts)


def _walk(
    command: click.Command, context: click.Context, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context | None]]:
    yield words, command, context.parent if len(words) == 1 else context
    if isinstance(command, click.Group):
        inner = context
        if len(words) > 1:
            inner = click.Context(command, info_name=words[-1], parent=context)
        for name in command.list_commands(inner):
            child = command.get_command(inner, name)
            if child is not None:
                yield from _walk(child, inner, (*words, name))


def variables_page() -> str:
    """The environment variables, from their docstrings."""
    source = Path(str(environment_variables.__file__)).read_text(encoding="utf-8")
    body = ast.parse(source).body
    rows = []
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            name = ast.literal_eval(statement.value)
            rows.append(f"| `{name}` | {ast.literal_eval(following.value)} |")
    return "# Environment variables\n\n| variable | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def schema_page(name: str, title: str) -> str:
    """Every field of a file, model by model."""
    schema = SCHEMAS[name].model_json_schema()
    parts = [f"# {title}\n\n{schema['description']}\n", _fields(schema)]
    for model, definition in sorted(schema.get("$defs", {}).items()):
        text = definition.get("description", "").partition("\n")[0]
        parts.append(f"## {model}\n\n{text}\n\n{_fields(definition)}")
    return "\n".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = ["| key | value | meaning |", "|---|---|---|"]
    for key, field in schema.get("properties", {}).items():
        mark = " (required)" if key in required else ""
        text = field.get("description", "")
        rows.append(f"| `{key}`{mark} | {_type(field)} | {text}{_default(field)} |")
    return "\n".join(rows) + "\n"


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return f" Default: `{default}`." if isinstance(default, str | int) and default != "" else ""


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = dict.fromkeys(_type(part) for part in field[key] if part.get("type") != "null")
            return " or ".join(kinds)
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner: Any = field.get("additionalProperties") or next(
            iter(field.get("patternProperties", {}).values()), {}
        )
        return f"mapping of {_type(inner) if isinstance(inner, dict) else 'anything'}"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    kind = field.get("type", "anything")
    return words.get(kind, str(kind))


def diagnostics_page() -> str:
    """The codes, each with what floe printed for a mistake that was planted."""
    codes = sorted(CODES.items())
    examples = _planted()
    parts = [
        "# Diagnostic codes\n",
        "A code keeps its meaning. Each finding adds file, line, column and what to write.\n",
        "| code | meaning |\n|---|---|",
        *(f"| [`{code}`](#{code.lower()}) | {meaning} |" for code, meaning in codes),
    ]
    for code, meaning in codes:
        parts.append(f"\n## {code}\n\n{meaning}\n\n```text\n{examples[code]}\n```")
    return "\n".join(parts) + "\n"


def _planted() -> dict[str, str]:
    """For each code one finding, of the first planted mistake that shows it shortest."""
    found: dict[str, str] = {}
    for expected in sorted(_CASES.glob("*/expected.txt")):
        for block in expected.read_text(encoding="utf-8").split("\n\n"):
            match = _FINDING.search(block)
            if match is None:
                continue
            text = block[match.start() :].strip("\n")
            if len(text) < len(found.get(match[1], text + " ")):
                found[match[1]] = text
    return found


def plugins_page() -> str:
    """The interfaces of plugins, from their docstrings."""
    introduction = _docstring(plugins)
    parts = [f"# Plugins\n\n{introduction}\n"]
    for group, interfaces in plugins.INTERFACES.items():
        for interface in interfaces:
            parts.append(f"## `{interface.__name__}` (`{group}`)\n\n{_docstring(interface)}\n")
            parts += [_member(interface, name) for name in _members(interface)]
    parts.append("## What the interfaces are given and give back\n")
    for name in plugins.__all__:
        record = getattr(plugins, name)
        if dataclasses.is_dataclass(record):
            parts.append(f"### `{name}`\n\n{_docstring(record)}\n")
    return "\n".join(parts)


def _members(interface: type) -> list[str]:
    """Names of an interface's attributes and methods, in the order of the source."""
    wanted = get_protocol_members(interface)
    written = [*interface.__annotations__, *vars(interface)]
    return [name for name in dict.fromkeys(written) if name in wanted]


def _member(interface: type, name: str) -> str:
    method = getattr(interface, name, None)
    if method is None:
        text = _attribute_docstrings(interface).get(name, "")
        return f"### `{name}: {interface.__annotations__[name]}`\n\n{text}\n"
    return f"### `{name}{_signature(method)}`\n\n{_docstring(method)}\n"


def _signature(method: Any) -> str:
    found = inspect.signature(method)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    shown = ", ".join(f"{p.name}: {p.annotation}" for p in parameters)
    return f"({shown}) -> {found.return_annotation}"


def _attribute_docstrings(interface: type) -> dict[str, str]:
    [body] = [
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(interface))).body
        if isinstance(node, ast.ClassDef)
    ]
    return {
        statement.target.id: " ".join(str(ast.literal_eval(following.value)).split())
        for statement, following in pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
    }


_DOCTEST = re.compile(r"^(>>>.*?)\n\n", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):$")


def _docstring(documented: object) -> str:
    """A docstring as Markdown: the example fenced, sections as lists."""
    prose, separator, example = (inspect.getdoc(documented) or "").partition("::\n\n")
    lines: list[str] = []
    prose = _DOCTEST.sub(r"```pycon\n\1\n```\n\n", prose)
    for line in _joined(prose.splitlines()):
        section = _SECTION.match(line)
        lines.append(f"**{section[1]}**\n" if section else line)
    text = "\n".join(lines)
    code = textwrap.dedent(example).rstrip()
    return f"{text}:\n\n```python\n{code}\n```" if separator else text.rstrip()


def _joined(lines: list[str]) -> Iterator[str]:
    """Lines of a docstring, those of a section as items of a list."""
    is_section = False
    for line in lines:
        if _SECTION.match(line):
            is_section = True
            yield line
        elif is_section and line.startswith("        "):
            yield f"  {line.strip()}"
        elif is_section and line.startswith("    "):
            name, colon, text = line.strip().partition(": ")
            yield f"- `{name}`: {text}" if colon and " " not in name else f"- {line.strip()}"
        else:
            is_section = is_section and not line
            yield line


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    pages = {
        "cli.md": cli_page(),
        "environment-variables.md": variables_page(),
        "floe-yaml.md": schema_page("floe", "floe.yaml"),
        "platform-yaml.md": schema_page("platform", "platform.yaml"),
        "artifacts.md": schema_page("artifacts", "The contract"),
        "diagnostics.md": diagnostics_page(),
        "plugins.md": plugins_page(),
    }
    for name, text in pages.items():
        title, _, rest = text.partition("\n")
        write_atomic(folder / name, f"{title}\n\n{_NOTE}{rest.lstrip()}".encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
