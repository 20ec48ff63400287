"""Keys, groups, kinds, checks and metadata are those of dagster-dbt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import orjson
import pytest
from dagster_dbt import DagsterDbtTranslator, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test

from floe_dagster.definitions import build_definitions
from floe_dagster.translator import asset_key, check_key

if TYPE_CHECKING:
    from conftest import Product

# dagster-dbt itself still uses what Dagster has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*AutoMaterializePolicy:DeprecationWarning")

_OWN_METADATA = {
    "dagster_dbt/manifest",
    "dagster_dbt/dagster_dbt_translator",
    "dagster_dbt/project_id",
}


@pytest.fixture(scope="module")
def manifest(shop: Product) -> dict[str, Any]:
    path = shop.layout.target_path("local", "shop", "local") / "manifest.json"
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


@pytest.fixture(scope="module")
def theirs(manifest: dict[str, Any]) -> dg.AssetsDefinition:
    @dbt_assets(manifest=manifest, name="theirs")
    def assets(context):  # type: ignore[no-untyped-def]
        """Never executed."""

    return assets


@pytest.fixture(scope="module")
def ours(shop: Product) -> dg.AssetsDefinition:
    definitions = build_definitions(shop.artifacts, root=shop.root)
    found = [d for d in definitions.assets or () if isinstance(d, dg.AssetsDefinition)]
    return next(d for d in found if d.op.name == "shop")


def specs(assets: dg.AssetsDefinition) -> Mapping[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in assets.specs}


def test_keys(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    assert ours.keys == theirs.keys
    assert dg.AssetKey(["people", "customers"]) in ours.keys
    assert dg.AssetKey(["marts", "customer_totals"]) in ours.keys
    assert dg.AssetKey(["revenue_v2"]) in ours.keys


@pytest.mark.parametrize("attribute", ["kinds", "code_version", "skippable"])
def test_attributes(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition, attribute: str) -> None:
    expected = {key: getattr(spec, attribute) for key, spec in specs(theirs).items()}
    assert {key: getattr(spec, attribute) for key, spec in specs(ours).items()} == expected


def test_automation_conditions(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    def automated(assets: dg.AssetsDefinition) -> set[dg.AssetKey]:
        return {key for key, spec in specs(assets).items() if spec.automation_condition}

    assert automated(ours) == automated(theirs) == {dg.AssetKey(["marts", "customer_totals"])}


def test_dependencies(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    other_projects = {dg.AssetKey(["contacts_clean"])}
    found = {
        key: {dep.asset_key for dep in spec.deps} - other_projects
        for key, spec in specs(ours).items()
    }
    assert found == {
        key: {dep.asset_key for dep in spec.deps} for key, spec in specs(theirs).items()
    }


def test_groups_that_dbt_or_the_node_names(
    ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition
) -> None:
    explicit = {
        key: spec.group_name for key, spec in specs(theirs).items() if spec.group_name != "default"
    }
    found = specs(ours)
    assert set(explicit.values()) == {"finance", "people"}
    assert {key: found[key].group_name for key in explicit} == explicit


def test_other_nodes_are_in_the_group_of_their_transform(
    ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition
) -> None:
    by_default = [key for key, spec in specs(theirs).items() if spec.group_name == "default"]
    found = {specs(ours)[key].group_name for key in by_default}
    assert found == {"base", "marts_and_more"}


def test_owners(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    for key, spec in specs(theirs).items():
        expected = list(spec.owners) or ["data@acme.dev"]
        assert list(specs(ours)[key].owners) == expected


def test_tags(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    for key, spec in specs(theirs).items():
        found = specs(ours)[key].tags
        assert spec.tags.items() <= found.items()
        added = found.keys() - spec.tags.keys()
        assert added <= {"floe/transform", "floe/layer", "mart"}
    assert specs(ours)[dg.AssetKey("stg_orders")].tags["floe/layer"] == "bronze"
    assert specs(ours)[dg.AssetKey(["marts", "customer_totals"])].tags["floe/layer"] == "gold"


def test_metadata(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    for key, spec in specs(theirs).items():
        expected = {
            name: value for name, value in spec.metadata.items() if name not in _OWN_METADATA
        }
        assert dict(specs(ours)[key].metadata) == expected
    schema = specs(ours)[dg.AssetKey("stg_orders")].metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == ["order_id", "status", "customer_id"]


def test_descriptions_leave_out_the_sql(
    ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition
) -> None:
    for key, spec in specs(theirs).items():
        assert specs(ours)[key].description == str(spec.description).partition("\n\n#### Raw")[0]


def test_checks(ours: dg.AssetsDefinition, theirs: dg.AssetsDefinition) -> None:
    def described(assets: dg.AssetsDefinition) -> dict[dg.AssetCheckKey, tuple[Any, ...]]:
        return {
            spec.key: (
                spec.blocking,
                spec.description,
                {dep.asset_key for dep in spec.additional_deps},
                dict(spec.metadata or {}),
            )
            for spec in assets.check_specs
        }

    assert described(ours) == described(theirs)
    warning = next(s for s in ours.check_specs if s.name.startswith("accepted_values"))
    assert not warning.blocking
    relationship = next(s for s in ours.check_specs if s.name.startswith("relationships"))
    assert {dep.asset_key for dep in relationship.additional_deps} == {
        dg.AssetKey(["people", "customers"])
    }


def test_check_keys_of_all_tests(shop: Product, manifest: dict[str, Any]) -> None:
    unit = shop.units["shop"]
    translator = DagsterDbtTranslator()
    tests = [node for node in unit.tests if node.unique_id.startswith("test.")]
    assert len(tests) == 13
    for test in tests:
        expected = get_asset_check_key_for_test(manifest, translator, test.unique_id, None)
        assert check_key(unit, test) == expected


def test_keys_of_sources(shop: Product, manifest: dict[str, Any]) -> None:
    translator = DagsterDbtTranslator()
    nodes = shop.units["shop"].index.nodes
    sources = {name: node for name, node in nodes.items() if name.startswith("source.")}
    assert len(sources) == 2
    for unique_id, node in sources.items():
        assert asset_key(node) == translator.get_asset_key(manifest["sources"][unique_id])
