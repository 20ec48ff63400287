"""What is in a dbt project: parsed when something changed, else as it was last time."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from floe_core.environment_variables import FLOE_PROJECT_DIR
from floe_core.index import ProjectIndex
from floe_core.plugins import Finding, Inspection, InspectRequest
from floe_dbt import manifest, project
from floe_dbt.claims import Findings, Selections, select, settle
from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import CommandResult
from floe_dbt.parsing import invocation
from floe_dbt.project import Project, ProjectFileError
from floe_dbt.words import listed

_HASH_VERSION = b"2"
"""Changes when the index of unchanged files would differ from what an earlier floe made."""

_ENV_VAR = re.compile(rb"env_var\(\s*['\"](\w+)['\"]")


def inspect(request: InspectRequest) -> Inspection:
    """Parse the project unless the cached index holds; see `DbtTransformExecutor.inspect`."""
    try:
        found = project.read_at(request.root, request.project)
    except ProjectFileError as problem:
        return _failed(project.unreadable(request.project, problem))
    if project.missing_packages(found):
        return _failed(_packages_missing(found))
    inputs_hash = inputs_hash_of(request, found)
    index, findings = _index(request, inputs_hash)
    if index is None:
        return Inspection(None, {}, findings, True)
    was_parsed = index is not request.cached
    selections = Selections(request, index)
    claims = settle(request, index, selections, findings)
    selected, refused = select(request, index, selections)
    selections.save()
    stale = project.stale_packages(found)
    if stale:
        findings.append(("", _packages_stale(stale)))
    return Inspection(index, claims, findings, was_parsed, selected, refused)


def _failed(finding: Finding) -> Inspection:
    return Inspection(None, {}, [("", finding)], False)


def _packages_missing(found: Project) -> Finding:
    declared, installed = len(found.declared_packages()), len(found.installed())
    return Finding(
        "FLOE-D003",
        (),
        f"project `{found.name}` declares {declared} package{'s' if declared != 1 else ''}, and "
        f"{installed or 'none'} {'is' if installed <= 1 else 'are'} installed",
        "run `floe deps`",
    )


def _packages_stale(stale: Sequence[str]) -> Finding:
    return Finding(
        "FLOE-D003",
        (),
        f"{listed(stale)} changed in the declared packages since they were fetched",
        "run `floe deps`",
        is_warning=True,
    )


def _warned(warnings: Sequence[str]) -> Finding:
    """All of dbt's warnings as one; dbt does not repeat those of files that did not change."""
    shown = "; ".join(_shortened(warning) for warning in warnings[:3])
    rest = f"; and {len(warnings) - 3} more" if len(warnings) > 3 else ""
    return Finding("FLOE-D005", (), f"dbt warns: {shown}{rest}", is_warning=True)


def _shortened(warning: str, most: int = 200) -> str:
    """A warning on one line."""
    text = " ".join(warning.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def inputs_hash_of(request: InspectRequest, found: Project) -> str:
    """Hash of everything that a parse reads: files, variables, connection and versions."""
    digest = hashlib.sha256()
    adapters = sorted(
        {str(output.get("type")) for output in request.profiles["floe"]["outputs"].values()}
    )
    versions = [_version(name) for name in ("dbt-core", *(f"dbt-{name}" for name in adapters))]
    settings = [request.target, versions, dict(request.vars), dict(request.profiles)]
    digest.update(_HASH_VERSION + json.dumps(settings, sort_keys=True, default=str).encode())
    read: set[bytes] = set()
    for path in found.files():
        content = path.read_bytes()
        read.update(_ENV_VAR.findall(content))
        name = os.path.relpath(path, found.folder).replace(os.sep, "/")
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    for variable in sorted(read - {FLOE_PROJECT_DIR.encode()}):
        value = request.environment.get(variable.decode(), os.environ.get(variable.decode(), ""))
        digest.update(variable + b"=" + hashlib.sha256(value.encode()).digest())
    return digest.hexdigest()


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution


def _index(request: InspectRequest, inputs_hash: str) -> tuple[ProjectIndex | None, Findings]:
    """The index that still holds, or a new one."""
    cached = request.cached
    if cached is not None and cached.inputs_hash == inputs_hash:
        return cached, []
    parse = invocation(request)
    result = DbtCore().parse(parse)
    if result.error is not None:
        return None, [("", _parse_error(request, result))]
    index = manifest.read_index(
        parse.target_path / "manifest.json",
        root=request.root,
        folder=request.root / request.project,
        project=request.project,
        target=request.target,
        inputs_hash=inputs_hash,
    )
    warnings = sorted(_portable(warning, request.root) for warning in result.warnings)
    return index, [("", _warned(warnings))] if warnings else []


def _portable(text: str, root: Path) -> str:
    """`text` without this machine's folders."""
    return text.replace(f"{root.resolve()}/", "").replace(f"{root}/", "")


def _parse_error(request: InspectRequest, result: CommandResult) -> Finding:
    if result.is_missing_packages:
        return Finding("FLOE-D003", (), result.error or "", "run `floe deps`")
    text = _portable(result.error or "", request.root)
    file = None
    if result.path is not None:
        file = (PurePosixPath(request.project) / result.path).as_posix()
    return Finding("FLOE-D001", (), f"dbt: {text}", file=file, line=result.line)
