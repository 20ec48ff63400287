"""Tables, views, seeds and Python models, built and built again."""

from __future__ import annotations

import pytest

from .conftest import SCHEMA, Project

SEED = "id,name\n1,one\n2,zwei\n3,\n"


def test_a_project_is_built_and_built_again_without_the_file_of_duckdb(project: Project) -> None:
    project.write(
        {
            "seeds/items.csv": SEED,
            "stg": "{{ config(materialized='view') }} select id, name from {{ ref('items') }}",
            "big": "select id * 10 as id, name from {{ ref('stg') }}",
            "models/frame.py": (
                "def model(dbt, session):\n"
                "    rows = dbt.ref('big')\n"
                "    return rows.filter('id > 10')\n"
            ),
            "models/schema.yml": (
                "models:\n  - name: big\n    columns:\n      - name: id\n"
                "        data_tests: [unique, not_null]\n"
            ),
        }
    )
    first = project.dbt("build")
    assert set(first.statuses.values()) == {"success", "pass"}
    assert project.rows("big") == [(10, "one"), (20, "zwei"), (30, None)]
    assert project.rows("frame") == [(20, "zwei"), (30, None)]
    assert first.responses["big"]["rows_affected"] == 3
    assert first.responses["items"]["rows_affected"] == 3
    assert first.responses["frame"]["rows_affected"] == 2
    for selected in ("big", "frame", "stg", "items"):
        project.forget_duckdb()
        project.dbt("build", "-s", selected)
    assert project.rows("big") == [(10, "one"), (20, "zwei"), (30, None)]
    assert project.snapshots("big") == 2


def test_a_query_may_end_in_a_comment(project: Project) -> None:
    project.write(
        {
            "t": "select 1 as id -- one",
            "v": "{{ config(materialized='view') }} select id from {{ ref('t') }} -- two",
            "i": "{{ config(materialized='incremental') }} select id from {{ ref('v') }} -- three",
        }
    )
    project.dbt("run")
    project.forget_duckdb()
    project.dbt("run", "-s", "i")
    assert project.rows("i") == [(1,), (1,)]


@pytest.mark.parametrize("kinds", [("table", "view"), ("view", "table"), ("incremental", "view")])
def test_a_model_changes_its_kind(project: Project, kinds: tuple[str, str]) -> None:
    sql = "select 1 as id"
    project.write({"m": f"{{{{ config(materialized='{kinds[0]}') }}}} {sql}"})
    project.dbt("run")
    project.write({"m": f"{{{{ config(materialized='{kinds[1]}') }}}} {sql}"})
    project.dbt("run")
    assert project.has_table("m") is (kinds[1] != "view")
    project.forget_duckdb()
    assert project.show("select * from {{ ref('m') }}") == [{"id": 1}]
    project.dbt("run")


def test_a_table_becomes_a_view_of_a_table_that_did_not_change(project: Project) -> None:
    project.write({"a": "select 1 as id", "b": "select id from {{ ref('a') }}"})
    project.dbt("run")
    project.write(
        {"b": "{{ config(materialized='view') }} select id + 1 as id from {{ ref('a') }}"}
    )
    project.dbt("run", "-s", "b")
    assert project.show("select * from {{ ref('b') }}") == [{"id": 2}]


def test_a_view_that_cannot_be_bound_leaves_the_table(project: Project) -> None:
    project.write({"m": "select 1 as id"})
    project.dbt("run")
    project.write({"m": "{{ config(materialized='view') }} select no_such_column from (select 1)"})
    project.dbt("run", fails=True)
    assert project.rows("m") == [(1,)]


def test_a_view_of_the_table_whose_name_it_takes_is_refused(project: Project) -> None:
    project.set_profile(schema="main")
    project.write({"m": "select 1 as id"})
    project.dbt("run")
    project.write({"m": "{{ config(materialized='view') }} select * from {{ this }}"})
    outcome = project.dbt("run", fails=True)
    assert (
        "a view named main.m cannot read main.m, whose place it takes: give it another"
        in (outcome.messages["m"])
    )
    assert project.rows("main.m") == [(1,)]
    cte = "with m as (select 2 as id) select id from m"
    project.write({"m": f"{{{{ config(materialized='view') }}}} {cte}"})
    for _ in range(2):
        project.dbt("run")
    assert project.show("select id from {{ ref('m') }}") == [{"id": 2}]


