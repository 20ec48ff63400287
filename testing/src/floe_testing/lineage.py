"""A lineage server on the loopback interface: it keeps what it is sent, or is hostile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mood = Literal["good", "unauthorized", "broken", "picky", "hanging", "dripping"]
"""`picky` refuses events of jobs whose name holds `bad`; `dripping` sends byte after byte."""

_DRIP_SECONDS = 0.2
_STATUS = {"good": 201, "unauthorized": 401, "broken": 500}


@dataclass
class Sink:
    """A server that runs.

    Attributes:
        url: Its base URL.
        mood: How it answers.
        key: The key that it asks for; none when None.
        events: Events that it took, in order.
        paths: Paths that were asked for.
        headers: Headers of the last request.
        requests: Number of requests.
    """

    url: str = ""
    mood: Mood = "good"
    key: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    headers: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Job and type of each event."""
        return [(event["job"]["name"], event["eventType"]) for event in self.events]

    def status(self, event: dict[str, Any]) -> int:
        """The answer to an event."""
        if self.key is not None and self.headers.get("authorization") != f"Bearer {self.key}":
            return 401
        if self.mood == "picky":
            return 422 if "bad" in event["job"]["name"] else 201
        return _STATUS[self.mood]


@contextmanager
def lineage_sink(mood: Mood = "good", key: str | None = None) -> Iterator[Sink]:
    """Run a lineage server on a free port."""
    sink = Sink(mood=mood, key=key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sink.requests += 1
            sink.paths.add(self.path)
            sink.headers = {name.lower(): value for name, value in self.headers.items()}
            with suppress(OSError):
                self._answer(event)

        def _answer(self, event: dict[str, Any]) -> None:
            if sink.mood == "hanging":
                sink.stopped.wait()
            elif sink.mood == "dripping":
                for byte in b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n":
                    if sink.stopped.wait(_DRIP_SECONDS):
                        break
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            else:
                status = sink.status(event)
                if status == 201:
                    sink.events.append(event)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a client may keep its connection open
    server.block_on_close = False
    sink.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink
    finally:
        sink.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
