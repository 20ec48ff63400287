"""A run tells a collector and a lineage server of itself, and of nothing when it is not to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
import yaml
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from floe_testing.cli import FloeResult, run_floe
from floe_testing.lineage import Sink, lineage_sink
from floe_testing.otlp import Receiver, attributes, hostile, receive

NODES = {
    "seed raw_orders",
    "model stg_orders",
    "model customers",
    "model daily_revenue",
    "test not_null_stg_orders_order_id",
    "test accepted_values_stg_orders_status__placed__completed__returned",
    "test unique_stg_orders_order_id",
    "test revenue_is_never_negative",
    "test unique_daily_revenue_ordered_on",
    "test not_null_daily_revenue_ordered_on",
    "test not_null_customers_customer",
    "test unique_customers_customer",
}


CUSTOMER = "zdenka"


@dataclass
class Observed:
    """A run, and what was heard of it."""

    folder: Path
    result: FloeResult
    collector: Receiver
    sink: Sink

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.result.stdout)
        return found

    @property
    def spans(self) -> dict[str, Span]:
        return {span.name: span for span in self.collector.spans}

    def parent(self, span: Span) -> str | None:
        names = {one.span_id: one.name for one in self.collector.spans}
        return names.get(span.parent_span_id)

    @property
    def ended(self) -> dict[str, dict[str, Any]]:
        """The last event of each job, by its name below the product."""
        return {event["job"]["name"].removeprefix("shop."): event for event in self.sink.events}


def observability(collector: str, lineage: str, **changes: Any) -> dict[str, Any]:
    return {
        "tracing": {"endpoint": collector, "protocol": "http"},
        "metrics": {},
        "logging": {"enabled": True},
        "lineage": {"endpoint": lineage},
        "deadline_seconds": 2,
        **changes,
    }


def make_product(folder: Path, settings: Mapping[str, Any] | None) -> None:
    assert run_floe("init", str(folder), "--name", "shop").exit_code == 0
    platform = folder / "platform.yaml"
    document = yaml.safe_load(platform.read_text())
    if settings is not None:
        document["observability"] = dict(settings)
    platform.write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("good") / "shop"
    with (
        receive("http") as collector,
        lineage_sink() as sink,
        pytest.MonkeyPatch.context() as patch,
    ):
        make_product(folder, observability(collector.endpoint, sink.url))
        patch.chdir(folder)
        result = run_floe("run", "--output", "json")
        assert result.exit_code == 0, result.stderr
        yield Observed(folder, result, collector, sink)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A model that cannot be built, for a value in a row, and a test that fails."""
    folder = tmp_path_factory.mktemp("bad") / "shop"
    with (
        receive("http") as collector,
        lineage_sink() as sink,
        pytest.MonkeyPatch.context() as patch,
    ):
        make_product(folder, observability(collector.endpoint, sink.url))
        models, seed = folder / "dbt/models", folder / "dbt/seeds/raw_orders.csv"
        seed.write_text(seed.read_text().replace(",ada,", f",{CUSTOMER},"))
        (models / "customers.sql").write_text(
            "select cast(customer as integer) as customer from {{ ref('stg_orders') }}\n"
        )
        (folder / "dbt/tests/revenue_is_never_negative.sql").write_text(
            "select * from {{ ref('daily_revenue') }}\n"
        )
        patch.chdir(folder)
        result = run_floe("run", "--output", "json")
        assert result.exit_code == 1, result.stderr
        yield Observed(folder, result, collector, sink)


def test_a_run_is_one_trace(good: Observed) -> None:
    spans = good.spans
    assert {span.trace_id.hex() for span in good.collector.spans} == {good.record["trace_id"]}
    assert good.record["trace_id"] == UUID(good.record["run_id"]).hex
    assert good.parent(spans["run shop"]) is None
    assert not spans["run shop"].parent_span_id
    assert good.parent(spans["step shop"]) == "run shop"
    assert {name for name in spans if good.parent(spans[name]) == "step shop"} == NODES
    below = {name for name in spans if good.parent(spans[name]) == "model customers"}
    assert below == {f"{what} main.customers" for what in ("load", "write", "commit", "scan")}
    assert attributes(spans["run shop"]) == {
        "floe.run.id": good.record["run_id"],
        "floe.run.status": "success",
        "dagster.run.id": good.record["run_id"],
    }


