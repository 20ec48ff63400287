"""What goes wrong is one message with what to do, and nothing is lost."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pyiceberg.types import LongType

from .conftest import Outcome, Project

CANARY = "canary-4711"
RESTORE = "restore it from a backup, or register an earlier metadata file of the table"


@pytest.fixture
def built(project: Project) -> Project:
    project.write({"m": "select 1 as id", "n": "select id from {{ ref('m') }}"})
    project.dbt("run")
    return project


def told(outcome: Outcome, node: str = "") -> str:
    """The one message of a command that failed, without dbt's heading and names of files."""
    assert "Traceback" not in outcome.output
    assert CANARY not in f"{outcome.output}{outcome.problem}{outcome.messages}"
    text = outcome.messages[node] if node else str(outcome.problem)
    kept = [
        line.strip()
        for line in text.strip().splitlines()
        if not line.strip().startswith(
            (
                "Runtime Error",
                "compiled code at",
                "Database Error",
                "Compilation Error",
                "> in",
                "> called",
            )
        )
    ]
    return "\n".join(line for line in kept if line)


SERVER = "check the addresses in `catalog` of the dbt profile, and that the server runs"
CREDENTIALS = "check the credentials in `catalog` of the dbt profile, and what they may do"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"type": "rest", "uri": "http://127.0.0.1:9/catalog"},
            "the catalog `default` cannot be reached: nothing listens at "
            f"http://127.0.0.1:9/catalog; {SERVER}",
        ),
        (
            {"type": "rest", "uri": "catalog.example.com"},
            "the catalog `default` has a `uri` that is not a URL: catalog.example.com; "
            "check `catalog` of the dbt profile",
        ),
        (
            {"uri": "sqlite:////dev/null/catalog.db"},
            "/dev/null cannot be written to: it is no folder; Move /dev/null away: a folder is "
            "needed there.",
        ),
        (
            {"uri": "nonsense"},
            "the catalog `default` has a `uri` that is not the URL of a database; "
            "write `postgresql+psycopg://HOST/DATABASE`",
        ),
        (
            {"uri": f"postgresql+psycopg2://me:{CANARY}@127.0.0.1:9/lake"},
            'the catalog `default` cannot be reached: connection to server at "127.0.0.1", port 9 '
            "failed: Connection refused Is the server running on that host and accepting TCP/IP "
            f"connections?; {SERVER}",
        ),
        (
            {"uri": "nosuch://127.0.0.1/lake"},
            "the catalog `default` is in a database of the kind `nosuch`, which SQLAlchemy does "
            "not know; install its dialect, or write `postgresql+psycopg://HOST/DATABASE`",
        ),
        (
            {"type": "no-such-kind"},
            "the catalog `default` is of a type that PyIceberg does not know: `no-such-kind`; "
            "use `sql`, `rest`, `glue` or `hive`",
        ),
        (
            {"type": "glue"},
            "the catalog `default` does not say in which AWS region it is; "
            "check `catalog` of the dbt profile",
        ),
    ],
)
def test_a_catalog_that_cannot_be_opened(
    built: Project, settings: dict[str, str], expected: str
) -> None:
    right = built.profile()["catalog"]
    built.set_profile(catalog={**right, **settings})
    assert told(built.dbt("run", fails=True)) == expected
    assert expected in built.dbt("debug", fails=True).output
    built.set_profile(catalog=right)
    assert built.rows("n") == [(1,)]


@pytest.fixture
def guarded() -> Iterator[str]:
    """Address of a REST catalog that lets nobody in."""

    class Guard(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(401, b'{"error": "invalid_client", "error_description": "no such client"}')

        def do_GET(self) -> None:
            body = b'{"error": {"message": "who are you", "type": "NotAuthorized", "code": 401}}'
            self.answer(401, body)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Guard)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({"credential": f"me:{CANARY}"}, "refuses the credentials: invalid_client: no such client"),
        ({"token": CANARY}, "refuses the credentials: NotAuthorized: who are you"),
        ({}, "answers nobody who has not signed in: NotAuthorized: who are you"),
    ],
)
def test_a_catalog_that_refuses_the_credentials(
    built: Project, guarded: str, secret: dict[str, str], expected: str
) -> None:
    tokens = {"oauth2-server-uri": f"{guarded}/tokens"} if "credential" in secret else {}
    built.set_profile(catalog={"type": "rest", "uri": guarded, **tokens, **secret})
    outcome = built.dbt("run", fails=True)
    assert told(outcome) == f"the catalog `default` {expected}; {CREDENTIALS}"


