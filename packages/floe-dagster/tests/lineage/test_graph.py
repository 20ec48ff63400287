"""The graph that stays here: what is kept of runs, and what is put together from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from floe_core.errors import UsageError
from floe_dagster.lineage.datasets import Dataset, Identifier
from floe_dagster.lineage.facts import (
    ColumnLineage,
    ColumnSource,
    NodeFacts,
    TableColumn,
    TableFacts,
)
from floe_dagster.lineage.graph import Column, build_graph, column_trail
from floe_dagster.lineage.store import (
    StoredLineage,
    StoredNode,
    read_lineage,
    remember,
    stored_node,
)
from floe_testing.shop import AT, CRM, HIDDEN, INDEX, ORDERS, RAW, REVENUE, RUN_ID, index_of, node

BUILT = stored_node(
    RUN_ID,
    AT,
    NodeFacts(
        table=TableFacts((TableColumn("id", "long"), TableColumn("EMAIL")), location="s3://b/o"),
        columns=ColumnLineage(
            {"id": (ColumnSource(RAW.unique_id, "id", subtype="IDENTITY"),)},
            (ColumnSource(RAW.unique_id, "state", "INDIRECT", "FILTER", True),),
        ),
    ),
    [Dataset("s3://b", "o")],
)
REVENUE_BUILT = StoredNode(
    RUN_ID,
    AT,
    lineage=ColumnLineage(
        {
            "orders": (ColumnSource(ORDERS.unique_id, "id", subtype="AGGREGATION"),),
            "other": (ColumnSource("model.shop.gone", "id"),),
        }
    ),
)
STORED = StoredLineage({ORDERS.unique_id: BUILT, REVENUE.unique_id: REVENUE_BUILT})


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lineage/prod.json"
    remember(path, STORED.nodes, INDEX.nodes)
    assert read_lineage(path) == STORED
    assert read_lineage(path).locations == {ORDERS.unique_id: "s3://b/o"}


def test_a_run_of_some_nodes_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "prod.json"
    remember(path, STORED.nodes, INDEX.nodes)
    again = replace(BUILT, run_id="other")
    remember(path, {ORDERS.unique_id: again}, INDEX.nodes)
    assert read_lineage(path).nodes == {**STORED.nodes, ORDERS.unique_id: again}


def test_nodes_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "prod.json"
    remember(path, STORED.nodes, INDEX.nodes)
    remember(path, {}, [REVENUE.unique_id])
    assert list(read_lineage(path).nodes) == [REVENUE.unique_id]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 9}', b'{"version": 1, "nodes": {"a": {}}}']
)
def test_a_file_that_cannot_be_used_is_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prod.json"
    path.write_bytes(content)
    assert read_lineage(path) == StoredLineage()


def test_tables_come_from_dbt() -> None:
    graph = build_graph([INDEX], StoredLineage())
    assert list(graph.nodes) == [known.unique_id for known in (RAW, ORDERS, HIDDEN, REVENUE)]
    assert [(node.name, node.kind) for node in graph.nodes.values()] == [
        ("raw.raw_orders", "source"),
        ("orders", "table"),
        ("hidden", "ephemeral"),
        ("revenue", "view"),
    ]
    assert graph.edges == [
        (RAW.unique_id, ORDERS.unique_id),
        (ORDERS.unique_id, HIDDEN.unique_id),
        (HIDDEN.unique_id, REVENUE.unique_id),
    ]
    assert graph.column_edges == []


def test_columns_come_from_runs() -> None:
    graph = build_graph([INDEX], STORED)
    assert [(column.name, column.description) for column in graph.find("orders").columns] == [
        ("id", "Key"),
        ("EMAIL", ""),
    ]
    assert [(edge.source, edge.target) for edge in graph.column_edges] == [
        (Column(RAW.unique_id, "id"), Column(ORDERS.unique_id, "id")),
        (Column(ORDERS.unique_id, "id"), Column(REVENUE.unique_id, "orders")),
    ]


def test_trail_of_a_column() -> None:
    graph = build_graph([INDEX], STORED)
    start = graph.column(graph.find("revenue"), "ORDERS")
    trail = column_trail(graph.column_edges, start, upstream=True)
    assert [(depth, edge.source.name, edge.how.subtype) for depth, edge in trail] == [
        (0, "id", "AGGREGATION"),
        (1, "id", "IDENTITY"),
    ]
    assert column_trail(graph.column_edges, start, upstream=False) == []


@pytest.mark.parametrize(
    ("upstream", "downstream", "names"),
    [
        (True, False, ["raw.raw_orders", "orders", "hidden"]),
        (False, True, ["hidden", "revenue"]),
        (True, True, ["raw.raw_orders", "orders", "hidden", "revenue"]),
    ],
)
def test_sides(upstream: bool, downstream: bool, names: list[str]) -> None:
    graph = build_graph([INDEX], StoredLineage())
    part = graph.around(HIDDEN.unique_id, upstream=upstream, downstream=downstream)
    assert [node.name for node in part.nodes.values()] == names


@pytest.mark.parametrize("name", ["raw.raw_orders", "raw_orders", RAW.unique_id])
def test_names_of_a_source(name: str) -> None:
    assert build_graph([INDEX], StoredLineage()).find(name).unique_id == RAW.unique_id


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("order", "there is no model, seed, snapshot or source `order`", "Did you mean `orders`?"),
        ("xyz", "there is no model, seed, snapshot or source `xyz`", "`floe lineage` shows"),
        ("twice", "`twice` is the name of 2 nodes", "`model.a.twice`, `model.b.twice`"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str, help: str) -> None:
    twice = node("model", "twice")
    other = [replace(twice, unique_id=f"model.{package}.twice") for package in "ab"]
    with pytest.raises(UsageError) as caught:
        build_graph([INDEX, index_of(*other)], StoredLineage()).find(name)
    assert caught.value.message == message
    assert help in str(caught.value.help)


def test_columns_that_are_not_there() -> None:
    graph = build_graph([INDEX], STORED)
    with pytest.raises(UsageError) as caught:
        graph.column(graph.find("orders"), "emial")
    assert caught.value.help == "Did you mean `EMAIL`?"
    with pytest.raises(UsageError) as caught:
        graph.column(graph.find("hidden"), "id")
    assert "not known yet" in caught.value.message


def test_projects_and_python_transforms_are_joined_by_sources() -> None:
    made = replace(RAW, unique_id="source.b.made", meta={"dagster": {"asset_key": "crm"}})
    read = replace(RAW, unique_id="source.b.orders", schema="main", source_name="b")
    graph = build_graph([INDEX, index_of(made, read), index_of(CRM)], StoredLineage())
    assert (CRM.unique_id, made.unique_id) in graph.edges
    assert (ORDERS.unique_id, read.unique_id) in graph.edges


def test_a_graph_that_goes_round_is_shown_all_the_same() -> None:
    own = replace(RAW, unique_id="source.shop.own", schema="main")
    reads = replace(ORDERS, depends_on=("source.shop.own",))
    graph = build_graph([index_of(own, reads)], StoredLineage())
    assert len(graph.edges) == 2
    assert Identifier("s3://b", "o") in BUILT.datasets
