"""What a compile is asked to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.environment_variables import FLOE_ENV, FLOE_PLATFORM_FILE
from floe_core.errors import UsageError

if TYPE_CHECKING:
    from floe_core.schemas.base import JsonValue

FLOE_FILE = "floe.yaml"


@dataclass(frozen=True)
class CompileRequest:
    """What to compile, and for which environment.

    Attributes:
        floe_file: Path of floe.yaml; its folder is the project root.
        platform_file: Path of platform.yaml, or None to look for it.
        environment: Name of the environment, or None to take what the platform file says.
        vars: dbt vars that go to every project.
        environ: Environment variables, for the settings that floe reads from them.
    """

    floe_file: Path
    platform_file: Path | None = None
    environment: str | None = None
    vars: Mapping[str, JsonValue] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def root(self) -> Path:
        """The project root, absolute; symbolic links are kept."""
        return Path(os.path.abspath(self.floe_file)).parent  # noqa: PTH100 - keeps links

    @property
    def wanted_environment(self) -> str | None:
        """The environment that was asked for; None when it was not."""
        return self.environment or self.environ.get(FLOE_ENV) or None

    @property
    def wanted_platform_file(self) -> Path | None:
        """The platform file that was asked for; None when it was not."""
        from_variable = self.environ.get(FLOE_PLATFORM_FILE)
        return self.platform_file or (Path(from_variable) if from_variable else None)


def find_floe_file(start: Path) -> Path:
    """Find floe.yaml in a folder or above it.

    Raises:
        UsageError: if there is none up to the top; it names the folders that were searched.
    """
    folder = Path(os.path.abspath(start))  # noqa: PTH100 - keeps links
    for candidate in (folder, *folder.parents):
        if (candidate / FLOE_FILE).exists():
            return candidate / FLOE_FILE
    raise UsageError(
        f"there is no {FLOE_FILE} in {folder} or above it",
        help="Run `floe init` to start a product here, or go to the folder of one.",
    )
