"""What is known of a run, its nodes and their tables; events are made of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from floe_core.checkout import find_commit, remote_url
from floe_core.environment_variables import (
    OPENLINEAGE_PARENT_ID,
    OPENLINEAGE_ROOT_PARENT_ID,
)
from floe_core.schemas.artifacts import ColumnClassification, CompiledArtifacts

Change = Literal["ALTER", "CREATE", "DROP", "OVERWRITE", "RENAME", "TRUNCATE"]
"""OpenLineage's words for what became of a table as a whole."""

_SCP = re.compile(r"^(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)$")


@dataclass(frozen=True, slots=True)
class ParentRun:
    """A run that started another, and the run at the top of them all."""

    namespace: str
    name: str
    run_id: str
    root: ParentRun | None = None


@dataclass(frozen=True, slots=True)
class SourceCode:
    """Where the project's files are kept.

    Attributes:
        repository: URL of the git repository, without user and password.
        commit: Full id of the commit that is checked out.
        folder: The project root within the repository; `.` when it is its top.
    """

    repository: str
    commit: str
    folder: str = "."


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run of a product.

    Attributes:
        run_id: A UUID; Dagster's id of the run.
        namespace: Namespace of the product's jobs.
        product: Name of the product.
        started_at: When it started.
        version: Version of the product.
        environment: Name of the environment.
        job: Name of the job of floe.yaml that runs, when it is one.
        description: One sentence about the product.
        owner: Who answers for the product.
        labels: Labels of the product.
        nominal: Start and end of the scheduled time or the partition; the end may be open.
        parent: The run outside floe that started it.
        source: Where the project's files are kept.
        engine: Name and version of what runs it; floe when None.
        secrets: Values that must not leave this machine.
        classifications: By name of the model, then of the column; empty when not to be emitted.
    """

    run_id: str
    namespace: str
    product: str
    started_at: datetime
    version: str | None = None
    environment: str | None = None
    job: str | None = None
    description: str | None = None
    owner: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    nominal: tuple[datetime, datetime | None] | None = None
    parent: ParentRun | None = None
    source: SourceCode | None = None
    engine: tuple[str, str] | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    classifications: Mapping[str, Mapping[str, ColumnClassification]] = field(default_factory=dict)

    @property
    def job_name(self) -> str:
        """Name of the run's job: the product, or the product and the job of floe.yaml."""
        return f"{self.product}.{self.job}" if self.job else self.product


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as the table really has it."""

    name: str
    type: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is; None is not known."""

    rows: int | None = None
    bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is known of a table after it was written.

    Attributes:
        columns: Its columns, in order; those that the project documents when empty.
        written: How much this run wrote.
        size: How much it holds now.
        version: Id of the Iceberg snapshot, or another version of the table.
        location: Where an Iceberg table is, as a URI or an absolute path.
        change: What became of the table as a whole, where that is certain.
    """

    columns: tuple[TableColumn, ...] = ()
    written: Size = Size()
    size: Size = Size()
    version: str | None = None
    location: str | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class ColumnSource:
    """A column that another is made of, or that decides on rows.

    Attributes:
        node: Unique id of the node or source that has the column.
        column: Name of the column there.
        type: OpenLineage's transformation type: `DIRECT` or `INDIRECT`.
        subtype: Such as `IDENTITY`, `TRANSFORMATION`, `AGGREGATION`, `JOIN`, `FILTER`, `GROUP_BY`.
        is_masked: Whether the value cannot be read any more, as of a hash.
    """

    node: str
    column: str
    type: Literal["DIRECT", "INDIRECT"] = "DIRECT"
    subtype: str | None = None
    is_masked: bool = False


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """What the columns of one node are made of.

    Attributes:
        columns: Sources of each column, by its name; a column that is not known is absent.
        rows: Columns that decide which rows there are, such as those of filters and joins.
    """

    columns: Mapping[str, tuple[ColumnSource, ...]] = field(default_factory=dict)
    rows: tuple[ColumnSource, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of one node besides dbt's own index.

    Attributes:
        table: Of the table that it writes or, of a source, that it is.
        columns: Its column lineage.
        sql: Its compiled SQL.
        path: Its file, relative to the project root.
        engine: Name and version of what builds it; dbt when None.
    """

    table: TableFacts = TableFacts()
    columns: ColumnLineage | None = None
    sql: str | None = None
    path: str | None = None
    engine: tuple[str, str] | None = None


def run_facts(
    artifacts: CompiledArtifacts,
    *,
    root: Path,
    run_id: str,
    namespace: str,
    started_at: datetime,
    job: str | None = None,
    nominal: tuple[datetime, datetime | None] | None = None,
    environ: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> RunFacts:
    """Gather what the artifacts, git and the environment know of a run.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        run_id: A UUID.
        namespace: Namespace of the product's jobs.
        started_at: When the run started.
        job: Name of the job of floe.yaml that runs.
        nominal: Start and end of the scheduled time or the partition.
        environ: Environment variables, which may name a parent run.
        secrets: Values that must not leave this machine.
    """
    identity, governance = artifacts.identity, artifacts.governance
    is_classified = governance is not None and governance.emit_classification_lineage is True
    return RunFacts(
        run_id=run_id,
        namespace=namespace,
        product=artifacts.product,
        started_at=started_at,
        version=identity.version if identity else None,
        environment=artifacts.environment,
        job=job,
        description=identity.description if identity else None,
        owner=identity.owner if identity else None,
        labels=identity.labels if identity else {},
        nominal=nominal,
        parent=parent_run(environ or {}),
        source=source_code(root),
        secrets=secrets,
        classifications=artifacts.column_classifications if is_classified else {},
    )


def parent_run(environ: Mapping[str, str]) -> ParentRun | None:
    """The run that `OPENLINEAGE_PARENT_ID` names, as `namespace/name/run id`."""
    parent = _named_run(environ.get(OPENLINEAGE_PARENT_ID, ""))
    root = _named_run(environ.get(OPENLINEAGE_ROOT_PARENT_ID, ""))
    if parent is None or root is None:
        return parent
    return ParentRun(parent.namespace, parent.name, parent.run_id, root)


def source_code(root: Path) -> SourceCode | None:
    """Where the files of a project are kept; None without git, a commit or a remote."""
    commit = find_commit(root, "HEAD")
    remote = remote_url(commit.repository) if commit else None
    url = _web_url(remote) if remote else None
    if commit is None or url is None:
        return None
    folder = root.resolve()
    top = commit.repository.resolve()
    inside = folder.relative_to(top).as_posix() if folder.is_relative_to(top) else "."
    return SourceCode(url, commit.id, inside)


def _named_run(text: str) -> ParentRun | None:
    from uuid import UUID

    namespace, _, rest = text.partition("/")
    name, _, run_id = rest.rpartition("/")
    try:
        UUID(run_id)
    except ValueError:
        return None
    return ParentRun(namespace, name, run_id) if namespace and name else None


def _web_url(remote: str) -> str | None:
    """A remote as a URL that a person can open, without user and password."""
    if "://" not in remote:
        found = _SCP.match(remote)
        remote = f"ssh://{found[1]}/{found[2]}" if found else ""
    parts = urlsplit(remote)
    if not parts.hostname:
        return None  # a folder of this machine
    scheme = parts.scheme if parts.scheme in {"http", "https"} else "https"
    is_same = scheme == parts.scheme
    host = f"{parts.hostname}:{parts.port}" if is_same and parts.port else parts.hostname
    return f"{scheme}://{host}/{parts.path.strip('/').removesuffix('.git')}"
