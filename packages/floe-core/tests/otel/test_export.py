"""Traces, metrics and logs arrive at a collector, as platform.yaml and the environment say."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from floe_core import telemetry as api
from floe_core.observability import TelemetrySecrets
from floe_core.otel import Telemetry, setup
from floe_testing.otlp import Certificates, Protocol, Receiver, attributes, receive

PROTOCOLS: tuple[Protocol, ...] = ("grpc", "http")
SIGNALS = ("traces", "metrics", "logs")
RUN = "6f3f7f9e-5f0e-4b7a-9f0e-0123456789ab"


def emit(telemetry: Telemetry) -> None:
    """One of each signal."""
    with trace.use_span(telemetry.start_run("run"), end_on_exit=True):
        api.meter().create_counter("rows").add(3)
        if telemetry.log_handler is not None:
            record = logging.LogRecord("shop", logging.INFO, __file__, 1, "%s done", ("a",), None)
            telemetry.log_handler.handle(record)


def counts(receiver: Receiver) -> dict[str, int]:
    found = {
        "traces": len(receiver.spans),
        "metrics": len(receiver.metrics),
        "logs": len(receiver.log_records),
    }
    return {signal: count for signal, count in found.items() if count}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signals", [SIGNALS, *((signal,) for signal in SIGNALS)])
def test_each_signal_arrives_when_it_is_on(
    protocol: Protocol, signals: tuple[str, ...], start: Callable[..., Telemetry]
) -> None:
    with receive(protocol) as collector:
        telemetry = start(*signals, otlp_endpoint=collector.endpoint, otlp_protocol=protocol)
        emit(telemetry)
        assert telemetry.shutdown().total == 0
    assert telemetry.signals == set(signals)
    assert counts(collector) == dict.fromkeys(signals, 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["gzip", "none", None])
@pytest.mark.parametrize("is_encrypted", [True, False])
def test_headers_certificates_and_compression(
    protocol: Protocol,
    compression: str | None,
    is_encrypted: bool,
    product: Callable[..., Any],
    certificates: Certificates,
) -> None:
    tls = {
        "ca_certificate": str(certificates.authority),
        "client_certificate": certificates.client_certificate.name,
        "client_key": certificates.client_key.name,
    }
    with receive(protocol, certificates if is_encrypted else None, asks_client=True) as collector:
        artifacts = product(
            *SIGNALS,
            otlp_endpoint=collector.endpoint,
            otlp_protocol=protocol,
            otlp_compression=compression,
            otlp_headers={"Authorization": {"secret_ref": "otel"}, "x-scope-orgid": "acme"},
            otlp_tls=tls if is_encrypted else None,
        )
        secrets = TelemetrySecrets({"otlp_headers.Authorization": "Bearer planted"})
        telemetry = setup(artifacts, root=certificates.client_key.parent, secrets=secrets)
        emit(telemetry)
        assert (telemetry.warnings, telemetry.shutdown().total) == ((), 0)
    assert counts(collector) == dict.fromkeys(SIGNALS, 1)
    for headers in collector.headers:
        assert headers["authorization"] == "Bearer planted"
        assert headers["x-scope-orgid"] == "acme"
        if protocol == "http":
            assert headers.get("content-encoding") == ("gzip" if compression == "gzip" else None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_of_another_authority_is_refused(
    protocol: Protocol, start: Callable[..., Telemetry], certificates: Certificates
) -> None:
    with receive(protocol, certificates) as collector:
        fields = {"otlp_endpoint": collector.endpoint, "otlp_protocol": protocol}
        telemetry = start("traces", **fields)
        emit(telemetry)
        assert telemetry.shutdown().spans == 1
    assert collector.spans == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_environment_fills_what_is_left_open(
    protocol: Protocol, start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receive(protocol) as collector:
        name = "grpc" if protocol == "grpc" else "http/protobuf"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", name)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope-orgid=other,x-region=eu")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "named")
        monkeypatch.setenv(
            "OTEL_RESOURCE_ATTRIBUTES", "region=eu,deployment.environment.name=other,team=other"
        )
        telemetry = start(
            "traces", otlp_headers={"x-scope-orgid": "acme"}, attributes={"team": "growth"}
        )
        emit(telemetry)
        assert telemetry.shutdown().total == 0
    (headers,) = collector.headers
    assert (headers["x-scope-orgid"], headers["x-region"]) == ("acme", "eu")
    found = attributes(collector.resource_spans[0].resource)
    assert (
        found.items()
        >= {
            "service.name": "named",
            "service.version": "1.0.0",
            "floe.product.name": "nyc-flights",
            "deployment.environment.name": "prod",
            "team": "growth",
            "region": "eu",
            "telemetry.sdk.name": "opentelemetry",
        }.items()
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_platform_yaml_beats_the_environment(
    protocol: Protocol, start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receive(protocol) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "other")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        telemetry = start(
            "traces",
            exporter="otlp",
            otlp_endpoint=collector.endpoint,
            otlp_protocol=protocol,
            otlp_compression="none",
            sampling={"sampler": "always"},
        )
        emit(telemetry)
        assert telemetry.shutdown().total == 0
    assert len(collector.spans) == 1
    assert "content-encoding" not in collector.headers[0]


def test_the_run_is_one_trace_of_its_own_id(start: Callable[..., Telemetry]) -> None:
    with receive("http") as collector:
        fields = {"otlp_endpoint": collector.endpoint, "otlp_protocol": "http"}
        telemetry = start("traces", run_id=RUN, **fields)
        run = telemetry.start_run("run", {"floe.run.id": RUN})
        with trace.use_span(run, end_on_exit=True), api.span("step"):
            api.set_attributes(**{"db.system.name": "duckdb"})
        telemetry.tracer.start_span("lost its parent").end()
        other = start("traces", run_id=RUN, **fields)
        other.tracer.start_span("other process", other.run_context()).end()
        assert (other.shutdown().total, telemetry.shutdown().total) == (0, 0)
    spans = {span.name: span for span in collector.spans}
    assert {span.trace_id.hex() for span in spans.values()} == {RUN.replace("-", "")}
    assert spans["step"].parent_span_id == spans["run"].span_id
    assert spans["other process"].parent_span_id == spans["run"].span_id
    assert attributes(spans["step"]) == {"db.system.name": "duckdb"}
    assert not spans["run"].parent_span_id


def test_logs_carry_the_trace_and_are_masked(product: Callable[..., Any]) -> None:
    with receive("http") as collector:
        artifacts = product(
            *SIGNALS, otlp_endpoint=collector.endpoint, otlp_protocol="http", log_level="WARNING"
        )
        telemetry = setup(artifacts, run_id=RUN, mask=lambda text: text.replace("planted", "*"))
        logger = logging.Logger("shop")
        assert telemetry.log_handler is not None
        logger.addHandler(telemetry.log_handler)
        with trace.use_span(telemetry.start_run("run"), end_on_exit=True):
            logger.info("too low")
            try:
                raise ValueError("planted")
            except ValueError:
                logger.exception("key %s", "planted")
        assert telemetry.shutdown().total == 0
    (record,) = collector.log_records
    (span,) = collector.spans
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert (record.body.string_value, record.severity_text) == ("key *", "ERROR")
    found = attributes(record)
    assert (found["exception.type"], found["exception.message"]) == ("ValueError", "*")
    assert "planted" not in str(collector)


def test_failures_do_not_show_the_data(start: Callable[..., Telemetry]) -> None:
    with receive("http") as collector:
        telemetry = start("traces", otlp_endpoint=collector.endpoint, otlp_protocol="http")
        with pytest.raises(ValueError, match="planted"), api.span("step"):
            raise ValueError("could not convert planted")
        assert telemetry.shutdown().total == 0
    (span,) = collector.spans
    assert (span.status.message, span.events[0].name) == ("ValueError", "exception")
    assert "planted" not in str(span)


def test_the_console_is_standard_error(
    start: Callable[..., Telemetry], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = start(*SIGNALS, exporter="console")
    emit(telemetry)
    assert telemetry.shutdown().total == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert json.loads(shown.err[: shown.err.index("\n}") + 2])
    assert all(word in shown.err for word in ('"run"', '"rows"', "a done"))


def test_runs_follow_each_other_in_one_process(start: Callable[..., Telemetry]) -> None:
    tracer = trace.get_tracer("somebody")  # may be kept for as long as the process lives
    for number in range(2):
        with receive("http") as collector:
            fields = {"otlp_endpoint": collector.endpoint, "otlp_protocol": "http"}
            telemetry = start("traces", **fields)
            with tracer.start_as_current_span(f"run {number}"):
                pass
            assert telemetry.shutdown().total == 0
        assert [span.name for span in collector.spans] == [f"run {number}"]
    with tracer.start_as_current_span("between runs") as span:
        assert not span.is_recording()


def test_nothing_is_printed_by_the_sdk(
    start: Callable[..., Telemetry], capfd: pytest.CaptureFixture[str]
) -> None:
    for protocol in PROTOCOLS:
        telemetry = start(*SIGNALS, otlp_endpoint="http://127.0.0.1:1", otlp_protocol=protocol)
        emit(telemetry)
        assert telemetry.shutdown().total == 3
    sys.stderr.flush()
    assert capfd.readouterr() == ("", "")
