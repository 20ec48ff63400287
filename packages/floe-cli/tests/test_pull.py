"""`floe pull`, and what works from the artifacts that it fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floe_client import client as client_module
from floe_testing.cli import run_floe
from floe_testing.control_plane import (
    API_KEY,
    Answer,
    ControlPlane,
    artifacts,
    control_plane,
    on_duckdb,
    serving,
)

PLATFORM = """\
control_plane:
  api_url: {url}
  environments: {{preview: env-uuid-789, staging: env-uuid-790}}
"""
ENVIRONMENT = "env-uuid-789"
EXAMPLE = json.dumps(artifacts()).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[ControlPlane]:
    with control_plane() as running:
        yield running


@pytest.fixture
def shop(server: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A product whose platform names the server; its files never hold the key in the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOE_API_KEY", API_KEY)
    assert run_floe("init", "shop").exit_code == 0
    root = tmp_path / "shop"
    (root / "platform.yaml").write_text(PLATFORM.format(url=server.url))
    monkeypatch.chdir(root)
    server.requests.clear()
    serve(server, on_duckdb())
    yield root
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and has_key(path)]
    assert holders == []


def has_key(path: Path) -> bool:
    return API_KEY.encode() in path.read_bytes()


def serve(server: ControlPlane, document: Any) -> None:
    server.script = serving({ENVIRONMENT: document})


def floe(server: ControlPlane, folder: Path, *arguments: str) -> str:
    """All that a command says, and its exit code; never the key."""
    result = run_floe(*arguments)
    assert API_KEY not in result.stdout + result.stderr
    return result.transcript(folder).replace(server.url.removeprefix("http://"), "<host>")


PULLED = """\
exit code: 0
--- stdout
Pulled my-project for environment preview:
  product         my-project
  environment     preview
  environment_id  env-uuid-789
  compute         duckdb
  version         1.0.0
  compiled_at     <time>
  source_hash     abc123def456
  origin          pulled
  .floe/artifacts.json
--- stderr
Next: floe run
"""


def test_pull_again_and_back(server: ControlPlane, shop: Path) -> None:
    assert floe(server, shop, "pull", "--env", "preview") == PULLED
    assert (
        floe(server, shop, "pull", "--env", "preview")
        == """\
exit code: 0
--- stdout
Not modified: my-project for environment preview is as it was.
  .floe/artifacts.json
--- stderr
Next: floe run
"""
    )
    serve(server, artifacts())
    assert (
        floe(server, shop, "pull", "--env", "preview")
        == """\
exit code: 0
--- stdout
Pulled my-project for environment preview:
  product         my-project
  environment     preview
  environment_id  env-uuid-789
  compute         snowflake (was duckdb)
  version         1.0.0
  compiled_at     <time>
  source_hash     abc123def456
  origin          pulled
  .floe/artifacts.json
