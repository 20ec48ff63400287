"""Spans of what is done with tables, by OpenTelemetry's conventions for databases.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace

from floe_core.telemetry import span

if TYPE_CHECKING:
    from opentelemetry.trace import Span


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
    with span(f"{operation} {'.'.join(name)}", **attributes):
        yield trace.get_current_span()
