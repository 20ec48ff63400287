"""Reading YAML: values, positions, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from floe_core.diagnostics import Diagnostic, FieldPath, Position, Report
from floe_core.source import MAX_BYTES, Source, read_source


def read(tmp_path: Path, content: str | bytes) -> tuple[Source, list[Diagnostic]]:
    path = tmp_path / "floe.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    report = Report()
    return read_source(path, report), report.sorted()


def data(tmp_path: Path, content: str | bytes) -> Any:
    source, diagnostics = read(tmp_path, content)
    assert diagnostics == []
    return source.data


def problem(tmp_path: Path, content: str | bytes) -> Diagnostic:
    source, diagnostics = read(tmp_path, content)
    assert source.data is None
    (diagnostic,) = diagnostics
    return diagnostic


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("2024-05-01", "2024-05-01"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1.2.3", "1.2.3"),
        ("4GB", "4GB"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("0", 0),
        ("007", 7),
        ("-12", -12),
        ("+7", 7),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        ("1" * 300, int("1" * 300)),
        ("1" * 301, "1" * 301),
        ('"1.10"', "1.10"),
        ("'true'", "true"),
        ('"\\u00e9"', "é"),
        ("!!str 5", "5"),
        ("|\n  a\n  b", "a\nb\n"),
        (">-\n  a\n  b", "a b"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object, tmp_path: Path) -> None:
    result = data(tmp_path, f"a: {text}\n")["a"]
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize("key", ["off", "12", "true", "'a b'", "0x1f"])
def test_keys_are_text(key: str, tmp_path: Path) -> None:
    assert data(tmp_path, f"{key}: 1") == {key.strip("'"): 1}


def test_byte_order_mark_does_not_count(tmp_path: Path) -> None:
    source, _ = read(tmp_path, b"\xef\xbb\xbfname: shop\n")
    assert source.data == {"name": "shop"}
    assert source.places["name",].key == Position(1, 1, 5)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_line_ends_do_not_move_positions(end: str, tmp_path: Path) -> None:
    source, _ = read(tmp_path, end.join(["a: 1", "# note", "b:", "  - x", "  - {c: d}"]))
    assert source.data == {"a": 1, "b": ["x", {"c": "d"}]}
    assert source.places["b", 1, "c"].value == Position(5, 9, 10)
    assert source.line(Position(5, 9, 10)) == "  - {c: d}"


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("größe",), (1, 1, 6), (1, 8, 15)),
        (("list", 0), None, (3, 5, 6)),
        (("list", 1, "k"), (4, 5, 6), (4, 8, 11)),
        (("flow", "a", 1), None, (5, 15, 16)),
        (("text",), (6, 1, 5), (6, 7, 8)),
        (("empty",), (9, 1, 6), (9, 7, 8)),
    ],
)
def test_places(
    path: FieldPath, key: tuple[int, int, int] | None, value: tuple[int, int, int], tmp_path: Path
) -> None:
    content = (
        'größe: "大きい"  # note\n'.replace("大きい", "maße!")
        + "list:\n  - x\n  - k: 'v'\nflow: {a: [1, 2]}\ntext: |\n  one\n  two\nempty:\n"
    )
    place = read(tmp_path, content)[0].places[path]
    assert place.key == (Position(*key) if key else None)
    assert place.value == Position(*value)


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    content = """\
base: &base {threads: 2, schema: main}
more: &more {schema: other, path: x}
one: {<<: *base, threads: 4}
two: {<<: [*base, *more]}
three: *base
"""
    result = data(tmp_path, content)
    assert result["one"] == {"threads": 4, "schema": "main"}
    assert result["two"] == {"threads": 2, "schema": "main", "path": "x"}
    assert result["three"] == result["base"]


def test_what_comes_from_an_anchor_stands_where_the_anchor_stands(tmp_path: Path) -> None:
    source, _ = read(tmp_path, "a: &a {x: 1}\nb: *a\nc: {<<: *a}\n")
    assert source.places["b", "x"].value == source.places["a", "x"].value
    assert source.places["c", "x"].value == source.places["a", "x"].value


def test_first_of_two_equal_keys_counts(tmp_path: Path) -> None:
    source, (diagnostic,) = read(tmp_path, "a: 1\nb: {c: 1, c: 2}\n")
    assert source.data == {"a": 1, "b": {"c": 1}}
    assert (diagnostic.code, diagnostic.field) == ("FLOE-Y002", "b.c")
    assert diagnostic.position == Position(2, 11, 12)


@pytest.mark.parametrize(
    "content",
    [
        "a: " + "[" * 100_000,
        "a: " + "{a: " * 100_000,
        "a:\n " + "- " * 100_000,
        "? " * 100_000,
        "".join(" " * depth + "a:\n" for depth in range(200)),
    ],
    ids=["flow lists", "flow mappings", "block lists", "keys", "block mappings"],
)
def test_deep_nesting_is_refused(content: str, tmp_path: Path) -> None:
    assert problem(tmp_path, content).code == "FLOE-Y005"


@pytest.mark.parametrize(
    "content",
    [
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000)),
        "a0: &a0 {}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 2000)),
        "a0: &a0 {}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
        "a: &a 1\nb: [" + ", ".join(["*a"] * 10_001) + "]",
    ],
    ids=["chain of aliases", "chain of merges", "merges that explode", "many aliases"],
)
def test_aliases_that_repeat_a_lot_are_refused(content: str, tmp_path: Path) -> None:
    assert problem(tmp_path, content).code == "FLOE-Y005"


@pytest.mark.parametrize(
    ("content", "position"),
    [
        ("a: 1\nb: 'x\n", (2, 4)),
        ("a: 1\nb: [1, 2\nc: 3\n", (2, 4)),
        ("a: {b: 1\n", (1, 4)),
        ('a: {b: "x" c: 1}\n', (1, 12)),
        ("a: b\n  c: d\n", (2, 3)),
        ("a:\n    b: 1\n  c: 1\n", (3, 3)),
        ("a: 'it's'\n", (1, 8)),
        ("a: [1]]\n", (1, 7)),
        ("a: - b\n", (1, 4)),
        ("a:1\nb: 2\n", (1, 1)),
        ("a: | text\n", (1, 6)),
        ("a:\n  b: 1\n\tc: 2\n", (3, 1)),
        ("a: `b`\n", (1, 4)),
        ("a: {{ b }}/c\n", (1, 4)),
        ("a: {% b %}\n", (1, 4)),
        ("a: 1\n<<<<<<< HEAD\nb: 1\n", (2, 1)),
        ("a: é\x07\n", (1, 5)),
        (b"a: 1\nb: x\xff\n", (2, 5)),
    ],
)
def test_position_of_what_is_no_yaml(
    content: str | bytes, position: tuple[int, int], tmp_path: Path
) -> None:
    found = problem(tmp_path, content)
    assert found.position is not None
    assert (found.position.line, found.position.column) == position
    assert found.help is not None


@pytest.mark.parametrize("content", ['a: "\\ud83d"\n', "a: !!python/object:os.system x\n"])
def test_what_no_text_is_is_refused(content: str, tmp_path: Path) -> None:
    assert problem(tmp_path, content).code == "FLOE-Y001"


def test_a_file_of_5_mib_is_read(tmp_path: Path) -> None:
    line = "a: 1\n"
    assert data(tmp_path, line + "#" * (MAX_BYTES - len(line))) == {"a": 1}


def test_a_missing_file_is_a_diagnostic(tmp_path: Path) -> None:
    report = Report()
    assert read_source(tmp_path / "floe.yaml", report).data is None
    assert [d.code for d in report.sorted()] == ["FLOE-F001"]
