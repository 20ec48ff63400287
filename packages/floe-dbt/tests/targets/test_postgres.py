from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from floe_core import profiles
from floe_core.errors import QueryError, ServiceUnavailableError
from floe_core.plugins import QueryResult
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef
from floe_dbt.dbt_core import DbtCore
from floe_dbt.engine import Selection
from floe_dbt.targets.postgres import PostgresTarget
from floe_testing import postgres

TARGET = PostgresTarget()
USERNAME, PASSWORD = "DBT_ENV_SECRET_FLOE_USERNAME", "DBT_ENV_SECRET_FLOE_PASSWORD"
CREDENTIALS = {
    "mode": "static",
    "username": {"secret_ref": "pg", "key": "user"},
    "password": {"secret_ref": "pg", "key": "password"},
}
PROPERTIES = {"host": "db", "dbname": "mart"}


def compute(credentials: Any = CREDENTIALS, **properties: Any) -> ComputeProfile:
    return ComputeProfile.model_validate(
        {"type": "postgres", "properties": properties, "credentials": credentials}
    )


def test_properties_are_those_of_the_adapter() -> None:
    """A new field of the adapter has to be decided on: a property, or one of these."""
    from dbt.adapters.postgres.connections import PostgresCredentials

    left_out = {"autocommit"}  # dbt-postgres heeds it behind a behaviour flag only
    floes_own = {"dbname", "threads"}
    known = {field.name for field in fields(PostgresCredentials)}
    assert set(TARGET.properties) - floes_own == known - left_out


def test_is_installed() -> None:
    assert TARGET.is_installed()


class TestOutput:
    def test_holds_no_secret(self) -> None:
        profile = compute(**PROPERTIES, port=6432, sslrootcert="certs/ca.pem")
        assert TARGET.output(profile, "prod") == {
            "type": "postgres",
            "host": "db",
            "port": 6432,
            "dbname": "mart",
            "schema": "public",
            "threads": 4,
            "user": "{{ env_var('DBT_ENV_SECRET_FLOE_USERNAME') }}",
            "password": "{{ env_var('DBT_ENV_SECRET_FLOE_PASSWORD') }}",
            "sslrootcert": "{{ env_var('FLOE_PROJECT_DIR') }}/certs/ca.pem",
        }
        assert TARGET.secrets(profile) == {
            USERNAME: SecretRef(secret_ref="pg", key="user"),
            PASSWORD: SecretRef(secret_ref="pg", key="password"),
        }

    def test_literal_user_name_and_other_spelling(self) -> None:
        profile = compute({**CREDENTIALS, "username": "etl"}, host="db", database="mart")
        output = TARGET.output(profile, "prod")
        assert (output["user"], output["dbname"]) == ("etl", "mart")
        assert "database" not in output
        assert set(TARGET.secrets(profile)) == {PASSWORD}

    def test_secrets_among_the_properties(self) -> None:
        profile = compute(
            None,
            host=SecretRef(secret_ref="pg", key="host"),
            dbname="mart",
            user="etl",
            password=SecretRef(secret_ref="pg", key="password"),
        )
        assert TARGET.check(profile) == []
        assert TARGET.output(profile, "prod")["host"] == (
            "{{ env_var('DBT_ENV_SECRET_FLOE_HOST') }}"
        )
        assert set(TARGET.secrets(profile)) == {PASSWORD, "DBT_ENV_SECRET_FLOE_HOST"}


@pytest.mark.parametrize(
    ("profile", "fields"),
    [
        (compute(**PROPERTIES), []),
        (compute(host="db"), [("properties",)]),
        (compute(**PROPERTIES, database="other"), [("properties", "database")]),
        (compute(None, **PROPERTIES), [()]),
        (compute({"mode": "service_account"}, **PROPERTIES), [("credentials", "mode")]),
    ],
)
def test_check(profile: ComputeProfile, fields: list[tuple[str, ...]]) -> None:
    findings = TARGET.check(profile)
    assert [finding.field for finding in findings] == fields
    assert all(finding.code == "FLOE-R018" and finding.help for finding in findings)


SECRETS = {USERNAME: "floe", PASSWORD: "hunter2"}


def test_a_server_that_does_not_listen(closed_port: int, tmp_path: Path) -> None:
    profile = compute(host="127.0.0.1", dbname="mart", port=closed_port)
    with pytest.raises(ServiceUnavailableError) as caught:
        TARGET.query(profile, "prod", tmp_path, SECRETS, "select 1", None)
    assert f"127.0.0.1:{closed_port}" in caught.value.message
    assert "refused" in caught.value.message
    assert not [value for value in SECRETS.values() if value in caught.value.message]


def test_a_short_user_name_is_not_looked_for_in_words(closed_port: int, tmp_path: Path) -> None:
    profile = compute(host="127.0.0.1", dbname="mart", port=closed_port)
    with pytest.raises(ServiceUnavailableError) as caught:
        TARGET.query(profile, "prod", tmp_path, {**SECRETS, USERNAME: "o"}, "select 1", None)
    assert caught.value.message == (
        f"PostgreSQL at 127.0.0.1:{closed_port} cannot be reached: connection to server at "
        f'"127.0.0.1", port {closed_port} failed: Connection refused '
        "Is the server running on that host and accepting TCP/IP connections?"
    )


@pytest.mark.parametrize(
    "sql",
    ["", "select 1; delete from a", "delete from a", "copy a to '/tmp/x'", "begin", "set x = 1"],
)
def test_refuses_before_it_connects(closed_port: int, tmp_path: Path, sql: str) -> None:
    profile = compute(host="127.0.0.1", dbname="mart", port=closed_port)
    with pytest.raises(QueryError):
        TARGET.query(profile, "prod", tmp_path, SECRETS, sql, None)


