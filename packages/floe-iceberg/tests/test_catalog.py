"""Opening a catalog, and what is said when it cannot be used; without a server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.hive import HiveCatalog
from pyiceberg.catalog.rest import RestCatalog

from floe_core import plugins
from floe_core.errors import FloeError, UnwritableError
from floe_core.schemas.platform import CatalogProfile
from floe_iceberg import configure, explained, files_of, load, open_catalog, replace, scan_sql
from floe_iceberg.errors import (
    CatalogRefusedError,
    CatalogSetupError,
    CatalogUnavailableError,
    TableGoneError,
    WriteError,
)
from floe_iceberg.explanation import RESTORE
from floe_iceberg.local_file_io import LocalFileIO

ORDERS = ("sales", "orders")
SECRET = "canary-secret-4711"


def properties_of(folder: Path) -> dict[str, str]:
    client = plugins.catalog_client("sql")
    assert client is not None
    data = folder / ".floe/data/dev"
    return client.properties(CatalogProfile(type="sql"), None, data, lambda ref: ref.name)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The default of a laptop, with one table of one row."""
    opened = open_catalog(properties_of(tmp_path))
    replace(opened, ORDERS, duckdb.connect(), "SELECT 1 AS id")
    return opened


@pytest.mark.parametrize("name", ["shop #2", "shop?"])
def test_a_folder_that_no_url_can_name_is_refused(tmp_path: Path, name: str) -> None:
    properties = properties_of(tmp_path / name)
    kind, message, _ = said(properties, lambda: open_catalog(properties))
    assert (kind, name in message) == (CatalogSetupError, True)
    assert list(tmp_path.iterdir()) == []


def said(
    properties: dict[str, str], act: Callable[[], object]
) -> tuple[type[FloeError], str, str | None]:
    with pytest.raises(FloeError) as raised, explained("lake", properties):
        act()
    return type(raised.value), raised.value.message, raised.value.help


def test_the_default_makes_its_folders_and_keeps_tables(catalog: Catalog, tmp_path: Path) -> None:
    assert (tmp_path / ".floe/data/dev/catalog.db").is_file()
    again = open_catalog(properties_of(tmp_path))
    assert again.list_tables("sales") == [ORDERS]
    location = again.load_table(ORDERS).location()
    assert location.startswith(f"file://{tmp_path}/.floe/data/dev/warehouse/sales/orders")


def test_a_folder_above_is_named_without_the_way_there(tmp_path: Path) -> None:
    properties = properties_of(tmp_path) | {"warehouse": f"file://{tmp_path}/shop/../lake"}
    opened = open_catalog(properties)
    replace(opened, ORDERS, duckdb.connect(), "SELECT 1 AS id")
    assert opened.load_table(ORDERS).location().startswith(f"file://{tmp_path}/lake/")


