from __future__ import annotations

import pytest

from floe_core.index import Column, Node, ProjectIndex
from floe_core.index_file import VERSION, dump_index, load_index


def index(**nodes: Node) -> ProjectIndex:
    return ProjectIndex(
        project="dbt",
        name="shop",
        target="dev",
        adapter_type="duckdb",
        dbt_version="1.11.0",
        inputs_hash="abc",
        nodes={node.unique_id: node for node in nodes.values()},
    )


PLAIN = Node("model.shop.a", "model", "a", "shop", "models/a.sql")
FULL = Node(
    unique_id="model.shop.b",
    resource_type="model",
    name="b",
    package_name="shop",
    original_file_path="models/b.sql",
    fqn=("shop", "b"),
    columns=(Column("id", "int", "Key", ("pii",), {"z": 1, "a": [1, {"b": None}]}),),
    tags=("x", "y"),
    meta={"floe": {"layer": "gold"}},
    depends_on=("model.shop.a",),
)


def test_a_round_trip_changes_nothing() -> None:
    indexes = (index(a=PLAIN, b=FULL), index())
    assert load_index(dump_index(indexes)) == indexes
    assert load_index(dump_index([])) == ()


def test_equal_indexes_give_equal_bytes() -> None:
    assert dump_index([index(a=PLAIN, b=FULL)]) == dump_index([index(b=FULL, a=PLAIN)])
    assert dump_index([index()]).endswith(b"\n")


def test_fields_of_a_newer_floe_are_passed_over() -> None:
    content = dump_index([index(a=PLAIN)]).replace(b'"alias":', b'"later":1,"alias":')
    assert load_index(content) == (index(a=PLAIN),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"version": %d}' % VERSION,
        b'{"version": %d, "indexes": [{}]}' % VERSION,
        b'{"version": %d, "indexes": [1]}' % VERSION,
        b'{"version": %d, "indexes": []}' % (VERSION + 1),
    ],
)
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load_index(content)
