"""Whatever is done to valid files, floe answers with diagnostics: no traceback, no hang.

The examples are the same in every run. `make fuzz` draws new ones, and many more of them.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from floe_cli import github, sarif
from floe_core.artifacts import dump_artifacts, parse_artifacts
from floe_core.codes import CODES
from floe_core.compiler.build import build
from floe_core.compiler.enforce import enforce
from floe_core.compiler.inspect import Inspected
from floe_core.compiler.load import load
from floe_core.compiler.pipeline import run_stages
from floe_core.compiler.request import CompileRequest
from floe_core.compiler.resolve import Resolved, resolve
from floe_core.diagnostics import Diagnostic, FieldPath, Report
from floe_testing.cli import FloeResult, run_floe

REPOSITORY = Path(__file__).parents[2]
CANARY = Path(__file__).parent / "canary"
CASES = REPOSITORY / "packages/floe-cli/tests/cases"
SARIF = REPOSITORY / "packages/floe-cli/tests/sarif/sarif-schema-2.1.0.json"

EXAMPLES = int(os.environ.get("FLOE_FUZZ_EXAMPLES", "0"))
"""Examples of each test; 0 for those of every run, which are always the same."""


def examples(count: int, share: float = 1) -> Callable[[Any], Any]:
    """Settings of a test: `count` examples, or its share of what `make fuzz` asks for."""
    return settings(
        max_examples=max(1, int(EXAMPLES * share)) if EXAMPLES else count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=datetime.timedelta(seconds=30),
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )


SEEDS_SPELLING = """\
apiVersion: floe.dev/v1
kind: FloeSpec
metadata: {name: shop, version: "1.0.0", labels: {a: b}}
storage: default
compute: default
transforms:
  - {type: dbt, path: ./dbt, tier: bronze, tags: [a]}
  - {name: a, path: other_dbt, dependsOn: [shop_dbt]}
schedule: {cron: "0 6 * * *", timezone: UTC, enabled: true}
consumption: {enabled: true, port: 4000}
"""
ANCHORS = """\
name: &name shop
version: "1.0.0"
labels: &labels {a: b, c: d}
transforms:
  - &one {name: one, project: dbt, models: [{path: models/a.sql}]}
  - {<<: *one, name: two, models: [{path: models/b.sql}]}
