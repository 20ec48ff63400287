"""What libraries say of their work, by OpenTelemetry's API alone.

It goes nowhere unless a program has set up the SDK; see `floe_core.otel`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from floe_core.errors import FloeError
from floe_core.version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

SCOPE = "floe"
"""Name of floe's instrumentation scope."""


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[Span]:
    """Run a block as the span `name`; its attributes are given with `_` or, as `**{}`, with dots.

    An exception that leaves the block fails the span, and is recorded by its type; its text only
    where it is floe's own, for that of others may show rows of data.
    """
    from opentelemetry import trace

    tracer = trace.get_tracer(SCOPE, __version__)
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as problem:
            record_failure(current, problem)
            raise


def record_failure(failed: Span, problem: BaseException) -> None:
    """Note on a span why it failed, without what other libraries' messages may show of the data."""
    from opentelemetry.trace import Status, StatusCode

    kind = type(problem).__name__
    text = problem.message if isinstance(problem, FloeError) else kind
    failed.set_status(Status(StatusCode.ERROR, text))
    failed.set_attribute("error.type", kind)
    failed.add_event("exception", {"exception.type": kind, "exception.message": text})


def set_attributes(**attributes: AttributeValue) -> None:
    """Add attributes to the span that this code runs in; nothing where there is none."""
    from opentelemetry import trace

    trace.get_current_span().set_attributes(attributes)


def meter() -> Meter:
    """The meter of the current run, to be asked for anew in each run."""
    from opentelemetry import metrics

    return metrics.get_meter(SCOPE, __version__)


def propagation_headers() -> dict[str, str]:
    """The current span and baggage as HTTP headers (W3C trace context) of an outgoing request."""
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def propagation_environment() -> dict[str, str]:
    """The same as environment variables of a process that is started: `TRACEPARENT`, `BAGGAGE`."""
    return {name.upper(): value for name, value in propagation_headers().items()}
