"""A product on a real PostgreSQL server: compile, run, query; wrong passwords and no leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from floe_testing.canaries import traces
from floe_testing.cli import run_floe
from floe_testing.control_plane import on_duckdb
from floe_testing.postgres import Server, server

PASSWORD = "canary-password-4711"
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server(PASSWORD) as started:
        yield started


@pytest.fixture
def shop(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    properties = {
        "host": postgres.host,
        "port": postgres.port,
        "dbname": "mart",
        "schema": "public",
    }
    credentials = {
        "mode": "static",
        "username": {"secret_ref": "pg", "key": "user"},
        "password": {"secret_ref": "pg", "key": "password"},
    }
    compute = {"type": "postgres", "properties": properties, "credentials": credentials}
    platform = {"version": "1.1.0", "name": "server", "compute": {"default": compute}}
    (folder / "platform.yaml").write_text(yaml.safe_dump(platform))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PG", json.dumps({"user": "floe", "password": PASSWORD}))
    return folder


def test_run_query_and_run_again(shop: Path) -> None:
    first = run_floe("run", "--output", "json")
    assert first.exit_code == 0, first.stderr
    record = json.loads(first.stdout)
    rows = {node["name"]: node["rows"] for node in record["nodes"] if node["rows"] is not None}
    assert rows == {"raw_orders": 10, "stg_orders": 10, "customers": 4, "daily_revenue": 4}
    query = "select customer, orders from customers order by orders desc, customer"
    result = run_floe("query", "--output", "csv", query)
    assert result.stdout == "customer,orders\ngrace,3\nada,2\nmargaret,2\nlinus,1\n"
    assert run_floe("run", "--select", "customers").exit_code == 0


def test_a_query_cannot_write(shop: Path) -> None:
    assert run_floe("run", "--quiet").exit_code == 0
    refused = run_floe("query", "delete from customers")
    assert refused.exit_code == 1
    assert "`DELETE` is not a query" in refused.stderr
    count = run_floe("query", "--output", "csv", "select count(*) as n from customers")
    assert count.stdout == "n\n4\n"


def test_a_model_that_breaks_is_named(shop: Path) -> None:
    model = shop / "dbt/models/customers.sql"
    model.write_text(model.read_text().replace("sum(amount)", "sum(nothing)"))
    failed = run_floe("run")
    assert failed.exit_code == 1
    assert "dbt/models/customers.sql" in failed.stderr
    assert 'column "nothing" does not exist' in failed.stderr


def test_a_wrong_password_is_an_unreachable_service(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PASSWORD", "not-the-password-0815")
    for command in (["query", "select 1"], ["run"]):
        refused = run_floe(*command)
        assert refused.exit_code == 5, refused.stderr
        assert "password authentication failed" in refused.stderr
        assert "0815" not in refused.stdout + refused.stderr


def test_a_pulled_product_signs_in_with_one_secret(
    postgres: Server, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = {
        "target": "postgres",
        "connection_secret_ref": "floe-secrets/warehouse",
        "properties": {"port": postgres.port, "dbname": "mart", "schema": "pulled"},
    }
    secret = {"host": postgres.host, "username": "floe", "password": PASSWORD}
    monkeypatch.setenv("FLOE_SECRETS_WAREHOUSE", json.dumps(secret))
    (shop.parent / "artifacts.json").write_text(json.dumps(on_duckdb(compute=compute)))
    named = ("--artifacts", "../artifacts.json")
    ran = run_floe("run", *named)
    assert ran.exit_code == 0, ran.stderr
    count = run_floe("query", *named, "-o", "csv", "select count(*) as n from pulled.customers")
    assert count.stdout == "n\n4\n"
    assert traces({"the password": PASSWORD}, [shop / ".floe"]) == []


def test_no_file_holds_the_password(shop: Path) -> None:
    assert run_floe("run").exit_code == 0
    assert len(list((shop / ".floe").rglob("*.*"))) > 10
    assert traces({"the password": PASSWORD}, [shop / ".floe"]) == []


def test_a_python_transform_reads_and_writes(shop: Path) -> None:
    text = (shop / "floe.yaml").read_text()
    line = '  - {name: scores, type: python, entry: "scoring:build", depends_on: [shop]}\n'
    (shop / "floe.yaml").write_text(text.replace("transforms:\n", f"transforms:\n{line}"))
    (shop / "scoring.py").write_text(
        "def build(context):\n"
        "    with context.connect().cursor() as cursor:\n"
        "        cursor.execute('drop table if exists scores')\n"
        "        cursor.execute('create table scores as select * from daily_revenue')\n"
        "        return {'rows': cursor.rowcount}\n"
    )
    assert run_floe("run", "--transform", "shop").exit_code == 0
    done = run_floe("run", "--select", "scores", "--output", "json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert [node["rows"] for node in json.loads(done.stdout)["nodes"]] == [4]
    (shop / "scoring.py").write_text(
        "def build(context):\n"
        "    context.connect().cursor().execute('drop table scores')\n"
        f"    raise RuntimeError(context.connect().info.password or '{PASSWORD}')\n"
    )
    done = run_floe("run", "--select", "scores")
    assert done.exit_code == 1
    assert "RuntimeError: *****" in done.stderr
    count = run_floe("query", "--output", "csv", "select count(*) as n from scores")
    assert count.stdout == "n\n4\n"
    assert traces({"the password": PASSWORD}, [shop / ".floe"]) == []
