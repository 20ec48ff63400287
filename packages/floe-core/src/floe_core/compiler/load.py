"""Stage `load`: both files, read, checked for secrets, and validated."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from floe_core.compiler.discovery import LOCAL, PlatformChoice, find_platform_file
from floe_core.compiler.request import CompileRequest
from floe_core.compiler.validation import validate, value_at
from floe_core.diagnostics import Diagnostic, Report, display_path
from floe_core.environment_variables import FLOE_PLATFORM_FILE
from floe_core.errors import UsageError
from floe_core.schemas.base import IDENTIFIER_PATTERN
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.platform import PlatformSpec
from floe_core.schemas.spellings import normalise_floe, normalise_platform
from floe_core.secret_scan import refuse_literal_secrets
from floe_core.source import Source, read_source


@dataclass(frozen=True)
class Loaded:
    """Both specs with the positions of their values.

    Attributes:
        request: What was asked for.
        floe: The spec of floe.yaml; None when it is too broken to go on with.
        floe_source: Where its values stand.
        platform: The spec of platform.yaml; None when there is none, or it is too broken.
        platform_source: Where its values stand; None when there is no file.
        content_hash: Hash of both files' bytes.
        choice: How the platform file was chosen.
    """

    request: CompileRequest
    floe: FloeSpec | None
    floe_source: Source
    platform: PlatformSpec | None
    platform_source: Source | None
    content_hash: str
    choice: PlatformChoice


def load(request: CompileRequest, report: Report) -> Loaded:
    """Read floe.yaml, find and read the platform file, and validate both.

    Raises:
        UsageError: if the environment that was asked for cannot be the name of one.
    """
    _check_environment(request.wanted_environment)
    _check_vars(request, report)
    floe_source = read_source(request.floe_file, report)
    refuse_literal_secrets(floe_source, report)
    if floe_source.data is not None:
        normalise_floe(floe_source, report)
    pointer = value_at(floe_source.data, ("platform", "manifest"))
    floe = validate(FloeSpec, floe_source, report, ("platform.yaml", PlatformSpec))

    choice = find_platform_file(request, pointer if isinstance(pointer, str) else None)
    platform_source = _read_platform(request, choice, floe_source, report)
    platform = None
    if platform_source is not None:
        refuse_literal_secrets(platform_source, report)
        if platform_source.data is not None:
            normalise_platform(platform_source, report)
        platform = validate(PlatformSpec, platform_source, report, ("floe.yaml", FloeSpec))
    return Loaded(
        request,
        floe,
        floe_source,
        platform,
        platform_source,
        _hash(request.floe_file, platform_source.path if platform_source else None),
        choice,
    )


def _check_environment(name: str | None) -> None:
    """Refuse what is no name: it becomes part of paths."""
    if name is not None and not re.fullmatch(IDENTIFIER_PATTERN, name):
        raise UsageError(
            f"`{name}` is not the name of an environment",
            help="Write a letter or `_`, then letters, digits, `_`, `.` or `-`.",
        )


def _check_vars(request: CompileRequest, report: Report) -> None:
    """Dbt vars are written into the artifacts, so they hold no secret either."""
    found = Report()
    refuse_literal_secrets(Source(Path("vars"), data=deepcopy(dict(request.vars))), found)
    for diagnostic in found.diagnostics:
        report.add(
            replace(
                diagnostic,
                file=None,
                field=f"vars.{diagnostic.field}",
                help="set an environment variable, and read it with `env_var()` in dbt",
            )
        )


def _read_platform(
    request: CompileRequest, choice: PlatformChoice, floe_source: Source, report: Report
) -> Source | None:
    if choice.path is None:
        environment = request.wanted_environment or LOCAL
        if environment != LOCAL:
            report.add(_not_found(environment, choice))
        return None
    if choice.is_pointer and not choice.path.exists():
        report.add(
            floe_source.diagnostic(
                "FLOE-F001",
                ("platform", "manifest"),
                f"there is no file at {display_path(choice.path)}",
                help="write its path relative to floe.yaml, or put it in one of:\n"
                + _listed(choice.searched[:-1]),
            )
        )
        return None
    if choice.is_from_variable and not os.path.lexists(choice.path):
        report.add(_variable_to_nothing(choice.path))
        return None
    return read_source(choice.path, report)


def _variable_to_nothing(path: Path) -> Diagnostic:
    return Diagnostic(
        "FLOE-F001",
        "error",
        f"does not exist, and the variable {FLOE_PLATFORM_FILE} names it",
        file=path,
        help=f"set {FLOE_PLATFORM_FILE} to the path of a platform file, or unset it",
    )


def _not_found(environment: str, choice: PlatformChoice) -> Diagnostic:
    return Diagnostic(
        "FLOE-F006",
        "error",
        f"there is no platform.yaml for environment `{environment}`",
        help="name it with `--platform PATH`, or put it in one of:\n" + _listed(choice.searched),
    )


def _listed(paths: Sequence[Path]) -> str:
    return "\n".join(f"  {display_path(path)}" for path in paths)


def _hash(*paths: Path | None) -> str:
    """Hash the files' bytes; a file that cannot be read counts as absent (it is reported)."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes() if path is not None and path.is_file() else b""
        except OSError:
            content = b""
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()
