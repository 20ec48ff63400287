"""Where the figures come from: the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("floe-cli", "dbt-core", "dbt-duckdb", "duckdb", "pyiceberg", "dagster"),
    *("dagster-dbt", "dagster-dg-cli"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, how busy it was when the benchmark began, and what was installed."""

    cpu: str
    cores: int
    system: str
    load: float
    python: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        return cls(
            cpu=_cpu(),
            cores=os.cpu_count() or 1,
            system=f"{platform.system()} {platform.machine()}",
            load=os.getloadavg()[0],
            python=platform.python_version(),
            versions={name: _version(name) for name in _PACKAGES},
        )

    def text(self) -> str:
        """Describe it in a few lines, for people."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cpu}, {self.cores} cores, {self.system}, load {self.load:.1f} at the start\n"
            f"Python {self.python}\n{versions.replace(', dagster ', chr(10) + 'dagster ')}"
        )

    def document(self) -> dict[str, Any]:
        """Describe it for programs."""
        return {
            "cpu": self.cpu,
            "cores": self.cores,
            "system": self.system,
            "load": round(self.load, 2),
            "python": self.python,
            "versions": dict(self.versions),
        }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown processor"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
