from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import (
    DbtError,
    Event,
    NodeFinished,
    NodeStarted,
    Selection,
)


def ignore(event: Event) -> None:
    pass


def by_name(nodes: tuple[NodeFinished, ...]) -> dict[str, NodeFinished]:
    return {node.name: node for node in nodes}


class TestParse:
    def test_writes_the_manifest(self, engine: DbtCore, shop: Any) -> None:
        invocation = shop.invocation()
        result = engine.parse(invocation)
        assert result.error is None
        assert result.warnings == ()
        assert (invocation.target_path / "manifest.json").is_file()

    def test_writes_nothing_beside_what_it_was_told_to(self, engine: DbtCore, shop: Any) -> None:
        before = shop.files()
        engine.parse(shop.invocation())
        written = shop.files() - before
        assert written
        assert {path.split("/")[0] for path in written} == {".floe"}

    @pytest.mark.parametrize(
        ("files", "error", "path", "line"),
        [
            pytest.param(
                {"models/bad.sql": "select 1\nfrom {{ foo( }}\n"},
                "unexpected '}', expected ')'",
                "models/bad.sql",
                2,
                id="jinja",
            ),
            pytest.param(
                {"models/bad.sql": "select * from {{ ref('nope') }}\n"},
                "Model 'model.shop.bad' (models/bad.sql) depends on a node named 'nope' which was "
                "not found",
                "models/bad.sql",
                None,
                id="ref",
            ),
            pytest.param(
                {"models/deep/bad.yml": "models:\n  - name: x\n    tags: [\n"},
                "the file is not YAML: while parsing a flow node, did not find expected node "
                "content",
                "models/deep/bad.yml",
                4,
                id="yaml",
            ),
            pytest.param(
                {"models/bad.sql": "select {{ env_var('NOT_SET') }}\n"},
                "Env var required but not provided: 'NOT_SET'",
                "models/bad.sql",
                1,
                id="env_var",
            ),
            pytest.param(
                {"models/stg/stg_orders.sql": "select 1 as id\n"},
                'dbt found two models with the name "stg_orders".',
                None,
                None,
                id="two models of one name",
            ),
        ],
    )
    def test_tells_what_is_wrong_and_where(
        self,
        engine: DbtCore,
        shop: Any,
        files: dict[str, str],
        error: str,
        path: str | None,
        line: int | None,
    ) -> None:
        shop.write(files)
        result = engine.parse(shop.invocation())
        assert result.error is not None
        assert result.error.startswith(error)
        assert (result.path, result.line) == (path, line)

    def test_packages_that_are_not_installed(self, engine: DbtCore, shop: Any) -> None:
        shop.write({"packages.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n"})
        result = engine.parse(shop.invocation())
        assert result.is_missing_packages
        assert "dbt_packages" in (result.error or "")

    def test_collects_warnings(self, engine: DbtCore, shop: Any) -> None:
        shop.write({"models/other.yml": "models: [{name: nobody}]\n"})
        result = engine.parse(shop.invocation())
        assert result.error is None
        [warning] = result.warnings
        assert "nobody" in warning
        assert "\x1b" not in warning

    def test_deprecations_are_told_each_time_and_to_nobody_else(
        self, engine: DbtCore, shop: Any, workspace: Any
    ) -> None:
        old = {"dbt_project.yml": "name: old\nversion: '1.0'\ntarget-path: out\n"}
        workspace.write({**old, "models/a.sql": "select 1 as a\n"}, "old")
        for _ in range(2):
            [warning] = engine.parse(workspace.invocation("old")).warnings
            assert "target-path" in warning
            assert not warning.startswith(("[", "Deprecated functionality"))
        assert engine.parse(shop.invocation()).warnings == ()

    def test_sees_vars_and_environment(
        self, engine: DbtCore, shop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.write({"models/v.sql": "select {{ var('n') }} as n, '{{ env_var('MINE') }}' as m\n"})
        invocation = shop.invocation(vars={"n": 7}, environment={"MINE": "yes"})
        assert engine.build(invocation, Selection(("v",)), ignore).is_success
        assert shop.rows("select n, m from v") == [(7, "yes")]
        assert "MINE" not in os.environ


@pytest.fixture(scope="module")
def shared_shop(new_workspace: Callable[[str], Any], shop_files: Mapping[str, str]) -> Any:
    """The small project for tests that leave it as it is."""
    return new_workspace("shared").write(shop_files)


class TestList:
    @pytest.mark.parametrize(
        ("select", "expected"),
        [
            (("tag:mart",), ["model.shop.revenue"]),
            (("revenue", "raw_orders"), ["model.shop.revenue", "seed.shop.raw_orders"]),
            (("nobody",), []),
            (("models/marts",), ["model.shop.revenue"]),
        ],
    )
    def test_resolves_selections(
        self, engine: DbtCore, shared_shop: Any, select: tuple[str, ...], expected: list[str]
    ) -> None:
        assert list(engine.list(shared_shop.invocation(), Selection(select))) == expected

    def test_tests_come_along(self, engine: DbtCore, shared_shop: Any) -> None:
        eager = engine.list(shared_shop.invocation(), Selection(("stg_orders",)))
        assert [unique_id.split(".")[0] for unique_id in eager] == ["model", "test", "test"]
        alone = engine.list(shared_shop.invocation(), Selection(("stg_orders",), indirect="empty"))
        assert alone == ("model.shop.stg_orders",)

    def test_all_without_a_selection_but_for_what_is_excluded(
        self, engine: DbtCore, shared_shop: Any
    ) -> None:
        nodes = engine.list(shared_shop.invocation(), Selection(exclude=("resource_type:test",)))
        assert nodes == ("model.shop.revenue", "model.shop.stg_orders", "seed.shop.raw_orders")

    def test_refuses_a_selector_that_dbt_does_not_know(
        self, engine: DbtCore, shared_shop: Any
    ) -> None:
        with pytest.raises(DbtError) as caught:
            engine.list(shared_shop.invocation(), Selection(("tga:mart",)))
        assert caught.value.message == "'tga' is not a valid method name"


class TestBuild:
    def test_tells_of_each_node_once_when_it_starts_and_once_when_it_ends(
        self, engine: DbtCore, shared_shop: Any
    ) -> None:
        events: list[Event] = []
        before = datetime.now(UTC)
        result = engine.build(shared_shop.invocation(), Selection(), events.append)
        assert result.is_success
        assert result.error is None
        started = [event for event in events if isinstance(event, NodeStarted)]
        finished = [event for event in events if isinstance(event, NodeFinished)]
        assert tuple(finished) == result.nodes
        assert sorted(e.unique_id for e in started) == sorted(e.unique_id for e in finished)
        assert len(finished) == 5
        assert all(before <= event.started_at <= datetime.now(UTC) for event in started)
        assert all(0 < node.seconds < 60 for node in finished)
        assert Counter(node.status for node in result.nodes) == {"success": 3, "pass": 2}

    def test_tells_about_relations_files_and_rows(self, engine: DbtCore, shared_shop: Any) -> None:
        invocation = shared_shop.invocation()
        nodes = by_name(engine.build(invocation, Selection(), ignore).nodes)
        seed, view, table = nodes["raw_orders"], nodes["stg_orders"], nodes["revenue"]
        assert seed.rows == 3
        assert view.rows is None
        assert table.rows == 2
        assert table.relation == '"engine"."main"."revenue"'
        assert (seed.path, table.path) == ("seeds/raw_orders.csv", "models/marts/revenue.sql")
        assert Path(table.compiled_path or "").read_text().startswith("\nselect status")
        test = nodes["unique_stg_orders_id"]
        assert (test.resource_type, test.failures, test.rows) == ("test", 0, None)
        assert "group by" in Path(test.compiled_path or "").read_text()

    def test_tells_what_the_database_said_and_on_which_line(
        self, engine: DbtCore, shop: Any
    ) -> None:
        shop.write(
            {
                "models/bad.sql": "{{ config(materialized='table') }}\n\n"
                "select id,\n  amuont\nfrom {{ ref('stg_orders') }}\n",
                "models/child.sql": "select * from {{ ref('bad') }}\n",
            }
        )
        result = engine.build(shop.invocation(), Selection(), ignore)
        nodes = by_name(result.nodes)
        bad = nodes["bad"]
        assert not result.is_success
        assert result.error is None
        assert bad.status == "error"
        assert bad.message is not None
        assert bad.message.startswith('Binder Error: Referenced column "amuont" not found')
        assert "compiled" not in bad.message
        assert (bad.path, bad.line) == ("models/bad.sql", 4)
        child = nodes["child"]
        assert (child.status, child.message, child.seconds) == ("skipped", None, 0.0)
        assert nodes["revenue"].status == "success"

    def test_a_line_that_is_not_certain_is_not_told(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "models/bad.sql": "{{ config(materialized='table') }}\n"
                "{% for _ in range(2) %}select nope\nfrom {{ ref('stg_orders') }}\n"
                "{% if not loop.last %}union all{% endif %}\n{% endfor %}\n"
            }
        )
        nodes = by_name(engine.build(shop.invocation(), Selection(("+bad",)), ignore).nodes)
        assert nodes["bad"].status == "error"
        assert nodes["bad"].line is None

    def test_an_error_of_jinja_at_run_time(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "models/bad.sql": "select {{ exceptions.raise_compiler_error('not today') "
                "if execute else 1 }} as a\n"
            }
        )
        [node] = engine.build(shop.invocation(), Selection(("bad",)), ignore).nodes
        assert (node.status, node.message) == ("error", "not today")

    def test_failing_and_warning_tests(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "tests/no_open.sql": "select * from {{ ref('stg_orders') }} where status = 'open'",
                "tests/no_paid.sql": "{{ config(severity='warn') }}\n"
                "select * from {{ ref('stg_orders') }} where status = 'paid'",
            }
        )
        result = engine.build(shop.invocation(), Selection(), ignore)
        nodes = by_name(result.nodes)
        failed, warned = nodes["no_open"], nodes["no_paid"]
        assert (failed.status, failed.failures) == ("fail", 1)
        assert failed.message == "Got 1 result, configured to fail if != 0"
        assert (warned.status, warned.failures) == ("warn", 2)
        assert nodes["revenue"].status == "skipped"
        assert not result.is_success

    def test_full_refresh(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "models/growing.sql": "{{ config(materialized='incremental') }}\n"
                "select 1 as a from {{ ref('raw_orders') }} limit 1\n"
            }
        )
        selection, invocation = Selection(("+growing",)), shop.invocation()
        for _ in range(3):
            result = engine.build(invocation, selection, ignore)
            assert result.is_success
            assert by_name(result.nodes)["growing"].rows is None  # nobody knows
        assert shop.rows("select count(*) from growing") == [(3,)]
        assert engine.build(invocation, selection, ignore, full_refresh=True).is_success
        assert shop.rows("select count(*) from growing") == [(1,)]

    def test_nothing_selected_is_a_success(self, engine: DbtCore, shared_shop: Any) -> None:
        result = engine.build(shared_shop.invocation(), Selection(("nobody",)), ignore)
        assert (result.nodes, result.is_success) == ((), True)

    def test_a_project_that_does_not_parse(self, engine: DbtCore, shop: Any) -> None:
        shop.write({"models/bad.sql": "select * from {{ ref('nope') }}\n"})
        result = engine.build(shop.invocation(), Selection(), ignore)
        assert result.nodes == ()
        assert "depends on a node named 'nope'" in (result.error or "")
        assert not result.is_unreachable

    def test_hooks_that_fail(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "dbt_project.yml": "name: shop\nversion: '1.0'\n"
                "on-run-start: ['select * from nope']\n"
            }
        )
        result = engine.build(shop.invocation(), Selection(), ignore)
        assert not result.is_success
        assert "nope does not exist" in (result.error or "")

    def test_a_listener_that_fails_ends_the_build(self, engine: DbtCore, shop: Any) -> None:
        def fail(event: Event) -> None:
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            engine.build(shop.invocation(), Selection(), fail)
        assert engine.build(shop.invocation(), Selection(), ignore).is_success

    def test_unit_tests_and_microbatches_end_once(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "models/days.sql": "{{ config(materialized='incremental', "
                "incremental_strategy='microbatch', event_time='day', batch_size='day', "
                f"begin='{date.today() - timedelta(days=1)}') }}}}\n"
                "select current_timestamp::timestamp as day\n",
                "models/units.yml": "unit_tests:\n"
                "  - name: sums\n"
                "    model: revenue\n"
                "    given:\n"
                "      - input: ref('stg_orders')\n"
                "        rows: [{status: a, amount: 1}, {status: a, amount: 2}]\n"
                "    expect: {rows: [{status: a, amount: 4}]}\n",
            }
        )
        events: list[Event] = []
        result = engine.build(shop.invocation(), Selection(("+revenue", "days")), events.append)
        started = [event.name for event in events if isinstance(event, NodeStarted)]
        assert sorted(started) == sorted(set(started))
        nodes = by_name(result.nodes)
        assert len(nodes) == len(result.nodes)
        assert (nodes["sums"].resource_type, nodes["sums"].status) == ("test", "fail")
        assert "days" in nodes
        assert nodes["revenue"].status == "skipped"

    def test_tells_the_columns_of_what_is_made_and_read_where_asked(
        self, engine: DbtCore, shop: Any
    ) -> None:
        shop.write(
            {
                "models/sources.yml": "sources: [{name: main, tables: [{name: raw_orders}]}]\n",
                "models/paid.sql": (
                    "{{ config(materialized='ephemeral') }}\n"
                    "select id, {'day': current_date} as at from {{ source('main', 'raw_orders') }}"
                ),
                "models/last.sql": "select * from {{ ref('paid') }}, {{ ref('revenue') }}",
            }
        )
        quiet = engine.build(shop.invocation(), Selection(), ignore)
        assert [node.relations for node in quiet.nodes if node.relations] == []

        def told(*select: str) -> dict[str, dict[str, dict[str, str]]]:
            invocation = shop.invocation(describes=True)
            built = by_name(engine.build(invocation, Selection(select=select), ignore).nodes)
            return {
                name: {uid: dict(known.columns) for uid, known in node.relations.items()}
                for name, node in built.items()
                if node.relations
            }

        orders = {"id": "INTEGER", "status": "VARCHAR", "amount": "INTEGER"}
        revenue = {"status": "VARCHAR", "amount": "HUGEINT"}
        last = {"id": "INTEGER", "at": 'STRUCT("day" DATE)', **revenue}
        assert told("last") == {
            "last": {
                "model.shop.last": last,
                "model.shop.revenue": revenue,
                "source.shop.main.raw_orders": orders,
            }
        }
        every = told()
        made = {name: f"model.shop.{name}" for name in ("stg_orders", "revenue", "last")}
        made["raw_orders"] = "seed.shop.raw_orders"
        assert {name: every[name][uid] for name, uid in made.items()} == {
            "raw_orders": orders,
            "stg_orders": orders,
            "revenue": revenue,
            "last": last,
        }
        assert list(every["revenue"]) == ["model.shop.revenue"], "its parents were told of before"
        assert list(every["last"]["model.shop.last"]) == ["id", "at", "status", "amount"]