--- stderr
Next: floe run
"""
    )
    assert "compute         duckdb (was snowflake)" in floe(server, shop, "pull", "--rollback")
    assert "compute         snowflake (was duckdb)" in floe(server, shop, "pull", "-e", "preview")


def test_clean_keeps_what_cannot_be_generated(server: ControlPlane, shop: Path) -> None:
    floe(server, shop, "pull", "--env", "preview")
    pulled = (shop / ".floe" / "artifacts.json").read_bytes()
    assert run_floe("clean").exit_code == 0
    assert (shop / ".floe" / "artifacts.json").read_bytes() == pulled
    assert "Not modified" in floe(server, shop, "pull", "--env", "preview")
    assert run_floe("clean", "--data", "--yes").exit_code == 0
    assert not (shop / ".floe" / "artifacts.json").exists()


def test_json(server: ControlPlane, shop: Path) -> None:
    first = json.loads(run_floe("pull", "--env", "preview", "--output", "json").stdout)
    now = {
        "product": "my-project",
        "environment": "preview",
        "environment_id": "env-uuid-789",
        "compute": "duckdb",
        "version": "1.0.0",
        "compiled_at": "2024-12-10T10:30:00+00:00",
        "source_hash": "abc123def456",
        "origin": "pulled",
    }
    same = {"ok": True, "artifacts": ".floe/artifacts.json", **now}
    assert first == {**same, "is_changed": True, "before": None}
    second = json.loads(run_floe("pull", "--env", "preview", "-o", "json").stdout)
    assert second == {**same, "is_changed": False, "before": now}


@pytest.mark.parametrize(
    ("options", "file", "is_json"),
    [
        (["--output", "prod.json"], "prod.json", False),
        (["-o", "deep/prod", "-o", "json"], "deep/prod", True),
        (["-o", "json", "-o", "./json"], "json", True),
        (["-o", "json", "-o", "text", "-o", "x"], "x", False),
    ],
)
def test_into_a_file(
    server: ControlPlane, shop: Path, options: list[str], file: str, is_json: bool
) -> None:
    result = run_floe("pull", "--env", "preview", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads((shop / file).read_text())["version"] == "1.0.0"
    assert not (shop / ".floe/artifacts.json").exists()
    assert result.stdout.startswith("{") is is_json
    assert file.removeprefix("./") in result.stdout


def failure(code: int, error: str, help: str | None = None) -> str:
    lines = [f"exit code: {code}", "--- stderr", f"error: {error}"]
    return "\n".join([*lines, *([f"  help: {help}"] if help else [])]) + "\n"


NOT_JSON = "the answer of the control plane at <host> is not JSON: "


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param(
            [Answer(401)],
            failure(
                3,
                "the control plane at <host> does not know the API key (401)",
                "The key is in the variable FLOE_API_KEY.",
            ),
            id="401",
        ),
        pytest.param(
            [Answer(403)],
            failure(
                3,
                "the API key may not read this environment at <host> (403)",
                "The key is in the variable FLOE_API_KEY.",
            ),
            id="403",
        ),
        pytest.param(
            [Answer(404, b"<h1>floe_ak</h1>")],
            failure(
                2,
                "the control plane at <host> has no artifacts of `preview` (404)",
                "`control_plane.environments` says that `preview` is `env-uuid-789` there.",
            ),
            id="404",
        ),
        pytest.param(
            [Answer(418)], failure(3, "the control plane at <host> answers 418"), id="418"
        ),
        pytest.param(
            [Answer(500)], failure(5, "the control plane at <host> answers 500"), id="500 forever"
        ),
        pytest.param([Answer(500), Answer(200, EXAMPLE)], PULLED, id="500 then 200"),
        pytest.param(
            [Answer(429, headers={"Retry-After": "1"}), Answer(200, EXAMPLE)],
            PULLED,
            id="429 with Retry-After",
        ),
        pytest.param(
            [Answer(429, headers={"Retry-After": "120"})],
            failure(5, "the control plane at <host> answers 429, and asks to wait 120 s"),
            id="429 for long",
        ),
        pytest.param(
            [Answer(302, headers={"Location": "https://evil.example.com/a"})],
            failure(
                3,
                "the control plane at <host> redirects to https://evil.example.com, and the API "
                "key is not sent there",
                "If that is where it is now, write it as `control_plane.api_url`.",
            ),
            id="redirect",
        ),
        pytest.param(
            [Answer(200, EXAMPLE, seconds=600)],
            failure(5, "the control plane at <host> did not answer within 2 s"),
            id="hangs",
        ),
        pytest.param(
            [Answer(200, EXAMPLE, drip=0.05)],
            failure(5, "the control plane at <host> did not answer within 2 s"),
            id="drips",
        ),
        pytest.param(
            [Answer(200, EXAMPLE[:500], length=len(EXAMPLE))],
            failure(5, "the answer of the control plane at <host> broke off"),
            id="truncated",
        ),
        pytest.param(
            [Answer(200, b"<html>")],
            failure(
                3,
                NOT_JSON + "unexpected character, expected a JSON value: line 1 column 1 (char 0)",
                "Nothing was replaced.",
            ),
            id="not JSON",
        ),
        pytest.param(
            [Answer(200, json.dumps(artifacts(version="2.0.0")).encode())],
            failure(
                3,
                "the answer of the control plane at <host> is of artifacts version 2.0.0; "
                "this floe reads 1.x (up to 1.1.0)",
                "Nothing was replaced.",
            ),
            id="another major version",
        ),
        pytest.param(
            [Answer(200, b'{"key": "' + API_KEY.encode() + b'"}')],
            failure(
                3,
                "the answer of the control plane at <host> holds the API key, so it is not "
                "written anywhere",
            ),
            id="the key in the answer",
        ),
    ],
)
def test_answers(
    server: ControlPlane,
    shop: Path,
    answers: list[Answer],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if answers[0].seconds or answers[0].drip:
        monkeypatch.setattr(client_module, "DEADLINE_SECONDS", 2.0)
    server.answer(*answers)
    expected = expected.replace("duckdb", "snowflake")
    assert floe(server, shop, "pull", "--env", "preview") == expected
    assert (shop / ".floe/artifacts.json").exists() is (expected.startswith("exit code: 0"))


def test_a_newer_minor_version(server: ControlPlane, shop: Path) -> None:
    serve(server, on_duckdb(version="1.9.0", heat={"max": 3}))
    said = floe(server, shop, "pull", "--env", "preview")
    assert said.startswith("exit code: 0\n")
    assert said.endswith(
        "--- stderr\n"
        "warning: the answer of the control plane at <host> is of artifacts version 1.9.0, newer "
        "than 1.1.0: fields that this floe does not know are ignored\n"
        "Next: floe run\n"
    )
    assert json.loads((shop / ".floe/artifacts.json").read_text())["heat"] == {"max": 3}
    dry_run = floe(server, shop, "run", "--dry-run")
    assert dry_run.count("is of artifacts version 1.9.0, newer than 1.1.0") == 1


@pytest.mark.parametrize(
    ("environment", "help"),
    [
        ("previw", "`previw` was taken as its id: did you mean `preview`? names: "),
        ("00-11/22 é", "`00-11/22 é` was taken as its id: names: "),
    ],
)
def test_an_environment_that_is_not_there(
    server: ControlPlane, shop: Path, environment: str, help: str
) -> None:
    assert floe(server, shop, "pull", "--env", environment) == failure(
        2,
        f"the control plane at <host> has no artifacts of `{environment}` (404)",
        f"{help}`preview`, `staging`",
    )


def test_an_id_is_an_environment_too(server: ControlPlane, shop: Path) -> None:
    assert floe(server, shop, "pull", "--env", ENVIRONMENT) == PULLED


def test_the_environment_from_the_variable(
    server: ControlPlane, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOE_ENV", "preview")
    assert floe(server, shop, "pull") == PULLED


NEEDS_ENV = failure(
    2, "`floe pull` needs the environment to fetch", "Write it: `floe pull --env NAME`."
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], NEEDS_ENV),
        (
            ["--rollback"],
            failure(
                2,
                "there are no earlier artifacts to go back to",
                "`floe pull` keeps the artifacts that it replaces, one version back.",
            ),
        ),
        (
            ["--rollback", "--env", "preview"],
            failure(2, "`--rollback` fetches nothing, so it goes with neither `--env` nor a file"),
        ),
        (
            ["--env", "preview", "-o", "a", "-o", "b"],
            failure(
                2, "`--output` takes one file, not 2", "`floe pull --help` shows what there is."
            ),
        ),
        (["--env", "preview", "-o", "dbt"], failure(2, "dbt is not a file")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(server: ControlPlane, shop: Path, arguments: list[str], expected: str) -> None:
    assert floe(server, shop, "pull", *arguments) == expected


def test_no_key(server: ControlPlane, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOE_API_KEY")
    assert floe(server, shop, "pull", "--env", "preview") == failure(
        3,
        "the variable FLOE_API_KEY, which holds the API key of the control plane, is not set",
        "Set it: `export FLOE_API_KEY=...`; `control_plane.api_key_env` names it.",
    )
    assert server.requests == []


HELP = (
    "Write `control_plane: {api_url: https://floe.example.com, api_key_env: FLOE_API_KEY}` in "
    "platform.yaml, with your address."
)


def test_no_control_plane(server: ControlPlane, shop: Path) -> None:
    (shop / "platform.yaml").write_text("name: lake\n")
    assert floe(server, shop, "pull", "--env", "preview") == failure(
        3, "no control plane is named in platform.yaml or floe.yaml", HELP
    )
    (shop / "platform.yaml").unlink()
    assert floe(server, shop, "pull", "--env", "preview") == failure(
        3, "no control plane is named in floe.yaml, and there is no platform.yaml", HELP
    )


def test_the_control_plane_of_the_product(
    server: ControlPlane, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "platform.yaml").unlink()
    section = f"control_plane: {{api_url: '{server.url}', api_key_env: SHOP_KEY}}\n"
    (shop / "floe.yaml").write_text((shop / "floe.yaml").read_text() + section)
    monkeypatch.setenv("SHOP_KEY", API_KEY)
    assert floe(server, shop, "pull", "--env", ENVIRONMENT) == PULLED


def test_a_mistake_in_the_platform(server: ControlPlane, shop: Path) -> None:
    (shop / "platform.yaml").write_text("control_plane: {api_ur: 'https://example.com'}\n")
    said = floe(server, shop, "pull", "--env", "preview")
    assert said.startswith("exit code: 3\n")
    assert "platform.yaml:1:17: error[FLOE-S001] `control_plane.api_ur`" in said


def test_a_key_in_clear_is_said(server: ControlPlane, shop: Path) -> None:
    (shop / "platform.yaml").write_text(
        "control_plane: {api_url: 'http://floe.invalid', api_key_env: FLOE_API_KEY}\n"
    )
    said = floe(server, shop, "pull", "--env", "preview")
    assert said.startswith(
        "exit code: 5\n--- stderr\n"
        "warning: floe.invalid is asked over http, so the API key crosses the network unencrypted; "
        "write `https://` in `control_plane.api_url`\n"
        "error: the control plane at floe.invalid cannot be reached: "
    )
    assert len(said.splitlines()) == 4


def test_run_query_and_list_work_from_what_was_pulled(server: ControlPlane, shop: Path) -> None:
    floe(server, shop, "pull", "--env", "preview")
    ran = run_floe("run")
    assert ran.exit_code == 0, ran.stderr
    notes = ran.stderr.splitlines()
    assert notes[0] == "The dbt project `/app` of the artifacts is not here: using `dbt`."
    assert notes[1] == "Running 12 nodes of my-project in environment preview."
    assert "Done: 4 built, 8 passed" in ran.stdout
    assert (shop / ".floe/data/preview/engine.duckdb").is_file()

    counted = run_floe("query", "select count(*) from customers", "-o", "csv")
    assert counted.stdout.splitlines()[1] == "4"
    listed = run_floe("list", "-o", "json")
    [transform] = json.loads(listed.stdout)["transforms"]
    assert (transform["name"], transform["project"]) == ("shop", "dbt")
    assert {node["last_status"] for node in transform["nodes"]} == {"success"}

    (shop / "dbt/models/more.sql").write_text("select 1 as one\n")
    assert "more" in run_floe("run", "--dry-run").stdout
    failed = run_floe("run", "--failed")
    assert failed.exit_code == 2

    compared = run_floe("diff", "--env", "local")
    assert "shop: from what was pulled to the files now" in compared.stdout
    assert floe(server, shop, "compile").endswith(
        "This replaces the artifacts that were pulled; `floe pull --rollback` brings them back.\n"
        "Next: floe run\n"
    )
    assert "environment local" in run_floe("list").stdout
    assert "environment     preview (was local)" in floe(server, shop, "pull", "--rollback")
    assert "my-project in environment preview" in run_floe("list").stdout


@pytest.mark.parametrize("command", [["run"], ["query", "select 1"], ["list"]])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--env", "dev"], "`--env`"),
        (["--platform", "platform.yaml", "--vars", "{a: 1}"], "`--platform` and `--vars`"),
    ],
)
def test_options_of_a_compile_change_nothing(
    server: ControlPlane, shop: Path, command: list[str], options: list[str], named: str
) -> None:
    floe(server, shop, "pull", "--env", "preview")
    assert floe(server, shop, *command, *options) == failure(
        2,
        f"{named} cannot change the artifacts that were pulled, which are compiled for "
        "environment preview",
        "Run `floe compile` with these options first, or leave them out.",
    )


def test_the_variable_names_another_environment(
    server: ControlPlane, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floe(server, shop, "pull", "--env", "preview")
    monkeypatch.setenv("FLOE_ENV", "dev")
    assert floe(server, shop, "run") == failure(
        2,
        "FLOE_ENV is `dev`, but the artifacts that were pulled are for environment preview",
        "Run `floe compile` for `dev` first, or unset FLOE_ENV.",
    )


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_named_artifacts(
    server: ControlPlane, shop: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They win over what was pulled; away from the project, a variable says where that is."""
    path = shop.parent / "mounted.json"
    document = on_duckdb()
    document["environment_context"]["environment_type"] = "../weird name"
    path.write_text(json.dumps(document))
    floe(server, shop, "pull", "--env", "preview")
    if where == "elsewhere":
        (shop.parent / "empty").mkdir()
        monkeypatch.chdir(shop.parent / "empty")
        monkeypatch.setenv("FLOE_PROJECT_DIR", str(shop))
    done = run_floe("run", "--artifacts", str(path), "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Would run 12 nodes of my-project in environment _.._weird_name")
    assert (shop / ".floe/_.._weird_name/profiles.yml").is_file()
    assert run_floe("run", "--artifacts", "nowhere.json").stderr == (
        "error: there are no artifacts at nowhere.json\n  help: Run `floe compile` first.\n"
    )


