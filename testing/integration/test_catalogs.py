"""Tables in catalogs and buckets of real servers: written, read by two readers, and refused.

SeaweedFS is the REST catalog, with OAuth2 and vended credentials, and S3; moto plays Glue, S3 and
STS of AWS; PostgreSQL is the database of a SQL catalog.
"""

from __future__ import annotations

import re
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog

from floe_core import plugins
from floe_core.errors import FloeError
from floe_core.schemas.platform import CatalogProfile, StorageProfile
from floe_core.schemas.secret import SecretRef
from floe_iceberg import (
    Rows,
    append,
    configure,
    explained,
    load_iceberg,
    open_catalog,
    replace,
    rewrite,
    scan_sql,
)
from floe_iceberg.errors import CatalogRefusedError, CatalogSetupError, CatalogUnavailableError
from floe_testing import postgres, seaweedfs
from floe_testing.aws import moto_server
from floe_testing.lakes import OAUTH2, VENDED, bucket, glue, keys, rest
from floe_testing.seaweedfs import ADMIN, READER, Server

pytestmark = [
    pytest.mark.integration,
    # PyIceberg leaves the sockets of its sessions to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SECRETS = {
    "admin/id": ADMIN.key,
    "admin/secret": ADMIN.secret,
    "reader/id": READER.key,
    "reader/secret": READER.secret,
    "wrong/secret": "canary-wrong-secret-4713",
}
ROLE = "arn:aws:iam::123456789012:role/Lake"
KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/0b7d3b0c-1111-2222-3333-444455556666"
KMS = {"s3.sse.type": "kms", "s3.sse.key": KMS_KEY}


def value(ref: SecretRef) -> str:
    return SECRETS[f"{ref.name}/{ref.entry}"]


def properties_of(catalog: dict[str, Any], storage: dict[str, Any], folder: Path) -> dict[str, str]:
    """What the runtime makes of the entries of a platform.yaml."""
    profile = CatalogProfile.model_validate(catalog)
    client = plugins.catalog_client(profile.type)
    assert client is not None
    assert [finding.message for finding in client.check(profile)] == []
    where: StorageProfile = TypeAdapter(StorageProfile).validate_python(storage)
    return client.properties(profile, where, folder / ".floe/data/dev", value)


@pytest.fixture(scope="module")
def weed() -> Iterator[Server]:
    with seaweedfs.server() as started:
        yield started


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server() as server:
        url = server.url
        make_bucket(url)
        yield url


@contextmanager
def s3(url: str, verify: str | None = None) -> Iterator[Any]:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        verify=verify,
    )
    with closing(client):
        yield client


def make_bucket(url: str, verify: str | None = None) -> None:
    with s3(url, verify) as client:
        client.create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )


