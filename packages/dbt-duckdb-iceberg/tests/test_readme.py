"""The README says what is tested, and its profile is one."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dbt.adapters.duckdb_iceberg.credentials import IcebergCredentials

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
_, PASSED, LEFT_OUT, _ = re.split(r"\| about \||\| left out \||## Dependencies", README)


def suites(text: str) -> list[str]:
    return re.findall(r"`((?:Base|StoreTest)\w+|\w+Base)`", text)


def subclassed() -> set[str]:
    """The classes of dbt's suites that the tests extend."""
    found = set()
    for path in (HERE / "conformance").glob("test_*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dbt.tests")
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                found |= bases & imported
    return found


def test_the_table_of_suites_is_what_the_tests_extend() -> None:
    passed = suites(PASSED)
    assert sorted(passed) == sorted(subclassed())
    assert not set(suites(LEFT_OUT)) & set(passed)


def test_the_profile_is_one() -> None:
    text = README.split("## A profile")[1].split("```yaml")[1].split("```")[0]
    output = yaml.safe_load(text)["shop"]["outputs"]["dev"]
    output.pop("type")
    output.pop("threads")
    credentials = IcebergCredentials.from_dict(IcebergCredentials.translate_aliases(output))
    assert credentials.attached().catalogs["default"]["type"] == "sql"
    assert credentials.shown("partner") == "rest, https://catalog.example.com"
    assert credentials.tables == {"shop.orders": {"namespace": "gold"}}


def test_dependencies_have_a_reason() -> None:
    import tomllib

    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    table = README.split("## Dependencies")[1]
    assert set(re.findall(r"^\| ([\w-]+) \|", table, re.MULTILINE)) - {"package"} == named


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT", "UV_NO_SYNC"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={**kept, "PWD": str(folder), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.network
@pytest.mark.integration
def test_the_start_works_with_nothing_but_the_wheels(tmp_path: Path) -> None:
    repository = HERE.parents[2]
    uv = os.environ.get("UV") or shutil.which("uv") or repository / ".tools" / "bin" / "uv"
    wheels, environment, project = (tmp_path / name for name in ("wheels", "env", "shop"))
    ours = ("floe-core", "floe-iceberg", "dbt-duckdb-iceberg")
    for package in ours:
        source = repository / "packages" / package
        run(uv, "build", "--quiet", "--wheel", "--out-dir", wheels, source, folder=repository)
    run(uv, "venv", "--quiet", "--python", sys.executable, environment, folder=tmp_path)
    start = README.split("## Start")[1].split("## A profile")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", start, re.DOTALL)
    project.mkdir()
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = []
    for kind, text in blocks:
        if kind in {"yaml", "sql"}:
            name = text.splitlines()[0].lstrip("#- ")
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text(text)
        elif text == "$ pip install dbt-duckdb-iceberg\n":
            fresh = [f"--refresh-package={package}" for package in ours]
            where = ["--python", environment / "bin" / "python", "--find-links", wheels]
            command = [uv, "pip", "install", "--quiet", *where, *fresh, "dbt-duckdb-iceberg==0.1.0"]
            run(*command, folder=tmp_path)
        else:
            command = ["python", "-c", text] if kind == "python" else text.strip("$ \n").split()
            said.append(
                run(environment / "bin" / command[0], *command[1:], folder=project, PATH=path)
            )
    assert "PASS=1 WARN=0 ERROR=0" in said[0]
    assert said[1] == "[{'id': 0, 'amount': 0}, {'id': 1, 'amount': 10}, {'id': 2, 'amount': 20}]\n"
    installed = run(uv, "pip", "list", "--python", environment, folder=tmp_path)
    found = set(re.findall(r"^(floe-\S+|dagster\S*)", installed, re.MULTILINE))
    assert found == {"floe-core", "floe-iceberg"}
