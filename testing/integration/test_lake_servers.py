"""One product on lakes of real servers, by changing platform.yaml alone; and what goes wrong there.

SeaweedFS is the REST catalog and S3, moto plays Glue and S3 of AWS, PostgreSQL holds a SQL catalog.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest

from floe_iceberg import configure, load_iceberg
from floe_iceberg.maintenance import remove_orphan_files
from floe_testing import postgres, seaweedfs
from floe_testing.aws import moto_server
from floe_testing.cli import FloeResult, run_floe
from floe_testing.lakes import (
    CONTENT,
    OAUTH2,
    TABLES,
    VENDED,
    bucket,
    build_twice,
    glue,
    keys,
    open_default,
    platform,
    queried,
    rest,
    write_product,
)
from floe_testing.seaweedfs import ADMIN, READER

pytestmark = [
    pytest.mark.integration,
    # PyIceberg leaves the sockets of its sessions to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SECRETS = {
    "ADMIN_ID": ADMIN.key,
    "ADMIN_SECRET": ADMIN.secret,
    "READER_ID": READER.key,
    "READER_SECRET": READER.secret,
    "WRONG_SECRET": "canary-wrong-secret-4713",
    "DATABASE_SECRET": "canary-p@ss/word",
}
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def weed() -> Iterator[seaweedfs.Server]:
    """Each test has a lake of its own: SeaweedFS starts in seconds."""
    with seaweedfs.server() as started:
        yield started


@pytest.fixture
def aws() -> Iterator[str]:
    with moto_server() as server:
        client = server.client("s3")
        where = {"LocationConstraint": "eu-central-1"}
        client.create_bucket(Bucket="lake", CreateBucketConfiguration=where)
        client.close()
        yield server.url


Lake = Callable[[pytest.FixtureRequest], Iterator[dict[str, Any]]]


def rest_vended(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    weed = request.getfixturevalue("weed")
    yield platform(rest(weed), bucket(weed.s3, VENDED))


def rest_static(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    weed = request.getfixturevalue("weed")
    yield platform(rest(weed), bucket(weed.s3, keys("admin")))


def moto_glue(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    aws = request.getfixturevalue("aws")
    yield platform(glue(aws, keys("admin")), {**bucket(aws, None), "prefix": "floe"})


def sql_on_s3(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    weed = request.getfixturevalue("weed")
    with postgres.server(SECRETS["DATABASE_SECRET"]) as database:
        uri = f"postgresql+psycopg2://{database.host}:{database.port}/mart"
        credentials = {**keys("database"), "username": "floe"}
        catalog = {"type": "sql", "uri": uri, "credentials": credentials}
        yield platform(catalog, bucket(weed.s3, keys("admin"), weed.bucket))


@pytest.mark.parametrize("lake", [rest_vended, rest_static, moto_glue, sql_on_s3])
def test_platform_yaml_alone_moves_a_product_to_a_lake(
    lake: Lake, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_product(tmp_path / "shop", {"name": "laptop", "version": "1.1.0"})
    monkeypatch.chdir(folder)
    product = (folder / "floe.yaml").read_bytes()
    first, second = build_twice(folder)
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    local = {name: queried(name) for name in CONTENT}

    for entry in lake(request):
        write_product(folder, entry)
        first, second = build_twice(folder)
        assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
        assert (folder / "floe.yaml").read_bytes() == product
        assert {name: queried(name) for name in CONTENT} == local == CONTENT
        assert_others_read_it(folder, entry)


def assert_others_read_it(folder: Path, entry: dict[str, Any]) -> None:
    """PyIceberg and DuckDB's own extension agree with what floe shows; DuckDB's file is gone."""
    for file in folder.glob(".floe/*/engine.duckdb*"):
        file.unlink()
    catalog = open_default(entry, folder)
    counts = {"raw_orders": 3, "orders": 4, "customers": 3, "seen": 5}
    with duckdb.connect() as connection:
        load_iceberg(connection)
        for name in TABLES:
            table = catalog.load_table(("main", name))
            rows = table.scan().to_arrow().num_rows
            configure(connection, table.io.properties, table.location())
            scanned = f"SELECT count(*) FROM iceberg_scan('{table.metadata_location}')"
            shown = queried(f"(select count(*) as n from {name})")
            expected = counts[name]
            assert (name, rows, connection.execute(scanned).fetchall(), shown) == (
                name,
                expected,
                [(expected,)],
                f"n\n{expected}\n",
            )
            assert "s3://" in table.location()
    assert queried("best") == CONTENT["best"], "views are kept in the catalog"


def test_duckdb_itself_attaches_the_catalog(
    weed: seaweedfs.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a layer's namespace: DuckDB does not show one that is called `main`."""
    entry = platform(rest(weed), bucket(weed.s3, VENDED))
    folder = write_product(tmp_path, {**entry, "layers": {"gold": {"namespace": "marts"}}})
    text = (folder / "floe.yaml").read_text()
    (folder / "floe.yaml").write_text(text.replace("project: dbt", "project: dbt, layer: gold"))
    monkeypatch.chdir(folder)
    assert [result.exit_code for result in build_twice(folder)] == [0, 0]
    with duckdb.connect() as connection:
        configure(connection, {"s3.endpoint": weed.s3}, "s3://nowhere/")  # loads httpfs
        load_iceberg(connection)
        connection.execute(
            f"CREATE SECRET lake (TYPE iceberg, CLIENT_ID '{ADMIN.key}', "
            f"CLIENT_SECRET '{ADMIN.secret}', "
            f"OAUTH2_SERVER_URI '{weed.catalog}/v1/oauth/tokens')"
        )
        connection.execute(
            f"ATTACH '{weed.warehouse}' AS lake (TYPE iceberg, SECRET lake, "
            f"ENDPOINT '{weed.catalog}')"
        )
        found = connection.execute("SELECT id, amount FROM lake.marts.orders ORDER BY 1").fetchall()
    assert found == [(1, 10), (2, 25), (3, 30), (4, 40)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, seaweedfs.Server]]:
    """A product that was built twice on SeaweedFS, with its lake."""
    with seaweedfs.server() as weed, pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        folder = write_product(tmp_path_factory.mktemp("shop"), good(weed))
        patch.chdir(folder)
        assert [result.exit_code for result in build_twice(folder)] == [0, 0]
        yield folder, weed


