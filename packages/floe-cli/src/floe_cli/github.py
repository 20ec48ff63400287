"""Diagnostics as commands of a GitHub workflow, which annotate the lines of a pull request.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from floe_cli.repository import repository_path

if TYPE_CHECKING:
    from floe_core.diagnostics import Diagnostic
    from floe_core.errors import FloeError


def annotation(diagnostic: Diagnostic, root: Path) -> str:
    """One diagnostic as one line; columns count from 1, and the last is the one after the end."""
    properties: dict[str, str | int] = {}
    if diagnostic.file is not None:
        properties["file"] = repository_path(diagnostic.file, root)[0]
    if diagnostic.position is not None:
        properties["line"] = diagnostic.position.line
        properties["col"] = diagnostic.position.column
        properties["endColumn"] = diagnostic.position.end_column
    properties["title"] = diagnostic.code
    return _command(diagnostic.severity, properties, diagnostic.sentence, diagnostic.help)


def error(problem: FloeError) -> str:
    """An error that is about no file, as one line."""
    return _command("error", {"title": "floe"}, problem.message, problem.help)


def _command(name: str, properties: dict[str, str | int], message: str, help: str | None) -> str:
    listed = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    text = f"{message}\nhelp: {help}" if help else message
    return f"::{name} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
