"""A backend that does not work costs no run more than the deadline, and what is lost is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace

from floe_core import telemetry as api
from floe_core.otel import Dropped, Telemetry
from floe_testing.otlp import HOSTILITIES, Hostility, Protocol, hostile, receive

PROTOCOLS: tuple[Protocol, ...] = ("grpc", "http")
DEADLINE = 0.3
SLACK = 5.0
"""Only catches an end that hangs."""


def emit(telemetry: Telemetry) -> None:
    import logging

    with trace.use_span(telemetry.start_run("run"), end_on_exit=True), api.span("step"):
        api.meter().create_counter("rows").add(3)
        assert telemetry.log_handler is not None
        record = logging.LogRecord("shop", logging.INFO, __file__, 1, "done", None, None)
        telemetry.log_handler.handle(record)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("hostility", HOSTILITIES)
def test_a_hostile_backend_is_left_at_the_deadline(
    protocol: Protocol, hostility: Hostility, start: Callable[..., Telemetry]
) -> None:
    with hostile(protocol, hostility) as endpoint:
        telemetry = start(
            "traces", "metrics", "logs", otlp_endpoint=endpoint, otlp_protocol=protocol
        )
        emit(telemetry)
        began = time.monotonic()
        dropped = telemetry.shutdown(DEADLINE)
        assert time.monotonic() - began < DEADLINE + SLACK
    assert dropped == Dropped(spans=2, metric_points=1, log_records=1)
    assert str(dropped) == "2 spans, 1 metric point, 1 log record"
    assert telemetry.shutdown() is dropped


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_queue_that_is_full_drops_and_counts(
    protocol: Protocol, start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    with hostile(protocol, "hang") as endpoint:
        telemetry = start("traces", otlp_endpoint=endpoint, otlp_protocol=protocol)
        for _ in range(100):
            with api.span("step"):
                pass
        assert telemetry.shutdown(0).spans == 100


def test_a_later_export_of_totals_makes_good_for_a_failed_one(
    start: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")  # too short for a second attempt
    with hostile("http", "refuse") as endpoint, receive("http") as collector:
        telemetry = start("metrics", otlp_endpoint=endpoint, otlp_protocol="http")
        telemetry.meter.create_counter("rows").add(1)
        telemetry._pipelines.meter_provider.force_flush(100)  # type: ignore[union-attr]
        exporter = telemetry._pipelines._pipelines[0].exporter  # type: ignore[union-attr]
        monkeypatch.setattr(exporter._client, "_endpoint", f"{collector.endpoint}/v1/metrics")  # type: ignore[attr-defined]
        assert telemetry.shutdown() == Dropped()
    assert len(collector.metrics) == 1


def test_the_threads_of_a_run_end_with_it(start: Callable[..., Telemetry]) -> None:
    before = set(threading.enumerate())
    with receive("http") as collector:
        telemetry = start(
            "traces", "metrics", "logs", otlp_endpoint=collector.endpoint, otlp_protocol="http"
        )
        emit(telemetry)
        assert telemetry.shutdown().total == 0
    ours = [thread for thread in set(threading.enumerate()) - before if "tel" in thread.name]
    for thread in ours:
        thread.join(SLACK)
    assert not any(thread.is_alive() for thread in ours)


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_shutdown import emit
from floe_core.artifacts import load_artifacts
from floe_core.otel import setup
telemetry = setup(load_artifacts(Path(sys.argv[2])))
emit(telemetry)
if sys.argv[3] == "shutdown":
    print(telemetry.shutdown())
elif sys.argv[3] == "atexit":
    import atexit
    atexit.register(telemetry.shutdown)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("hostility", "end"),
    [
        ("hang", "shutdown"),
        pytest.param("drip", "shutdown", marks=pytest.mark.integration),
        pytest.param("absent", "shutdown", marks=pytest.mark.integration),
        pytest.param("hang", "atexit", marks=pytest.mark.integration),
        pytest.param("hang", "nothing", marks=pytest.mark.integration),
    ],
)
def test_a_process_ends_after_it(
    protocol: Protocol,
    hostility: Hostility,
    end: str,
    product: Callable[..., object],
    tmp_path: Path,
) -> None:
    from floe_core.artifacts import dump_artifacts
    from floe_core.schemas.artifacts import CompiledArtifacts

    with hostile(protocol, hostility) as endpoint:
        artifacts = product(
            "traces",
            "metrics",
            "logs",
            otlp_endpoint=endpoint,
            otlp_protocol=protocol,
            deadline_seconds=DEADLINE,
        )
        assert isinstance(artifacts, CompiledArtifacts)
        file = tmp_path / "artifacts.json"
        file.write_bytes(dump_artifacts(artifacts))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(file), end],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,  # far less than the exporters would wait by themselves
            env=os.environ | {"PYTHONWARNINGS": "error", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"},
        )
    told = "2 spans, 1 metric point, 1 log record\n" if end == "shutdown" else ""
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
