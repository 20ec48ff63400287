"""The one interface through which floe runs dbt.

`floe_dbt.dbt_core` implements it in-process with dbt-core 1.x. An engine that is a program of its
own (dbt 2) can be added beside it: callers see invocations, events and results only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from floe_core.errors import FloeError

NodeStatus = Literal["success", "error", "skipped", "pass", "warn", "fail", "cancelled"]
"""Outcome of a node: `success`, `error` for models; `pass`, `warn`, `fail`, `error` for tests;
`skipped` when a parent failed, or when the build was cancelled before the node began;
`cancelled` when it was interrupted while it ran."""

LOGGER = "dbt"
"""Name of the Python logger that hears what dbt says, as long as it has handlers."""

FAILED: frozenset[str] = frozenset({"error", "fail", "cancelled"})
"""Statuses that make a run fail."""


class DbtError(FloeError):
    """dbt refuses what it was asked, such as a selection that is not valid."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time, in UTC, without what happens at its end."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%S} to {self.end:%Y-%m-%dT%H:%M:%S}"

    def as_document(self) -> dict[str, str]:
        """The window as data."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where and how one dbt command runs.

    Attributes:
        root: Absolute project root, the folder of floe.yaml.
        project: Folder of the dbt project, relative to `root`.
        profiles_dir: Absolute folder of the generated profiles.yml.
        target: dbt target name, an output of profile `floe`.
        target_path: Absolute folder for dbt's artifacts.
        log_path: Absolute folder for dbt's logs.
        vars: dbt vars.
        environment: Variables that dbt sees on top of the process's own: secrets, mostly.
        threads: Number of dbt threads; the profile's when None.
        window: Event time that a build of microbatch models processes; when None, dbt decides.
        log_level: Lowest level of dbt's log file; `debug` when None.
        describes: Whether the database is asked what it knows of what a build makes and reads.
    """

    root: Path
    project: str
    profiles_dir: Path
    target: str
    target_path: Path
    log_path: Path
    vars: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    window: Window | None = None
    log_level: str | None = None
    describes: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which nodes a command works on, in dbt's selection syntax; all of them when empty.

    Attributes:
        select: Arguments of `--select`; their union is taken.
        exclude: Arguments of `--exclude`.
        indirect: dbt's `--indirect-selection`: which tests come along with selected models.
    """

    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    indirect: Literal["eager", "cautious", "buildable", "empty"] = "eager"


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node began to execute."""

    unique_id: str
    resource_type: str
    name: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    """The Iceberg snapshot that a node made.

    Attributes:
        snapshot_id: The snapshot.
        is_first: Whether the table had none before.
        location: URI of the table's folder.
        added_files: Data and delete files that were written.
        added_files_size: Bytes of them.
        total_data_files: Data files of the table after it.
        total_files_size: Bytes of all files of the table after it.
        total_records: Rows of the table's data files after it, those that are deleted included.
    """

    snapshot_id: int
    is_first: bool
    location: str
    added_files: int
    added_files_size: int
    total_data_files: int | None = None
    total_files_size: int | None = None
    total_records: int | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A relation as the database has it.

    Attributes:
        columns: The database's type of each column, by name, in the relation's order; empty when
            the database does not tell.
        location: URI of the table's folder, where it is an Iceberg table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node ended.

    Attributes:
        seconds: Wall-clock seconds that it took; 0 for a skipped node.
        rows: Rows that were written. On PostgreSQL the adapter tells; on DuckDB they are known for
            seeds and for tables that are made anew, not for incremental models and snapshots.
            None for views, tests and whatever is not known.
        failures: Of a test: number of failing rows.
        message: What the database said, without dbt's decoration; None on success.
        path: SQL or CSV file of the node, relative to the dbt project.
        line: Line of the error in that file, from 1, where it is known.
        compiled_path: Absolute path of the compiled SQL, when it was written.
        relation: Fully qualified name of the relation, as the database writes it.
        traceback: Of a Python transform that failed: the user's frames.
        metadata: What a transform that is not dbt's has to tell, as JSON.
        batches: Of a microbatch model: the batches that were built, in order.
        commit: The snapshot that was made, where the relation is an Iceberg table.
        relations: The node's relation and those that it reads, by unique id, where the invocation
            asks for them; what a build has told of once it does not tell again.
    """

    unique_id: str
    resource_type: str
    name: str
    status: NodeStatus
    started_at: datetime
    seconds: float
    rows: int | None = None
    failures: int | None = None
    message: str | None = None
    path: str | None = None
    line: int | None = None
    compiled_path: str | None = None
    relation: str | None = None
    traceback: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[Window, ...] = ()
    commit: Commit | None = None
    relations: Mapping[str, Described] = field(default_factory=dict)


Event = NodeStarted | NodeFinished
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did.

    Attributes:
        nodes: One entry per node, in the order in which they ended.
        error: Why nothing ran or the build broke off (project does not parse, no connection);
            None when every node had its turn.
        is_unreachable: Whether `error` is that the database does not answer.
        was_cancelled: Whether `cancel` ended it.
    """

    nodes: tuple[NodeFinished, ...]
    error: str | None = None
    is_unreachable: bool = False
    was_cancelled: bool = False

    @property
    def is_success(self) -> bool:
        """Whether everything was built and no test of severity error failed."""
        return (
            self.error is None
            and not self.was_cancelled
            and not any(node.status in FAILED for node in self.nodes)
        )


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command without nodes did.

    Attributes:
        error: What went wrong, in dbt's words without its decoration; None on success.
        path: File that the error is in, relative to the dbt project, when dbt names one.
        line: Line in that file, from 1, when dbt names one.
        warnings: What dbt warned of, a sentence each, in the order in which it did.
        is_missing_packages: Whether `error` is that declared packages are not installed, which
            `deps` puts right.
    """

    error: str | None = None
    path: str | None = None
    line: int | None = None
    warnings: tuple[str, ...] = ()
    is_missing_packages: bool = False


class DbtEngine(Protocol):
    """Runs dbt commands.

    Each call leaves no connection open, and the working directory and the process's environment
    variables as they were.
    """

    version: str

    def parse(self, invocation: Invocation) -> CommandResult:
        """Parse the project; leaves manifest.json in `target_path`."""
        ...

    def list(self, invocation: Invocation, selection: Selection) -> tuple[str, ...]:
        """Unique ids that a selection stands for, sorted.

        Raises:
            DbtError: if the selection is not valid.
        """
        ...

    def build(
        self,
        invocation: Invocation,
        selection: Selection,
        listener: Listener,
        *,
        full_refresh: bool = False,
    ) -> BuildResult:
        """Build seeds, models, snapshots and run tests, in dbt's order.

        `listener` is called from dbt's threads, once when a node starts and once when it ends;
        nodes that were skipped only end. It must not call the engine.
        """
        ...

    def cancel(self) -> None:
        """End a running `build` from another thread or a signal handler, and return at once.

        Queries that run are interrupted and no further node begins, so `build` returns soon after.
        Nothing happens when no build runs.
        """
        ...

    def deps(self, invocation: Invocation) -> CommandResult:
        """Fetch the packages that the project declares; needs a network."""
        ...
