"""Runs that Dagster launches tell of themselves as `floe run` does, once for all of their steps."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import dagster as dg
import pytest

from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.definitions import build_definitions
from floe_dagster.execute import execute
from floe_dagster.records import read_records
from floe_testing.lineage import lineage_sink
from floe_testing.otlp import attributes, receive

from .conftest import Product

TICK = "2026-03-01T06:00:00+00:00"


def observed(artifacts: CompiledArtifacts, collector: str, lineage: str) -> CompiledArtifacts:
    told = artifacts.observability.model_copy(
        update={
            "traces": True,
            "lineage": True,
            "otlp_endpoint": collector,
            "otlp_protocol": "http",
            "lineage_endpoint": lineage,
        }
    )
    return artifacts.model_copy(update={"observability": told})


def test_steps_of_two_projects_are_one_run(product: Product) -> None:
    with receive("http") as collector, lineage_sink() as sink:
        artifacts = observed(product.artifacts, collector.endpoint, sink.url)
        definitions = build_definitions(artifacts, root=product.root, indexes=product.indexes)
        with dg.DagsterInstance.ephemeral() as instance:
            result = definitions.resolve_job_def("floe_run").execute_in_process(
                instance=instance, tags={".dagster/scheduled_execution_time": TICK}
            )
    assert result.success
    run_id = result.run_id
    [record] = read_records(product.layout, "local")
    assert (record.run_id, record.warnings) == (run_id, ())
    assert record.trace_id == UUID(run_id).hex
    assert {span.trace_id.hex() for span in collector.spans} == {UUID(run_id).hex}
    [run] = [span for span in collector.spans if span.name.startswith("run ")]
    steps = [span for span in collector.spans if span.name.startswith("step ")]
    assert not run.parent_span_id
    assert [span.parent_span_id for span in steps] == [run.span_id] * 2
    below = {span.span_id: span for span in steps}
    nodes = [span for span in collector.spans if "dbt.node.unique_id" in attributes(span)]
    assert {span.parent_span_id for span in nodes} == set(below)
    assert {attributes(span)["dbt.node.unique_id"] for span in nodes} == set(record.planned)

    def of_run(event: dict[str, Any]) -> bool:
        return bool(event["run"]["runId"] == run_id)

    [first, *_, last] = sink.events
    assert Counter(event["eventType"] for event in sink.events if of_run(event)) == {
        "START": 1,
        "COMPLETE": 1,
    }
    assert (of_run(first), of_run(last)) == (True, True)
    assert first["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith("2026-03-01T06:00")
    parents = {
        event["run"]["facets"]["parent"]["run"]["runId"]
        for event in sink.events
        if not of_run(event)
    }
    assert parents == {run_id}


def test_a_step_that_fails_ends_the_run(small: Product) -> None:
    small.write("dbt/models/mid.sql", "select 1 / 'x' as n from {{ ref('numbers') }}\n")
    small.compile()
    with receive("http") as collector, lineage_sink() as sink:
        artifacts = observed(small.artifacts, collector.endpoint, sink.url)
        definitions = build_definitions(artifacts, root=small.root, indexes=small.indexes)
        with dg.DagsterInstance.ephemeral() as instance:
            job = definitions.resolve_job_def("floe_run")
            result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    [run] = [span for span in collector.spans if span.name.startswith("run ")]
    assert attributes(run)["floe.run.status"] == "failed"
    assert [e["eventType"] for e in sink.events if e["run"]["runId"] == result.run_id] == [
        "START",
        "FAIL",
    ]


def test_a_backend_that_is_not_there_is_told_in_the_log_of_the_run(
    small: Product, capfd: pytest.CaptureFixture[str]
) -> None:
    with receive("http") as collector:
        nobody = collector.endpoint
    artifacts = observed(small.artifacts, nobody, nobody)
    told = artifacts.observability.model_copy(update={"deadline_seconds": 0.5})
    artifacts = artifacts.model_copy(update={"observability": told})
    definitions = build_definitions(artifacts, root=small.root, indexes=small.indexes)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("floe_run").execute_in_process(instance=instance)
    assert result.success
    [record] = read_records(small.layout, "local")
    assert record.is_success
    assert len(record.warnings) == 2
    said = capfd.readouterr().err
    assert all(warning in said for warning in record.warnings)


def test_what_floe_itself_gets_wrong_is_one_warning(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("floe_dagster.run_lineage.RunLineage.hear", break_)
    monkeypatch.setattr("floe_dagster.run_lineage.RunLineage.keep", break_)
    record = execute(small.artifacts, root=small.root)
    assert record.is_success
    assert record.warnings == (
        "Telemetry is incomplete: floe itself failed with ZeroDivisionError.",
    )
