"""A transform that is one asset, in the terms in which dbt projects are known."""

from __future__ import annotations

from typing import Any

from floe_core.index import Node, ProjectIndex
from floe_core.schemas.artifacts import CompiledTransform


def unique_id(transform: str) -> str:
    """Unique id of the one node of a transform."""
    return f"asset.{transform}"


def asset_node(name: str, kind: str, **known: Any) -> Node:
    """The one node of a transform."""
    return Node(
        unique_id=unique_id(name),
        resource_type="asset",
        name=name,
        package_name=kind,
        fqn=(name,),
        alias=name,
        materialized=kind,
        **known,
    )


def asset_index(transform: CompiledTransform, environment: str) -> ProjectIndex:
    """The index of a transform that is one asset: a single node, made from the artifacts alone."""
    name = transform.name or ""
    node = asset_node(
        name,
        transform.type,
        original_file_path=transform.path,
        description=transform.description or "",
        tags=transform.tags,
        code_version=transform.inputs_hash,
    )
    return ProjectIndex(
        project=".",
        name=name,
        target=environment,
        adapter_type=transform.type,
        dbt_version="",
        inputs_hash=transform.inputs_hash or "",
        nodes={node.unique_id: node},
    )
