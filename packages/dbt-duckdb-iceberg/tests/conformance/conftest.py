"""dbt's own fixtures, with a profile of this adapter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import freezegun
import pytest
from dbt.tests.fixtures.project import *  # noqa: F403 - fixtures; a plugin has to be named at the root

# To stop the clock it looks at every attribute of every module that other tests have loaded; one of
# floe_dagster builds Dagster's definitions. It has to know before dbt's suites are imported.
freezegun.configure(extend_ignore_list=["floe_dagster"])


@pytest.fixture(scope="class")
def dbt_profile_target(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lake")
    return {
        "type": "duckdb_iceberg",
        "threads": 4,
        "path": str(folder / "scratch.duckdb"),
        "catalog": {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": folder.as_uri(),
        },
    }


@pytest.fixture(scope="class")
def logs_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = str(tmp_path_factory.mktemp("logs"))
    os.environ["DBT_LOG_PATH"] = folder
    yield folder
    os.environ.pop("DBT_LOG_PATH", None)


@pytest.fixture(scope="class")
def profile_user() -> None:
    """DuckDB has no users."""


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer() -> None:
    """dbt's fixtures set variables for a whole class; see the root's conftest."""


@pytest.fixture(autouse=True, scope="class")
def _stays_here() -> Iterator[None]:
    here = Path.cwd()
    yield
    os.chdir(here)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They take minutes, and dbt's classes warn of their own age."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings("ignore"))
