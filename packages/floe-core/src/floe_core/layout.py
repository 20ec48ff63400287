"""The files that floe writes, all of them under `.floe/`, and how they are written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from floe_core.diagnostics import display_path
from floe_core.errors import UnwritableError


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
    def previous_artifacts(self) -> Path:
        """The artifacts that a pull replaced, or the pulled ones that a compile replaced."""
        return self.folder / "artifacts.previous.json"

    @property
    def pull(self) -> Path:
        """Where the artifacts were pulled from, so that the next pull fetches changes alone."""
        return self.folder / "pull.json"

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

    @property
    def dev_lock(self) -> Path:
        """Lock that is held while `floe dev` serves the project."""
        return self.folder / "dev.lock"

    def work(self, environment: str) -> Path:
        """Disposable files of one environment: profiles, index, dbt's target and logs."""
        return self.folder / environment

    def index(self, environment: str) -> Path:
        """What dbt knows of the product's projects."""
        return self.work(environment) / "index.json"

    def served(self, environment: str) -> Path:
        """The artifacts that `floe dev` serves; `artifacts` may be of another environment."""
        return self.work(environment) / "served.json"

    def column_lineage(self, environment: str) -> Path:
        """Where the columns of dbt's models come from, by their SQL."""
        return self.work(environment) / "column_lineage.json"

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

    def lineage(self, environment: str) -> Path:
        """The lineage graph as the last runs left it."""
        return self.folder / "lineage" / f"{environment}.json"

    def undelivered_lineage(self, environment: str) -> Path:
        """Lineage events that could not be delivered, as JSON lines; the next run sends them."""
        return self.folder / "lineage" / f"{environment}.undelivered.jsonl"

    def lock(self, environment: str) -> Path:
        """Lock that is held while a run of this environment executes."""
        return self.folder / "locks" / f"{environment}.lock"

    def prepare(self) -> None:
        """Create `.floe` and the `.gitignore` in it.

        Raises:
            UnwritableError: if it cannot be created.
        """
        make_folder(self.folder)
        ignore = self.folder / ".gitignore"
        if not os.path.lexists(ignore):
            write_atomic(ignore, b"*\n")


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    The content is flushed to disk before it takes the file's place.

    Raises:
        UnwritableError: if the folder cannot be written to; the old file is then untouched.
    """
    with writing_to(path.parent):
        _write_atomic(path, content)


def write_if_changed(path: Path, content: bytes) -> None:
    """Write as `write_atomic` does, unless the file holds the same already.

    Raises:
        UnwritableError: if the folder cannot be written to; the old file is then untouched.
    """
    with writing_to(path.parent):
        if not path.is_file() or path.read_bytes() != content:
            _write_atomic(path, content)


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, unless it is there.

    Raises:
        UnwritableError: if it cannot be created.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say of an error of the operating system which folder it is about, and what to do.

    Raises:
        UnwritableError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as problem:
        raise _unwritable(folder, problem) from problem


def _unwritable(folder: Path, problem: OSError) -> UnwritableError:
    shown = display_path(folder)
    for parent in (folder, *folder.parents):
        if os.path.lexists(parent) and not parent.is_dir():
            blocker = "it" if parent == folder else display_path(parent)
            return UnwritableError(
                f"{shown} cannot be written to: {blocker} is no folder",
                help=f"Move {display_path(parent)} away: a folder is needed there.",
            )
    reason = problem.strerror or str(problem)
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        help = "Make room on the disk, then run it again."
    else:
        help = "Let this user write to it, or work on a copy in another place."
    return UnwritableError(f"{shown} cannot be written to: {reason}", help=help)


def _write_atomic(path: Path, content: bytes) -> None:
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
