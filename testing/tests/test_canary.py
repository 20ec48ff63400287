"""Every field has a consumer: what a user may write reaches the artifacts, or is on a named list.

Each leaf of two fully filled files is changed on its own; the artifacts must change with it.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from floe_core import FloeSpec, PlatformSpec
from floe_core.compiler.build import NOT_CARRIED, build
from floe_core.compiler.enforce import enforce
from floe_core.compiler.inspect import Inspected
from floe_core.compiler.load import load
from floe_core.compiler.not_yet import IDLE_FLOE_SECTIONS, IDLE_PLATFORM_SECTIONS
from floe_core.compiler.pipeline import Outcome, run_stages
from floe_core.compiler.request import CompileRequest
from floe_core.compiler.resolve import Resolved, resolve
from floe_core.compiler.validation import model_at, value_at
from floe_core.diagnostics import FieldPath, Report, field_name

CANARY = Path(__file__).parent / "canary"
FILES: dict[str, type[BaseModel]] = {"floe": FloeSpec, "platform": PlatformSpec}
DOCUMENTS = {name: yaml.safe_load((CANARY / f"{name}.yaml").read_text()) for name in FILES}

# Where both files speak of the same thing, one of them is silent while the other is changed.
SHARED_SECTIONS = ("governance", "control_plane")

# Values for which "the same and an x" would not be valid.
OTHER_VALUES: dict[tuple[str, FieldPath], Any] = {
    ("platform", ("version",)): "1.0.0",
    ("platform", ("environment",)): None,
    ("platform", ("catalogs", "default", "type")): "rest",
    ("platform", ("layers", "bronze", "storage")): "scratch",
    ("platform", ("layers", "bronze", "catalog")): None,
    ("platform", ("compute", "default", "type")): None,
    ("platform", ("compute", "serving", "type")): None,
    ("platform", ("observability", "tracing", "exporter")): None,
    ("platform", ("observability", "tracing", "sampling", "sampler")): None,
    ("platform", ("observability", "tracing", "sampling", "ratio")): 0.5,
    ("platform", ("observability", "lineage", "transport")): None,
    ("platform", ("observability", "deadline_seconds")): 8.5,
    ("platform", ("security", "secret_backends", "primary")): "kubernetes",
    ("platform", ("resource_presets", "small", "requests", "cpu")): "200m",
    ("platform", ("resource_presets", "small", "limits", "cpu")): "2",
    ("platform", ("resource_presets", "small", "requests", "memory")): "1Gi",
    ("platform", ("resource_presets", "small", "limits", "memory")): "2Gi",
    ("platform", ("infrastructure", "cloud", "aws", "account_id")): "210987654321",
    ("floe", ("version",)): "2.0.0",
    ("floe", ("platform", "manifest")): "./platform.yaml",
    ("floe", ("profiles", "storage")): "scratch",
    ("floe", ("profiles", "catalog")): None,
    ("floe", ("profiles", "compute")): "serving",
    ("floe", ("transforms", 0, "name")): None,
    ("floe", ("transforms", 0, "type")): None,
    ("floe", ("transforms", 0, "project")): "other_dbt",
    ("floe", ("transforms", 0, "models", 0, "path")): "models/*.sql",
    ("floe", ("transforms", 1, "project")): "other_dbt",
    ("floe", ("transforms", 1, "depends_on", 0)): "third",
    ("floe", ("transforms", 2, "path")): "third_dbt",
    ("floe", ("transforms", 3, "type")): None,
    ("floe", ("schedules", 0, "cron")): "5 5 * * *",
    ("floe", ("schedules", 0, "timezone")): "UTC",
    ("floe", ("schedules", 0, "transforms", 0)): "second",
    ("floe", ("schedules", 1, "cron")): "5 5 * * *",
    ("floe", ("schedules", 1, "job")): "by_selection",
    ("floe", ("jobs", 0, "name")): None,
    ("floe", ("jobs", 2, "name")): None,
    ("floe", ("jobs", 2, "transforms", 0)): "second",
    ("floe", ("sensors", 2, "monitored_jobs", 0)): "by_selection",
    ("floe", ("jobs", 0, "transforms", 0)): "second",
    ("floe", ("sensors", 0, "job")): "by_selection",
    ("floe", ("sensors", 1, "job")): "by_selection",
    ("floe", ("sensors", 2, "job")): "by_selection",
    ("floe", ("consumption", "cube", "pre_aggregations", "refresh_schedule")): "5 5 * * *",
}
"""None: a name that others refer to, or a choice that decides which keys there are."""

OTHER_LINEAGE: tuple[dict[str, Any], ...] = (
    {"transport": "file", "path": "canary/lineage.jsonl"},
    {
        "transport": "kafka",
        "topic": "canary-topic",
        "properties": {"bootstrap.servers": "canary:9092", "acks": 1},
    },
)
"""What other transports of lineage have; their keys exclude each other."""


def leaves(data: Any, path: FieldPath = ()) -> Iterator[FieldPath]:
    if isinstance(data, dict | list) and data:
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, (*path, key))
    else:
        yield path


def compile_without_dbt(folder: Path, documents: dict[str, Any]) -> Outcome:
    for name, document in documents.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    request = CompileRequest(folder / "floe.yaml", environ={"SOURCE_DATE_EPOCH": "0"})
    return run_stages((load, resolve, inspect_nothing, enforce, build), request)


def inspect_nothing(resolved: Resolved, report: Report) -> Inspected:
    return Inspected(resolved, (), {}, ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for project in ("dbt", "other_dbt", "third_dbt"):
        models = tmp_path / project / "models"
        models.mkdir(parents=True)
        (tmp_path / project / "dbt_project.yml").write_text(f"name: {project}\n")
        (models / "a.sql").write_text("select 1 as x")
        (models / "b.sql").write_text("select 2 as x")
    (tmp_path / "canary_module.py").write_text("def build(context): ...")
    return tmp_path


def carried(outcome: Outcome) -> Any:
    assert [d.render() for d in outcome.diagnostics if d.is_error] == []
    document = outcome.value.artifacts.model_dump(mode="json")
    del document["metadata"]
    return document


def changed(name: str, path: FieldPath) -> Any:
    """Another valid value for a leaf; None when there is none that stands alone."""
    if (name, path) in OTHER_VALUES:
        return OTHER_VALUES[name, path]
    value = value_at(DOCUMENTS[name], path)
    choices = literal_choices(name, path)
    if choices:
        others = [choice for choice in choices if choice != value]
        is_tag = path[-1] in {"mode", "type"}
        return None if is_tag or not others else others[-1]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}x"


def literal_choices(name: str, path: FieldPath) -> tuple[Any, ...]:
    owner = model_at(FILES[name], path[:-1], DOCUMENTS[name])
    field = owner.model_fields.get(str(path[-1])) if owner else None
    return literals(field.annotation) if field else ()


def literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(choice for part in get_args(annotation) for choice in literals(part))
    return ()


def is_listed(name: str, path: FieldPath) -> bool:
    return any(path[: len(listed)] == listed for listed in NOT_CARRIED[name])


ALL_LEAVES = [(name, path) for name in FILES for path in leaves(DOCUMENTS[name])]
CHANGEABLE = [(name, path) for name, path in ALL_LEAVES if changed(name, path) is not None]


def ids(leaf: tuple[str, FieldPath]) -> str:
    return f"{leaf[0]}:{field_name(leaf[1])}"


@pytest.mark.parametrize("leaf", CHANGEABLE, ids=ids)
def test_a_change_of_a_leaf_changes_the_artifacts(
    leaf: tuple[str, FieldPath], folder: Path
) -> None:
    name, path = leaf
    documents = copy.deepcopy(DOCUMENTS)
    if path[0] in SHARED_SECTIONS:
        other = "platform" if name == "floe" else "floe"
        documents[other].pop(path[0])
    before = carried(compile_without_dbt(folder, documents))
    value_at(documents[name], path[:-1])[path[-1]] = changed(name, path)
    after = carried(compile_without_dbt(folder, documents))
    assert (before == after) == is_listed(name, path)


@pytest.mark.parametrize("leaf", [leaf for leaf in ALL_LEAVES if leaf not in CHANGEABLE], ids=ids)
def test_a_leaf_that_cannot_change_alone_stands_in_the_artifacts(
    leaf: tuple[str, FieldPath], folder: Path
) -> None:
    name, path = leaf
    document = carried(compile_without_dbt(folder, copy.deepcopy(DOCUMENTS)))
    word = json.dumps(value_at(DOCUMENTS[name], path))
    assert word in json.dumps(document) or is_listed(name, path)


@pytest.mark.parametrize("lineage", OTHER_LINEAGE, ids=lambda lineage: lineage["transport"])
def test_a_change_of_another_transport_changes_the_artifacts(
    lineage: dict[str, Any], folder: Path
) -> None:
    documents = copy.deepcopy(DOCUMENTS)
    documents["platform"]["observability"]["lineage"] = lineage
    seen = [carried(compile_without_dbt(folder, documents))["observability"]]
    for path in leaves(lineage):
        if path == ("transport",):
            continue
        changed_one = copy.deepcopy(lineage)
        value = value_at(lineage, path)
        value_at(changed_one, path[:-1])[path[-1]] = (
            value + 1 if path[-1] == "acks" else f"{value}x"
        )
        documents["platform"]["observability"]["lineage"] = changed_one
        seen.append(carried(compile_without_dbt(folder, documents))["observability"])
        assert seen[-1] not in seen[:-1]


def test_the_canary_files_fill_every_field() -> None:
    filled = {field for name in FILES for field in filled_fields(name)}
    filled |= {("Lineage", key) for lineage in OTHER_LINEAGE for key in lineage}
    known = {field for model in FILES.values() for field in fields_of(model)}
    assert known - filled == set()


def filled_fields(name: str) -> Iterator[tuple[str, str]]:
    """Each field that the file gives a value, as the names of its model and of itself."""
    for path in all_paths(DOCUMENTS[name]):
        owner = model_at(FILES[name], path[:-1], DOCUMENTS[name]) if path else None
        if owner is not None and path[-1] in owner.model_fields:
            yield owner.__name__, str(path[-1])


def all_paths(data: Any, path: FieldPath = ()) -> Iterator[FieldPath]:
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from all_paths(value, (*path, key))


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Each field of a model and of those that it is made of."""
    for name, field in model.model_fields.items():
        yield model.__name__, name
        for nested in models_in(field.annotation):
            yield from fields_of(nested)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