schedules: [{name: *name, cron: "0 6 * * *", transforms: [one, two]}]
governance: {quality_gates: {minimum_test_coverage: 0}}
observability: {attributes: {<<: *labels, e: f}}
"""
LOCAL = "version: '1.1.0'\nname: laptop\ncompute: {default: {type: duckdb}}\n"
SEEDS_PLATFORM = """\
version: "1.0.0"
plugins: {compute: {type: duckdb, config: {threads: 2}}}
observability: {traces: true, otlp_endpoint: "http://otel:4317"}
"""


def texts() -> dict[str, tuple[str, str]]:
    """Pairs of a valid floe.yaml and a platform file for it."""
    base, demo = CASES / "_base", REPOSITORY / "demo"
    pairs = {
        "base": ((base / "floe.yaml").read_text(), (base / "platform.yaml").read_text()),
        "canary": ((CANARY / "floe.yaml").read_text(), (CANARY / "platform.yaml").read_text()),
        "seeds": (SEEDS_SPELLING, SEEDS_PLATFORM),
        "anchors": (ANCHORS, LOCAL),
    }
    for path in sorted(demo.glob("platform/*/platform.yaml")):
        name = f"flights-{path.parent.name}"
        pairs[name] = ((demo / "flights/floe.yaml").read_text(), path.read_text())
    return pairs


TEXTS = texts()

SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**18,
    10**299,
    -(10**400),
    0.5,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    datetime.date(2013, 1, 1),
    datetime.datetime(2013, 1, 1, 12, tzinfo=datetime.UTC),
    b"\x00\xff",
    "",
    " ",
    "~",
    "a",
    "x" * 300,
    "x" * 20_000,
    "é" * 200,
    "a\x00b",
    "a\x07b\x1b[31m",
    "a\u202eb",
    "a\x85b\u2028c",
    "\ufeff",
    "👩‍👩‍👧",
    "a\nb",
    "\r\n",
    "\t",
    ".",
    "..",
    "/",
    "//",
    "../..",
    "/etc/passwd",
    "~/x",
    "a/../b",
    "a\\b",
    "*",
    "**",
    "**/*",
    "**/**/**/**/**/*.sql",
    "[",
    "[!",
    "[z-a]",
    "models/[[a]*",
    "**/" * 300,
    "a/" * 3000,
    "../" * 300,
    "models/[a",
    "{a,b}",
    "$HOME",
    "${X}",
    "{env}",
    "{0}",
    "{",
    "%s",
    "{{ env_var('X') }}",
    "{% endif %}",
    "{#",
    "a: b",
    "- a",
    "& a",
    "1.1.0",
    "99.0.0",
    "1.1",
    "-1.0.0",
    "٣",  # a digit, though not an ASCII one
    "1e5",
    "1e999",
    "0x1F",
    "1_000",
    "4GB",
    "-4GB",
    "99999999999999999999999GB",
    "* * * * *",
    "0 0 31 2 *",
    "@daily",
    "0 6 * * * * * *",
    "1-99999999/2 * * * *",
    "* * * * mon#9",
    "Europe/Berlin",
    "../../etc/localtime",
    "Europe",
    "http://",
    "http://[",
    "http://[::1",
    "http://a:99999999/",
    "http://u:p@h/",
    "file:///x",
    "arn:aws:iam::1:role/x",
    "tag:",
    "tag:a",
    "+",
    "a+b",
    "@@",
    "a,,b",
    "default",
    "duckdb",
    "postgres",
    "spark",
    "local",
    "prod",
    "dbt",
    "password",
    "AKIAIOSFODNN7EXAMPLE",
)
values = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=12) | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("name", "type", "a", "<<", "secret_ref", "")), inner)
    ),
    max_leaves=5,
)
SNIPPETS = (
    *("---", "...", "- ", ": ", "? ", "?", "{", "}", "[", "]", ",", "'", '"', "|", ">", "|9", "#"),
    *("&a", "*a", "&a *a", "<<: *a", "<<: [*a, *b]", "<<:", "!!str", "!x", "!!python/name:os.x"),
    *("!!binary", "!!float", "!!null", "!<x>", "%YAML 1.1", "%TAG ! x", "@", "`", "\t", "  ", "\\"),
    *("\u2028", "\x85", "\x00", "\ud7ff", "\ufeff", "\x1b", "{{ x }}", ".nan", "0o17", "=", "''"),
    *("key: [", "a: &x {b: *x}", "[[[[[[[[", "{a: {a: {a: {a: ", "- - - - -", "x: y: z"),
    *("password: hunter2hunter2", "name: x", "transforms: []", "version: 1", "compute: {}"),
)
WORD = re.compile(r"[^\s,{}\[\]]+")


@cache
def paths_of(text: str) -> tuple[FieldPath, ...]:
    """Field paths of all values of a file."""

    def walk(data: Any, path: FieldPath) -> Any:
        yield path
        if isinstance(data, dict | list):
            for key, value in data.items() if isinstance(data, dict) else enumerate(data):
                yield from walk(value, (*path, key))

    return tuple(walk(yaml.safe_load(text), ()))


def parent_of(data: Any, path: FieldPath) -> Any:
    for part in path[:-1]:
        data = data[part]
    return data


def change_value(draw: Any, text: str) -> str:
    """Put another value somewhere: of another type, or from elsewhere in the file."""
    data = copy.deepcopy(yaml.safe_load(text))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(paths_of(text)[1:]))
        value = draw(values)
        if draw(st.booleans()):
            other = draw(st.sampled_from(paths_of(text)[1:]))
            with contextlib.suppress(KeyError, IndexError, TypeError):
                value = copy.deepcopy(parent_of(data, other)[other[-1]])
        with contextlib.suppress(KeyError, IndexError, TypeError):
            parent_of(data, path)[path[-1]] = value
    return dump(data)


def change_key(draw: Any, text: str) -> str:
    """Rename, remove or nest what stands under a key."""
    data = copy.deepcopy(yaml.safe_load(text))
    path = draw(st.sampled_from(paths_of(text)[1:]))
    parent, key = parent_of(data, path), path[-1]
    match draw(st.sampled_from(("rename", "remove", "nest", "list"))):
        case "rename" if isinstance(parent, dict):
            new = draw(st.sampled_from(SCALARS) | st.text(max_size=8))
            parent[new] = parent.pop(key)
        case "remove":
            del parent[key]
        case "list":
            parent[key] = [parent[key]] * draw(st.integers(0, 3))
        case _:
            for _ in range(draw(st.sampled_from((1, 2, 70)))):
                parent[key] = {str(key): parent[key]}
    return dump(data)


def dump(data: Any) -> str:
    """The data as YAML; without aliases for values that occur twice."""
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    return yaml.dump(data, Dumper=dumper, allow_unicode=True, sort_keys=False, width=10**9)


def change_lines(draw: Any, text: str) -> str:
    """Remove, double, swap, indent, join or add lines."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 7)):
            case 0:
                del lines[at : at + draw(st.integers(1, 5))]
                lines = lines or [""]
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = " " * draw(st.integers(1, 9)) + lines[at]
            case 4:
                lines[at] = lines[at][draw(st.integers(1, 4)) :]
            case 5:
                lines[at] = "\t" + lines[at]
            case 6:
                lines.insert(at, " " * draw(st.integers(0, 6)) + draw(st.sampled_from(SNIPPETS)))
            case _:
                lines[at : at + 2] = ["".join(lines[at : at + 2])]
    return draw(st.sampled_from(("\n", "\n", "\r\n", "\r", "\u2028"))).join(lines)


