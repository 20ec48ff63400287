"""`DuckDBTarget`: dbt on DuckDB, in a file of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from floe_core import layout
from floe_core.errors import QueryError, ServiceUnavailableError
from floe_core.lake import OWN
from floe_core.plugins import Finding, Property, QueryResult
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef
from floe_dbt.targets.output import below_project, in_project, is_installed, moved

if TYPE_CHECKING:
    import duckdb

    from floe_core.lake import Lake
    from floe_core.plugins import ComputeTarget
    from floe_iceberg.attachment import Attached
    from floe_iceberg.connection import Reader

THREADS = 4
"""dbt threads when the profile does not say: the same everywhere, so that compiles agree."""

_SHORTCUTS = {
    "memory_limit": "memory_limit",
    "temp_directory": "temp_directory",
    "timezone": "TimeZone",
}
"""Properties that are DuckDB settings, by the name of the setting."""

_PATHS = ("path", "external_root")
_LOCKED = re.compile(
    r"Could not set lock on file \"(?P<path>.+?)\": "
    r"Conflicting lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)"
)
_SCHEME = re.compile(r"^(?:[A-Za-z][\w+.-]*://|md:|motherduck:|ducklake:)")


class DuckDBTarget:
    """Writes DuckDB's part of profiles.yml, and runs queries against the file that dbt builds."""

    adapter = "duckdb"
    distribution = "dbt-duckdb"
    properties: Mapping[str, Property] = {
        "path": Property(str, "The database file; below `.floe/data` when absent."),
        "database": Property(str, "Name of the database; the file's name, unless attached."),
        "schema": Property(str, "Schema of models that set none; `main` when absent."),
        "threads": Property(int, f"Models that dbt builds at once; {THREADS} when absent."),
        "memory_limit": Property(str, "Most memory that DuckDB uses, such as `4GB`."),
        "temp_directory": Property(str, "Folder that DuckDB spills to when memory runs out."),
        "timezone": Property(str, "Time zone of timestamps, as an IANA name."),
        "extensions": Property(list, "DuckDB extensions to install and load."),
        "settings": Property(dict, "Further DuckDB settings, by name."),
        "config_options": Property(dict, "DuckDB options that only hold from the connection on."),
        "attach": Property(
            list, "Databases to attach: `path`, `alias`, `type`, `read_only` of each."
        ),
        "external_root": Property(
            str, "Folder of external materializations; the dbt project when absent."
        ),
        "plugins": Property(list, "dbt-duckdb plugins: `module`, `alias`, `config` of each."),
        "module_paths": Property(list, "Folders of Python modules that models import."),
        "disable_transactions": Property(bool, "Whether statements run outside transactions."),
        "retries": Property(dict, "How often dbt-duckdb tries again, and on which errors."),
        "use_credential_provider": Property(
            str, "`aws`: find credentials for S3 as the AWS command line does."
        ),
    }

    stores_in_lake = True

    def is_installed(self) -> bool:
        """Whether the adapter can be imported here; does not import it."""
        return is_installed(self.distribution)

    def check(self, compute: ComputeProfile) -> Sequence[Finding]:
        """Look for what dbt on DuckDB cannot work with."""
        findings = []
        path = compute.properties.get("path")
        if isinstance(path, str) and path.startswith(":memory:"):
            findings.append(_no_memory(path))
        elif isinstance(path, str) and _SCHEME.match(path):
            findings.append(_no_server(path))
        if compute.credentials is not None:
            findings.append(_no_credentials())
        threads = compute.properties.get("threads")
        if isinstance(threads, int) and threads < 1:
            help = f"leave it out for {THREADS}"
            field = ("properties", "threads")
            findings.append(Finding("FLOE-R018", field, "must be 1 or more", help))
        return findings

    def relocate(self, compute: ComputeProfile, move: Callable[[str], str]) -> ComputeProfile:
        """Move the paths of the database, of folders, and of attached databases."""
        placed = moved(compute, (*_PATHS, "temp_directory"), move)
        attached = placed.properties.get("attach")
        if not isinstance(attached, list):
            return placed
        entries = [_moved_attachment(entry, move) for entry in attached]
        return placed.model_copy(update={"properties": {**placed.properties, "attach": entries}})

    def output(
        self, compute: ComputeProfile, environment: str, lake: Lake | None = None
    ) -> dict[str, Any]:
        """Build the output of profiles.yml: of `duckdb_iceberg` where there is a catalog."""
        given = dict(compute.properties)
        output: dict[str, Any] = {
            "type": self.adapter if lake is None else "duckdb_iceberg",
            "path": _path(compute, environment, lake),
            "schema": "main",
            "threads": THREADS,
        }
        settings = _settings(compute)
        if settings:
            given["settings"] = {key: _below(key, value) for key, value in settings.items()}
        for key, value in given.items():
            if key not in _SHORTCUTS and key not in output.keys() - {"schema", "threads"}:
                output[key] = below_project(value) if key in _PATHS else value
        if "attach" in output:
            output["attach"] = [_attachment(entry) for entry in output["attach"]]
        return output if lake is None else {**output, **_catalogs(lake)}

    def secrets(self, compute: ComputeProfile) -> Mapping[str, SecretRef]:
        """No secrets: DuckDB is a library, not a server."""
        return {}

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
        """Run one read-only statement, against Iceberg tables or else the database file.

        Iceberg tables can be read while a run writes.

        Raises:
            QueryError: if the statement is wrong or would write, or nothing has been built yet.
            ServiceUnavailableError: if another process is writing to the file.
        """
        import duckdb

        _check_statement(sql)
        if lake is not None:
            return _query_lake(compute, root, secrets, lake, sql, limit)
        path = Path(in_project(_path(compute, environment, lake), root))
        if not path.is_file():
            raise QueryError(
                f"nothing has been built in environment `{environment}` yet: "
                f"there is no {_shown(path, root)}",
                "run `floe run` first",
            )
        with _connect(path, compute, root) as connection:
            try:
                return _fetch(connection, sql, limit)
            except duckdb.Error as problem:
                raise QueryError(str(problem)) from None

    @contextmanager
    def connect(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        lake: Lake | None = None,
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Connect to write: to Iceberg tables, or else to the database file in one transaction.

        Names without a schema mean those of the profile's, which is created where it is not there.
        An Iceberg table that is created or changed is committed when the block ends.

        Raises:
            ServiceUnavailableError: if another process has the file open.
            QueryError: if it cannot be opened otherwise.
        """
        import duckdb

        if lake is not None:
            from floe_iceberg.connection import writing

            attached = _attached(compute, lake, root, secrets)
            with _in_memory(compute, root) as memory, writing(memory, attached) as writer:
                yield cast("duckdb.DuckDBPyConnection", writer)
            return
        path = Path(in_project(_path(compute, environment, lake), root))
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = str(compute.properties.get("schema", "main"))
        with _connect(path, compute, root, is_read_only=False) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_identifier(schema)}")
            _use_schema(connection, schema)
            connection.begin()
            try:
                yield connection
            except BaseException:
                with suppress(duckdb.TransactionException):  # the block ended its transaction
                    connection.rollback()
                raise
            with suppress(duckdb.TransactionException):
                connection.commit()


def make_folder(output: Mapping[str, Any], root: Path) -> None:
    """Create the folder of an output's database file; DuckDB does not."""
    path = output.get("path")
    if isinstance(path, str) and not path.startswith(":memory:") and not _SCHEME.match(path):
        layout.make_folder(Path(in_project(path, root)).parent)


def in_use(message: str, root: Path | None = None) -> str | None:
    """One sentence for a DuckDB error that says that another process has the database open."""
    found = _LOCKED.search(message)
    if found is None:
        return None
    path = Path(found["path"])
    shown = _shown(path, root) if root is not None else str(path)
    return f"{shown} is in use by process {found['pid']} ({found['program']})"


def _no_memory(path: str) -> Finding:
    return Finding(
        "FLOE-R018",
        ("properties", "path"),
        f"`{path}` is a database in memory, which is gone when a run ends",
        "leave `path` out, or name a file",
    )


def _no_server(path: str) -> Finding:
    return Finding(
        "FLOE-R018",
        ("properties", "path"),
        f"`{path}` is not a file of this machine",
        "name a file; other databases go under `attach`",
    )


def _no_credentials() -> Finding:
    return Finding(
        "FLOE-R018",
        ("credentials",),
        "DuckDB is a library that runs inside floe: there is nothing to sign in to",
        "remove `credentials`; those of object storage belong to `storage`",
        on_key=True,
    )


def _path(compute: ComputeProfile, environment: str, lake: Lake | None) -> str:
    """The database file; where tables are Iceberg's, it can be deleted at any time."""
    folder = f".floe/data/{environment}" if lake is None else f".floe/{environment}"
    return str(below_project(str(compute.properties.get("path", f"{folder}/engine.duckdb"))))


def _catalogs(lake: Lake) -> dict[str, Any]:
    """What an output of `duckdb_iceberg` has besides that of `duckdb`."""
    catalogs = {key: lake.written_properties(key) for key in lake.catalogs}
    tables = {name: _placed(lake, layer) for name, layer in sorted(lake.tables.items())}
    output: dict[str, Any] = {"catalog": catalogs.pop(OWN)}
    return {
        **output,
        **({"catalogs": catalogs} if catalogs else {}),
        "catalog_names": lake.names,
        **({"tables": tables} if tables else {}),
    }


def _placed(lake: Lake, layer: str) -> dict[str, Any]:
    properties = lake.table_properties(layer)
    place: dict[str, Any] = {"catalog": lake.keys[layer], "namespace": lake.namespace(layer)}
    return {**place, "properties": properties} if properties else place


def _attached(
    compute: ComputeProfile, lake: Lake, root: Path, secrets: Mapping[str, str]
) -> Attached:
    from floe_iceberg.attachment import Attached, Placement
    from floe_iceberg.connection import MEMORY

    catalogs = {key: lake.properties(key, root, secrets) for key in lake.catalogs}
    tables = {
        name: Placement(lake.keys[layer], lake.namespace(layer), lake.table_properties(layer))
        for name, layer in lake.tables.items()
    }
    schema = str(compute.properties.get("schema", "main"))
    return Attached(catalogs, MEMORY, schema, tables, names=lake.names, at=lake.at)


@contextmanager
def _in_memory(compute: ComputeProfile, root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB without a file, with the profile's extensions, databases and settings."""
    import duckdb

    options: Any = compute.properties.get("config_options") or {}
    with duckdb.connect(config=options) as connection:
        try:
            for statement in _preparation(compute, root, is_read_only=True):
                connection.execute(statement)
        except duckdb.Error as problem:
            raise QueryError(f"the database cannot be prepared: {problem}") from None
        yield connection


def _query_lake(
    compute: ComputeProfile,
    root: Path,
    secrets: Mapping[str, str],
    lake: Lake,
    sql: str,
    limit: int | None,
) -> QueryResult:
    import duckdb

    from floe_iceberg.connection import Reader

    with _in_memory(compute, root) as memory:
        reader = Reader(memory, _attached(compute, lake, root, secrets))
        try:
            with reader.attachment.explained():
                try:
                    return _fetch(reader, sql, limit)
                except duckdb.CatalogException:
                    if not reader.attachment.is_empty():
                        raise
                    raise QueryError(
                        f"nothing has been built in environment `{lake.environment}` yet",
                        "run `floe run` first",
                    ) from None
        except duckdb.Error as problem:
            raise QueryError(str(problem)) from None


def _settings(compute: ComputeProfile) -> dict[str, Any]:
    """DuckDB settings: the ones with a property of their own, and `settings`."""
    properties = compute.properties
    own = {name: properties[key] for key, name in _SHORTCUTS.items() if key in properties}
    further = properties.get("settings")
    return {**own, **(further if isinstance(further, dict) else {})}


def _below(setting: str, value: Any) -> Any:
    return below_project(value) if setting == "temp_directory" else value


def _moved_attachment(entry: Any, move: Callable[[str], str]) -> Any:
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str) or not _is_file(entry, path):
        return entry
    return {**entry, "path": move(path)}


def _attachment(entry: Any) -> Any:
    """An entry of `attach` with its file below the project root; others are URLs or servers."""
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str) or not _is_file(entry, path):
        return entry
    return {**entry, "path": below_project(path)}


