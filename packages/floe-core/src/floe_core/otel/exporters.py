"""The exporters of the SDK, set up as platform.yaml and the `OTEL_*` variables say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.errors import UsageError
from floe_core.observability import is_header_value
from floe_core.plugins import ExportSettings

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

_GRPC, _HTTP = "grpc", "http/protobuf"
_PROTOCOLS = {"grpc": _GRPC, "http": _HTTP, "http/protobuf": _HTTP}


def otlp_spans(settings: ExportSettings) -> SpanExporter:
    """Sends spans to a collector."""
    if _protocol(settings, "traces") == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc(**_grpc_options(settings, "traces"))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http(**_http_options(settings, "traces"))


def otlp_metrics(settings: ExportSettings) -> MetricExporter:
    """Sends metrics to a collector."""
    if _protocol(settings, "metrics") == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as Grpc,
        )

        return Grpc(**_grpc_options(settings, "metrics"))
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http(**_http_options(settings, "metrics"))


def otlp_logs(settings: ExportSettings) -> LogRecordExporter:
    """Sends log records to a collector."""
    if _protocol(settings, "logs") == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc

        return Grpc(**_grpc_options(settings, "logs"))
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http

    return Http(**_http_options(settings, "logs"))


def console_spans() -> SpanExporter:
    """Writes spans to standard error, for standard output belongs to the program."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter(out=sys.stderr)


def console_metrics() -> MetricExporter:
    """Writes metrics to standard error."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    return ConsoleMetricExporter(out=sys.stderr)


def console_logs() -> LogRecordExporter:
    """Writes log records to standard error."""
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

    return ConsoleLogRecordExporter(out=sys.stderr)


def _variable(signal: str, name: str) -> str | None:
    """The value of `OTEL_EXPORTER_OTLP_<SIGNAL>_<NAME>`, else of `OTEL_EXPORTER_OTLP_<NAME>`."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def _protocol(settings: ExportSettings, signal: str) -> str:
    wanted = settings.protocol or _variable(signal, "PROTOCOL") or _GRPC
    if wanted not in _PROTOCOLS:
        raise UsageError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is `{wanted}`, which floe does not speak",
            help="Set `grpc` or `http/protobuf`.",
        )
    return _PROTOCOLS[wanted]


def _grpc_options(settings: ExportSettings, signal: str) -> dict[str, Any]:
    # gRPC's own library writes failed connections to standard error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    headers = _headers(settings, signal)
    options: dict[str, Any] = {"endpoint": settings.endpoint, "headers": tuple(headers.items())}
    if settings.compression is not None:
        is_gzip = settings.compression == "gzip"
        options["compression"] = (
            grpc.Compression.Gzip if is_gzip else grpc.Compression.NoCompression
        )
    if settings.endpoint is not None:
        options["insecure"] = settings.endpoint.lower().startswith("http://")
    files = _certificates(settings, signal)
    if files and not options.get("insecure"):
        # The exporter would read a client's certificate only beside one of an authority.
        options["credentials"] = grpc.ssl_channel_credentials(
            **{name: path.read_bytes() for name, path in files.items()}
        )
    return options


def _http_options(settings: ExportSettings, signal: str) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression

    options: dict[str, Any] = {"headers": _headers(settings, signal), "session": _session()}
    if settings.endpoint is not None:
        options["endpoint"] = f"{settings.endpoint.rstrip('/')}/v1/{signal}"
    if settings.compression is not None:
        is_gzip = settings.compression == "gzip"
        options["compression"] = Compression.Gzip if is_gzip else Compression.NoCompression
    files = _certificates(settings, signal)
    names = {
        "root_certificates": "certificate_file",
        "certificate_chain": "client_certificate_file",
        "private_key": "client_key_file",
    }
    return options | {names[name]: str(path) for name, path in files.items()}


def _headers(settings: ExportSettings, signal: str) -> dict[str, str]:
    """Headers of each export, in lower case: those of the variables, then platform.yaml's.

    Raises:
        UsageError: if one cannot be sent. The libraries that send it would log its value.
    """
    from opentelemetry.util.re import parse_env_headers

    found = dict(parse_env_headers(_variable(signal, "HEADERS") or "", liberal=True))
    found |= {name.lower(): value for name, value in settings.headers.items()}
    for name, value in found.items():
        if not is_header_value(value):
            raise UsageError(
                f"the header `{name}` holds what no header can: line breaks, blanks around it, or "
                "characters that are not printable ASCII",
                help="Correct the secret or the variable that it comes from.",
            )
    return found


def _session() -> requests.Session:
    """A session that sends what it is told to.

    The session of requests itself would check the collector by REQUESTS_CA_BUNDLE, even where a
    certificate of an authority is named, and replace a header `authorization` by what ~/.netrc has.
    """
    import requests

    class Session(requests.Session):
        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            named = self.verify if isinstance(self.verify, str) else verify
            return super().merge_environment_settings(url, proxies, stream, named, cert)

    session = Session()
    session.auth = lambda request: request
    return session


def _certificates(settings: ExportSettings, signal: str) -> Mapping[str, Path]:
    """The PEM files of the connection, by the names that gRPC has for them.

    Raises:
        UsageError: if one cannot be read.
    """
    tls = settings.tls
    named = {
        "root_certificates": (tls.ca_certificate if tls else None, "CERTIFICATE"),
        "certificate_chain": (tls.client_certificate if tls else None, "CLIENT_CERTIFICATE"),
        "private_key": (tls.client_key if tls else None, "CLIENT_KEY"),
    }
    found = {}
    for name, (written, variable) in named.items():
        path = written or _variable(signal, variable)
        if path:
            found[name] = Path(path)
            _check_readable(found[name])
    return found


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as problem:
        raise UsageError(
            f"the certificate file {path} cannot be read: {problem.strerror}",
            help="Correct `observability.tracing.tls` of platform.yaml, or mount the file.",
        ) from None
