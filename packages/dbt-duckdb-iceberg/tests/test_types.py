"""Every type of DuckDB goes through a model, or is refused by the column's name."""

from __future__ import annotations

import duckdb
import pytest

from floe_iceberg.inspection import columns_of

from .conftest import Project

VALUES = {
    "BIGINT": "9223372036854775807",
    "BIGNUM": "'1267650600228229401496703205376'::BIGNUM",
    "BIT": "'0101'::BIT",
    "BLOB": "'\\x00\\xFF'::BLOB",
    "BOOLEAN": "true",
    "DATE": "DATE '1969-12-31'",
    "DECIMAL": "0.0001::DECIMAL(9, 4)",
    "DOUBLE": "'nan'::DOUBLE",
    "ENUM": "'b'::ENUM('a', 'b')",
    "FLOAT": "'-inf'::FLOAT",
    "HUGEINT": f"{'9' * 38}::HUGEINT",
    "INTEGER": "'-2147483648'::INTEGER",
    "INTERVAL": "INTERVAL '14 months -3 days 04:05:06.123456'",
    "JSON": "'{\"a\": [1, null]}'::JSON",
    "LIST": "[1, NULL, 3]",
    "ARRAY": "[1, NULL, 3]::INTEGER[3]",
    "MAP": "MAP {'a': 1::UBIGINT}",
    "SMALLINT": "32767::SMALLINT",
    "STRUCT": "{'a b': 1::HUGEINT, 'c': '{}'::JSON}",
    "TIME": "TIME '23:59:59.999999'",
    "TIME_NS": "'23:59:59.999999999'::TIME_NS",
    "TIMESTAMP": "TIMESTAMP '1969-12-31 23:59:59.999999'",
    "TIMESTAMP WITH TIME ZONE": "'2024-07-01 00:00:00-03'::TIMESTAMPTZ",
    "TIMESTAMP_MS": "'2500-01-01'::TIMESTAMP_MS",
    "TIMESTAMP_NS": "'1969-12-31 23:59:59.999999'::TIMESTAMP_NS",
    "TIMESTAMP_S": "'1969-12-31 23:59:59'::TIMESTAMP_S",
    "TINYINT": "'-128'::TINYINT",
    "UBIGINT": "18446744073709551615::UBIGINT",
    "UHUGEINT": f"{'9' * 38}::UHUGEINT",
    "UINTEGER": "4294967295::UINTEGER",
    "USMALLINT": "65535::USMALLINT",
    "UTINYINT": "255::UTINYINT",
    "UUID": "'ffffffff-ffff-ffff-8fff-000000000001'::UUID",
    "VARCHAR": "'😀é'",
}
REFUSED = {
    "GEOMETRY": ("NULL::GEOMETRY", "cast it to BLOB (ST_AsWKB) or VARCHAR (ST_AsText)"),
    "TIME WITH TIME ZONE": (
        "'12:00:00+01'::TIMETZ",
        "Iceberg's time has no zone; cast it to TIME or VARCHAR",
    ),
    "UNION": (
        "union_value(a := 1)",
        "Iceberg has no unions; select one of its members, or cast it to VARCHAR",
    ),
    "VARIANT": ("1::VARIANT", "cast it to JSON or VARCHAR"),
}
NO_COLUMN = {"NULL", "TYPE"}
"""What DuckDB lists, and no column of a table can have."""


def test_every_type_of_duckdb_is_here() -> None:
    rows = duckdb.sql("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall()
    assert {name for (name,) in rows} <= VALUES.keys() | REFUSED.keys() | NO_COLUMN


def test_values_of_every_type_come_back_as_they_were(project: Project) -> None:
    columns = ", ".join(f'{value} as "a {kind}"' for kind, value in VALUES.items())
    empty = ", ".join(
        f'case when false then {value} end as "a {kind}"' for kind, value in VALUES.items()
    )
    rows = f"select 1 as id, {columns} union all select 2, {empty}"
    keyed = "{{ config(materialized='incremental', unique_key='id') }}"
    project.write(
        {"t": rows, "i": f"{keyed} {rows}", "o": f"{keyed} select * from {{{{ ref('t') }}}}"}
    )
    project.dbt("run")
    project.forget_duckdb()
    project.dbt("run")
    expected = duckdb.sql(rows)
    shown = ", ".join(f'"{name}"::varchar as "{name}"' for name in expected.columns)
    values = duckdb.sql(f"select {shown} from expected order by id").fetchall()
    for model in "tio":
        assert project.snapshots(model) == 2
        project.forget_duckdb()
        found = project.show(f"select {shown} from {{{{ ref('{model}') }}}} order by id")
        kinds = project.show(f"select column_type from (describe {{{{ ref('{model}') }}}})")
        assert [tuple(map(str, row.values())) for row in found] == [
            tuple(map(str, row)) for row in values
        ]
        assert [row["column_type"] for row in kinds] == [str(kind) for kind in expected.types]


def test_types_that_iceberg_has_not_are_refused(project: Project) -> None:
    for kind, (value, _) in REFUSED.items():
        name = kind.replace(" ", "_").lower()
        project.write({name: f'select 1 as id, {value} as "the {name}"'})
    outcome = project.dbt("run", fails=True)
    for kind, (_, help) in REFUSED.items():
        name = kind.replace(" ", "_").lower()
        message = outcome.messages[name]
        assert f"column the {name} has the type {kind}" in message
        assert message.strip().endswith(f"which an Iceberg table cannot hold; {help}")
        assert not project.has_table(name)


@pytest.mark.parametrize("kind", ["table", "incremental"])
def test_tables_without_rows(project: Project, kind: str) -> None:
    config = f"{{{{ config(materialized='{kind}', unique_key='id', partition_by='id') }}}}"
    project.write(
        {
            "m": f"{config} select 1::hugeint as id, '{{}}'::json as j where false",
            "n": "select count(*) as n, max(id) as top from {{ ref('m') }}",
        }
    )
    project.dbt("run")
    assert project.rows("m") == []
    assert project.rows("n") == [(0, None)]
    project.forget_duckdb()
    project.dbt("run")
    assert project.show("select * from {{ ref('m') }}") == []
    kinds = project.show("select column_type as t from (describe {{ ref('m') }})")
    assert [row["t"] for row in kinds] == ["HUGEINT", "JSON"]


def test_the_types_that_lineage_names_are_those_that_duckdb_reads(project: Project) -> None:
    kinds = ("1::hugeint", "1::utinyint", "'x'::enum('x', 'y')", "{'a b': [1.5::decimal(4, 2)]}")
    columns = ", ".join(f'{kind} as "c {number}"' for number, kind in enumerate(kinds))
    project.write({"t": f"select {columns}, map {{1: 'x'}} as m, now() as at"})
    project.dbt("run")
    read = "select column_name, column_type from (describe select * from {{ ref('t') }})"
    shown = {row["column_name"]: row["column_type"] for row in project.show(read)}
    assert {column.name: column.type for column in columns_of(project.table("t"))} == shown
