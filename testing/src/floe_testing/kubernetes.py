"""A server that answers for secrets as the API of Kubernetes does, over HTTPS on loopback."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def _token() -> str:
    """A JSON Web Token as a pod gets it; nobody here looks at its signature."""
    account = {"name": "default", "uid": "6f0c7ad2-3b56-4c71-9a53-4d7f0e2b1a90"}
    claims = {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": "system:serviceaccount:etl:default",
        "aud": ["https://kubernetes.default.svc.cluster.local"],
        "nbf": 1700000000,
        "iat": 1700000000,
        "exp": 4102444800,
        "kubernetes.io": {"namespace": "etl", "serviceaccount": account},
    }
    parts = [{"alg": "RS256", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
    return ".".join(part.decode().rstrip("=") for part in encoded) + ".c4n4ry19ce83"


TOKEN = _token()
"""Token of the service account; it must turn up nowhere."""

_SECRET = re.compile(r"/api/v1/namespaces/([^/]+)/secrets/([^/]+)")
_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_VALID = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass
class Kubernetes:
    """A running server, and the folder that Kubernetes would mount into a pod.

    Attributes:
        port: Port that it listens on.
        service_account: Folder with `token`, `ca.crt` and `namespace`.
        namespace: The namespace of the pod.
        secrets: What there is: keys and values by the secret's name.
        forbidden: Names that the service account may not read.
        statuses: Statuses to answer with first, one a request.
        requests: Paths that were asked for.
    """

    port: int
    service_account: Path
    namespace: str
    secrets: dict[str, Mapping[str, str | bytes]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def variables(self) -> Mapping[str, str]:
        """What Kubernetes sets in a pod."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body for a GET."""
        self.requests.append(path)
        if self.statuses:
            return _status(self.statuses.pop(0), "InternalError", "try again")
        if authorization != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        found = _SECRET.fullmatch(path)
        if found is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        namespace, name = found.groups()
        details = {"name": name, "kind": "secrets"}
        if namespace != self.namespace or name in self.forbidden:
            account = f"system:serviceaccount:{self.namespace}:default"
            message = (
                f'secrets "{name}" is forbidden: User "{account}" cannot get resource "secrets" '
                f'in API group "" in the namespace "{namespace}"'
            )
            return _status(403, "Forbidden", message, details)
        if name not in self.secrets or not _VALID.fullmatch(name):
            return _status(404, "NotFound", f'secrets "{name}" not found', details)
        return 200, {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: _base64(value) for key, value in self.secrets[name].items()},
            "type": "Opaque",
        }

    def review(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """What a TokenReview says of a token."""
        spec = document.get("spec", {})
        user = {
            "username": f"system:serviceaccount:{self.namespace}:default",
            "uid": "6f0c7ad2-3b56-4c71-9a53-4d7f0e2b1a90",
            "groups": ["system:serviceaccounts"],
        }
        valid = {"authenticated": True, "user": user, "audiences": spec.get("audiences", [])}
        return {**document, "status": valid if spec.get("token") == TOKEN else {}}


def _status(
    code: int, reason: str, message: str, details: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": dict(details or {}),
        "code": code,
    }


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


@contextmanager
def kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """Run the server on a free port; `folder` becomes what is mounted into a pod."""
    import trustme

    authority = trustme.CA()
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text(TOKEN)
    (folder / "namespace").write_text("etl")
    running = Kubernetes(0, folder, "etl")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*running.answer(self.path, self.headers.get("Authorization")))

        def do_POST(self) -> None:
            running.requests.append(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == _REVIEWS:
                self._send(201, running.review(body))
            else:
                self._send(*_status(404, "NotFound", "the server could not find it"))

        def _send(self, code: int, document: Mapping[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    running.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
