"""Transforms that are not dbt's as assets, in one graph with those of dbt."""

# Dagster reads the annotations of the functions it decorates, so they are not postponed here.

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.base import JsonValue
from floe_dagster import translator
from floe_dagster.assets import Execution, Step
from floe_dagster.build import failure_message
from floe_dagster.plan import RunRequest
from floe_dagster.transform_run import TransformRun
from floe_dagster.units import Unit
from floe_dbt.engine import FAILED, Listener, NodeFinished


class TransformConfig(dg.Config):
    """What a launch may change; Dagster's launchpad shows it."""

    full_refresh: bool = Field(default=False, description="Rebuild the asset from nothing.")


def transform_asset(
    artifacts: CompiledArtifacts,
    unit: Unit,
    root: Path,
    execution: Execution,
    deps: Iterable[dg.AssetKey],
) -> dg.AssetsDefinition:
    """Make the asset of a transform that is not dbt's.

    Args:
        artifacts: The artifacts.
        unit: The unit of the transform.
        root: Absolute project root.
        execution: How it is executed.
        deps: Assets that it comes after.
    """
    spec = _spec(artifacts, unit, deps)

    @dg.multi_asset(name=unit.name, specs=[spec], description=spec.description)
    def build(
        context: dg.AssetExecutionContext, config: TransformConfig
    ) -> dg.MaterializeResult[None]:
        request = RunRequest(full_refresh=config.full_refresh)
        step = Step(context, request, unit, set(unit.transform_of))
        with execution.around(step) as audience:
            return _build(step, artifacts, root, execution, audience.listener)

    return build


def _spec(artifacts: CompiledArtifacts, unit: Unit, deps: Iterable[dg.AssetKey]) -> dg.AssetSpec:
    [node] = unit.assets
    [(name, transform)] = unit.transforms.items()
    owner = artifacts.identity.owner if artifacts.identity else None
    entry = {"floe/entry": transform.entry} if transform.entry else {}
    return dg.AssetSpec(
        key=translator.asset_key(node),
        deps=sorted(set(deps)),
        description=node.description or f"{transform.type} transform {name}",
        metadata={translator.UNIQUE_ID: node.unique_id, **entry},
        group_name=translator.group_name(node, name),
        code_version=node.code_version,
        owners=translator.owners(node, owner),
        tags=translator.tags(node, transform, name),
        kinds={transform.type},
    )


def _build(
    step: Step,
    artifacts: CompiledArtifacts,
    root: Path,
    execution: Execution,
    listener: Listener,
) -> dg.MaterializeResult[None]:
    context = step.context
    run = TransformRun(
        artifacts=artifacts,
        unit=step.unit,
        root=root,
        secrets=execution.secrets(context.run.run_id),
        logger=context.log,
        full_refresh=step.request.full_refresh,
        cancelled=execution.cancelled,
    )
    result = run.execute(listener)
    if execution.on_result is not None:
        execution.on_result(result)
    if result.was_cancelled:
        # Without this, Dagster takes the interrupt for a failure of the machine.
        context.instance.report_run_canceling(context.run)
        raise dg.DagsterExecutionInterruptedError
    [node] = result.nodes
    message = failure_message(result, [node] if node.status in FAILED else [])
    if message is not None:
        raise dg.Failure(node.message or message, metadata=_failure(node), allow_retries=False)
    return dg.MaterializeResult(metadata=_metadata(node))


def _failure(node: NodeFinished) -> dict[str, Any]:
    found: dict[str, Any] = {"path": node.path, "line": node.line}
    if node.traceback:
        found["traceback"] = dg.MetadataValue.md(f"```\n{node.traceback}```")
    return {key: value for key, value in found.items() if value is not None}


def _metadata(node: NodeFinished) -> Mapping[str, Any]:
    told = {key: _dagster_value(value) for key, value in node.metadata.items()}
    rows = {} if node.rows is None else {"dagster/row_count": node.rows}
    return {**told, **rows, "unique_id": node.unique_id, "Execution Duration": node.seconds}


def _dagster_value(value: JsonValue) -> Any:
    return dg.MetadataValue.json(value) if isinstance(value, list | dict) else value
