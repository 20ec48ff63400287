"""A small product in memory: a source, models, a Python transform, tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from floe_core.asset_index import asset_node
from floe_core.index import Column, Node, ProjectIndex
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.lineage.facts import RunFacts, SourceCode
from floe_testing.control_plane import on_duckdb

RUN_ID = "2f1c9a52-6a4c-4c6e-9a53-5d7a3c1b8f00"
AT = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


def node(kind: str, name: str, **known: Any) -> Node:
    """A node of dbt project `shop`."""
    known.setdefault("materialized", {"model": "table"}.get(kind, kind))
    return Node(
        unique_id=f"{kind}.shop.{name}",
        resource_type=kind,  # type: ignore[arg-type]
        name=name,
        package_name="shop",
        original_file_path=f"models/{name}.sql",
        **{"alias": name, "database": "db", "schema": "main", **known},
    )


def index_of(*nodes: Node) -> ProjectIndex:
    """The index of a project with these nodes."""
    return ProjectIndex(
        project="dbt",
        name="shop",
        target="local",
        adapter_type="duckdb",
        dbt_version="1.11.16",
        inputs_hash="",
        nodes={known.unique_id: known for known in nodes},
    )


def artifacts_of(
    compute: dict[str, Any] | None = None,
    catalog: dict[str, Any] | None = None,
    storage: dict[str, Any] | None = None,
    **more: Any,
) -> CompiledArtifacts:
    """Artifacts of the product, environment prod."""
    profiles: dict[str, Any] = {
        "compute": {"name": "default", "profile": compute or {"type": "duckdb"}}
    }
    if catalog is not None:
        profiles["catalog"] = {"name": "lake", "profile": catalog}
    if storage is not None:
        profiles["storage"] = {"name": "default", "profile": storage}
    identity = {
        "name": "shop",
        "version": "1.2.0",
        "description": "Orders of a shop",
        "owner": "data@acme.dev",
        "labels": {"domain": "retail"},
        "environment": "prod",
        "environment_category": "production",
    }
    return CompiledArtifacts.model_validate(
        on_duckdb(identity=identity, profiles=profiles, environment_context=None, **more)
    )


RAW = node(
    "source", "raw_orders", alias="orders", schema="raw", materialized=None, source_name="raw"
)
ORDERS = node(
    "model",
    "orders",
    depends_on=("source.shop.raw_orders",),
    description="One row an order",
    columns=(Column("id", description="Key"), Column("email", "varchar")),
    tags=("daily",),
    owner="sales@acme.dev",
)
HIDDEN = node("model", "hidden", materialized="ephemeral", depends_on=("model.shop.orders",))
REVENUE = node("model", "revenue", materialized="view", depends_on=("model.shop.hidden",))
CRM = asset_node("crm", "python", original_file_path="crm.py")
UNIQUE = node(
    "test",
    "unique_orders_id",
    depends_on=("model.shop.orders",),
    attached_node="model.shop.orders",
    column_name="id",
    test_name="unique",
    severity="ERROR",
)
POSITIVE = node("test", "positive", depends_on=("model.shop.orders",), severity="warn")
INDEX = index_of(RAW, ORDERS, HIDDEN, REVENUE, UNIQUE, POSITIVE)


def run_of(**changes: Any) -> RunFacts:
    """A run of the job `nightly`."""
    known: dict[str, Any] = {
        "run_id": RUN_ID,
        "namespace": "acme",
        "product": "shop",
        "started_at": AT,
        "version": "1.2.0",
        "environment": "prod",
        "job": "nightly",
        "description": "Orders of a shop",
        "owner": "data@acme.dev",
        "labels": {"domain": "retail"},
        "source": SourceCode("https://github.com/acme/shop", "a" * 40, "products/shop"),
        "engine": ("dagster", "1.13.27"),
        "secrets": ("hunter22",),
    }
    return RunFacts(**(known | changes))