# --- with a server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, Any]]:
    """Properties of a PostgreSQL server, started for these tests."""
    with postgres.server(SECRETS[PASSWORD]) as started:
        yield {"host": started.host, "port": started.port, "dbname": "mart"}


@pytest.fixture(scope="module")
def built(server: Mapping[str, Any], new_workspace: Any) -> Any:
    """A workspace whose project has been built on the server."""
    workspace = new_workspace("postgres").write(
        {
            "dbt_project.yml": "name: shop\nversion: '1.0'\n",
            "seeds/raw.csv": "id,status\n1,open\n2,paid\n",
            "models/orders.sql": "{{ config(materialized='table') }}"
            "select * from {{ ref('raw') }} where id > 0",
            "models/latest.sql": "select * from {{ ref('orders') }}",
            "models/bad.sql": "{{ config(materialized='table') }}\nselect id,\n  nope\n"
            "from {{ ref('orders') }}\n",
        }
    )
    result = DbtCore().build(on_server(workspace, server), Selection(), lambda event: None)
    assert result.error is None
    return {node.name: node for node in result.nodes}


def on_server(workspace: Any, server: Mapping[str, Any], **changes: Any) -> Any:
    invocation = workspace.invocation(environment=SECRETS, **changes)
    output = TARGET.output(compute(**server), "local")
    written = {"floe": {"target": "local", "outputs": {"local": output}}}
    profiles.write(invocation.profiles_dir, written)
    return invocation


@pytest.mark.integration
class TestBuild:
    def test_tells_rows_of_tables(self, built: Any) -> None:
        assert built["raw"].rows == 2
        assert built["orders"].rows == 2
        assert built["latest"].rows is None

    def test_tells_what_the_database_said_and_on_which_line(self, built: Any) -> None:
        node = built["bad"]
        assert node.status == "error"
        assert node.message.startswith('column "nope" does not exist\nLINE ')
        assert "compiled" not in node.message
        assert node.line == 3

    def test_a_wrong_password_is_no_answer(self, server: Mapping[str, Any], shop: Any) -> None:
        secrets = {**SECRETS, PASSWORD: "wrong-word"}
        invocation = replace(on_server(shop, server), environment=secrets)
        result = DbtCore().build(invocation, Selection(), lambda event: None)
        assert result.is_unreachable
        assert "password authentication failed" in (result.error or "")
        assert "wrong-word" not in (result.error or "")
        logs = "".join(path.read_text() for path in invocation.log_path.iterdir())
        assert "wrong-word" not in logs

    def test_cancel(self, server: Mapping[str, Any], workspace: Any) -> None:
        workspace.write(
            {
                "dbt_project.yml": "name: shop\nversion: '1.0'\n",
                "models/slow.sql": "{{ config(materialized='table') }}"
                "select 1 as a from pg_sleep(60)",
                "models/child.sql": "select * from {{ ref('slow') }}",
            }
        )
        engine, has_begun = DbtCore(), threading.Event()
        results: list[Any] = []
        thread = threading.Thread(
            target=lambda: results.append(
                engine.build(
                    on_server(workspace, server), Selection(), lambda event: has_begun.set()
                )
            )
        )
        thread.start()
        assert has_begun.wait(30)
        time.sleep(0.5)
        at = time.monotonic()
        engine.cancel()
        thread.join(30)
        assert time.monotonic() - at < 2
        assert results[0].was_cancelled
        statuses = {node.name: node.status for node in results[0].nodes}
        assert statuses == {"slow": "cancelled", "child": "skipped"}


@pytest.mark.usefixtures("built")
@pytest.mark.integration
class TestQuery:
    def query(self, server: Mapping[str, Any], sql: str, **more: Any) -> QueryResult:
        limit = more.pop("limit", None)
        profile = compute(**server, **more)
        return TARGET.query(profile, "local", Path(), SECRETS, sql, limit)

    def test_gives_names_types_and_rows(self, server: Mapping[str, Any]) -> None:
        result = self.query(server, "select id, status from orders order by id", limit=1)
        assert result == QueryResult(("id", "status"), ("integer", "text"), [(1, "open")])

    @pytest.mark.parametrize(
        "sql",
        [
            "select ';' as a; -- the end",
            "(select 1)",
            "/* ; */ values (1)",
            "with a as (select 1) select * from a",
            "table orders",
            "show search_path",
            "explain analyze select 1",
            "select $x$;$x$",
            "select * from pg_tables",
        ],
    )
    def test_reads(self, server: Mapping[str, Any], sql: str) -> None:
        assert self.query(server, sql).rows

    @pytest.mark.parametrize(
        "sql",
        [
            "with gone as (delete from orders returning *) select * from gone",
            "select * into copied from orders",
            "explain analyze delete from orders",
            "select nextval('nope')",
            "select nope",
        ],
    )
    def test_the_server_refuses(self, server: Mapping[str, Any], sql: str) -> None:
        with pytest.raises(QueryError):
            self.query(server, sql)
        assert self.query(server, "select count(*) from orders").rows == [(2,)]

    def test_a_wrong_password(self, server: Mapping[str, Any]) -> None:
        with pytest.raises(ServiceUnavailableError) as caught:
            TARGET.query(
                compute(**server),
                "local",
                Path(),
                {**SECRETS, PASSWORD: "wrong-word"},
                "select 1",
                None,
            )
        assert "password authentication failed" in caught.value.message
        assert "wrong-word" not in caught.value.message
        assert SECRETS[USERNAME] not in caught.value.message
