"""`--output github` and `sarif`: what workflows and code scanning read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from floe_cli import sarif
from floe_cli.github import annotation, error
from floe_cli.output import asked_format
from floe_cli.repository import repository_path
from floe_core.diagnostics import Diagnostic, Position
from floe_core.errors import FloeError
from floe_testing.cli import FloeResult, run_floe

SCHEMA = json.loads((Path(__file__).parent / "sarif/sarif-schema-2.1.0.json").read_text())
ANNOTATION = re.compile(r"::(error|warning) [^\r\n]*::[^\r\n]*")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product two folders below the root of its repository."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "data products" / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    monkeypatch.chdir(folder)
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def line_of(shop: Path, start: str) -> int:
    lines = (shop / "floe.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(start))


def log_of(result: FloeResult) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(log, SCHEMA)
    run: dict[str, Any] = log["runs"][0]
    assert run["invocations"][0]["exitCode"] == result.exit_code
    return run


def test_an_annotation_for_each_problem(shop: Path) -> None:
    change(shop / "floe.yaml", "version:", "release:")
    result = run_floe("validate", "--output", "github")
    assert result.exit_code == 3
    assert result.stderr == ""
    missing, unknown, end = result.stdout.split("\n")
    assert missing.startswith(
        "::error file=data products/shop/floe.yaml,title=FLOE-S002"
        "::`version`: is required%0Ahelp: add `version:`"
    )
    line = line_of(shop, "release:")
    assert unknown.startswith(
        f"::error file=data products/shop/floe.yaml,line={line},col=1,endColumn=8,title=FLOE-S001"
        "::`release`: is not a known key%0Ahelp: known keys: "
    )
    assert end == ""


def test_paths_are_relative_to_the_workspace(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(shop.parent))
    change(shop / "floe.yaml", "version:", "release:")
    assert "::error file=shop/floe.yaml,line=" in run_floe("validate", "-o", "github").stdout


def test_what_could_end_a_command_is_escaped() -> None:
    diagnostic = Diagnostic(
        "FLOE-S001",
        "warning",
        "100 %\r\n::error::no",
        Path("a,b:c%.yaml"),
        position=Position(3, 7, 9),
    )
    assert annotation(diagnostic, Path.cwd()) == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=3,col=7,endColumn=9,title=FLOE-S001"
        "::100 %25%0D%0A::error::no"
    )
    assert error(FloeError("a\nb")) == "::error title=floe::a%0Ab"


def test_a_file_outside_of_the_repository_is_absolute(tmp_path: Path) -> None:
    assert repository_path(tmp_path / "a.yaml", tmp_path) == ("a.yaml", True)
    path, is_inside = repository_path(Path("/etc/floe/platform.yaml"), tmp_path)
    assert (path, is_inside) == ("/etc/floe/platform.yaml", False)


def test_a_sarif_log_of_problems(shop: Path) -> None:
    change(shop / "floe.yaml", "version:", "release:")
    result = run_floe("validate", "--output", "sarif")
    assert result.exit_code == 3
    assert result.stderr == ""
    run = log_of(result)
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 3}]
    missing, unknown = run["results"]
    assert (missing["ruleId"], unknown["ruleId"]) == ("FLOE-S002", "FLOE-S001")
    assert unknown["level"] == "error"
    text = unknown["message"]["text"]
    assert text.startswith("`release`: is not a known key\nhelp: known keys: ")
    file = {"uri": "data%20products/shop/floe.yaml", "uriBaseId": "%SRCROOT%"}
    region = {"startLine": line_of(shop, "release:"), "startColumn": 1, "endColumn": 8}
    assert missing["locations"] == [
        {
            "physicalLocation": {"artifactLocation": file},
            "logicalLocations": [{"fullyQualifiedName": "version"}],
        }
    ]
    assert unknown["locations"] == [
        {
            "physicalLocation": {"artifactLocation": file, "region": region},
            "logicalLocations": [{"fullyQualifiedName": "release"}],
        }
    ]
    rules = run["tool"]["driver"]["rules"]
    for result_ in run["results"]:
        assert rules[result_["ruleIndex"]]["id"] == result_["ruleId"]


def test_fingerprints_outlive_a_move(shop: Path) -> None:
    change(shop / "floe.yaml", "version:", "release:")
    before = log_of(run_floe("validate", "-o", "sarif"))["results"]
    (shop / "floe.yaml").write_text("# A comment.\n" + (shop / "floe.yaml").read_text())
    after = log_of(run_floe("validate", "-o", "sarif"))["results"]
    assert before != after
    for key in ("partialFingerprints", "ruleId"):
        assert [result[key] for result in before] == [result[key] for result in after]
    assert before[0]["partialFingerprints"] != before[1]["partialFingerprints"]


def test_a_problem_of_no_file_is_a_notification(shop: Path) -> None:
    (shop / "platform.yaml").unlink()
    run = log_of(run_floe("validate", "--env", "prod", "-o", "sarif"))
    assert run["results"] == []
    (notification,) = run["invocations"][0]["toolConfigurationNotifications"]
    assert notification["associatedRule"]["id"] == "FLOE-F006"
    annotated = run_floe("validate", "--env", "prod", "-o", "github").stdout
    assert annotated.startswith("::error title=FLOE-F006::there is no platform.yaml")


def test_a_code_of_a_plugin() -> None:
    diagnostic = Diagnostic("CSV-001", "error", "needs `path`", Path("floe.yaml"))
    document = sarif.log([diagnostic], None, 3, Path.cwd())
    jsonschema.validate(document, SCHEMA)
    (rule,) = document["runs"][0]["tool"]["driver"]["rules"]
    assert (rule["id"], rule["help"]) == ("CSV-001", {"text": "what a plugin finds"})


@pytest.mark.parametrize("command", ["validate", "compile"])
def test_nothing_to_complain_of(command: str, shop: Path) -> None:
    assert run_floe(command, "--output", "github").stdout == ""
    run = log_of(run_floe(command, "--output", "sarif"))
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 0}]


def test_warnings(shop: Path) -> None:
    with (shop / "floe.yaml").open("a") as file:
        file.write("consumption: {enabled: true}\n")
    result = run_floe("compile", "--output", "github")
    assert result.exit_code == 0
    assert "::warning file=" in result.stdout
    assert "title=FLOE-N001" in result.stdout
    assert run_floe("compile", "--output", "github", "-q").stdout == ""
    (found,) = log_of(run_floe("compile", "-o", "sarif"))["results"]
    assert (found["ruleId"], found["level"]) == ("FLOE-N001", "warning")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["validate", "-C", "nowhere"], id="no product"),
        pytest.param(["validate", "--vars", "a"], id="wrong value"),
        pytest.param(["validate", "--env", "../x"], id="no name of an environment"),
        pytest.param(["validate", "--wrong"], id="no such option"),
        pytest.param(["compile", "--env"], id="option without value"),
        pytest.param(["nothing"], id="no such command"),
    ],
)
@pytest.mark.parametrize("format", ["github", "sarif", "json"])
def test_usage_errors(arguments: list[str], format: str, shop: Path) -> None:
    command, *rest = arguments
    result = run_floe(command, "--output", format, *rest)
    assert result.exit_code == 2
    assert result.stderr == ""
    if format == "github":
        assert ANNOTATION.fullmatch(result.stdout.removesuffix("\n"))
    elif format == "json":
        assert json.loads(result.stdout)["ok"] is False
    else:
        (invocation,) = log_of(result)["invocations"]
        assert invocation["executionSuccessful"] is False
        assert invocation["toolExecutionNotifications"][0]["level"] == "error"


@pytest.mark.parametrize(
    ("arguments", "format"),
    [
        (["--output", "sarif", "x"], "sarif"),
        (["x", "--output=github"], "github"),
        (["-ojson"], "json"),
        (["-o", "sarif", "-o", "json"], "json"),
        (["-o", "sarif", "-o", "csv"], "text"),
        (["-o"], "text"),
        ([], "text"),
    ],
)
def test_format_of_a_wrong_command_line(arguments: list[str], format: str) -> None:
    assert asked_format(arguments) == format


def test_a_defect_of_floe(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr("floe_core.compiler.pipeline.run_stages", fail)
    result = run_floe("validate", "-o", "sarif")
    assert result.exit_code == 1
    (invocation,) = log_of(result)["invocations"]
    message = invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert message.startswith("floe itself failed: ZeroDivisionError: 1/0\nhelp: ")
