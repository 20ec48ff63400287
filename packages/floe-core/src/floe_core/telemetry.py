"""Spans by the OpenTelemetry API; they go nowhere unless a program has set up the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from floe_core.version import __version__


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Run a block as the span `name`; an exception that leaves it is recorded."""
    from opentelemetry import trace

    tracer = trace.get_tracer("floe", __version__)
    with tracer.start_as_current_span(name, attributes=attributes):
        yield
