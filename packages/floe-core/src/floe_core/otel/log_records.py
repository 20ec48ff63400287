"""Log records of Python's `logging` on their way to a collector."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AnyValue

EXCLUDED = ("opentelemetry", "floe.telemetry", "floe_core.otel")
"""Loggers of telemetry itself, whose records would beget others."""

_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)


class LogRecordHandler(logging.Handler):
    """Emits records, with the trace and span that they were written in.

    Args:
        provider: What makes OpenTelemetry's loggers.
        mask: Hides what is secret in a text.
        level: Lowest level that is emitted.

    Attributes:
        outside: Context of what a thread writes that has no span, such as dbt's between nodes.
    """

    def __init__(self, provider: LoggerProvider, mask: Callable[[str], str], level: int) -> None:
        super().__init__(level)
        self.outside: Context | None = None
        self._provider = provider
        self._mask = mask

    def emit(self, record: logging.LogRecord) -> None:
        """Emit one record; what an exporter's own thread logs is left out."""
        if record.name.startswith(EXCLUDED) or is_in_export():
            return
        with suppress(Exception):  # other handlers tell of a record that cannot be formatted
            self._provider.get_logger(record.name).emit(self._translated(record))

    def _context(self) -> Context | None:
        has_span = trace.get_current_span().get_span_context().is_valid
        return context.get_current() if has_span or self.outside is None else self.outside

    def _translated(self, record: logging.LogRecord) -> LogRecord:
        number, text = next(
            ((number, text) for level, number, text in _SEVERITIES if record.levelno >= level),
            (SeverityNumber.TRACE, "TRACE"),
        )
        attributes: dict[str, AnyValue] = {
            "code.file.path": record.pathname,
            "code.function.name": record.funcName,
            "code.line.number": record.lineno,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, value, trace = record.exc_info
            attributes["exception.type"] = kind.__name__
            attributes["exception.message"] = self._mask(str(value))
            attributes["exception.stacktrace"] = self._mask(
                "".join(traceback.format_exception(kind, value, trace))
            )
        return LogRecord(
            timestamp=int(record.created * 1e9),
            observed_timestamp=time.time_ns(),
            context=self._context(),
            severity_text=text,
            severity_number=number,
            body=self._mask(record.getMessage()),
            attributes=attributes,
        )


def is_in_export() -> bool:
    """Whether this thread is sending telemetry: the SDK says so in the context."""
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    return bool(context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))


class _ToDebugLog(logging.Handler):
    """Passes on what the SDK has to say, to those who debug floe."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("floe.telemetry").debug(
            "%s: %s", record.name, record.getMessage(), exc_info=record.exc_info
        )


def _is_no_export(record: logging.LogRecord) -> bool:
    return not is_in_export()


def quieten_sdk() -> None:
    """Keep what the SDK logs about failed exports, and urllib3 in them, off the terminal.

    It goes to the logger `floe.telemetry`, at level DEBUG.
    """
    sdk = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _ToDebugLog) for handler in sdk.handlers):
        sdk.addHandler(_ToDebugLog())
        sdk.propagate = False
        logging.getLogger("urllib3.connectionpool").addFilter(_is_no_export)
