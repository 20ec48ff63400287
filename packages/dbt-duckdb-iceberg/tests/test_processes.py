"""Several processes and threads at once, and processes that are stopped."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from floe_iceberg.maintenance import remove_orphan_files

from .conftest import SCHEMA, Project

pytestmark = pytest.mark.integration


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["dbt.cli.main", "dbt.adapters.duckdb_iceberg", "pyiceberg.table"])
"""Processes begin with dbt imported, which would be most of their time."""

COMMAND = """
import os, pathlib, sys
os.chdir(folder)
os.environ.update(environment)
os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
os.dup2(1, 2)

def note(event):
    if event.info.name == "LogStartLine":
        pathlib.Path(log).with_suffix(".began").touch()

from dbt.cli.main import dbtRunner

result = dbtRunner(callbacks=[note]).invoke(arguments)
sys.stdout.flush()
sys.exit(0 if result.success else 1)
"""


@dataclass
class Running:
    """dbt in a process of its own.

    Attributes:
        process: The process.
        log: What it says.
    """

    process: Any
    log: Path

    def wait_for_a_model(self) -> None:
        """Wait until dbt has begun to build something."""
        deadline = time.monotonic() + 120
        while not self.log.with_suffix(".began").exists():
            assert self.process.is_alive(), self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> int | None:
        """Wait for its end, and give its exit code."""
        self.process.join(timeout=300)
        code: int | None = self.process.exitcode
        return code

    def finish(self) -> None:
        """Wait until it is done, which it has to be well."""
        assert self.end() == 0, self.log.read_text()


def start(
    project: Project, *arguments: str, path: str = "scratch.duckdb", **environment: str
) -> Running:
    """Run dbt in a process of its own, with a file of DuckDB of its own."""
    profiles = project.folder / f"profiles-{path}"
    profiles.mkdir(exist_ok=True)
    text = (project.folder / "profiles.yml").read_text().replace("scratch.duckdb", path)
    (profiles / "profiles.yml").write_text(text)
    target = project.folder / f"target-{path}"
    if not target.exists():
        shutil.copytree(project.folder / "target", target)
    log = project.folder / f"{path}.log"
    log.with_suffix(".began").unlink(missing_ok=True)
    options = ["--profiles-dir", str(profiles), "--target-path", str(target), "--no-write-json"]
    given = {
        "folder": str(project.folder),
        "log": str(log),
        "environment": environment,
        "arguments": [*arguments, *options, "--log-level-file", "none"],
    }
    process = PROCESSES.Process(target=exec, args=(COMMAND, given))
    process.start()
    return Running(process, log)


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
        process.finish()
    assert (project.rows("a"), project.rows("b")) == ([(1,)], [(2,)])


def test_processes_change_one_table_and_lose_and_double_nothing(project: Project) -> None:
    project.write(
        {
            "m": (
                "{{ config(materialized='incremental', unique_key='id',"
                " incremental_strategy=env_var('STRATEGY', 'merge')) }}"
                " select range + {{ env_var('START', '0') }} as id,"
                " '{{ env_var('START', '0') }}' as who from range({{ env_var('ROWS', '1') }})"
            )
        }
    )
    project.dbt("run")
    processes = [
        start(
            project,
            "run",
            path=f"p{n}.duckdb",
            START=str(n * 50 + 1),
            ROWS="100",
            STRATEGY=("merge", "delete+insert")[n % 2],
        )
        for n in range(4)
    ]
    for process in processes:
        process.finish()
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


def test_each_model_in_its_own_process_without_the_file_of_duckdb(project: Project) -> None:
    project.write(
        {
            "seeds/names.csv": "id,name\n1,one\n2,two\n",
            "v": "{{ config(materialized='view') }} select id, name from {{ ref('names') }}",
            "w": "{{ config(materialized='view') }} select id, name from {{ ref('v') }}",
            "models/p.py": "def model(dbt, session):\n    return dbt.ref('w').filter('id > 0')\n",
            "i": (
                "{{ config(materialized='incremental', unique_key='id') }}"
                " select id, name, '{{ env_var('TURN') }}' as turn from {{ ref('p') }}"
                "{% if is_incremental() %} where id > 1 {% endif %}"
            ),
            "snapshots/s.sql": (
                "{% snapshot s %}{{ config(unique_key='id', strategy='check', check_cols='all') }}"
                " select * from {{ ref('i') }} {% endsnapshot %}"
            ),
        }
    )
    for turn in "12":
        for name in ("names", "v", "w", "p", "i", "s"):
            project.forget_duckdb()
            start(project, "build", "-s", name, TURN=turn).finish()
    assert project.rows("i") == [(1, "one", "1"), (2, "two", "2")]
    assert project.rows("s", "id, turn, dbt_valid_to IS NULL") == [
        (1, "1", True),
        (2, "1", False),
        (2, "2", True),
    ]


def test_an_interrupt_leaves_the_table_and_no_files(project: Project) -> None:
    config = "{{ config(materialized='incremental', unique_key='id') }}"
    project.write({"m": f"{config} select range as id, 'old' as v from range(1000)"})
    project.dbt("run")
    project.write(
        {
            "m": f"{config} select range as id, 'new' as v, sum(sin(range)) over () as s"
            " from range(60000000)"
        }
    )
    running = start(project, "run", "--full-refresh")
    running.wait_for_a_model()
    time.sleep(1)
    os.kill(running.process.pid, signal.SIGINT)
    assert running.end() != 0
    assert len(project.rows("m")) == 1000
    assert project.data_files("m") == project.files_of("m")
    project.write({"m": f"{config} select 1 as id, 'next' as v"})
    project.dbt("run")
    assert len(project.rows("m")) == 1000


KILLS = 20


def test_random_kills(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rows = "select range as id, {{ env_var('TURN') }} as turn from range(5000)"
    keyed = "materialized='incremental', unique_key='id', incremental_strategy="
    project.write(
        {
            "t": rows,
            "d": f"{{{{ config({keyed}'delete+insert') }}}} select * from {{{{ ref('t') }}}}",
            "m": f"{{{{ config({keyed}'merge') }}}} select * from {{{{ ref('t') }}}}",
            "v": "{{ config(materialized='view') }} select id, turn from {{ ref('m') }}",
            "snapshots/s.sql": (
                "{% snapshot s %}{{ config(unique_key='id', strategy='check',"
                " check_cols=['turn']) }} select * from {{ ref('v') }} where id < 50"
                " {% endsnapshot %}"
            ),
        }
    )
    monkeypatch.setenv("TURN", "0")
    project.dbt("build")
    seen: Counter[str] = Counter()
    for number in range(1, KILLS + 1):
        before = turns(project)
        running = start(project, "build", TURN=str(number))
        running.wait_for_a_model()
        time.sleep(chance.uniform(0, 1.0))
        running.process.kill()
        seen["killed" if running.end() == -signal.SIGKILL else "done"] += 1
        after = turns(project)
        for name, turn in after.items():
            assert turn in (before[name], number), name
            seen[f"{name} {'new' if turn == number else 'old'}"] += 1
        project.forget_duckdb()
        monkeypatch.setenv("TURN", str(number))
        project.dbt("build")
        assert set(turns(project).values()) == {number}
        assert len(project.rows("s", "id")) == 50 * (number + 1)
    print(dict(seen))
    assert seen["killed"] > 0
    assert seen["t old"] + seen["m old"] > 0
    for name in ("t", "d", "m", "s"):
        report = remove_orphan_files(
            project.catalog, (SCHEMA, name), older_than=timedelta(seconds=-60)
        )
        print(f"{name}: {len(report.removed)} files that nobody needs")
        assert project.data_files(name) <= project.files_of(name)
    assert set(turns(project).values()) == {KILLS}


def turns(project: Project) -> dict[str, int]:
    """The turn that each table is of, after seeing that it is whole."""
    found = {}
    for name, count, where in (
        ("t", 5000, "true"),
        ("d", 5000, "true"),
        ("m", 5000, "true"),
        ("s", 50, "dbt_valid_to IS NULL"),
    ):
        rows = [row for row in project.rows(name, f"id, turn, {where}") if row[2]]
        assert [row[0] for row in rows] == list(range(count)), name
        [found[name]] = {row[1] for row in rows}
    return found
