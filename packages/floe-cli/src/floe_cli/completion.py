"""What a shell completes for values of options: environments, transforms, models.

Looks at files alone, compiles nothing and writes nothing. A project that is broken, or not
compiled yet, has nothing to offer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

_TABLES = frozenset({"model", "seed", "snapshot"})

Complete = Callable[[click.Context, click.Parameter, str], list[str]]

_OPERATORS = re.compile(r"(.*,)?(@|[0-9]*\+)?")
"""What may stand before a name in a selection of dbt: other names, and graph operators."""


def _silent(complete: Complete) -> Complete:
    def guarded(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            return complete(context, parameter, incomplete)
        except Exception:  # whatever is wrong with the project, the shell's line stays clean
            return []

    return guarded


@_silent
def environments(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Environments that have a platform file."""
    from floe_core.compiler.discovery import find_environments

    return _starting_with(incomplete, find_environments(_root(context)))


@_silent
def transforms(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Transforms of the compiled product."""
    rows = _artifacts(_root(context))["transforms"]
    return _starting_with(incomplete, {row["name"] for row in rows})


@_silent
def jobs(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Jobs of the compiled product."""
    rows = _artifacts(_root(context))["orchestration"]["jobs"]
    return _starting_with(incomplete, {row["name"] for row in rows})


@_silent
def selections(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Models, seeds and snapshots of the compiled product, and their tags."""
    from floe_core.layout import Layout

    root = _root(context)
    environment = context.params.get("env") or _artifacts(root)["identity"]["environment"]
    index = json.loads(Layout(root).index(environment).read_bytes())
    nodes = [node for row in index["indexes"] for node in row["nodes"].values()]
    buildable = [n for n in nodes if n["resource_type"] in _TABLES]
    names = {node["name"] for node in buildable}
    names |= {f"tag:{tag}" for node in buildable for tag in node["tags"]}
    operators = _OPERATORS.match(incomplete)
    before = operators[0] if operators else ""
    return [before + name for name in _starting_with(incomplete[len(before) :], names)]


@_silent
def nodes(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Models, seeds, snapshots and sources of the compiled product."""
    from floe_core.layout import Layout

    root = _root(context)
    environment = context.params.get("env") or _artifacts(root)["identity"]["environment"]
    index = json.loads(Layout(root).index(environment).read_bytes())
    found = [node for row in index["indexes"] for node in row["nodes"].values()]
    names = {node["name"] for node in found if node["resource_type"] in _TABLES}
    return _starting_with(
        incomplete,
        names
        | {f"{n['source_name']}.{n['name']}" for n in found if n["resource_type"] == "source"},
    )


def _starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _root(context: click.Context) -> Path:
    from floe_core.compiler.request import FLOE_FILE, CompileRequest, find_floe_file

    named: Path | None = context.params.get("project_dir")
    if named is None:
        return find_floe_file(Path.cwd()).parent
    return CompileRequest(named if named.name == FLOE_FILE else named / FLOE_FILE).root


def _artifacts(root: Path) -> Any:
    from floe_core.layout import Layout

    return json.loads(Layout(root).artifacts.read_bytes())
