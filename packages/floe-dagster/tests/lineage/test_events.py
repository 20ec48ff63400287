"""The events of a run: what each says, in which order, and that all of them are valid."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde

from floe_core.schemas.artifacts import ColumnClassification
from floe_dagster.lineage.datasets import Naming
from floe_dagster.lineage.events import RunEvents, node_run_id
from floe_dagster.lineage.facets import CLASSIFICATION
from floe_dagster.lineage.facts import (
    ColumnLineage,
    ColumnSource,
    NodeFacts,
    ParentRun,
    RunFacts,
    Size,
    TableColumn,
    TableFacts,
)
from floe_dbt.engine import NodeFinished, NodeStarted, Window
from floe_testing.openlineage import check
from floe_testing.shop import (
    AT,
    CRM,
    INDEX,
    ORDERS,
    POSITIVE,
    RAW,
    REVENUE,
    RUN_ID,
    UNIQUE,
    artifacts_of,
    index_of,
    run_of,
)

REPOSITORY = Path(__file__).parents[4]
SCHEMA = json.loads((REPOSITORY / "docs/extra/spec/facets/ClassificationFacet.json").read_text())
LAKE = artifacts_of(catalog={"type": "sql"})
FACTS = NodeFacts(
    table=TableFacts(
        columns=(TableColumn("ID", "long"), TableColumn("email", "string", "Where to write")),
        written=Size(2, 100, 1),
        size=Size(10, 500, 3),
        version="8812",
        location="s3://lake/floe/main/orders",
        change="OVERWRITE",
    ),
    columns=ColumnLineage(
        {
            "id": (ColumnSource(RAW.unique_id, "id", subtype="IDENTITY"),),
            "email": (
                ColumnSource(RAW.unique_id, "email", subtype="TRANSFORMATION", is_masked=True),
                ColumnSource(RAW.unique_id, "email", subtype="AGGREGATION"),
            ),
            "gone": (ColumnSource(RAW.unique_id, "gone"),),
        },
        rows=(ColumnSource(RAW.unique_id, "state", "INDIRECT", "FILTER"),),
    ),
    sql="select id, 'hunter22' as email from raw.orders",
    path="dbt/models/orders.sql",
)


def started(node: Any, after: float = 0) -> NodeStarted:
    at = AT + timedelta(seconds=after)
    return NodeStarted(node.unique_id, node.resource_type, node.name, at)


def ended(node: Any, status: Any = "success", after: float = 0, **known: Any) -> NodeFinished:
    at = AT + timedelta(seconds=after)
    uid, kind = node.unique_id, node.resource_type
    return NodeFinished(uid, kind, node.name, status, at, **{"seconds": 1.5, **known})


def events_of(run: RunFacts | None = None, **known: Any) -> RunEvents:
    naming = Naming(LAKE, Path("/p"), [INDEX], namespace="acme")
    given = {"planned": tuple(INDEX.nodes), **known}
    return RunEvents(run or run_of(), [INDEX], naming, **given)


def shown(*events: RunEvent) -> list[dict[str, Any]]:
    """Events as they are sent, each of them valid."""
    sent = [json.loads(Serde.to_json(event)) for event in events]
    for event in sent:
        check(event)
    return sent


def whole_run(run: RunFacts | None = None) -> list[dict[str, Any]]:
    made = events_of(run)
    return shown(
        *made.start(),
        *made.hear(started(ORDERS)),
        *made.hear(ended(ORDERS, rows=2), FACTS),
        *made.hear(started(UNIQUE, 2)),
        *made.hear(ended(UNIQUE, "fail", 2, failures=3)),
        *made.hear(started(POSITIVE, 4)),
        *made.hear(ended(POSITIVE, "warn", 4, failures=1)),
        *made.hear(started(REVENUE, 6)),
        *made.hear(ended(REVENUE, after=6)),
        *made.end("failed", AT + timedelta(seconds=9), "it broke"),
    )


def test_two_events_a_run_a_node_and_a_tested_dataset() -> None:
    orders, revenue = "shop.shop.orders", "shop.shop.revenue"
    assert [(event["job"]["name"], event["eventType"]) for event in whole_run()] == [
        ("shop.nightly", "START"),
        (orders, "START"),
        (orders, "COMPLETE"),
        (f"{orders}.test", "START"),
        (f"{orders}.test", "FAIL"),
        (revenue, "START"),
        (revenue, "COMPLETE"),
        ("shop.nightly", "FAIL"),
    ]


def test_times_have_a_zone() -> None:
    times = [event["eventTime"] for event in whole_run()]
    assert times[:3] == [
        "2026-03-01T06:00:00.000000+00:00",
        "2026-03-01T06:00:00.000000+00:00",
        "2026-03-01T06:00:01.500000+00:00",
    ]


def test_the_run() -> None:
    first, *_, last = whole_run()
    assert first["run"]["runId"] == last["run"]["runId"] == RUN_ID
    assert first["job"]["namespace"] == "acme"
    assert last["run"]["facets"]["errorMessage"]["message"] == "it broke"
    facets = first["job"]["facets"]
    assert facets["ownership"]["owners"] == [{"name": "data@acme.dev", "type": "MAINTAINER"}]
    assert facets["documentation"]["description"] == "Orders of a shop"
    assert facets["jobType"]["integration"] == "FLOE"
    assert first["run"]["facets"]["processing_engine"]["name"] == "dagster"


def test_nodes_name_the_run_as_parent_and_root() -> None:
    [_, node, *_] = whole_run()
    parent = node["run"]["facets"]["parent"]
    assert node["run"]["runId"] == node_run_id(RUN_ID, ORDERS.unique_id)
    run = {"run": {"runId": RUN_ID}, "job": {"namespace": "acme", "name": "shop.nightly"}}
    assert {key: parent[key] for key in run} == run
    assert parent["root"] == run


def test_a_run_that_another_program_started() -> None:
    outer = ParentRun("airflow", "dag.task", str(node_run_id(RUN_ID, "task")))
    top = ParentRun("airflow", "dag", str(node_run_id(RUN_ID, "dag")))
    run, node, *_ = whole_run(run_of(parent=replace(outer, root=top)))
    assert run["run"]["facets"]["parent"]["job"]["name"] == "dag.task"
    assert node["run"]["facets"]["parent"]["job"]["name"] == "shop.nightly"
    for event in (run, node):
        assert event["run"]["facets"]["parent"]["root"]["job"]["name"] == "dag"


def test_the_job_of_a_node() -> None:
    facets = whole_run()[2]["job"]["facets"]
    assert facets["jobType"] | {"_producer": "", "_schemaURL": ""} == {
        "_producer": "",
        "_schemaURL": "",
        "integration": "DBT",
        "jobType": "MODEL",
        "processingType": "BATCH",
    }
    assert facets["sql"]["query"] == "select id, '*****' as email from raw.orders"
    assert facets["sql"]["dialect"] == "duckdb"
    assert facets["ownership"]["owners"][0]["name"] == "sales@acme.dev"
    assert [(tag["key"], tag["value"], tag["source"]) for tag in facets["tags"]["tags"]] == [
        ("daily", "true", "DBT"),
        ("domain", "retail", "FLOE"),
    ]
    place = facets["sourceCodeLocation"]
    assert place["path"] == "products/shop/dbt/models/orders.sql"
    assert place["url"] == f"https://github.com/acme/shop/blob/{'a' * 40}/{place['path']}"
    assert (place["type"], place["version"]) == ("git", "a" * 40)


def test_what_a_node_wrote() -> None:
    complete = whole_run()[2]
    [output] = complete["outputs"]
    facets = output["facets"]
    assert (output["namespace"], output["name"]) == ("s3://lake", "floe/main/orders")
    assert facets["symlinks"]["identifiers"] == [
        {
            "namespace": "file:/p/.floe/data/prod/warehouse",
            "name": "main.orders",
            "type": "TABLE",
        }
    ]
    assert facets["schema"]["fields"] == [
        {
            "name": "ID",
            "type": "long",
            "description": "Key",
            "ordinal_position": 1,
        },
        {
            "name": "email",
            "type": "string",
            "description": "Where to write",
            "ordinal_position": 2,
        },
    ]
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (2, 100, 1)
    assert facets["version"]["datasetVersion"] == "8812"
    assert facets["lifecycleStateChange"]["lifecycleStateChange"] == "OVERWRITE"
    assert facets["storage"]["storageLayer"] == "iceberg"
    assert facets["datasetType"]["datasetType"] == "TABLE"
    assert facets["dataSource"]["uri"] == "s3://lake"
    assert facets["documentation"]["description"] == "One row an order"


def test_column_lineage_tells_what_is_known_and_no_more() -> None:
    [output] = whole_run()[2]["outputs"]
    lineage = output["facets"]["columnLineage"]
    assert set(lineage["fields"]) == {"ID", "email"}
    [field] = lineage["fields"]["email"]["inputFields"]
    assert (field["name"], field["field"]) == ("raw.orders", "email")
    assert [(done["subtype"], done["masking"]) for done in field["transformations"]] == [
        ("TRANSFORMATION", True),
        ("AGGREGATION", False),
    ]
    [row] = lineage["dataset"]
    assert (row["field"], row["transformations"][0]["type"]) == ("state", "INDIRECT")


def test_column_of_an_unknown_table_is_left_out() -> None:
    made = events_of()
    made.hear(started(ORDERS))
    sources = (ColumnSource(RAW.unique_id, "id"), ColumnSource("model.shop.unknown", "id"))
    facts = replace(FACTS, columns=ColumnLineage({"id": sources}))
    [event] = shown(*made.hear(ended(ORDERS), facts))
    assert "columnLineage" not in event["outputs"][0]["facets"]


def test_readers_name_a_table_as_its_writer_did() -> None:
    events = whole_run()
    written = events[2]["outputs"][0]
    for reader in (events[3], events[5]):
        [read] = reader["inputs"]
        assert (read["namespace"], read["name"]) == (written["namespace"], written["name"])


def test_only_readers_know_a_source() -> None:
    table = TableFacts((TableColumn("nr", "long"),), version="7", location="s3://lake/raw")
    made = events_of(tables={RAW.unique_id: table})
    [start] = shown(*made.hear(started(ORDERS)))
    [source] = start["inputs"]
    assert [field["name"] for field in source["facets"]["schema"]["fields"]] == ["nr"]
    assert source["facets"]["version"]["datasetVersion"] == "7"


def test_results_of_tests_are_assertions_on_what_they_test() -> None:
    event = whole_run()[4]
    [tested] = event["inputs"]
    assert event["outputs"] == []
    facets = tested["inputFacets"]
    assert [
        (found["assertion"], found["success"], found.get("column"), found["severity"])
        for found in facets["dataQualityAssertions"]["assertions"]
    ] == [("unique", False, "id", "error"), ("positive", False, None, "warn")]
    metrics = facets["dataQualityMetrics"]
    assert (metrics["rowCount"], metrics["bytes"], metrics["fileCount"]) == (10, 500, 3)
    assert event["job"]["facets"]["jobType"]["jobType"] == "TEST"


@pytest.mark.parametrize(
    ("unique", "positive", "state"),
    [
        ("pass", "pass", "COMPLETE"),
        ("pass", "warn", "COMPLETE"),
        ("fail", "skipped", "FAIL"),
        ("error", "pass", "FAIL"),
        ("skipped", "skipped", "ABORT"),
    ],
)
def test_outcome_of_tests(unique: str, positive: str, state: str) -> None:
    made = events_of()
    made.hear(started(UNIQUE))
    before = made.hear(ended(UNIQUE, unique))
    [event] = shown(*before, *made.hear(ended(POSITIVE, positive)))
    assert event["eventType"] == state


@pytest.mark.parametrize(("status", "state"), [("error", "FAIL"), ("cancelled", "ABORT")])
def test_a_node_that_fails(status: str, state: str) -> None:
    made = events_of()
    made.hear(started(ORDERS))
    message = "Conversion Error: Could not convert string 'bob@acme.dev' to INT32, hunter22\n\nmore"
    [event] = shown(*made.hear(ended(ORDERS, status, message=message), FACTS))
    assert (event["eventType"], event["outputs"]) == (state, [])
    assert event["run"]["facets"]["errorMessage"]["message"] == (
        "Conversion Error: Could not convert string '*****' to INT32, *****"
    )


def test_a_node_that_was_skipped_never_ran() -> None:
    assert events_of().hear(ended(ORDERS, "skipped")) == []


def test_what_is_at_work_when_a_run_is_interrupted_is_broken_off() -> None:
    made = events_of()
    for event in (started(ORDERS), started(UNIQUE)):
        made.hear(event)
    events = shown(*made.end("cancelled", AT))
    assert {event["eventType"] for event in events} == {"ABORT"}
    assert [event["job"]["name"] for event in events] == [
        "shop.shop.orders",
        "shop.shop.orders.test",
        "shop.nightly",
    ]


def test_start_names_no_table_whose_place_is_unknown() -> None:
    start = whole_run()[1]
    known = events_of(tables={ORDERS.unique_id: FACTS.table}).hear(started(ORDERS))
    assert start["outputs"] == []
    assert [data["name"] for data in shown(*known)[0]["outputs"]] == ["floe/main/orders"]


def test_nominal_time() -> None:
    day = timedelta(days=1)
    run = run_of(nominal=(AT, AT + day))
    made = events_of(run)
    made.hear(started(ORDERS))
    window = Window(AT - day, AT)
    start, node = shown(*made.start(), *made.hear(ended(ORDERS, batches=(window,)), FACTS))
    nominal = start["run"]["facets"]["nominalTime"]
    assert nominal["nominalEndTime"] == "2026-03-02T06:00:00+00:00"
    assert node["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2026-03-01T06:00:00+00:00"


def test_classifications() -> None:
    known = {"email": ColumnClassification(classification="pii", pii_type="email")}
    facet = whole_run(run_of(classifications={"orders": known}))[2]["outputs"][0]["facets"][
        CLASSIFICATION
    ]
    assert facet["_schemaURL"] == SCHEMA["$id"]
    assert facet["columns"] == {"email": {"classification": "pii", "pii_type": "email"}}
    jsonschema.Draft202012Validator(SCHEMA).validate({CLASSIFICATION: facet})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({CLASSIFICATION: {"columns": {}}})


def test_python_transforms() -> None:
    index = replace(index_of(CRM), dbt_version="")
    naming = Naming(LAKE, Path("/p"), [index], namespace="acme")
    made = RunEvents(run_of(), [index], naming, [CRM.unique_id])
    facts = NodeFacts(engine=("python", "3.11.2"), path="crm.py")
    events = shown(*made.hear(started(CRM), facts), *made.hear(ended(CRM), facts))
    assert [event["job"]["name"] for event in events] == ["shop.python.crm"] * 2
    assert events[1]["job"]["facets"]["jobType"]["jobType"] == "PYTHON"
    assert events[1]["run"]["facets"]["processing_engine"]["name"] == "python"
    assert events[1]["outputs"] == []
