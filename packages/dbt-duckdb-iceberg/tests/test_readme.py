"""The README says what is tested, and its profile is one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

from dbt.adapters.duckdb_iceberg.credentials import IcebergCredentials

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
_, PASSED, LEFT_OUT, _ = re.split(r"\| about \||\| left out \||## Dependencies", README)


def suites(text: str) -> list[str]:
    return re.findall(r"`(Base\w+|\w+Base)`", text)


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
    text = README.split("```yaml")[1].split("```")[0]
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
