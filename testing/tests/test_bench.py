"""The benchmark measures what it says it measures, on products that really build."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from floe_bench import lake, states
from floe_bench.__main__ import main
from floe_bench.generator import generate
from floe_bench.machine import Machine
from floe_bench.measure import MeasureError, Measurement, measure
from floe_bench.report import document, page, results, table, tables
from floe_bench.rounds import Workplace, run_rounds
from floe_bench.rows import Command, Row, rows
from floe_iceberg import open_catalog, scan_sql
from floe_testing.cli import run_floe

MACHINE = Machine("A processor", 2, "Linux x86_64", 0.25, "3.12.1", {"floe-cli": "0.1.0"})


def python(text: str, **more: Any) -> Command:
    return Command(("python", "-c", text), **more)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# The generator


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "product"
    generate(folder, 100)
    return folder


@pytest.fixture(scope="module")
def manifest(product: Path) -> dict[str, Any]:
    """dbt's, from a parse in which every warning is an error."""
    dbt = Path(sys.executable).with_name("dbt")
    done = subprocess.run(
        [
            dbt,
            "--warn-error",
            "--show-all-deprecations",
            "--no-send-anonymous-usage-stats",
            "parse",
        ],
        cwd=product / "dbt",
        env={**os.environ, "FLOE_PROJECT_DIR": str(product)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    content: dict[str, Any] = json.loads((product / "dbt/target/manifest.json").read_text())
    return content


def test_the_same_size_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    generate(tmp_path / "one", 100)
    generate(tmp_path / "two", 100)
    generate(tmp_path / "other", 100, seed=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "one") != files(tmp_path / "other")


@pytest.mark.integration
def test_a_product_of_100_models_has_a_realistic_shape(manifest: dict[str, Any]) -> None:
    nodes = [node for node in manifest["nodes"].values() if node["package_name"] == "warehouse"]
    models = [node for node in nodes if node["resource_type"] == "model"]
    tests = [node for node in nodes if node["resource_type"] == "test"]
    columns = [column for model in models for column in model["columns"].values()]
    assert Counter(model["config"]["materialized"] for model in models) == {
        "view": 60,
        "ephemeral": 5,
        "table": 30,
        "incremental": 5,
    }
    assert Counter(model["fqn"][1] for model in models) == {
        "staging": 40,
        "intermediate": 25,
        "marts": 35,
    }
    assert 100 < len(tests) < 220
    assert len([test for test in tests if "test_metadata" not in test]) == 5
    assert len([node for node in nodes if node["resource_type"] == "seed"]) == 3
    assert len(manifest["sources"]) == 40
    assert len(manifest["exposures"]) == 3
    assert all(model["description"] and model["config"]["meta"]["owner"] for model in models)
    assert all(column["description"] for column in columns)
    classified = [column for column in columns if "floe" in column["config"]["meta"]]
    assert 100 < len(classified) < len(columns) / 2
    used = {name for model in models for name in model["depends_on"]["macros"]}
    assert {name.rpartition(".")[2] for name in used if name.startswith("macro.warehouse")} == {
        "cents_to_units",
        "is_positive",
        "newer_rows",
        "normalise_email",
        "surrogate_key",
    }


@pytest.mark.integration
def test_a_product_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "product", 20)
    monkeypatch.chdir(tmp_path / "product")
    done = run_floe("run", "--output", "json")
    assert done.exit_code == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    built = [node for node in record["nodes"] if node["resource_type"] in {"model", "seed"}]
    assert len(built) == 20 + 3 - 1  # the seeds, and without the ephemeral model


def test_a_product_needs_three_layers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a product has 10 models or more, not 9"):
        generate(tmp_path / "product", 9)


# The states


def test_a_touched_model_is_new_each_time(product: Path) -> None:
    seen = {json.dumps(sorted(map(hash, files(product / "dbt/models").values())))}
    for _ in range(3):
        states.touch_a_model(product)
        seen.add(json.dumps(sorted(map(hash, files(product / "dbt/models").values()))))
    assert len(seen) == 4


def test_the_broken_product_is_refused_for_several_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path / "product", 10)
    monkeypatch.chdir(tmp_path / "product")
    assert run_floe("validate").exit_code == 0
    states.break_floe(tmp_path / "product")
    broken = run_floe("validate", "--output", "json")
    assert broken.exit_code == 3
    assert len(json.loads(broken.stdout)["diagnostics"]) >= 4


