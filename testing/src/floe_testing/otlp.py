"""An OpenTelemetry collector in this process: it keeps what it is sent, or behaves badly."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import grpc
import trustme
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from floe_testing.ports import free_ports

Protocol = Literal["grpc", "http"]
Hostility = Literal["absent", "refuse", "hang", "error", "drip"]

HOSTILITIES: tuple[Hostility, ...] = ("absent", "refuse", "hang", "error", "drip")
"""What `hostile` can do: nothing listens; connections are closed at once; nothing is answered; the
answer is an error; the answer comes one byte a second."""

_HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + 100 * b" "


@dataclass(frozen=True)
class Certificates:
    """PEM files for a server on this machine, for its client, and of the authority of both."""

    authority: Path
    server_certificate: Path
    server_key: Path
    client_certificate: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Issue certificates into a folder."""
    authority = trustme.CA()
    found = Certificates(
        folder / "ca.pem",
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
    )
    authority.cert_pem.write_to_path(str(found.authority))
    for name, certificate, key in (
        ("127.0.0.1", found.server_certificate, found.server_key),
        ("client@floe.test", found.client_certificate, found.client_key),
    ):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
    return found


@dataclass
class Receiver:
    """A collector, and what it has received.

    Attributes:
        endpoint: Its base URL.
        resource_spans: Spans by resource and scope, as they came.
        resource_metrics: Metrics likewise.
        resource_logs: Log records likewise.
        headers: Headers of each request, in lower case.
    """

    endpoint: str
    resource_spans: list[ResourceSpans] = field(default_factory=list)
    resource_metrics: list[ResourceMetrics] = field(default_factory=list)
    resource_logs: list[ResourceLogs] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All spans."""
        return [s for r in self.resource_spans for scope in r.scope_spans for s in scope.spans]

    @property
    def metrics(self) -> list[Metric]:
        """All metrics."""
        return [
            m for r in self.resource_metrics for scope in r.scope_metrics for m in scope.metrics
        ]

    @property
    def log_records(self) -> list[LogRecord]:
        """All log records."""
        return [
            record
            for resource in self.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def take(self, request: Any, headers: Mapping[str, str]) -> None:
        """Keep what one request holds."""
        self.headers.append({name.lower(): str(value) for name, value in headers.items()})
        self.resource_spans += getattr(request, "resource_spans", ())
        self.resource_metrics += getattr(request, "resource_metrics", ())
        self.resource_logs += getattr(request, "resource_logs", ())


def attributes(found: Any) -> dict[str, str]:
    """Attributes of a resource, a span or a log record, as text."""
    pairs: list[KeyValue] = list(found.attributes)
    return {
        pair.key: str(getattr(pair.value, str(pair.value.WhichOneof("value")))) for pair in pairs
    }


@contextmanager
def receive(
    protocol: Protocol, certificates: Certificates | None = None, *, asks_client: bool = False
) -> Iterator[Receiver]:
    """Run a collector on a free port of this machine.

    Args:
        protocol: OTLP by gRPC or HTTP.
        certificates: For TLS; none without them.
        asks_client: Whether clients have to show a certificate.
    """
    start = _grpc if protocol == "grpc" else _http
    with start(certificates, asks_client) as receiver:
        yield receiver


@contextmanager
def _http(certificates: Certificates | None, asks_client: bool) -> Iterator[Receiver]:
    requests: dict[str, Any] = {
        "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
        "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
        "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(requests[self.path].FromString(body), dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_certificate, certificates.server_key)
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates.authority)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificates is None else "https"
    receiver = Receiver(f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _grpc(certificates: Certificates | None, asks_client: bool) -> Iterator[Receiver]:
    receiver = Receiver("")

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            receiver.take(request, dict(context.invocation_metadata()))
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            receiver.take(request, dict(context.invocation_metadata()))
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            receiver.take(request, dict(context.invocation_metadata()))
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    for service, add in (
        (Traces(), trace_service_pb2_grpc.add_TraceServiceServicer_to_server),
        (Metrics(), metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server),
        (Logs(), logs_service_pb2_grpc.add_LogsServiceServicer_to_server),
    ):
        add(service, server)  # type: ignore[no-untyped-call]
    if certificates is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        key = certificates.server_key.read_bytes()
        chain = certificates.server_certificate.read_bytes()
        credentials = grpc.ssl_server_credentials(
            [(key, chain)], certificates.authority.read_bytes(), asks_client
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
    receiver.endpoint = f"{'http' if certificates is None else 'https'}://127.0.0.1:{port}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


@contextmanager
def hostile(protocol: Protocol, hostility: Hostility) -> Iterator[str]:
    """The endpoint of a collector that behaves badly; it takes what is sent and keeps nothing."""
    if hostility == "absent":
        yield f"http://127.0.0.1:{free_ports(1)[0]}"
        return
    if hostility == "error" and protocol == "grpc":
        with _failing_grpc() as endpoint:
            yield endpoint
        return
    is_over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    answer = {
        "drip": _HTTP_ANSWER if protocol == "http" else _HTTP2_SETTINGS,
        "error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    }

    def serve() -> None:
        while not is_over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if hostility == "refuse":
                connection.close()
                continue
            threading.Thread(target=behave, args=(connection,), daemon=True).start()

    def behave(connection: socket.socket) -> None:
        with connection:
            try:
                if hostility == "error":
                    connection.recv(65536)
                    connection.sendall(answer["error"])
                elif hostility == "drip":
                    for byte in answer["drip"]:
                        connection.send(bytes([byte]))
                        if is_over.wait(1):
                            return
                is_over.wait(0.2 if hostility == "error" else None)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        is_over.set()
        listener.close()


@contextmanager
def _failing_grpc() -> Iterator[str]:
    """A server that knows no method, and says so."""
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
