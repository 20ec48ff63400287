"""What is set up, and what is not: off means no provider, no exporter, no thread and no socket."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import grpc
import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace.sampling import Decision

from floe_core import telemetry as api
from floe_core.artifacts import load_artifacts
from floe_core.observability import TelemetrySecrets
from floe_core.otel import Telemetry, setup
from floe_core.otel.exporters import otlp_spans
from floe_core.otel.sampling import sampler_of
from floe_core.otel.trace_ids import span_id_of, trace_id_of
from floe_core.plugins import ExportSettings
from floe_core.schemas.observability import Sampling
from floe_testing.otlp import receive

CONTRACT = Path(__file__).parents[1] / "contract"
RUN = "6f3f7f9e-5f0e-4b7a-9f0e-0123456789ab"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("signals", "fields", "environ"),
    [
        ((), {}, {}),
        (("traces", "metrics", "logs"), {"exporter": "none"}, {}),
        (("traces", "metrics", "logs"), {}, {"OTEL_SDK_DISABLED": "true"}),
        (("traces", "metrics", "logs"), {}, {"FLOE_NO_TELEMETRY": "1"}),
        (
            ("traces", "metrics", "logs"),
            {},
            {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        ),
    ],
)
def test_off_is_off(
    signals: tuple[str, ...],
    fields: dict[str, str],
    environ: dict[str, str],
    start: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    before = set(threading.enumerate())
    telemetry = start(*signals, otlp_endpoint="http://127.0.0.1:1", **fields)
    with trace.use_span(telemetry.start_run("run"), end_on_exit=True):
        telemetry.meter.create_counter("rows").add(1)
        assert not trace.get_current_span().is_recording()
    assert (telemetry.signals, telemetry.log_handler, telemetry.warnings) == (set(), None, ())
    assert set(threading.enumerate()) <= before
    assert telemetry.shutdown().total == 0


OFF = """
import sys
from pathlib import Path
from floe_core.artifacts import load_artifacts
from floe_core.otel import formatter, setup
from floe_core import telemetry as api
artifacts = load_artifacts(Path(sys.argv[1]))
observability = artifacts.observability.model_copy(
    update={"traces": False, "metrics": False, "logs": False}
)
telemetry = setup(artifacts.model_copy(update={"observability": observability}))
telemetry.start_run("run").end()
formatter("json")
with api.span("step"):
    api.meter()
telemetry.shutdown()
heavy = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "grpc", "requests"))]
assert not heavy, heavy
"""


def test_off_imports_no_sdk() -> None:
    sample = CONTRACT / "1.1.0" / "sample.json"
    subprocess.run([sys.executable, "-c", OFF, str(sample)], check=True, timeout=60)


FOREIGN = """
import sys
from pathlib import Path
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
_logs.set_logger_provider(LoggerProvider())

import threading
from floe_core import telemetry as api
from floe_core.artifacts import load_artifacts
from floe_core.otel import setup
before = set(threading.enumerate())
artifacts = load_artifacts(Path(sys.argv[1]))
observability = artifacts.observability.model_copy(update={"logs": True})
artifacts = artifacts.model_copy(update={"observability": observability})
telemetry = setup(artifacts, run_id="6f3f7f9e-5f0e-4b7a-9f0e-0123456789ab")
assert telemetry.signals == {"traces", "metrics", "logs"}, telemetry
assert telemetry.log_handler is None
assert set(threading.enumerate()) == before
with trace.use_span(telemetry.start_run("run"), end_on_exit=True), api.span("step"):
    api.meter().create_counter("rows").add(1)
assert telemetry.shutdown().total == 0
assert [span.name for span in kept.get_finished_spans()] == ["step", "run"]
assert "rows" in str(reader.get_metrics_data())
with api.span("after"):
    pass
