"""Artifacts that were compiled elsewhere, in the project that is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from floe_core.artifacts import load_artifacts
from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.definitions import build_definitions
from floe_dagster.execute import execute
from floe_dagster.placement import place
from floe_dagster.units import resolve_units
from floe_testing.control_plane import on_duckdb

if TYPE_CHECKING:
    from conftest import Product


def pulled(**changes: Any) -> CompiledArtifacts:
    return CompiledArtifacts.model_validate(on_duckdb(**changes))


def projects(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "dbt_project.yml").write_text("name: here\n")


def note(named: str, used: str) -> tuple[str, ...]:
    return (f"The dbt project `{named}` of the artifacts is not here: using {used}.",)


@pytest.mark.parametrize(
    ("here", "changes", "expected", "notes"),
    [
        (["."], {}, ".", note("/app", "the dbt project beside floe.yaml")),
        (["deep/dbt"], {}, "deep/dbt", note("/app", "`deep/dbt`")),
        (["dbt", "models"], {}, "models", note("/app", "`models`")),
        (["dbt"], {"dbt_project_path": "dbt"}, "dbt", ()),
        (["dbt", "dbt/models"], {"dbt_project_path": "dbt"}, "dbt/models", ()),
        (["."], {"dbt_project_path": None}, ".", ()),
        (["dbt"], {"dbt_project_path": None}, "dbt", note(".", "`dbt`")),
    ],
)
def test_project(
    tmp_path: Path,
    here: list[str],
    changes: dict[str, Any],
    expected: str,
    notes: tuple[str, ...],
) -> None:
    projects(tmp_path, *here)
    placed = place(pulled(**changes), tmp_path)
    [transform] = placed.artifacts.transforms
    assert (transform.dbt_project_path, placed.notes) == (expected, notes)
    assert transform.dbt_profiles_path == ".floe/preview"
    assert place(placed.artifacts, tmp_path).notes == ()


def test_an_absolute_project_that_is_here(tmp_path: Path) -> None:
    projects(tmp_path, "app", "here")
    placed = place(pulled(dbt_project_path=str(tmp_path / "app")), tmp_path / "here")
    assert placed.artifacts.transforms[0].dbt_project_path == str(tmp_path / "app")
    assert placed.notes == ()


@pytest.mark.parametrize(
    ("here", "count"), [([], "no dbt project is"), (["a", "b"], "2 dbt projects are")]
)
def test_no_project_or_several(tmp_path: Path, here: list[str], count: str) -> None:
    projects(tmp_path, *here)
    with pytest.raises(ArtifactsError) as caught:
        place(pulled(), tmp_path)
    assert str(caught.value) == (
        f"the artifacts name dbt project `/app`, which is not here, and {count} in {tmp_path}"
    )


def test_definitions_of_contract_1_0(small: Product) -> None:
    """The full example in a code location: with its own engine, it is only another product."""
    path = small.layout.artifacts
    path.write_text(json.dumps(on_duckdb()))
    definitions = build_definitions(path)
    keys = {key.path[-1] for key in definitions.resolve_all_asset_keys()}
    assert {"base", "raw"} & keys
    profiles = (small.root / ".floe/preview/profiles.yml").read_text()
    assert "threads: 2" in profiles


def test_seeds_come_with_the_models_that_read_them(small: Product) -> None:
    placed = place(pulled(), small.root).artifacts
    [unit] = resolve_units(placed, small.root)
    kinds = {unit.index.nodes[key].resource_type for key in unit.transform_of}
    assert {"model", "seed"} <= kinds


def test_the_engine_is_that_of_the_artifacts(small: Product) -> None:
    """What `floe compile` left for an environment of the same name is not used."""
    compute = {"target": "duckdb", "properties": {"path": "elsewhere.duckdb"}}
    document = on_duckdb(compute=compute)
    document["environment_context"]["environment_type"] = "local"
    placed = place(CompiledArtifacts.model_validate(document), small.root).artifacts
    assert execute(placed, root=small.root).is_success
    assert (small.root / "elsewhere.duckdb").is_file()
    assert not list((small.root / ".floe").rglob("engine.duckdb"))


def test_a_project_that_is_not_the_one_they_were_compiled_from(small: Product) -> None:
    document = json.loads(small.layout.artifacts.read_bytes())
    document["metadata"]["origin"] = "pulled"
    document["transforms"][0]["nodes"].append("model.small.gone")
    small.layout.artifacts.write_text(json.dumps(document))
    placed = place(load_artifacts(small.layout.artifacts), small.root).artifacts
    with pytest.raises(ArtifactsError, match=r"model\.small\.gone") as caught:
        resolve_units(placed, small.root)
    assert caught.value.help == (
        "The dbt project here is not the one that they were compiled from: take its version of the "
        "files, or pull again."
    )


def test_properties_that_the_engine_cannot_work_with(small: Product) -> None:
    compute = {"target": "duckdb", "properties": {"path": ":memory:"}}
    placed = place(pulled(compute=compute), small.root).artifacts
    with pytest.raises(ArtifactsError) as caught:
        resolve_units(placed, small.root)
    assert str(caught.value) == (
        "the artifacts cannot be run: `compute.properties.path` `:memory:` is a database in "
        "memory, which is gone when a run ends"
    )


def test_an_adapter_that_is_not_installed(small: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("floe_dbt.targets.duckdb.is_installed", lambda _distribution: False)
    placed = place(pulled(), small.root).artifacts
    with pytest.raises(ArtifactsError) as caught:
        resolve_units(placed, small.root)
    assert str(caught.value) == (
        "no adapter for `duckdb`, which the artifacts need: dbt-duckdb is not installed"
    )
    assert caught.value.help == "Install it: `pip install dbt-duckdb`."