def encryption_below(
    location: str, url: str, verify: str | None = None
) -> dict[str, tuple[str | None, str | None]]:
    """How each object below a table's location is encrypted, and with which key of KMS."""
    bucket_name, _, prefix = location.removeprefix("s3://").partition("/")
    with s3(url, verify) as client:
        listed = client.list_objects_v2(Bucket=bucket_name, Prefix=f"{prefix}/")["Contents"]
        heads = {
            entry["Key"]: client.head_object(Bucket=bucket_name, Key=entry["Key"])
            for entry in listed
        }
    return {
        key: (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId"))
        for key, head in heads.items()
    }


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def write_and_read(
    catalog: Catalog, namespace: str, connection: duckdb.DuckDBPyConnection
) -> list[tuple[int, str]]:
    """Write a table in three ways; gives its rows, which DuckDB and PyIceberg agree on."""
    catalog.create_namespace(namespace)
    name = (namespace, "orders")
    replace(catalog, name, connection, "SELECT range AS id, 'one' AS name FROM range(3)")
    append(catalog, name, connection, "SELECT 3 AS id, 'two' AS name")
    rewrite(catalog, name, connection, lambda _: Rows(matched="t.id = 1"))
    table = catalog.load_table(name)
    configure(connection, table.io.properties, table.location())
    rows = connection.execute(f"SELECT id, name FROM ({scan_sql(table)})").fetchall()
    arrow = table.scan().to_arrow().to_pylist()
    assert sorted(rows) == sorted((row["id"], row["name"]) for row in arrow)
    load_iceberg(connection)
    metadata = table.metadata_location
    scanned = connection.execute(f"SELECT id, name FROM iceberg_scan('{metadata}')").fetchall()
    assert sorted(scanned) == sorted(rows)
    return sorted(rows)


ROWS = [(0, "one"), (2, "one"), (3, "two")]


@pytest.mark.parametrize("credentials", [VENDED, keys("admin")], ids=["vended", "static"])
def test_rest(
    weed: Server,
    connection: duckdb.DuckDBPyConnection,
    credentials: dict[str, Any],
    tmp_path: Path,
) -> None:
    storage = bucket(weed.s3, credentials)
    catalog = open_catalog(properties_of(rest(weed), storage, tmp_path))
    assert write_and_read(catalog, str(credentials["mode"]), connection) == ROWS
    io = catalog.load_table((str(credentials["mode"]), "orders")).io.properties
    assert ("s3.session-token" in io) is (credentials is VENDED)


def test_a_table_that_pyiceberg_wrote_is_read_by_the_iceberg_extension(
    weed: Server, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    catalog = open_catalog(properties_of(rest(weed), bucket(weed.s3, VENDED), tmp_path))
    catalog.create_namespace("foreign")
    table = catalog.create_table("foreign.orders", pa.schema([("id", pa.int64())]))
    table.append(pa.table({"id": [1, 2]}))
    configure(connection, table.io.properties, table.location())
    load_iceberg(connection)
    sql = scan_sql(table)
    assert "iceberg_scan" in sql
    assert sorted(connection.execute(sql).fetchall()) == [(1,), (2,)]


def test_a_token_that_is_not_valid_any_more_is_renewed(weed: Server, tmp_path: Path) -> None:
    catalog = open_catalog(properties_of(rest(weed), bucket(weed.s3, VENDED), tmp_path))
    assert isinstance(catalog, RestCatalog)
    manager: Any = catalog._auth_manager
    manager._token = "expired"
    catalog.create_namespace("renewed")
    assert manager._token != "expired"


def test_keys_that_change_replace_those_of_before(
    weed: Server, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    catalog = open_catalog(properties_of(rest(weed), bucket(weed.s3, VENDED), tmp_path))
    catalog.create_namespace("keys")
    replace(catalog, ("keys", "orders"), connection, "SELECT 1 AS id")

    def known() -> list[tuple[str, str]]:
        statement = "SELECT name, secret_string FROM duckdb_secrets()"
        return connection.execute(statement).fetchall()

    [(first, _)] = known()
    table = catalog.load_table(("keys", "orders"))
    connection.begin()
    configure(connection, table.io.properties, table.location())
    [(second, shown)] = known()
    assert second != first
    configure(connection, table.io.properties, table.location())
    assert known() == [(second, shown)]
    assert table.io.properties["s3.secret-access-key"] not in shown
    assert table.io.properties["s3.session-token"] not in shown
    connection.rollback()
    assert known() == [(second, shown)]


@pytest.mark.parametrize("way", ["keys", "environment", "role"])
def test_glue(
    aws: str,
    connection: duckdb.DuckDBPyConnection,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    credentials = None
    if way == "keys":
        credentials = keys("admin")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-environment-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-environment-secret")
    if way == "role":
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws)
        credentials = {"mode": "iam_role", "role_arn": ROLE}
    storage = {**bucket(aws, None), "prefix": f"floe/{way}"}
    catalog = open_catalog(properties_of(glue(aws, credentials), storage, tmp_path))
    assert write_and_read(catalog, way, connection) == ROWS
    location = catalog.load_table((way, "orders")).location()
    assert location.startswith(f"s3://lake/floe/{way}/")
    shown = str(connection.execute("SELECT secret_string FROM duckdb_secrets()").fetchall())
    expected = {"keys": ADMIN.key, "environment": "canary-environment-key", "role": "key_id=ASIA"}
    assert expected[way] in shown
    assert ("session_token" in shown) is (way == "role")


@pytest.mark.parametrize("way", ["keys", "role"])
def test_every_object_is_encrypted_with_the_key(
    aws: str,
    connection: duckdb.DuckDBPyConnection,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    credentials = keys("admin")
    if way == "role":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-environment-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-environment-secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws)
        credentials = {"mode": "iam_role", "role_arn": ROLE}
    profile = glue(aws, keys("admin"))
    profile["properties"] |= KMS
    catalog = open_catalog(properties_of(profile, bucket(aws, credentials), tmp_path))
    assert write_and_read(catalog, f"encrypted_{way}", connection) == ROWS
    table = catalog.load_table((f"encrypted_{way}", "orders"))
    table.append(table.scan().to_arrow())
    found = encryption_below(table.location(), aws)
    kinds = {key.rpartition(".")[2] for key in found}
    assert kinds == {"parquet", "avro", "json"}
    assert {key: how for key, how in found.items() if how != ("aws:kms", KMS_KEY)} == {}


def test_an_object_that_is_there_is_not_overwritten(aws: str, tmp_path: Path) -> None:
    profile = glue(aws, keys("admin"))
    profile["properties"] |= KMS
    catalog = open_catalog(properties_of(profile, bucket(aws, None), tmp_path))
    catalog.create_namespace("whole")
    io = catalog.create_table("whole.orders", pa.schema([("id", pa.int64())])).io
    location = "s3://lake/whole/file"
    with io.new_output(location).create() as late:
        late.write(b"late")
        with io.new_output(location).create() as early:
            early.write(b"early")
        with pytest.raises(FileExistsError, match=location):
            late.close()
    with pytest.raises(FileExistsError, match=location):
        io.new_output(location).create()
    with suppress(KeyError), io.new_output(location).create(overwrite=True) as half:
        half.write(b"half")
        raise KeyError
    dropped: Any = io.new_output(location).create(overwrite=True)
    dropped.write(b"dropped")
    del dropped
    with io.new_input(location).open() as file:
        assert file.read() == b"early"
    with io.new_output(location).create(overwrite=True) as file:
        file.write(b"next")
    with io.new_input(location).open() as file:
        assert file.read() == b"next"


def test_sql_in_a_database_server(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with postgres.server("canary-p@ss/word") as database:
        monkeypatch.setitem(SECRETS, "database/secret", "canary-p@ss/word")
        uri = f"postgresql+psycopg2://{database.host}:{database.port}/mart"
        credentials = {**keys("database"), "username": "floe"}
        catalog = {"type": "sql", "uri": uri, "credentials": credentials}
        storage = {"type": "local", "path": "lake"}
        opened = open_catalog(properties_of(catalog, storage, tmp_path))
        assert write_and_read(opened, "served", connection) == ROWS
        assert list((tmp_path / "lake").rglob("*.parquet")) != []
        opened.engine.dispose()  # type: ignore[attr-defined]
        catalog["credentials"] = {**keys("database", "wrong/secret"), "username": "floe"}
        error = failure(catalog, storage, tmp_path)
    assert type(error) is CatalogRefusedError
    assert error.message == (
        "the catalog `lake` refuses the credentials: connection to server at "
        f'"{database.host}", port {database.port} failed: FATAL: password authentication failed '
        'for user "floe"'
    )
    assert error.help == f"check the secrets that {CREDENTIALS} names"


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of `localhost` that signs itself, and its key."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("encryption", [{}, KMS], ids=["plain", "kms"])
def test_a_certificate_authority_of_ones_own(
    authority: tuple[Path, Path],
    connection: duckdb.DuckDBPyConnection,
    encryption: dict[str, str],
    tmp_path: Path,
) -> None:
    certificate, key = authority
    with moto_server(certificate, key) as server:
        url = server.url
        make_bucket(url, str(certificate))
        profile = glue(url, keys("admin"))
        profile["properties"] |= {"ssl.cabundle": str(certificate), **encryption}
        catalog = open_catalog(properties_of(profile, bucket(url, None), tmp_path))
        assert write_and_read(catalog, "trusted", connection) == ROWS
        location = catalog.load_table("trusted.orders").location()
        found = set(encryption_below(location, url, str(certificate)).values())
        assert found == ({("aws:kms", KMS_KEY)} if encryption else {(None, None)})
        stranger = properties_of(glue(url, keys("admin")), bucket(url, None), tmp_path)
        with (
            pytest.raises(CatalogUnavailableError) as raised,
            explained("default", stranger),
        ):
            open_catalog(stranger).list_namespaces()
    assert raised.value.message == (
        f"the catalog `default` cannot be reached: the certificate of {url}/ is not trusted"
    )
    assert raised.value.help == (
        "name the file of its authority in `properties` of `catalogs.default`: "
        "`ssl.cabundle: /path/to/ca.pem`"
    )


def failure(
    catalog: dict[str, Any], storage: dict[str, Any], folder: Path, name: str = "failing"
) -> FloeError:
    """What is said when a table is written."""
    properties = properties_of(catalog, storage, folder)
    with pytest.raises(FloeError) as raised:
        write(properties, name)
    error = raised.value
    said = "".join(traceback.format_exception(error)) + f"{error.message} {error.help}"
    assert [secret for secret in SECRETS.values() if secret in said] == []
    return error


def write(properties: dict[str, str], namespace: str) -> None:
    with duckdb.connect() as connection, explained("lake", properties):
        catalog = open_catalog(properties)
        replace(catalog, (namespace, "orders"), connection, "SELECT 1 AS id")


NOBODY = "http://127.0.0.1:9"
CREDENTIALS = "`credentials` of `catalogs.lake`"
URI = "`uri` of `catalogs.lake`"


@pytest.mark.parametrize(
    ("changes", "kind", "message", "help"),
    [
        (
            {"uri": NOBODY},
            CatalogUnavailableError,
            f"the catalog `lake` cannot be reached: nothing listens at {NOBODY}",
            f"check {URI}, and that the server runs",
        ),
        (
            {"uri": "https://catalog.invalid"},
            CatalogUnavailableError,
            "the catalog `lake` cannot be reached: there is no host `catalog.invalid`",
            f"check {URI}, and that the server runs",
        ),
        (
            {"credentials": {**OAUTH2, "client_secret": {"secret_ref": "wrong/secret"}}},
            CatalogRefusedError,
            "the catalog `lake` refuses the credentials: invalid_client: Invalid client "
            "credentials",
            f"check the secrets that {CREDENTIALS} names",
        ),
        (
            {"warehouse": "s3://nowhere"},
            CatalogSetupError,
            "the catalog `lake` answers: table bucket nowhere not found: each table bucket is a "
            "separate catalog, select one with warehouse=s3://<table-bucket>/ or "
            "/v1/<table-bucket>/",
            f"check {URI} and `warehouse`",
        ),
    ],
    ids=["refused connection", "unknown host", "wrong secret", "unknown warehouse"],
)
def test_what_a_rest_catalog_cannot_do_is_one_sentence(
    weed: Server,
    changes: dict[str, Any],
    kind: type[FloeError],
    message: str,
    help: str,
    tmp_path: Path,
) -> None:
    error = failure(rest(weed, **changes), bucket(weed.s3, VENDED), tmp_path)
    assert (type(error), error.message, error.help) == (kind, message, help)


def test_a_url_of_something_else_is_said(weed: Server, tmp_path: Path) -> None:
    catalog = rest(weed, uri=weed.s3, credentials=None)
    error = failure(catalog, bucket(weed.s3, VENDED), tmp_path)
    assert type(error) is CatalogSetupError
    assert error.message == (f"what answers at {weed.s3} is not an Iceberg REST catalog (HTTP 403)")
    assert error.help == (f"check {URI}; Polaris's ends in `/api/catalog`, Nessie's in `/iceberg`")


def test_who_has_not_signed_in_is_told_so(weed: Server, tmp_path: Path) -> None:
    error = failure(rest(weed, credentials=None), bucket(weed.s3, VENDED), tmp_path)
    assert type(error) is CatalogRefusedError
    assert error.help == "add `credentials` to `catalogs.lake`"


@pytest.mark.parametrize(
    ("credentials", "message", "help"),
    [
        (
            keys("reader"),
            r"the storage of catalog `lake` does not allow writing s3://lake/\S+",
            "check `credentials` of the storage in platform.yaml, and what they may do",
        ),
        (
            keys("admin", "wrong/secret"),
            "the storage of catalog `lake` refuses the keys: signature does not match",
            "check the secrets that `credentials` of the storage names in platform.yaml",
        ),
    ],
    ids=["no permission", "wrong secret"],
)
def test_what_a_bucket_refuses_is_one_sentence(
    weed: Server, credentials: dict[str, Any], message: str, help: str, tmp_path: Path
) -> None:
    properties = properties_of(rest(weed), bucket(weed.s3, VENDED), tmp_path)
    opened = open_catalog(properties)
    if ("refused",) not in opened.list_namespaces():
        opened.create_namespace("refused")
    error = failure(rest(weed), bucket(weed.s3, credentials), tmp_path, "refused")
    assert type(error) is CatalogRefusedError
    assert re.fullmatch(message, error.message), error.message
    assert error.help == help


def test_a_missing_bucket_is_one_sentence(aws: str, tmp_path: Path) -> None:
    properties = properties_of(glue(aws, keys("admin")), bucket(aws, None), tmp_path)
    open_catalog(properties).create_namespace("failing")
    error = failure(glue(aws, keys("admin")), bucket(aws, None, "nowhere"), tmp_path)
    assert (type(error), error.message, error.help) == (
        CatalogSetupError,
        "the storage of catalog `lake` has no bucket `nowhere`",
        "create it, or correct `bucket` of the storage in platform.yaml",
    )


def test_a_storage_that_does_not_answer_is_one_sentence(aws: str, tmp_path: Path) -> None:
    opened = open_catalog(properties_of(glue(aws, keys("admin")), bucket(aws, None), tmp_path))
    opened.create_namespace("silent")
    error = failure(glue(aws, keys("admin")), bucket(NOBODY, None), tmp_path, "silent")
    assert (type(error), error.message) == (
        CatalogUnavailableError,
        f"the storage of catalog `lake` cannot be reached: nothing answers at {NOBODY}",
    )


def test_a_glue_that_does_not_answer_is_one_sentence(aws: str, tmp_path: Path) -> None:
    catalog = glue(NOBODY, keys("admin"))
    catalog["properties"]["glue.max-retries"] = 1
    error = failure(catalog, bucket(aws, None), tmp_path)
    assert (type(error), error.message, error.help) == (
        CatalogUnavailableError,
        f"the catalog `lake` cannot be reached: nothing listens at {NOBODY}/",
        "check the network, the region and `glue.endpoint`",
    )
