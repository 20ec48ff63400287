"""What dbt knows of the product's projects: read from `.floe`, else parsed afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from floe_core import plugins, profiles
from floe_core.errors import ArtifactsError
from floe_core.index import ProjectIndex
from floe_core.index_file import dump_index, load_index
from floe_core.layout import Layout, write_atomic
from floe_core.plugins import InspectRequest, LocatedTransform
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_dagster.connection import compute_target, secrets_or_placeholders

Grouped = Mapping[tuple[str, str], Sequence[CompiledTransform]]
"""Transforms by the folder of their dbt project and the name of their dbt target."""


def load_indexes(
    artifacts: CompiledArtifacts, root: Path, grouped: Grouped
) -> tuple[ProjectIndex, ...]:
    """Read the indexes that `floe compile` left for the artifacts' environment.

    Where it left none, or none of one of the projects, as when artifacts come from another machine,
    the projects are parsed and the indexes kept.

    Raises:
        ArtifactsError: if a project does not parse.
    """
    path = Layout(root).index(artifacts.environment)
    try:
        found = load_index(path.read_bytes())
    except (OSError, ValueError):
        found = ()
    if {(index.project, index.target) for index in found} >= grouped.keys():
        return found
    parsed = _parse(artifacts, root, grouped)
    Layout(root).prepare()
    write_atomic(path, dump_index(parsed))
    return parsed


def _parse(artifacts: CompiledArtifacts, root: Path, grouped: Grouped) -> tuple[ProjectIndex, ...]:
    content = _profiles(artifacts, root, [target for _, target in grouped])
    return tuple(
        _inspect(artifacts, root, project, target, transforms, content)
        for (project, target), transforms in grouped.items()
    )


def _inspect(
    artifacts: CompiledArtifacts,
    root: Path,
    project: str,
    target: str,
    transforms: Sequence[CompiledTransform],
    content: Mapping[str, Any],
) -> ProjectIndex:
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
            transforms=[
                LocatedTransform(t.name or project, project, t.models, t.select) for t in transforms
            ],
            environment=secrets_or_placeholders(artifacts),
        )
    )
    if inspection.index is None:
        problems = "; ".join(finding.message for _, finding in inspection.findings)
        raise ArtifactsError(
            f"dbt project `{project}` cannot be parsed: {problems}",
            help="`floe compile` shows the files and lines.",
        )
    return inspection.index


def _profiles(
    artifacts: CompiledArtifacts, root: Path, targets: Sequence[str]
) -> Mapping[str, Any]:
    """Content of profiles.yml; it is written here where `floe compile` has not done so."""
    folder = Layout(root).profiles_dir(artifacts.environment)
    target, compute = compute_target(artifacts)
    content = profiles.build(target, compute, artifacts.environment, targets)
    if not (folder / profiles.FILE).is_file():
        Layout(root).prepare()
        profiles.write(folder, content)
    return content
