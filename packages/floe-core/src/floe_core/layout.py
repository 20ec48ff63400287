"""The files that floe writes, all of them under `.floe/`, and how they are written."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything that floe generates lives for one project.

    Attributes:
        root: Absolute project root, the folder of floe.yaml.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """`.floe`, with a `.gitignore` of its own."""
        return self.root / ".floe"

    @property
    def artifacts(self) -> Path:
        """The artifacts that run."""
        return self.folder / "artifacts.json"

    @property
    def schemas(self) -> Path:
        """JSON Schemas that the editor hints in floe.yaml and platform.yaml point to."""
        return self.folder / "schemas"

    @property
    def logs(self) -> Path:
        """Logs of commands."""
        return self.folder / "logs"

    @property
    def dagster_home(self) -> Path:
        """The Dagster instance, unless `DAGSTER_HOME` names another."""
        return self.folder / "dagster"

    def work(self, environment: str) -> Path:
        """Disposable files of one environment: profiles, index, dbt's target and logs."""
        return self.folder / environment

    def index(self, environment: str) -> Path:
        """What dbt knows of the product's projects."""
        return self.work(environment) / "index.json"

    def profiles_dir(self, environment: str) -> Path:
        """Folder of the generated profiles.yml."""
        return self.work(environment)

    def target_path(self, environment: str, project: str, target: str) -> Path:
        """Dbt's target folder for one project and dbt target."""
        slug = project.strip("./").replace("/", "__") or "root"
        return self.work(environment) / "target" / f"{slug}@{target}"

    def dbt_logs(self, environment: str) -> Path:
        """Dbt's log folder."""
        return self.work(environment) / "logs"

    def data(self, environment: str) -> Path:
        """State of one environment; `floe clean` keeps it."""
        return self.folder / "data" / environment

    def runs(self, environment: str) -> Path:
        """Run records, one JSON file a run; their names sort by start time."""
        return self.folder / "runs" / environment

    def lock(self, environment: str) -> Path:
        """Lock that is held while a run of this environment executes."""
        return self.folder / "locks" / f"{environment}.lock"

    def prepare(self) -> None:
        """Create `.floe` and the `.gitignore` in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            write_atomic(ignore, b"*\n")


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    The content is flushed to disk before it takes the file's place.

    Raises:
        OSError: if the folder cannot be written to; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
