"""Incremental models: each strategy, its keys, and what happens to columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Project, create

BASE = "select 1 as id, 'a' as name union all select 2, 'b' union all select null, 'n'"
NEXT = "select 2 as id, 'B' as name union all select 3, 'c' union all select null, 'm'"


def model(config: str, first: str = BASE, then: str = NEXT) -> str:
    return (
        f"{{{{ config(materialized='incremental', {config}) }}}}\n"
        f"{{% if is_incremental() %}} {then} {{% else %}} {first} {{% endif %}} -- end"
    )


def run_twice(project: Project, config: str, first: str = BASE, then: str = NEXT) -> None:
    project.write({"m": model(config, first, then)})
    project.dbt("run")
    project.forget_duckdb()
    assert project.dbt("run").responses["m"]["rows_affected"] > 0


OLD_AND_NEW = [(1, "a"), (2, "B"), (3, "c"), (None, "m"), (None, "n")]


STRATEGIES: list[tuple[str, list[tuple[object, ...]]]] = [
    (
        "incremental_strategy='append'",
        [(1, "a"), (2, "B"), (2, "b"), (3, "c"), (None, "m"), (None, "n")],
    ),
    ("unique_key='id'", OLD_AND_NEW),
    ("unique_key=['id']", OLD_AND_NEW),
    ("unique_key='coalesce(id, 0)'", [(1, "a"), (2, "B"), (3, "c"), (None, "m")]),
    (
        "unique_key=['id', 'name']",
        [(1, "a"), (2, "B"), (2, "b"), (3, "c"), (None, "m"), (None, "n")],
    ),
    ("incremental_strategy='merge', unique_key='id'", OLD_AND_NEW),
    (
        "incremental_strategy='merge', merge_on_using_columns=['id']",
        OLD_AND_NEW,
    ),
    (
        "incremental_strategy='merge', unique_key='id', merge_update_condition=\"false\"",
        [(1, "a"), (2, "b"), (3, "c"), (None, "m"), (None, "n")],
    ),
    (
        "incremental_strategy='merge', unique_key='id', merge_insert_condition='false'",
        [(1, "a"), (2, "B"), (None, "n")],
    ),
    (
        "incremental_strategy='merge', unique_key='id', merge_exclude_columns=['name']",
        [(1, "a"), (2, "b"), (3, "c"), (None, "m"), (None, "n")],
    ),
    (
        "incremental_strategy='merge', unique_key='id',"
        " merge_update_set_expressions={'name': \"DBT_INTERNAL_DEST.name || 'x'\"}",
        [(1, "a"), (2, "bx"), (3, "c"), (None, "m"), (None, "n")],
    ),
    (
        "incremental_strategy='merge', unique_key='id', merge_clauses={"
        "'when_matched': [{'action': 'delete'}],"
        "'when_not_matched': [{'action': 'insert', 'mode': 'by_name'},"
        " {'by': 'source', 'action': 'delete'}]}",
        [(3, "c"), (None, "m")],
    ),
    (
        "unique_key='id', incremental_predicates=[\"name <> 'b'\"]",
        [(1, "a"), (2, "B"), (2, "b"), (3, "c"), (None, "m"), (None, "n")],
    ),
    ("incremental_strategy='insert_overwrite'", [(2, "B"), (3, "c"), (None, "m")]),
    (
        "incremental_strategy='insert_overwrite', partition_by='id'",
        [(1, "a"), (2, "B"), (3, "c"), (None, "m")],
    ),
]


@pytest.fixture(scope="module")
def strategies(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> Project:
    """A model of each strategy, built and then built again without the file of DuckDB."""
    project = create(tmp_path_factory.mktemp("strategies") / "shop", parsed)
    project.write({f"m{n}": model(config) for n, (config, _) in enumerate(STRATEGIES)})
    project.dbt("run")
    project.forget_duckdb()
    outcome = project.dbt("run")
    assert all(response["rows_affected"] > 0 for response in outcome.responses.values())
    return project


@pytest.mark.parametrize("number", range(len(STRATEGIES)), ids=lambda n: STRATEGIES[n][0])
def test_strategies(strategies: Project, number: int) -> None:
    _, expected = STRATEGIES[number]
    assert strategies.rows(f"m{number}") == expected
    assert strategies.snapshots(f"m{number}") == 2


def test_a_strategy_of_the_project_sees_all_rows(project: Project) -> None:
    project.write(
        {
            "macros/halve.sql": (
                "{% macro get_incremental_halve_sql(args) %}"
                "delete from {{ args.target_relation }} where id = 1;"
                "insert into {{ args.target_relation }} select * from {{ args.temp_relation }}"
                "{% endmacro %}"
            )
        }
    )
    run_twice(project, "incremental_strategy='halve'")
    assert project.rows("m") == [(2, "B"), (2, "b"), (3, "c"), (None, "m"), (None, "n")]


def test_a_strategy_that_does_not_exist(project: Project) -> None:
    project.write({"m": model("incremental_strategy='upsert'")})
    assert "upsert" in project.dbt("run", fails=True).messages["m"]


def test_a_clause_that_raises_writes_nothing(project: Project) -> None:
    project.write(
        {
            "m": model(
                "incremental_strategy='merge', unique_key='id', merge_clauses={"
                "'when_matched': [{'action': 'error', 'error_message': 'twice'}]}"
            )
        }
    )
    project.dbt("run")
    assert "twice" in project.dbt("run", fails=True).messages["m"]
    assert len(project.rows("m")) == 3


MORE = "select 2 as id, 'B' as name, 2.5 as price"
FEWER = "select 2 as id"
OTHER = "select 2 as id, 7 as name"
WIDER = "select 2::bigint as id, 'B' as name"


CHANGES: list[tuple[str, str, list[str], list[tuple[object, ...]]]] = [
    ("ignore", MORE, ["id", "name"], [(1, "a"), (2, "B"), (None, "n")]),
    (
        "append_new_columns",
        MORE,
        ["id", "name", "price"],
        [(1, "a", None), (2, "B", 2.5), (None, "n", None)],
    ),
    ("append_new_columns", FEWER, ["id", "name"], [(1, "a"), (2, None), (None, "n")]),
    (
        "sync_all_columns",
        MORE,
        ["id", "name", "price"],
        [(1, "a", None), (2, "B", 2.5), (None, "n", None)],
    ),
    ("sync_all_columns", FEWER, ["id"], [(1,), (2,), (None,)]),
    ("sync_all_columns", WIDER, ["id", "name"], [(1, "a"), (2, "B"), (None, "n")]),
]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> Project:
    """A model of each change of columns, with two strategies, built twice."""
    project = create(tmp_path_factory.mktemp("changed") / "shop", parsed)
    for n, (change, then, _, _) in enumerate(CHANGES):
        for name, strategy in (("keyed", "delete+insert"), ("merged", "merge")):
            config = (
                f"unique_key='id', incremental_strategy='{strategy}', on_schema_change='{change}'"
            )
            project.write({f"{name}{n}": model(config, then=then)})
    project.dbt("run")
    project.forget_duckdb()
    outcome = project.dbt("run", fails=True)
    # As in dbt-duckdb, whose MERGE takes columns by name: it says so, and writes nothing.
    assert {name for name, status in outcome.statuses.items() if status == "error"} == {"merged0"}
    assert "price" in outcome.messages["merged0"]
    return project


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_columns_come_and_go(changed: Project, number: int) -> None:
    _, _, columns, expected = CHANGES[number]
    table = f"keyed{number}"
    assert [f.name for f in changed.table(table).schema().fields] == columns
    assert changed.rows(table, ", ".join(columns)) == expected
    assert changed.snapshots(table) == 2


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_columns_come_and_go_with_merge(changed: Project, number: int) -> None:
    change, then, columns, expected = CHANGES[number]
    if change == "append_new_columns" and then == FEWER:
        expected = [(1, "a"), (2, "b"), (None, "n")]
    table, is_refused = f"merged{number}", change == "ignore"
    assert [f.name for f in changed.table(table).schema().fields] == columns
    if is_refused:
        expected = [(1, "a"), (2, "b"), (None, "n")]
    assert changed.rows(table, ", ".join(columns)) == expected
    assert changed.snapshots(table) == (1 if is_refused else 2)


def test_a_changed_type_keeps_the_old_values(project: Project) -> None:
    first = "select 1 as id, 10 as n, 'x' as gone union all select 2, 20, 'y'"
    then = "select 3 as id, 'thirty' as n, 1.5 as price"
    strategies = {"added": "append", "keyed": "delete+insert", "merged": "merge"}
    for name, strategy in strategies.items():
        config = f"incremental_strategy='{strategy}', on_schema_change='sync_all_columns'"
        project.write({name: model(f"unique_key='id', {config}", first, then)})
    project.dbt("run")
    project.forget_duckdb()
    project.dbt("run")
    for name in strategies:
        assert project.rows(name, "id, n, price") == [
            (1, "10", None),
            (2, "20", None),
            (3, "thirty", 1.5),
        ]
        assert [f.name for f in project.table(name).schema().fields] == ["id", "n", "price"]
        assert project.snapshots(name) == 2


def test_a_type_that_old_values_do_not_fit_writes_nothing(project: Project) -> None:
    config = "unique_key='id', on_schema_change='sync_all_columns'"
    project.write({"m": model(config, "select 1 as id, 'x' as n", "select 2 as id, 5 as n")})
    project.dbt("run")
    assert "Could not convert" in project.dbt("run", fails=True).messages["m"]
    assert project.rows("m") == [(1, "x")]


def test_changed_columns_fail_where_that_is_asked_for(project: Project) -> None:
    project.write({"m": model("on_schema_change='fail'", then=MORE)})
    project.dbt("run")
    outcome = project.dbt("run", fails=True)
    assert "out of sync" in outcome.messages["m"]
    assert len(project.rows("m")) == 3


def test_partitions_are_overwritten_with_another_column(project: Project) -> None:
    config = (
        "incremental_strategy='insert_overwrite', partition_by='id',"
        " on_schema_change='append_new_columns'"
    )
    run_twice(project, config, then=MORE)
    assert project.rows("m") == [(1, "a", None), (2, "B", 2.5), (None, "n", None)]


def test_a_changed_type_does_not_go_with_partitions(project: Project) -> None:
    config = (
        "incremental_strategy='insert_overwrite', partition_by='id',"
        " on_schema_change='sync_all_columns'"
    )
    project.write({"m": model(config, then=OTHER)})
    project.dbt("run")
    assert "run the model with --full-refresh" in project.dbt("run", fails=True).messages["m"]
    assert len(project.rows("m")) == 3


@pytest.mark.parametrize("concurrent", [True, False])
def test_microbatches(project: Project, concurrent: bool) -> None:
    project.write(
        {
            "events": (
                "{{ config(event_time='ts') }}"
                " select range as id, timestamp '2026-01-01' + to_hours(range * 6) as ts"
                " from range(20)"
            ),
            "m": (
                "{{ config(materialized='incremental', incremental_strategy='microbatch',"
                f" event_time='ts', batch_size='day', begin='2026-01-01',"
                f" concurrent_batches={concurrent}, partition_by='day(ts)') }}}}"
                " select id, ts, '{{ run_started_at }}' as run from {{ ref('events') }}"
            ),
        }
    )
    span = ("--event-time-start", "2026-01-01", "--event-time-end", "2026-01-06")
    project.dbt("run", *span)
    assert project.rows("m", "id") == [(n,) for n in range(20)]
    project.forget_duckdb()
    project.dbt(
        "run", "-s", "m", "--event-time-start", "2026-01-02", "--event-time-end", "2026-01-04"
    )
    assert project.rows("m", "id") == [(n,) for n in range(20)]
    runs = project.rows("m", "run, id")
    assert len({run for run, _ in runs}) == 2
    assert sum(run == runs[-1][0] for run, _ in runs) == 8


def test_snapshots_keep_what_was(project: Project) -> None:
    project.write(
        {
            "src": "select 1 as id, 'a' as name union all select 2, 'b'",
            "snapshots/s.sql": (
                "{% snapshot s %}{{ config(unique_key='id', strategy='check', check_cols='all',"
                " hard_deletes='invalidate') }} select * from {{ ref('src') }} {% endsnapshot %}"
            ),
        }
    )
    project.dbt("build")
    project.write({"src": "select 1 as id, 'A' as name, 3 as extra union all select 3, 'c', 4"})
    project.forget_duckdb()
    project.dbt("build")
    assert project.rows("s", "id, name, extra, dbt_valid_to is null") == [
        (1, "A", 3, True),
        (1, "a", None, False),
        (2, "b", None, False),
        (3, "c", 4, True),
    ]
    project.forget_duckdb()
    project.dbt("snapshot")
    assert len(project.rows("s")) == 4


def test_snapshots_by_timestamp_keep_what_was(project: Project) -> None:
    def snapshot(name: str, config: str) -> str:
        return (
            f"{{% snapshot {name} %}}{{{{ config(unique_key=['id', 'kind'], strategy='timestamp',"
            f" updated_at='seen', {config}) }}}} select * from {{{{ ref('src') }}}}"
            " {% endsnapshot %}"
        )

    first = "select 1 as id, 'k' as kind, 'a' as name, timestamp '2026-01-01' as seen"
    project.write(
        {
            "src": f"{first} union all select 2, 'k', 'b', timestamp '2026-01-01'",
            "snapshots/ignored.sql": snapshot("ignored", "hard_deletes='ignore'"),
            "snapshots/invalid.sql": snapshot("invalid", "hard_deletes='invalidate'"),
            "snapshots/marked.sql": snapshot("marked", "hard_deletes='new_record'"),
        }
    )
    project.dbt("build")
    project.write(
        {"src": "select 1 as id, 'k' as kind, 'A' as name, timestamp '2026-02-01' as seen"}
    )
    for _ in range(2):
        project.forget_duckdb()
        project.dbt("build")
    columns = "id, name, dbt_valid_to IS NULL"
    assert project.rows("ignored", columns) == [(1, "A", True), (1, "a", False), (2, "b", True)]
    assert project.rows("invalid", columns) == [(1, "A", True), (1, "a", False), (2, "b", False)]
    assert project.rows("marked", f"{columns}, dbt_is_deleted") == [
        (1, "A", True, "False"),
        (1, "a", False, "False"),
        (2, "b", False, "False"),
        (2, "b", True, "True"),
    ]
    assert project.snapshots("marked") == 3
