"""The page of `floe lineage` in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe_cli.lineage_output import document
from floe_cli.lineage_page import page as page_of
from floe_dagster.lineage.facts import ColumnLineage, ColumnSource, TableColumn
from floe_dagster.lineage.graph import build_graph
from floe_dagster.lineage.store import StoredLineage, StoredNode
from floe_testing.browser import page
from floe_testing.shop import AT, INDEX, ORDERS, RAW, RUN_ID, index_of, node

pytestmark = pytest.mark.integration


def test_tables_and_columns_can_be_followed(tmp_path: Path) -> None:
    lineage = ColumnLineage({"id": (ColumnSource(RAW.unique_id, "nr", subtype="IDENTITY"),)})
    kept = StoredLineage(
        {
            ORDERS.unique_id: StoredNode(
                RUN_ID, AT, columns=(TableColumn("id", "long"),), lineage=lineage
            )
        }
    )
    graph = build_graph([INDEX, index_of(node("model", "alone"))], kept)
    file = tmp_path / "lineage.html"
    file.write_text(page_of("shop", graph, document(graph, None, None, (True, True))))
    with page() as browser:
        problems: list[str] = []
        browser.on("pageerror", lambda problem: problems.append(str(problem)))
        browser.on("console", lambda said: problems.append(said.text))
        browser.goto(file.as_uri())
        browser.get_by_role("button", name="orders, table").click()
        assert browser.locator("aside h2").inner_text() == "orders"
        assert "1 upstream, 2 downstream" in browser.locator("aside").inner_text()
        assert browser.locator("g.node.off").all_text_contents() == ["alonealonetable"]
        browser.get_by_role("button", name="id", exact=True).click()
        assert browser.locator("aside h2").inner_text() == "orders.id"
        browser.get_by_role("button", name="raw.raw_orders.nr").click()
        assert "orders.id identity" in browser.locator("aside").inner_text()
        browser.get_by_label("Find a table or column").fill("REV")
        assert browser.get_by_role("status").inner_text() == "1 found"
        browser.get_by_label("Find a table or column").press("Enter")
        assert browser.locator("aside h2").inner_text() == "revenue"
        assert problems == []