@pytest.mark.parametrize("value", [None, {}])
def test_a_profile_without_a_catalog(project: Project, value: object) -> None:
    project.set_profile(catalog=value)
    assert (
        "A profile of type duckdb_iceberg needs `catalog`, the properties of its Iceberg "
        "catalog. A local one is: catalog: type: sql uri: sqlite:////absolute/path/catalog.db "
        "warehouse: file:///absolute/path/warehouse"
    ) in " ".join(project.dbt("debug", fails=True).output.split())


@pytest.mark.parametrize(
    ("warehouse", "reason"),
    [
        ("/proc/lake", "No such file or directory"),
        ("FILE/lake", "Not a directory"),
        pytest.param(
            "SEALED/lake",
            "Permission denied",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere"),
        ),
    ],
)
def test_a_warehouse_that_cannot_be_written(built: Project, warehouse: str, reason: str) -> None:
    (built.folder / "FILE").write_text("")
    (built.folder / "SEALED").mkdir(mode=0o500)
    place = built.folder / warehouse
    right = built.profile()["catalog"]
    built.set_profile(catalog={**right, "warehouse": place.as_uri()})
    built.write({"new": "select 1 as id"})
    outcome = built.dbt("run", fails=True)
    assert outcome.statuses == {"m": "success", "n": "success", "new": "error"}
    location = place.as_uri() + "/shop/new-"
    assert re.sub(r"-[0-9a-f]{8}:", "-:", told(outcome, "new")) == (
        f"shop.new could not be written: {reason}; the table is as it was; "
        f"look at {location}: free space, and the right to write there"
    )
    assert not built.has_table("new")
    built.set_profile(catalog=right)
    built.dbt("run")
    assert built.rows("new") == [(1,)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ('{"format-version": 2}', "Field required"),
        (None, "there is no METADATA"),
    ],
)
def test_metadata_that_cannot_be_read(built: Project, damage: str | None, reason: str) -> None:
    path = Path(built.table("m").metadata_location.removeprefix("file://"))
    right = path.read_text()
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    expected = (
        f"the metadata of shop.m cannot be read: {reason.replace('METADATA', str(path))}; nothing "
        f"was changed; {RESTORE}"
    )
    assert told(built.dbt("run", "-s", "n", fails=True), "n") == expected
    assert told(built.dbt("run", "-s", "m", fails=True), "m") == expected
    path.write_text(right)
    assert built.rows("m") == [(1,)]
    built.dbt("run")


def test_a_data_file_that_is_gone(built: Project) -> None:
    [file] = built.data_files("m")
    Path(file.removeprefix("file://")).unlink()
    path = file.removeprefix("file://")
    assert told(built.dbt("run", "-s", "n", fails=True), "n") == (
        f"the catalog `default` names a file that is not there: {path}; {RESTORE}"
    )
    assert built.rows("n") == [(1,)]
    built.dbt("run")
    assert built.rows("m") == [(1,)]


def test_a_table_that_somebody_drops_between_two_runs(built: Project) -> None:
    built.write({"n": "{{ config(materialized='incremental') }} select id from {{ ref('m') }}"})
    built.dbt("run")
    built.catalog.drop_table("shop.n")
    built.dbt("run")
    assert built.rows("n") == [(1,)]
    built.catalog.drop_table("shop.m")
    said = told(built.dbt("run", "-s", "n", fails=True), "n")
    assert said.startswith("Catalog Error: Table with name m does not exist!\n")
    assert '"shop"."m"' in said


@pytest.mark.parametrize("strategy", ["append", "delete+insert", "merge", "insert_overwrite"])
def test_a_table_whose_columns_changed_underneath(built: Project, strategy: str) -> None:
    config = f"materialized='incremental', unique_key='id', incremental_strategy='{strategy}'"
    built.write({"i": f"{{{{ config({config}) }}}} select 2::bigint as id, 'b' as name"})
    built.dbt("run", "-s", "i")
    with built.table("i").update_schema() as update:
        update.rename_column("name", "label")
        update.add_column("extra", LongType())
    outcome = built.dbt("run", "-s", "i", fails=True)
    what = "has columns that the model does not give: label, extra"
    if strategy == "merge":
        what = "does not have columns that the model gives: name"
    assert told(outcome, "i") == (
        f"shop.i {what}; set on_schema_change to append_new_columns or sync_all_columns, "
        "or run the model with --full-refresh"
    )
    assert built.rows("i", "id, label") == [(2, "b")]
    built.dbt("run", "-s", "i", "--full-refresh")
    assert built.rows("i", "id, name") == [(2, "b")]


def test_types_that_iceberg_has_not_are_refused_by_column(project: Project) -> None:
    project.write({"m": 'select union_value(a := 1) as "the union"'})
    assert told(project.dbt("run", fails=True), "m") == (
        "column the union has the type UNION(a INTEGER), which an Iceberg table cannot hold; "
        "Iceberg has no unions; select one of its members, or cast it to VARCHAR"
    )
