"""A floe profile in PyIceberg's own names: one class for each kind of catalog.

They are the entry points of `floe.catalogs`. `floe validate` loads them, so neither PyIceberg nor
an engine is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from floe_core.diagnostics import did_you_mean
from floe_core.plugins import Finding
from floe_core.schemas.platform import CatalogProfile, LocalStorage, S3Storage, StorageProfile
from floe_core.schemas.secret import (
    IamRoleCredentials,
    OAuth2Credentials,
    SecretRef,
    ServiceAccountCredentials,
    StaticCredentials,
    VendedCredentials,
)
from floe_core.urls import is_unencrypted
from floe_iceberg.errors import CatalogSetupError

if TYPE_CHECKING:
    from floe_core.plugins import CatalogClient

Secret = Callable[[SecretRef], str]

_ROLE = "client.assume-role.arn"
DELEGATION = "header.X-Iceberg-Access-Delegation"
_VENDED = "vended-credentials"
STORAGE_LOCATION = "storage-location"
CLIENT_ID, CLIENT_SECRET = "oauth2-client-id", "oauth2-client-secret"
_REGION = "us-east-1"
"""What servers that speak S3 and are not AWS take; PyArrow would ask AWS otherwise."""

_CANNOT, _PLAIN, _BROAD = "FLOE-G004", "FLOE-G005", "FLOE-G006"
_MODES = {
    StaticCredentials: "static",
    OAuth2Credentials: "oauth2",
    IamRoleCredentials: "iam_role",
    ServiceAccountCredentials: "service_account",
    VendedCredentials: "vended_credentials",
}

_ELSEWHERE = {
    "type": "`type` of the catalog",
    "uri": "`uri` of the catalog",
    "warehouse": "`warehouse` of the catalog",
    "credential": "`credentials: {mode: oauth2, ...}`",
    "scope": "`scope` of `credentials`",
    "s3.endpoint": "`endpoint` of the storage",
    "s3.region": "`region` of the storage",
    "s3.force-virtual-addressing": "`path_style` of the storage",
    "s3.access-key-id": "`credentials` of the storage",
    "s3.secret-access-key": "`credentials` of the storage",
    "s3.role-arn": "`credentials` of the storage",
    "client.role-arn": "`credentials` of the catalog",
    "client.assume-role.arn": "`credentials` of the catalog",
    "client.access-key-id": "`credentials` of the catalog",
    "client.secret-access-key": "`credentials` of the catalog",
    "glue.access-key-id": "`credentials` of the catalog",
    "glue.secret-access-key": "`credentials` of the catalog",
    "s3.server-side-encryption": "`s3.sse.type: kms`",
    "s3.sse-kms-key-id": "`s3.sse.key`, with `s3.sse.type: kms`",
    DELEGATION: "`credentials: {mode: vended_credentials}` of the storage",
    STORAGE_LOCATION: "`storage` of the platform",
}
"""Properties of PyIceberg that a profile has a place of its own for."""

_BY_BUCKET = "make it the default encryption of the bucket, and leave `s3.sse.type` out"
_UNABLE = {
    "s3": _BY_BUCKET,
    "dsse-kms": _BY_BUCKET,
    "custom": "use a key of KMS: `s3.sse.type: kms`, with `s3.sse.key`",
}
"""Encryptions that Iceberg's Java library can ask S3 for, and DuckDB cannot."""
_FILES = ("ssl.cabundle", "ssl.client.cert", "ssl.client.key")
_HEADER = "header."

_S3 = frozenset(
    {
        "client.region",
        "s3.anonymous",
        "s3.connect-timeout",
        "s3.request-timeout",
        "s3.role-session-name",
        "s3.session-token",
        "s3.sse.key",
        "s3.sse.type",
        "ssl.cabundle",
    }
)
_REST = _S3 | {
    "audience",
    "name",
    "namespace-separator",
    "oauth2-server-uri",
    "prefix",
    "resource",
    "rest-page-size",
    "rest.signing-name",
    "rest.signing-region",
    "rest.sigv4-enabled",
    "rest.sigv4.max-retries",
    "snapshot-loading-mode",
    "ssl.client.cert",
    "ssl.client.key",
    "token",
    "view-endpoints-supported",
}


