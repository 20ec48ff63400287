"""Fitting artifacts that were compiled elsewhere to the project that is here."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from floe_core.errors import ArtifactsError
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_dbt import project as projects

_DBT = "dbt"


@dataclass(frozen=True, slots=True)
class Placed:
    """Artifacts whose paths exist here.

    Attributes:
        artifacts: The artifacts.
        notes: What is used instead of what they named, a sentence each.
    """

    artifacts: CompiledArtifacts
    notes: tuple[str, ...]


def place(artifacts: CompiledArtifacts, root: Path) -> Placed:
    """Let artifacts that were compiled elsewhere use the dbt project and the `.floe` of `root`.

    Raises:
        ArtifactsError: if a dbt project that they name is not here, nor one in its place.
    """
    transforms: list[CompiledTransform] = []
    notes: dict[str, None] = {}
    profiles = Path(os.path.relpath(Layout(root).profiles_dir(artifacts.environment), root))
    for transform in artifacts.transforms:
        if transform.is_asset:
            transforms.append(transform)
            continue
        project = project_of(transform, artifacts, root)
        if project not in _named(transform, artifacts):
            named = transform.dbt_project_path or artifacts.dbt_project_path or "."
            where = "the dbt project beside floe.yaml" if project == "." else f"`{project}`"
            notes[f"The dbt project `{named}` of the artifacts is not here: using {where}."] = None
        changes = {"dbt_project_path": project, "dbt_profiles_path": profiles.as_posix()}
        transforms.append(transform.model_copy(update=changes))
    metadata = artifacts.metadata.model_copy(update={"origin": "pulled"})
    placed = artifacts.model_copy(update={"transforms": tuple(transforms), "metadata": metadata})
    return Placed(placed, tuple(notes))


def project_of(transform: CompiledTransform, artifacts: CompiledArtifacts, root: Path) -> str:
    """Folder of a transform's dbt project, relative to the project root.

    Artifacts of contract 1.0 give `path` relative to the one dbt project. Where the folder does not
    exist here, it is the project beside floe.yaml, or below it if there is exactly one.

    Raises:
        ArtifactsError: if there is none, or more than one.
    """
    for candidate in _named(transform, artifacts):
        if _exists(transform, root / candidate):
            return candidate
    inside = posixpath.normpath(transform.path)
    if transform.dbt_project_path is None and (root / inside / projects.PROJECT_FILE).is_file():
        return inside
    found = projects.find(root) if transform.type == _DBT else []
    if len(found) == 1:
        return Path(os.path.relpath(found[0], root)).as_posix()
    named = transform.dbt_project_path or artifacts.dbt_project_path or "."
    raise ArtifactsError(
        f"the artifacts name dbt project `{named}`, which is not here, and "
        + ("no dbt project is" if not found else f"{len(found)} dbt projects are")
        + f" in {root}",
        help="Go to the folder of the dbt project, or name it in the variable FLOE_PROJECT_DIR.",
    )


def _named(transform: CompiledTransform, artifacts: CompiledArtifacts) -> tuple[str, ...]:
    """Folders that the artifacts may mean, the likelier first."""
    if transform.dbt_project_path is not None:
        return (posixpath.normpath(transform.dbt_project_path),)
    base = posixpath.normpath(artifacts.dbt_project_path or ".")
    return (posixpath.normpath(posixpath.join(base, transform.path)), base)


def _exists(transform: CompiledTransform, folder: Path) -> bool:
    is_dbt = transform.type == _DBT
    return (folder / projects.PROJECT_FILE).is_file() if is_dbt else folder.is_dir()
