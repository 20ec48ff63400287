"""Secrets of Kubernetes, read from its API with the service account of the pod."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.errors import SecretBackendError, SecretUnreadableError, ServiceUnavailableError
from floe_core.secret_backends.network import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    Content,
    NetworkBackend,
    text_or_bytes,
)

if TYPE_CHECKING:
    import httpx

    from floe_core.plugins import SecretBackend

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts token, CA and namespace into a pod."""

_TOO_MANY = 429
_NOT_FOUND = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_SERVER_ERROR = 500


class KubernetesSecrets(NetworkBackend):
    """Secrets of the pod's own namespace.

    Kubernetes allows lower case letters, digits, `-` and `.` in names: `PG_MAIN` is `pg-main`.
    """

    name = "kubernetes"
    library = "httpx"

    def place(self, name: str) -> str:
        """The secret with its namespace."""
        _server()
        return f"Kubernetes secret {secret_name(name)} in namespace {_mounted('namespace')}"

    def read(self, name: str) -> Content | None:
        """Get the secret from the API server."""
        import httpx

        place = self.place(name)
        url = f"{_server()}/api/v1/namespaces/{_mounted('namespace')}/secrets/{secret_name(name)}"
        headers = {"Authorization": f"Bearer {_mounted('token')}", "Accept": "application/json"}
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            with httpx.Client(verify=_trusted(), timeout=timeout, headers=headers) as client:
                answer = _answer(client, url)
        except httpx.TransportError as problem:
            raise _unreachable(problem) from None
        if answer.status_code == _NOT_FOUND:
            return None
        if answer.status_code == _UNAUTHORIZED:
            raise SecretBackendError(
                f"the Kubernetes API at {_server()} does not accept the pod's token",
                help=f"Look at the service account of the pod, and at {SERVICE_ACCOUNT}/token.",
            )
        if answer.status_code == _FORBIDDEN:
            raise SecretBackendError(
                f"Kubernetes does not let the pod's service account read {place}",
                help="Bind a Role to the service account that allows `get` on `secrets` in this "
                "namespace.",
            )
        if answer.status_code >= _SERVER_ERROR or answer.status_code == _TOO_MANY:
            raise ServiceUnavailableError(
                f"the Kubernetes API at {_server()} answers with status {answer.status_code}",
                help="Try again when the cluster is well.",
            )
        return _data(answer, place)


def secret_name(name: str) -> str:
    """The name as Kubernetes allows it."""
    return re.sub(r"[^a-z0-9.-]", "-", name.lower())


def _server() -> str:
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise SecretBackendError(
            "the secret backend `kubernetes` works in a pod alone, and KUBERNETES_SERVICE_HOST is "
            "not set here",
            help="Elsewhere give the secret in a variable or a file, with `env` or `file` before "
            "`kubernetes` in `security.secret_backends`.",
        )
    port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{port}"


def _mounted(file: str) -> str:
    path = SERVICE_ACCOUNT / file
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SecretBackendError(
            f"the secret backend `kubernetes` cannot read {path}",
            help="It needs a pod whose service account is mounted: "
            "`automountServiceAccountToken: true`.",
        ) from None


def _trusted() -> ssl.SSLContext:
    path = SERVICE_ACCOUNT / "ca.crt"
    try:
        return ssl.create_default_context(cafile=path)
    except OSError:
        raise SecretBackendError(
            f"the secret backend `kubernetes` cannot read certificates from {path}",
            help="Kubernetes mounts them there with the service account.",
        ) from None


def _answer(client: httpx.Client, url: str) -> httpx.Response:
    """Ask, and ask again where the server is busy or the connection breaks.

    Raises:
        TransportError: if the last attempt brings no answer.
    """
    from httpx import TransportError

    for attempt in range(1, ATTEMPTS):
        try:
            answer = client.get(url)
        except TransportError as problem:
            if _is_about_trust(problem):
                raise
        else:
            if answer.status_code < _SERVER_ERROR and answer.status_code != _TOO_MANY:
                return answer
        time.sleep(0.2 * attempt)
    return client.get(url)


def _is_about_trust(problem: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(problem)


def _unreachable(problem: Exception) -> ServiceUnavailableError:
    if _is_about_trust(problem):
        return ServiceUnavailableError(
            f"the certificate of the Kubernetes API at {_server()} is not one that "
            f"{SERVICE_ACCOUNT}/ca.crt vouches for",
            help="Look at KUBERNETES_SERVICE_HOST, and at what is mounted there.",
        )
    return ServiceUnavailableError(
        f"the Kubernetes API at {_server()} does not answer ({type(problem).__name__})",
        help="Look at the network policies of the pod, and at KUBERNETES_SERVICE_HOST.",
    )


def _data(answer: httpx.Response, place: str) -> Content:
    try:
        data = answer.json().get("data") or {}
        return {
            key: text_or_bytes(base64.b64decode(value, validate=True))
            for key, value in data.items()
        }
    except (ValueError, AttributeError, TypeError, binascii.Error):
        raise SecretUnreadableError(
            f"{place}: the answer of the API server (status {answer.status_code}) is no secret"
        ) from None


if TYPE_CHECKING:
    _: type[SecretBackend] = KubernetesSecrets
