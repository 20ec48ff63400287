"""Compiling is pure: no network, no credentials, equal bytes for equal inputs, only `.floe`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from floe_core import compile_pipeline
from floe_core.errors import CompileError
from floe_testing.cli import run_floe

EPOCH = "1767225600"
OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
sys.argv = ["floe", "compile", "--output", "json"]
from floe_cli.main import main
main()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "one" / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    return folder


def generated(folder: Path) -> dict[str, bytes]:
    names = ("artifacts.json", "local/profiles.yml", "local/index.json")
    return {name: (folder / ".floe" / name).read_bytes() for name in names}


def test_two_folders_give_equal_bytes(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    elsewhere = tmp_path / "somewhere" / "quite" / "different" / "shop"
    assert run_floe("init", str(elsewhere)).exit_code == 0
    for folder in (shop, elsewhere):
        (folder / "dbt/models/sources.yml").write_text(
            "sources:\n  - name: files\n    config:\n      meta:\n"
            "        external_location: \"{{ env_var('FLOE_PROJECT_DIR') }}/{name}.csv\"\n"
            "    tables: [{name: orders}]\n"
        )
        compile_pipeline(folder / "floe.yaml")
    first, second = generated(shop), generated(elsewhere)
    assert first == second
    assert not any(str(tmp_path).encode() in content for content in first.values())
    assert json.loads(first["artifacts.json"])["metadata"]["compiled_at"] == "2026-01-01T00:00:00Z"


def test_compile_needs_no_network_and_no_credentials(shop: Path) -> None:
    password = "{secret_ref: nowhere, key: password}"
    (shop / "platform.yaml").write_text(
        "compute: {default: {type: postgres, properties: {host: db.invalid, dbname: d, schema: s},"
        f" credentials: {{mode: static, username: me, password: {password}}}}}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        cwd=shop,
        env={"HOME": str(shop), "PATH": os.defpath},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["is_changed"] is True


def append(name: str, text: str) -> Callable[[Path], dict[str, object]]:
    def change(folder: Path) -> dict[str, object]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)
        return {}

    return change


CHANGES: dict[str, Callable[[Path], dict[str, object]]] = {
    "floe.yaml": append("floe.yaml", "# a comment\n"),
    "platform.yaml": append("platform.yaml", "# a comment\n"),
    "a model": append("dbt/models/customers.sql", "-- a comment\n"),
    "a seed": append("dbt/seeds/raw_orders.csv", "11,ada,2026-01-09 10:00:00,100,completed\n"),
    "dbt_project.yml": append("dbt/dbt_project.yml", "vars: {x: 1}\n"),
    "a macro": append("dbt/macros/one.sql", "{% macro one() %}1{% endmacro %}\n"),
    "properties": append("dbt/models/models.yml", "# a comment\n"),
    "vars": lambda folder: {"vars": {"x": 1}},
    "packages.yml": append("dbt/packages.yml", "packages: []\n"),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("hash") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    return folder, compile_pipeline(folder / "floe.yaml").artifacts.metadata.source_hash


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_input_changes_the_source_hash(
    name: str, compiled: tuple[Path, str]
) -> None:
    folder, _ = compiled
    before = compile_pipeline(folder / "floe.yaml").artifacts.metadata.source_hash
    options = CHANGES[name](folder)
    after = compile_pipeline(folder / "floe.yaml", **options)  # type: ignore[arg-type]
    assert after.is_changed
    assert after.artifacts.metadata.source_hash != before


def test_the_environment_is_part_of_the_source_hash(shop: Path) -> None:
    (shop / "platform.yaml").write_text("compute: {default: {type: duckdb}}\n")
    hashes = {
        compile_pipeline(shop / "floe.yaml", environment=name).artifacts.metadata.source_hash
        for name in ("one", "two")
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", ".floe/data/local/warehouse"),
        ("storage: {default: {type: local, path: lake}}\n", "../lake"),
    ],
)
def test_only_paths_of_the_file_are_relative_to_the_file(
    written: str, path: str, shop: Path
) -> None:
    (shop / "platform.yaml").unlink()
    (shop.parent / "platform.yaml").write_text(f'version: "1.1.0"\nname: laptop\n{written}')
    profiles = compile_pipeline(shop / "floe.yaml").artifacts.profiles
    assert profiles
    assert profiles.storage
    assert profiles.storage.profile.model_dump() == {"type": "local", "path": path}


def test_nothing_changed_parses_nothing_and_keeps_the_file(shop: Path) -> None:
    first = compile_pipeline(shop / "floe.yaml")
    (shop / ".floe/local/target/dbt@local/perf_info.json").write_text("{}")
    (shop / "dbt/target").mkdir()
    (shop / "dbt/target/manifest.json").write_text("{}")
    before = (shop / ".floe/artifacts.json").stat().st_mtime_ns
    second = compile_pipeline(shop / "floe.yaml")
    assert (first.parsed, second.parsed) == (("dbt",), ())
    assert not second.is_changed
    assert (shop / ".floe/artifacts.json").stat().st_mtime_ns == before


def test_only_floe_s_own_folder_is_written_to(shop: Path) -> None:
    def files() -> dict[str, bytes]:
        paths = (path for path in shop.rglob("*") if path.is_file())
        return {
            str(path.relative_to(shop)): path.read_bytes()
            for path in paths
            if path.relative_to(shop).parts[0] != ".floe"
        }

    before = files()
    compile_pipeline(shop / "floe.yaml")
    assert files() == before


def test_a_failed_compile_leaves_the_previous_artifacts(shop: Path) -> None:
    compile_pipeline(shop / "floe.yaml")
    before = generated(shop)
    (shop / "dbt/models/customers.sql").write_text("select {{ ref('nothing') }}")
    with pytest.raises(CompileError) as refused:
        compile_pipeline(shop / "floe.yaml")
    assert [diagnostic.code for diagnostic in refused.value.diagnostics] == ["FLOE-D001"]
    assert generated(shop) == before


def test_damaged_generated_files_are_written_anew(shop: Path) -> None:
    compile_pipeline(shop / "floe.yaml")
    before = generated(shop)
    for name in before:
        (shop / ".floe" / name).write_bytes(b'{"half": ')
    compile_pipeline(shop / "floe.yaml")
    after = generated(shop)
    for name in ("local/profiles.yml", "local/index.json"):
        assert after[name] == before[name]


def test_literal_secrets_in_vars_are_refused_from_python(shop: Path) -> None:
    with pytest.raises(CompileError) as refused:
        compile_pipeline(shop / "floe.yaml", vars={"db": {"password": "hunter2"}})
    [diagnostic] = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.field) == ("FLOE-X001", "vars.db.password")
    assert "hunter2" not in str(refused.value)