def test_a_writer_waits_for_the_lock_of_another(catalog: Catalog) -> None:
    engine: Any = catalog.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        [[timeout]] = connection.exec_driver_sql("PRAGMA busy_timeout").fetchall()
    assert timeout == 60_000


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (
            {
                "type": "sql",
                "uri": "postgresql+psycopg2://127.0.0.1:1/lake",
                "jdbc.user": "etl",
                "jdbc.password": "p@ss/word",
            },
            {"type": "sql", "uri": "postgresql+psycopg2://etl:p%40ss%2Fword@127.0.0.1:1/lake"},
        ),
        (
            {
                "type": "rest",
                "uri": "http://127.0.0.1:1",
                "oauth2-client-id": "etl",
                "oauth2-client-secret": "p:ss",
            },
            {"type": "rest", "uri": "http://127.0.0.1:1", "credential": "etl:p:ss"},
        ),
    ],
    ids=["database", "oauth2"],
)
def test_a_name_and_its_secret_are_put_together(
    properties: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr("pyiceberg.catalog.load_catalog", lambda name, **given: seen.append(given))
    open_catalog(properties)
    assert seen == [expected]


def test_hive_is_asked_where_the_profile_says() -> None:
    client = plugins.catalog_client("hive")
    assert client is not None
    profile = CatalogProfile(type="hive", uri="thrift://127.0.0.1:9", properties={"ugi": "etl"})
    properties = client.properties(profile, None, Path("/x/.floe/data/dev"), lambda ref: ref.name)
    opened = open_catalog(properties)
    assert isinstance(opened, HiveCatalog)
    assert said(properties, opened.list_namespaces) == (
        CatalogUnavailableError,
        "the catalog `lake` cannot be reached: nothing listens at thrift://127.0.0.1:9",
        "check `uri` of `catalogs.lake`, and that the server runs",
    )


class Asked(list[str]):
    """Paths that a server was asked for, with what signs in, and the headers of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[str, str]] = []


@contextmanager
def answering(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[tuple[str, Asked]]:
    """A server that answers paths with a status and a body; gives its URL, and what it is asked."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization')}")
            asked.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rest_server(path: str) -> tuple[int, bytes]:
    if path.endswith("/v1/oauth/tokens"):
        body: dict[str, Any] = {"access_token": "t", "token_type": "bearer", "expires_in": 60}
    elif "/v1/config" in path:
        body = {"defaults": {"prefix": "main"}, "overrides": {}}
    else:
        body = {"namespaces": [["sales"]]}
    return 200, json.dumps(body).encode()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_nessie_is_asked_by_the_rest_protocol() -> None:
    client = plugins.catalog_client("nessie")
    assert client is not None
    credentials = {
        "mode": "oauth2",
        "client_id": "etl",
        "client_secret": {"secret_ref": "nessie/secret"},
    }
    with answering(rest_server) as (url, asked):
        profile = CatalogProfile.model_validate(
            {
                "type": "nessie",
                "uri": f"{url}/iceberg",
                "warehouse": "lake",
                "credentials": credentials,
            }
        )
        properties = client.properties(profile, None, Path("/x/.floe/data/dev"), lambda _: SECRET)
        opened = open_catalog(properties)
        assert isinstance(opened, RestCatalog)
        assert opened.list_namespaces() == [("sales",)]
        opened.close()
    assert asked[-2:] == [
        "/iceberg/v1/oauth/tokens None",
        "/iceberg/v1/main/namespaces Bearer t",
    ]
    assert asked[1] == "/iceberg/v1/config?warehouse=lake Bearer t"


