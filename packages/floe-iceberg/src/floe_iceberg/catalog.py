"""Opening a catalog, and saying in one sentence why it or its storage cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.errors import FloeError
from floe_core.layout import make_folder
from floe_iceberg.aws import kms_key_of
from floe_iceberg.errors import CatalogSetupError, WriteError
from floe_iceberg.explanation import explain
from floe_iceberg.profile import CLIENT_ID, CLIENT_SECRET, of_encryption

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

NAME = "floe"
"""Name of the catalog for PyIceberg; a SQL catalog keeps its tables under it."""

_NESTED = ("auth", "ssl")
"""Properties that PyIceberg reads as mappings, written with dots."""
_ROLE = "client.assume-role.arn"
_LOCK_SECONDS = "60"


def open_catalog(properties: Mapping[str, str]) -> Catalog:
    """Open a catalog by PyIceberg's own properties.

    Names with dots below `auth` and `ssl` become the mappings that PyIceberg wants. A SQLite
    catalog gets its folder, and waits for a lock instead of failing.

    Args:
        properties: As `CatalogClient.properties` gives them. `name` is what PyIceberg calls the
            catalog, `floe` when absent. PyIceberg has no names for the user of a database and
            for the role that requests to the catalog are signed as; they are called as Iceberg's
            Java library calls them, `jdbc.user`, `jdbc.password` and `client.assume-role.arn`.
            `oauth2-client-id` and `oauth2-client-secret` make up PyIceberg's `credential`.
            `s3.sse.type: kms` and `s3.sse.key` are Java's names too: S3 encrypts with that key.
            `storage-location` is a URI that new tables have to be below, where a REST catalog
            places them.

    Raises:
        CatalogSetupError: if files would be somewhere else than the warehouse says, `s3.sse.type`
            is another encryption, or `s3.sse.key` is missing.
    """
    from pyiceberg.catalog import load_catalog

    given: dict[str, Any] = dict(properties)
    name = given.pop("name", NAME)
    if str(given.get("warehouse", "")).startswith("file://"):
        given["warehouse"] = _folder(given["warehouse"][len("file://") :])
    if CLIENT_SECRET in given:
        given["credential"] = f"{given.pop(CLIENT_ID)}:{given.pop(CLIENT_SECRET)}"
    if given.get("type") == "sql":
        given["uri"] = _database(given)
    if _ROLE in given or (given.get("type") == "glue" and "ssl.cabundle" in given):
        from floe_iceberg.aws import session_of

        given["botocore_session"] = session_of(given, given.pop(_ROLE, None))
    if "glue.max-retries" in given:
        given["glue.max-retries"] = int(given["glue.max-retries"])  # botocore takes no text
    for finding in of_encryption(given):
        raise CatalogSetupError(f"`{finding.field[-1]}` {finding.message}", finding.help)
    if "ssl.cabundle" in given or kms_key_of(given) is not None:
        given.setdefault("py-io-impl", "floe_iceberg.file_io.S3FileIO")
    elif str(given.get("warehouse", "")).startswith("file://"):
        given.setdefault("py-io-impl", "floe_iceberg.local_file_io.LocalFileIO")
    catalog = load_catalog(name, **_nested(given))
    if given.get("type") == "rest":
        from floe_iceberg.tracing import propagate_traces

        propagate_traces(catalog)
    return catalog


@contextmanager
def explained(profile_name: str, properties: Mapping[str, str]) -> Iterator[None]:
    """Say in one sentence why a catalog or its storage cannot be used, for what a block raises.

    What it does not know, such as an error in a query, leaves the block as it is. No secret of
    the properties is shown.

    Args:
        profile_name: Name of the catalog in platform.yaml.
        properties: What it was opened with.

    Raises:
        CatalogUnavailableError: if the catalog, the storage or the token server does not answer.
        CatalogRefusedError: if one of them refuses who asks, or what is asked.
        CatalogSetupError: if a package, a bucket or a region is missing, or a URL is wrong.
        TableGoneError: if a table is not there, or its metadata cannot be read.
        WriteError: if a disk is full, or files cannot be written for a reason that is not known.
    """
    try:
        yield
    except Exception as problem:
        if isinstance(problem, FloeError) and not isinstance(problem, WriteError):
            raise
        told = explain(problem, profile_name, properties)
        if told is None:
            raise
        raise told from None


def _folder(path: str) -> str:
    """The URL of a folder; PyIceberg reads it as one, up to the first `#` or `?`."""
    path = os.path.normpath(path)
    if "#" in path or "?" in path:
        raise CatalogSetupError(
            f"tables cannot be in {path}: a folder with # or ? in its name has no URL that "
            "PyIceberg understands",
            "rename the folder, or let `storage` name one elsewhere",
        )
    return f"file://{path}"


def _database(given: dict[str, Any]) -> str:
    """The URL of the catalog's database, with the user and what SQLite needs."""
    from sqlalchemy.engine import make_url

    url = make_url(given["uri"])
    user, password = given.pop("jdbc.user", None), given.pop("jdbc.password", None)
    if user is not None:
        url = url.set(username=user, password=password)
    if url.get_backend_name() == "sqlite" and url.database:
        make_folder(Path(url.database).parent)
        if "timeout" not in url.query:
            url = url.update_query_dict({"timeout": _LOCK_SECONDS})
    return url.render_as_string(hide_password=False)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`ssl.client.cert` as PyIceberg reads it: `{"ssl": {"client": {"cert": ...}}}`."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        first, *rest = key.split(".")
        if first not in _NESTED or not rest:
            found[key] = value
            continue
        inside = found.setdefault(first, {})
        for part in rest[:-1]:
            inside = inside.setdefault(part, {})
        inside[rest[-1]] = value
    return found
