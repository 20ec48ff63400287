"""`floe tables`, on tables in the local catalog of a product."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog import Catalog

from floe_core.artifacts import load_artifacts
from floe_dagster.catalogs import product_catalogs
from floe_iceberg import Layout, append, files_of, parse_partition_by, replace
from floe_testing.cli import FloeResult, run_floe

ORDERS = ("gold", "orders")
PLATFORM = """\
version: "1.1.0"
environment: local
storage: {default: {type: local, path: data}}
catalogs: {default: {type: sql}, other: {type: sql}}
compute: {default: {type: duckdb}}
layers:
  gold: {namespace: gold, retention: {snapshots_days: 90, keep_last: 2}}
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product that is compiled, with artifacts that can be copied."""
    folder = tmp_path_factory.mktemp("tables") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    (folder / "platform.yaml").write_text(PLATFORM)
    assert run_floe("compile", "-C", str(folder)).exit_code == 0
    return folder


@pytest.fixture
def shop(product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The artifacts of the product in a folder of their own, with two tables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".floe").mkdir()
    (tmp_path / "artifacts.json").write_bytes((product / ".floe" / "artifacts.json").read_bytes())
    monkeypatch.setenv("FLOE_PROJECT_DIR", str(tmp_path))
    catalog = catalog_of(tmp_path)
    connection = duckdb.connect()
    layout = Layout(
        partition_by=[parse_partition_by("truncate(1, name)"), parse_partition_by("day")],
        sort_by=["-id"],
        comment="All orders",
        docs={"id": "number of the order"},
        properties={"owner": "sales"},
    )
    query = "SELECT range::UBIGINT AS id, DATE '2024-01-01' AS day, 'n' AS name FROM range(4)"
    replace(catalog, ORDERS, connection, query, layout)
    append(catalog, ORDERS, connection, "SELECT 9 AS id, DATE '2024-01-02' AS day")
    replace(catalog, ("bronze", "raw"), connection, "SELECT 1 AS x")
    table = catalog.load_table(ORDERS)
    table.manage_snapshots().create_tag(table.snapshots()[0].snapshot_id, "v1").commit()
    return tmp_path


def catalog_of(shop: Path) -> Catalog:
    return product_catalogs(load_artifacts(shop / "artifacts.json"), shop)["default"].catalog


def tables(*words: str) -> FloeResult:
    return run_floe("tables", *words, "--artifacts", "artifacts.json")


def document(*words: str) -> Any:
    result = tables(*words, "--output", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def snapshots() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document("history", "gold.orders")["snapshots"]
    return found


def folder(shop: Path) -> Path:
    return Path(document("show", "gold.orders")["location"].removeprefix("file://"))


def leave(path: Path) -> Path:
    """What a killed writer leaves, long ago."""
    path.write_bytes(b"12345")
    then = time.time() - 10 * 24 * 3600
    os.utime(path, (then, then))
    return path


def test_list_shows_each_table_with_its_size(shop: Path) -> None:
    raw, orders = document("list")["tables"]
    assert (raw["name"], raw["rows"], raw["files"], raw["layers"]) == ("bronze.raw", 1, 1, [])
    assert (orders["name"], orders["rows"], orders["layers"]) == ("gold.orders", 5, ["gold"])
    assert orders["bytes"] > raw["bytes"] > 0
    text = tables("list")
    assert [line.split()[:2] for line in text.stdout.splitlines()[2:]] == [
        ["bronze.raw", "1"],
        ["gold.orders", "5"],
    ]
    assert text.stderr == "2 tables\n"


def test_a_table_that_cannot_be_read_does_not_hide_the_others(shop: Path) -> None:
    newest = max((folder(shop) / "metadata").glob("*.metadata.json"))
    newest.write_text("no metadata")
    result = tables("list")
    assert result.exit_code == 1
    assert "bronze.raw" in result.stdout
    assert "error: the metadata of gold.orders cannot be read: " in result.stderr
    assert "Traceback" not in result.stderr
    maintained = tables("maintain", "--compact")
    assert maintained.exit_code == 1
    assert "bronze.raw\n  compact  nothing to do" in maintained.stdout
    assert "the metadata of gold.orders cannot be read" in maintained.stderr


def test_show_says_what_a_table_is(shop: Path) -> None:
    shape = document("show", "gold.orders")
    assert shape["columns"][0] == {
        "name": "id",
        "type": "UBIGINT",
        "iceberg_type": "decimal(20, 0)",
        "is_required": False,
        "doc": "number of the order",
    }
    assert shape["partition_by"] == ["truncate(1, name)", "day"]
    assert shape["sort_by"] == ["-id"]
    assert (shape["comment"], shape["layers"], shape["snapshots"]) == ("All orders", ["gold"], 2)
    assert set(shape["branches"]) == {"main"}
    assert set(shape["tags"]) == {"v1"}
    assert shape["properties"]["owner"] == "sales"
    text = tables("show", "gold.orders").stdout
    for said in (
        "All orders",
        "UBIGINT  ",
        "number of the order",
        "truncate(1, name), day",
        "v1 (",
    ):
        assert said in text


def test_history_says_what_happened(shop: Path) -> None:
    last, first = snapshots()
    assert (first["operation"], first["rows_added"], first["refs"]) == ("append", 4, ["v1"])
    assert (last["rows_added"], last["rows_removed"], last["refs"]) == (1, 0, ["main"])
    assert last["parent_id"] == first["snapshot_id"]
    text = tables("history", "gold.orders", "--limit", "1")
    assert str(last["snapshot_id"]) in text.stdout
    assert str(first["snapshot_id"]) not in text.stdout
    assert text.stderr == "1 snapshot; 1 more, `--limit 0` shows them\n"


def test_a_preview_is_of_now_or_of_then(shop: Path) -> None:
    assert len(document("preview", "gold.orders")["rows"]) == 5
    cut = document("preview", "gold.orders", "--limit", "2")
    assert (len(cut["rows"]), cut["is_cut"]) == (2, True)
    assert cut["columns"][0] == {"name": "id", "type": "UBIGINT"}
    first = snapshots()[-1]
    shown_time = tables("history", "gold.orders").stdout.splitlines()[-1].split()[1:3]
    for at in ("v1", str(first["snapshot_id"]), first["committed_at"], " ".join(shown_time)):
        assert len(document("preview", "gold.orders", "--at", at)["rows"]) == 4
    csv = tables("preview", "gold.orders", "--at", "v1", "--limit", "0", "--output", "csv").stdout
    assert len(csv.splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "orders"], 2, "there is no table `orders`\n  help: Did you mean `gold.orders`?"),
        (["show", "gold.order"], 2, "Did you mean `gold.orders`?"),
        (["show", "x"], 2, "`floe tables list` shows what there is"),
        (["preview", "gold.orders", "--at", "v2"], 1, "has no branch or tag v2"),
        (["preview", "gold.orders", "--at", "7"], 1, "gold.orders has no snapshot 7"),
        (["preview", "gold.orders", "--at", "2020-01-01"], 1, "no snapshot from 2020-01-01"),
        (["preview", "gold.orders", "--at", "0001-01-01"], 1, "no snapshot from 0001-01-01"),
        (["maintain", "--older-than", "week"], 2, "`week` is no age; write it like 7d"),
        (["maintain", "--older-than", "999999d"], 2, "`999999d` is longer than a hundred years"),
        (["maintain", "--compact", "--keep-last", "2"], 2, "Add `--expire`, or leave"),
        (["maintain", "--compact", "--older-than", "9d"], 2, "Add `--expire` or `--orphans`, or"),
        (["maintain", "--older-than", "1h"], 2, "`--orphans` takes no lower `--older-than`"),
        (["list", "--catalog", "lake"], 2, "no catalog `lake`\n  help: It has `default`."),
    ],
)
def test_what_cannot_be_is_one_sentence(
    words: list[str], code: int, message: str, shop: Path
) -> None:
    result = tables(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_maintenance_does_what_its_dry_run_says(shop: Path) -> None:
    left = leave(folder(shop) / "data" / "left.parquet")
    catalog = catalog_of(shop)
    append(catalog, ORDERS, duckdb.connect(), "SELECT 11 AS id, DATE '2024-01-02' AS day")
    planned = document("maintain", "--dry-run")
    assert left.exists()
    assert planned["dry_run"]
    done = document("maintain")
    assert not left.exists()
    for before, after in zip(planned["tables"], done["tables"], strict=True):
        for plan, report in zip(before["reports"], after["reports"], strict=True):
            varying = ("is_dry_run", "written", "written_by_kind", "snapshot_id")
            assert [plan[key] for key in plan if key not in varying] == [
                report[key] for key in report if key not in varying
            ]
    expired, compacted, swept = done["tables"][1]["reports"]
    assert expired["snapshots"] == []
    assert compacted["removed_by_kind"]["data"]["files"] == 2
    assert swept["removed_by_kind"] == {"data": {"files": 1, "bytes": 5}}
    assert len(files_of(catalog.load_table(ORDERS)).data) == 2
    again = tables("maintain", "-v")
    assert again.stdout.count("nothing to do") == 6
    assert "tag v1" in again.stdout


def test_the_retention_of_the_layer_becomes_the_tables_own(shop: Path) -> None:
    tables("maintain", "--expire")
    properties = document("show", "gold.orders")["properties"]
    assert properties["history.expire.max-snapshot-age-ms"] == str(90 * 24 * 3600 * 1000)
    assert properties["history.expire.min-snapshots-to-keep"] == "2"
    raw = document("show", "bronze.raw")["properties"]
    assert "history.expire.max-snapshot-age-ms" not in raw


def test_options_decide_what_is_done(shop: Path) -> None:
    append(
        catalog_of(shop),
        ORDERS,
        duckdb.connect(),
        "SELECT 12 AS id",
    )
    result = tables("maintain", "gold.orders", "--expire", "--older-than", "0s", "--keep-last", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("gold.orders\n  expire   removed 1 snapshot, ")
    assert "compact" not in result.stdout
    assert [change["refs"] for change in snapshots()] == [["main"], ["v1"]]


def test_production_is_asked_for(shop: Path) -> None:
    path = shop / "artifacts.json"
    artifacts = json.loads(path.read_text())
    artifacts["identity"]["environment_category"] = "production"
    path.write_text(json.dumps(artifacts))
    refused = tables("maintain")
    assert refused.exit_code == 2
    assert "Add `--yes`" in refused.stderr
    assert tables("maintain", "--dry-run").exit_code == 0
    assert tables("maintain", "--yes").exit_code == 0


def test_a_catalog_that_does_not_answer_is_named(shop: Path) -> None:
    path = shop / "artifacts.json"
    artifacts = json.loads(path.read_text())
    profile = artifacts["profiles"]["catalog"]["profile"]
    profile |= {"type": "rest", "uri": "http://127.0.0.1:9/api/catalog"}
    path.write_text(json.dumps(artifacts))
    result = tables("list")
    assert result.exit_code == 5
    assert result.stderr == (
        "error: the catalog `default` cannot be reached: nothing listens at "
        "http://127.0.0.1:9/api/catalog\n"
        "  help: check `uri` of `catalogs.default`, and that the server runs\n"
    )


def test_tables_of_another_engine_are_not_looked_at(shop: Path) -> None:
    path = shop / "artifacts.json"
    artifacts = json.loads(path.read_text())
    artifacts["profiles"]["catalog"] = None
    path.write_text(json.dumps(artifacts))
    result = tables("list")
    assert result.exit_code == 3
    assert result.stderr == (
        "error: the tables of shop are no Iceberg tables of floe's: its engine keeps them by "
        "itself, or the platform has no `catalogs`\n"
        "  help: `floe query` reads them.\n"
    )


def test_a_product_without_tables_says_so(shop: Path, tmp_path: Path) -> None:
    catalog = catalog_of(shop)
    for name in (ORDERS, ("bronze", "raw")):
        catalog.drop_table(name)
    assert tables("list").stdout == "There are no tables.\n"
    assert tables("maintain").stdout == "There are no tables.\n"
    assert "`floe run` builds them" in tables("show", "gold.orders").stderr
