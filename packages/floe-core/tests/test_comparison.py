"""Each kind of change, in both directions."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from floe_core.comparison import Change, Side, compare
from floe_core.diagnostics import field_name
from floe_core.index import Column, Node, ProjectIndex
from floe_core.provenance import leaves
from floe_core.schemas.artifacts import CompiledArtifacts

SAMPLE = Path(__file__).parent / "contract" / "1.1.0" / "sample.json"
BASE: dict[str, Any] = CompiledArtifacts.model_validate_json(SAMPLE.read_bytes()).model_dump(
    mode="json", exclude_none=True
)


def put(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Set a value; None removes it."""
    at: Any = document
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    if value is None:
        at.pop(path[-1], None)
    else:
        at[path[-1]] = value


def side(
    title: str,
    document: dict[str, Any],
    index: ProjectIndex | None = None,
    root: Path | None = None,
) -> Side:
    artifacts = CompiledArtifacts.model_validate(document)
    return Side(title, artifacts, None if index is None else (index,), root)


def changes(path: tuple[str | int, ...], before: Any, after: Any) -> tuple[Change, ...]:
    documents = copy.deepcopy(BASE), copy.deepcopy(BASE)
    for document, value in zip(documents, (before, after), strict=True):
        put(document, path, value)
    return compare(side("a", documents[0]), side("b", documents[1]))


def test_a_first_further_entry_is_one_change() -> None:
    others = {"storage": {}, "catalogs": {}, "compute": {"big": {"type": "duckdb"}}}
    found = changes(("profiles", "others"), None, others)
    assert [(change.sign, change.kind, change.subject) for change in found] == [
        ("+", "compute.added", "big")
    ]


SCHEDULE = {"name": "hourly", "cron": "@hourly", "timezone": "UTC", "enabled": True}
S3 = {"type": "s3", "bucket": "lake"}
LAYER = {"storage": "default", "catalog": "default", "namespace": "gold"}


@pytest.mark.parametrize(
    ("path", "before", "after", "there", "back"),
    [
        (("identity", "version"), "1.0.0", "1.1.0", "product.version", "product.version"),
        (("version",), "1.0.0", "1.1.0", "contract", "contract"),
        (("metadata", "floe_core_version"), "0.1.0", "0.2.0", "floe", "floe"),
        (("dbt_vars", "start"), None, "2013", "vars", "vars"),
        (("transforms", 0, "layer"), None, "gold", "transform.layer", "transform.layer"),
        (("transforms", 0, "tags"), ["a"], ["a", "b"], "transform.tags", "transform.tags"),
        (
            ("orchestration", "schedules"),
            [],
            [SCHEDULE],
            "schedule.added",
            "schedule.removed",
        ),
        (
            ("orchestration", "schedules"),
            [SCHEDULE],
            [SCHEDULE | {"cron": "@daily"}],
            "schedule.cron",
            "schedule.cron",
        ),
        (
            ("orchestration", "schedules"),
            [SCHEDULE],
            [SCHEDULE | {"timezone": "Europe/Berlin"}],
            "schedule.timezone",
            "schedule.timezone",
        ),
        (
            ("orchestration", "schedules"),
            [SCHEDULE],
            [SCHEDULE | {"enabled": False}],
            "schedule.enabled",
            "schedule.enabled",
        ),
        (
            ("orchestration", "jobs"),
            [],
            [{"name": "all", "select": "*"}],
            "job.added",
            "job.removed",
        ),
        (
            ("orchestration", "sensors"),
            [],
            [{"name": "landed", "type": "file", "path": "in", "job": "all"}],
            "sensor.added",
            "sensor.removed",
        ),
        (
            ("profiles", "compute", "profile", "properties", "memory_limit"),
            "1GB",
            "2GB",
            "compute",
            "compute",
        ),
        (("profiles", "storage"), None, {"name": "x", "profile": S3}, "storage.added", None),
        (("layers",), {}, {"gold": LAYER}, "layer.added", "layer.removed"),
        (
            ("layers",),
            {"gold": LAYER},
            {"gold": LAYER | {"namespace": "g"}},
            "layer.namespace",
            "layer.namespace",
        ),
        (
            ("governance", "policy_enforcement_level"),
            "warn",
            "strict",
            "governance.stricter",
            "governance.looser",
        ),
        (
            ("governance", "pii_encryption"),
            None,
            "required",
            "governance.stricter",
            "governance.looser",
        ),
        (
            ("governance", "pii_encryption"),
            None,
            "optional",
            "governance.changed",
            "governance.changed",
        ),
        (
            ("governance", "data_retention_days"),
            90,
            30,
            "governance.stricter",
            "governance.looser",
        ),
        (
            ("governance", "data_retention_days"),
            None,
            30,
            "governance.stricter",
            "governance.looser",
        ),
        (
            ("quality_config",),
            {"minimum_test_coverage": 10},
            {"minimum_test_coverage": 80},
            "governance.stricter",
            "governance.looser",
        ),
        (
            ("governance", "policies"),
            {},
            {"pii": {"production": {"action": "mask", "requires_role": ["a"]}}},
            "governance.changed",
            "governance.changed",
        ),
        (
            ("column_classifications",),
            {},
            {"orders": {"email": {"classification": "pii"}}},
            "classification.added",
            "classification.removed",
        ),
        (
            ("column_classifications",),
            {"orders": {"email": {"classification": "public"}}},
            {"orders": {"email": {"classification": "pii"}}},
            "classification.classification",
            "classification.classification",
        ),
        (
            ("observability", "otlp_endpoint"),
            "http://a",
            "http://b",
            "observability",
            "observability",
        ),
        (
            ("control_plane",),
            {"api_url": "http://a", "api_key_env": "KEY"},
            {"api_url": "http://b", "api_key_env": "KEY"},
            "field",
            "field",
        ),
    ],
)
def test_a_change_of_the_artifacts(
    path: tuple[str | int, ...], before: Any, after: Any, there: str, back: str | None
) -> None:
    found = changes(path, before, after)
    assert {change.kind for change in found} == {there}
    returned = changes(path, after, before)
    assert {change.kind for change in returned} == {back or there.replace("added", "removed")}
    opposite = {"+": "-", "-": "+", "~": "~"}
    assert [opposite[change.sign] for change in found] == [change.sign for change in returned]
    values = [(change.after, change.before) for change in found]
    assert values == [(change.before, change.after) for change in returned]