class _Kind:
    """What the kinds of catalogs have in common."""

    client: ClassVar[str]
    """The `type` that PyIceberg knows it by."""
    needs_uri: ClassVar[bool] = True
    is_rest: ClassVar[bool] = False
    nests_namespaces = False
    """PyIceberg stages new tables of catalogs without REST in namespaces of one part alone."""
    known: ClassVar[frozenset[str]]
    """Properties that users may write."""
    modes: ClassVar[tuple[str, ...]]
    """Ways of signing in to the catalog."""

    def check(self, catalog: CatalogProfile) -> Sequence[Finding]:
        """Look for what the catalog cannot work with."""
        return [
            *self._of_uri(catalog),
            *self._of_properties(catalog),
            *self._of_credentials(catalog),
        ]

    def properties(
        self, catalog: CatalogProfile, storage: StorageProfile | None, data: Path, secret: Secret
    ) -> dict[str, str]:
        """Say in PyIceberg's own names where the catalog is and how to sign in.

        Raises:
            CatalogSetupError: if the storage expects of the catalog what it cannot do.
        """
        found = {"type": self.client}
        uri = self._uri(catalog, data)
        if uri is not None:
            found["uri"] = uri
        warehouse = self._warehouse(catalog, storage, data)
        if warehouse is not None:
            found["warehouse"] = warehouse
        found |= self._sign_in(catalog, storage, secret)
        if isinstance(storage, S3Storage):
            found |= self._s3(catalog, storage, secret)
        found |= {key: _text(value, secret) for key, value in catalog.properties.items()}
        return found

    def _uri(self, catalog: CatalogProfile, data: Path) -> str | None:
        return catalog.uri

    def _warehouse(
        self, catalog: CatalogProfile, storage: StorageProfile | None, data: Path
    ) -> str | None:
        return catalog.warehouse or _location(storage, data)

    def _sign_in(
        self, catalog: CatalogProfile, storage: StorageProfile | None, secret: Secret
    ) -> dict[str, str]:
        return {}

    def _s3(self, catalog: CatalogProfile, storage: S3Storage, secret: Secret) -> dict[str, str]:
        found = {}
        region = storage.region or (_REGION if storage.endpoint else None)
        if region is not None:
            found["s3.region"] = region
        if storage.endpoint is not None:
            found["s3.endpoint"] = storage.endpoint
            found["s3.force-virtual-addressing"] = "false" if storage.path_style else "true"
        match storage.credentials:
            case StaticCredentials() as keys:
                found["s3.access-key-id"] = _text(keys.username, secret)
                found["s3.secret-access-key"] = secret(keys.password)
            case IamRoleCredentials() as role:
                found["s3.role-arn"] = role.role_arn
            case VendedCredentials() if not self.is_rest:
                raise CatalogSetupError(
                    f"a catalog of type `{catalog.type}` cannot vend credentials for its storage, "
                    "which has `mode: vended_credentials`",
                    "use a catalog of type `polaris`, `rest` or `nessie`, or other credentials "
                    "for the storage",
                )
            case OAuth2Credentials():
                raise CatalogSetupError(
                    "S3 cannot be signed in to with `mode: oauth2`",
                    "use `static`, `iam_role`, `service_account` or `vended_credentials`",
                )
        if self.is_rest and storage.credentials is not None:
            is_vended = isinstance(storage.credentials, VendedCredentials)
            found[DELEGATION] = _VENDED if is_vended else ""
        return found

    def _of_uri(self, catalog: CatalogProfile) -> Iterator[Finding]:
        if catalog.uri is not None:
            yield from _of_url(catalog.uri, "uri")
        elif self.needs_uri:
            message = f"a catalog of type `{catalog.type}` needs `uri`, its endpoint"
            yield Finding(_CANNOT, (), message, "add `uri:`")

    def _of_properties(self, catalog: CatalogProfile) -> Iterator[Finding]:
        for key, value in catalog.properties.items():
            field = ("properties", key)
            if key in _ELSEWHERE:
                help = f"write {_ELSEWHERE[key]}"
                message = "has a place of its own in the profile"
                yield Finding(_CANNOT, field, message, help, on_key=True)
            elif key not in self.known and not (self.is_rest and key.startswith(_HEADER)):
                message = f"a catalog of type `{catalog.type}` has no property `{key}`"
                help = did_you_mean(key, self.known, "properties")
                yield Finding(_CANNOT, field, message, help, on_key=True)
            elif isinstance(value, list | dict):
                yield Finding(_CANNOT, field, "must be one value", "write text or a number")
            elif key in _FILES and not str(value).startswith("/"):
                message = "must be an absolute path: it is a file of the machine that runs"
                yield Finding(_CANNOT, field, message)
            elif key == "oauth2-server-uri":
                yield from _of_url(str(value), *field)
        yield from of_encryption(catalog.properties)

    def _of_credentials(self, catalog: CatalogProfile) -> Iterator[Finding]:
        credentials = catalog.credentials
        if credentials is None:
            return
        if credentials.mode not in self.modes:
            listed = ", ".join(f"`{mode}`" for mode in self.modes)
            yield Finding(
                _CANNOT,
                ("credentials", "mode"),
                f"a catalog of type `{catalog.type}` cannot be signed in to with "
                f"`{credentials.mode}`",
                f"it knows {listed}" if self.modes else "remove `credentials`",
            )
        if isinstance(credentials, OAuth2Credentials) and credentials.scope is not None:
            yield from _of_scope(credentials.scope)


