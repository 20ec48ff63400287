"""Secrets of HashiCorp Vault and OpenBao, in a KV engine of version 1 or 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.environment_variables import VAULT_AUTH_MOUNT, VAULT_MOUNT, VAULT_ROLE
from floe_core.errors import SecretBackendError, SecretUnreadableError, ServiceUnavailableError
from floe_core.secret_backends.kubernetes import SERVICE_ACCOUNT
from floe_core.secret_backends.network import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    Content,
    NetworkBackend,
)
from floe_core.secrets import read_json

if TYPE_CHECKING:
    from floe_core.plugins import SecretBackend

_BUSY = (429, 500, 502, 503, 504)


class Vault(NetworkBackend):
    """Secrets whose path below the mount is the name; keys are the fields there."""

    name = "vault"
    library = "hvac"

    def __init__(self) -> None:
        super().__init__()
        self._token: str | None = None
        self._version: str | None = None

    def place(self, name: str) -> str:
        """The path with its mount and server."""
        return f"{_mount()}/{name} of Vault at {_address()}"

    def read(self, name: str) -> Content | None:
        """Sign in unless that is done, and read the path."""
        from hvac.exceptions import Forbidden, InvalidPath

        with closing(self._session()) as session, _explained():
            client = self._client(session)
            client.token = self._token = self._token or _sign_in(client)
            self._version = self._version or _kv_version(client)
            path = f"data/{name}" if self._version == "2" else name
            try:
                answer = client.adapter.get(f"/v1/{_mount()}/{path}")
            except InvalidPath:
                return None
            except Forbidden:
                raise SecretBackendError(
                    f"Vault does not let this process read {self.place(name)}",
                    help=f'Give its token a policy with `path "{_mount()}/{path}" '
                    '{ capabilities = ["read"] }`.',
                ) from None
        document = read_json(answer.text)
        data = document.get("data") if isinstance(document, dict) else None
        if self._version == "2" and isinstance(data, dict):
            data = data.get("data")
        if not isinstance(data, dict):
            raise SecretUnreadableError(
                f"{self.place(name)}: the answer of the server is no secret"
            )
        return data

    def _session(self) -> Any:
        """A session that asks again where the server is busy or the connection breaks."""
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        retry = Retry(
            total=ATTEMPTS - 1,
            backoff_factor=0.2,
            status_forcelist=_BUSY,
            allowed_methods=None,
            raise_on_status=False,
        )
        session = requests.Session()
        session.mount("https://", HTTPAdapter(max_retries=retry))
        session.mount("http://", HTTPAdapter(max_retries=retry))
        return session

    def _client(self, session: Any) -> Any:
        import hvac
        from hvac.adapters import RawAdapter

        environ = os.environ
        certificate = environ.get("VAULT_CLIENT_CERT")
        session.verify = environ.get("VAULT_CACERT") or environ.get("VAULT_CAPATH") or True
        if certificate:
            session.cert = (certificate, environ.get("VAULT_CLIENT_KEY"))
        return hvac.Client(
            url=_address(),
            token="",  # hvac would look for one by itself
            session=session,
            timeout=(CONNECT_SECONDS, READ_SECONDS),  # type: ignore[arg-type]
            namespace=environ.get("VAULT_NAMESPACE") or None,
            adapter=RawAdapter,
        )


def _address() -> str:
    address = os.environ.get("VAULT_ADDR")
    if not address:
        raise SecretBackendError(
            "the secret backend `vault` does not know its server: VAULT_ADDR is not set",
            help="Set VAULT_ADDR, such as `https://vault.example.com:8200`.",
        )
    return address.rstrip("/")


def _mount() -> str:
    return (os.environ.get(VAULT_MOUNT) or "secret").strip("/")


def _sign_in(client: Any) -> str:
    """The token to use: one that is given, or that AppRole or Kubernetes sign-in brings."""
    environ = os.environ
    if environ.get("VAULT_TOKEN"):
        return environ["VAULT_TOKEN"]
    mount = environ.get(VAULT_AUTH_MOUNT)
    if environ.get("VAULT_ROLE_ID"):
        role, secret = environ["VAULT_ROLE_ID"], environ.get("VAULT_SECRET_ID")
        with _signing_in("AppRole", "VAULT_ROLE_ID and VAULT_SECRET_ID"):
            client.auth.approle.login(role, secret, mount_point=mount or "approle")
        return str(client.token)
    if environ.get(VAULT_ROLE):
        token = _service_account_token()
        with _signing_in("Kubernetes", f"{VAULT_ROLE}, and what the role is bound to"):
            role = environ[VAULT_ROLE]
            client.auth.kubernetes.login(role, token, mount_point=mount or "kubernetes")
        return str(client.token)
    file = Path.home() / ".vault-token"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    raise SecretBackendError(
        "the secret backend `vault` has nothing to sign in with",
        help="Set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID for AppRole, or VAULT_ROLE "
        "for the service account of a pod.",
    )


def _service_account_token() -> str:
    path = SERVICE_ACCOUNT / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        raise SecretBackendError(
            f"the secret backend `vault` signs in with the service account of the pod, and cannot "
            f"read {path}",
            help="Set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, where this is no pod.",
        ) from None


@contextmanager
def _signing_in(method: str, settings: str) -> Iterator[None]:
    from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized

    try:
        yield
    except InvalidPath:
        raise SecretBackendError(
            f"Vault at {_address()} knows no sign-in by {method} at this mount",
            help=f"Set {VAULT_AUTH_MOUNT} to the mount of the auth method.",
        ) from None
    except (Forbidden, InvalidRequest, Unauthorized):
        raise SecretBackendError(
            f"Vault at {_address()} refuses the sign-in by {method}", help=f"Look at {settings}."
        ) from None


def _kv_version(client: Any) -> str:
    """Version of the KV engine, asked for as Vault's own command line does."""
    from hvac.exceptions import Forbidden, InvalidPath

    mount = _mount()
    try:
        answer = client.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}")
    except InvalidPath:  # a server from before version 2
        return "1"
    except Forbidden:
        raise SecretBackendError(
            f"Vault at {_address()} refuses the token, or lets it see nothing below the mount "
            f"`{mount}`",
            help=f"Renew the token, set {VAULT_MOUNT} to the mount of the KV engine, or give the "
            "token a policy for it.",
        ) from None
    document = read_json(answer.text)
    data = document.get("data") if isinstance(document, dict) else None
    options = data.get("options") if isinstance(data, dict) else None
    return str((options or {}).get("version", "1"))