def test_cold_leaves_what_was_generated_at_first(tmp_path: Path) -> None:
    generate(tmp_path / "product", 10)
    before = files(tmp_path / "product")
    for name in (".floe/artifacts.json", "dbt/target/manifest.json", "dbt/logs/dbt.log"):
        (tmp_path / "product" / name).parent.mkdir(parents=True)
        (tmp_path / "product" / name).write_text("{}")
    states.make_cold(tmp_path / "product")
    assert files(tmp_path / "product") == before


# The lake


def orders(folder: Path, name: str) -> str:
    """What reads the Iceberg table that a program wrote."""
    catalog = open_catalog({"type": "sql", "uri": f"sqlite:///{folder}/{name}/catalog.db"})
    return f"({scan_sql(catalog.load_table(lake.ORDERS))})"


@pytest.fixture(scope="module")
def lake_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    with contextlib.chdir(folder):
        assert lake.make_input("2000") == "2000 orders"
        assert lake.build() == "1 file of 0 MB"
    return folder


def test_all_write_the_same_rows(lake_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lake_folder)
    for program in (lake.write, lake.copy, lake.copy_like_floe):
        assert re.fullmatch(r"1 file of 0 MB in \d+\.\d\d s", program())
    assert lake.write_with_pyiceberg() == "1 file of 0 MB"
    tables = [
        *(orders(lake_folder, name) for name in ("write", "pyiceberg")),
        *(f"'{name}/orders.parquet'" for name in ("copy", "copy-like-floe")),
    ]
    found = [duckdb.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in tables]
    assert len(found[0]) == 2000
    assert all(rows == found[0] for rows in found)
    for read in (lake.read, lake.read_plain):
        assert re.fullmatch(r"\d+ ms a query", read("2000"))


@pytest.mark.parametrize("changes", ["clustered", "scattered"])
def test_a_merge_changes_one_row_of_a_hundred(
    lake_folder: Path, monkeypatch: pytest.MonkeyPatch, changes: str
) -> None:
    monkeypatch.chdir(lake_folder)
    states.restore("merge", lake_folder)
    assert lake.merge(changes) == "0 MB, 1 of 1 files touched"
    changed = "SELECT order_id FROM {} WHERE status = 'changed' ORDER BY ALL"
    found = duckdb.execute(changed.format(orders(lake_folder, "merge"))).fetchall()
    numbers = range(1000, 1020) if changes == "clustered" else range(42, 2000, 100)
    assert found == [(number,) for number in numbers]
    states.restore("merge", lake_folder)
    assert duckdb.execute(changed.format(orders(lake_folder, "merge"))).fetchall() == []


def test_little_memory_and_many_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lake.write_bounded("2000") == lake.copy_bounded("2000") == "1 file of 0 MB"
    assert duckdb.execute(f"SELECT count(*) FROM {orders(tmp_path, 'bounded')}").fetchone() == (
        2000,
    )
    for _ in range(2):
        assert re.fullmatch(r"\d+ ms a commit, \d+ kB of metadata", lake.commit("commits", "3"))
    found = duckdb.execute(f"SELECT count(*), max(turn) FROM {orders(tmp_path, 'commits')}")
    assert found.fetchone() == (1000, 2)


