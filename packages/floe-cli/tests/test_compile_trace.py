"""`floe compile --trace` sends one trace of the stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from floe_testing.cli import run_floe
from floe_testing.otlp import receive


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert run_floe("init", str(tmp_path / "shop")).exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def send_to(folder: Path, endpoint: str) -> None:
    platform = folder / "platform.yaml"
    document = yaml.safe_load(platform.read_text())
    tracing = {"endpoint": endpoint, "protocol": "http"}
    document["observability"] = {"tracing": tracing, "metrics": {}, "deadline_seconds": 1}
    platform.write_text(yaml.safe_dump(document))


def test_stages_follow_each_other(shop: Path) -> None:
    with receive("http") as collector:
        send_to(shop, collector.endpoint)
        result = run_floe("compile", "--trace")
    assert result.exit_code == 0, result.stderr
    [whole] = [span for span in collector.spans if not span.parent_span_id]
    stages = [span for span in collector.spans if span.parent_span_id]
    assert whole.name == "compile shop"
    assert f"Trace {whole.trace_id.hex()}\n" in result.stderr
    assert [span.name for span in stages] == [
        f"compile.{stage}"
        for stage in ("load", "resolve", "inspect", "enforce", "build", "generate")
    ]
    assert {span.parent_span_id for span in stages} == {whole.span_id}
    ends = [span.end_time_unix_nano for span in stages]
    assert [span.start_time_unix_nano for span in stages[1:]] == ends[:-1]
    assert whole.end_time_unix_nano == ends[-1]
    assert [metric.name for metric in collector.metrics] == ["floe.compile.duration"]


def test_nobody_to_send_to(shop: Path) -> None:
    result = run_floe("compile", "--trace")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is nowhere to send a trace to\n"
        "  help: Write `observability: {tracing: {endpoint: ...}}` in platform.yaml, and see that "
        "neither floe.yaml nor the environment turns traces off.\n"
    )


def test_a_collector_that_is_not_there_costs_a_warning(shop: Path) -> None:
    with receive("http") as collector:
        send_to(shop, collector.endpoint)
    result = run_floe("compile", "--trace")
    assert result.exit_code == 0
    assert (
        "warning: Telemetry was not delivered: 7 spans, 1 metric point dropped.\n" in result.stderr
    )
