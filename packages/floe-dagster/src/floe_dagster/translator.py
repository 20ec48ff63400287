"""From dbt's nodes to Dagster's asset and check specs.

Keys, groups, kinds, owners, tags, code versions, metadata and checks are those of dagster-dbt's
default translator, so that a product can move from one to the other and keep its history. What
floe adds: a node without a group of its own is in the group of its transform, a node without an
owner has the product's, and tags name the transform and the layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from floe_core.dagster_names import valid_name
from floe_core.index import Node
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_dagster.units import Unit

UNIQUE_ID = "dagster_dbt/unique_id"
"""Metadata key of a node's unique id, on assets and checks; the one that dagster-dbt uses."""

_MATERIALIZATION = "dagster-dbt/materialization_type"
_TAG_KEY = re.compile(r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


def asset_key(node: Node) -> dg.AssetKey:
    """Key of a node; see `Node.asset_key`."""
    return dg.AssetKey(node.asset_key)


def group_name(node: Node, transform: str | None) -> str | None:
    """Group of a node: `meta.dagster.group`, else its dbt group, else its transform."""
    configured = _dagster_meta(node).get("group") or node.group
    if configured:
        return str(configured)
    return valid_name(transform) if transform else None


def owners(node: Node, product_owner: str | None) -> list[str] | None:
    """Owners of a node: `meta.dagster.owners`, else its dbt group's, else the product's.

    Dagster knows e-mail addresses and teams; any other word is taken for the name of a team.
    """
    configured = _dagster_meta(node).get("owners") or node.owner or product_owner
    if not configured:
        return None
    listed = [configured] if isinstance(configured, str) else list(configured)
    return [_owner(str(owner)) for owner in listed]


def _owner(owner: str) -> str:
    return owner if _EMAIL.match(owner) or owner.startswith("team:") else f"team:{owner}"


def tags(node: Node, transform: CompiledTransform | None, name: str | None) -> dict[str, str]:
    """Tags of a node: dbt's and its transform's, `floe/transform`, and `floe/layer`.

    Like in dagster-dbt, a dbt tag that is not valid in Dagster is left out.
    """
    words = [*node.tags, *(transform.tags if transform else ())]
    found = {word: "" for word in words if _TAG_KEY.match(word)}
    if name:
        found["floe/transform"] = tag_value(name)
    layer = (transform.layer if transform else None) or node.meta.get("floe", {}).get("layer")
    if layer:
        found["floe/layer"] = tag_value(str(layer))
    return found


def tag_value(text: str) -> str:
    """Make a value that Dagster accepts for a tag."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:63]


def run_tags(artifacts: CompiledArtifacts) -> dict[str, str]:
    """Tags of the product's runs: product, environment, and the labels of floe.yaml."""
    labels = artifacts.identity.labels if artifacts.identity else {}
    return {
        "floe/product": tag_value(artifacts.product),
        "floe/environment": tag_value(artifacts.environment),
        **{f"floe.label/{tag_value(key)}": value for key, value in labels.items()},
    }


def description(node: Node) -> str:
    """Description of a node, or what kind of node it is."""
    return node.description or f"dbt {node.resource_type} {node.name}"


def metadata(node: Node, adapter_type: str) -> dict[str, Any]:
    """Metadata that holds whatever a run does: columns, table name, materialization, engine."""
    table = node.name if node.resource_type == "source" else node.alias
    relation = [node.database, node.schema, table]
    found: dict[str, Any] = {
        UNIQUE_ID: node.unique_id,
        "dagster/storage_kind": adapter_type,
        _MATERIALIZATION: node.materialized,
        "dagster/table_name": ".".join(part for part in relation if part) or None,
        "dagster/column_schema": _column_schema(node),
    }
    return {key: value for key, value in found.items() if value is not None}


def _column_schema(node: Node) -> dg.TableSchema | None:
    if not node.columns:
        return None
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.data_type or "?",
                description=column.description,
                tags=dict.fromkeys(column.tags, ""),
            )
            for column in node.columns
        ]
    )


