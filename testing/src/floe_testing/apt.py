"""Packages of the operating system that tests need, installed by the tests themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock


def install(package: str) -> bool:
    """Install a package as root, where there is apt; says whether it could try.

    Raises:
        CalledProcessError: if apt does not install it.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-qy", "--no-install-recommends", package]
    with FileLock(Path(tempfile.gettempdir(), "floe-testing-apt.lock")):  # apt does not wait
        subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True)
        subprocess.run(command, check=True, env=environment, capture_output=True)
    return True
