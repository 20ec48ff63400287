"""Finds the dbt project of a transform, and what narrows it, on the file system alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from floe_core.diagnostics import FieldPath, near_miss
from floe_core.plugins import Finding, LocatedTransform
from floe_core.schemas.floe import Transform
from floe_dbt import paths, project
from floe_dbt.project import PROJECT_FILE, Project, ProjectFileError
from floe_dbt.words import listed

_TOO_LONG = f"is longer than {paths.LONGEST} characters, or has a part of more than 255"
_SHORTER = "write the path of a folder or file that exists"


def locate(transform: Transform, root: Path) -> tuple[LocatedTransform | None, Sequence[Finding]]:
    """Find the transform's dbt project below `root`; see `DbtTransformExecutor.locate`."""
    refused = _refused_paths(transform)
    if refused:
        return None, refused
    if transform.project is not None:
        return _whole_project(transform, root, "project", transform.project)
    if transform.path is None:
        return _without_path(transform, root)
    if (root / transform.path / PROJECT_FILE).is_file():
        return _whole_project(transform, root, "path", transform.path)
    return _models_below(transform, root, transform.path)


def _refused_paths(transform: Transform) -> list[Finding]:
    """Findings for paths that would not hold on another machine."""
    findings = []
    for key in ("project", "path"):
        value = getattr(transform, key)
        if value is not None and paths.is_too_long(value):
            findings.append(Finding("FLOE-R012", (key,), _TOO_LONG, _SHORTER))
        elif value is not None and PurePosixPath(value).is_absolute():
            findings.append(
                Finding(
                    "FLOE-R017",
                    (key,),
                    f"`{value}` is an absolute path, which holds on this machine only",
                    "write it relative to floe.yaml",
                )
            )
    for number, model in enumerate(transform.models):
        if paths.is_too_long(model.path):
            at = ("models", number, "path")
            findings.append(Finding("FLOE-R013", at, _TOO_LONG, _SHORTER))
        elif paths.leaves(model.path):
            findings.append(
                Finding(
                    "FLOE-R017",
                    ("models", number, "path"),
                    f"`{model.path}` leaves the dbt project",
                    "write a path below the dbt project's folder, relative to it",
                )
            )
    return findings


def _whole_project(
    transform: Transform, root: Path, key: str, path: str
) -> tuple[LocatedTransform | None, list[Finding]]:
    finding = _project_finding(root, key, path)
    if finding is not None:
        return None, [finding]
    return _in_project(transform, root, paths.normal(path), [m.path for m in transform.models])


def _in_project(
    transform: Transform, root: Path, at: str, models: Sequence[str], select: str | None = None
) -> tuple[LocatedTransform | None, list[Finding]]:
    """Place a transform in the project at `at`, once its file can be read."""
    try:
        found = project.read_at(root, at)
    except ProjectFileError as problem:
        return None, [project.unreadable(at, problem)]
    name = transform.name or found.name
    if name is None:
        return None, [_nameless(transform, at)]
    origins = _origins(transform, at, len(models))
    located = LocatedTransform(name, at, tuple(models), transform.select or select, origins=origins)
    return located, _model_findings(transform, found)


def _origins(transform: Transform, at: str, models: int) -> dict[FieldPath, FieldPath | str]:
    """Where each fact about a placed transform came from; see `LocatedTransform`."""
    project_file = (PurePosixPath(at) / PROJECT_FILE).as_posix()
    origins: dict[FieldPath, FieldPath | str] = {
        ("name",): ("name",) if transform.name is not None else project_file,
        ("select",): ("select",) if transform.select is not None else ("name",),
    }
    for key in _key(transform):
        if paths.normal(getattr(transform, key)) == at:
            origins["project",] = (key,)
    for number in range(models):
        is_written = number < len(transform.models)
        origins["models", number] = ("models", number, "path") if is_written else ("path",)
    return origins


def _key(transform: Transform) -> tuple[str, ...]:
    """The field that says where the project is; empty when none does."""
    for key in ("project", "path"):
        if getattr(transform, key) is not None:
            return (key,)
    return ()


def _nameless(transform: Transform, at: str) -> Finding:
    where = (PurePosixPath(at) / PROJECT_FILE).as_posix()
    return Finding(
        "FLOE-R012", _key(transform), f"{where} has no `name`", "give the transform or it a `name`"
    )


