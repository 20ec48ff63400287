"""A dbt project on disk: its settings, its files and its packages, read without dbt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from floe_core.plugins import Finding
from floe_core.syntax import explain

PROJECT_FILE = "dbt_project.yml"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONFIG_FILES = (
    ".dbtignore",
    "catalogs.yml",
    "dependencies.yml",
    "package-lock.yml",
    "packages.yml",
    "selectors.yml",
)
_PATH_SETTINGS = {
    "model-paths": ("models",),
    "seed-paths": ("seeds",),
    "snapshot-paths": ("snapshots",),
    "macro-paths": ("macros",),
    "test-paths": ("tests",),
    "analysis-paths": ("analyses",),
    "function-paths": ("functions",),
    "docs-paths": (),
    "asset-paths": (),
}
_NOT_SEARCHED = frozenset({"dbt_packages", "dbt_modules", "logs", "node_modules", "target", "venv"})


class ProjectFileError(Exception):
    """dbt_project.yml cannot be read; the text says why.

    Attributes:
        line: Line of the problem, from 1; None when it is about the whole file.
        help: What to write instead.
    """

    def __init__(self, message: str, line: int | None = None, help: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.help = help


@dataclass(frozen=True, slots=True)
class Project:
    """A dbt project.

    Attributes:
        folder: Absolute folder of dbt_project.yml.
        settings: Content of dbt_project.yml.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """Name of the project; None when dbt_project.yml gives none."""
        name = self.settings.get("name")
        return name if isinstance(name, str) else None

    @property
    def packages_folder(self) -> Path:
        """Folder that `dbt deps` installs packages into."""
        setting = self.settings.get("packages-install-path")
        return self.folder / (setting if isinstance(setting, str) else "dbt_packages")

    def folders(self) -> list[Path]:
        """Folders that dbt reads, in the order of its settings."""
        found: list[Path] = []
        for setting, default in _PATH_SETTINGS.items():
            declared = self.settings.get(setting, default)
            for path in declared if isinstance(declared, list | tuple) else ():
                folder = self.folder / str(path)
                if folder.is_dir() and folder not in found:
                    found.append(folder)
        return found

    def files(self) -> Iterator[Path]:
        """Every file that shapes the project, packages included, in a stable order."""
        yield from self._own_files()
        for package in self.installed():
            yield from package._own_files()

    def node_files(self) -> list[str]:
        """Files that may hold models, seeds or snapshots, relative to the project."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self._own_files()
            if path.suffix in {".sql", ".py", ".csv", ".yml", ".yaml"}
            and path.parent != self.folder
            and path.is_relative_to(self.folder)
        )

    def installed(self) -> list[Project]:
        """Packages that are installed, by name of their folder."""
        if not self.packages_folder.is_dir():
            return []
        return [
            Project(folder, _settings(folder))
            for folder in sorted(self.packages_folder.iterdir())
            if (folder / PROJECT_FILE).is_file()
        ]

    def declared_packages(self) -> list[dict[str, Any]]:
        """Entries of packages.yml and dependencies.yml that `dbt deps` fetches."""
        entries: list[Any] = []
        for name in ("packages.yml", "dependencies.yml"):
            content = _yaml(self.folder / name)
            packages = content.get("packages")
            entries += packages if isinstance(packages, list) else []
        return [entry for entry in entries if isinstance(entry, dict)]

    def locked_packages(self) -> list[dict[str, Any]] | None:
        """Entries of package-lock.yml; None when there is no such file."""
        path = self.folder / "package-lock.yml"
        if not path.is_file():
            return None
        packages = _yaml(path).get("packages")
        return [entry for entry in packages or () if isinstance(entry, dict)]

    def _own_files(self) -> Iterator[Path]:
        for name in (PROJECT_FILE, *_CONFIG_FILES):
            if (self.folder / name).is_file():
                yield self.folder / name
        seen: set[Path] = set()
        for folder in self.folders():
            for path in _files_below(folder, self.packages_folder):
                if path not in seen:
                    seen.add(path)
                    yield path


def read(folder: Path) -> Project:
    """Read the project in `folder`.

    Raises:
        ProjectFileError: if dbt_project.yml is missing or is not YAML with keys and values.
    """
    try:
        text = (folder / PROJECT_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProjectFileError("does not exist") from None
    except OSError as problem:
        raise ProjectFileError(f"cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise ProjectFileError("is not UTF-8", help="save the file as UTF-8") from None
    try:
        settings = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as problem:
        found = explain(text.splitlines(), problem)
        raise ProjectFileError(found.message, found.line, found.help) from None
    except yaml.YAMLError as problem:
        reason = str(problem).partition("\n")[0]
        raise ProjectFileError(f"is not valid YAML: {reason}") from None
    if not isinstance(settings, dict):
        raise ProjectFileError("holds no keys")
    return Project(folder, settings)


def unreadable(project: str, problem: ProjectFileError) -> Finding:
    """Why the file of a project, a folder relative to the project root, cannot be read."""
    file = (PurePosixPath(project) / PROJECT_FILE).as_posix()
    return Finding("FLOE-R012", (), str(problem), problem.help, file=file, line=problem.line)


def read_at(root: Path, project: str) -> Project:
    """Read the project in a folder relative to the project root; see `read`."""
    return read(Path(os.path.normpath(root / project)))


def find(root: Path) -> list[Path]:
    """Folders of the dbt projects at or below `root`, sorted; projects inside a project are not."""
    if (root / PROJECT_FILE).is_file():
        return [root]
    found: list[Path] = []
    for folder, children, files in os.walk(root):
        if PROJECT_FILE in files:
            found.append(Path(folder))
            children.clear()
        children[:] = sorted(
            child for child in children if child not in _NOT_SEARCHED and not child.startswith(".")
        )
    return sorted(found)


def missing_packages(project: Project) -> bool:
    """Whether packages are declared and fewer are installed."""
    return len(project.installed()) < len(project.declared_packages())


def stale_packages(project: Project) -> list[str]:
    """Declared packages that package-lock.yml lacks, or has in another exact version."""
    locked = project.locked_packages()
    if locked is None:
        return []
    versions = {_identity(entry): entry.get("version") for entry in locked}
    stale = []
    for entry in project.declared_packages():
        identity = _identity(entry)
        if identity is None:
            continue
        wanted = _exact_version(entry.get("version"))
        if identity not in versions or (wanted and versions[identity] not in (None, wanted)):
            stale.append(identity)
    return sorted(stale)


def reuse_packages(folder: Path, other: Path) -> str | None:
    """Link to the packages of another copy of a project; returns why that cannot be done.

    Packages with a `local:` path are those of this copy.
    """
    found = read(folder)
    if not found.declared_packages() or found.packages_folder.exists():
        return None
    try:
        copy = read(other)
    except ProjectFileError:
        return "it does not exist here"
    if copy.declared_packages() != found.declared_packages():
        return "it declares other packages than here"
    if copy.locked_packages() != found.locked_packages():
        return "its package-lock.yml is another than here"
    if missing_packages(copy):
        return "its packages are not installed here"
    found.packages_folder.mkdir(parents=True)
    local = {
        os.path.realpath(other / entry["local"]): folder / entry["local"]
        for entry in found.declared_packages()
        if isinstance(entry.get("local"), str)
    }
    for package in copy.packages_folder.iterdir():
        target = package.resolve()
        (found.packages_folder / package.name).symlink_to(local.get(str(target), target))
    return None


def _identity(entry: dict[str, Any]) -> str | None:
    """What tells a package from others: its name on the hub, its URL or its folder."""
    for key in ("package", "git", "local", "tarball", "private"):
        if isinstance(entry.get(key), str):
            return str(entry[key])
    return None


def _exact_version(version: object) -> str | None:
    """The version when it is one and not a range."""
    if isinstance(version, Sequence) and not isinstance(version, str) and len(version) == 1:
        version = version[0]
    text = str(version).removeprefix("=") if isinstance(version, str) else ""
    return text if text and text[0].isdigit() and "," not in text else None


def _settings(folder: Path) -> dict[str, Any]:
    """Settings of an installed package; dbt reports the ones that cannot be read."""
    try:
        return read(folder).settings
    except ProjectFileError:
        return {}


def _yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file; empty when there is none or dbt will refuse it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _files_below(folder: Path, packages_folder: Path) -> Iterator[Path]:
    for current, children, files in os.walk(folder):
        at = Path(current)
        children[:] = sorted(
            child
            for child in children
            if not child.startswith(".")
            and child != "__pycache__"
            and at / child != packages_folder
            and not ((at / PROJECT_FILE).is_file() and child in _NOT_SEARCHED)
        )
        yield from (at / name for name in sorted(files) if not name.startswith("."))
