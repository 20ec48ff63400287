from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "floe_dbt",
        "floe_dbt.column_cache",
        "floe_dbt.column_lineage",
        "floe_dbt.engine",
        "floe_dbt.dbt_core",
        "floe_dbt.transform",
        "floe_dbt.targets.duckdb",
        "floe_dbt.targets.postgres",
    ],
)
def test_importing_is_cheap(module: str) -> None:
    """dbt and the database drivers are imported by what needs them, when it needs them."""
    code = (
        f"import sys, {module}\n"
        "heavy = {'agate', 'dbt', 'dbt_common', 'duckdb', 'jinja2', 'psycopg2', 'sqlglot'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"


def test_asking_whether_an_adapter_is_there_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from floe_core.plugins import compute_target, names\n"
        "print([compute_target(name).is_installed() for name in ('duckdb', 'postgres')])\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('dbt', 'duckdb')])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[1] == "[]"
