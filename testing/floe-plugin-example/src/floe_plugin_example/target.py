"""`type: duckdb_folder`: DuckDB with one file per environment in a folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.errors import QueryError, ServiceUnavailableError
from floe_core.plugins import ComputeProfile, Finding, Property, QueryResult, SecretRef

if TYPE_CHECKING:
    import duckdb

    from floe_core.lake import Lake
    from floe_core.plugins import ComputeTarget

TOKEN = "DBT_ENV_SECRET_FLOE_TOKEN"


class DuckDBFolder:
    """Writes the profile of `dbt-duckdb`, and connects to its file."""

    adapter = "duckdb"
    distribution = "dbt-duckdb"
    properties: Mapping[str, Property] = {
        "folder": Property(str, "Folder of the databases.", is_required=True),
        "token": Property(SecretRef, "Secret that `getvariable('token')` gives to transforms."),
    }

    stores_in_lake = False

    def is_installed(self) -> bool:
        """Whether there is the adapter."""
        return find_spec("dbt.adapters.duckdb") is not None

    def check(self, compute: ComputeProfile) -> Sequence[Finding]:
        """Refuse credentials: DuckDB is a library."""
        if compute.credentials is None:
            return []
        message = "there is nothing to sign in to"
        return [Finding("FOLDER-001", ("credentials",), message, "remove it", on_key=True)]

    def relocate(self, compute: ComputeProfile, move: Callable[[str], str]) -> ComputeProfile:
        """The folder is written relative to platform.yaml."""
        properties = {**compute.properties, "folder": move(str(compute.properties["folder"]))}
        return compute.model_copy(update={"properties": properties})

    def output(
        self, compute: ComputeProfile, environment: str, lake: "Lake | None" = None
    ) -> dict[str, Any]:
        """The output of profiles.yml."""
        folder = compute.properties["folder"]
        path = f"{{{{ env_var('FLOE_PROJECT_DIR') }}}}/{folder}/{environment}.duckdb"
        return {"type": self.adapter, "path": path, "schema": "main", "threads": 1}

    def secrets(self, compute: ComputeProfile) -> Mapping[str, SecretRef]:
        """The token, where there is one."""
        token = compute.properties.get("token")
        return {TOKEN: token} if isinstance(token, SecretRef) else {}

    def query(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        sql: str,
        limit: int | None,
        lake: "Lake | None" = None,
    ) -> QueryResult:
        """Run one statement on the file, opened for reading only."""
        import duckdb

        file = _file(compute, environment, root)
        if not file.is_file():
            raise QueryError(f"there is no {file} yet", "run `floe run` first")
        with _open(file, read_only=True) as database:
            try:
                database.execute(sql)
            except duckdb.Error as problem:
                raise QueryError(str(problem)) from None
            rows = database.fetchall() if limit is None else database.fetchmany(limit)
            columns = database.description or []
            names = tuple(str(column[0]) for column in columns)
            return QueryResult(names, tuple(str(column[1]) for column in columns), rows)

    @contextmanager
    def connect(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        lake: "Lake | None" = None,
    ) -> Iterator["duckdb.DuckDBPyConnection"]:
        """Open the file to write to it, in one transaction."""
        file = _file(compute, environment, root)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _open(file, read_only=False) as database:
            database.execute("set variable token = ?", [secrets.get(TOKEN)])
            database.begin()
            yield database
            database.commit()  # closing without it rolls back


def _file(compute: ComputeProfile, environment: str, root: Path) -> Path:
    return root / str(compute.properties["folder"]) / f"{environment}.duckdb"


def _open(file: Path, *, read_only: bool) -> "duckdb.DuckDBPyConnection":
    import duckdb

    try:
        return duckdb.connect(file, read_only=read_only)
    except duckdb.Error as problem:
        raise ServiceUnavailableError(f"{file} cannot be opened: {problem}") from None


if TYPE_CHECKING:
    _: type[ComputeTarget] = DuckDBFolder