class SqlCatalog(_Kind):
    """A catalog in a SQL database: a SQLite file of this machine, unless `uri` names another."""

    client = "sql"
    needs_uri = False
    known = _S3 | {"init_catalog_tables", "name", "pool_pre_ping", "schema_version"}
    modes = ("static",)

    def _uri(self, catalog: CatalogProfile, data: Path) -> str | None:
        return catalog.uri or f"sqlite:///{data}/catalog.db"

    def _warehouse(
        self, catalog: CatalogProfile, storage: StorageProfile | None, data: Path
    ) -> str | None:
        return super()._warehouse(catalog, storage, data) or f"file://{data}/warehouse"

    def _sign_in(
        self, catalog: CatalogProfile, storage: StorageProfile | None, secret: Secret
    ) -> dict[str, str]:
        if not isinstance(catalog.credentials, StaticCredentials):
            return {}
        user = _text(catalog.credentials.username, secret)
        return {"jdbc.user": user, "jdbc.password": secret(catalog.credentials.password)}

    def _of_uri(self, catalog: CatalogProfile) -> Iterator[Finding]:
        if catalog.uri is None:
            return
        scheme = urlsplit(catalog.uri).scheme
        if scheme.partition("+")[0] == "sqlite" and not catalog.uri.startswith(f"{scheme}:////"):
            yield Finding(
                _CANNOT,
                ("uri",),
                "must be an absolute path, with four slashes: `sqlite:////srv/catalog.db`",
                "leave `uri` out for a file below `.floe/data`",
            )
        elif not scheme or "://" not in catalog.uri:
            message = "is not the URL of a database"
            help = "write `postgresql+psycopg://HOST/DATABASE`, or leave `uri` out for SQLite"
            yield Finding(_CANNOT, ("uri",), message, help)


