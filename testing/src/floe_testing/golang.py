"""Programs that are published as Go modules: built once, kept in `.tools/go`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_TOOLS = Path(__file__).parents[3] / ".tools" / "go"


def program(module: str, version: str, package: str) -> Path:
    """The program of a package of a module, which is built when it is not there yet.

    It is built within the module, since `go install` refuses one that replaces others.

    Args:
        module: Path of the module.
        version: Its version, with `v`.
        package: Folder of the package in it.

    Raises:
        FileNotFoundError: if there is no Go.
        RuntimeError: if the module cannot be fetched or built.
    """
    file = _TOOLS / "bin" / f"{Path(package).name}-{version}"
    if file.is_file():
        return file
    if shutil.which("go") is None:
        raise FileNotFoundError("Go's go; install Go 1.24 or later")
    fetched = _go("mod", "download", "-json", f"{module}@{version}", folder=Path(_TOOLS.anchor))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "module")
        shutil.copytree(json.loads(fetched)["Dir"], source, copy_function=shutil.copyfile)
        file.parent.mkdir(parents=True, exist_ok=True)
        _go("build", "-o", str(file), f"./{package}", folder=source)
    return file


def _go(*arguments: str, folder: Path) -> str:
    variables = {"GOPATH": str(_TOOLS / "path"), "GOFLAGS": "-modcacherw -buildvcs=false"}
    done = subprocess.run(
        ["go", *arguments],
        cwd=folder,
        env=os.environ | variables,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"go {' '.join(arguments)} fails:\n{done.stdout}{done.stderr}")
    return done.stdout
