"""Several processes and threads at once, and processes that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import SCHEMA, Project

pytestmark = pytest.mark.integration


def start(project: Project, *arguments: str, path: str = "scratch.duckdb") -> subprocess.Popen[str]:
    """Run dbt in a process of its own, with a file of DuckDB of its own."""
    profiles = project.folder / f"profiles-{path}"
    profiles.mkdir(exist_ok=True)
    text = (project.folder / "profiles.yml").read_text().replace("scratch.duckdb", path)
    (profiles / "profiles.yml").write_text(text)
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *arguments]
    options = ["--profiles-dir", str(profiles), "--target-path", f"target-{path}"]
    return subprocess.Popen(
        [*command, *options, "--log-path", f"logs-{path}"],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_thirty_models_in_eight_threads(project: Project) -> None:
    project.set_profile(threads=8)
    project.write({"base": "select range as id from range(100)"})
    project.write(
        {
            f"m{n}": (
                f"{{{{ config(materialized='{('table', 'view', 'incremental')[n % 3]}',"
                f" schema='s{n % 4}') }}}} select id + {n} as id from {{{{ ref('base') }}}}"
            )
            for n in range(30)
        }
    )
    project.write({f"t{n}": f"select sum(id) as s from {{{{ ref('m{n}') }}}}" for n in range(10)})
    for _ in range(2):
        assert set(project.dbt("run").statuses.values()) == {"success"}
    assert project.rows("t7") == [(4950 + 700,)]


def test_two_processes_build_different_models(project: Project) -> None:
    project.write({"a": "select 1 as id", "b": "select 2 as id"})
    processes = [start(project, "run", "-s", name, path=f"{name}.duckdb") for name in "ab"]
    for process in processes:
        finish(process)
    assert (project.rows("a"), project.rows("b")) == ([(1,)], [(2,)])


def test_processes_change_one_table_and_lose_and_double_nothing(project: Project) -> None:
    project.write(
        {
            "m": (
                "{{ config(materialized='incremental', unique_key='id',"
                " incremental_strategy=var('strategy', 'merge')) }}"
                " select range + {{ var('start', 0) }} as id, '{{ var('start', 0) }}' as who"
                " from range({{ var('rows', 1) }})"
            )
        }
    )
    project.dbt("run")
    processes = [
        start(
            project,
            "run",
            "--vars",
            f"{{start: {n * 50 + 1}, rows: 100, strategy: {('merge', 'delete+insert')[n % 2]}}}",
            path=f"p{n}.duckdb",
        )
        for n in range(4)
    ]
    for process in processes:
        finish(process)
    assert project.rows("m", "id") == [(n,) for n in range(251)]


def test_a_file_of_duckdb_that_another_process_has_open(project: Project) -> None:
    project.write({"a": "select 1 as id"})
    code = (
        "import duckdb, time; c = duckdb.connect('scratch.duckdb');"
        " print('open', flush=True); time.sleep(300)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project.folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        outcome = project.dbt("run", fails=True)
        assert "give each process a `path`" in f"{outcome.output}{outcome.problem}"
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_write_that_is_stopped_leaves_the_table(project: Project, kind: signal.Signals) -> None:
    config = "{{ config(materialized='incremental', unique_key='id') }}"
    project.write({"m": f"{config} select range as id, 'old' as v from range(1000)"})
    project.dbt("run")
    project.write(
        {
            "m": f"{config} select range as id, 'new' as v, sum(sin(range)) over () as s"
            " from range(60000000)"
        }
    )
    process = start(project, "run", "--full-refresh")
    log = project.folder / "logs-scratch.duckdb" / "dbt.log"
    deadline = time.monotonic() + 120
    while not (log.exists() and "START sql" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    os.kill(process.pid, kind)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    assert len(project.rows("m")) == 1000
    if kind == signal.SIGINT:
        files = {f.file.file_path for f in project.table("m").scan().plan_files()}
        folder = Path(project.table("m").location().removeprefix("file://")) / "data"
        assert {path.as_uri() for path in folder.rglob("*.parquet")} == files
    project.write({"m": f"{config} select 1 as id, 'next' as v"})
    project.dbt("run")
    assert len(project.rows("m")) == 1000
    assert project.has_table(f"{SCHEMA}.m")
