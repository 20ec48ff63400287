"""What is done with tables is traced, and requests to a REST catalog carry the trace."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pyiceberg.catalog import Catalog

from floe_core.otel.current import tracer_providers
from floe_iceberg import append, open_catalog, replace
from floe_iceberg.errors import IcebergError

from .test_catalog import answering, rest_server

ORDERS = ("sales", "orders")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    known = tracer_providers()
    assert known is not None
    known.runs.append(provider)
    yield exporter
    known.runs.remove(provider)


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_a_write_and_its_commit_say_what_they_did(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, spans: InMemorySpanExporter
) -> None:
    replace(catalog, ORDERS, connection, "SELECT 1 AS id")
    spans.clear()
    done = append(catalog, ORDERS, connection, "SELECT 2 AS id FROM range(3)")
    found = {span.name: attributes(span) for span in spans.get_finished_spans()}
    known = {"db.system.name": "iceberg", "db.namespace": "sales", "db.collection.name": "orders"}
    written = {"iceberg.files.added": 1, "iceberg.bytes.added": done.bytes, "iceberg.rows.added": 3}
    assert found["write sales.orders"] == {**known, "db.operation.name": "write", **written}
    assert found["commit sales.orders"] == {
        **known,
        **written,
        "db.operation.name": "commit",
        "iceberg.operation": "append",
        "iceberg.snapshot.id": str(done.snapshot_id),
        "iceberg.files.removed": 0,
        "iceberg.commit.attempt": 1,
    }


def test_a_write_that_fails_shows_no_row(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, spans: InMemorySpanExporter
) -> None:
    with pytest.raises((duckdb.Error, IcebergError)):
        replace(catalog, ORDERS, connection, "SELECT CAST('ada' || range AS INT) FROM range(3)")
    [failed] = [span for span in spans.get_finished_spans() if span.name == "write sales.orders"]
    assert not failed.status.is_ok
    assert attributes(failed)["error.type"] == "ConversionException"
    assert "ada" not in failed.to_json()


def test_requests_to_a_rest_catalog_carry_the_trace(spans: InMemorySpanExporter) -> None:
    with answering(rest_server) as (url, asked):
        opened = open_catalog({"type": "rest", "uri": f"{url}/iceberg", "token": "t"})
        assert opened.list_namespaces() == [("sales",)]
        assert asked.headers[-1].get("traceparent") is None
        with trace.get_tracer("test").start_as_current_span("asks") as asks:
            assert opened.list_namespaces() == [("sales",)]
        sent = asked.headers[-1]
        opened.close()
    ids = asks.get_span_context()
    assert sent["traceparent"].startswith(f"00-{ids.trace_id:032x}-{ids.span_id:016x}-")
    assert sent["authorization"] == "Bearer t"