class RestCatalog(_Kind):
    """A catalog that speaks Iceberg's REST protocol."""

    client = "rest"
    is_rest = True
    nests_namespaces = True
    known = frozenset(_REST)
    modes: ClassVar[tuple[str, ...]] = (
        "oauth2",
        "static",
        "iam_role",
        "service_account",
        "vended_credentials",
    )

    def _warehouse(
        self, catalog: CatalogProfile, storage: StorageProfile | None, data: Path
    ) -> str | None:
        return catalog.warehouse

    def properties(
        self, catalog: CatalogProfile, storage: StorageProfile | None, data: Path, secret: Secret
    ) -> dict[str, str]:
        """As of other catalogs; where tables have to be goes along, for the server decides."""
        found = super().properties(catalog, storage, data, secret)
        location = _location(storage, data)
        return found if location is None else {STORAGE_LOCATION: location, **found}

    def _sign_in(
        self, catalog: CatalogProfile, storage: StorageProfile | None, secret: Secret
    ) -> dict[str, str]:
        match catalog.credentials:
            case OAuth2Credentials() as client:
                found = _client(client, secret)
                found["oauth2-server-uri"] = f"{str(catalog.uri).rstrip('/')}/v1/oauth/tokens"
                return found | ({"scope": client.scope} if client.scope is not None else {})
            case StaticCredentials() as keys:
                return {
                    "auth.type": "basic",
                    "auth.basic.username": _text(keys.username, secret),
                    "auth.basic.password": secret(keys.password),
                }
            case IamRoleCredentials() as role:
                return {"rest.sigv4-enabled": "true", _ROLE: role.role_arn}
            case ServiceAccountCredentials():
                return {"rest.sigv4-enabled": "true"}
            case VendedCredentials():
                return {DELEGATION: _VENDED}
            case None:
                return {}


class PolarisCatalog(RestCatalog):
    """Apache Polaris."""

    modes = ("oauth2",)


class NessieCatalog(RestCatalog):
    """Nessie, by its Iceberg REST interface."""

    modes = ("oauth2", "static")

    def _of_uri(self, catalog: CatalogProfile) -> Iterator[Finding]:
        yield from super()._of_uri(catalog)
        path = urlsplit(catalog.uri or "").path
        if path.startswith("/api/v"):
            yield Finding(
                _CANNOT,
                ("uri",),
                f"`{path}` is Nessie's own interface, which PyIceberg does not speak",
                "write the one for Iceberg: `/iceberg`, or `/iceberg/BRANCH`",
            )


class GlueCatalog(_Kind):
    """The AWS Glue Data Catalog."""

    client = "glue"
    needs_uri = False
    known = _S3 | {
        "glue.endpoint",
        "glue.id",
        "glue.max-retries",
        "glue.region",
        "glue.retry-mode",
        "glue.session-token",
        "glue.skip-archive",
        "name",
    }
    modes = ("static", "iam_role", "service_account")

    def _uri(self, catalog: CatalogProfile, data: Path) -> str | None:
        return None

    def _sign_in(
        self, catalog: CatalogProfile, storage: StorageProfile | None, secret: Secret
    ) -> dict[str, str]:
        found = {}
        if isinstance(storage, S3Storage) and storage.region is not None:
            found["client.region"] = storage.region
        is_shared = not isinstance(storage, S3Storage) or storage.credentials is None
        match catalog.credentials:
            case StaticCredentials() as keys:
                which = "client" if is_shared else "glue"
                found[f"{which}.access-key-id"] = _text(keys.username, secret)
                found[f"{which}.secret-access-key"] = secret(keys.password)
            case IamRoleCredentials() as role:
                found[_ROLE] = role.role_arn
                if is_shared:
                    found["s3.role-arn"] = role.role_arn
        return found

    def _of_uri(self, catalog: CatalogProfile) -> Iterator[Finding]:
        if catalog.uri is not None:
            message = "Glue is found by its region, not by a URL"
            help = "remove it; another endpoint is `properties: {glue.endpoint: ...}`"
            yield Finding(_CANNOT, ("uri",), message, help, on_key=True)


