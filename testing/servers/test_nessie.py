"""A product in Nessie: who may write one namespace and not another; tokens of OpenID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from floe_iceberg import open_catalog
from floe_testing import nessie, oidc
from floe_testing.aws import ACCESS_KEY, SECRET_KEY, moto_server
from floe_testing.cli import FloeResult, run_floe
from floe_testing.lakes import (
    CONTENT,
    VENDED,
    bucket,
    build_twice,
    keys,
    platform,
    queried,
    write_product,
)

pytestmark = [
    pytest.mark.servers,
    # PyIceberg leaves the sockets of its sessions to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ETL, OWNER, WRONG = "canary-etl-secret-81", "canary-owner-secret-82", "canary-wrong-secret-83"
RULES = {
    "owner": "role == 'owner'",
    "etl": "role == 'etl' && (!(op in ['CREATE_ENTITY', 'UPDATE_ENTITY', 'DELETE_ENTITY']) "
    "|| path.startsWith('sales'))",
}


class Lake(NamedTuple):
    """URLs of Nessie, of tokens and of S3."""

    uri: str
    tokens: str
    s3: str


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    clients = {"etl": ETL, "owner": OWNER}
    with (
        moto_server() as aws,
        oidc.provider(clients) as issuer,
        nessie.server(aws, issuer, RULES) as uri,
    ):
        client = aws.client("s3")
        where = {"LocationConstraint": aws.region}
        client.create_bucket(Bucket="lake", CreateBucketConfiguration=where)
        client.close()
        yield Lake(uri, f"{issuer}/token", aws.url)


@pytest.fixture
def product(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    nessie.speak_as_it_expects(monkeypatch)
    for name, value in {
        "NESSIE_SECRET": ETL,
        "WRONG_SECRET": WRONG,
        "ADMIN_ID": ACCESS_KEY,
        "ADMIN_SECRET": SECRET_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    owner = open_catalog(
        {
            "type": "rest",
            "uri": lake.uri,
            "warehouse": "lake",
            "oauth2-client-id": "owner",
            "oauth2-client-secret": OWNER,
            "oauth2-server-uri": lake.tokens,
        }
    )
    for namespace in ("sales", "finance"):
        if (namespace,) not in owner.list_namespaces():
            owner.create_namespace(namespace)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry(
    lake: Lake,
    namespace: str,
    secret: str = "nessie/secret",
    storage: Mapping[str, Any] = VENDED,
    **credentials: Any,
) -> dict[str, Any]:
    """A platform.yaml whose tables go to a namespace."""
    catalog = {
        "type": "nessie",
        "uri": lake.uri,
        "warehouse": "lake",
        "properties": {"oauth2-server-uri": lake.tokens},
        "credentials": {
            "mode": "oauth2",
            "client_id": "etl",
            "client_secret": {"secret_ref": secret},
            **credentials,
        },
    }
    found = platform(catalog, bucket(lake.s3, storage))
    found["compute"]["default"]["properties"]["schema"] = namespace
    return found


def said(result: FloeResult) -> str:
    """What is said after the list of nodes; no secret is in it."""
    everything = result.stdout + result.stderr
    assert [secret for secret in (ETL, WRONG, SECRET_KEY) if secret in everything] == []
    assert "Traceback" not in everything
    return "".join(result.stderr.partition("error")[1:]).strip()


@pytest.mark.parametrize(
    ("namespace", "storage"),
    [("sales", VENDED), ("sales_by_keys", keys("admin"))],
    ids=["vended", "static"],
)
def test_a_product_is_built_where_it_may_write(
    namespace: str, storage: dict[str, Any], lake: Lake, product: Path
) -> None:
    write_product(product, entry(lake, namespace, storage=storage))
    results = build_twice(product)
    assert [(result.exit_code, said(result)) for result in results] == [(0, ""), (0, "")]
    assert {name: queried(name) for name in CONTENT} == CONTENT


def test_it_is_refused_elsewhere_in_one_message(lake: Lake, product: Path) -> None:
    write_product(product, entry(lake, "finance"))
    failed = run_floe("run", "--quiet")
    assert (failed.exit_code, said(failed)) == (
        1,
        "error in seed raw_orders\n  --> dbt/seeds/raw_orders.csv\n"
        "  the catalog `default` does not allow this: 'CREATE_ENTITY' is not allowed for role "
        "'etl' on content 'finance.raw_orders'; grant the right to whom `credentials` of "
        "`catalogs.default` names",
    )


def test_a_wrong_secret_is_refused_in_one_message(lake: Lake, product: Path) -> None:
    write_product(product, entry(lake, "sales", "wrong/secret"))
    failed = run_floe("run", "--quiet")
    assert (failed.exit_code, said(failed)) == (
        1,
        "error: the catalog `default` refuses the credentials: invalid_client: Who is it?; check "
        "the secrets that `credentials` of `catalogs.default` names",
    )


def test_a_scope_for_every_role_is_warned_of(lake: Lake, product: Path) -> None:
    write_product(product, entry(lake, "sales", scope="PRINCIPAL_ROLE:ALL"))
    done = run_floe("run", "--select", "raw_orders")
    assert done.exit_code == 0, done.stderr
    assert "warning[FLOE-G006] `catalogs.default.credentials.scope`: asks for every role" in (
        done.stderr
    )