ORDERS = Node(
    "model.shop.orders",
    "model",
    "orders",
    "shop",
    "models/orders.sql",
    alias="orders",
    schema="main",
    materialized="view",
    columns=(Column("id", "int"),),
    tags=("mart",),
    code_version="one",
    config={"unique_key": "id"},
)
TEST = Node(
    "test.shop.unique", "test", "unique", "shop", "models/s.yml", severity="error", code_version="t"
)
SEED = Node("seed.shop.raw", "seed", "raw", "shop", "seeds/raw.csv", code_version="s")


def project(*nodes: Node, macros: dict[str, str] | None = None) -> ProjectIndex:
    return ProjectIndex(
        project="dbt",
        name="shop",
        target="dev",
        adapter_type="duckdb",
        dbt_version="1.11.0",
        inputs_hash="",
        nodes={node.unique_id: node for node in nodes},
        macros=macros or {},
    )


def node_changes(before: ProjectIndex, after: ProjectIndex) -> list[tuple[str, str, str | None]]:
    found = compare(side("a", BASE, before), side("b", BASE, after))
    return [(change.sign, change.kind, change.what) for change in found]


@pytest.mark.parametrize(
    ("before", "after", "expected", "back"),
    [
        (project(), project(ORDERS), ("+", "model.added", None), ("-", "model.removed", None)),
        (project(), project(TEST), ("+", "test.added", None), ("-", "test.removed", None)),
        (project(), project(SEED), ("+", "seed.added", None), ("-", "seed.removed", None)),
        (
            project(macros={"m": "1"}),
            project(macros={"m": "2"}),
            ("~", "macro.code", "code"),
            ("~", "macro.code", "code"),
        ),
        (
            project(),
            project(macros={"m": "2"}),
            ("+", "macro.added", None),
            ("-", "macro.removed", None),
        ),
    ],
)
def test_what_comes_and_goes_in_projects(
    before: ProjectIndex, after: ProjectIndex, expected: Any, back: Any
) -> None:
    assert node_changes(before, after) == [expected]
    assert node_changes(after, before) == [back]


@pytest.mark.parametrize(
    ("update", "kind", "what"),
    [
        ({"code_version": "two"}, "model.sql", "sql"),
        ({"materialized": "table"}, "model.materialized", "materialized"),
        ({"schema": "mart"}, "model.schema", "schema"),
        ({"alias": "o"}, "model.alias", "alias"),
        ({"description": "All"}, "model.description", "description"),
        ({"tags": ("mart", "daily")}, "model.tags", "tags"),
        ({"config": {"unique_key": "key"}}, "model.config", "config.unique_key"),
        ({"config": {}}, "model.config", "config.unique_key"),
        ({"depends_on": ("seed.shop.raw",)}, "model.depends_on", "depends_on"),
        ({"original_file_path": "models/x/orders.sql"}, "model.file", "file"),
        ({"columns": (Column("id", "bigint"),)}, "model.column", "column id.data_type"),
    ],
)
def test_a_change_of_a_model(update: dict[str, Any], kind: str, what: str) -> None:
    before, after = project(ORDERS), project(replace(ORDERS, **update))
    assert node_changes(before, after) == [("~", kind, what)]
    assert node_changes(after, before) == [("~", kind, what)]


def test_a_seed_has_data() -> None:
    changed = replace(SEED, code_version="other")
    assert node_changes(project(SEED), project(changed)) == [("~", "seed.data", "data")]


def test_columns_come_and_go() -> None:
    wider = replace(ORDERS, columns=(*ORDERS.columns, Column("total")))
    assert node_changes(project(ORDERS), project(wider)) == [("+", "model.column", "column total")]
    assert node_changes(project(wider), project(ORDERS)) == [("-", "model.column", "column total")]


RENAMED = replace(ORDERS, unique_id="model.shop.sales", name="sales", alias="sales")