def _is_file(entry: Mapping[str, Any], path: str) -> bool:
    is_duckdb = str(entry.get("type") or "duckdb").lower() in {"duckdb", "sqlite"}
    return is_duckdb and not _SCHEME.match(path) and ":" not in path and "{{" not in path


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _check_statement(sql: str) -> None:
    """Refuse everything but one statement that reads.

    The connection is read-only, but that protects the database, not the files that `COPY` and
    `EXPORT` write.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as problem:
        raise QueryError(str(problem)) from None
    if not statements:
        raise QueryError("the query is empty")
    kinds = [statement.type.name for statement in statements]
    if kinds[-1] == "SELECT" and set(kinds[:-1]) <= {"CREATE"} and _is_pivot(sql):
        return  # DuckDB turns one PIVOT into the creation of an enum and a SELECT
    if len(statements) > 1:
        raise QueryError(f"these are {len(statements)} statements", "give one statement")
    if kinds[0] == "EXPLAIN":
        _check_statement(_explained(sql))
    elif kinds[0] != "SELECT":
        raise QueryError(
            f"`{kinds[0]}` is not a query: floe reads data here and changes none",
            "give one SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN",
        )


def _is_pivot(sql: str) -> bool:
    return (
        re.match(r"\s*(?:--[^\n]*\n\s*)*(?:with\b|pivot\b|from\b|select\b)", sql, re.I) is not None
    )


def _explained(sql: str) -> str:
    """The statement that an EXPLAIN is about."""
    return re.sub(
        r"^(?:\s|--[^\n]*\n|/\*.*?\*/)*explain\s*(?:analyze\b)?\s*(?:\((?:\s*(?:format|analyze)\b[^()]*)\))?",
        "",
        sql,
        count=1,
        flags=re.IGNORECASE | re.DOTALL,
    )


def _connect(
    path: Path, compute: ComputeProfile, root: Path, *, is_read_only: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open the database as dbt does.

    Raises:
        ServiceUnavailableError: if somebody writes to it.
        QueryError: if it cannot be opened otherwise.
    """
    import duckdb

    options: Any = compute.properties.get("config_options") or {}
    try:
        connection = duckdb.connect(str(path), read_only=is_read_only, config=options)
    except duckdb.Error as problem:
        raise _unavailable(path, root, str(problem)) from None
    try:
        for statement in _preparation(compute, root, is_read_only):
            connection.execute(statement)
        _use_schema(connection, str(compute.properties.get("schema", "main")))
    except duckdb.Error as problem:
        connection.close()
        raise QueryError(f"the database cannot be prepared: {problem}") from None
    return connection