@pytest.mark.parametrize("kind", ["table", "incremental"])
def test_a_failing_model_leaves_the_old_table(project: Project, kind: str) -> None:
    config = f"{{{{ config(materialized='{kind}') }}}}"
    project.write({"m": f"{config} select 1 as id"})
    project.dbt("run")
    project.write({"m": f"{config} select error('no') as id"})
    project.dbt("run", fails=True)
    assert project.rows("m") == [(1,)]
    assert project.snapshots("m") == 1


def test_full_refresh_replaces_an_incremental_model(project: Project) -> None:
    project.write({"m": "{{ config(materialized='incremental') }} select 1 as id"})
    project.dbt("run")
    project.dbt("run")
    assert project.rows("m") == [(1,), (1,)]
    project.dbt("run", "--full-refresh")
    assert project.rows("m") == [(1,)]
    assert project.snapshots("m") == 3


@pytest.mark.parametrize("other", ["table", "view", "seed"])
def test_two_models_on_one_table_are_an_error(project: Project, other: str) -> None:
    project.write({"items": "select 1 as id", "fine": "select 1 as id"})
    if other == "seed":
        project.write({"seeds/more.csv": "id\n2\n"})
        project.write({"seeds/schema.yml": "seeds: [{name: more, config: {alias: Items}}]"})
        owner = "seed.shop.more"
    else:
        config = f"{{{{ config(materialized='{other}', alias='Items') }}}}"
        project.write({"more": f"{config} select 2 as id"})
        owner = "model.shop.more"
    outcome = project.dbt("build", fails=True)
    assert outcome.statuses == {"items": "error", "more": "error", "fine": "success"}
    assert outcome.messages["items"].strip().splitlines()[-1].strip() == (
        f"model.shop.items and {owner} are both the Iceberg table shop.items: give one of them "
        "another `alias` or `schema`"
    )
    assert not project.has_table("items")


def test_two_models_that_the_profile_puts_in_one_place_are_an_error(project: Project) -> None:
    project.set_profile(tables={f"{SCHEMA}.m": {"namespace": f"{SCHEMA}_marts"}})
    project.write(
        {"m": "select 1 as id", "n": "{{ config(schema='marts', alias='m') }} select 2 as id"}
    )
    outcome = project.dbt("run", fails=True)
    assert outcome.statuses == {"m": "error", "n": "error"}
    assert "are both the Iceberg table shop_marts.m" in outcome.messages["m"]


def test_ephemeral_models_are_part_of_those_that_use_them(project: Project) -> None:
    project.write(
        {
            "e": "{{ config(materialized='ephemeral') }} select 1 as id",
            "m": "select id + 1 as id from {{ ref('e') }}",
            "v": "{{ config(materialized='view') }} select id + 2 as id from {{ ref('e') }}",
        }
    )
    project.dbt("run")
    assert not project.has_table("e")
    project.forget_duckdb()
    rows = "select id from {{ ref('m') }} union all select id from {{ ref('v') }} order by 1"
    assert project.show(rows) == [{"id": 2}, {"id": 3}]