class TestUnreachable:
    def test_another_process_holds_the_database(self, engine: DbtCore, shop: Any) -> None:
        engine.build(shop.invocation(), Selection(("raw_orders",)), ignore)
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); "
                "sys.stdin.read()",
                str(shop.database),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            result = engine.build(shop.invocation(), Selection(), ignore)
            assert holder.stdin is not None
            holder.stdin.close()
        assert result.is_unreachable
        assert f"process {holder.pid}" in (result.error or "")
        assert ".floe/data/local/engine.duckdb" in (result.error or "")

    def test_a_server_that_does_not_listen(
        self, engine: DbtCore, shop: Any, closed_port: int
    ) -> None:
        invocation = shop.invocation()
        (invocation.profiles_dir / "profiles.yml").write_text(
            "floe: {target: local, outputs: {local: {type: postgres, host: 127.0.0.1, "
            f"port: {closed_port}, user: u, password: p, dbname: d, schema: s, threads: 1}}}}}}\n"
        )
        assert engine.parse(invocation).error is None
        result = engine.build(invocation, Selection(), ignore)
        assert result.is_unreachable
        assert str(closed_port) in (result.error or "")
        assert result.nodes == ()


class TestIsolation:
    """What dbt does to the process is undone."""

    def test_environment_and_working_directory(
        self, engine: DbtCore, shop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        monkeypatch.setenv("DBT_TARGET_PATH", str(elsewhere / "target"))
        monkeypatch.setenv("DBT_ENGINE_LOG_PATH", str(elsewhere / "logs"))
        monkeypatch.setenv("DBT_TARGET", "prod")
        monkeypatch.setenv("DBT_PROFILES_DIR", str(elsewhere))
        monkeypatch.setenv("DBT_PROJECT_DIR", str(elsewhere))
        monkeypatch.setenv("DBT_RESOURCE_TYPES", "seed")
        monkeypatch.setenv("DBT_DEBUG", "1")
        before = dict(os.environ)
        result = engine.build(shop.invocation(), Selection(), ignore)
        assert len(result.nodes) == 5
        assert dict(os.environ) == before
        assert Path.cwd() == elsewhere
        assert list(elsewhere.iterdir()) == []

    def test_a_users_wish_to_be_strict_is_heard(
        self, engine: DbtCore, shop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.write({"models/other.yml": "models: [{name: nobody}]\n"})
        monkeypatch.setenv("DBT_WARN_ERROR", "1")
        assert "nobody" in (engine.parse(shop.invocation()).error or "")

    def test_the_terminal_stays_silent(
        self, engine: DbtCore, shop: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        shop.write({"models/loud.sql": "{{ print('hello') }}{{ log('hi', info=true) }}select 1\n"})
        invocation = shop.invocation()
        engine.parse(invocation)
        engine.list(invocation, Selection())
        engine.build(invocation, Selection(), ignore)
        assert capfd.readouterr() == ("", "")
        assert "hi" in (invocation.log_path / "dbt.log").read_text()

    def test_the_database_is_free_for_others_at_once(
        self, engine: DbtCore, shared_shop: Any
    ) -> None:
        assert engine.build(shared_shop.invocation(), Selection(), ignore).is_success
        with duckdb.connect(str(shared_shop.database)) as connection:
            connection.execute("create table mine as select 1")
        code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('drop table mine')"
        subprocess.run([sys.executable, "-c", code, str(shared_shop.database)], check=True)

    def test_projects_and_targets_take_turns(self, engine: DbtCore, shop: Any) -> None:
        shop.write(
            {
                "dbt_project.yml": "name: other\nversion: '1.0'\n",
                "models/which.sql": "select '{{ target.name }}' as target\n",
            },
            "other",
        )
        for target in ("local", "prod", "local"):
            assert engine.build(shop.invocation("other", target), Selection(), ignore).is_success
            assert shop.rows("select target from which") == [(target,)]
            assert engine.build(shop.invocation(), Selection(("raw_orders",)), ignore).is_success

    def test_builds_of_several_threads_take_turns(self, engine: DbtCore, shared_shop: Any) -> None:
        results: list[bool] = []

        def build() -> None:
            own = DbtCore()
            results.append(own.build(shared_shop.invocation(), Selection(), ignore).is_success)

        threads = [threading.Thread(target=build) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True, True, True]
