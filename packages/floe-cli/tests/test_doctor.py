"""`floe doctor` says what is there and what is missing, and what to type about it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pytest

from floe_core.layout import Layout
from floe_testing.cli import normalise, run_floe

INSTALLATION = """\
Installation
  ok       Python <version>
  ok       floe <version>: <packages>
  ok       dagster <version>
  ok       dbt-core <version>
  ok       dbt-duckdb <version>
  ok       duckdb <version>
  ok       pyiceberg <version>
  ok       <number> other packages that floe needs
  ok       <number> plugins can be used
  ok       git

"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    (folder / ".git").mkdir()
    monkeypatch.chdir(folder)
    return folder


def doctor(*arguments: str, exit_code: int = 0) -> str:
    """What it says, without versions and sizes."""
    result = run_floe("doctor", *arguments)
    assert result.stderr == ""
    assert result.exit_code == exit_code, result.stdout
    text = normalise(result.stdout, Path.cwd())
    text = re.sub(r"\d+\.\d+ GiB", "<size> GiB", text)
    text = re.sub(r"\d+ other packages", "<number> other packages", text)
    text = re.sub(
        r"(?<=floe )[0-9.]+: dbt-duckdb-iceberg, floe-cli,.*", "<version>: <packages>", text
    )
    text = re.sub(r"(?<=`duckdb`\? )installed: .*", "<installed>", text)
    text = re.sub(r"\d+ plugins", "<number> plugins", text)
    text = re.sub(r"(dagster|dbt-\w+|duckdb|pyiceberg|Python) \d+(\.\d+)+", r"\1 <version>", text)
    return re.sub(r"process \d+", "process <pid>", text)


def about_product(*arguments: str, exit_code: int = 0) -> str:
    """What it says of the product."""
    text = doctor(*arguments, exit_code=exit_code)
    assert text.startswith(INSTALLATION)
    return text.removeprefix(INSTALLATION)


def statuses(*arguments: str) -> Iterator[tuple[str, str, str | None]]:
    for section in json.loads(run_floe("doctor", "-o", "json", *arguments).stdout)["sections"]:
        for check in section["checks"]:
            yield check["status"], check["message"], check["mend"]


def test_outside_of_a_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor() == INSTALLATION + dedent("""\
        Files
          warning  there is no floe.yaml in this folder or above it
                   > floe init shop

        1 warning
        """)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_named_must_hold_a_product(tmp_path: Path) -> None:
    assert run_floe("doctor", "-C", str(tmp_path)).exit_code == 2


def test_a_new_product(shop: Path) -> None:
    assert about_product() == dedent("""\
        Files
          ok       product shop, in floe.yaml
          ok       the environment is local, category non_production (the platform file)
          ok       the platform file is platform.yaml: the first file for any environment
          ok       the files are valid

        Engine
          ok       compute `default` is duckdb, with dbt-duckdb <version>

        dbt projects
          ok       dbt (shop)

        State
          warning  the product has not been compiled
                   > floe compile
          ok       .floe can be written to
          ok       <size> GiB of disk are free

        1 warning
        """)
    assert not (shop / ".floe/artifacts.json").exists()


def test_a_compiled_product(shop: Path) -> None:
    assert run_floe("compile", "--vars", "{a: 1}").exit_code == 0
    up_to_date = ".floe/artifacts.json is compiled for environment local, and up to date"
    assert ("ok", up_to_date, None) in statuses()
    model = shop / "dbt/models/customers.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    older = ".floe/artifacts.json is compiled for environment local, and older than the files"
    assert ("warning", older, "floe compile") in statuses()


def test_a_broken_product(shop: Path) -> None:
    platform = shop / "platform.yaml"
    platform.write_text(platform.read_text().replace("type: duckdb", "type: duckbd"))
    (shop / "floe.yaml").write_text((shop / "floe.yaml").read_text() + "colour: red\n")
    shutil.rmtree(shop / ".floe")
    (shop / ".floe").write_text("")
    assert about_product("--env", "local", exit_code=3) == dedent("""\
        Files
          ok       product shop, in floe.yaml
          ok       the environment is local (`--env`)
          ok       the platform file is platform.yaml: the first file for any environment
          problem  the files are not valid: 2 errors
                   > floe validate --env local

        Engine
          problem  no adapter for `duckbd`
                   > did you mean `duckdb`? <installed>

        State
          warning  the product has not been compiled
                   > floe compile --env local
          problem  .floe is in the place of a folder
                   > rm .floe
          ok       <size> GiB of disk are free

        3 problems, 1 warning
        """)


def test_an_environment_without_a_platform_file(shop: Path) -> None:
    (shop / "platform.yaml").unlink()
    text = doctor("--env", "prod", "-v", exit_code=3)
    assert (
        """
  problem  there is no platform.yaml for environment prod
           > write platform/prod/platform.yaml, or name one with `--platform`
             not there: platform/prod/platform.yaml
             not there: prod/platform.yaml
             not there: platform.yaml
             not there: manifest.yaml
             not there: /etc/floe/platform.yaml
"""
        in text
    )
    assert "the built-in platform is used" in about_product()


POSTGRES = """\
environment: dev
compute:
  default:
    type: postgres
    properties: {host: 127.0.0.1, port: 1, dbname: shop}
    credentials:
      mode: static
      username: {secret_ref: pg, key: user}
      password: {secret_ref: pg, key: password}
"""


