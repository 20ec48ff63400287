"""Keys of AWS that expire: found as AWS's own tools find them, or of a role that is assumed."""

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
    role = properties.get("s3.role-arn") or properties.get("client.role-arn")
    found = session_of(properties, role).get_credentials()
    return None if found is None else found.get_frozen_credentials()


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
