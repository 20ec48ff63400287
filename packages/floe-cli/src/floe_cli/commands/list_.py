"""`floe list`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_cli.edge import floe_command
from floe_cli.options import artifacts_option, compile_request, source_options
from floe_cli.output import Output, plural

if TYPE_CHECKING:
    from floe_core.schemas.artifacts import CompiledArtifacts, CompiledJob, CompiledTransform
    from floe_core.schemas.floe import Schedule, Sensor
    from floe_dagster.records import NodeState, RunRecord
    from floe_dagster.units import Unit


@floe_command("list", short_help="Show transforms, models, jobs and their last state.")
@source_options
@artifacts_option
def command(out: Output, artifacts: Path | None, **source: Any) -> None:
    """Show the product's transforms and models, and what became of each in its last run.

    After them come the jobs, schedules and sensors of floe.yaml.
    """
    from floe_cli.freshness import compile_now, place_here, stored_artifacts
    from floe_core.layout import Layout
    from floe_dagster.records import last_states, read_records

    stored = stored_artifacts(artifacts, source, out)
    if stored is not None:
        stored = place_here(stored, out)
        what, root = stored.artifacts, stored.root
    else:
        fresh = compile_now(compile_request(**source), out)
        what, root = fresh.compilation.artifacts, fresh.root
    records = read_records(Layout(root), what.environment)
    transforms = _describe_transforms(what, root, last_states(records))
    out.document(
        {
            "ok": True,
            "product": what.product,
            "version": what.identity.version if what.identity else None,
            "description": what.identity.description if what.identity else None,
            "environment": what.environment,
            "last_run": {"status": records[0].status, "run_id": records[0].run_id}
            if records
            else None,
            "transforms": transforms,
            **_orchestration_document(what),
        }
    )
    lines = [*_lines(what, transforms), *_orchestration_lines(what), *_last_run(records)]
    out.result("\n".join(lines))


def _describe_transforms(
    artifacts: CompiledArtifacts, root: Path, states: dict[str, NodeState]
) -> list[dict[str, Any]]:
    """Each transform with its nodes, in the order of the artifacts."""
    from floe_dagster.units import resolve_units

    described = {
        name: _describe_transform(name, transform, unit, states)
        for unit in resolve_units(artifacts, root)
        for name, transform in unit.transforms.items()
    }
    order = [transform.name for transform in artifacts.transforms if transform.name in described]
    return [described.pop(name) for name in order] + list(described.values())


def _describe_transform(
    name: str, transform: CompiledTransform, unit: Unit, states: dict[str, NodeState]
) -> dict[str, Any]:
    from floe_dagster.plan import display_name

    owned = [unit.index.nodes[key] for key, owner in unit.transform_of.items() if owner == name]
    return {
        "name": name,
        "type": transform.type,
        "project": unit.project if unit.is_dbt else None,
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


def _lines(artifacts: CompiledArtifacts, transforms: list[dict[str, Any]]) -> list[str]:
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


def _orchestration_document(artifacts: CompiledArtifacts) -> dict[str, Any]:
    found = artifacts.orchestration
    return {
        section: [item.model_dump(mode="json") for item in getattr(found, section, ())]
        for section in ("jobs", "schedules", "sensors")
    }


def _orchestration_lines(artifacts: CompiledArtifacts) -> list[str]:
    found = artifacts.orchestration
    if found is None:
        return []
    sections: dict[str, Sequence[tuple[str, ...]]] = {
        "jobs": [(job.name, _selected(job)) for job in found.jobs],
        "schedules": [(s.name, *_timing(s)) for s in found.schedules],
        "sensors": [(s.name, *_watching(s)) for s in found.sensors],
    }
    lines: list[str] = []
    for section, rows in sections.items():
        if rows:
            lines += ["", section, *_aligned(rows)]
    return lines


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([f"{cell:<{width}}" for cell, width in zip(r, widths, strict=True)] for r in rows)
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]


def _selected(job: CompiledJob) -> str:
    if job.select is None:
        return ", ".join(job.transforms)
    return f"{job.select} ({plural(len(job.nodes or ()), 'node')})"


def _timing(schedule: Schedule) -> tuple[str, str, str]:
    what = ", ".join(schedule.transforms) or "everything"
    if schedule.job is not None:
        what = f"job {schedule.job}"
    return f"{schedule.cron} {schedule.timezone}", what, "" if schedule.enabled else "off"


def _watching(sensor: Sensor) -> tuple[str, str, str]:
    if sensor.type == "file":
        what = f"file {sensor.path}"
    elif sensor.type == "asset":
        what = f"asset {sensor.asset}"
    else:
        what = f"{sensor.status} of {', '.join(sensor.monitored_jobs)}"
    return what, f"job {sensor.job}", "" if sensor.enabled else "off"


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