@pytest.fixture
def on_postgres(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shop / "platform/dev"
    folder.mkdir(parents=True)
    (folder / "platform.yaml").write_text(POSTGRES)
    monkeypatch.setenv("PG_USER", "canary-user")
    return shop


def test_secrets_are_named_and_not_shown(
    on_postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(statuses("--env", "dev"))
    assert ("ok", "pg/user is found", None) in found
    (missing,) = [check for check in found if check[0] == "problem"]
    assert missing[1].startswith("secret not found: pg/password (looked in: environment variable")
    assert missing[2] == "Set one of the variables named above, or mount the secret as a file."
    monkeypatch.setenv("PG", '{"password": "canary-password"}')
    result = run_floe("doctor", "--env", "dev", "-v", "-o", "json")
    assert result.exit_code == 0
    assert "pg/password is found" in result.stdout
    assert "canary" not in result.stdout + result.stderr


def test_a_missing_secret_of_telemetry_is_no_problem(on_postgres: Path) -> None:
    platform = on_postgres / "platform/dev/platform.yaml"
    headers = "{authorization: {secret_ref: otel/token}}"
    platform.write_text(f"{POSTGRES}observability: {{tracing: {{headers: {headers}}}}}\n")
    (found,) = [check for check in statuses("--env", "dev") if "otel/token" in check[1]]
    assert found[0] == "warning"


def test_what_a_backend_lacks_is_said_without_asking_it(
    on_postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = on_postgres / "platform/dev/platform.yaml"
    platform.write_text(POSTGRES + "security: {secret_backends: [env, vault]}\n")
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    assert (
        "problem",
        "pg/password is not on this machine, and the secret backend `vault` does not know its "
        "server: VAULT_ADDR is not set",
        "Set VAULT_ADDR, such as `https://vault.example.com:8200`.",
    ) in statuses("--env", "dev")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert (
        "warning",
        "pg/password is not on this machine; a run asks vault for it",
        "floe doctor --connect   (asks them)",
    ) in statuses("--env", "dev")
    shown = run_floe("doctor", "--env", "dev", "-v").stdout
    assert "`password` of secret/pg of Vault at http://127.0.0.1:1" in shown


def test_the_engine_is_asked_when_that_is_wanted(
    on_postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ("ok", "duckdb answers", None) in statuses("--connect")
    answer = "catalog `default` is sql, answers and has 0 namespaces"
    assert ("ok", answer, None) in statuses("--connect")
    monkeypatch.setenv("PG_PASSWORD", "canary-password")
    problems = [check for check in statuses("--env", "dev", "--connect") if check[0] == "problem"]
    assert len(problems) == 1
    assert "127.0.0.1" in problems[0][1]
    assert "canary" not in str(problems)
    assert not [check for check in statuses("--env", "dev") if check[0] == "problem"]


def test_packages_that_are_not_fetched(shop: Path) -> None:
    (shop / "dbt/packages.yml").write_text("packages: [{local: ../other}]\n")
    message = "dbt (shop) declares 1 packages; some are not installed"
    assert ("problem", message, "floe deps") in statuses()


@pytest.mark.parametrize(
    ("value", "message", "mend"),
    [
        ("here", "DAGSTER_HOME is here, but Dagster takes absolute paths alone", "export"),
        ("/no/such", "DAGSTER_HOME is /no/such, which does not exist", "mkdir -p /no/such"),
    ],
)
def test_a_dagster_home_of_the_users_own(
    value: str, message: str, mend: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", value)
    (problem,) = [check for check in statuses() if check[0] == "problem"]
    assert problem[1] == message
    assert problem[2] is not None
    assert problem[2].startswith(mend)


def test_runs_at_work_and_killed_ones(shop: Path) -> None:
    from floe_dagster.lock import hold

    layout = Layout(shop)
    layout.prepare()
    with hold(layout, "local", command="floe run"):
        note = layout.lock("local").with_suffix(".json").read_bytes()
        assert "ok       a run is at work: process <pid> (`floe run`, since" in doctor()
    assert "a run" not in doctor()
    layout.lock("local").with_suffix(".json").write_bytes(note)
    killed = about_product()
    assert "warning  a run was killed: process <pid> (`floe run`, since" in killed
    assert "> floe run --failed\n" in killed


def install(folder: Path, name: str, metadata: str, entry_points: str = "") -> None:
    """What an installer leaves of a distribution, as far as it is looked at."""
    info = folder / f"{name.replace('-', '_')}-9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\n{metadata}")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.mark.parametrize(
    ("name", "metadata", "message"),
    [
        (
            "floe-core",
            "Version: 0.1.0a1\nAuthor: Somebody\n",
            "floe-core 0.1.0a1 is another project's package of the same name",
        ),
        (
            "floe-dbt",
            "Version: 7.0.0\nAuthor: The floe authors\n",
            f"floe-dbt is 7.0.0, but floe is {version('floe-core')}",
        ),
        ("duckdb", "Version: 0.1.0\n", "duckdb is 0.1.0; floe needs <1.6,>=1.5.5"),
    ],
)
def test_a_wrong_package(
    name: str, metadata: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", name, metadata)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.chdir(tmp_path)
    (problem,) = [check for check in statuses() if check[0] == "problem"]
    assert problem[1] == message
    assert problem[2] is not None
    assert problem[2].startswith("pip install ")


def test_a_plugin_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[floe.targets]\nsnow = no_such_module:Target\n"
    install(tmp_path / "site", "floe-snow", "Version: 1\n", points)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.chdir(tmp_path)
    (problem,) = [check for check in statuses() if check[0] == "problem"]
    assert problem == (
        "problem",
        "plugin `snow` of `floe.targets` cannot be used: "
        "ModuleNotFoundError: No module named 'no_such_module'",
        "pip uninstall floe-snow, or install another version of it",
    )


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.devnull)
    assert "git is not on PATH" in doctor()