assert len(kept.get_finished_spans()) == 3, "the program's own SDK goes on"
"""


def test_a_programs_own_sdk_is_used_and_kept() -> None:
    sample = CONTRACT / "1.1.0" / "sample.json"
    subprocess.run([sys.executable, "-c", FOREIGN, str(sample)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("fields", "environ", "told"),
    [
        (
            {"otlp_headers": {"authorization": {"secret_ref": "otel/token"}}},
            {},
            "traces and metrics are off: secret not found: otel/token",
        ),
        (
            {"exporter": "other"},
            {},
            "traces and metrics are off: there is no exporter named `other`",
        ),
        ({}, {"OTEL_TRACES_EXPORTER": "zipkin"}, "traces are off: there is no exporter named"),
        (
            {"otlp_tls": {"ca_certificate": "missing.pem"}, "otlp_endpoint": "https://a:1"},
            {},
            "traces and metrics are off: the certificate file",
        ),
        (
            {"otlp_protocol": None},
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "traces and metrics are off: OTEL_EXPORTER_OTLP_PROTOCOL is `http/json`",
        ),
        (
            {},
            {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon"},
            "traces are off: the plugin `otlp` of `floe.telemetry` failed: ValueError",
        ),
    ],
)
def test_what_cannot_be_set_up_is_off_and_says_why(
    fields: dict[str, Any],
    environ: dict[str, str],
    told: str,
    start: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    telemetry = start("traces", "metrics", **fields)
    assert "traces" not in telemetry.signals
    assert telemetry.warnings[0].startswith(told)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("value", ["planted\nkey", "plantedé", " planted"])
@pytest.mark.parametrize("is_secret", [True, False])
def test_a_header_that_cannot_be_sent_is_not_shown(
    protocol: str,
    value: str,
    is_secret: bool,
    product: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    header = {"authorization": {"secret_ref": "otel"}} if is_secret else {}
    if not is_secret:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={quote(value)}")
    telemetry = setup(
        product("traces", otlp_protocol=protocol, otlp_headers=header),
        secrets=TelemetrySecrets({"otlp_headers.authorization": value}),
    )
    telemetry.start_run("run").end()
    telemetry.shutdown(1)
    if is_secret or value.strip() == value:
        assert "traces are off: the header `authorization` holds" in telemetry.warnings[0]
    assert "planted" not in f"{telemetry} {telemetry.warnings} {caplog.text}"


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_compression_over_grpc(compression: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    exporter: Any = otlp_spans(ExportSettings("http://127.0.0.1:1", compression=compression))
    names = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}
    assert exporter._compression is names[compression]  # a server cannot tell
    exporter.shutdown()


def test_a_signal_that_cannot_be_set_up_leaves_the_others_on(
    start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert start("traces", "metrics").signals == {"metrics"}


@pytest.mark.parametrize(
    ("sampling", "environ", "part"),
    [
        (None, {}, 1.0),
        (Sampling(sampler="always"), {"OTEL_TRACES_SAMPLER": "always_off"}, 1.0),
        (Sampling(sampler="never"), {}, 0.0),
        (Sampling(sampler="ratio", ratio=0), {}, 0.0),
        (Sampling(sampler="ratio", ratio=0.1), {}, 0.1),
        (Sampling(sampler="ratio", ratio=0.5), {}, 0.5),
        (Sampling(sampler="ratio", ratio=0.8), {}, 0.8),
        (Sampling(sampler="ratio", ratio=1), {}, 1.0),
        (None, {"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        (
            None,
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.2"},
            0.2,
        ),
        (None, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"}, 1.0),
        (None, {"OTEL_TRACES_SAMPLER": "other"}, 1.0),
    ],
)
def test_the_part_of_runs_that_is_sampled(
    sampling: Sampling | None,
    environ: dict[str, str],
    part: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    sampler = sampler_of(sampling)
    runs = [trace_id_of(str(uuid4())) for _ in range(2000)]
    decisions = [sampler.should_sample(None, run, "run").decision for run in runs]
    assert decisions.count(Decision.RECORD_AND_SAMPLE) / len(runs) == pytest.approx(part, abs=0.06)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_processes_of_a_run_agree_on_sampling(ratio: float, product: Callable[..., Any]) -> None:
    artifacts = product(
        "traces",
        otlp_endpoint="http://127.0.0.1:1",
        sampling={"sampler": "ratio", "ratio": ratio},
    )
    for _ in range(5):
        run = str(uuid4())
        telemetry = setup(artifacts, run_id=run)
        there = trace.get_current_span(telemetry.run_context()).get_span_context()
        span = telemetry.start_run("run")
        here = span.get_span_context()
        assert (here.trace_id, here.span_id) == (there.trace_id, there.span_id)
        assert here.trace_flags.sampled == there.trace_flags.sampled
        telemetry.shutdown(0)


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_parent_in_the_environment_is_honoured(
    is_sampled: bool, start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = PARENT if is_sampled else PARENT.removesuffix("1") + "0"
    monkeypatch.setenv("TRACEPARENT", parent)
    monkeypatch.setenv("BAGGAGE", "customer=acme")
    with receive("http") as collector:
        telemetry = start(
            "traces", run_id=RUN, otlp_endpoint=collector.endpoint, otlp_protocol="http"
        )
        assert baggage.get_baggage("customer", telemetry.context) == "acme"
        telemetry.start_run("run").end()
        telemetry.tracer.start_span("other process", telemetry.run_context()).end()
        assert telemetry.shutdown().total == 0
    _, trace_id, span_id, _ = PARENT.split("-")
    spans = {span.name: span for span in collector.spans}
    assert len(spans) == (2 if is_sampled else 0)
    if is_sampled:
        assert {span.trace_id.hex() for span in spans.values()} == {trace_id}
        assert spans["run"].parent_span_id.hex() == span_id
        assert spans["other process"].parent_span_id == spans["run"].span_id


def test_the_tenant_is_baggage_of_what_is_called() -> None:
    telemetry = setup(load_artifacts(CONTRACT / "1.0.0" / "sample.json"), run_id=RUN)
    with trace.use_span(telemetry.start_run("run"), end_on_exit=True):
        pass
    from opentelemetry import context

    token = context.attach(telemetry.run_context())
    try:
        found = api.propagation_environment()
        headers = api.propagation_headers()
    finally:
        context.detach(token)
    telemetry.shutdown(0)
    assert found["TRACEPARENT"] == f"00-{UUID(RUN).hex}-{span_id_of(RUN):016x}-03"
    assert sorted(headers["baggage"].split(",")) == [
        "floe.environment.id=env-uuid-789",
        "floe.environment.type=preview",
        "floe.project.id=project-uuid-456",
        "floe.tenant.id=tenant-uuid-123",
    ]


def test_ids_of_runs_that_are_no_uuid() -> None:
    assert trace_id_of("nightly") == trace_id_of("nightly") != trace_id_of("hourly")
    assert 0 < trace_id_of("nightly") < 2**128
    assert trace_id_of(RUN) == UUID(RUN).int


def test_secrets_that_were_looked_up_are_not_looked_up_again(product: Callable[..., Any]) -> None:
    artifacts = product("traces", otlp_headers={"authorization": {"secret_ref": "otel"}})
    telemetry = setup(artifacts, secrets=TelemetrySecrets({"otlp_headers.authorization": "a"}))
    assert (telemetry.signals, telemetry.warnings) == ({"traces"}, ())
    telemetry.shutdown(0)
