"""`floe diff --against COMMIT` in real repositories: right, and without a trace."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe_testing.cli import FloeResult, run_floe

PLATFORM = "environment: dev\ncompute: {default: {type: duckdb, properties: {threads: 2}}}\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.test")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def shop(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A product two folders below the top of its repository, with the platform at the top."""
    top = tmp_path / "repository"
    folder = top / "products" / "shop"
    (top / "platform" / "dev").mkdir(parents=True)
    (top / "platform" / "dev" / "platform.yaml").write_text(PLATFORM)
    (top / ".gitignore").write_text("dbt_packages/\nlogs/\n")
    assert run_floe("init", str(folder)).exit_code == 0
    git(top, "init", "--quiet", "--initial-branch", "main")
    commit(top)
    monkeypatch.chdir(folder)
    yield folder
    assert list(scratch.iterdir()) == []


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def diff(*arguments: str) -> FloeResult:
    return run_floe("diff", "--env", "dev", *arguments)


def test_an_unchanged_product_does_not_differ(shop: Path) -> None:
    result = diff("--against", "HEAD")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "Nothing differs between commit HEAD and the files now.\n"


def test_the_platform_of_the_commit_counts(shop: Path) -> None:
    change(shop.parents[1] / "platform" / "dev" / "platform.yaml", "threads: 2", "threads: 6")
    result = diff("--against", "main")
    assert "  ~ properties.threads: 2 -> 6\n" in result.stdout
    assert result.exit_code == 1


@pytest.mark.integration
def test_a_platform_file_of_the_repository_is_the_commits(shop: Path) -> None:
    file = shop.parents[1] / "platform" / "dev" / "platform.yaml"
    change(file, "threads: 2", "threads: 6")
    result = diff("--against", "main", "--platform", str(file))
    assert "  ~ properties.threads: 2 -> 6\n" in result.stdout


@pytest.mark.integration
def test_the_repository_stays_as_it_is(shop: Path) -> None:
    change(shop / "dbt" / "models" / "customers.sql", "select", "select --\n")
    (shop / "new.txt").write_text("staged")
    git(shop, "add", "new.txt")
    dot_git = shop.parents[1] / ".git"
    before = {path: path.read_bytes() for path in dot_git.rglob("*") if path.is_file()}
    assert diff("--against", "HEAD").exit_code == 1
    after = {path: path.read_bytes() for path in dot_git.rglob("*") if path.is_file()}
    assert before == after
    assert not (shop / ".floe" / "artifacts.json").exists()


def test_a_broken_commit_is_shown_as_git_names_it(shop: Path) -> None:
    change(shop / "floe.yaml", "cron", "crom")
    commit(shop)
    change(shop / "floe.yaml", "crom", "cron")
    result = diff("--against", "HEAD")
    assert result.exit_code == 3
    assert result.stderr.startswith(
        "In commit HEAD:\nHEAD:products/shop/floe.yaml:11:27: error[FLOE-S001]"
    )


def test_a_commit_before_the_product(shop: Path, tmp_path: Path) -> None:
    top = shop.parents[1]
    empty = git(top, "hash-object", "-t", "tree", "/dev/null").strip()
    git(top, "tag", "empty", git(top, "commit-tree", "-m", "nothing", empty).strip())
    result = diff("--against", "empty")
    assert result.exit_code == 2
    assert "commit `empty` has no products/shop/floe.yaml" in result.stderr


def test_outside_a_repository(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_floe("init", str(tmp_path / "alone")).exit_code == 0
    monkeypatch.chdir(tmp_path / "alone")
    result = run_floe("diff", "--against", "HEAD")
    assert result.exit_code == 2
    assert "`HEAD` is no file, and no commit" in result.stderr


def add_package(shop: Path) -> None:
    """A package beside the product that gives it a macro."""
    macros = shop / "shared" / "macros"
    macros.mkdir(parents=True)
    (macros.parent / "dbt_project.yml").write_text("name: shared\nversion: '1.0.0'\n")
    (macros / "one.sql").write_text("{% macro one() %}1{% endmacro %}\n")
    (shop / "dbt" / "packages.yml").write_text("packages:\n  - local: ../shared\n")
    (shop / "dbt" / "models" / "one.sql").write_text("select {{ shared.one() }} as x")


@pytest.mark.integration
def test_installed_packages_are_used_for_the_commit(shop: Path) -> None:
    add_package(shop)
    assert run_floe("deps", "--env", "dev").exit_code == 0
    commit(shop)
    change(shop / "shared" / "macros" / "one.sql", "%}1{%", "%}2{%")
    result = diff("--against", "HEAD")
    assert "\nmacros\n  ~ package shared: code changed\n" in result.stdout, result.stderr
    assert result.exit_code == 1


@pytest.mark.integration
def test_a_package_that_comes_is_told_without_its_hash(shop: Path) -> None:
    add_package(shop)
    assert run_floe("deps", "--env", "dev").exit_code == 0
    result = diff("--against", "HEAD")
    assert "\nmacros\n  + package shared\n" in result.stdout, result.stderr


def test_other_packages_need_a_network(shop: Path) -> None:
    add_package(shop)
    assert run_floe("deps", "--env", "dev").exit_code == 0
    commit(shop)
    (shop / "dbt" / "packages.yml").unlink()
    (shop / "dbt" / "models" / "one.sql").unlink()
    result = diff("--against", "HEAD")
    assert result.exit_code == 3
    assert result.stderr == (
        "In commit HEAD:\n"
        "HEAD:products/shop/dbt: error[FLOE-D003] the packages of this project cannot be had "
        "without a network: it declares other packages than here\n"
        "  help: compile it elsewhere: `git worktree add ../before HEAD`, there `floe deps` and "
        "`floe compile`,\n"
        "        then here `floe diff --against` with its .floe/artifacts.json\n"
        "\n"
        "1 error\n"
    )
