from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from floe_core import profiles
from floe_core.plugins import InspectRequest, LocatedTransform
from floe_core.schemas.platform import ComputeProfile
from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import Invocation
from floe_dbt.targets.duckdb import DuckDBTarget

SHOP: Mapping[str, str] = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: not_floes\n",
    "seeds/raw_orders.csv": "id,status,amount\n1,paid,10\n2,paid,20\n3,open,30\n",
    "models/stg_orders.sql": "select * from {{ ref('raw_orders') }}\n",
    "models/marts/revenue.sql": (
        "{{ config(materialized='table', tags=['mart']) }}\n"
        "select status, sum(amount) as amount\n"
        "from {{ ref('stg_orders') }}\n"
        "group by status\n"
    ),
    "models/schema.yml": (
        "models:\n  - name: stg_orders\n    columns: [{name: id, data_tests: [unique, not_null]}]\n"
    ),
}
"""A seed, a view, a table and two tests."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own dbt and floe settings."""
    for name in os.environ:
        if name.startswith(("DBT_", "FLOE_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engine() -> DbtCore:
    return DbtCore()


@dataclass(frozen=True)
class Workspace:
    """A folder with dbt projects, and floe's own folder in it."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / ".floe/data/local/engine.duckdb"

    def write(self, files: Mapping[str, str], folder: str = "dbt") -> Workspace:
        for name, content in files.items():
            path = self.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return self

    def invocation(self, project: str = "dbt", target: str = "local", **changes: Any) -> Invocation:
        work = self.root / ".floe/local"
        profiles.write(work, self.profiles(target))
        invocation = Invocation(
            root=self.root,
            project=project,
            profiles_dir=work,
            target=target,
            target_path=work / "target" / f"{project.replace('/', '__')}@{target}",
            log_path=work / "logs",
        )
        return replace(invocation, **changes)

    def profiles(self, *targets: str) -> dict[str, Any]:
        output = DuckDBTarget().output(ComputeProfile(type="duckdb"), "local")
        names = {"local", *targets}
        return {"floe": {"target": "local", "outputs": dict.fromkeys(sorted(names), output)}}

    def request(self, *transforms: LocatedTransform, **changes: Any) -> InspectRequest:
        request = InspectRequest(
            root=self.root,
            project="dbt",
            target="local",
            profiles=self.profiles(),
            work_dir=self.root / ".floe/local",
            vars={},
            transforms=transforms or (LocatedTransform("shop", "dbt"),),
        )
        return replace(request, **changes)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def files(self) -> set[str]:
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path)


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """A folder with the small project `shop` in `dbt`."""
    return workspace.write(SHOP)


@pytest.fixture(scope="session")
def shop_files() -> Mapping[str, str]:
    return SHOP


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Workspace]:
    """Make workspaces that several tests share."""
    return lambda name: Workspace(tmp_path_factory.mktemp(name))


@pytest.fixture
def closed_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
