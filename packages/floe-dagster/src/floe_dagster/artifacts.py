"""Finding the artifacts that a code location loads, and the folder that they are relative to."""

from __future__ import annotations

import os
from pathlib import Path

from floe_core.environment_variables import FLOE_ARTIFACTS, FLOE_PROJECT_DIR
from floe_core.errors import ArtifactsError

_IN_PROJECT = Path(".floe") / "artifacts.json"


def find_artifacts() -> Path:
    """Find the artifacts: `FLOE_ARTIFACTS`, else `.floe/artifacts.json` here or above.

    Raises:
        ArtifactsError: if there are none; the message lists every place that was searched.
    """
    named = os.environ.get(FLOE_ARTIFACTS)
    if named:
        path = Path(named).absolute()
        if path.is_file():
            return path
        raise ArtifactsError(
            f"there are no artifacts at {path}, which {FLOE_ARTIFACTS} names",
            help=f"Run `floe compile`, or let {FLOE_ARTIFACTS} name its result.",
        )
    here = Path.cwd()
    searched = [folder / _IN_PROJECT for folder in (here, *here.parents)]
    for path in searched:
        if path.is_file():
            return path
    places = "\n".join(f"  {path}" for path in searched)
    raise ArtifactsError(
        f"there are no artifacts; {FLOE_ARTIFACTS} is not set, and none of these exists:\n{places}",
        help=f"Run `floe compile` in the folder of floe.yaml, or set {FLOE_ARTIFACTS}.",
    )


def project_root(path: Path) -> Path:
    """Folder that the paths in the artifacts at `path` are relative to.

    It is `FLOE_PROJECT_DIR`, else the folder that holds the `.floe` that the artifacts are in, else
    the current folder (for artifacts that are mounted).
    """
    named = os.environ.get(FLOE_PROJECT_DIR)
    if named:
        return Path(named).absolute()
    folder = path.absolute().parent
    return folder.parent if folder.name == ".floe" else Path.cwd()
