from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from floe_core.layout import Layout
from floe_dbt import column_cache
from floe_dbt.column_cache import ColumnLineageCache
from floe_dbt.column_lineage import UNKNOWN, ColumnLineage, Relation, read_column_lineage

ORDERS = Relation("lake", "raw", "orders")
QUERY: dict[str, Any] = {
    "sql": (
        "select id, sum(amount) over (partition by day) as größe, 1 as one, x from lake.raw.orders"
    ),
    "dialect": "duckdb",
    "schemas": {ORDERS: {"id": "int", "amount": "int", "day": "date"}},
    "target": Relation("lake", "main", "totals"),
    "columns": ["id", "größe", "one", "x"],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Layout(tmp_path).column_lineage("local")


@pytest.fixture
def misses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SQL that was read, because it was not in the cache."""
    read = []

    def note(sql: str, *args: Any) -> ColumnLineage:
        read.append(sql)
        return read_column_lineage(sql, *args)

    monkeypatch.setattr(column_cache, "read_column_lineage", note)
    return read


def fill(path: Path, *queries: dict[str, Any]) -> None:
    cache = ColumnLineageCache(path)
    for query in queries:
        cache.read(**query)
    cache.save()


def test_the_next_run_reads_no_sql(path: Path, misses: list[str]) -> None:
    fill(path, QUERY)
    assert ColumnLineageCache(path).read(**QUERY) == read_column_lineage(**QUERY)
    assert misses == [QUERY["sql"]]


def test_what_is_not_known_is_kept_too(path: Path, misses: list[str]) -> None:
    query = QUERY | {"sql": "select"}
    fill(path, query)
    assert ColumnLineageCache(path).read(**query) == UNKNOWN
    assert misses == ["select"]


@pytest.mark.parametrize(
    "change",
    [
        {"sql": "select 1 as id from lake.raw.orders"},
        {"dialect": "postgres"},
        {"schemas": {ORDERS: {"id": "int", "amount": "int", "day": "int"}}},
        {"schemas": {ORDERS: {"amount": "int", "id": "int", "day": "date"}}},
        {"schemas": {}},
        {"target": Relation("lake", "main", "other")},
        {"columns": ["id"]},
    ],
)
def test_a_change_is_read_anew(path: Path, misses: list[str], change: dict[str, Any]) -> None:
    fill(path, QUERY)
    lineage = ColumnLineageCache(path).read(**QUERY | change)
    assert lineage == read_column_lineage(**QUERY | change)
    assert len(misses) == 2


@pytest.mark.parametrize("package", ["floe-dbt", "sqlglot"])
def test_another_version_reads_anew(
    path: Path, misses: list[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    fill(path, QUERY)
    column_cache._versions.cache_clear()
    monkeypatch.setattr(column_cache, "version", lambda name: f"99 of {package == name}")
    ColumnLineageCache(path).read(**QUERY)
    column_cache._versions.cache_clear()
    assert len(misses) == 2


def test_a_relation_that_is_not_read_makes_no_difference(path: Path, misses: list[str]) -> None:
    fill(path, QUERY)
    others = QUERY["schemas"] | {Relation("lake", "raw", "customers"): {"id": "int"}}
    ColumnLineageCache(path).read(**QUERY | {"schemas": others})
    assert len(misses) == 1


def test_nothing_is_written_when_nothing_is_new(path: Path) -> None:
    ColumnLineageCache(path).save()
    assert not path.exists()
    fill(path, QUERY)
    before = path.stat()
    fill(path, QUERY)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a": 1}', b"\xff\xfe", None], ids=repr)
def test_a_damaged_file_is_an_empty_one(path: Path, damage: bytes | None) -> None:
    fill(path, QUERY)
    if damage is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(damage)
    assert ColumnLineageCache(path).read(**QUERY) == read_column_lineage(**QUERY)


@pytest.mark.parametrize(
    "damage",
    [
        *("", "{", "[]", "[[], {}, 1]", "[[[1]], {}, []]", '[[], [["id"]], []]'),
        '[[["a", "b", "c"]], {"id": [[1, "x"]]}, []]',
        '[[["a", "b", "c"]], {"id": [[0, "x", "NO_SUCH_WAY"]]}, []]',
    ],
)
def test_a_damaged_entry_is_read_anew(path: Path, misses: list[str], damage: str) -> None:
    fill(path, QUERY)
    entries = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(dict.fromkeys(entries, damage)))
    fill(path, QUERY)
    assert len(misses) == 2
    assert orjson.loads(path.read_bytes()) == entries


def test_the_oldest_go_first(
    path: Path, misses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c, d = (QUERY | {"sql": f"select {number} as id"} for number in range(4))
    monkeypatch.setattr(column_cache, "_MOST_ENTRIES", 3)
    fill(path, a, b, c)
    fill(path, a, d)
    misses.clear()
    fill(path, a, c, d)
    assert misses == []
    fill(path, b)
    assert misses == [b["sql"]]


def test_the_file_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_cache, "_MOST_CHARACTERS", 5_000)
    fill(path, *(QUERY | {"sql": f"select id, {number} as one"} for number in range(500)))
    assert 1_000 < path.stat().st_size < 50_000
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "file").touch()
    fill(tmp_path / "file" / "cache.json", QUERY)
    (record,) = caplog.records
    assert record.levelname == "DEBUG"


def test_text_that_cannot_be_kept_fails_nothing(path: Path) -> None:
    odd = QUERY | {"sql": "select '\ud800' as one"}
    cache = ColumnLineageCache(path)
    assert cache.read(**odd) == read_column_lineage(**odd)
    cache.save()