def test_the_span_of_a_node_says_what_was_built(good: Observed) -> None:
    span = good.spans["model customers"]
    [node] = [node for node in good.record["nodes"] if node["name"] == "customers"]
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(
        node["seconds"], abs=0.001
    )
    commit = attributes(good.spans["commit main.customers"])
    assert attributes(span) == {
        "code.file.path": "dbt/models/customers.sql",
        "db.collection.name": "customers",
        "db.namespace": "engine.main",
        "db.system.name": "duckdb",
        "dbt.node.bytes": commit["iceberg.bytes.added"],
        "dbt.node.materialized": "table",
        "dbt.node.name": "customers",
        "dbt.node.resource_type": "model",
        "dbt.node.rows": "4",
        "dbt.node.status": "success",
        "dbt.node.unique_id": "model.shop.customers",
        "iceberg.snapshot.id": commit["iceberg.snapshot.id"],
        "iceberg.table.location": next(
            name for name in [attributes(span)["iceberg.table.location"]] if "customers" in name
        ),
    }
    assert commit["db.system.name"] == "iceberg"
    assert commit["iceberg.rows.added"] == "4"


def points(metric: Metric) -> list[Any]:
    data = getattr(metric, str(metric.WhichOneof("data")))
    return list(data.data_points)


def test_metrics_count_what_the_record_says(good: Observed) -> None:
    metrics = {metric.name: metric for metric in good.collector.metrics}
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "dbt.node.bytes": "By",
        "dbt.node.duration": "s",
        "dbt.node.rows": "{row}",
        "dbt.nodes": "{node}",
        "floe.compile.duration": "s",
        "floe.run.duration": "s",
        "iceberg.table.files": "{file}",
        "iceberg.table.size": "By",
    }
    counted = {
        tuple(sorted(attributes(point).values())): point.as_int
        for point in points(metrics["dbt.nodes"])
    }
    expected = Counter(
        tuple(sorted((node["resource_type"], node["status"]))) for node in good.record["nodes"]
    )
    assert counted == dict(expected)
    assert sum(point.as_int for point in points(metrics["dbt.node.rows"])) == 10 + 10 + 4 + 4
    [run] = points(metrics["floe.run.duration"])
    assert run.sum == pytest.approx(good.record["seconds"], abs=0.1)


def test_logs_of_dbt_carry_the_span_of_their_node(good: Observed) -> None:
    said = {record.body.string_value: record for record in good.collector.log_records}
    [built] = [text for text in said if "OK created sql table model main.customers" in text]
    assert said[built].span_id == good.spans["model customers"].span_id
    [found] = [text for text in said if text.startswith("Found 3 models")]
    assert said[found].span_id == good.spans["step shop"].span_id
    assert {record.trace_id.hex() for record in said.values()} == {good.record["trace_id"]}


def test_each_node_has_two_events(good: Observed) -> None:
    kinds = Counter(event["job"]["name"] for event in good.sink.events)
    jobs = ["raw_orders", "stg_orders", "customers", "daily_revenue"]
    tested = [f"{name}.test" for name in jobs[1:]]
    assert kinds == {"shop": 2, **{f"shop.shop.{name}": 2 for name in [*jobs, *tested]}}
    run_id = good.record["run_id"]
    for event in good.sink.events:
        if event["job"]["name"] != "shop":
            assert event["run"]["facets"]["parent"]["run"] == {"runId": run_id}
    [first, *_, last] = good.sink.events
    assert (first["run"]["runId"], first["eventType"]) == (run_id, "START")
    assert (last["run"]["runId"], last["eventType"]) == (run_id, "COMPLETE")
    customers = good.ended["shop.customers"]
    assert customers["run"]["runId"] == str(uuid5(UUID(run_id), "model.shop.customers"))


def test_lineage_joins_tables_and_columns(good: Observed) -> None:
    [made] = good.ended["shop.stg_orders"]["outputs"]
    [read] = good.ended["shop.customers"]["inputs"]
    [output] = good.ended["shop.customers"]["outputs"]
    assert (read["namespace"], read["name"]) == (made["namespace"], made["name"])
    assert output["namespace"] == "file"
    assert output["facets"]["symlinks"]["identifiers"][0]["name"] == "main.customers"
    assert [(f["name"], f["type"]) for f in output["facets"]["schema"]["fields"]] == [
        ("customer", "VARCHAR"),
        ("orders", "BIGINT"),
        ("revenue", "DOUBLE"),
        ("first_order_on", "DATE"),
    ]
    columns = output["facets"]["columnLineage"]["fields"]
    assert {name: [f["field"] for f in one["inputFields"]] for name, one in columns.items()} == {
        "customer": ["customer"],
        "revenue": ["amount"],
        "first_order_on": ["ordered_on"],
    }
    assert output["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"]) == (4, 1)
    [tested] = good.ended["shop.customers.test"]["inputs"]
    assertions = tested["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {(one["assertion"], one["column"], one["success"]) for one in assertions} == {
        ("not_null", "customer", True),
        ("unique", "customer", True),
    }