def _project_finding(root: Path, key: str, path: str) -> Finding | None:
    """What is wrong with a path that should be the folder of a dbt project."""
    folder = root / path
    if (folder / PROJECT_FILE).is_file():
        return None
    if folder.is_dir():
        message = f"`{path}` holds no {PROJECT_FILE}"
    elif folder.exists():
        message = f"`{path}` is a file, not the folder of a dbt project"
    else:
        message = f"there is no folder `{path}` beside floe.yaml"
    return Finding("FLOE-R012", (key,), message, _projects_help(root, path))


def _projects_help(root: Path, path: str) -> str:
    """Name the projects that there are, the nearest one first."""
    known = [_relative(folder, root) for folder in project.find(root)]
    nearest = near_miss(path, known)
    if nearest is not None:
        return f"did you mean `{nearest}`?"
    if known:
        return f"dbt projects here: {listed(known)}"
    return f"no folder below floe.yaml holds a {PROJECT_FILE}; `dbt init` makes one"


def _model_findings(transform: Transform, found: Project) -> list[Finding]:
    """A finding for each path under `models` that names no file."""
    files = found.node_files()
    return [
        _no_models(("models", number, "path"), model.path, files, "the dbt project")
        for number, model in enumerate(transform.models)
        if not paths.matching(files, model.path)
    ]


def _no_models(
    field: tuple[str | int, ...], path: str, files: Sequence[str], where: str
) -> Finding:
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents}
    nearest = near_miss(paths.normal(path), {*files, *folders} - {"."})
    if nearest is None:
        nearest = near_miss(PurePosixPath(path).stem, {PurePosixPath(file).stem for file in files})
        nearest = next((file for file in files if PurePosixPath(file).stem == nearest), None)
    help = f"did you mean `{nearest}`?" if nearest else _top_folders(files)
    return Finding("FLOE-R013", field, f"`{path}` names no file of {where}", help)


def _top_folders(files: Sequence[str]) -> str:
    tops = sorted({PurePosixPath(file).parts[0] for file in files})
    return f"folders with models, seeds or snapshots: {listed(tops)}" if tops else "it has none"


def _models_below(
    transform: Transform, root: Path, path: str
) -> tuple[LocatedTransform | None, list[Finding]]:
    """`path` without a project in it: models of the project beside floe.yaml."""
    if not (root / PROJECT_FILE).is_file():
        finding = _project_finding(root, "path", path)
        return None, [finding] if finding is not None else []
    inside = paths.normal(path)
    if paths.leaves(inside):
        message = f"`{path}` leaves the dbt project beside floe.yaml, and holds no {PROJECT_FILE}"
        return None, [Finding("FLOE-R017", ("path",), message, _projects_help(root, path))]
    models = [f"{inside}/{model.path}" for model in transform.models] or [inside]
    located, findings = _in_project(transform.model_copy(update={"models": ()}), root, ".", models)
    if located is None:
        return None, findings
    located = replace(located, origins=_origins(transform, ".", len(models)))
    files = project.read_at(root, ".").node_files()
    where = "the dbt project beside floe.yaml"
    if not paths.matching(files, inside):
        return located, [_no_models(("path",), path, files, where)]
    return located, [
        _no_models(("models", number, "path"), model.path, files, f"`{path}`")
        for number, model in enumerate(transform.models)
        if not paths.matching(files, models[number])
    ]


def _without_path(
    transform: Transform, root: Path
) -> tuple[LocatedTransform | None, list[Finding]]:
    """Neither `project` nor `path`: the project beside floe.yaml, or the only one below it."""
    found = project.find(root)
    if len(found) != 1:
        return None, [_which_project(transform, root, found)]
    at = _relative(found[0], root)
    models = [model.path for model in transform.models]
    is_narrowed = bool(models) or transform.select is not None
    if not is_narrowed and transform.name is None:
        message = "needs `project`, or the `name` of a dbt model"
        return None, [Finding("FLOE-R012", (), message, f"add `project: {at}`")]
    select = None if is_narrowed else transform.name
    return _in_project(transform, root, at, models, select)


def _which_project(transform: Transform, root: Path, found: Sequence[Path]) -> Finding:
    known = [_relative(folder, root) for folder in found]
    wanted = f"dbt model `{transform.name}`" if transform.name else "this transform"
    if not known:
        return Finding(
            "FLOE-R012",
            (),
            f"there is no dbt project for {wanted}: neither floe.yaml's folder nor one below it "
            f"holds a {PROJECT_FILE}",
            "add `project:` with the folder of the dbt project, relative to floe.yaml",
        )
    return Finding(
        "FLOE-R012",
        (),
        f"it is not clear which dbt project holds {wanted}: {listed(known)}",
        f"add `project: {known[0]}`, or another of them",
    )


def _relative(folder: Path, root: Path) -> str:
    return Path(os.path.relpath(folder, root)).as_posix()
