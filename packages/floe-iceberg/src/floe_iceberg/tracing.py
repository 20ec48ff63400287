"""Spans of what is done with tables, by OpenTelemetry's conventions for databases.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from floe_core.telemetry import propagation_headers, span

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from pyiceberg.catalog import Catalog
    from requests import PreparedRequest


@contextmanager
def table_span(operation: str, name: tuple[str, ...]) -> Iterator[Span]:
    """Run a block as a span such as `commit main.orders`; gives it, for what is known later.

    Args:
        operation: `load` asks the catalog, `scan` reads the list of files, `write` writes data
            files, `commit` makes a snapshot.
        name: The table.
    """
    attributes = {
        "db.system.name": "iceberg",
        "db.operation.name": operation,
        "db.namespace": ".".join(name[:-1]),
        "db.collection.name": name[-1],
    }
    with span(f"{operation} {'.'.join(name)}", **attributes) as current:
        yield current


def propagate_traces(catalog: Catalog) -> None:
    """Let each request to a REST catalog name the span that it is made in (W3C trace context)."""
    session = getattr(catalog, "_session", None)
    if session is None:
        return
    session.auth = _Propagating(session.auth)


class _Propagating:
    """Signs a request as PyIceberg does, and adds the headers of the current span."""

    def __init__(self, sign_in: Any) -> None:
        self._sign_in = sign_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sign_in, name)  # PyIceberg asks for what it has put there

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._sign_in is not None:
            request = self._sign_in(request)
        request.headers.update(propagation_headers())
        return request