def test_a_failure_is_told_without_the_rows_that_caused_it(bad: Observed) -> None:
    told = "Conversion Error: Could not convert string '*****' to INT32"
    span = bad.spans["model customers"]
    assert span.status.message.startswith(told)
    [event] = span.events
    found = attributes(event)
    assert (event.name, found["exception.type"]) == ("exception", "Conversion Error")
    assert found["exception.message"].startswith(told)
    assert attributes(bad.spans["run shop"])["floe.run.status"] == "failed"
    assert attributes(bad.spans["test unique_customers_customer"])["dbt.node.status"] == "skipped"
    failed = bad.ended["shop.customers"]
    assert failed["eventType"] == "FAIL"
    assert failed["run"]["facets"]["errorMessage"]["message"].startswith(told)
    assert bad.ended["shop"]["eventType"] == "FAIL"
    assert bad.ended["shop.daily_revenue.test"]["eventType"] == "FAIL"
    sent = bad.collector
    everything = f"{bad.sink.events}{sent.resource_spans}{sent.resource_logs}"
    assert CUSTOMER in json.dumps(bad.record), "the run's own record says it"
    assert CUSTOMER not in everything


@pytest.mark.parametrize(
    "way",
    [
        "no section",
        "--no-telemetry",
        pytest.param("FLOE_NO_TELEMETRY", marks=pytest.mark.integration),
        pytest.param("off", marks=pytest.mark.integration),
    ],
)
def test_what_is_off_reaches_nobody(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = {name: {"enabled": False} for name in ("tracing", "metrics", "logging", "lineage")}
    with receive("http") as collector, lineage_sink() as sink:
        settings = observability(collector.endpoint, sink.url)
        make_product(tmp_path / "shop", None if way == "no section" else settings)
        monkeypatch.chdir(tmp_path / "shop")
        if way == "off":
            text = (tmp_path / "shop/floe.yaml").read_text()
            extra = yaml.safe_dump({"observability": off})
            (tmp_path / "shop/floe.yaml").write_text(f"{text}\n{extra}")
        if way == "FLOE_NO_TELEMETRY":
            monkeypatch.setenv(way, "1")
        arguments = [way] if way.startswith("--") else []
        result = run_floe("run", "-s", "raw_orders", "--output", "json", *arguments)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["trace_id"] is None
        assert (collector.headers, sink.requests) == ([], 0)


@pytest.mark.parametrize(
    "hostility",
    [
        "absent",
        "hang",
        *(pytest.param(how, marks=pytest.mark.integration) for how in ("refuse", "error", "drip")),
    ],
)
def test_a_backend_that_fails_costs_one_warning_and_lineage_waits_for_the_next_run(
    hostility: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        endpoint = stack.enter_context(hostile("http", hostility))
        make_product(tmp_path / "shop", observability(endpoint, endpoint))
        monkeypatch.chdir(tmp_path / "shop")
        result = run_floe("run", "-s", "raw_orders", "--output", "json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["status"] == "success"
    telemetry, lineage = sorted(record["warnings"], key=lambda text: not text.startswith("T"))
    assert telemetry.startswith("Telemetry was not delivered: ")
    assert " spans" in telemetry
    assert lineage.endswith(": 4 kept for the next run.")
    if hostility != "absent":
        return
    with lineage_sink() as sink, receive("http") as collector:
        platform = tmp_path / "shop/platform.yaml"
        document = yaml.safe_load(platform.read_text())
        document["observability"] = observability(collector.endpoint, sink.url)
        platform.write_text(yaml.safe_dump(document))
        again = run_floe("run", "-s", "raw_orders", "--output", "json")
        second = json.loads(again.stdout)
    assert second["warnings"] == []
    runs = [event["run"]["runId"] for event in sink.events if event["job"]["name"] == "shop"]
    assert runs == [record["run_id"]] * 2 + [second["run_id"]] * 2


@pytest.mark.integration
def test_an_interrupt_aborts_what_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "select sum(a.range * b.range) as n from range(10000000) a, range(10000000) b"
    with receive("http") as collector, lineage_sink() as sink:
        make_product(tmp_path / "shop", observability(collector.endpoint, sink.url))
        monkeypatch.chdir(tmp_path / "shop")
        Path("dbt/models/customers.sql").write_text(f"-- {{{{ ref('stg_orders') }}}}\n{endless}\n")
        floe = Path(sys.executable).with_name("floe")
        with subprocess.Popen([floe, "run", "-s", "+customers"]) as running:
            deadline = time.monotonic() + 120
            while ("shop.shop.customers", "START") not in sink.told:
                assert running.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)
        assert running.returncode == 130
    assert sink.told[-2:] == [("shop.shop.customers", "ABORT"), ("shop", "ABORT")]
    spans = {span.name: attributes(span) for span in collector.spans}
    assert spans["run shop"]["floe.run.status"] == "cancelled"
    assert spans["model customers"]["dbt.node.status"] == "cancelled"