def change_words(draw: Any, text: str) -> str:
    """Put something in the place of a word, before it, or around it."""
    for _ in range(draw(st.integers(1, 3))):
        words = list(WORD.finditer(text))
        if not words:
            return text
        word = draw(st.sampled_from(words))
        snippet = draw(st.sampled_from(SNIPPETS) | st.text(max_size=5))
        new = draw(
            st.sampled_from((snippet, snippet + word[0], f"{snippet} {word[0]}", word[0] + snippet))
        )
        text = text[: word.start()] + new + text[word.end() :]
    return text


def change_bytes(draw: Any, content: bytes) -> bytes:
    """Change, remove or add single bytes; or cut the file."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        match draw(st.integers(0, 3)):
            case 0:
                content = content[:at] + draw(st.binary(max_size=4)) + content[at:]
            case 1:
                content = content[:at] + content[at + draw(st.integers(1, 9)) :]
            case 2:
                content = content[:at] + draw(st.binary(min_size=1, max_size=1)) + content[at + 1 :]
            case _:
                content = content[: max(at, 1)]
    return content


@st.composite
def mutants(draw: Any, names: tuple[str, ...] = tuple(TEXTS)) -> tuple[bytes, bytes]:
    """A valid pair of files, one or both of them changed."""
    pair = [text.encode() for text in TEXTS[draw(st.sampled_from(names))]]
    for number in draw(st.sampled_from(((0,), (1,), (0, 1)))):
        text = pair[number].decode()
        kind = draw(st.sampled_from((change_value, change_value, change_key, change_lines)))
        kind = draw(st.sampled_from((kind, kind, change_words)))
        text = kind(draw, text)
        pair[number] = text.encode(errors="surrogatepass")
        if draw(st.integers(0, 5)) == 0:
            pair[number] = change_bytes(draw, pair[number])
    return pair[0], pair[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dbt projects that the valid files name."""
    root = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(CASES / "_base/dbt", root / "dbt")
    for project in ("dbt", "other_dbt", "third_dbt", "flights_dbt"):
        models = root / project / "models"
        for layer in ("", "bronze", "silver", "gold"):
            (models / layer).mkdir(parents=True, exist_ok=True)
        if project != "dbt":
            (root / project / "dbt_project.yml").write_text(f"name: {project}\n")
        for name in ("a", "b", "bronze/c", "silver/d", "gold/e"):
            (models / f"{name}.sql").write_text("select 1 as x")
    (root / "canary_module.py").write_text("def build(context): ...")
    return root


def write(folder: Path, pair: tuple[bytes, bytes]) -> None:
    for name, content in zip(("floe.yaml", "platform.yaml"), pair, strict=True):
        (folder / name).write_bytes(content)


def inspect_nothing(resolved: Resolved, report: Report) -> Inspected:
    return Inspected(resolved, (), {}, ())


@cache
def sarif_validator() -> Any:
    schema = json.loads(SARIF.read_text())
    return jsonschema.validators.validator_for(schema)(schema)


