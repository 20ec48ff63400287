"""What goes wrong is one sentence with what to do, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import Project


@pytest.fixture
def built(project: Project) -> Project:
    project.write({"m": "select 1 as id", "n": "select id from {{ ref('m') }}"})
    project.dbt("run")
    return project


def said(outcome: Any) -> str:
    text = "\n".join((outcome.output, *outcome.messages.values(), str(outcome.problem or "")))
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"type": "rest", "uri": "http://127.0.0.1:9/catalog"},
            "the catalog `default` cannot be reached: nothing listens at "
            "http://127.0.0.1:9/catalog: check `uri` of `catalogs.default`, and that the server "
            "runs",
        ),
        ({"uri": "nonsense"}, "the catalog `default` has a `uri` that is not the URL of a"),
        (
            {"type": "no-such-kind"},
            "the catalog `default` is of a type that PyIceberg does not know: `no-such-kind`",
        ),
        (
            {"uri": "sqlite:////proc/catalog.db"},
            "the catalog `default` cannot write to /proc/catalog.db: unable to open database file",
        ),
    ],
)
def test_a_catalog_that_cannot_be_opened(
    built: Project, settings: dict[str, str], expected: str
) -> None:
    right = built.profile()["catalog"]
    built.set_profile(catalog={**right, **settings})
    assert expected in said(built.dbt("run", fails=True))
    assert expected in said(built.dbt("debug", fails=True))
    built.set_profile(catalog=right)
    assert built.rows("n") == [(1,)]


def test_a_profile_without_a_catalog(project: Project) -> None:
    project.set_profile(catalog=None)
    assert "needs `catalog`" in said(project.dbt("debug", fails=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_warehouse_that_cannot_be_written(built: Project) -> None:
    folder = built.folder / "sealed"
    folder.mkdir(mode=0o500)
    built.set_profile(catalog={**built.profile()["catalog"], "warehouse": folder.as_uri()})
    built.write({"new": "select 1 as id"})
    assert "ermission denied" in said(built.dbt("run", "-s", "new", fails=True))


def test_a_warehouse_that_is_a_file(built: Project) -> None:
    place = built.folder / "file"
    place.write_text("")
    built.set_profile(catalog={**built.profile()["catalog"], "warehouse": place.as_uri()})
    built.write({"new": "select 1 as id"})
    assert built.dbt("run", "-s", "new", fails=True).statuses["new"] == "error"
    assert not built.has_table("new")


@pytest.mark.parametrize("damage", ["", "{", '{"format-version": 2}', None])
def test_metadata_that_cannot_be_read(built: Project, damage: str | None) -> None:
    path = Path(built.table("m").metadata_location.removeprefix("file://"))
    right = path.read_text()
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    text = said(built.dbt("run", "-s", "n", fails=True))
    assert "restore" in text
    path.write_text(right)
    assert built.rows("m") == [(1,)]
    built.dbt("run")


def test_a_table_that_somebody_drops_between_two_runs(built: Project) -> None:
    built.write({"n": "{{ config(materialized='incremental') }} select id from {{ ref('m') }}"})
    built.dbt("run")
    built.catalog.drop_table("shop.n")
    built.dbt("run")
    assert built.rows("n") == [(1,)]


def test_types_that_iceberg_has_not_are_refused_by_column(project: Project) -> None:
    project.write({"m": 'select union_value(a := 1) as "the union"'})
    assert "column the union has the type UNION" in project.dbt("run", fails=True).messages["m"]
