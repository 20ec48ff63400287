"""Extension points of floe, and how plugins are found.

Plugins are entry points of installed distributions. The groups are `floe.transforms` (a
`TransformExecutor`, named after the transform's `type`) and `floe.targets` (a `ComputeTarget`,
named after the dbt adapter). floe's own choices register in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from floe_core.index import ProjectIndex
from floe_core.schemas.floe import Transform
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef

TRANSFORMS = "floe.transforms"
TARGETS = "floe.targets"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a plugin has to say about one field; the compiler adds file, line and column.

    Attributes:
        code: Stable code, such as `FLOE-R012`.
        field: Path of the field below what the plugin was given; empty for the whole of it.
        message: What is wrong, as a sentence without a full stop.
        help: What to write or type instead.
        on_key: Whether the key, not the value, is what is wrong.
        is_warning: Whether the compile goes on all the same.
        file: Another file that the finding is about, relative to the project root; the field is
            then left out.
        line: Line of that file, from 1.
    """

    code: str
    field: tuple[str | int, ...]
    message: str
    help: str | None = None
    on_key: bool = False
    is_warning: bool = False
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class LocatedTransform:
    """A transform whose folder has been found.

    Attributes:
        name: Name of the transform.
        project: Folder of the project, relative to the project root, with `/`; `.` is the root.
        models: Paths and globs relative to `project` that narrow it; empty for no narrowing.
        select: Selection that narrows it, in the syntax of the plugin's tool.
    """

    name: str
    project: str
    models: tuple[str, ...] = ()
    select: str | None = None


@dataclass(frozen=True, slots=True)
class InspectRequest:
    """Asks a transform plugin what is in one project, for one dbt target.

    Attributes:
        root: Absolute project root, the folder of floe.yaml.
        project: Folder of the dbt project, relative to `root`.
        target: dbt target name to parse for.
        profiles: Content of profiles.yml, as a mapping.
        work_dir: `.floe/<env>`, absolute; the only folder that may be written to.
        vars: dbt vars.
        transforms: The transforms of this project and target.
        cached: The index of the previous compile, used when its `inputs_hash` still holds.
        environment: Variables that dbt sees on top of the process's own.
    """

    root: Path
    project: str
    target: str
    profiles: Mapping[str, Any]
    work_dir: Path
    vars: Mapping[str, Any]
    transforms: Sequence[LocatedTransform]
    cached: ProjectIndex | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in one project.

    Attributes:
        index: Its nodes; None when the project could not be parsed.
        claims: Unique ids of the buildable nodes of each transform, sorted, by transform name.
            Seeds and snapshots that a claimed model needs are not added here; the compiler does.
        findings: Problems by transform name; the name `` (empty) is for the project as a whole.
        was_parsed: Whether the project was parsed, or the cached index still held.
    """

    index: ProjectIndex | None
    claims: Mapping[str, tuple[str, ...]]
    findings: Sequence[tuple[str, Finding]]
    was_parsed: bool


class TransformExecutor(Protocol):
    """A kind of transform, such as dbt. Implementations are stateless and quick to import."""

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the transform's project below `root`, looking at the file system alone.

        Findings are relative to the transform. No transform means that it cannot be placed.
        """
        ...

    def inspect(self, request: InspectRequest) -> Inspection:
        """Parse the project, or use the cached index when nothing has changed."""
        ...

    def fetch(self, request: InspectRequest) -> str | None:
        """Fetch what the project declares from elsewhere, such as dbt packages.

        The one method that needs a network.

        Returns:
            Why it could not be fetched; None when it was.
        """
        ...


@dataclass(frozen=True, slots=True)
class Property:
    """A connection property that a compute target knows.

    Attributes:
        type: Python type of its value, or a tuple of types.
        description: What it does, as a sentence.
        is_required: Whether the target cannot connect without it.
    """

    type: type | tuple[type, ...]
    description: str
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of a query: column names, column types as the engine names them, and tuples."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class ComputeTarget(Protocol):
    """An engine that dbt runs on. Implementations are stateless and quick to import."""

    adapter: str
    """Name of the dbt adapter, the `type` of an output in profiles.yml."""

    distribution: str
    """What to install for the adapter, such as `dbt-duckdb`."""

    properties: Mapping[str, Property]
    """Connection properties that a user may write."""

    def is_installed(self) -> bool:
        """Whether the adapter can be imported here; does not import it."""
        ...

    def check(self, compute: ComputeProfile) -> Sequence[Finding]:
        """Look for what the engine cannot work with, beyond names and types of properties.

        Findings are relative to the compute profile.
        """
        ...

    def relocate(self, compute: ComputeProfile, move: Callable[[str], str]) -> ComputeProfile:
        """Move the paths of files: they are written relative to platform.yaml.

        Args:
            compute: The profile as it is written.
            move: Makes a path relative to the project root; leaves absolute ones as they are.
        """
        ...

    def output(self, compute: ComputeProfile, environment: str) -> dict[str, Any]:
        """Build the output of profiles.yml; secrets appear as `env_var(...)` only.

        Relative paths are written below `{{ env_var('FLOE_PROJECT_DIR') }}`.
        """
        ...

    def secrets(self, compute: ComputeProfile) -> Mapping[str, SecretRef]:
        """Map each environment variable that `output` refers to to the secret it holds."""
        ...

    def query(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        sql: str,
        limit: int | None,
    ) -> QueryResult:
        """Run one read-only statement.

        Args:
            compute: The resolved compute profile.
            environment: Name of the environment.
            root: Absolute project root.
            secrets: Values by the names that `secrets` gave.
            sql: The statement.
            limit: Most rows to fetch; None for all.

        Raises:
            QueryError: if the statement is wrong or would write.
            ServiceUnavailableError: if the engine cannot be reached.
        """
        ...


def _installed(group: str) -> Sequence[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)


def names(group: str) -> list[str]:
    """Names registered in a group, sorted."""
    return sorted({point.name for point in _installed(group)})


def load(group: str, name: str) -> Any | None:
    """Make the plugin that is registered as `name` in `group`; None when there is none."""
    for point in _installed(group):
        if point.name == name:
            return point.load()()
    return None


def transform_executor(type_: str) -> TransformExecutor | None:
    """The plugin for transforms of this `type`, or None."""
    plugin: TransformExecutor | None = load(TRANSFORMS, type_)
    return plugin


def compute_target(type_: str) -> ComputeTarget | None:
    """The plugin for this engine, or None."""
    plugin: ComputeTarget | None = load(TARGETS, type_)
    return plugin