def _unavailable(path: Path, root: Path, message: str) -> ServiceUnavailableError | QueryError:
    text = in_use(message, root)
    if text is None and "different configuration" in message:
        text = f"{_shown(path, root)} is in use by this process"
    if text is None:
        return QueryError(f"{_shown(path, root)} cannot be opened: {message}")
    return ServiceUnavailableError(text, "try again when the run has ended")


def _preparation(compute: ComputeProfile, root: Path, is_read_only: bool) -> Iterator[str]:
    """Statements that load extensions, attach databases and make settings."""
    for extension in _entries(compute, "extensions"):
        name = extension.get("name") if isinstance(extension, dict) else extension
        yield f"LOAD {_identifier(str(name))}"
    for entry in _entries(compute, "attach"):
        if isinstance(entry, dict):
            yield _attach(_attachment(entry), root, is_read_only or bool(entry.get("read_only")))
    for name, value in _settings(compute).items():
        yield f"SET {_identifier(name)} = {_literal(in_project(_below(name, value), root))}"


def _entries(compute: ComputeProfile, key: str) -> list[Any]:
    value = compute.properties.get(key)
    return value if isinstance(value, list) else []


def _attach(entry: Mapping[str, Any], root: Path, is_read_only: bool) -> str:
    options = ["READ_ONLY"] if is_read_only else []
    if entry.get("type"):
        options.append(f"TYPE {_identifier(str(entry['type']))}")
    if entry.get("secret"):
        options.append(f"SECRET {_identifier(str(entry['secret']))}")
    path = in_project(str(entry["path"]), root)
    alias = f" AS {_identifier(str(entry['alias']))}" if entry.get("alias") else ""
    given = f" ({', '.join(options)})" if options else ""
    return f"ATTACH IF NOT EXISTS {_literal(path)}{alias}{given}"


def _use_schema(connection: duckdb.DuckDBPyConnection, schema: str) -> None:
    """Let names without a schema mean those of the profile's schema, where it exists by now."""
    rows = connection.execute(
        "SELECT 1 FROM duckdb_schemas() WHERE schema_name = ? AND database_name = "
        "current_database()",
        [schema],
    ).fetchall()
    if rows:
        connection.execute(f"USE {_identifier(schema)}")


def _fetch(
    connection: duckdb.DuckDBPyConnection | Reader, sql: str, limit: int | None
) -> QueryResult:
    connection.execute(sql)
    rows = connection.fetchall() if limit is None else connection.fetchmany(limit)
    columns = connection.description or []
    return QueryResult(
        columns=tuple(str(column[0]) for column in columns),
        types=tuple(str(column[1]) for column in columns),
        rows=rows,
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"


if TYPE_CHECKING:
    _: type[ComputeTarget] = DuckDBTarget
