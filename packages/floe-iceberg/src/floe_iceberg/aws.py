"""Signing in to S3: keys that are given or found, or of a role that is assumed; and encryption."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from botocore.session import Session

_lock = threading.Lock()


def keys_of(properties: Mapping[str, Any]) -> ReadOnlyCredentials | None:
    """Keys for S3 that hold now, of the role that the properties name, else of whoever runs this.

    They are renewed a quarter of an hour before they expire.

    Returns:
        None when nobody has signed in.
    """
    found = session_of(properties, _role(properties)).get_credentials()
    return None if found is None else found.get_frozen_credentials()


def keys_in(properties: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """The key, its secret and the session's token that the properties hold for S3."""
    key, secret, token = (
        properties.get(f"s3.{name}") or properties.get(f"client.{name}")
        for name in ("access-key-id", "secret-access-key", "session-token")
    )
    return key, secret, token


def region_of(properties: Mapping[str, Any], bucket: str) -> str:
    """The region of a bucket; servers that are not AWS take any."""
    region = properties.get("s3.region") or properties.get("client.region")
    if region:
        return str(region)
    if properties.get("s3.endpoint"):
        return "us-east-1"
    return _region_of_bucket(bucket)


def is_in_host(properties: Mapping[str, Any]) -> bool:
    """Whether the bucket is part of the host name at an endpoint of one's own."""
    return str(properties.get("s3.force-virtual-addressing", "")).lower() == "true"


def kms_key_of(properties: Mapping[str, Any]) -> str | None:
    """The key of KMS that S3 encrypts with; None where the bucket's default holds."""
    return properties.get("s3.sse.key") if properties.get("s3.sse.type") == "kms" else None


def s3_client(properties: Mapping[str, Any], bucket: str) -> Any:
    """A client of botocore for S3 that signs, connects and trusts as the properties say."""
    from botocore.config import Config

    key, secret, token = keys_in(properties)
    endpoint = properties.get("s3.endpoint")
    options: dict[str, Any] = {}
    if endpoint:
        style = "virtual" if is_in_host(properties) else "path"
        options["s3"] = {"addressing_style": style}
    for name, option in (("connect", "connect_timeout"), ("request", "read_timeout")):
        seconds = properties.get(f"s3.{name}-timeout")
        if seconds:
            options[option] = float(seconds)
    session = session_of(properties, None if key else _role(properties))
    with _lock:  # sessions make one client at a time
        return session.create_client(
            "s3",
            region_of(properties, bucket),
            endpoint_url=endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(**options),
        )


def session_of(properties: Mapping[str, Any], role: str | None) -> Session:
    """A session that signs as a role, else as whoever runs this."""
    region = properties.get("client.region") or properties.get("s3.region")
    name = properties.get("s3.role-session-name") or "floe"
    with _lock:
        return _session(role, region, name, bundle_of(properties))


def bundle_of(properties: Mapping[str, Any]) -> str | None:
    """`ssl.cabundle`, from properties with dots or from PyIceberg's mappings."""
    nested = properties.get("ssl")
    if isinstance(nested, Mapping):
        return nested.get("cabundle")
    return properties.get("ssl.cabundle")


def _role(properties: Mapping[str, Any]) -> str | None:
    return properties.get("s3.role-arn") or properties.get("client.role-arn")


@cache
def _region_of_bucket(bucket: str) -> str:
    from pyarrow.fs import resolve_s3_region  # type: ignore[import-untyped]

    return str(resolve_s3_region(bucket))


@cache
def _session(role: str | None, region: str | None, name: str, bundle: str | None) -> Session:
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError
    from botocore.session import Session

    session = Session()
    if region is not None:
        session.set_config_variable("region", region)
    if bundle is not None:
        session.set_config_variable("ca_bundle", bundle)
    if role is None:
        return session
    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        session.create_client, source, role, extra_args={"RoleSessionName": name}
    )
    assumed = Session()
    for variable in ("region", "ca_bundle"):
        assumed.set_config_variable(variable, session.get_config_variable(variable))
    assumed.register_component(
        "credential_provider",
        _Always(DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")),
    )
    return assumed


class _Always:
    """What a session asks for credentials: always the same, which renew themselves."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Any:
        return self._credentials
