"""Paths as a code host knows them: relative to the root of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from floe_core.environment_variables import GITHUB_WORKSPACE


def repository_root() -> Path:
    """The checkout of a GitHub workflow, else the folder with `.git` at or above the current one.

    The current folder where there is neither.
    """
    workspace = os.environ.get(GITHUB_WORKSPACE)
    if workspace:
        return Path(os.path.realpath(workspace))
    here = Path(os.path.realpath(Path.cwd()))
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def repository_path(path: Path, root: Path) -> tuple[str, bool]:
    """Path of a file relative to the root, with `/`, and whether it is inside; else absolute.

    A file that is itself a link keeps its name; the folders that lead to it are followed.
    """
    real = Path(os.path.realpath(path.parent), path.name)
    if real.is_relative_to(root):
        return real.relative_to(root).as_posix(), True
    return real.as_posix(), False