def good(weed: seaweedfs.Server) -> dict[str, Any]:
    return platform(rest(weed), bucket(weed.s3, VENDED))


WRONG = {"client_secret": {"secret_ref": "wrong/secret"}}


@pytest.mark.parametrize(
    ("catalog", "storage", "code", "message"),
    [
        pytest.param(
            {"credentials": {**OAUTH2, **WRONG}},
            VENDED,
            1,
            "error: the catalog `default` refuses the credentials: invalid_client: Invalid client "
            "credentials; check the secrets that `credentials` of `catalogs.default` names",
            id="wrong secret",
        ),
        pytest.param(
            {"uri": NOBODY},
            VENDED,
            5,
            f"error: the catalog `default` cannot be reached: nothing listens at {NOBODY}; check "
            "`uri` of `catalogs.default`, and that the server runs",
            id="wrong URL",
        ),
        pytest.param(
            {"warehouse": "s3://nowhere"},
            VENDED,
            1,
            "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
            "  the catalog `default` answers: table bucket nowhere not found: each table bucket is "
            "a separate catalog, select one with warehouse=s3://<table-bucket>/ or "
            "/v1/<table-bucket>/; check `uri` of `catalogs.default` and `warehouse`",
            id="missing bucket",
        ),
        pytest.param(
            {},
            keys("reader"),
            1,
            "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
            "  the storage of catalog `default` does not allow writing "
            "s3://lake/main/raw_orders/data/<file>; check `credentials` of the storage in "
            "platform.yaml, and what they may do",
            id="may only read",
        ),
        pytest.param(
            {},
            keys("admin", "wrong/secret"),
            1,
            "error: the storage of catalog `default` does not allow reading "
            "s3://lake/main/dbt_stored_views/metadata/<file>; check `credentials` of the storage "
            "in platform.yaml, and what they may do",
            id="wrong key",
        ),
    ],
)
def test_what_a_lake_refuses_is_one_message_and_nothing_is_lost(
    catalog: dict[str, Any],
    storage: dict[str, Any],
    code: int,
    message: str,
    built: tuple[Path, seaweedfs.Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, weed = built
    monkeypatch.chdir(folder)
    write_product(folder, platform(rest(weed, **catalog), bucket(weed.s3, storage)))
    failed = run_floe("run", "--quiet")
    write_product(folder, good(weed))
    assert (failed.exit_code, said(failed)) == (code, message)
    assert {name: queried(name) for name in CONTENT} == CONTENT


def test_a_lake_that_keeps_tables_elsewhere_is_refused_before_anything_is_written(
    built: tuple[Path, seaweedfs.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weed = built
    monkeypatch.chdir(folder)
    wrong = platform(rest(weed), {**bucket(weed.s3, VENDED), "prefix": "marts"})
    wrong["compute"]["default"]["properties"]["schema"] = "other"
    write_product(folder, wrong)
    failed = run_floe("run", "--quiet")
    write_product(folder, good(weed))
    assert (failed.exit_code, said(failed)) == (
        1,
        "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
        "  the catalog places other.raw_orders in s3://lake/other/raw_orders, which is not below "
        "s3://lake/marts, where its storage is; write the catalog's bucket and folder as `bucket` "
        "and `prefix` of the storage, or let the catalog place its tables there",
    )
    assert "other." not in run_floe("tables", "list", "--output", "json").stdout
    assert {name: queried(name) for name in CONTENT} == CONTENT


def said(failed: FloeResult) -> str:
    """What is said after the list of nodes, with names of files replaced; no secret is in it."""
    everything = failed.stdout + failed.stderr
    assert [secret for secret in SECRETS.values() if secret in everything] == []
    assert "Traceback" not in everything
    text = failed.stderr.partition("error")
    return re.sub(r"[\w-]+\.(?:parquet|avro|json)", "<file>", "".join(text[1:])).strip()


@pytest.mark.parametrize(
    ("storage", "code", "message"),
    [
        pytest.param(
            {"bucket": "nowhere"},
            1,
            "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
            "  the storage of catalog `aws` has no bucket `nowhere`; create it, or correct "
            "`bucket` of the storage in platform.yaml",
            id="missing bucket",
        ),
        pytest.param(
            {"endpoint": NOBODY},
            1,
            "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
            f"  the storage of catalog `aws` cannot be reached: nothing answers at {NOBODY}; check "
            "`endpoint` and `path_style` of the storage in platform.yaml, and that the server runs",
            id="wrong endpoint",
        ),
    ],
)
def test_what_s3_refuses_is_one_message(
    storage: dict[str, Any],
    code: int,
    message: str,
    aws: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The catalog has another name than `default`, which the messages use."""
    catalog = glue(aws, keys("admin"))
    entry = platform(catalog, {**bucket(aws, None), **storage})
    folder = write_product(tmp_path, {**entry, "catalogs": {"aws": catalog}})
    with (folder / "floe.yaml").open("a") as file:
        file.write("profiles: {catalog: aws}\n")
    monkeypatch.chdir(folder)
    failed = run_floe("run", "--quiet")
    assert (failed.exit_code, said(failed)) == (code, message)


@pytest.mark.parametrize("credentials", [VENDED, keys("admin")], ids=["vended", "static"])
def test_tables_of_a_lake_are_looked_at_and_maintained(
    credentials: dict[str, Any],
    weed: seaweedfs.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = platform(rest(weed), bucket(weed.s3, credentials))
    folder = write_product(tmp_path, entry)
    monkeypatch.chdir(folder)
    assert [result.exit_code for result in build_twice(folder)] == [0, 0]
    shown = run_floe("tables", "preview", "main.orders", "-o", "csv")
    assert sorted(shown.stdout.splitlines()) == sorted(CONTENT["orders"].splitlines())
    history = json.loads(run_floe("tables", "history", "main.orders", "-o", "json").stdout)
    assert len(history["snapshots"]) == 2

    table = open_default(entry, folder).load_table(("main", "orders"))
    orphan = f"{table.location()}/data/00000-0-{uuid4()}.parquet"
    with table.io.new_output(orphan).create() as file:
        file.write(b"nobody knows it")
    done = run_floe("tables", "maintain")
    assert done.exit_code == 0, done.stderr
    assert "skipped" not in done.stdout
    assert table.io.new_input(orphan).exists(), "it is too young"
    found = remove_orphan_files(table.catalog, ("main", "orders"), older_than=timedelta(0))
    assert [file.path for file in found.removed] == [orphan]
    assert not table.io.new_input(orphan).exists()
    assert {name: queried(name) for name in CONTENT} == CONTENT
