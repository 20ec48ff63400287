"""`floe list`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, source_options
from floe_cli.output import Output, plural

if TYPE_CHECKING:
    from floe_core.index import Node
    from floe_core.schemas.artifacts import CompiledTransform
    from floe_dagster.records import NodeState, RunRecord


@floe_command("list", short_help="Show transforms, models and their last state.")
@source_options
def command(out: Output, **source: Any) -> None:
    """Show the product's transforms and models, and what became of each in its last run."""
    from floe_cli.freshness import compile_now
    from floe_core.asset_index import asset_index
    from floe_core.index_file import load_index
    from floe_core.layout import Layout
    from floe_dagster.records import last_states, read_records

    fresh = compile_now(compile_request(**source), out)
    artifacts, layout = fresh.compilation.artifacts, Layout(fresh.root)
    nodes: dict[str, Node] = {}
    for index in load_index(layout.index(artifacts.environment).read_bytes()):
        nodes |= index.nodes
    for transform in artifacts.transforms:
        if transform.is_asset:
            nodes |= asset_index(transform, artifacts.environment).nodes
    records = read_records(layout, artifacts.environment)
    states = last_states(records)
    transforms = [
        _describe_transform(transform, nodes, states) for transform in artifacts.transforms
    ]
    out.document(
        {
            "ok": True,
            "product": artifacts.product,
            "version": artifacts.identity.version if artifacts.identity else None,
            "description": artifacts.identity.description if artifacts.identity else None,
            "environment": artifacts.environment,
            "last_run": {"status": records[0].status, "run_id": records[0].run_id}
            if records
            else None,
            "transforms": transforms,
        }
    )
    out.result("\n".join([*_lines(artifacts, transforms), *_last_run(records)]))


def _describe_transform(
    transform: CompiledTransform, nodes: dict[str, Node], states: dict[str, NodeState]
) -> dict[str, Any]:
    from floe_dagster.plan import display_name

    owned = [nodes[unique_id] for unique_id in transform.nodes or () if unique_id in nodes]
    return {
        "name": transform.name,
        "type": transform.type,
        "project": transform.dbt_project_path,
        "entry": transform.entry,
        "layer": transform.layer,
        "nodes": [
            {
                "unique_id": node.unique_id,
                "name": display_name(node),
                "resource_type": node.resource_type,
                "materialized": node.materialized,
                "description": node.description or None,
                **_describe_state(states.get(node.unique_id)),
            }
            for node in owned
        ],
    }


def _describe_state(state: NodeState | None) -> dict[str, Any]:
    if state is None:
        return {"last_status": None, "last_run_at": None, "last_seconds": None, "last_rows": None}
    return {
        "last_status": state.node.status,
        "last_run_at": state.at.isoformat(),
        "last_seconds": state.node.seconds,
        "last_rows": state.node.rows,
    }


def _lines(artifacts: Any, transforms: list[dict[str, Any]]) -> list[str]:
    lines = [f"{artifacts.product} in environment {artifacts.environment}"]
    if artifacts.identity and artifacts.identity.description:
        lines.append(artifacts.identity.description)
    names = [node["name"] for transform in transforms for node in transform["nodes"]]
    width = max((len(name) for name in names), default=0)
    for transform in transforms:
        layer = f", layer {transform['layer']}" if transform["layer"] else ""
        made_by = transform["project"] or " ".join(
            filter(None, [transform["type"], transform["entry"]])
        )
        lines += ["", f"{transform['name']} ({made_by}{layer})"]
        lines += [_node_line(node, width) for node in transform["nodes"]]
    return lines


def _last_run(records: Sequence[RunRecord]) -> list[str]:
    """A word on a last run that came to no proper end."""
    if not records or records[0].status not in {"running", "crashed", "cancelled"}:
        return []
    words = {
        "running": f"a run is at work (process {records[0].pid})",
        "crashed": "the last run was killed",
        "cancelled": "the last run was interrupted",
    }
    again = "" if records[0].status == "running" else "; `floe run --failed` goes on with it"
    return ["", f"{words[records[0].status]}{again}"]


def _node_line(node: dict[str, Any], width: int) -> str:
    kind = node["resource_type"]
    if kind in {"asset", "model"}:
        kind = node["materialized"] or kind
    state = "never run"
    if node["last_status"]:
        at = datetime.fromisoformat(node["last_run_at"]).astimezone()
        state = f"{node['last_status']:<9}  {at:%Y-%m-%d %H:%M}  {node['last_seconds']:.2f} s"
        if node["last_rows"] is not None:
            state += f"  {plural(node['last_rows'], 'row')}"
    return f"  {node['name']:<{width}}  {kind:<11}  {state}"
