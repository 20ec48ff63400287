"""Log lines as platform.yaml wants them: JSON or text, with trace and span."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from opentelemetry import trace

from floe_core.schemas.observability import LogFormat


def _as_it_is(text: str) -> str:
    return text


def formatter(
    form: LogFormat | None = None, mask: Callable[[str], str] = _as_it_is
) -> logging.Formatter:
    """A formatter of log lines that carry the ids of the trace and span they were written in.

    Args:
        form: `json`, one object a line, or `text`; `json` when None.
        mask: Hides what is secret in a line.
    """
    return _TextLines(mask) if form == "text" else _JsonLines(mask)


class _Lines(logging.Formatter):
    def __init__(self, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._mask = mask

    def _exception(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class _JsonLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        found = {
            "timestamp": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        found |= _ids()
        exception = self._exception(record)
        if exception:
            found["exception"] = self._mask(exception)
        return json.dumps(found, ensure_ascii=False)


class _TextLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {name}={value}" for name, value in _ids().items())
        line = f"{_time(record)} {record.levelname} {record.name} {record.getMessage()}{ids}"
        exception = self._exception(record)
        return self._mask(f"{line}\n{exception}" if exception else line)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ids() -> dict[str, str]:
    """The ids of the current trace and span, in hexadecimal; none where there is no span."""
    now = trace.get_current_span().get_span_context()
    if not now.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(now.trace_id),
        "span_id": trace.format_span_id(now.span_id),
    }
