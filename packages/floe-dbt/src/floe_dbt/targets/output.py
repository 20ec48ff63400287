"""What targets share: paths that hold wherever the project is, and whether an adapter is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from floe_core.profiles import PROJECT_DIR
from floe_core.schemas.platform import ComputeProfile


def below_project(path: Any) -> Any:
    """A relative path below the project root, in dbt's Jinja; other values as they are."""
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or path.startswith("{{"):
        return path
    return f"{PROJECT_DIR}/{PurePosixPath(path).as_posix()}"


def in_project(path: Any, root: Path) -> Any:
    """The path that dbt makes of one from `below_project`."""
    return path.replace(PROJECT_DIR, str(root)) if isinstance(path, str) else path


def moved(
    compute: ComputeProfile, keys: Iterable[str], move: Callable[[str], str]
) -> ComputeProfile:
    """The profile with the paths under some of its properties moved."""
    properties = dict(compute.properties)
    for key in keys:
        value = properties.get(key)
        if isinstance(value, str):
            properties[key] = move(value)
    return compute.model_copy(update={"properties": properties})


def is_installed(distribution: str) -> bool:
    """Whether a distribution is installed; imports nothing of it."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
