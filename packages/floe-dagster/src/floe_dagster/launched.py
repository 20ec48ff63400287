"""What surrounds a build that Dagster launched: the lock, and the record that `floe list` reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG

from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster import assets
from floe_dagster.execute import Outcome, Recording, both, new_record, told
from floe_dagster.lock import Holder, hold
from floe_dagster.observation import Observation, observe
from floe_dagster.plan import plan_of
from floe_dagster.records import RunRecord, find_record, write_record
from floe_dagster.units import Unit
from floe_dbt.engine import Listener

_LOCK_WAIT_SECONDS = 24 * 3600.0


def launched(
    artifacts: CompiledArtifacts,
    units: Sequence[Unit],
    root: Path,
    secrets: Callable[[str], Mapping[str, str]],
    listener: Listener | None,
) -> assets.Around:
    """Make what waits for other runs of the project and environment, and records each build."""
    layout = Layout(root)

    @contextmanager
    def around(step: assets.Step) -> Iterator[assets.Audience]:
        with ExitStack() as after, _turn(layout, artifacts.environment, step.context):
            run_id = step.context.run.run_id
            request = replace(step.request, job=_job_name(artifacts, step.context))
            planned = plan_of(artifacts, request, [(step.unit, step.wanted)])
            known = find_record(layout, artifacts.environment, run_id)
            record = known or new_record(
                artifacts, plan_of(artifacts, request, _selected(units, step.context)), run_id
            )
            observation = observe(
                artifacts,
                root=root,
                planned=planned,
                record=record,
                secrets=secrets(run_id),
                starts=known is None,
                scheduled_at=_scheduled_at(step.context),
            )
            record = replace(record, trace_id=observation.trace_id)
            hear = both(observation.hear, listener)
            recording = Recording(layout, planned, hear, _resumed(record))
            after.callback(_tell, step, layout, recording, observation)
            try:
                with _recorded(recording), observation.current(), observation.step(step.unit.name):
                    yield assets.Audience(recording.hear, observation.describes)
            finally:
                _end(layout, recording, observation)

    return around


def _end(layout: Layout, recording: Recording, observation: Observation) -> None:
    """End the run, if this was its last build."""
    if recording.record.is_success and _has_more(recording.record):
        write_record(layout, _resumed(recording.record))
        observation.end_part()
    else:
        observation.run_ended(recording.record)


def _tell(
    step: assets.Step, layout: Layout, recording: Recording, observation: Observation
) -> None:
    """Say what telemetry could not do; other runs may go on meanwhile."""
    for warning in told(layout, recording, observation):
        step.context.log.warning(warning)


def _job_name(artifacts: CompiledArtifacts, context: dg.AssetExecutionContext) -> str | None:
    """Name of the job of floe.yaml that was launched, when it is one."""
    orchestration = artifacts.orchestration
    names = {job.name for job in orchestration.jobs} if orchestration is not None else set()
    return context.job_name if context.job_name in names else None


def _scheduled_at(context: dg.AssetExecutionContext) -> datetime | None:
    """The tick of the schedule that launched the run, when one did."""
    text = context.run.tags.get(SCHEDULED_EXECUTION_TIME_TAG)
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _selected(
    units: Sequence[Unit], context: dg.AssetExecutionContext
) -> list[tuple[Unit, set[str]]]:
    """What all steps of the run build and test together, in each unit."""
    built = [data.assets_def for data in context.job_def.asset_layer.data]
    keys = {key for assets_def in built for key in assets_def.keys}
    checks = {key for assets_def in built for key in assets_def.check_keys}
    selected = []
    for unit in units:
        names = assets.Names.of(unit)
        ours = (keys.intersection(names.nodes), checks.intersection(names.tests))
        if any(ours):
            selected.append((unit, assets.wanted(unit, names, *ours)))
    return selected


def _has_more(record: RunRecord) -> bool:
    """Whether a step is still to come."""
    return not {node.unique_id for node in record.nodes}.issuperset(record.planned)


def _resumed(record: RunRecord) -> RunRecord:
    """The record of a run of which a step is still to come."""
    return replace(record, status="running", finished_at=None, error=None, pid=os.getpid())


@contextmanager
def _turn(layout: Layout, environment: str, context: dg.AssetExecutionContext) -> Iterator[None]:
    def say(holder: Holder | None) -> None:
        who = f"process {holder.pid} ({holder.command})" if holder else "another process"
        context.log.info(f"Waiting for {who}, which runs this project")

    command = f"Dagster run {context.run.run_id}"
    layout.prepare()
    with ExitStack() as stack:
        turn = hold(layout, environment, command=command, wait=_LOCK_WAIT_SECONDS, on_wait=say)
        try:
            stack.enter_context(turn)
        except dg.DagsterExecutionInterruptedError:
            _cancel(layout, environment, context.run.run_id)
            raise
        yield


def _cancel(layout: Layout, environment: str, run_id: str) -> None:
    """End the record of a run that is interrupted while one of its later steps waits."""
    record = find_record(layout, environment, run_id)
    if record is not None:
        write_record(layout, replace(record, status="cancelled", finished_at=datetime.now(UTC)))


@contextmanager
def _recorded(recording: Recording) -> Iterator[None]:
    """Record how a build ends that tells Dagster so by raising."""
    raised: BaseException | None = None
    with recording.recorded():
        try:
            yield
            recording.outcome = Outcome(is_success=True)
        except (dg.DagsterExecutionInterruptedError, GeneratorExit) as problem:
            recording.outcome, raised = Outcome(is_success=False, was_cancelled=True), problem
        except dg.Failure as problem:
            error = None if recording.has_failed_nodes else problem.description
            recording.outcome, raised = Outcome(is_success=False, error=error), problem
    if raised is not None:
        raise raised