# Measuring

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], check=True)"
DAEMON = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {BURN!r}], start_new_session=True)
os._exit(0)
"""


def used(text: str, folder: Path, **more: Any) -> Measurement:
    return measure([sys.executable, "-c", text], folder=folder, env=dict(os.environ), **more)


@pytest.mark.parametrize(
    "text",
    [
        BURN,
        CHILD,
        pytest.param(
            DAEMON,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts daemons"),
        ),
    ],
    ids=["itself", "a child", "a daemon"],
)
def test_the_whole_process_tree_is_measured(text: str, tmp_path: Path) -> None:
    assert used(text, tmp_path).cpu_seconds >= 0.3


def test_memory_is_that_of_the_largest_process(tmp_path: Path) -> None:
    large = used("content = b'x' * 100_000_000", tmp_path).max_rss
    assert 100_000_000 < large < 150_000_000
    assert used("pass", tmp_path).max_rss < 50_000_000


def test_the_last_line_is_kept(tmp_path: Path) -> None:
    assert used("print('one'); print('two')", tmp_path).said == "two"
    assert used("pass", tmp_path).said == ""


def test_the_expected_exit_code_may_be_another(tmp_path: Path) -> None:
    assert used("raise SystemExit(3)", tmp_path, exit_code=3).cpu_seconds > 0


@pytest.mark.parametrize(("ends_with", "expected"), [(2, 0), (0, 3)])
def test_another_exit_code_stops_with_what_was_printed(
    ends_with: int, expected: int, tmp_path: Path
) -> None:
    text = f"print('what went wrong'); raise SystemExit({ends_with})"
    with pytest.raises(MeasureError) as stopped:
        used(text, tmp_path, exit_code=expected)
    assert str(stopped.value) == (
        f"`{sys.executable} -c {text}` in {tmp_path} ended with exit code {ends_with}, "
        f"expected {expected}\nwhat went wrong\n"
    )


def test_a_program_that_does_not_exist_stops(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="`/nowhere/floe` could not be started"):
        measure(["/nowhere/floe"], folder=tmp_path, env={})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts daemons")
def test_a_daemon_that_does_not_end_is_noticed() -> None:
    daemon = (
        "import subprocess, sys; subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(3)'], start_new_session=True)"
    )
    text = (
        "import json, sys\nfrom floe_bench import supervise\n"
        "supervise.SECONDS_FOR_DAEMONS = 0.1\n"
        f"print(json.dumps(supervise.supervise([sys.executable, '-c', {daemon!r}])))"
    )
    printed = subprocess.check_output([sys.executable, "-c", text], text=True)
    assert json.loads(printed)["left_running"] is True


# Rounds


def noting(name: str) -> Callable[[Path], None]:
    def note(folder: Path) -> None:
        with (folder / "order").open("a") as file:
            file.write(name)

    return note


def test_commands_take_turns_after_a_warm_up(tmp_path: Path) -> None:
    setup = python("open('order', 'a').write('s')")
    a, b, c = (python(f"'{name}'", prepare=noting(name), setup=setup) for name in "abc")
    told: list[str] = []
    some = [Row("one", a, b), Row("two", a, c)]
    samples = run_rounds(some, Workplace(tmp_path), 3, told.append)
    assert (tmp_path / "empty/order").read_text() == "sabc" + "abc" + "cba" + "abc"
    assert {command: len(found) for command, found in samples.items()} == {a: 3, b: 3, c: 3}
    assert [re.sub(r"\d+\.\d+", "<seconds>", line) for line in told[:4]] == [
        "warming up: python -c 'a': <seconds> CPU s",
        "warming up: python -c 'b': <seconds> CPU s",
        "warming up: python -c 'c': <seconds> CPU s",
        "round 1 of 3: python -c 'a': <seconds> CPU s",
    ]


def test_what_takes_long_is_measured_once(tmp_path: Path) -> None:
    a, b = (python(f"'{name}'", prepare=noting(name)) for name in "ab")
    long = python("'x'", prepare=noting("x"), is_once=True)
    rows_of_both = [Row("one", a, b), Row("two", long, long)]
    samples = run_rounds(rows_of_both, Workplace(tmp_path), 2, lambda _: None)
    assert (tmp_path / "empty/order").read_text() == "ab" + "abx" + "ba"
    assert {command: len(found) for command, found in samples.items()} == {a: 2, b: 2, long: 1}


def test_the_developer_s_settings_are_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_THREADS", "64")
    text = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    Workplace(tmp_path).measure(python(text))
    seen = json.loads((tmp_path / "empty/env.json").read_text())
    assert "DBT_THREADS" not in seen
    assert seen["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "false"
    assert seen["HOME"] == str(tmp_path / "home")


def test_each_command_has_a_name_of_its_own() -> None:
    commands = {side for row in rows() for side in (row.ours, row.peer)}
    assert len({str(command) for command in commands}) == len(commands)


# The table

A, B, C = python("a"), python("b", name="peer"), python("c", size=100, state="cold", name="floe c")
SAMPLES = {
    A: [Measurement(0.1, 0.2, 10_000_000), Measurement(0.3, 0.2, 30_000_000)],
    B: [Measurement(1.0, 2.0, 50_000_000), Measurement(1.0, 2.0, 50_000_000)],
    C: [Measurement(12.0, 2.0, 50_000_000), Measurement(14.0, 2.0, 50_000_000)],
}
PLAIN = (Row("first", A, B), Row("second", C, B))
WITH_GOALS = (Row("first", A, B, goal=0.5), Row("second", C, B, memory_goal=200))


def test_the_table_shows_medians_and_the_spread_of_ratios() -> None:
    assert table(results(PLAIN, SAMPLES)) == (
        "| floe        | state | models | peer | floe CPU s | peer CPU s | ratio | spread         "
        "| floe MB | peer MB |\n"
        "|-------------|-------|--------|------|------------|------------|-------|----------------"
        "|---------|---------|\n"
        "| python -c a |       |        | peer | 0.200      | 1.0        | 0.20  | 0.10 to 0.30   "
        "| 20      | 50      |\n"
        "| floe c      | cold  | 100    | peer | 13.0       | 1.0        | 13.00 | 12.00 to 14.00 "
        "| 50      | 50      |"
    )


def test_goals_have_a_column_once_there_are_any() -> None:
    [title, _, first, second] = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table(results(WITH_GOALS, SAMPLES)).splitlines()
    ]
    assert [first[title.index(name)] for name in ("goal", "goal MB")] == ["<= 0.5", ""]
    assert [second[title.index(name)] for name in ("goal", "goal MB")] == ["", "<= 200"]


def test_iceberg_has_a_table_of_its_own_with_clock_and_memory() -> None:
    samples = {
        A: [
            Measurement(2.0, 3.0, 60_000_000, "1 file"),
            Measurement(2.0, 3.0, 60_000_000, "2 files"),
        ],
        B: SAMPLES[B],
    }
    lake_row = Row("lake", A, B, goal=1.5, memory_ratio_goal=1.3, data_rows=20_000)
    products, telemetry, iceberg = tables(results((PLAIN[0], lake_row), samples))
    assert telemetry == ""
    assert products == table(results(PLAIN[:1], samples))
    [title, _, cells] = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in iceberg.splitlines()
    ]
    found = dict(zip(title, cells, strict=True))
    assert {name: found[name] for name in ("rows", "ratio", "clock", "goal")} == {
        "rows": "20,000",
        "ratio": "2.00",
        "clock": "1.50",
        "goal": "<= 1.5",
    }
    assert {name: found[name] for name in ("MB ratio", "goal ratio", "floe did")} == {
        "MB ratio": "1.20",
        "goal ratio": "<= 1.3",
        "floe did": "2 files",
    }
    assert tables(results(PLAIN, SAMPLES))[1:] == ("", "")


def test_programs_get_all_samples() -> None:
    found = document(results(PLAIN, SAMPLES), MACHINE, 2)
    assert found["machine"]["versions"] == {"floe-cli": "0.1.0"}
    assert found["rounds"] == 2
    assert found["rows"][1] == {
        "name": "second",
        "state": "cold",
        "models": 100,
        "rows": None,
        "ratio": 13.0,
        "spread": [12.0, 14.0],
        "clock_ratio": 1.0,
        "memory_ratio": 1.0,
        "goal": None,
        "memory_goal": None,
        "memory_ratio_goal": None,
        "floe": {
            "command": "python -c c",
            "cpu_seconds": [12.0, 14.0],
            "wall_seconds": [2.0, 2.0],
            "max_rss": [50_000_000, 50_000_000],
            "said": "",
        },
        "peer": {
            "command": "python -c b",
            "cpu_seconds": [1.0, 1.0],
            "wall_seconds": [2.0, 2.0],
            "max_rss": [50_000_000, 50_000_000],
            "said": "",
        },
    }


def test_the_page_names_machine_and_versions() -> None:
    text = page(results(PLAIN, SAMPLES), MACHINE, 7)
    assert "7 rounds" in text.replace("\n", " ")
    assert table(results(PLAIN, SAMPLES)) in text
    assert (
        "```text\nA processor, 2 cores, Linux x86_64, load 0.2 at the start\nPython 3.12.1\n"
        "floe-cli 0.1.0\n```"
    ) in text


def test_a_table_without_new_rows_stays_on_the_page() -> None:
    lake_row = (Row("lake", A, B, data_rows=20_000),)
    before = page(results(PLAIN, SAMPLES), MACHINE, 7)
    both = page(results(lake_row, SAMPLES), MACHINE, 3, before)
    assert both.startswith(before)
    assert table(results(lake_row, SAMPLES)) in both
    assert "3 rounds" in both
    assert page(results(PLAIN, SAMPLES), MACHINE, 7, both) == both


# The program


@pytest.mark.integration
def test_the_program_measures_and_writes(tmp_path: Path) -> None:
    figures, text = tmp_path / "figures.json", tmp_path / "page.md"
    done = CliRunner().invoke(
        main,
        [
            *("--only", "version", "--rounds", "1", "--output", "json", str(figures)),
            *("--write-page", str(text)),
        ],
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"^\| floe --version \| python -c pass \|", done.stdout, re.MULTILINE)
    assert [row["name"] for row in json.loads(figures.read_text())["rows"]] == ["version"]
    assert text.read_text().startswith("# What floe costs\n")


@pytest.mark.integration
def test_the_rows_about_iceberg_are_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["--only", "iceberg", "--rows", "20000", "--quick", "--output", "json", str(figures)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    measured = json.loads(figures.read_text())["rows"]
    assert [row["name"] for row in measured] == [row.name for row in rows() if row.data_rows]
    assert [row["rows"] for row in measured] == [*([20_000] * 6), 50_000, 1000]
    assert all(row[side]["said"] for row in measured for side in ("floe", "peer"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--only", "versions"],
            "Error: There is no row `versions`: there are version, help, validate, compile-cold, "
            "compile-unchanged, compile-touched, run-dbt, run-dagster, telemetry-run, "
            "telemetry-imports, definitions, iceberg-write, "
            "iceberg-write-zstd, iceberg-write-pyiceberg, iceberg-merge-clustered, "
            "iceberg-merge-scattered, iceberg-read, iceberg-write-bounded, iceberg-commits.",
        ),
        (
            ["--output", "json", "nowhere/figures.json"],
            "Error: There is no folder `nowhere` to write to.",
        ),
        (["--sizes", "9"], "Error: Invalid value for '--sizes': a product has 10 models or more"),
        (
            ["--sizes", "many"],
            "Error: Invalid value for '--sizes': `many` is not a list of whole numbers",
        ),
    ],
)
def test_a_mistake_on_the_command_line(words: list[str], message: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == message


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(interpreter))
    done = CliRunner().invoke(main, ["--only", "version"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: there is no `floe` beside {interpreter}: run `make bench`"
    )
