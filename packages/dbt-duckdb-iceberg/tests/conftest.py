"""Small dbt projects with a lake of their own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from dbt.cli.main import dbtRunner
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from floe_iceberg import open_catalog, scan_sql

SCHEMA = "shop"


@dataclass
class Outcome:
    """What one dbt command did.

    Attributes:
        is_success: Whether all of it went well.
        statuses: Of each node, by its name.
        messages: Of each node, by its name.
        responses: The adapter's response of each node, by its name.
        output: All that dbt said.
        result: dbt's own result.
        problem: What was raised.
    """

    is_success: bool
    statuses: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    responses: dict[str, dict[str, Any]] = field(default_factory=dict)
    output: str = ""
    result: Any = None
    problem: BaseException | None = None


@dataclass
class Project:
    """A dbt project, its profile and its lake.

    Attributes:
        folder: Where it is.
        keeps_artifacts: Whether dbt writes its manifest and results, which takes half of its time.
    """

    folder: Path
    keeps_artifacts: bool = False

    @property
    def catalog(self) -> Catalog:
        return open_catalog(self.profile()["catalog"])

    def profile(self) -> dict[str, Any]:
        output: dict[str, Any] = yaml.safe_load((self.folder / "profiles.yml").read_text())
        return dict(output["test"]["outputs"]["dev"])

    def set_profile(self, **settings: Any) -> None:
        outputs = {"dev": {**self.profile(), **settings}}
        text = yaml.safe_dump({"test": {"target": "dev", "outputs": outputs}})
        (self.folder / "profiles.yml").write_text(text)

    def write(self, files: dict[str, str]) -> None:
        """Write files of the project; a model's name alone is `models/NAME.sql`."""
        for name, text in files.items():
            path = self.folder / (name if "/" in name else f"models/{name}.sql")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def dbt(self, *arguments: str, fails: bool = False) -> Outcome:
        """Run a dbt command in this process, and see that it ends as expected."""
        said: list[str] = []
        runner = dbtRunner(callbacks=[lambda event: said.append(event.info.msg)])
        folders = ("--project-dir", str(self.folder), "--profiles-dir", str(self.folder))
        settings = ["--log-level-file", "none"]
        settings += [] if self.keeps_artifacts else ["--no-write-json"]
        with chdir(self.folder):
            found = runner.invoke([*arguments, *folders, *settings])
        outcome = Outcome(
            found.success, output="\n".join(said), result=found.result, problem=found.exception
        )
        for one in getattr(found.result, "results", None) or []:
            name = getattr(getattr(one, "node", None), "name", "")
            outcome.statuses[name] = str(one.status)
            outcome.messages[name] = str(one.message)
            outcome.responses[name] = getattr(one, "adapter_response", {})
        assert outcome.is_success is not fails, outcome.output
        return outcome

    def table(self, name: str) -> Table:
        return self.catalog.load_table(name if "." in name else f"{SCHEMA}.{name}")

    def has_table(self, name: str) -> bool:
        return self.catalog.table_exists(name if "." in name else f"{SCHEMA}.{name}")

    def snapshots(self, name: str) -> int:
        return len(self.table(name).snapshots())

    def rows(self, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """The rows of an Iceberg table in their order, without dbt and without the DuckDB file."""
        with duckdb.connect() as connection:
            query = f"SELECT {columns} FROM ({scan_sql(self.table(name))}) ORDER BY ALL"
            return connection.execute(query).fetchall()

    def data_files(self, name: str) -> set[str]:
        """The Parquet files that lie in the folder of a table."""
        folder = Path(self.table(name).location().removeprefix("file://")) / "data"
        return {path.as_uri() for path in folder.rglob("*.parquet")}

    def files_of(self, name: str) -> set[str]:
        """The Parquet files that any snapshot of a table has."""
        table = self.table(name)
        return {
            entry.data_file.file_path
            for snapshot in table.snapshots()
            for manifest in snapshot.manifests(table.io)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        }

    def show(self, sql: str) -> list[dict[str, Any]]:
        """What dbt reads."""
        outcome = self.dbt("show", "--inline", sql, "--limit", "1000", "--output", "json")
        table = outcome.result.results[0].agate_table
        return [dict(zip(table.column_names, row.values(), strict=True)) for row in table.rows]

    def forget_duckdb(self) -> None:
        """Delete DuckDB's file, as if this were another machine."""
        for path in self.folder.glob("scratch.duckdb*"):
            path.unlink()

    def artifact(self, name: str) -> Any:
        return json.loads((self.folder / "target" / name).read_text())


def _create(folder: Path) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dbt_project.yml").write_text(
        yaml.safe_dump(
            {
                "name": "shop",
                "profile": "test",
                "flags": {"send_anonymous_usage_stats": False},
                "models": {"+materialized": "table"},
            }
        )
    )
    # A path without a folder: dbt's saved parse can be used by every project then.
    output = {
        "type": "duckdb_iceberg",
        "threads": 4,
        "path": "scratch.duckdb",
        "schema": SCHEMA,
        "catalog": {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": folder.as_uri(),
        },
    }
    (folder / "profiles.yml").write_text(
        yaml.safe_dump({"test": {"target": "dev", "outputs": {"dev": output}}})
    )
    (folder / "models").mkdir(exist_ok=True)
    return Project(folder)


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt saves of its parse; most of it is dbt's own macros."""
    project = _create(tmp_path_factory.mktemp("parsed"))
    project.dbt("parse")
    return project.folder / "target" / "partial_parse.msgpack"


def create(folder: Path, parsed: Path) -> Project:
    """Create an empty project, which needs not parse dbt's own macros again."""
    made = _create(folder)
    (made.folder / "target").mkdir()
    shutil.copy(parsed, made.folder / "target")
    return made


@pytest.fixture
def project(tmp_path: Path, parsed: Path) -> Iterator[Project]:
    yield create(tmp_path / "shop", parsed)
    os.environ.pop("DBT_LOG_PATH", None)
