"""Log lines as platform.yaml wants them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable

from opentelemetry import trace

from floe_core.otel import Telemetry, formatter

RUN = "6f3f7f9e-5f0e-4b7a-9f0e-0123456789ab"


def record(message: str, *, fails: bool = False) -> logging.LogRecord:
    info = None
    if fails:
        try:
            raise ValueError("planted")
        except ValueError:
            info = sys.exc_info()
    found = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, ("é",), info)
    found.created = 0.0
    return found


def test_a_line_of_json(start: Callable[..., Telemetry]) -> None:
    telemetry = start("traces", run_id=RUN, otlp_endpoint="http://127.0.0.1:1")
    with trace.use_span(telemetry.start_run("run"), end_on_exit=True) as span:
        line = formatter("json").format(record("status %s"))
    assert json.loads(line) == {
        "timestamp": "1970-01-01T00:00:00.000Z",
        "level": "WARNING",
        "logger": "shop",
        "message": "status é",
        "trace_id": RUN.replace("-", ""),
        "span_id": f"{span.get_span_context().span_id:016x}",
    }


def test_a_line_of_text_and_no_span() -> None:
    line = formatter("text").format(record("status %s"))
    assert line == "1970-01-01T00:00:00.000Z WARNING shop status é"


def test_exceptions_are_masked_and_on_one_line_of_json() -> None:
    mask = formatter("json", lambda text: text.replace("planted", "*")).format
    line = mask(record("status %s", fails=True))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: *")
    text = formatter("text", lambda text: text.replace("planted", "*"))
    assert text.format(record("status %s", fails=True)).endswith("ValueError: *")
