"""`floe lineage` after runs: columns, and the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from floe_cli.lineage_output import document, mermaid, text
from floe_cli.lineage_page import page
from floe_dagster.lineage.datasets import Identifier
from floe_dagster.lineage.facts import ColumnLineage, ColumnSource, TableColumn
from floe_dagster.lineage.graph import Graph, build_graph
from floe_dagster.lineage.store import StoredLineage, StoredNode
from floe_testing.shop import AT, HIDDEN, INDEX, ORDERS, RAW, RUN_ID, index_of, node

BOTH = (True, True)


def built(*columns: str, **lineage: ColumnSource) -> StoredNode:
    known = ColumnLineage({name: (source,) for name, source in lineage.items()})
    shown = tuple(TableColumn(name, "long") for name in columns)
    return StoredNode(RUN_ID, AT, (Identifier("s3://b", "o"),), None, shown, known)


def diamond() -> Graph:
    left = node("model", "left", depends_on=("model.shop.orders",))
    right = node("model", "right", depends_on=("model.shop.orders",))
    ends = ("model.shop.left", "model.shop.right")
    bottom = node("model", 'b"<o>&ttom', depends_on=ends)
    return build_graph([index_of(RAW, ORDERS, left, right, bottom)], StoredLineage())


def test_what_was_shown_is_not_unfolded_again() -> None:
    graph = diamond()
    start = graph.find('b"<o>&ttom')
    assert text("", graph, start, None, (True, False)).splitlines()[3:] == [
        "  left  table",
        "    orders  table",
        "      raw.raw_orders  source",
        "  right  table",
        "    orders  table (see above)",
    ]


def test_names_cannot_break_a_flowchart() -> None:
    assert '["b&quot;&lt;o>&amp;ttom"]' in mermaid(diamond(), None, BOTH)


class Page(HTMLParser):
    """Gathers the script elements and attributes of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._is_script = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_script = tag == "script"
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self._is_script:
            self.scripts.append(data)
            self._is_script = False


def test_a_page_holds_all_and_needs_nothing() -> None:
    name = "</script><script>alert(1)</script>"
    graph = build_graph(
        [index_of(RAW, ORDERS, node("model", name, depends_on=(ORDERS.unique_id,)))],
        StoredLineage({ORDERS.unique_id: built("id", id=ColumnSource(RAW.unique_id, "id"))}),
    )
    content = page("a <b> & c", graph, document(graph, None, None, BOTH))
    read = Page(content)
    assert len(read.scripts) == 2
    data = json.loads(read.scripts[0])
    assert name in [node["name"] for node in data["graph"]["nodes"]]
    assert len(data["graph"]["column_edges"]) == 1
    assert set(data["drawing"]["places"]) == set(graph.nodes)
    assert not {name for name, _ in read.attributes} & {"src", "href", "srcset", "action"}
    assert set(re.findall(r"https?://[^\s\"')]+", content)) == {"http://www.w3.org/2000/svg"}
    assert "<title>Lineage of a &lt;b&gt; &amp; c</title>" in content


def test_layers_of_a_page_go_from_left_to_right() -> None:
    graph = build_graph([INDEX], StoredLineage())
    content = page("", graph, document(graph, None, None, BOTH))
    places = json.loads(Page(content).scripts[0])["drawing"]["places"]
    across = [places[known.unique_id]["x"] for known in (RAW, ORDERS, HIDDEN)]
    assert across == sorted(set(across))


def test_a_page_of_nothing() -> None:
    assert Page(page("", Graph(), document(Graph(), None, None, BOTH))).scripts
