"""What SQL names and changes, from its words alone."""

from __future__ import annotations

import pytest

from floe_iceberg.statements import candidates, chains, changes, with_database


@pytest.mark.parametrize(
    ("sql", "chain"),
    [
        ('select "ä" from "Größe"."t é" -- from a.b', ("Größe", "t é")),
        ("select 'ö' from ünï.tab", ("ünï", "tab")),
        ('select 1 from "a""b".c', ('a"b', "c")),
        ("select $$ from x.y $$ from s.t /* from v.w */", ("s", "t")),
        ("select 1 from s . t", ("s", "t")),
    ],
)
def test_names_are_found_in_any_spelling(sql: str, chain: tuple[str, ...]) -> None:
    found = chains(sql)
    assert chain in found
    assert not found & {("a", "b"), ("x", "y"), ("v", "w")}


@pytest.mark.parametrize("sql", ["", "  \n", "-- only a comment"])
def test_text_without_a_statement_names_nothing(sql: str) -> None:
    assert chains(sql) == set()
    assert changes(sql) is None


def test_parts_of_long_names_are_candidates() -> None:
    assert {("d", "s", "t"), ("s", "t"), ("d",)} <= candidates("select d.s.t.c from d.s.t")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("insert into s.t values (1)", ("insert", ("s", "t"))),
        ("INSERT OR IGNORE INTO t SELECT 1", ("insert", ("t",))),
        ("with c as (select 1) insert into s.t select * from c", ("insert", ("s", "t"))),
        ('delete from "Ümläut"."t é" where x in (select 1)', ("delete", ("Ümläut", "t é"))),
        ("update only s.t as x set a = 1", ("update", ("s", "t"))),
        (
            "merge into d.s.t as d using x on (1=1) when matched then delete",
            ("merge", ("d", "s", "t")),
        ),
        ("truncate table s.t", ("truncate", ("s", "t"))),
        ("copy t (a, b) from 'x'", ("copy", ("t",))),
        ("copy t to 'x'", ("select", None)),
        ("explain delete from t", ("select", None)),
        ("drop table if exists s.t", ("drop table", ("s", "t"))),
        ("drop view s.v", ("drop view", ("s", "v"))),
        ("drop schema if exists d.s cascade", ("drop schema", ("d", "s"))),
        ("drop macro m", ("select", None)),
        ("alter table s.t add column c int", ("alter table", ("s", "t"))),
        ("with copy as (select 1 as delete_me) select * from copy", ("copy", None)),
    ],
)
def test_a_statement_is_known_by_its_verb_and_table(
    sql: str, expected: tuple[str, tuple[str, ...] | None]
) -> None:
    found = changes(sql)
    assert found is not None
    (change,) = found
    if expected == ("copy", None):
        assert change.verb == "select" or change.target not in {("copy",), None}
    else:
        assert (change.verb, change.target) == expected


def test_several_statements_are_divided() -> None:
    found = changes("select ';' as x; -- ü;\ndelete from t; insert into t values ($$;$$);")
    assert found is not None
    assert [(c.verb, c.target) for c in found] == [
        ("select", None),
        ("delete", ("t",)),
        ("insert", ("t",)),
    ]


@pytest.mark.parametrize("sql", ["select 1 -- delete from t", "create table x as select 1", "drop"])
def test_other_statements_change_nothing(sql: str) -> None:
    assert changes(sql) is None


def test_only_tables_move_to_another_database() -> None:
    sql = 'select "db"."id", \'"db".a.b\' from "db"."main"."t" -- "db".x.y\njoin DB.s.t2 as "db"'
    moved = (
        'select "db"."id", \'"db".a.b\' from "neu ö"."main"."t" -- "db".x.y\n'
        'join "neu ö".s.t2 as "db"'
    )
    assert with_database(sql, "db", "neu ö") == moved
    assert with_database(moved, "neu ö", "db") == sql.replace("DB.s", '"db".s')
