"""A control plane that says what a test tells it to, over real HTTP on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[3] / "packages/floe-core/tests/contract/1.0.0/sample.json"
"""The full example of contract 1.0."""

API_KEY = "floe_ak_canary_6c1f0b9d27e84a53"
"""The key that `serving` asks for; it must turn up nowhere."""


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    path: str
    headers: Mapping[str, str]


@dataclass
class Answer:
    """What the server says.

    Attributes:
        status: HTTP status.
        body: Body.
        headers: Headers besides `Content-Length`.
        length: `Content-Length` where it is not that of the body.
        seconds: Pause before the answer.
        drip: Pause after each byte of the answer, status line included.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    length: int | None = None
    seconds: float = 0.0
    drip: float = 0.0


Script = Callable[[Request], Answer]


@dataclass
class ControlPlane:
    """A server that runs, and what it was asked."""

    url: str
    script: Script
    requests: list[Request] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def answer(self, *answers: Answer) -> None:
        """Give these answers in turn, and the last of them ever after."""
        given = iter(answers)
        last = answers[-1]
        self.script = lambda _request: next(given, last)


def artifacts(**changes: Any) -> dict[str, Any]:
    """The example of contract 1.0, with changes."""
    document: dict[str, Any] = json.loads(SAMPLE.read_bytes())
    return document | changes


def on_duckdb(**changes: Any) -> dict[str, Any]:
    """The example of contract 1.0 for an engine that needs no server."""
    return artifacts(compute={"target": "duckdb", "properties": {"threads": 2}}) | changes


def serving(documents: Mapping[str, Any], key: str = API_KEY) -> Script:
    """Serve artifacts by environment id, as a control plane does: with key, ETag, 304 and 404."""

    def script(request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {key}":
            return Answer(401)
        prefix, suffix = "/api/v1/environments/", "/artifacts"
        environment = request.path.removeprefix(prefix).removesuffix(suffix)
        if request.path != f"{prefix}{environment}{suffix}" or environment not in documents:
            return Answer(404)
        body = json.dumps(documents[environment]).encode()
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Type": "application/json", "ETag": etag}
        if request.headers.get("if-none-match") == etag:
            return Answer(304, headers=headers)
        return Answer(200, body, headers)

    return script


@contextmanager
def control_plane(script: Script | None = None) -> Iterator[ControlPlane]:
    """Run a control plane on a free port."""
    running = ControlPlane("", script or serving({"env-uuid-789": on_duckdb()}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers)
            running.requests.append(request)
            answer = running.script(request)
            running.stopped.wait(answer.seconds)
            # The client may have hung up by now.
            with suppress(OSError):
                self._send(answer)
            self.close_connection = True

        def _send(self, answer: Answer) -> None:
            lines = [f"HTTP/1.1 {answer.status} Answer", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            length = len(answer.body) if answer.length is None else answer.length
            lines.append(f"Content-Length: {length}")
            content = "\r\n".join([*lines, "", ""]).encode() + answer.body
            if not answer.drip:
                self.wfile.write(content)
                return
            for byte in content:
                if running.stopped.wait(answer.drip):
                    return
                self.wfile.write(bytes([byte]))
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        running.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
