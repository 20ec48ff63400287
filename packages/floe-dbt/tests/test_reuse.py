"""A copy of a project uses the packages that are installed for the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from floe_dbt.project import read, reuse_packages

PROJECT = {"dbt_project.yml": "name: shop\n"}
HUB = "packages: [{package: acme/tools, version: 1.0.0}]\n"
LOCK = "packages: [{package: acme/tools, version: 1.0.0}]\nsha1_hash: abc\n"
INSTALLED = {"dbt_packages/tools/dbt_project.yml": "name: tools\n"}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_packages_are_linked(tmp_path: Path) -> None:
    declared = {**PROJECT, "packages.yml": HUB, "package-lock.yml": LOCK}
    here = write(tmp_path / "here", {**declared, **INSTALLED})
    there = write(tmp_path / "there", declared)
    assert reuse_packages(there, here) is None
    assert [package.name for package in read(there).installed()] == ["tools"]
    assert (there / "dbt_packages" / "tools").resolve() == here / "dbt_packages" / "tools"


def test_a_local_package_is_that_of_the_copy(tmp_path: Path) -> None:
    declared = {**PROJECT, "packages.yml": "packages: [{local: ../tools}]\n"}
    tools = {"dbt_project.yml": "name: tools\n"}
    for name in ("here", "there"):
        write(tmp_path / name / "shop", declared)
        write(tmp_path / name / "tools", tools)
    packages = tmp_path / "here" / "shop" / "dbt_packages"
    packages.mkdir()
    (packages / "tools").symlink_to(tmp_path / "here" / "tools")
    there = tmp_path / "there" / "shop"
    assert reuse_packages(there, tmp_path / "here" / "shop") is None
    assert (there / "dbt_packages" / "tools").resolve() == tmp_path / "there" / "tools"


@pytest.mark.parametrize(
    ("here", "there", "problem"),
    [
        ({}, {}, None),
        ({"packages.yml": HUB}, {}, None),
        ({}, {"packages.yml": HUB}, "it declares other packages than here"),
        (
            {"packages.yml": HUB, "package-lock.yml": LOCK},
            {"packages.yml": HUB},
            "its package-lock.yml is another than here",
        ),
        ({"packages.yml": HUB}, {"packages.yml": HUB}, "its packages are not installed here"),
        ({}, {"packages.yml": HUB, **INSTALLED}, None),
    ],
)
def test_when_it_cannot_be(
    here: Mapping[str, str], there: Mapping[str, str], problem: str | None, tmp_path: Path
) -> None:
    ours = write(tmp_path / "here", {**PROJECT, **here})
    copy = write(tmp_path / "there", {**PROJECT, **there})
    assert reuse_packages(copy, ours) == problem


def test_a_project_that_is_no_longer_here(tmp_path: Path) -> None:
    copy = write(tmp_path / "there", {**PROJECT, "packages.yml": HUB})
    assert reuse_packages(copy, tmp_path / "gone") == "it does not exist here"