@pytest.mark.parametrize(
    ("name", "sections"),
    [("floe", IDLE_FLOE_SECTIONS), ("platform", IDLE_PLATFORM_SECTIONS)],
)
def test_each_idle_section_gives_one_warning(
    name: str, sections: dict[FieldPath, str], folder: Path
) -> None:
    outcome = compile_without_dbt(folder, copy.deepcopy(DOCUMENTS))
    warned = [d.field for d in outcome.diagnostics if d.code == "FLOE-N001"]
    files = {d.field: d.file.name for d in outcome.diagnostics if d.file and d.code == "FLOE-N001"}
    for section in sections:
        assert field_name(section) in warned
    assert len(warned) == len(IDLE_FLOE_SECTIONS) + len(IDLE_PLATFORM_SECTIONS)
    assert set(files.values()) == {"floe.yaml", "platform.yaml"}


def test_a_copy_of_the_files_compiles_to_the_same(folder: Path, tmp_path: Path) -> None:
    first = compile_without_dbt(folder, DOCUMENTS).value.artifacts
    elsewhere = tmp_path / "somewhere" / "else"
    shutil.copytree(folder, elsewhere, ignore=shutil.ignore_patterns("somewhere"))
    second = compile_without_dbt(elsewhere, DOCUMENTS).value.artifacts
    assert first == second