@pytest.fixture
def metadata(catalog: Catalog) -> Path:
    return Path(catalog.load_table(ORDERS).metadata_location.removeprefix("file://"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{nonsense", "Invalid JSON: key must be a string at line 1 column 2"),
        (b"\xff\xfe", "it is not text"),
        (b"", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (None, "there is no {path}"),
    ],
)
def test_damaged_metadata_names_the_table(
    catalog: Catalog, metadata: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    properties = properties_of(tmp_path)
    if content is None:
        metadata.unlink()
    else:
        metadata.write_bytes(content)
    connection = duckdb.connect()
    before = set(tmp_path.rglob("*.parquet"))
    told = said(properties, lambda: replace(catalog, ORDERS, connection, "SELECT 2 AS id"))
    reason = reason.format(path=metadata)
    expected = f"the metadata of sales.orders cannot be read: {reason}; nothing was changed"
    assert told == (TableGoneError, expected, RESTORE)
    assert set(tmp_path.rglob("*.parquet")) == before


@pytest.mark.parametrize("pattern", ["snap-*.avro", "*.parquet"])
def test_a_file_that_is_gone_is_named(catalog: Catalog, tmp_path: Path, pattern: str) -> None:
    [path] = tmp_path.rglob(pattern)
    path.unlink()

    def read() -> object:
        table = catalog.load_table(ORDERS)
        return duckdb.connect().execute(scan_sql(table, files_of(table))).fetchall()

    expected = f"the catalog `lake` names a file that is not there: {path}"
    assert said(properties_of(tmp_path), read) == (TableGoneError, expected, RESTORE)


def test_a_table_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    assert load(catalog, ("sales", "nothing")) is None
    kind, message, help = said(
        properties_of(tmp_path), lambda: catalog.load_table(("sales", "nothing"))
    )
    assert kind is TableGoneError
    assert message == ("the catalog `lake` has no such table: Table does not exist: sales.nothing")
    assert help == "build it first: `floe run`"


def test_a_query_that_is_wrong_is_left_as_it_is(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(duckdb.CatalogException), explained("lake", properties_of(tmp_path)):
        replace(catalog, ORDERS, duckdb.connect(), "SELECT * FROM nowhere")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_leaves_the_table_as_it_was(catalog: Catalog, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")

    def write() -> None:
        with full.open("wb") as file:
            file.write(b"x" * 100_000)

    assert said(properties_of(tmp_path), write) == (
        WriteError,
        "the disk is full; the tables of catalog `lake` are as they were",
        "free some space and run it again",
    )


@pytest.mark.parametrize(
    ("properties", "kind", "message", "help"),
    [
        (
            {"type": "sql", "uri": "oracle9://db/lake"},
            CatalogSetupError,
            "the catalog `lake` is in a database of the kind `oracle9`, which SQLAlchemy does not "
            "know",
            "install its dialect, or write `postgresql+psycopg://HOST/DATABASE`",
        ),
        (
            {"type": "sql", "uri": "mysql+pymysql://db/lake", "jdbc.password": SECRET},
            CatalogSetupError,
            "the catalog `lake` is of type `sql`, which needs a package that is not installed",
            "pip install 'pymysql'",
        ),
        (
            {"type": "sql", "uri": "nonsense"},
            CatalogSetupError,
            "the catalog `lake` has a `uri` that is not the URL of a database",
            "write `postgresql+psycopg://HOST/DATABASE`",
        ),
        (
            {"type": "lakehouse"},
            CatalogSetupError,
            "the catalog `lake` is of a type that PyIceberg does not know: `lakehouse`",
            "use `sql`, `rest`, `glue` or `hive`",
        ),
        (
            {"type": "rest"},
            CatalogSetupError,
            "the catalog `lake` has no `uri`",
            "add `uri` of `catalogs.lake`",
        ),
        (
            {"type": "rest", "uri": "polaris.acme.dev"},
            CatalogSetupError,
            "the catalog `lake` has a `uri` that is not a URL: polaris.acme.dev",
            "write `https://HOST/...` in `uri` of `catalogs.lake`",
        ),
        (
            {"type": "sql", "uri": "postgresql+psycopg2://127.0.0.1:1/lake", "jdbc.user": "etl"},
            CatalogUnavailableError,
            'the catalog `lake` cannot be reached: connection to server at "127.0.0.1", port 1 '
            "failed: Connection refused Is the server running on that host and accepting TCP/IP "
            "connections?",
            "check `uri` of `catalogs.lake`",
        ),
        (
            {"type": "sql", "uri": "sqlite://", "s3.sse.type": "kms"},
            CatalogSetupError,
            "`s3.sse.type` says `kms`, and not with which key",
            "add `s3.sse.key`, the id or the ARN of the key",
        ),
    ],
)
def test_what_a_profile_lacks_is_one_sentence(
    properties: dict[str, str], kind: type[FloeError], message: str, help: str
) -> None:
    assert said(properties, lambda: open_catalog(properties)) == (kind, message, help)


def test_a_catalog_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = tmp_path / "catalog.db"
    file.write_text("not a database" * 1000)
    properties = {"type": "sql", "uri": f"sqlite:///{file}"}
    assert said(properties, lambda: open_catalog(properties)) == (
        CatalogSetupError,
        f"the catalog `lake` is damaged: {file} is not a database any more",
        "restore the file from a backup; the data files beside it are untouched",
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/file/catalog.db"}
    kind, message, _ = said(properties, lambda: open_catalog(properties))
    assert kind is UnwritableError
    assert message.endswith("/file cannot be written to: it is no folder")


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            403,
            {"message": f"no right to {SECRET}", "type": "ForbiddenException", "code": 403},
            CatalogRefusedError,
            "the catalog `lake` does not allow this: no right to *****",
        ),
        (
            500,
            {"message": "no right to it", "type": "AccessCheckException", "code": 500},
            CatalogRefusedError,
            "the catalog `lake` does not allow this: no right to it",
        ),
        (
            401,
            {"message": "the token is over.", "type": "NotAuthorizedException", "code": 401},
            CatalogRefusedError,
            "the catalog `lake` refuses the credentials: the token is over",
        ),
        (
            404,
            {"message": "there is no warehouse lake", "type": "NotFoundException", "code": 404},
            CatalogSetupError,
            "the catalog `lake` answers: there is no warehouse lake",
        ),
        (
            503,
            {"message": "come back later", "type": "SlowDown", "code": 503},
            CatalogUnavailableError,
            "the catalog `lake` fails: SlowDown: come back later",
        ),
    ],
)
def test_what_a_server_answers_is_told_without_secrets(
    status: int, body: dict[str, Any], kind: type[FloeError], message: str
) -> None:
    answer = json.dumps({"error": body}).encode()
    with answering(lambda _: (status, answer)) as (url, _):
        properties = {"type": "rest", "uri": url, "token": SECRET}
        properties["oauth2-server-uri"] = f"{url}/v1/oauth/tokens"
        found = said(properties, lambda: open_catalog(properties))
    assert found[:2] == (kind, message)


KMS = {"type": "glue", "s3.sse.type": "kms", "s3.sse.key": "alias/lake"}


@pytest.mark.parametrize(
    ("code", "kind", "message", "help"),
    [
        (
            "KMS.NotFoundException",
            CatalogSetupError,
            "the storage of catalog `lake` cannot encrypt with the KMS key: it is so "
            "(KMS.NotFoundException)",
            "check `s3.sse.key` in `properties` of `catalogs.lake`",
        ),
        (
            "AccessDenied",
            CatalogRefusedError,
            "the storage of catalog `lake` does not allow writing metadata of a table",
            "check `credentials` of the storage in platform.yaml, and what they may do; the KMS "
            "key wants `kms:GenerateDataKey` and `kms:Decrypt`",
        ),
        (
            "NoSuchBucket",
            CatalogSetupError,
            "the storage of catalog `lake` has no bucket `shop`",
            "create it, or correct `bucket` of the storage in platform.yaml",
        ),
        (
            "ExpiredToken",
            CatalogRefusedError,
            "the storage of catalog `lake` refuses the keys: expired token",
            "check the secrets that `credentials` of the storage names in platform.yaml",
        ),
        (
            "SlowDown",
            CatalogUnavailableError,
            "the storage of catalog `lake` fails: it is so (SlowDown)",
            "run it again",
        ),
    ],
)
def test_what_s3_answers_to_encrypted_metadata_is_one_sentence(
    code: str, kind: type[FloeError], message: str, help: str
) -> None:
    answer = {"Error": {"Code": code, "Message": "it is so.", "BucketName": "shop"}}

    def put() -> None:
        raise ClientError(answer, "PutObject")

    assert said(KMS, put) == (kind, message, help)


def test_a_data_file_that_cannot_be_encrypted_names_the_key() -> None:
    missing = b"<Error><Code>KMS.NotFoundException</Code><Message>no such key</Message></Error>"
    with answering(lambda _: (400, missing)) as (url, _), duckdb.connect() as connection:
        properties = {
            **KMS,
            "s3.endpoint": url,
            "s3.access-key-id": "key",
            "s3.secret-access-key": SECRET,
        }
        configure(connection, properties, "s3://shop/orders")
        write = "COPY (SELECT 1 AS id) TO 's3://shop/orders/data.parquet'"
        found = said(properties, lambda: connection.execute(write))
    assert found == (
        CatalogSetupError,
        "the storage of catalog `lake` does not answer for s3://shop/orders/data.parquet: the "
        "bucket may be in another region, or S3 has no such KMS key",
        "check `region` of the storage in platform.yaml, and `s3.sse.key` in `properties` of "
        "`catalogs.lake`",
    )


def test_a_web_page_is_not_a_catalog() -> None:
    with answering(lambda _: (200, b"<html>")) as (url, _):
        properties = {"type": "rest", "uri": url}
        found = said(properties, lambda: open_catalog(properties))
    assert found[:2] == (
        CatalogSetupError,
        f"what answers at {url} is not an Iceberg REST catalog",
    )


def test_local_tables_are_written_without_pyarrow(tmp_path: Path) -> None:
    text = f"""
import sys
import duckdb
from floe_iceberg import append, files_of, open_catalog, replace, scan_sql
catalog = open_catalog({properties_of(tmp_path)!r})
catalog.create_namespace_if_not_exists(("sales",))
connection = duckdb.connect()
replace(catalog, ("sales", "small"), connection, "SELECT 1 AS id")
append(catalog, ("sales", "small"), connection, "SELECT 2 AS id")
table = catalog.load_table(("sales", "small"))
print(sorted(connection.execute(scan_sql(table)).fetchall()), "pyarrow" in sys.modules)
"""
    printed = subprocess.check_output([sys.executable, "-c", text], text=True)
    assert printed == "[(1,), (2,)] False\n"


def test_files_elsewhere_are_left_to_pyarrow() -> None:
    files = LocalFileIO({"s3.region": "eu-central-1"})
    assert type(files.new_input("file:///somewhere/a.avro")).__name__ == "FsspecInputFile"
    assert type(files.new_input("s3://bucket/a.avro")).__name__ == "PyArrowFile"
    assert type(files.new_output("s3://bucket/a.avro")).__name__ == "PyArrowFile"
