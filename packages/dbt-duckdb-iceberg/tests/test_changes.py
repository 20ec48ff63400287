"""SQL of hooks and operations on Iceberg tables, and contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import SCHEMA, Project, create


def operation(project: Project, sql: str, *, fails: bool = False) -> str:
    project.write(
        {"macros/op.sql": f"{{% macro op() %}}{{% do run_query({sql!r}) %}}{{% endmacro %}}"}
    )
    return project.dbt("run-operation", "op", fails=fails).output


@pytest.fixture
def items(project: Project) -> Project:
    project.write({"items": "select range as id, 'x' as name from range(3)"})
    project.dbt("run")
    return project


STATEMENTS: list[tuple[str, list[int]]] = [
    ("insert into shop.{t} values (3, 'ö'), (4, null)", [0, 1, 2, 3, 4]),
    ("insert into shop.{t} select id + 10, name from shop.{t}", [0, 1, 2, 10, 11, 12]),
    ('with n as (select 7 as id) insert into "shop"."{t}" (id) select id from n', [0, 1, 2, 7]),
    ("update shop.{t} set id = id + 1 -- all\n", [1, 2, 3]),
    ("delete from scratch.shop.{t} using (select 1 as i) as x where id = x.i", [0, 2]),
    ("delete from shop.{t}; insert into shop.{t} values (9, $$; delete$$)", [9]),
    ("truncate table shop.{t}", []),
    (
        "merge into shop.{t} as t using (select 1 as id) as s on t.id = s.id"
        " when matched then delete",
        [0, 2],
    ),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> Project:
    """A table for each statement."""
    project = create(tmp_path_factory.mktemp("statements") / "shop", parsed)
    same = "select range as id, 'x' as name from range(3)"
    project.write({f"t{number}": same for number in range(len(STATEMENTS))})
    project.dbt("run")
    return project


@pytest.mark.parametrize("number", range(len(STATEMENTS)), ids=lambda n: STATEMENTS[n][0])
def test_rows_are_changed_by_sql(tables: Project, number: int) -> None:
    sql, expected = STATEMENTS[number]
    operation(tables, sql.replace("{t}", f"t{number}"))
    assert tables.rows(f"t{number}", "id") == [(n,) for n in expected]


def test_rows_that_sql_changed_are_there_without_the_file_of_duckdb(items: Project) -> None:
    operation(items, "update shop.items set id = id + 1")
    items.forget_duckdb()
    assert [row["id"] for row in items.show("select id from {{ ref('items') }} order by 1")] == [
        1,
        2,
        3,
    ]


def test_an_insert_reads_its_own_table_by_a_view(project: Project) -> None:
    project.write(
        {
            "items": "select range as id, 'x' as name from range(3)",
            "seen": "{{ config(materialized='view') }} select * from {{ ref('items') }}",
        }
    )
    project.dbt("run")
    operation(project, "insert into shop.items (id) select max(id) + 1 from shop.seen")
    assert project.rows("items", "id") == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("alter table shop.items add column x int", "ALTER of DuckDB does not reach it"),
        ("drop view shop.items", "is an Iceberg table, not a view"),
        ("insert into shop.items values ('no')", "2 columns"),
        ("delete from shop.items where no_such = 1", "no_such"),
        ("drop schema shop", "has 1 Iceberg tables"),
    ],
)
def test_what_cannot_be_done_says_so_and_changes_nothing(
    items: Project, sql: str, expected: str
) -> None:
    assert expected in operation(items, sql, fails=True)
    assert items.rows("items", "id") == [(0,), (1,), (2,)]
    assert items.snapshots("items") == 1


def test_a_temporary_table_goes_before_a_model_of_its_name(project: Project) -> None:
    project.set_profile(schema="main")
    project.write({"items": "select 1 as id"})
    project.dbt("run")
    operation(
        project, "create temp table items as select 5 as id; delete from items; select 1 as one"
    )
    assert project.rows("main.items") == [(1,)]


def test_tables_and_schemas_are_dropped_by_sql(items: Project) -> None:
    items.write({"v": "{{ config(materialized='view') }} select id from {{ ref('items') }}"})
    items.dbt("run", "-s", "v")
    operation(items, "drop view shop.v")
    assert items.rows("dbt_stored_views") == []
    operation(items, "drop table if exists shop.items")
    assert not items.has_table("items")
    items.dbt("run")
    operation(items, "drop schema shop cascade")
    assert not items.catalog.namespace_exists(SCHEMA)
    items.dbt("run")


def test_hooks_read_and_write(project: Project) -> None:
    project.write(
        {
            "log": "select 'made' as what, 0::bigint as n",
            "m": (
                "{{ config(pre_hook=\"insert into {{ ref('log') }} values ('before', 0)\","
                ' post_hook=["select count(*) from {{ this }}",'
                " \"insert into {{ ref('log') }} select 'after', count(*) from {{ this }}\"]) }}"
                " select range as id from range(4)"
            ),
        }
    )
    project.dbt("run")
    assert project.rows("log") == [("after", 4), ("before", 0), ("made", 0)]


CONTRACT = """
models:
  - name: m
    config: {contract: {enforced: true}}
    constraints:
      - {type: check, expression: "id > 0"}
    columns:
      - name: id
        data_type: integer
        constraints: [{type: not_null}, {type: primary_key}]
      - {name: name, data_type: varchar}
"""


@pytest.mark.parametrize("kind", ["table", "incremental"])
def test_a_contract_refuses_null(project: Project, kind: str) -> None:
    config = f"{{{{ config(materialized='{kind}', on_schema_change='append_new_columns') }}}}"
    project.write({"models/schema.yml": CONTRACT, "m": f"{config} select 'a' as name, 1 as id"})
    outcome = project.dbt("run")
    assert "primary_key" in outcome.output
    assert "not supported" in outcome.output
    project.write({"m": f"{config} select null::integer as id, 'b' as name"})
    outcome = project.dbt("run", fails=True)
    assert (
        "column id may not be null, and is in 1 row; nothing was written" in outcome.messages["m"]
    )
    assert project.rows("m", "id, name") == [(1, "a")]
    assert project.snapshots("m") == 1


def test_a_contract_refuses_another_type(project: Project) -> None:
    project.write({"models/schema.yml": CONTRACT, "m": "select 'one' as id, 'a' as name"})
    assert "contract that failed" in project.dbt("run", fails=True).messages["m"]
    assert not project.has_table("m")
