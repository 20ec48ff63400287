"""Extension points of floe: the interfaces that plugins implement, and how plugins are found.

A plugin is a class, made without arguments, that an entry point of an installed distribution
names. The group of the entry point says what kind of plugin it is, its name is what users write:

| group | interface | users write the name in |
|---|---|---|
| `floe.transforms` | `TransformExecutor` | `transforms[].type` of floe.yaml |
| `floe.targets` | `ComputeTarget` | `compute.*.type` of platform.yaml |
| `floe.catalogs` | `CatalogClient` | `catalogs.*.type` of platform.yaml |
| `floe.telemetry` | `TelemetryExporter` | `observability.tracing.exporter` of platform.yaml |
| `floe.secrets` | `SecretBackend` | `security.secret_backends` of platform.yaml |

floe's own choices register in the same way. A plugin is imported when something needs it, so its
module is quick to import: what is heavy is imported inside methods. The names of floe in the
examples below are those of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import TypeIs, get_protocol_members

from floe_core import entry_points
from floe_core.context import TransformContext
from floe_core.entry_points import PluginState
from floe_core.index import ProjectIndex
from floe_core.schemas.artifacts import CompiledTransform
from floe_core.schemas.base import JsonValue
from floe_core.schemas.floe import Transform
from floe_core.schemas.observability import OtlpCompression, OtlpProtocol, Tls, Tracing
from floe_core.schemas.platform import CatalogProfile, ComputeProfile, StorageProfile
from floe_core.schemas.secret import SecretRef

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from floe_core.lake import Lake

__all__ = [
    "AssetInspection",
    "CatalogClient",
    "CatalogProfile",
    "CompiledTransform",
    "ComputeProfile",
    "ComputeTarget",
    "ExportSettings",
    "Finding",
    "InspectRequest",
    "Inspection",
    "JsonValue",
    "LocatedTransform",
    "ProjectExecutor",
    "Property",
    "QueryResult",
    "SecretBackend",
    "SecretRef",
    "StorageProfile",
    "TelemetryExporter",
    "Tracing",
    "Transform",
    "TransformContext",
    "TransformExecutor",
]

TRANSFORMS = "floe.transforms"
TARGETS = "floe.targets"
CATALOGS = "floe.catalogs"
TELEMETRY = "floe.telemetry"
SECRETS = "floe.secrets"


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
        project: Its folder or file, relative to the project root, with `/`; `.` is the root. It
            is `path` of the compiled transform.
        models: Paths and globs relative to `project` that narrow it; empty for no narrowing.
        select: Selection that narrows it, in the syntax of the plugin's tool.
        entry: Function that it calls, as `module:function`.
        origins: Where `name`, `project`, `select` and each of `models` came from: the path of a
            field below the transform, or a file below the project root, under its key `name`.
            What was found by looking around has no entry.
    """

    name: str
    project: str
    models: tuple[str, ...] = ()
    select: str | None = None
    entry: str | None = None
    origins: Mapping[tuple[str | int, ...], tuple[str | int, ...] | str] = field(
        default_factory=dict, compare=False
    )


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
        selections: Selections of jobs, to be resolved in this project.
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
    selections: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in one project.

    Attributes:
        index: Its nodes; None when the project could not be parsed.
        claims: Unique ids of the buildable nodes of each transform, sorted, by transform name.
            Seeds and snapshots that a claimed model needs are not added here; the compiler does.
        findings: Problems by transform name; the name `` (empty) is for the project as a whole.
        was_parsed: Whether the project was parsed, or the cached index still held.
        selected: Unique ids of the buildable nodes that each of the request's selections stands
            for, sorted; a selection that is not valid is absent.
        refused: Why a selection is not valid, by selection.
    """

    index: ProjectIndex | None
    claims: Mapping[str, tuple[str, ...]]
    findings: Sequence[tuple[str, Finding]]
    was_parsed: bool
    selected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssetInspection:
    """What a transform that is one asset is made of.

    Attributes:
        files: Files that decide what it does. Their content is part of the artifacts' hash, and
            of the code version of the asset.
        findings: Problems, relative to the transform.
    """

    files: Sequence[Path] = ()
    findings: Sequence[Finding] = ()


class TransformExecutor(Protocol):
    """A kind of transform whose every transform is one asset of Dagster, named like the transform.

    Transforms of all kinds are in one graph: `depends_on` orders them, `floe run` and schedules
    build them, and a dbt source with `meta.dagster.asset_key: [NAME]` reads what one made.

    This one copies a CSV file into a table of DuckDB. Below
    `[project.entry-points."floe.transforms"]` stands `csv = "my_package:CsvTransform"`, and users
    write `{name: cities, type: csv, path: in/cities.csv}`::

        class CsvTransform:
            fields = frozenset({"path"})

            def locate(self, transform, root):
                if transform.path is None or transform.name is None:
                    return None, [Finding("CSV-001", (), "needs `name` and `path`", "add them")]
                if not (root / transform.path).is_file():
                    message = f"there is no file `{transform.path}` beside floe.yaml"
                    return None, [Finding("CSV-002", ("path",), message)]
                return LocatedTransform(transform.name, transform.path), []

            def inspect(self, located, root):
                return AssetInspection(files=[root / located.project])

            def execute(self, transform, context):
                connection = context.connect()
                file = str(context.root / transform.path)
                sql = f'create or replace table "{transform.name}" as from read_csv(?)'
                [[rows]] = connection.execute(sql, [file]).fetchall()
                context.logger.info("%s rows from %s", rows, file)
                return {"rows": rows}
    """

    fields: frozenset[str]
    """Keys of a transform that this kind reads, of `project`, `path`, `models`, `select`, `target`,
    `entry` and `description`; floe refuses the others. Names, tags, layers and `depends_on` are for
    all kinds."""

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the transform below `root`, looking at the file system alone.

        `floe validate` calls it, so it neither imports nor executes what is the user's. Findings
        are relative to the transform. No transform means that it cannot be placed.
        """
        ...

    def inspect(self, located: LocatedTransform, root: Path) -> AssetInspection:
        """Look into the transform's files, still without executing them; for `floe compile`."""
        ...

    def execute(
        self, transform: CompiledTransform, context: TransformContext
    ) -> Mapping[str, JsonValue] | None:
        """Make the asset, in the process of the run.

        What it raises fails the run with its message, and what depends on the asset is skipped. A
        `TransformError` adds the file and line that are at fault.

        Returns:
            What there is to tell, as JSON: it is shown with the asset and kept in the run's record.
            `rows` is taken for the number of rows of the asset's table.
        """
        ...


