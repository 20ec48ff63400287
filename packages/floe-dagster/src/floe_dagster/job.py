"""Executing a plan as a Dagster run in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from floe_core.layout import Layout, make_folder
from floe_core.masking import mask_values
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster import assets, translator
from floe_dagster.build import Build, dbt_core, failure_message
from floe_dagster.connection import invocation
from floe_dagster.definitions import assets_of
from floe_dagster.execute import Outcome
from floe_dagster.instance import open_instance
from floe_dagster.jobs import run_job
from floe_dagster.observation import Observation
from floe_dagster.plan import PlannedUnit, RunPlan
from floe_dagster.selection import dbt_selection
from floe_dbt.engine import FAILED, BuildResult, DbtEngine, Listener

_LOGGER = "floe"
Handlers = Sequence[logging.Handler]
_DAGSTER_LOGGERS = ("dagster", "alembic")


@dataclass(frozen=True, slots=True)
class _Run:
    """What the parts of one run share."""

    artifacts: CompiledArtifacts
    planned: RunPlan
    root: Path
    run_id: str
    secrets: Mapping[str, str]
    listener: Listener
    cancelled: threading.Event
    observation: Observation
    engine: DbtEngine


def execute_plan(
    artifacts: CompiledArtifacts,
    planned: RunPlan,
    root: Path,
    run_id: str,
    secrets: Mapping[str, str],
    listener: Listener,
    cancelled: threading.Event,
    observation: Observation,
    engine: DbtEngine | None = None,
) -> Outcome:
    """Execute a plan as one run of the project's Dagster instance, without a word on the terminal.

    Args:
        artifacts: The artifacts.
        planned: What to run.
        root: Absolute project root.
        run_id: Id of the Dagster run.
        secrets: Values of the secrets, by environment variable.
        listener: Hears every event of dbt.
        cancelled: Once set, from another thread, the run is cancelled.
        observation: Hears of the steps.
        engine: Runs dbt; dbt-core when None.
    """
    engine = engine or dbt_core()
    run = _Run(artifacts, planned, root, run_id, secrets, listener, cancelled, observation, engine)
    layout = Layout(root)
    with _dagster_log(layout, run) as handlers, open_instance(layout) as instance:
        outcome = Outcome(is_success=True)
        in_dagster = [unit for unit in planned.units if any(_keys(unit))]
        if in_dagster:
            outcome = _run_assets(run, in_dagster, instance, handlers)
        for unit in planned.units:
            if unit not in in_dagster and not outcome.was_cancelled:
                outcome = _both(outcome, _run_tests(run, unit, instance))
    return outcome


def _keys(unit: PlannedUnit) -> tuple[set[dg.AssetKey], set[dg.AssetCheckKey]]:
    """Keys of the planned assets and checks."""
    nodes = unit.unit.index.nodes
    keys = {translator.asset_key(nodes[planned.unique_id]) for planned in unit.nodes}
    checks = translator.check_specs(unit.unit)
    tests = {planned.unique_id for planned in unit.tests}
    return keys, {spec.key for unique_id, spec in checks.items() if unique_id in tests}


def _run_assets(
    run: _Run, units: list[PlannedUnit], instance: dg.DagsterInstance, handlers: Handlers
) -> Outcome:
    results: list[BuildResult] = []
    execution = assets.Execution(
        engine=lambda: run.engine,
        secrets=lambda _run_id: run.secrets,
        around=partial(_around, run),
        planned={unit.unit.name: frozenset(unit.unique_ids) for unit in units},
        on_result=results.append,
        cancelled=run.cancelled,
    )
    job = _job(run, units, execution, handlers)
    result = job.execute_in_process(
        instance=instance,
        run_id=run.run_id,
        run_config=_run_config(run, job),
        tags={"floe/source_hash": translator.tag_value(run.artifacts.metadata.source_hash)},
        raise_on_error=False,
    )
    status = result.dagster_run.status
    broken = next((found for found in results if found.error is not None), None)
    has_failed_nodes = any(node.status in FAILED for found in results for node in found.nodes)
    error = broken.error if broken else None
    if error is None and not result.success and not has_failed_nodes:
        error = _step_failure(result)
    return Outcome(
        is_success=result.success,
        was_cancelled=status in {dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING},
        error=error,
        is_unreachable=bool(broken and broken.is_unreachable),
    )


@contextmanager
def _around(run: _Run, step: assets.Step) -> Iterator[assets.Audience]:
    with run.observation.step(step.unit.name):
        yield assets.Audience(run.listener, run.observation.describes)


def _job(
    run: _Run, units: list[PlannedUnit], execution: assets.Execution, handlers: Handlers
) -> dg.JobDefinition:
    planned = [unit.unit for unit in units]
    whole = run_job(run.artifacts, planned, run.planned.request.job)
    definitions = dg.Definitions(
        assets=[
            *assets_of(run.artifacts, planned, run.root, execution),
            *assets.external_specs(planned),
        ],
        jobs=[whole],
        loggers={_LOGGER: _to(handlers)},
    )
    keys: set[dg.AssetKey] = set()
    checks: set[dg.AssetCheckKey] = set()
    for unit in units:
        unit_keys, unit_checks = _keys(unit)
        keys |= unit_keys
        checks |= unit_checks
    job = definitions.resolve_job_def(whole.name)
    return job.get_subset(asset_selection=keys, asset_check_selection=checks)


def _run_config(run: _Run, job: dg.JobDefinition) -> dict[str, Any]:
    request = run.planned.request
    of_all = {"full_refresh": request.full_refresh}
    of_dbt: dict[str, Any] = {**of_all, "threads": request.threads}
    if request.window is not None:
        of_dbt["event_time_start"] = request.window.start.isoformat()
        of_dbt["event_time_end"] = request.window.end.isoformat()
    others = {unit.unit.name for unit in run.planned.units if not unit.unit.is_dbt}
    return {
        "ops": {
            node.name: {"config": of_all if node.name in others else of_dbt} for node in job.nodes
        },
        "loggers": {_LOGGER: {}},
    }


def _step_failure(result: dg.ExecuteInProcessResult) -> str | None:
    """What Dagster says of the first step that failed."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            return data.error_display_string.partition("\n")[0]
        if event.is_failure:
            return event.message
    return None


