"""Diagnostics as a SARIF log, which code scanning and editors read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from floe_cli.repository import repository_path
from floe_core.codes import CODES
from floe_core.version import __version__

if TYPE_CHECKING:
    from floe_core.diagnostics import Diagnostic
    from floe_core.errors import FloeError

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "%SRCROOT%"


def log(
    diagnostics: Sequence[Diagnostic], problem: FloeError | None, exit_code: int, root: Path
) -> dict[str, Any]:
    """A log of one run of floe.

    What is about no file has no place among the results: it is a notification of the run.

    Args:
        diagnostics: What was found.
        problem: Why floe could not look at the files; None when it could.
        exit_code: Exit code of the command.
        root: Root of the repository, which paths are relative to.
    """
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    placed = [diagnostic for diagnostic in diagnostics if diagnostic.file is not None]
    loose = [_notification(d, codes) for d in diagnostics if d.file is None]
    invocation: dict[str, Any] = {"executionSuccessful": problem is None, "exitCode": exit_code}
    if loose:
        invocation["toolConfigurationNotifications"] = loose
    if problem is not None:
        message = _message(problem.message, problem.help)
        invocation["toolExecutionNotifications"] = [{"level": "error", "message": message}]
    run = {
        "tool": {
            "driver": {
                "name": "floe",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(code) for code in codes],
            }
        },
        "invocations": [invocation],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, codes, root) for diagnostic in placed],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    """A code of the register, or a plugin's; GitHub shows a rule only if it has a help text."""
    text = {"text": CODES.get(code, "what a plugin finds")}
    return {"id": code, "shortDescription": text, "fullDescription": text, "help": text}


def _result(diagnostic: Diagnostic, codes: list[str], root: Path) -> dict[str, Any]:
    location = _location(diagnostic, root)
    uri = location["physicalLocation"]["artifactLocation"]["uri"]
    # The field, not the line: lines move when something is written above them.
    identity = "\n".join([diagnostic.code, uri, diagnostic.field or ""])
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity,
        "message": _message(diagnostic.sentence, diagnostic.help),
        "locations": [location],
        "partialFingerprints": {"floeField/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }


def _location(diagnostic: Diagnostic, root: Path) -> dict[str, Any]:
    assert diagnostic.file is not None
    path, is_inside = repository_path(diagnostic.file, root)
    artifact = {"uri": quote(path), "uriBaseId": _ROOT}
    if not is_inside:
        artifact = {"uri": f"file://{quote(path)}"}
    physical: dict[str, Any] = {"artifactLocation": artifact}
    location: dict[str, Any] = {"physicalLocation": physical}
    if diagnostic.position is not None:
        physical["region"] = {
            "startLine": diagnostic.position.line,
            "startColumn": diagnostic.position.column,
            "endColumn": diagnostic.position.end_column,
        }
    if diagnostic.field:
        location["logicalLocations"] = [{"fullyQualifiedName": diagnostic.field}]
    return location


def _notification(diagnostic: Diagnostic, codes: list[str]) -> dict[str, Any]:
    return {
        "associatedRule": {"id": diagnostic.code, "index": codes.index(diagnostic.code)},
        "level": diagnostic.severity,
        "message": _message(diagnostic.sentence, diagnostic.help),
    }


def _message(text: str, help: str | None) -> dict[str, str]:
    return {"text": f"{text}\nhelp: {help}" if help else text}