class ProjectExecutor(Protocol):
    """A kind of transform whose transforms share projects of many nodes: dbt.

    floe runs what it finds with dbt.
    """

    fields: frozenset[str]
    """Keys of a transform that this kind reads; see `TransformExecutor`."""

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the transform's project below `root`; see `TransformExecutor`."""
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

    def reuse(self, project: Path, other: Path) -> str | None:
        """Let a project use what `fetch` has fetched for another copy of it.

        Args:
            project: Absolute folder of a project for which nothing has been fetched.
            other: Absolute folder of the copy.

        Returns:
            Why it cannot: the two declare different things, or nothing has been fetched. None when
            it can, or nothing is needed.
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
    """An engine that dbt runs on, and that queries and transforms connect to.

    This one is DuckDB with a file per environment in a folder of the user's choice. Below
    `[project.entry-points."floe.targets"]` stands `duckdb_folder = "my_package:DuckDBFolder"`, and
    users write `compute: {default: {type: duckdb_folder, properties: {folder: tables}}}`::

        class DuckDBFolder:
            adapter = "duckdb"
            distribution = "dbt-duckdb"
            properties = {"folder": Property(str, "Folder of the database.", is_required=True)}
            stores_in_lake = False

            def is_installed(self):
                return importlib.util.find_spec("dbt.adapters.duckdb") is not None

            def check(self, compute):
                return []

            def relocate(self, compute, move):
                folder = move(compute.properties["folder"])
                return compute.model_copy(update={"properties": {"folder": folder}})

            def output(self, compute, environment, lake=None):
                root = "{{ env_var('FLOE_PROJECT_DIR') }}"
                path = f"{root}/{compute.properties['folder']}/{environment}.duckdb"
                return {"type": self.adapter, "path": path, "schema": "main", "threads": 1}

            def secrets(self, compute):
                return {}

            def query(self, compute, environment, root, secrets, sql, limit, lake=None):
                with duckdb.connect(self._file(compute, environment, root), read_only=True) as db:
                    rows = db.execute(sql).fetchmany(1000 if limit is None else limit)
                    names = tuple(column[0] for column in db.description)
                    types = tuple(str(column[1]) for column in db.description)
                    return QueryResult(names, types, rows)

            @contextmanager
            def connect(self, compute, environment, root, secrets, lake=None):
                with duckdb.connect(self._file(compute, environment, root)) as db:
                    db.begin()
                    yield db
                    db.commit()  # closing without it rolls back

            def _file(self, compute, environment, root):
                return root / compute.properties["folder"] / f"{environment}.duckdb"
    """

    adapter: str
    """Name of the dbt adapter, the `type` of an output in profiles.yml."""

    distribution: str
    """What to install for the adapter, such as `dbt-duckdb`."""

    properties: Mapping[str, Property]
    """Connection properties that a user may write."""

    stores_in_lake: bool
    """Whether what dbt builds goes to the Iceberg catalogs of the platform, where it has any. If
    not, `lake` is always None below."""

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

    def output(
        self, compute: ComputeProfile, environment: str, lake: Lake | None = None
    ) -> dict[str, Any]:
        """Build the output of profiles.yml; secrets appear as `env_var(...)` only.

        Relative paths are written below `{{ env_var('FLOE_PROJECT_DIR') }}`.
        """
        ...

    def secrets(self, compute: ComputeProfile) -> Mapping[str, SecretRef]:
        """Map each environment variable that `output` refers to to the secret it holds.

        Those of the lake are no concern of it.
        """
        ...

    def query(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        sql: str,
        limit: int | None,
        lake: Lake | None = None,
    ) -> QueryResult:
        """Run one read-only statement.

        Args:
            compute: The resolved compute profile.
            environment: Name of the environment.
            root: Absolute project root.
            secrets: Values by the names that `secrets` gave, and those of the lake.
            lake: Where the product's tables live.
            sql: The statement.
            limit: Most rows to fetch; None for all.

        Raises:
            QueryError: if the statement is wrong or would write.
            ServiceUnavailableError: if the engine cannot be reached.
        """
        ...

    def connect(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        lake: Lake | None = None,
    ) -> AbstractContextManager[Any]:
        """Open a connection that may write, for transforms that are not dbt's.

        The context manager gives what the engine's driver calls a connection. It commits when the
        block ends, rolls back when an exception leaves it, and closes the connection. Arguments
        are those of `query`.

        Raises:
            ServiceUnavailableError: if the engine cannot be reached.
        """
        ...


class CatalogClient(Protocol):
    """A kind of Iceberg catalog.

    This one is a REST catalog whose users have a token. Below
    `[project.entry-points."floe.catalogs"]` stands `lakehouse = "my_package:Lakehouse"`, and users
    write `{type: lakehouse, uri: "https://...", properties: {token: {secret_ref: lakehouse}}}`::

        class Lakehouse:
            nests_namespaces = True

            def check(self, catalog):
                if catalog.uri is None:
                    return [Finding("LAKE-001", (), "needs `uri`, its endpoint", "add `uri:`")]
                if "token" not in catalog.properties:
                    return [Finding("LAKE-002", (), "needs `properties: {token: ...}`")]
                return []

            def properties(self, catalog, storage, data, secret):
                token = secret(catalog.properties["token"])
                return {"type": "rest", "uri": catalog.uri, "token": token}
    """

    nests_namespaces: bool
    """Whether a namespace may have several parts, as in `marts.daily`."""

    def check(self, catalog: CatalogProfile) -> Sequence[Finding]:
        """Look for what the catalog cannot work with; findings are relative to the profile."""
        ...

    def properties(
        self,
        catalog: CatalogProfile,
        storage: StorageProfile | None,
        data: Path,
        secret: Callable[[SecretRef], str],
    ) -> dict[str, str]:
        """Say in PyIceberg's own names where the catalog is and how to sign in.

        Args:
            catalog: The resolved profile.
            storage: Where its tables are stored; None when the platform does not say.
            data: `.floe/data/<env>` below the project root, for what a catalog keeps here. It may
                begin with what stands for the root in profiles.yml.
            secret: Gives the value of a secret, or what stands for it in a file; so the result is
                used as it is and never looked into.

        Raises:
            FloeError: if catalog and storage cannot work together.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How telemetry is sent, as `observability.tracing` of platform.yaml says.

    What is None, or is not among the headers, may be filled by the `OTEL_*` variables.

    Attributes:
        endpoint: Base of what is sent to.
        protocol: `grpc` or `http`.
        headers: Headers, with the values of secrets.
        tls: Certificates, with absolute paths.
        compression: `gzip` or `none`.
    """

    endpoint: str | None = None
    protocol: OtlpProtocol | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls | None = None
    compression: OtlpCompression | None = None


class TelemetryExporter(Protocol):
    """A place that traces, metrics and logs go to.

    It makes exporters of OpenTelemetry's SDK; floe queues what they send, counts what
    does not arrive, and ends them.
    They are called in threads of their own, and whatever they raise costs that batch alone.

    This one writes spans into a file, and takes neither metrics nor logs. Below
    `[project.entry-points."floe.telemetry"]` stands `files = "my_package:Files"`, and users write
    `observability: {tracing: {exporter: files, endpoint: /var/log/spans.jsonl}}`::

        class Files:
            def check(self, tracing):
                if tracing.endpoint is None:
                    return [Finding("FILES-001", (), "needs `endpoint`, the file", "add it")]
                return []

            def span_exporter(self, settings):
                from opentelemetry.sdk.trace.export import ConsoleSpanExporter

                return ConsoleSpanExporter(out=open(settings.endpoint, "a"))

            def metric_exporter(self, settings):
                return None

            def log_exporter(self, settings):
                return None
    """

    def check(self, tracing: Tracing) -> Sequence[Finding]:
        """Look for what the exporter cannot work with; findings are relative to `tracing`."""
        ...

    def span_exporter(self, settings: ExportSettings) -> SpanExporter | None:
        """Make what sends spans, at the start of a run; None where it takes none."""
        ...

    def metric_exporter(self, settings: ExportSettings) -> MetricExporter | None:
        """Make what sends metrics; None where it takes none."""
        ...

    def log_exporter(self, settings: ExportSettings) -> LogRecordExporter | None:
        """Make what sends log records; None where it takes none."""
        ...


class SecretBackend(Protocol):
    """A place that secrets are looked up in, at run time, in the process that executes.

    One object serves one look-up of all that a product needs and is then forgotten, so it may
    remember what it has read.

    This one asks a program. Below `[project.entry-points."floe.secrets"]` stands
    `pass = "my_package:Pass"`, and users write `security: {secret_backends: [env, pass]}`::

        class Pass:
            def places(self, ref):
                return [f"`pass show {ref.name}/{ref.entry or ''}`"]

            def find(self, ref):
                command = ["pass", "show", f"{ref.name}/{ref.entry or ''}"]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                return done.stdout.rstrip() or None
    """

    def places(self, ref: SecretRef) -> Sequence[str]:
        """Name the places that `find` looks in, for the error when it is in none of them.

        Reaches no network; `floe doctor` shows it.

        Raises:
            SecretBackendError: if it cannot be asked here, for a library or a setting is missing.
        """
        ...

    def find(self, ref: SecretRef) -> str | None:
        """The value of a secret; None when it is not here, so that the next backend is asked.

        Messages and logs name the secret, never its value.

        Raises:
            SecretUnreadableError: if it is here and cannot be read.
            SecretBackendError: if the backend is not set up here, or refuses to answer.
            ServiceUnavailableError: if the backend does not answer.
        """
        ...


INTERFACES: Mapping[str, tuple[type, ...]] = {
    TRANSFORMS: (TransformExecutor, ProjectExecutor),
    TARGETS: (ComputeTarget,),
    CATALOGS: (CatalogClient,),
    TELEMETRY: (TelemetryExporter,),
    SECRETS: (SecretBackend,),
}
"""The interfaces of each group; a plugin implements one of them."""


def names(group: str) -> list[str]:
    """Names registered in a group, sorted."""
    return entry_points.names(group)


def load(group: str, name: str) -> Any | None:
    """Make the plugin that is registered as `name` in `group`; None when there is none.

    Raises:
        PluginError: if there is one and it cannot be used, or there are two.
    """
    return entry_points.load(group, name, *_members(group))


def states(group: str) -> tuple[PluginState, ...]:
    """Load every plugin of a group, to see which can be used."""
    return tuple(
        entry_points.state_of(registration, *_members(group))
        for registration in entry_points.registrations(group)
    )


def _members(group: str) -> list[Collection[str]]:
    return [get_protocol_members(interface) for interface in INTERFACES[group]]


def is_asset_kind(
    executor: TransformExecutor | ProjectExecutor,
) -> TypeIs[TransformExecutor]:
    """Whether each transform of a kind is one asset, which its plugin makes."""
    return hasattr(executor, "execute")


def transform_executor(type_: str) -> TransformExecutor | ProjectExecutor | None:
    """The plugin for transforms of this `type`, or None."""
    plugin: TransformExecutor | ProjectExecutor | None = load(TRANSFORMS, type_)
    return plugin


def compute_target(type_: str) -> ComputeTarget | None:
    """The plugin for this engine, or None."""
    plugin: ComputeTarget | None = load(TARGETS, type_)
    return plugin


def catalog_client(type_: str) -> CatalogClient | None:
    """The plugin for catalogs of this `type`, or None."""
    plugin: CatalogClient | None = load(CATALOGS, type_)
    return plugin


def telemetry_exporter(name: str) -> TelemetryExporter | None:
    """The plugin for this exporter of spans, or None."""
    plugin: TelemetryExporter | None = load(TELEMETRY, name)
    return plugin


def secret_backend(name: str) -> SecretBackend | None:
    """The plugin for this secret backend, or None."""
    plugin: SecretBackend | None = load(SECRETS, name)
    return plugin