def _run_tests(run: _Run, unit: PlannedUnit, instance: dg.DagsterInstance) -> Outcome:
    """Run tests that are no checks where nothing else of their project runs.

    No Dagster job can select them; what they find is kept in the instance as observations.
    """
    threads = run.planned.request.threads
    build = Build(
        run.engine,
        invocation(run.artifacts, unit.unit, run.root, run.secrets, threads),
        dbt_selection(unit.unit, unit.unique_ids),
        listener=run.listener,
        cancelled=run.cancelled,
    )
    with run.observation.step(unit.unit.name):
        for node in build:
            for observation in assets.observations(node, unit.unit):
                instance.report_runless_asset_event(observation)
    result = build.result
    return Outcome(
        is_success=result.is_success,
        was_cancelled=result.was_cancelled,
        error=failure_message(result, []),
        is_unreachable=result.is_unreachable,
    )


def _both(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(
        is_success=one.is_success and other.is_success,
        was_cancelled=one.was_cancelled or other.was_cancelled,
        error=one.error or other.error,
        is_unreachable=one.is_unreachable or other.is_unreachable,
    )


def _to(handlers: Handlers) -> dg.LoggerDefinition:
    def log(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("dagster-run", level=logging.DEBUG)
        for handler in handlers:
            logger.addHandler(handler)
        return logger

    return dg.LoggerDefinition(log, description="Writes to .floe/logs/dagster.log")


@contextmanager
def _dagster_log(layout: Layout, run: _Run) -> Iterator[Handlers]:
    """Send what Dagster and its libraries log to `.floe/logs/dagster.log` for a while.

    Where logs are exported, it is exported too.
    """
    make_folder(layout.logs)
    file = logging.FileHandler(layout.logs / "dagster.log", encoding="utf-8", delay=True)
    file.setFormatter(_formatter(run))
    file.setLevel(run.artifacts.observability.log_level or logging.NOTSET)
    exported = run.observation.log_handler
    chosen: Handlers = [file] if exported is None else [file, exported]
    loggers = [logging.getLogger(name) for name in _DAGSTER_LOGGERS]
    before = [(logger, logger.propagate, logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, list(chosen)
    try:
        yield chosen
    finally:
        for logger, propagate, handlers in before:
            logger.propagate, logger.handlers = propagate, handlers
        file.close()


def _formatter(run: _Run) -> logging.Formatter:
    form = run.artifacts.observability.log_format
    if form is None:
        return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    from floe_core.otel import formatter

    return formatter(form, lambda text: mask_values(text, run.secrets.values()))