def test_partitions_by_each_transform(project: Project) -> None:
    rows = (
        " select range as id, 'name ' || range as name,"
        " timestamp '2025-12-31 22:30' + to_hours(range * 700) as seen from range(4)"
    )
    transforms = {
        "year(seen)": "year",
        "month(seen)": "month",
        "day(seen)": "day",
        "hour(seen)": "hour",
        "bucket(4, name)": "bucket[4]",
        "truncate(2, id)": "truncate[2]",
        "truncate(6, name)": "truncate[6]",
        "id": "identity",
    }
    config = "materialized='incremental', incremental_strategy='insert_overwrite'"
    names = {text: f"m{n}" for n, text in enumerate(transforms)}
    for text, name in names.items():
        project.write({name: f"{{{{ config({config}, partition_by='{text}') }}}}{rows}"})
    for _ in range(2):
        project.dbt("run")
        project.forget_duckdb()
    for text, name in names.items():
        table = project.table(name)
        assert [str(field.transform) for field in table.spec().fields] == [transforms[text]]
        assert project.rows(name, "id") == [(n,) for n in range(4)], text
        files = [task.file for task in table.scan().plan_files()]
        assert len({tuple(file.partition) for file in files}) == len(files) > 1, text
    assert project.show("select name from {{ ref('m1') }} where seen >= '2026-02-15'") == [
        {"name": "name 2"},
        {"name": "name 3"},
    ]


def test_layout_of_a_table(project: Project) -> None:
    project.write(
        {
            "m": "{{ config(partition_by=['day(at)', 'bucket(4, id)'], sort_by=['-id'],"
            " table_properties={'write.target-file-size-bytes': 1000000}) }}"
            " select 1 as id, timestamp '2026-01-01 10:00' as at"
        }
    )
    project.set_profile(table_properties={"owner": "us", "is_raw": True})
    project.dbt("run")
    table = project.table("m")
    assert [str(f.transform) for f in table.spec().fields] == ["day", "bucket[4]"]
    assert [f.direction.value for f in table.sort_order().fields] == ["desc"]
    assert table.properties["write.target-file-size-bytes"] == "1000000"
    assert (table.properties["owner"], table.properties["is_raw"]) == ("us", "true")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("file_format='delta'", "`file_format: delta` is not written by duckdb_iceberg"),
        ("table_format='hudi'", "`table_format: hudi` is not written by duckdb_iceberg"),
        ("partition_by={'field': 'id'}", "`partition_by` is a column or a list of them"),
        ("partition_by='week(id)'", "week"),
        ("sort_by='no_such'", "no_such"),
    ],
)
def test_config_that_cannot_be_done_is_refused(
    project: Project, config: str, expected: str
) -> None:
    project.write({"m": f"{{{{ config({config}) }}}} select 1 as id"})
    outcome = project.dbt("run", fails=True)
    assert expected in outcome.messages["m"]
    assert "Traceback" not in outcome.output
    assert not project.has_table("m")


def test_config_for_other_engines_is_accepted(project: Project) -> None:
    project.write(
        {
            "m": "{{ config(file_format='iceberg', table_format='iceberg',"
            " indexes=[{'columns': ['id']}], grants={'select': ['me']}) }} select 1 as id",
            "n": "{{ config(grants={'select': ['me']}) }} select 1 as id",
        }
    )
    outcome = project.dbt("run")
    assert outcome.output.count("`grants` is ignored") == 1
    assert outcome.output.count("`indexes` is ignored") == 1
    assert project.dbt("run").output.count("`grants` is ignored") == 1


def test_names_that_need_quotes(project: Project) -> None:
    project.write(
        {
            "Größe": 'select 1 as "Straße 1", 2 as "a""b" -- ü',
            "next": 'select "Straße 1" + 1 as n, "a""b" as b from {{ ref(\'Größe\') }} -- größer',
            "v": "{{ config(materialized='view', alias='Über Sicht') }}"
            " select 'ä' as x, n from {{ ref('next') }}",
        }
    )
    project.dbt("run")
    assert project.rows("Größe") == [(1, 2)]
    assert project.rows("next") == [(2, 2)]
    project.forget_duckdb()
    assert project.show("select * from {{ ref('v') }}") == [{"x": "ä", "n": 2}]
    project.dbt("run")