def asset_spec(
    unit: Unit, node: Node, product_owner: str | None, extra_deps: Iterable[dg.AssetKey] = ()
) -> dg.AssetSpec:
    """Spec of a claimed node.

    Args:
        unit: The unit that the node belongs to.
        node: The node.
        product_owner: Owner of the product, for nodes without one.
        extra_deps: Assets of other dbt projects that it comes after.
    """
    name = unit.transform_of.get(node.unique_id)
    transform = unit.transforms.get(name) if name else None
    deps = {asset_key(unit.index.nodes[parent]) for parent in unit.upstream(node)}
    return dg.AssetSpec(
        key=asset_key(node),
        deps=sorted(deps | set(extra_deps)),
        description=description(node),
        metadata=metadata(node, unit.index.adapter_type),
        skippable=True,
        group_name=group_name(node, name),
        code_version=node.code_version,
        automation_condition=_automation_condition(node),
        owners=owners(node, product_owner),
        tags=tags(node, transform, name),
        kinds={"dbt", unit.index.adapter_type},
    )


def external_spec(unit: Unit, node: Node) -> dg.AssetSpec:
    """Spec of a source, or of a model that no transform claims: seen, and not built."""
    kinds = {unit.index.adapter_type}
    return dg.AssetSpec(
        key=asset_key(node),
        deps=sorted({asset_key(unit.index.nodes[parent]) for parent in unit.upstream(node)}),
        description=description(node),
        metadata=metadata(node, unit.index.adapter_type),
        group_name=group_name(node, None),
        owners=owners(node, None),
        tags=tags(node, None, None),
        kinds=kinds if node.resource_type == "source" else {"dbt", *kinds},
    )


def check_key(unit: Unit, test: Node) -> dg.AssetCheckKey | None:
    """Key of the check that a test is; None for a test of several nodes that names none of them.

    A singular test of several nodes names its asset with `meta.dagster.ref`.
    """
    attached = _attached_node(unit, test)
    return dg.AssetCheckKey(asset_key(attached), test.name) if attached else None


def _attached_node(unit: Unit, test: Node) -> Node | None:
    nodes = unit.index.nodes
    ref = _dagster_meta(test).get("ref")
    if ref:
        wanted = (ref["name"], ref.get("package") or unit.index.name, _text(ref.get("version")))
        for node in nodes.values():
            if node.resource_type != "source" and wanted == (
                node.name,
                node.package_name,
                node.version,
            ):
                return node
        return None
    if len(test.depends_on) == 1:
        return nodes.get(test.depends_on[0])
    return nodes.get(test.attached_node) if test.attached_node else None


def is_unit_test(test: Node) -> bool:
    """Whether a test runs a model on made-up rows, before the model is built."""
    return test.unique_id.startswith("unit_test.")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def check_specs(unit: Unit) -> dict[str, dg.AssetCheckSpec]:
    """Specs of the tests that are checks of the unit's assets, by the test's unique id.

    Tests of sources and of ephemeral models are not among them, nor are unit tests; Dagster shows
    their results as observations.
    """
    own = {asset_key(node) for node in unit.assets}
    specs: dict[str, dg.AssetCheckSpec] = {}
    taken: set[dg.AssetCheckKey] = set()
    for test in unit.tests:
        key = None if is_unit_test(test) else check_key(unit, test)
        if key is None or key.asset_key not in own or key in taken:
            continue
        taken.add(key)
        parents = {asset_key(unit.index.nodes[parent]) for parent in unit.upstream(test)}
        specs[test.unique_id] = dg.AssetCheckSpec(
            name=key.name,
            asset=key.asset_key,
            description=test.meta.get("description"),
            additional_deps=sorted(parents - {key.asset_key}),
            metadata={UNIQUE_ID: test.unique_id},
            blocking=(test.severity or "error").lower() == "error",
        )
    return specs


def _automation_condition(node: Node) -> dg.AutomationCondition[Any] | None:
    """What `meta.dagster.auto_materialize_policy` asks for, in today's terms of Dagster."""
    policy = _dagster_meta(node).get("auto_materialize_policy", {}).get("type")
    if policy == "eager":
        return dg.AutomationCondition.eager()
    if policy == "lazy":
        return dg.AutomationCondition.any_downstream_conditions()
    return None


def _dagster_meta(node: Node) -> Mapping[str, Any]:
    found = node.meta.get("dagster")
    return found if isinstance(found, Mapping) else {}