def test_production_asks(server: ControlPlane, shop: Path) -> None:
    document = on_duckdb()
    document["environment_context"]["governance_category"] = "production"
    serve(server, document)
    floe(server, shop, "pull", "--env", "preview")
    said = floe(server, shop, "run")
    assert said.startswith("exit code: 2\n")
    assert "error: environment preview is production, and there is no terminal to ask" in said


def test_an_engine_without_an_adapter(server: ControlPlane, shop: Path) -> None:
    serve(server, artifacts())
    floe(server, shop, "pull", "--env", "preview")
    assert floe(server, shop, "run") == (
        "exit code: 3\n--- stderr\n"
        "The dbt project `/app` of the artifacts is not here: using `dbt`.\n"
        "error: no adapter for `snowflake`, which the artifacts need: there is no compute target "
        "of that name here (installed: duckdb, postgres)\n"
        "  help: Install the adapter, `pip install dbt-snowflake`, and a package that registers "
        "`snowflake` under `floe.targets`.\n"
    )


def test_no_dbt_project_here(server: ControlPlane, shop: Path) -> None:
    (shop / "dbt").rename(shop.parent / "away")
    floe(server, shop, "pull", "--env", "preview")
    assert floe(server, shop, "run") == failure(
        3,
        "the artifacts name dbt project `/app`, which is not here, and no dbt project is in "
        "<folder>",
        "Go to the folder of the dbt project, or name it in the variable FLOE_PROJECT_DIR.",
    )