class HiveCatalog(_Kind):
    """A Hive Metastore."""

    client = "hive"
    known = _S3 | {
        "hive.hive2-compatible",
        "hive.kerberos-authentication",
        "hive.kerberos-service-name",
        "lock-check-max-wait-time",
        "lock-check-min-wait-time",
        "lock-check-retries",
        "name",
        "ugi",
    }
    modes = ()

    def _of_uri(self, catalog: CatalogProfile) -> Iterator[Finding]:
        yield from super()._of_uri(catalog)
        for uri in (catalog.uri or "").split(","):
            if catalog.uri is not None and not uri.startswith("thrift://"):
                message = f"`{uri}` is not the address of a Hive Metastore"
                yield Finding(_CANNOT, ("uri",), message, "write `thrift://HOST:9083`")
                return


def _location(storage: StorageProfile | None, data: Path) -> str | None:
    """Where a storage keeps tables; its folder is relative to the project, which holds `data`."""
    match storage:
        case LocalStorage():
            return f"file://{data.parents[2] / storage.path}"
        case S3Storage():
            prefix = (storage.prefix or "").strip("/")
            return f"s3://{storage.bucket}/{prefix}".rstrip("/")
        case None:
            return None


def _text(value: object, secret: Secret) -> str:
    if isinstance(value, SecretRef):
        return secret(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _client(credentials: OAuth2Credentials, secret: Secret) -> dict[str, str]:
    """The client's id and secret: one value each, for dbt puts one secret into a text at most."""
    ref = credentials.client_secret
    if credentials.client_id is not None:
        return {CLIENT_ID: _text(credentials.client_id, secret), CLIENT_SECRET: secret(ref)}
    if ref.entry is not None:
        return {"credential": secret(ref)}
    return {
        CLIENT_ID: secret(SecretRef(secret_ref=ref.name, key="client_id")),
        CLIENT_SECRET: secret(SecretRef(secret_ref=ref.name, key="client_secret")),
    }


def _of_url(url: str, *field: str) -> Iterator[Finding]:
    if is_unencrypted(url):
        message = "is not encrypted: whoever listens on the way reads tokens and keys"
        yield Finding(_PLAIN, field, message, "use `https://`", is_warning=True)


def of_encryption(properties: Mapping[str, object]) -> Iterator[Finding]:
    """Look for an encryption that cannot be asked of S3.

    The names are those of Iceberg's Java library: `s3.sse.type` and `s3.sse.key`.
    """
    kind, key = str(properties.get("s3.sse.type", "none")), properties.get("s3.sse.key")
    field = ("properties", "s3.sse.type")
    if kind in _UNABLE:
        message = "asks for what DuckDB, which writes the data files, cannot ask of S3"
        yield Finding(_CANNOT, field, message, _UNABLE[kind])
    elif kind not in ("kms", "none"):
        yield Finding(_CANNOT, field, "must be `kms` or `none`")
    elif kind == "kms" and not key:
        help = "add `s3.sse.key`, the id or the ARN of the key"
        yield Finding(_CANNOT, field, "says `kms`, and not with which key", help)
    elif kind == "none" and key:
        message = "has no effect without `s3.sse.type: kms`"
        help = "add `s3.sse.type: kms`"
        yield Finding(_CANNOT, ("properties", "s3.sse.key"), message, help, on_key=True)


def _of_scope(scope: str) -> Iterator[Finding]:
    if "PRINCIPAL_ROLE:ALL" in scope.split():
        message = "asks for every role of the principal, so a token that leaks opens all of them"
        help = "name the one that is needed: `PRINCIPAL_ROLE:NAME`"
        yield Finding(_BROAD, ("credentials", "scope"), message, help, is_warning=True)


if TYPE_CHECKING:
    _: tuple[type[CatalogClient], ...] = (
        SqlCatalog,
        RestCatalog,
        PolarisCatalog,
        NessieCatalog,
        GlueCatalog,
        HiveCatalog,
    )
