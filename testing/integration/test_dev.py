"""`floe dev` with real processes, a real browser and Dagster's GraphQL API."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from floe_core.layout import Layout
from floe_dagster.records import read_records
from floe_testing.browser import page
from floe_testing.cli import run_floe
from floe_testing.control_plane import API_KEY, artifacts, control_plane, serving
from floe_testing.dev_server import PATIENCE_SECONDS, dev_server, processes_of, wait_for

pytestmark = pytest.mark.integration

ENDLESS = "select sum(a.range * b.range) as n from range(10000000) a, range(10000000) b"
MODELS = {"raw_orders", "stg_orders", "customers", "daily_revenue"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    return folder


def test_assets_are_shown_in_a_browser_and_follow_the_files(shop: Path) -> None:
    with dev_server(shop) as server, page() as browser:
        browser.goto(f"{server.url}/asset-groups")
        for name in MODELS:
            browser.get_by_text(name, exact=True).first.wait_for(timeout=120_000)

        run_id = server.launch()
        assert server.wait_for_run(run_id) == "SUCCESS"
        count = run_floe("query", "-C", str(shop), "-o", "csv", "select count(*) n from customers")
        assert count.stdout == "n\n4\n"
        listed = json.loads(run_floe("list", "-C", str(shop), "-o", "json").stdout)
        assert listed["last_run"] == {"status": "success", "run_id": run_id}
        [transform] = listed["transforms"]
        assert {node["last_status"] for node in transform["nodes"]} == {"success"}

        (shop / "dbt/models/big_spenders.sql").write_text(
            "select * from {{ ref('customers') }} where amount > 100\n"
        )
        server.wait_to_say("Compiled again: 1 model added; reloaded.")
        assert server.assets == {*MODELS, "big_spenders"}

        good = (shop / "floe.yaml").read_text()
        (shop / "floe.yaml").write_text(good.replace("transforms:", "transformz:"))
        server.wait_to_say("Not reloaded")
        assert "did you mean `transforms`?" in server.said
        assert server.assets == {*MODELS, "big_spenders"}

        (shop / "floe.yaml").write_text(good)
        server.wait_to_say("Compiled again: nothing changed; reloaded.")

        left = processes_of(shop) - {server.process.pid}
        assert len(left) >= 4
        assert server.stop() == 130
        assert server.said.endswith("Stopping ...\nStopped.\n")
        assert "Traceback" not in server.said
        wait_for_the_end(shop)


def test_a_run_in_progress_keeps_compiles_waiting_and_ends_with_the_server(shop: Path) -> None:
    (shop / "dbt/models/stg_orders.sql").write_text(f"-- {{{{ ref('raw_orders') }}}}\n{ENDLESS}\n")
    with dev_server(shop) as server:
        first = server.launch()
        wait_for(lambda: is_at_work(shop), "the start of the second model")
        (shop / "dbt/models/more.sql").write_text("select 1 as one")
        server.wait_to_say(f"Dagster run {first}")
        assert "is compiled later" in server.said
        server.terminate(first)
        assert server.wait_for_run(first) == "CANCELED"
        server.wait_to_say("Compiled again: 1 model added; reloaded.")

        (shop / ".floe/local/logs/dbt.log").unlink()
        second = server.launch()
        wait_for(lambda: is_at_work(shop), "the start of the second model")
        assert server.stop(signal.SIGTERM) == 130
        wait_for_the_end(shop)
    newest, older = read_records(Layout(shop), "local")
    assert (older.run_id, older.status) == (first, "cancelled")
    assert (newest.run_id, newest.status) == (second, "cancelled")


def is_at_work(shop: Path) -> bool:
    log = shop / ".floe/local/logs/dbt.log"
    return log.exists() and "START sql table model main.stg_orders" in log.read_text()


def test_nothing_survives_a_server_that_is_killed(shop: Path) -> None:
    with dev_server(shop) as server:
        assert len(processes_of(shop)) >= 5
        server.process.kill()
        wait_for_the_end(shop)


def test_one_server_serves_a_project_and_says_where(shop: Path) -> None:
    with dev_server(shop, "--schedules") as server:
        [schedule] = server.repository["schedules"]
        assert schedule == {"name": "every_morning", "scheduleState": {"status": "RUNNING"}}
        second = run_floe("dev", "-C", str(shop), "--port", "0")
        assert second.exit_code == 1
        assert f"process {server.process.pid} (`floe dev at {server.url}`, since" in second.stderr
        port = server.url.rpartition(":")[2]
        taken = run_floe("dev", "-C", str(shop), "--port", port)
        assert taken.exit_code == 2
        assert taken.stderr == (
            f"error: port {port} of 127.0.0.1 is in use by another program\n"
            "  help: Choose another with `--port`; `--port 0` takes a free one.\n"
        )
        daemon = child(shop, "dagster._daemon")
        os.kill(daemon, signal.SIGKILL)
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 5
        assert "error: Dagster's daemon was ended by signal 9; the end of" in server.said
        wait_for_the_end(shop)


def test_a_change_while_the_services_start_is_not_lost(shop: Path) -> None:
    with dev_server(shop) as server:
        # The server has said where it is, and does not watch yet.
        (shop / "dbt/models/more.sql").write_text("select 1 as one")
        server.wait_to_say("Compiled again: 1 model added; reloaded.")
        assert "more" in server.assets


def test_pulled_artifacts_are_served_as_they_are(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOE_API_KEY", API_KEY)
    compute = {"target": "duckdb", "properties": {"path": "preview.duckdb"}}
    with control_plane() as running:
        running.script = serving({"env-uuid-789": artifacts(compute=compute)})
        where = f"{{api_url: '{running.url}', environments: {{preview: env-uuid-789}}}}"
        (shop / "platform.yaml").write_text(f"control_plane: {where}\n")
        assert run_floe("pull", "-C", str(shop), "--env", "preview").exit_code == 0
    pulled = (shop / ".floe/artifacts.json").read_bytes()
    with dev_server(shop) as server:
        assert "Taking the artifacts that were pulled: my-project for environment preview." in (
            server.said
        )
        assert server.wait_for_run(server.launch()) == "SUCCESS"
        assert server.stop() == 130
    [record] = read_records(Layout(shop), "preview")
    assert (record.product, record.status) == ("my-project", "success")
    assert (shop / "preview.duckdb").exists()
    assert (shop / ".floe/artifacts.json").read_bytes() == pulled
    refused = run_floe("dev", "-C", str(shop), "--port", "0", "--env", "local")
    assert refused.exit_code == 2
    assert "`--env` cannot change the artifacts that were pulled" in refused.stderr


def wait_for_the_end(shop: Path) -> None:
    """Wait until all processes are gone: Python's resource tracker outlives its parent."""
    wait_for(lambda: processes_of(shop) == set(), "the end of all processes")


def child(shop: Path, word: str) -> int:
    """Id of the one process of the project with this word in its command line."""
    [found] = [
        process
        for process in processes_of(shop)
        if word in Path(f"/proc/{process}/cmdline").read_text()
    ]
    return found
