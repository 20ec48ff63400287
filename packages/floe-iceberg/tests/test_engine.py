"""DuckDB's keys to the files of a table, and the extensions that read them; without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from floe_iceberg import configure, engine, load_iceberg
from floe_iceberg.errors import CatalogRefusedError, CatalogSetupError

KEYS = {
    "s3.access-key-id": "canary-key",
    "s3.secret-access-key": "canary-secret-4711",
    "s3.session-token": "canary-token-4712",
    "s3.region": "eu-central-1",
}
TABLE = "s3://lake/sales/orders"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def secrets(connection: duckdb.DuckDBPyConnection) -> list[dict[str, str]]:
    found = connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()
    return [dict(part.split("=", 1) for part in text.split(";")) for (text,) in found]


def test_local_files_need_nothing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    configure(connection, KEYS, tmp_path.as_uri())
    configure(connection, KEYS, str(tmp_path))
    loaded = "SELECT count(*) FROM duckdb_extensions() WHERE loaded AND extension_name = 'httpfs'"
    assert connection.execute(loaded).fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, {"region": "eu-central-1"}),
        (
            {"s3.endpoint": "http://127.0.0.1:9000"},
            {"endpoint": "127.0.0.1:9000", "use_ssl": "false", "url_style": "path"},
        ),
        (
            {"s3.endpoint": "https://s3.acme.dev", "s3.force-virtual-addressing": "true"},
            {"endpoint": "s3.acme.dev", "use_ssl": "true", "url_style": "vhost"},
        ),
        ({"s3.sse.type": "kms", "s3.sse.key": "alias/lake"}, {"kms_key_id": "alias/lake"}),
    ],
)
def test_s3(
    connection: duckdb.DuckDBPyConnection, properties: dict[str, str], expected: dict[str, str]
) -> None:
    configure(connection, KEYS | properties, TABLE)
    [secret] = secrets(connection)
    assert {"scope": f"{TABLE}/", "key_id": "canary-key", **expected}.items() <= secret.items()
    assert secret["secret"] == secret["session_token"] == "redacted"


def test_a_location_has_one_secret_of_its_own(connection: duckdb.DuckDBPyConnection) -> None:
    configure(connection, KEYS, TABLE)
    configure(connection, KEYS, f"{TABLE}_of_others")
    configure(connection, KEYS | {"s3.access-key-id": "next-key"}, TABLE)
    found = {secret["scope"]: secret["key_id"] for secret in secrets(connection)}
    assert found == {f"{TABLE}/": "next-key", f"{TABLE}_of_others/": "canary-key"}


def test_nothing_is_done_where_nothing_has_changed(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(connection, KEYS, TABLE)
    created: list[str] = []
    monkeypatch.setattr(engine, "_create", lambda *given: created.append(given[1]))
    configure(connection.cursor(), KEYS, TABLE)
    assert created == []


def test_keys_outlive_a_transaction_that_is_rolled_back(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.begin()
    connection.execute("CREATE TABLE orders (id int)")
    configure(connection, KEYS, TABLE)
    assert len(secrets(connection)) == 1
    connection.rollback()
    assert len(secrets(connection)) == 1


def test_keys_that_duckdb_does_not_take_are_not_shown(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"SCOPE": TABLE, "NONSENSE": "canary-secret-4711"}
    monkeypatch.setattr(engine, "_secret", lambda *_: options)
    with pytest.raises(CatalogRefusedError) as raised:
        configure(connection, KEYS, TABLE)
    assert raised.value.message == (f"DuckDB does not take the keys for {TABLE} (BinderException)")
    assert raised.value.__suppress_context__


def test_keys_of_the_environment_are_found(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment-secret")
    properties = {"s3.region": "eu-central-1", "s3.role-session-name": "environment"}
    configure(connection, properties, TABLE)
    assert [secret["key_id"] for secret in secrets(connection)] == ["environment-key"]


def test_public_buckets_need_no_keys(connection: duckdb.DuckDBPyConnection) -> None:
    configure(connection, {"s3.anonymous": "true", "s3.region": "eu-central-1"}, TABLE)
    [secret] = secrets(connection)
    assert "key_id" not in secret


def test_the_iceberg_extension_comes_from_its_package(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    load_iceberg(connection)
    loaded = "SELECT extension_name FROM duckdb_extensions() WHERE loaded"
    names = {name for (name,) in connection.execute(loaded).fetchall()}
    assert {"avro", "iceberg"} <= names


def test_an_extension_that_is_nowhere_has_its_command(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    connection.execute(f"SET extension_directory = '{tmp_path}'")
    connection.execute("SET custom_extension_repository = 'http://127.0.0.1:9'")
    with pytest.raises(CatalogSetupError) as raised:
        load_iceberg(connection)
    assert raised.value.message == (
        "DuckDB's extension avro is not installed, and cannot be fetched"
    )
    assert raised.value.help == f"pip install duckdb-extension-avro=={duckdb.__version__}"