def check_diagnostic(diagnostic: Diagnostic, folder: Path) -> None:
    """It has a known code, a place in the file, and can be shown in every form."""
    assert diagnostic.code in CODES
    assert diagnostic.message
    assert diagnostic.render(folder).startswith(
        str(diagnostic.file.relative_to(folder)) if diagnostic.file else diagnostic.severity
    )
    json.dumps(diagnostic.to_dict(folder), allow_nan=False).encode()
    diagnostic.render(folder).encode()
    assert len(github.annotation(diagnostic, folder).splitlines()) >= 1
    assert not set("\r\n") & set(github.annotation(diagnostic, folder))
    position = diagnostic.position
    if position is None:
        return
    assert diagnostic.file is not None
    assert position.line >= 1
    assert 1 <= position.column < position.end_column
    text = diagnostic.file.read_bytes().decode("utf-8-sig", errors="replace")
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    assert position.line <= len(lines)
    assert position.column <= len(lines[position.line - 1]) + 1
    assert diagnostic.source is not None
    assert len(diagnostic.source) == len(lines[position.line - 1])


@given(mutants())
@examples(120)
def test_library(folder: Path, pair: tuple[bytes, bytes]) -> None:
    """A file is refused with diagnostics, or becomes artifacts that can be read again."""
    write(folder, pair)
    request = CompileRequest(folder / "floe.yaml", environ={"SOURCE_DATE_EPOCH": "0"})
    outcome = run_stages((load, resolve, inspect_nothing, enforce, build), request)
    for diagnostic in outcome.diagnostics:
        check_diagnostic(diagnostic, folder)
    log = sarif.log(outcome.diagnostics, None, 3 if outcome.has_errors else 0, folder)
    assert list(sarif_validator().iter_errors(json.loads(json.dumps(log)))) == []
    event("refused" if outcome.has_errors else "accepted")
    if outcome.value is None:
        assert outcome.has_errors
    elif not outcome.has_errors:
        artifacts = outcome.value.artifacts
        content = dump_artifacts(artifacts)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert dump_artifacts(parse_artifacts(content, origin="here")) == content


def check_result(result: FloeResult, format: str) -> None:
    """It ended as a command ends, and printed a document of the form that was asked for."""
    text = result.stdout + result.stderr
    assert result.exit_code in {0, 2, 3, 4}, text
    assert "Traceback" not in text
    assert "floe itself failed" not in text
    if format == "json":
        document = json.loads(result.stdout)
        assert document["ok"] == (result.exit_code == 0)
        assert document["ok"] or document["diagnostics"] or document["error"]
    elif format == "sarif":
        log = json.loads(result.stdout)
        assert list(sarif_validator().iter_errors(log)) == []
        (run,) = log["runs"]
        assert result.exit_code == 0 or run["results"] or len(run["invocations"][0]) > 2
    elif format == "github":
        assert all(line.startswith("::") for line in result.stdout.split("\n")[:-1])
        assert result.exit_code == 0 or "::error" in result.stdout
    else:
        assert result.exit_code == 0 or "error" in result.stderr


FORMATS = st.sampled_from(("text", "json", "github", "sarif"))


@given(mutants(), FORMATS)
@examples(50, share=0.5)
def test_validate(folder: Path, pair: tuple[bytes, bytes], format: str) -> None:
    write(folder, pair)
    check_result(run_floe("validate", "-C", str(folder), "--output", format), format)


@given(mutants(names=("base",)), FORMATS)
@examples(4, share=0.05)
def test_compile(folder: Path, pair: tuple[bytes, bytes], format: str) -> None:
    """With dbt, which parses its project anew where the change reaches it."""
    write(folder, pair)
    result = run_floe("compile", "-C", str(folder), "--output", format)
    check_result(result, format)
    if result.exit_code == 0:
        parse_artifacts((folder / ".floe/artifacts.json").read_bytes(), origin="here")


@pytest.mark.parametrize("name", TEXTS)
def test_the_files_are_valid_before_they_are_changed(name: str, folder: Path) -> None:
    floe, platform = TEXTS[name]
    write(folder, (floe.encode(), platform.encode()))
    request = CompileRequest(folder / "floe.yaml", environ={})
    outcome = run_stages((load, resolve), request)
    assert [d.render() for d in outcome.diagnostics if d.is_error] == []