def test_a_table_of_duckdb_with_the_name_of_a_model(project: Project) -> None:
    import duckdb

    with duckdb.connect(str(project.folder / "scratch.duckdb")) as connection:
        connection.execute(f"create schema {SCHEMA}")
        for name in ("t", "i", "v"):
            connection.execute(f"create table {SCHEMA}.{name} as select 'old' as id")
    project.write(
        {
            "t": "select 1 as id",
            "i": "{{ config(materialized='incremental') }} select 1 as id",
            "v": "{{ config(materialized='view') }} select 1 as id",
        }
    )
    outcome = project.dbt("run", fails=True)
    assert (outcome.statuses["t"], outcome.statuses["v"]) == ("success", "success")
    assert "is a table of DuckDB's own, not an Iceberg table" in outcome.messages["i"]
    with duckdb.connect(str(project.folder / "scratch.duckdb")) as connection:
        assert connection.execute(f"select id from {SCHEMA}.i").fetchall() == [("old",)]
    project.dbt("run", "--full-refresh")
    assert project.rows("i") == [(1,)]


def test_python_models_see_and_give_what_duckdb_can(project: Project) -> None:
    project.write(
        {
            "up": "select range as id from range(5)",
            "models/pandas_.py": "def model(dbt, s):\n    return dbt.ref('up').df()\n",
            "models/arrow.py": (
                "import pyarrow as pa\ndef model(dbt, s):\n"
                "    return pa.table({'a': [1, 2]}).to_reader()\n"
            ),
            "models/inc.py": (
                "def model(dbt, s):\n"
                "    dbt.config(materialized='incremental', unique_key='id')\n"
                "    rows = dbt.ref('up')\n"
                "    if dbt.is_incremental:\n"
                "        top = s.sql(f'select max(id) from {dbt.this}').fetchone()[0]\n"
                "        return s.sql(f'select {top} + 1 as id')\n"
                "    return rows\n"
            ),
            "models/wrong.py": (
                "import pyarrow as pa\ndef model(dbt, s):\n"
                "    return s.sql('select union_value(a := 1) as u')\n"
            ),
        }
    )
    outcome = project.dbt("run", fails=True)
    assert outcome.statuses["wrong"] == "error"
    assert "column u has the type" in outcome.messages["wrong"]
    assert "Traceback" not in outcome.messages["wrong"]
    assert project.rows("pandas_") == [(n,) for n in range(5)]
    assert project.rows("arrow") == [(1,), (2,)]
    project.forget_duckdb()
    project.dbt("run", "-s", "inc")
    assert project.rows("inc") == [(n,) for n in range(6)]


def test_the_result_of_a_node_tells_of_its_commit(project: Project) -> None:
    incremental = "{{{{ config(materialized='incremental', {}) }}}} select 1 as id, 'a' as name"
    project.write(
        {
            "seeds/items.csv": SEED,
            "big": "select id * 10 as id, name from {{ ref('items') }}",
            "appended": incremental.format("incremental_strategy='append'"),
            "merged": incremental.format("incremental_strategy='merge', unique_key='id'"),
            "replaced": incremental.format("incremental_strategy='delete+insert', unique_key='id'"),
            "partitions": incremental.format(
                "incremental_strategy='insert_overwrite', partition_by='id'"
            ),
            "models/frame.py": "def model(dbt, session):\n    return dbt.ref('big')\n",
            "snapshots/kept.yml": (
                "snapshots:\n  - name: kept\n    relation: ref('big')\n"
                "    config: {unique_key: id, strategy: check, check_cols: [name]}\n"
            ),
            "seen": "{{ config(materialized='view') }} select * from {{ ref('big') }}",
        }
    )
    for is_first in (True, False):
        responses = project.dbt("build").responses
        assert "snapshot_id" not in responses.pop("seen")
        for name, response in responses.items():
            table = project.table(name)
            snapshot = table.current_snapshot()
            assert snapshot is not None
            assert snapshot.summary is not None
            assert (name, response.get("location")) == (name, table.location()), response
            assert response["snapshot_id"] == str(snapshot.snapshot_id)
            assert response["is_first_snapshot"] is is_first
            for total in ("total_data_files", "total_files_size", "total_records"):
                assert response[total] == int(snapshot.summary[total.replace("_", "-")] or "")
            written = int(snapshot.summary["added-files-size"] or 0)
            assert (name, response["added_files_size"]) == (name, written)
            assert response["added_files"] == (1 if written else 0)
