"""DuckDB's way to the files of a table: its extensions, and the keys to object storage."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from floe_iceberg.aws import (
    bundle_of,
    is_in_host,
    keys_in,
    keys_of,
    kms_key_of,
    region_of,
)
from floe_iceberg.errors import CatalogRefusedError, CatalogSetupError
from floe_iceberg.sql import identifier, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_S3 = ("s3://", "s3a://", "s3n://")
_SALT = secrets.token_bytes(32)
_lock = threading.Lock()


def configure(
    connection: DuckDBPyConnection, io_properties: Mapping[str, Any], location: str
) -> None:
    """Let DuckDB read and write what is below a location.

    Nothing happens for local files. For S3 the keys become a secret of DuckDB that holds for this
    location alone, in memory; keys that expire are renewed. Call it before each write and read: it
    costs less than a millisecond when nothing has changed, and open transactions see it.

    Args:
        connection: Any connection to the database; others to the same one can use the keys too.
        io_properties: PyIceberg's, such as `table.io.properties`, with what the catalog vended.
        location: URI of a table or of a folder.

    Raises:
        CatalogSetupError: if DuckDB's extension, or a package for AWS, is not installed.
        CatalogRefusedError: if DuckDB does not take the keys.
    """
    if not location.startswith(_S3):
        return
    path = "s3://" + location.partition("://")[2].rstrip("/") + "/"
    options = _secret(io_properties, path)
    place = f"floe_{sha256(path.encode()).hexdigest()[:16]}_"
    name = place + _fingerprint(options)
    with _lock, closing(connection.cursor()) as cursor:
        present = [found for (found,) in cursor.execute(_SECRETS, [place]).fetchall()]
        if name in present:
            return
        _load(cursor, "httpfs")
        _create(cursor, name, options)
        for old in present:
            cursor.execute(f"DROP SECRET IF EXISTS {identifier(old)}")
        bundle = bundle_of(io_properties)
        if bundle is not None:
            cursor.execute(f"SET GLOBAL ca_cert_file = {literal(bundle)}")


def load_iceberg(connection: DuckDBPyConnection) -> None:
    """Load what `iceberg_scan` needs.

    Raises:
        CatalogSetupError: if an extension is not installed.
    """
    with closing(connection.cursor()) as cursor:
        for name in ("avro", "iceberg"):
            _load(cursor, name)


_SECRETS = "SELECT name FROM duckdb_secrets() WHERE starts_with(name, ?)"


def _create(cursor: DuckDBPyConnection, name: str, options: Mapping[str, Any]) -> None:
    import duckdb

    # Values are parameters: an error of DuckDB shows the statement.
    settings = ", ".join(f"{option} ?" for option in options)
    statement = f"CREATE SECRET IF NOT EXISTS {identifier(name)} (TYPE s3, {settings})"
    try:
        cursor.execute(statement, list(options.values()))
    except duckdb.Error as problem:
        raise CatalogRefusedError(
            f"DuckDB does not take the keys for {options['SCOPE']} ({type(problem).__name__})"
        ) from None


def _secret(properties: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The options of DuckDB's secret, in the order of PyIceberg's own rules."""
    endpoint = properties.get("s3.endpoint")
    region = region_of(properties, urlsplit(path).netloc)
    options: dict[str, Any] = {"SCOPE": path, "REGION": region}
    if endpoint:
        options |= _address(str(endpoint), properties)
    given = keys_in(properties)
    if given[0]:
        options |= _options(given)
    elif str(properties.get("s3.anonymous", "")).lower() != "true":
        options |= _found(properties)
    key = kms_key_of(properties)
    if key is not None:
        options["KMS_KEY_ID"] = key
    return options


def _options(keys: Sequence[str | None]) -> Iterator[tuple[str, str]]:
    for option, value in zip(("KEY_ID", "SECRET", "SESSION_TOKEN"), keys, strict=True):
        if value:
            yield option, str(value)


def _found(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if find_spec("botocore") is None:
        raise CatalogSetupError(
            "finding keys for S3 in the environment needs boto3, which is not installed",
            "pip install 'floe-iceberg[s3]'",
        )
    keys = keys_of(properties)
    if keys is not None:
        yield from _options((keys.access_key, keys.secret_key, keys.token))


def _address(endpoint: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    parts = urlsplit(endpoint)
    return {
        "ENDPOINT": (parts.netloc + parts.path).rstrip("/") or endpoint,
        "USE_SSL": parts.scheme != "http",
        "URL_STYLE": "vhost" if is_in_host(properties) else "path",
    }


def _fingerprint(options: Mapping[str, Any]) -> str:
    """Tells equal options from others, and nothing about them."""
    return hmac.new(_SALT, repr(sorted(options.items())).encode(), sha256).hexdigest()[:24]


def _load(cursor: DuckDBPyConnection, name: str) -> None:
    """Load an extension from the installed package, else from where DuckDB gets it."""
    import duckdb

    package = find_spec(f"duckdb_extension_{name}")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
        file = folder / f"{name}.duckdb_extension"
        if file.is_file():
            cursor.execute(f"LOAD {literal(str(file))}")
            return
    try:
        cursor.install_extension(name)
        cursor.load_extension(name)
    except duckdb.Error as problem:
        raise CatalogSetupError(
            f"DuckDB's extension {name} is not installed, and cannot be fetched",
            f"pip install duckdb-extension-{name}=={duckdb.__version__}",
        ) from problem
