from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from floe_dbt.column_lineage import (
    UNKNOWN,
    ColumnLineage,
    InputField,
    Relation,
    read_column_lineage,
)

CASES = Path(__file__).parent / "column_lineage"

TABLES = """
create table orders (
    id int, customer_id int, amount double, status varchar, placed date,
    tags varchar[], address struct(city varchar, zip varchar)
);
insert into orders values
    (1, 1, 10, 'paid', '2026-01-01', ['a', 'b'], {'city': 'Ulm', 'zip': '1'}),
    (2, 1, 20, 'open', '2026-01-02', ['c'], {'city': 'Bonn', 'zip': '2'}),
    (3, 2, 5, 'paid', '2026-01-03', ['a'], {'city': 'Ulm', 'zip': '3'});
create table customers (id int, name varchar, country varchar);
insert into customers values (1, 'Ada', 'DE'), (2, 'Bo', 'SE'), (3, 'Cy', 'DE');
create table returns (order_id int, amount double, reason varchar);
insert into returns values (1, 10, 'late'), (2, 3, 'wrong');
create table maße ("Größe" int, "Straße" varchar);
insert into maße values (1, 'x');
create table odd ("order by" int, "a.b" varchar);
insert into odd values (1, 'x');
"""

CHANGES = {
    "INTEGER": '"{0}" + 1',
    "DOUBLE": '"{0}" + 1',
    "DATE": '"{0}" + 1',
    "VARCHAR": "\"{0}\" || 'x'",
    "VARCHAR[]": "list_transform(\"{0}\", lambda tag: tag || 'x')",
    "STRUCT(city VARCHAR, zip VARCHAR)": 'struct_update("{0}", city := "{0}".city || \'x\')',
}
"""Another value for each value of a type."""

TARGET = Relation("", "", "target")


@dataclass(frozen=True)
class Case:
    name: str
    sql: str
    columns: Mapping[str, str]
    rows: str


def read_cases(file: str) -> list[Case]:
    cases = []
    for block in (CASES / file).read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            name = block.splitlines()[0].removeprefix("# ")
            sql = "\n".join(line for line in lines if " <-" not in line)
            columns = dict(line.split(" <-") for line in lines if " <-" in line)
            columns = {column: fields.strip() for column, fields in columns.items()}
            cases.append(Case(name, sql, columns, columns.pop("*", "")))
    return cases


