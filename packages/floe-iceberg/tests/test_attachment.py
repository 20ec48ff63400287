"""Iceberg tables and stored views, as DuckDB databases show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_iceberg import attachment as module
from floe_iceberg import replace
from floe_iceberg.attachment import Attached, Attachment, Name


def named(identifier: str) -> Name:
    return Name("memory", "shop", identifier)


@pytest.fixture
def attach(catalog: Catalog, tmp_path: Path) -> Iterator[Callable[[], Attachment]]:
    """Attaches the catalog to one more database, as another process does."""
    opened = []
    properties = {
        "type": "sql",
        "name": "lake",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": tmp_path.as_uri(),
    }

    def attach() -> Attachment:
        opened.append(duckdb.connect())
        return Attachment(Attached({"default": properties}, "memory"), opened[-1].cursor)

    yield attach
    for connection in opened:
        connection.close()


def test_two_processes_keep_the_first_views_of_a_namespace(
    attach: Callable[[], Attachment], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = attach(), attach()
    one.keep_view(named("a"), "select 1")
    other.keep_view(named("b"), "select 2")
    load, faster = module.load, [other]

    def load_and_lose_the_race(*arguments: object) -> object:
        found = load(*arguments)  # type: ignore[arg-type]
        if faster:
            faster.pop().save_views()
        return found

    monkeypatch.setattr(module, "load", load_and_lose_the_race)
    one.save_views()
    assert attach().relations("memory", "shop") == ([], [named("a"), named("b")])


def test_files_that_another_table_may_need_stay_when_a_table_is_dropped(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, attach: Callable[[], Attachment]
) -> None:
    catalog.create_namespace("shop")
    orders = replace(catalog, ("shop", "orders"), connection, "SELECT 1 AS id").table
    shared = catalog.register_table(("shop", "shared"), orders.metadata_location)
    shared.transaction().set_properties({"gc.enabled": "false"}).commit_transaction()
    attach().drop(named("shared"))
    assert catalog.list_tables("shop") == [("shop", "orders")]
    assert catalog.load_table(("shop", "orders")).scan().to_arrow().to_pylist() == [{"id": 1}]


@pytest.mark.parametrize("name", ["orders", "Orders"])
def test_the_table_is_meant_that_is_spelled_alike(
    catalog: Catalog,
    connection: duckdb.DuckDBPyConnection,
    attach: Callable[[], Attachment],
    name: str,
) -> None:
    catalog.create_namespace("shop")
    for spelled in ("orders", "Orders", "Other"):
        replace(catalog, ("shop", spelled), connection, "SELECT 1 AS id")
    lake = attach()
    assert lake.existing(named(name)).identifier == ("shop", name)
    assert lake.existing(named("OTHER")).identifier == ("shop", "Other")
    lake.drop(named(name))
    assert ("shop", name) not in catalog.list_tables("shop")
    assert len(catalog.list_tables("shop")) == 2


def test_tables_are_found_after_views_are_saved(
    catalog: Catalog, connection: duckdb.DuckDBPyConnection, attach: Callable[[], Attachment]
) -> None:
    catalog.create_namespace("shop")
    replace(catalog, ("shop", "orders"), connection, "SELECT 1 AS id")
    lake = attach()
    assert lake.stored_view(named("a")) is None
    lake.keep_view(named("a"), "select 1")
    assert not lake.prepare_again("select * from elsewhere.no_table")
    lake.save_views()
    assert lake.found(named("orders")) is not None
