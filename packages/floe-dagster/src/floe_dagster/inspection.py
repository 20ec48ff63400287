"""What dbt knows of the product's projects: read from `.floe`, else parsed afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from floe_core import plugins, profiles
from floe_core.errors import ArtifactsError
from floe_core.index import ProjectIndex
from floe_core.index_file import dump_index, load_index
from floe_core.lake import Lake
from floe_core.layout import Layout, write_atomic
from floe_core.plugins import InspectRequest, LocatedTransform
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_dagster.connection import (
    compute_target,
    product_lake,
    product_tables,
    secrets_or_placeholders,
)

Grouped = Mapping[tuple[str, str], Sequence[CompiledTransform]]
"""Transforms by the folder of their dbt project and the name of their dbt target."""


def load_indexes(
    artifacts: CompiledArtifacts, root: Path, grouped: Grouped
) -> tuple[ProjectIndex, ...]:
    """Read the indexes that `floe compile` left for the artifacts' environment.

    Where it left none, or none of one of the projects, as when artifacts come from another machine,
    the projects are parsed and the indexes kept. Artifacts that were pulled have no compile here:
    their projects are parsed whenever they have changed.

    Raises:
        ArtifactsError: if a project does not parse.
    """
    path = Layout(root).index(artifacts.environment)
    try:
        found = load_index(path.read_bytes())
    except (OSError, ValueError):
        found = ()
    cached = {(index.project, index.target): index for index in found}
    if cached.keys() >= grouped.keys() and not artifacts.is_pulled:
        return found
    parsed = _parse(artifacts, root, grouped, cached)
    if parsed != found:
        write_atomic(path, dump_index(parsed))
    _write_profiles(artifacts, root, grouped, product_tables(artifacts, root))
    return parsed


def _parse(
    artifacts: CompiledArtifacts,
    root: Path,
    grouped: Grouped,
    cached: Mapping[tuple[str, str], ProjectIndex],
) -> tuple[ProjectIndex, ...]:
    content = _write_profiles(artifacts, root, grouped, product_lake(artifacts))
    return tuple(
        _inspect(artifacts, root, key, transforms, content, cached.get(key))
        for key, transforms in grouped.items()
    )


def _inspect(
    artifacts: CompiledArtifacts,
    root: Path,
    key: tuple[str, str],
    transforms: Sequence[CompiledTransform],
    content: Mapping[str, Any],
    cached: ProjectIndex | None,
) -> ProjectIndex:
    project, target = key
    kind = transforms[0].type
    executor = plugins.transform_executor(kind)
    if executor is None or plugins.is_asset_kind(executor):
        known = ", ".join(plugins.names(plugins.TRANSFORMS)) or "none"
        raise ArtifactsError(
            f"the artifacts have transforms of type `{kind}`, which is not installed here "
            f"(installed: {known})"
        )
    inspection = executor.inspect(
        InspectRequest(
            root=root,
            project=project,
            target=target,
            profiles=content,
            work_dir=Layout(root).work(artifacts.environment),
            vars=artifacts.dbt_vars,
            transforms=[LocatedTransform(t.name or project, project) for t in transforms],
            cached=cached,
            environment=secrets_or_placeholders(artifacts),
        )
    )
    if inspection.index is None:
        findings = [finding for _, finding in inspection.findings]
        problems = "; ".join(finding.message for finding in findings)
        raise ArtifactsError(
            f"dbt project `{project}` cannot be parsed: {problems}",
            help=next((f"{finding.help}." for finding in findings if finding.help), None),
        )
    return inspection.index


def _write_profiles(
    artifacts: CompiledArtifacts, root: Path, grouped: Grouped, lake: Lake | None
) -> Mapping[str, Any]:
    """Content of profiles.yml; it is written here, since `floe compile` has not done so."""
    target, compute = compute_target(artifacts)
    findings = target.check(compute)
    if findings:
        field = ".".join(["compute", *map(str, findings[0].field)])
        raise ArtifactsError(
            f"the artifacts cannot be run: `{field}` {findings[0].message}", help=findings[0].help
        )
    targets = [name for _, name in grouped]
    content = profiles.build(target, compute, artifacts.environment, targets, lake)
    Layout(root).prepare()
    profiles.write(Layout(root).profiles_dir(artifacts.environment), content)
    return content
