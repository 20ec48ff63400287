"""The ids of a run's trace: every process of the run knows them without being told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from uuid import UUID

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


def trace_id_of(run_id: str) -> int:
    """The 128 bits of a run's id; of one that is no UUID, its hash."""
    try:
        found = UUID(run_id).int
    except ValueError:
        found = int.from_bytes(_digest(run_id)[8:24], "big")
    return found or 1


def span_id_of(run_id: str) -> int:
    """The id of a run's own span."""
    return int.from_bytes(_digest(run_id)[:8], "big") or 1


def _digest(run_id: str) -> bytes:
    return hashlib.sha256(f"floe run {run_id}".encode()).digest()


class RunIds(RandomIdGenerator):
    """Gives every span without a parent the trace of the run, so that a run has one trace."""

    def __init__(self, trace_id: int) -> None:
        self._trace_id = trace_id
        self._next = local()

    def generate_trace_id(self) -> int:
        """The trace of the run."""
        return self._trace_id

    def generate_span_id(self) -> int:
        """A random id, but that of the run's own span while it is made."""
        chosen = getattr(self._next, "span_id", trace.INVALID_SPAN_ID)
        return chosen or super().generate_span_id()

    @contextmanager
    def next_span_id(self, span_id: int) -> Iterator[None]:
        """Give this id to the span that this thread makes in the block."""
        self._next.span_id = span_id
        try:
            yield
        finally:
            self._next.span_id = trace.INVALID_SPAN_ID
