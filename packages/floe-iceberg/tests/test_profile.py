"""Each kind of catalog, each way to sign in: what PyIceberg is told, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from floe_core import plugins
from floe_core.schemas.platform import CatalogProfile, StorageProfile
from floe_core.schemas.secret import SecretRef
from floe_iceberg.errors import CatalogSetupError

DATA = Path("/shop/.floe/data/dev")
ROLE = "arn:aws:iam::123456789012:role/Lake"
KEYS = {"mode": "static", "username": {"secret_ref": "s3/id"}, "password": {"secret_ref": "s3/key"}}
CLIENT = {"mode": "oauth2", "client_id": "etl", "client_secret": {"secret_ref": "polaris/secret"}}
LAKE = {"type": "s3", "bucket": "lake", "prefix": "floe/", "region": "eu-central-1"}
WEED = {**LAKE, "endpoint": "https://s3.acme.dev", "path_style": True}
URI = "https://polaris.acme.dev/api/catalog"
KMS = {"s3.sse.type": "kms", "s3.sse.key": "alias/lake"}
CANNOT_ENCRYPT = "asks for what DuckDB, which writes the data files, cannot ask of S3"


def shown(ref: SecretRef) -> str:
    """What stands for a secret in a file."""
    return f"<{ref.name}/{ref.entry}>"


def properties(catalog: dict[str, Any], storage: dict[str, Any] | None = None) -> dict[str, str]:
    profile = CatalogProfile.model_validate(catalog)
    client = plugins.catalog_client(profile.type)
    assert client is not None
    assert [finding.message for finding in client.check(profile) if not finding.is_warning] == []
    where: StorageProfile | None = (
        None if storage is None else TypeAdapter(StorageProfile).validate_python(storage)
    )
    return client.properties(profile, where, DATA, shown)


def findings(catalog: dict[str, Any]) -> list[tuple[str, str]]:
    profile = CatalogProfile.model_validate(catalog)
    client = plugins.catalog_client(profile.type)
    assert client is not None
    return [
        (".".join(map(str, finding.field)), finding.message) for finding in client.check(profile)
    ]


def test_the_default_is_a_sqlite_file_and_a_folder_below_the_data() -> None:
    assert properties({"type": "sql"}) == {
        "type": "sql",
        "uri": "sqlite:////shop/.floe/data/dev/catalog.db",
        "warehouse": "file:///shop/.floe/data/dev/warehouse",
    }


def test_what_stands_for_the_root_in_a_file_stays() -> None:
    client = plugins.catalog_client("sql")
    assert client is not None
    data = Path("{{ env_var('FLOE_PROJECT_DIR') }}/.floe/data/dev")
    profile = CatalogProfile(type="sql")
    storage: StorageProfile = TypeAdapter(StorageProfile).validate_python(
        {"type": "local", "path": "../lake"}
    )
    assert client.properties(profile, storage, data, shown) == {
        "type": "sql",
        "uri": "sqlite:///{{ env_var('FLOE_PROJECT_DIR') }}/.floe/data/dev/catalog.db",
        "warehouse": "file://{{ env_var('FLOE_PROJECT_DIR') }}/../lake",
    }


def test_a_folder_is_relative_to_the_project() -> None:
    found = properties({"type": "sql"}, {"type": "local", "path": "lake"})
    assert found["warehouse"] == "file:///shop/lake"


def test_a_database_is_signed_in_to_with_a_user_and_a_password() -> None:
    uri = "postgresql+psycopg://db.acme.dev/catalog"
    assert properties({"type": "sql", "uri": uri, "credentials": KEYS}, LAKE) == {
        "type": "sql",
        "uri": uri,
        "warehouse": "s3://lake/floe",
        "jdbc.user": "<s3/id>",
        "jdbc.password": "<s3/key>",
        "s3.region": "eu-central-1",
    }


@pytest.mark.parametrize("kind", ["rest", "polaris", "nessie"])
def test_oauth2_has_a_client_a_scope_and_a_token_server(kind: str) -> None:
    credentials = {**CLIENT, "scope": "PRINCIPAL_ROLE:etl"}
    assert properties(
        {"type": kind, "uri": URI, "warehouse": "lake", "credentials": credentials}
    ) == {
        "type": "rest",
        "uri": URI,
        "warehouse": "lake",
        "oauth2-client-id": "etl",
        "oauth2-client-secret": "<polaris/secret>",
        "oauth2-server-uri": f"{URI}/v1/oauth/tokens",
        "scope": "PRINCIPAL_ROLE:etl",
    }


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            {"secret_ref": "polaris"},
            {
                "oauth2-client-id": "<polaris/client_id>",
                "oauth2-client-secret": "<polaris/client_secret>",
            },
        ),
        ({"secret_ref": "polaris", "key": "both"}, {"credential": "<polaris/both>"}),
    ],
)
def test_one_secret_may_hold_the_client_id_too(
    secret: dict[str, str], expected: dict[str, str]
) -> None:
    credentials = {"mode": "oauth2", "client_secret": secret}
    found = properties({"type": "polaris", "uri": URI, "credentials": credentials})
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (
            KEYS,
            {
                "auth.type": "basic",
                "auth.basic.username": "<s3/id>",
                "auth.basic.password": "<s3/key>",
            },
        ),
        (
            {"mode": "iam_role", "role_arn": ROLE},
            {"rest.sigv4-enabled": "true", "client.assume-role.arn": ROLE},
        ),
        ({"mode": "service_account"}, {"rest.sigv4-enabled": "true"}),
        (
            {"mode": "vended_credentials"},
            {"header.X-Iceberg-Access-Delegation": "vended-credentials"},
        ),
    ],
)
def test_a_rest_catalog_knows_other_ways_in(
    credentials: dict[str, Any], expected: dict[str, str]
) -> None:
    found = properties({"type": "rest", "uri": URI, "credentials": credentials})
    assert found == {"type": "rest", "uri": URI, **expected}


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (None, {}),
        (
            KEYS,
            {
                "s3.access-key-id": "<s3/id>",
                "s3.secret-access-key": "<s3/key>",
                "header.X-Iceberg-Access-Delegation": "",
            },
        ),
        (
            {"mode": "iam_role", "role_arn": ROLE},
            {"s3.role-arn": ROLE, "header.X-Iceberg-Access-Delegation": ""},
        ),
        ({"mode": "service_account"}, {"header.X-Iceberg-Access-Delegation": ""}),
        (
            {"mode": "vended_credentials"},
            {"header.X-Iceberg-Access-Delegation": "vended-credentials"},
        ),
    ],
)
def test_storage_of_a_rest_catalog(
    credentials: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    found = properties({"type": "rest", "uri": URI}, {**WEED, "credentials": credentials})
    assert found == {
        "type": "rest",
        "uri": URI,
        "storage-location": "s3://lake/floe",
        "s3.region": "eu-central-1",
        "s3.endpoint": "https://s3.acme.dev",
        "s3.force-virtual-addressing": "false",
        **expected,
    }


@pytest.mark.parametrize(
    ("credentials", "storage", "expected"),
    [
        (None, LAKE, {}),
        (
            KEYS,
            LAKE,
            {"client.access-key-id": "<s3/id>", "client.secret-access-key": "<s3/key>"},
        ),
        (
            KEYS,
            {**LAKE, "credentials": {"mode": "service_account"}},
            {"glue.access-key-id": "<s3/id>", "glue.secret-access-key": "<s3/key>"},
        ),
        (
            {"mode": "iam_role", "role_arn": ROLE},
            LAKE,
            {"client.assume-role.arn": ROLE, "s3.role-arn": ROLE},
        ),
        (
            {"mode": "iam_role", "role_arn": ROLE},
            {**LAKE, "credentials": KEYS},
            {
                "client.assume-role.arn": ROLE,
                "s3.access-key-id": "<s3/id>",
                "s3.secret-access-key": "<s3/key>",
            },
        ),
    ],
)
def test_glue(credentials: Any, storage: dict[str, Any], expected: dict[str, str]) -> None:
    assert properties({"type": "glue", "credentials": credentials}, storage) == {
        "type": "glue",
        "warehouse": "s3://lake/floe",
        "client.region": "eu-central-1",
        "s3.region": "eu-central-1",
        **expected,
    }


def test_hive() -> None:
    uri = "thrift://hive.acme.dev:9083"
    assert properties(
        {"type": "hive", "uri": uri, "properties": {"hive.hive2-compatible": True}}, LAKE
    ) == {
        "type": "hive",
        "uri": uri,
        "warehouse": "s3://lake/floe",
        "s3.region": "eu-central-1",
        "hive.hive2-compatible": "true",
    }


def test_properties_may_be_secrets_and_numbers() -> None:
    given = {"token": {"secret_ref": "polaris/token"}, "rest-page-size": 100}
    found = properties({"type": "rest", "uri": URI, "properties": given})
    assert found == {
        "type": "rest",
        "uri": URI,
        "token": "<polaris/token>",
        "rest-page-size": "100",
    }


@pytest.mark.parametrize("given", [{"s3.sse.type": "none"}, {}, KMS])
def test_the_encryption_of_s3_keeps_the_names_of_java(given: dict[str, str]) -> None:
    found = properties({"type": "sql", "properties": given}, LAKE)
    assert {name: value for name, value in found.items() if name.startswith("s3.sse.")} == given


@pytest.mark.parametrize("kind", ["sql", "glue"])
def test_only_rest_catalogs_vend_credentials(kind: str) -> None:
    storage = {**LAKE, "credentials": {"mode": "vended_credentials"}}
    with pytest.raises(CatalogSetupError, match=f"of type `{kind}` cannot vend credentials"):
        properties({"type": kind}, storage)


@pytest.mark.parametrize(
    ("catalog", "expected"),
    [
        ({"type": "rest"}, ("", "a catalog of type `rest` needs `uri`, its endpoint")),
        (
            {"type": "polaris", "uri": URI, "credentials": {"mode": "service_account"}},
            (
                "credentials.mode",
                "a catalog of type `polaris` cannot be signed in to with `service_account`",
            ),
        ),
        (
            {"type": "hive", "uri": "thrift://hive:9083", "credentials": KEYS},
            ("credentials.mode", "a catalog of type `hive` cannot be signed in to with `static`"),
        ),
        (
            {"type": "hive", "uri": "https://hive.acme.dev"},
            ("uri", "`https://hive.acme.dev` is not the address of a Hive Metastore"),
        ),
        (
            {"type": "nessie", "uri": "https://nessie.acme.dev/api/v2"},
            ("uri", "`/api/v2` is Nessie's own interface, which PyIceberg does not speak"),
        ),
        (
            {"type": "glue", "uri": "https://glue.eu-central-1.amazonaws.com"},
            ("uri", "Glue is found by its region, not by a URL"),
        ),
        (
            {"type": "sql", "uri": "sqlite:///catalog.db"},
            (
                "uri",
                "must be an absolute path, with four slashes: `sqlite:////srv/catalog.db`",
            ),
        ),
        ({"type": "sql", "uri": "catalog.db"}, ("uri", "is not the URL of a database")),
        (
            {"type": "rest", "uri": URI, "properties": {"s3.endpoint": "https://s3.acme.dev"}},
            ("properties.s3.endpoint", "has a place of its own in the profile"),
        ),
        (
            {"type": "rest", "uri": URI, "properties": {"prefixx": "x"}},
            ("properties.prefixx", "a catalog of type `rest` has no property `prefixx`"),
        ),
        (
            {"type": "rest", "uri": URI, "properties": {"s3.sse-kms-key-id": "x"}},
            ("properties.s3.sse-kms-key-id", "has a place of its own in the profile"),
        ),
        *(
            (
                {"type": "glue", "properties": {**KMS, "s3.sse.type": kind}},
                ("properties.s3.sse.type", message),
            )
            for kind, message in [
                ("s3", CANNOT_ENCRYPT),
                ("dsse-kms", CANNOT_ENCRYPT),
                ("custom", CANNOT_ENCRYPT),
                ("KMS", "must be `kms` or `none`"),
                (True, "must be `kms` or `none`"),
            ]
        ),
        (
            {"type": "glue", "properties": {"s3.sse.type": "kms"}},
            ("properties.s3.sse.type", "says `kms`, and not with which key"),
        ),
        (
            {"type": "glue", "properties": {"s3.sse.key": "alias/lake"}},
            ("properties.s3.sse.key", "has no effect without `s3.sse.type: kms`"),
        ),
        (
            {"type": "rest", "uri": URI, "properties": {"ssl.cabundle": "ca.pem"}},
            (
                "properties.ssl.cabundle",
                "must be an absolute path: it is a file of the machine that runs",
            ),
        ),
        (
            {"type": "rest", "uri": "http://polaris.acme.dev"},
            ("uri", "is not encrypted: whoever listens on the way reads tokens and keys"),
        ),
        (
            {
                "type": "polaris",
                "uri": URI,
                "credentials": {**CLIENT, "scope": "PRINCIPAL_ROLE:ALL"},
            },
            (
                "credentials.scope",
                "asks for every role of the principal, so a token that leaks opens all of them",
            ),
        ),
    ],
)
def test_what_cannot_work_is_said(catalog: dict[str, Any], expected: tuple[str, str]) -> None:
    assert findings(catalog) == [expected]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_this_machine_needs_no_encryption(host: str) -> None:
    assert findings({"type": "rest", "uri": f"http://{host}:8181"}) == []


def test_loading_a_catalog_type_imports_no_engine() -> None:
    code = (
        "import sys; from floe_core import plugins\n"
        "for name in ('sql', 'rest', 'polaris', 'nessie', 'glue', 'hive'):\n"
        "    assert plugins.catalog_client(name) is not None\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'pyiceberg', 'pyarrow', 'duckdb', 'numpy', 'boto3', 'requests'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_every_property_that_may_be_written_is_one_of_pyiceberg() -> None:
    """PyIceberg's own sources name each of them; those of encryption are Java's."""
    import pyiceberg

    from floe_iceberg import profile

    folder = Path(pyiceberg.__file__).parent
    sources = "".join(path.read_text() for path in folder.rglob("*.py"))
    kinds = (profile.SqlCatalog, profile.RestCatalog, profile.GlueCatalog, profile.HiveCatalog)
    known = frozenset().union(*(kind.known for kind in kinds)) - {"name", *KMS}
    nested = {name for name in known if name.startswith("ssl.")}
    assert [name for name in sorted(known - nested) if f'"{name}"' not in sources] == []
    assert [part for name in nested for part in name.split(".") if f'"{part}"' not in sources] == []