def test_a_model_with_the_same_sql_is_renamed() -> None:
    found = compare(side("a", BASE, project(ORDERS)), side("b", BASE, project(RENAMED)))
    assert [(c.kind, c.before, c.after) for c in found] == [("model.renamed", "orders", "sales")]


def test_two_models_with_the_same_sql_are_not_guessed_at() -> None:
    twin = replace(RENAMED, unique_id="model.shop.twin", name="twin", alias="twin")
    kinds = [kind for _, kind, _ in node_changes(project(ORDERS), project(RENAMED, twin))]
    assert kinds == ["model.removed", "model.added", "model.added"]


def placed(transform: str, layer: str) -> dict[str, Any]:
    return {
        "type": "dbt",
        "path": "dbt",
        "target": "dev",
        "name": transform,
        "layer": layer,
        "dbt_project_path": "dbt",
        "nodes": [ORDERS.unique_id],
    }


def test_a_model_moves_between_transforms() -> None:
    before, after = (
        side(name, {**BASE, "transforms": [placed(name, layer)]}, project(ORDERS))
        for name, layer in (("staging", "silver"), ("marts", "gold"))
    )
    found = [(c.kind, c.before, c.after) for c in compare(before, after) if c.group == "models"]
    assert found == [("model.layer", "silver", "gold"), ("model.transform", "staging", "marts")]


def test_sql_is_shown_where_both_texts_are_at_hand(tmp_path: Path) -> None:
    sides = []
    for name, sql in (("a", "select 1\n"), ("b", "select 2\n")):
        file = tmp_path / name / "dbt" / ORDERS.original_file_path
        file.parent.mkdir(parents=True)
        file.write_text(sql)
        index = project(replace(ORDERS, code_version=sql))
        sides.append(side(name, BASE, index, tmp_path / name))
    (change,) = compare(*sides)
    assert change.diff == (
        "--- dbt/models/orders.sql (a)",
        "+++ dbt/models/orders.sql (b)",
        "@@ -1 +1 @@",
        "-select 1",
        "+select 2",
    )
    (without,) = compare(replace(sides[0], root=None), sides[1])
    assert without.diff == ()


def test_without_an_index_the_ids_are_compared() -> None:
    document = {**BASE, "transforms": [placed("marts", "gold")]}
    empty = {**BASE, "transforms": [{**placed("marts", "gold"), "nodes": []}]}
    found = compare(side("a", empty), side("b", document, project(ORDERS)))
    assert [(c.sign, c.kind, c.subject) for c in found] == [("+", "model.added", "orders")]


QUIET = {("metadata", "compiled_at"), ("metadata", "source_hash"), ("metadata", "origin")}
FOLLOWING = {"dbt_manifest_path", "dbt_profiles_path"}
"""Paths that floe makes of the environment and the project."""


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}x"


def changed_leaves() -> list[tuple[str | int, ...]]:
    """Leaves of the sample that have another valid value of the same type."""
    found = []
    for path, value in leaves(BASE):
        document = copy.deepcopy(BASE)
        if isinstance(value, str | int):
            put(document, path, other(value))
            with contextlib.suppress(ValidationError):
                CompiledArtifacts.model_validate(document)
                found.append(path)
    return [path for path in found if path not in QUIET]


@pytest.mark.parametrize("path", changed_leaves(), ids=field_name)
def test_no_leaf_is_hidden(path: tuple[str | int, ...]) -> None:
    document = copy.deepcopy(BASE)
    at: Any = BASE
    for part in path:
        at = at[part]
    put(document, path, other(at))
    found = compare(side("a", BASE), side("b", document))
    assert bool(found) == (path[-1] not in FOLLOWING and path != ("dbt_project_path",))


def nodes() -> st.SearchStrategy[Node]:
    names = st.sampled_from(["a", "b", "c"])
    return st.builds(
        lambda name, code, tags, materialized: Node(
            f"model.shop.{name}",
            "model",
            name,
            "shop",
            f"models/{name}.sql",
            alias=name,
            tags=tuple(sorted(tags)),
            materialized=materialized,
            code_version=code,
        ),
        names,
        st.sampled_from("xyz"),
        st.sets(st.sampled_from("tu")),
        st.sampled_from(["view", "table"]),
    )


@given(st.lists(nodes()), st.lists(nodes()))
def test_nothing_is_hidden_and_the_way_back_mirrors_it(old: list[Node], new: list[Node]) -> None:
    before, after = project(*old), project(*new)
    there, back = node_changes(before, after), node_changes(after, before)
    assert bool(there) == (before.nodes != after.nodes)
    assert node_changes(before, before) == []
    opposite = {"+": "-", "-": "+", "~": "~"}
    assert sorted(opposite[sign] for sign, _, _ in there) == sorted(sign for sign, _, _ in back)


@pytest.mark.parametrize("path", sorted(QUIET))
def test_time_and_hashes_are_left_out(path: tuple[str, ...]) -> None:
    values = {
        "compiled_at": ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        "origin": ("compiled", "pulled"),
    }
    assert changes(path, *values.get(path[-1], ("a", "b"))) == ()