@contextmanager
def _explained() -> Iterator[None]:
    """Say what errors of the way mean; their texts are not shown, as they may quote the request."""
    from hvac.exceptions import VaultError
    from requests.exceptions import (
        InvalidSchema,
        InvalidURL,
        MissingSchema,
        RequestException,
        SSLError,
    )

    try:
        yield
    except SSLError:
        raise ServiceUnavailableError(
            f"the certificate of Vault at {_address()} cannot be verified",
            help="Set VAULT_CACERT to the file of the authority that signed it.",
        ) from None
    except (InvalidSchema, InvalidURL, MissingSchema):
        raise SecretBackendError(
            "the secret backend `vault` does not know its server: VAULT_ADDR is no address",
            help="Set VAULT_ADDR, such as `https://vault.example.com:8200`.",
        ) from None
    except RequestException as problem:
        raise ServiceUnavailableError(
            f"Vault at {_address()} does not answer ({type(problem).__name__})",
            help="Look at VAULT_ADDR and at the network.",
        ) from None
    except OSError:
        raise SecretBackendError(
            "the secret backend `vault` cannot read a file that VAULT_CACERT, VAULT_CAPATH, "
            "VAULT_CLIENT_CERT or VAULT_CLIENT_KEY names",
            help="Correct the variable.",
        ) from None
    except VaultError as problem:
        raise ServiceUnavailableError(
            f"Vault at {_address()} cannot answer now ({type(problem).__name__})",
            help="Look at its state with `vault status`: it may be sealed.",
        ) from None


if TYPE_CHECKING:
    _: type[SecretBackend] = Vault
