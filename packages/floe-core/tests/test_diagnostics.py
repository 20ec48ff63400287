"""How a diagnostic is shown to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Position,
    Report,
    did_you_mean,
    display_path,
    field_name,
    near_miss,
)

DIAGNOSTIC = Diagnostic(
    code="FLOE-S001",
    severity="error",
    message="is not a known key",
    file=Path("/work/shop/floe.yaml"),
    field="transforms[0].layr",
    position=Position(4, 31, 35),
    source="  - {name: all, project: dbt, layr: gold}",
    help="did you mean `layer`?\nor nothing",
)


def excerpt(source: str, column: int, end: int) -> list[str]:
    diagnostic = Diagnostic(
        "FLOE-S001", "error", "m", position=Position(7, column, end), source=source
    )
    return diagnostic.render().splitlines()[1:]


def marked(source: str, column: int, end: int) -> str:
    shown, carets = excerpt(source, column, end)
    return "".join(c for c, mark in zip(shown, carets, strict=False) if mark == "^")


def test_render() -> None:
    assert DIAGNOSTIC.render(Path("/work/shop")) == (
        "floe.yaml:4:31: error[FLOE-S001] `transforms[0].layr`: is not a known key\n"
        "    4 |   - {name: all, project: dbt, layr: gold}\n"
        "      |                               ^^^^\n"
        "  help: did you mean `layer`?\n"
        "        or nothing"
    )


def test_render_without_a_place() -> None:
    assert Diagnostic("FLOE-F006", "warning", "nothing").render() == "warning[FLOE-F006] nothing"


def test_to_dict_is_stable() -> None:
    document = json.loads(json.dumps(DIAGNOSTIC.to_dict(Path("/work/shop"))))
    assert document == {
        "code": "FLOE-S001",
        "severity": "error",
        "message": "is not a known key",
        "file": "floe.yaml",
        "line": 4,
        "column": 31,
        "end_column": 35,
        "field": "transforms[0].layr",
        "source": "  - {name: all, project: dbt, layr: gold}",
        "help": "did you mean `layer`?\nor nothing",
    }
    assert Diagnostic("FLOE-F006", "error", "m").to_dict().keys() == document.keys()


@pytest.mark.parametrize("lead", [0, 50, 100, 1000, 1_000_000])
def test_long_lines_are_cut_around_the_mark(lead: int) -> None:
    source = "-" * lead + "here" + "-" * 500
    shown, _ = excerpt(source, lead + 1, lead + 5)
    assert len(shown) < 180
    assert shown.endswith("…")
    assert marked(source, lead + 1, lead + 5) == "here"


@pytest.mark.parametrize(
    ("source", "column", "end", "carets"),
    [
        ("\ta: b", 2, 3, "      | \t^"),
        ("大: b", 4, 5, "      |     ^"),
        ("a: 大きい", 4, 7, "      |    ^^^^^^"),
        ("e\N{COMBINING ACUTE ACCENT}: b", 5, 6, "      |    ^"),
        ("a: b", 5, 6, "      |     ^"),
        ("a: b", 90, 95, "      |     ^"),
        ("", 1, 2, "      | ^"),
        ("a: b", 1, 900, "      | ^^^^"),
    ],
)
def test_the_mark_stands_under_what_it_marks(
    source: str, column: int, end: int, carets: str
) -> None:
    assert excerpt(source, column, end)[1] == carets


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert "\x1b" not in excerpt("a: \x1b[31mred\x07", 1, 2)[0]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), ""),
        (("name",), "name"),
        (("transforms", 0, "models", 1, "path"), "transforms[0].models[1].path"),
    ],
)
def test_field_name(path: FieldPath, name: str) -> None:
    assert field_name(path) == name


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("layr", "layer"), ("LAYER", "layer"), ("Strict", "strict"), ("nothing like it", None)],
)
def test_near_miss(word: str, nearest: str | None) -> None:
    assert near_miss(word, ["layer", "strict", "path"]) == nearest


def test_did_you_mean() -> None:
    assert did_you_mean("layr", ["path", "layer"], "keys") == (
        "did you mean `layer`? keys: `layer`, `path`"
    )
    assert did_you_mean("x", ["path"], "keys") == "keys: `path`"
    assert did_you_mean("x", [], "keys") == "keys: none"


def test_report_keeps_equal_findings_once_and_sorts_by_place() -> None:
    def at(line: int, severity: str = "error") -> Diagnostic:
        return Diagnostic("FLOE-S001", severity, "m", Path("a"), position=Position(line, 1, 2))  # type: ignore[arg-type]

    report = Report()
    for line in (9, 3, 9):
        report.add(at(line))
    report.add(Diagnostic("FLOE-S002", "error", "m", Path("a")))
    lines = [d.position.line if d.position else None for d in report.sorted()]
    assert lines == [None, 3, 9]
    assert report.has_errors


def test_paths_are_relative_where_that_is_short(tmp_path: Path) -> None:
    assert display_path(tmp_path / "a" / "b", tmp_path / "a") == "b"
    assert display_path(tmp_path / "b", tmp_path / "a") == "../b"
    assert display_path(Path("/etc/floe/platform.yaml"), Path("/a/b/c/d")) == (
        "/etc/floe/platform.yaml"
    )
