"""Finding the platform file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from floe_core.compiler.request import CompileRequest
from floe_core.environment_variables import FLOE_PLATFORM_FILE

LOCAL = "local"
SYSTEM_PLATFORM_FILE = Path("/etc/floe/platform.yaml")


@dataclass(frozen=True)
class PlatformChoice:
    """The platform file of a compile.

    Attributes:
        path: The file; None when none was found.
        searched: Every place that was looked at, in order.
        is_from_variable: Whether the variable `FLOE_PLATFORM_FILE` named it.
        is_pointer: Whether `platform.manifest` of floe.yaml named it.
        reason: Why it is this one, in words.
    """

    path: Path | None
    searched: tuple[Path, ...]
    is_from_variable: bool = False
    is_pointer: bool = False
    reason: str = ""


def find_platform_file(request: CompileRequest, pointer: str | None) -> PlatformChoice:
    """Find the platform file; the first hit wins, even one that cannot be read.

    Args:
        request: The compile.
        pointer: `platform.manifest` of floe.yaml; `{env}` in it becomes the environment.
    """
    asked = request.wanted_platform_file
    if asked is not None:
        from_variable = request.platform_file is None
        how = f"the variable {FLOE_PLATFORM_FILE}" if from_variable else "--platform"
        return PlatformChoice(
            asked, (asked,), is_from_variable=from_variable, reason=f"named by {how}"
        )
    environment = request.wanted_environment or LOCAL
    searched: list[Path] = []
    for path in _by_environment(request.root, environment):
        searched.append(path)
        if os.path.lexists(path):
            reason = f"the first file for environment `{environment}`"
            return PlatformChoice(path, tuple(searched), reason=reason)
    if pointer is not None:
        path = request.root / pointer.replace("{env}", environment)
        reason = "named by `platform.manifest` of floe.yaml"
        return PlatformChoice(path, (*searched, path), is_pointer=True, reason=reason)
    for path in _beside_or_above(request.root):
        searched.append(path)
        if os.path.lexists(path):
            reason = "the first file for any environment"
            return PlatformChoice(path, tuple(searched), reason=reason)
    return PlatformChoice(None, tuple(searched), reason="no file was found")


def find_environments(root: Path) -> list[str]:
    """Names of the environments that have a platform file of their own, and `local`; sorted.

    Outside of a repository, folders above the project root are not listed.
    """
    found = {LOCAL}
    folders = list(_upward(root))
    for folder in folders if (folders[-1] / ".git").exists() else folders[:1]:
        for pattern in ("platform/*/platform.yaml", "*/platform.yaml"):
            found |= {path.parent.name for path in folder.glob(pattern)}
    return sorted(found)


def _by_environment(root: Path, environment: str) -> Iterator[Path]:
    for folder in _upward(root):
        yield folder / "platform" / environment / "platform.yaml"
        yield folder / environment / "platform.yaml"


def _beside_or_above(root: Path) -> Iterator[Path]:
    for number, folder in enumerate(_upward(root)):
        yield folder / "platform.yaml"
        if number == 0:
            yield folder / "manifest.yaml"
    yield SYSTEM_PLATFORM_FILE


def _upward(root: Path) -> Iterator[Path]:
    """The root and the folders above it, up to the one that holds `.git`."""
    for folder in (root, *root.parents):
        yield folder
        if (folder / ".git").exists():
            return
