"""An OpenID provider for tests: discovery, keys, and tokens for clients that know their secret."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey


@contextmanager
def provider(clients: Mapping[str, str]) -> Iterator[str]:
    """Start a provider on loopback; gives its URL, below which `/token` gives tokens.

    Args:
        clients: Their secrets, by their ids, which are the names in their tokens.
    """
    key = RSAKey.generate_key(2048, auto_kid=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: Mapping[str, Mapping[str, Any]] = {
                "/.well-known/openid-configuration": {
                    "issuer": url,
                    "token_endpoint": f"{url}/token",
                    "jwks_uri": f"{url}/keys",
                },
                "/keys": {"keys": [key.as_dict(private=False)]},
            }
            answer = answers.get(self.path)
            self._answer(404 if answer is None else 200, answer or {})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            client, secret = (form.get(name, [""])[0] for name in ("client_id", "client_secret"))
            if client not in clients or clients[client] != secret:
                self._answer(401, {"error": "invalid_client", "error_description": "Who is it?"})
                return
            now = int(time.time())
            claims = {"iss": url, "sub": client, "upn": client, "iat": now, "exp": now + 3600}
            token = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)
            self._answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})

        def _answer(self, status: int, content: Mapping[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