def parametrize(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def write_fields(fields: tuple[InputField, ...]) -> str:
    return ", ".join(write_field(field) for field in fields)


def write_field(field: InputField) -> str:
    name = f"{field.relation.identifier}.{field.column}"
    ways = "+".join(way.subtype for way in field.transformations)
    return name if ways == "IDENTITY" else f"{name} {ways}"


def write_lineage(lineage: ColumnLineage, columns: Mapping[str, str]) -> dict[str, str]:
    return {
        column: write_fields(lineage.columns[column]) if column in lineage.columns else "?"
        for column in columns
    }


@dataclass(frozen=True)
class World:
    """The tables, in `main` and, with one column changed, in other schemas."""

    connection: duckdb.DuckDBPyConnection
    schemas: Mapping[Relation, Mapping[str, str]]
    changed: Mapping[str, tuple[Relation, str]]

    def run(self, case: Case, schema: str) -> dict[str, Counter[str]] | None:
        """The values of each column; None when these columns are not what the query gives."""
        self.connection.execute(f"set schema = {schema}")
        try:
            rows = self.connection.execute(case.sql).fetchall()
        except duckdb.Error:
            return None
        finally:
            self.connection.execute("set schema = main")
        cells = list(zip(*rows, strict=True)) if rows else [()] * len(case.columns)
        if len(cells) != len(case.columns):
            return None
        return {
            column: Counter(map(repr, values))
            for column, values in zip(case.columns, cells, strict=True)
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    words = tmp_path_factory.mktemp("words") / "words.csv"
    words.write_text("n,w\n1,a\n2,b\n", encoding="utf-8")
    changed = {}
    with duckdb.connect() as connection:
        connection.execute(f"set file_search_path = '{words.parent}'; {TABLES}")
        schemas = read_schemas(connection)
        for relation, columns in schemas.items():
            table = relation.identifier
            for column, type_ in columns.items():
                same = f'(select max("{column}") from {table})'
                for value in (CHANGES[type_].format(column), same):
                    schema = f"changed_{len(changed)}"
                    changed[schema] = (relation, column)
                    connection.execute(f"create schema {schema}; set schema = {schema}; {TABLES}")
                    connection.execute(f'update {table} set "{column}" = {value}')
                    connection.execute("set schema = main")
        yield World(connection, schemas, changed)


def read_schemas(connection: duckdb.DuckDBPyConnection) -> dict[Relation, dict[str, str]]:
    schemas: dict[Relation, dict[str, str]] = {}
    rows = connection.execute(
        "select table_name, column_name, data_type from duckdb_columns()"
        " where schema_name = 'main' and not internal"
    ).fetchall()
    for table, column, type_ in rows:
        schemas.setdefault(Relation("", "", table), {})[column] = type_
    return schemas


@parametrize(read_cases("duckdb.txt"))
def test_columns_of_duckdb(case: Case, world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.connection.execute(f"create or replace table target as {case.sql}")
    columns = [name for name, *_ in world.connection.execute("describe target").fetchall()]
    world.connection.execute("drop table target")
    assert columns == list(case.columns)
    lineage = read_column_lineage(case.sql, "duckdb", world.schemas, TARGET, columns)
    assert write_lineage(lineage, case.columns) == case.columns
    assert write_fields(lineage.dataset) == case.rows
    assert caplog.records == []


NUMBER_OF_ROWS = {
    *("generate_series of a column", "UNNEST in FROM", "UNNEST in SELECT", "split", "unnest twice"),
}
"""Cases in which a value says how many rows are made, for which OpenLineage has no word."""

ROWS_NOT_KNOWN = {"UNPIVOT beside a table"}
"""Cases in which not all is known that decides on the rows."""


@parametrize(
    [case for case in read_cases("duckdb.txt") if case.name not in NUMBER_OF_ROWS | ROWS_NOT_KNOWN]
)
def test_a_column_depends_on_nothing_else(case: Case, world: World) -> None:
    """Its values stay as they are when a column changes that it is not said to come from."""
    lineage = read_column_lineage(case.sql, "duckdb", world.schemas, TARGET, list(case.columns))
    before, again = world.run(case, "main"), world.run(case, "main")
    assert before is not None
    assert again is not None
    for schema, changed in world.changed.items():
        others = [
            name
            for name, fields in lineage.columns.items()
            if before[name] == again[name]
            and changed not in {(at.relation, at.column) for at in (*fields, *lineage.dataset)}
        ]
        if others and changed[0].identifier in case.sql.lower():
            after = world.run(case, schema)
            for name in others if after else ():
                assert after[name] == before[name], changed


ORDERS = {
    "id": "int",
    "customer_id": "int",
    "amount": "double",
    "status": "varchar",
    "placed": "date",
    "tags": "array<varchar>",
    "items": "json",
    "address": "struct",
}
PAYMENTS = {"order_id": "int", "amount": "double", "method": "varchar", "paid_at": "date"}


@parametrize(read_cases("dialects.txt"))
def test_columns_of_other_databases(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    dialect = case.name.split(":")[0]
    fold = str.upper if dialect == "snowflake" else str.lower
    schemas = {
        Relation(fold(database), fold(schema), fold(table)): {
            fold(column): type_ for column, type_ in columns.items()
        }
        for database, schema in (("", ""), ("", "public"), ("shop", "main"))
        for table, columns in (("orders", ORDERS), ("payments", PAYMENTS))
    }
    schemas[Relation("", "", fold("quoted"))] = dict.fromkeys(("Id", "Customer Id", "lower"), "int")
    lineage = read_column_lineage(case.sql, dialect, schemas, TARGET, list(case.columns))
    assert write_lineage(lineage, case.columns) == case.columns
    assert write_fields(lineage.dataset) == case.rows
    assert caplog.records == []


def read(
    sql: str,
    schemas: Mapping[Relation, Mapping[str, str]],
    columns: str,
    *,
    dialect: str = "duckdb",
    target: Relation = TARGET,
) -> dict[str, str]:
    names = columns.split()
    lineage = read_column_lineage(sql, dialect, schemas, target, names)
    return write_lineage(lineage, dict.fromkeys(names, ""))


RAW = Relation("lake", "raw", "orders")
SHOP = {RAW: {"Id": "int", "amount": "int"}, Relation("lake", "marts", "orders"): {"id": "int"}}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('select id from "lake"."raw"."orders"', "orders.Id"),
        ("select Id from LAKE.Raw.ORDERS", "orders.Id"),
        ("select lake.raw.orders.id from lake.raw.orders", "orders.Id"),
        ("select raw.orders.id from lake.raw.orders", "?"),
        ("select id from raw.orders", "?"),
        ("select id from orders", "?"),
        ("select id from pond.raw.orders", "?"),
        (
            "with orders as (select amount as id from lake.raw.orders) select id from orders",
            "orders.amount",
        ),
        (
            "with orders as (select amount as id from lake.raw.orders)"
            " select lake.raw.orders.id from lake.raw.orders, orders",
            "?",
        ),
    ],
)
def test_a_relation_is_the_one_with_the_same_parts(sql: str, expected: str) -> None:
    assert read(sql, SHOP, "id") == {"id": expected}


def test_iceberg_is_duckdb() -> None:
    sql = 'from "lake"."raw"."orders" select amount'
    assert read(sql, SHOP, "amount", dialect="duckdb_iceberg") == {"amount": "orders.amount"}


def test_names_that_differ_in_case_alone_are_told_apart_where_the_database_does() -> None:
    schemas = {
        Relation("", "", "orders"): {"id": "int", "Id": "int"},
        Relation("", "", "Orders"): {"other": "int"},
    }
    sql = 'select "Id" as "A", id as a, (select max(other) from "Orders") as b from orders'
    assert read(sql, schemas, "A a b", dialect="postgres") == {
        "A": "orders.Id",
        "a": "orders.id",
        "b": "Orders.other AGGREGATION",
    }
    assert read("select id from orders", schemas, "id", dialect="trino") == {"id": "?"}


@pytest.mark.parametrize(
    ("given", "sql", "expected"),
    [
        ("orders", "shop.raw.orders", "orders.ID"),
        ("ORDERS", "shop.raw.orders", "ORDERS.ID"),
        ("orders", 'shop.raw."orders"', "orders.ID"),
        ("ORDERS", 'shop.raw."orders"', "?"),
        ("Orders", 'shop.raw."orders"', "?"),
    ],
)
def test_a_relation_may_be_given_as_it_is_written_without_quotes(
    given: str, sql: str, expected: str
) -> None:
    schemas = {Relation("shop", "raw", given): {"ID": "int"}}
    assert read(f"select id from {sql}", schemas, "ID", dialect="snowflake") == {"ID": expected}


def test_only_columns_that_the_table_has_are_named() -> None:
    lineage = read_column_lineage(
        "select id, amount from lake.raw.orders", "duckdb", SHOP, TARGET, ["valid_from", "AMOUNT"]
    )
    assert list(lineage.columns) == ["AMOUNT"]


INCREMENTAL = """
select o.id, o.amount, t.first_seen, coalesce(t.total, 0) + o.amount as total
from lake.raw.orders o left join "lake"."main"."totals" t on t.id = o.id
where o.id > (select max(id) from "lake"."main"."totals")
"""


@pytest.mark.parametrize("has_schema", [True, False])
def test_a_table_is_no_source_of_itself(has_schema: bool) -> None:
    totals = Relation("lake", "main", "totals")
    columns = "id amount first_seen total"
    schemas = SHOP | {totals: dict.fromkeys(columns.split(), "int")} if has_schema else SHOP
    assert read(INCREMENTAL, schemas, columns, target=totals) == {
        "id": "orders.Id",
        "amount": "orders.amount",
        "first_seen": "?",
        "total": "orders.amount TRANSFORMATION",
    }
    lineage = read_column_lineage(INCREMENTAL, "duckdb", schemas, totals, columns.split())
    assert write_fields(lineage.dataset) == "orders.Id JOIN+FILTER"


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("", "duckdb"),
        ("select id from (", "duckdb"),
        ("select 'id from orders", "duckdb"),
        ("create table x as select id from lake.raw.orders", "duckdb"),
        ("select id from lake.raw.orders; select 1", "duckdb"),
        ("select id from lake.raw.orders", "clickhouse"),
        ("select id from lake.raw.orders", "no such adapter"),
        (f"select {'(' * 101}id{')' * 101} from lake.raw.orders", "duckdb"),
        (f"select {'(' * 90000}", "duckdb"),
        (f"select id from lake.raw.orders where {'not ' * 5000} true", "duckdb"),
        (f"select id{'[1]' * 2000} as id from lake.raw.orders", "duckdb"),
        (f"select id, '{'x' * 200_000}' from lake.raw.orders", "duckdb"),
        (f"select {' + '.join(['id'] * 20_000)} as id from lake.raw.orders", "duckdb"),
        (" union all ".join(["select id from lake.raw.orders"] * 1_500), "duckdb"),
        ("select id from (select * from lake.raw.orders a, nothing b where a.c = b.d", "duckdb"),
    ],
    ids=range(15),
)
def test_what_is_not_understood_gives_nothing(
    sql: str, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert read_column_lineage(sql, dialect, SHOP, TARGET, ["id"]) == UNKNOWN
    (record,) = caplog.records
    assert record.levelname == "DEBUG"
    assert "lake" not in record.getMessage()


def test_stars_for_too_many_columns_give_nothing() -> None:
    wide = {RAW: {f"c{number}": "int" for number in range(5000)}}
    sql = "with a as (select * from lake.raw.orders), b as (select * from a) select * from b"
    assert read(sql, wide, "c1") == {"c1": "orders.c1"}
    assert read(sql + " union all select * from b" * 10, wide, "c1") == {"c1": "?"}


def test_counting_rows_is_no_star() -> None:
    wide = {RAW: {f"c{number}": "int" for number in range(1000)}}
    counts = ", ".join(
        f"count(*) filter (where c{number} > 0) as n{number}" for number in range(99)
    )
    sql = f"select {counts} from lake.raw.orders"
    assert read(sql, wide, "n7") == {"n7": "orders.c7 CONDITIONAL"}


def test_aliases_that_build_on_each_other_do_not_grow() -> None:
    doubled = ", ".join(f"a{number} + a{number} as a{number + 1}" for number in range(60))
    sql = f"select amount as a0, {doubled} from lake.raw.orders"
    assert read(sql, SHOP, "a60") == {"a60": "orders.amount TRANSFORMATION"}


def test_sqlglot_may_warn_of_what_others_read(caplog: pytest.LogCaptureFixture) -> None:
    assert read("from lake.raw.orders select id", SHOP, "id") == {"id": "orders.Id"}
    logging.getLogger("sqlglot").warning("of another")
    assert caplog.messages == ["of another"]
