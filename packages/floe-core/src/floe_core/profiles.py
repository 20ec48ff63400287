"""profiles.yml, the one file through which dbt learns how to connect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from floe_core.environment_variables import FLOE_PROJECT_DIR
from floe_core.layout import write_if_changed
from floe_core.plugins import ComputeTarget
from floe_core.schemas.platform import ComputeProfile

if TYPE_CHECKING:
    from floe_core.lake import Lake

FILE = "profiles.yml"
PROFILE = "floe"
"""Name of the one profile; dbt is always called with it."""
PROJECT_DIR = f"{{{{ env_var('{FLOE_PROJECT_DIR}') }}}}"
"""What stands for the project root in profiles.yml."""

_HEADER = "# Written by `floe compile`; changes are overwritten.\n"


class _Dumper(yaml.SafeDumper):
    """Writes shared values out in full: YAML's anchors and aliases are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def build(
    target: ComputeTarget,
    compute: ComputeProfile,
    environment: str,
    names: Iterable[str],
    lake: Lake | None,
) -> dict[str, Any]:
    """Content of profiles.yml: one output per dbt target name, all of them the same engine.

    Args:
        target: The plugin of the engine.
        compute: The compute profile.
        environment: Name of the environment, which is the default target.
        names: Further dbt target names.
        lake: Where the product's tables live.
    """
    output = target.output(compute, environment, lake if target.stores_in_lake else None)
    outputs = dict.fromkeys(sorted({*names, environment}), output)
    return {PROFILE: {"target": environment, "outputs": outputs}}


def dump(profiles: Mapping[str, Any]) -> bytes:
    """Serialize profiles; equal profiles give equal bytes."""
    text = yaml.dump(dict(profiles), Dumper=_Dumper, sort_keys=True, allow_unicode=True)
    return (_HEADER + text).encode()


def write(folder: Path, profiles: Mapping[str, Any]) -> None:
    """Write `profiles.yml` into `folder`, unless it says the same already."""
    write_if_changed(folder / FILE, dump(profiles))
