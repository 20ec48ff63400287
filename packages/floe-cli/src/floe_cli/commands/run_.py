"""`floe run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli import completion
from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import artifacts_option, compile_request, repeated, source_options
from floe_cli.output import Output, plural

if TYPE_CHECKING:
    from floe_cli.freshness import Fresh, Stored
    from floe_core.compiler.request import CompileRequest
    from floe_dagster.plan import RunPlan

EPILOG = """\b
Examples:
  floe run                                everything
  floe run --select customers+            a model and all that reads it
  floe run --transform gold --dry-run     what a run of one transform would do
  floe run --job nightly                  what a job of floe.yaml runs
  floe run --failed                       what failed or was skipped last time
  floe run --event-time-start 2024-01-01 --event-time-end 2024-01-08
                                          a week of microbatch models
"""


@floe_command("run", short_help="Build and test the product.", epilog=EPILOG)
@source_options
@artifacts_option
@click.option(
    "-s",
    "--select",
    multiple=True,
    metavar="SELECTION",
    help="dbt selection to run.",
    shell_complete=completion.selections,
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="SELECTION",
    help="dbt selection to leave out.",
    shell_complete=completion.selections,
)
@click.option(
    "-t",
    "--transform",
    multiple=True,
    metavar="NAME",
    help="Transform to run.",
    shell_complete=completion.transforms,
)
@click.option(
    "-j",
    "--job",
    metavar="NAME",
    help="Job of floe.yaml to run.",
    shell_complete=completion.jobs,
)
@click.option("--failed", is_flag=True, help="Run what failed or was skipped last time.")
@click.option("--full-refresh", is_flag=True, help="Rebuild incremental models and seeds.")
@click.option(
    "--event-time-start", metavar="TIME", help="Start of what microbatch models process (UTC)."
)
@click.option("--event-time-end", metavar="TIME", help="End of it, which is excluded.")
@click.option("--threads", type=click.IntRange(min=1), help="Number of models built at once.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before a run in production.")
@click.option(
    "--no-telemetry", is_flag=True, help="Send no traces, metrics, logs and lineage of this run."
)
@click.option("--dry-run", is_flag=True, help="Show what would be run, and stop.")
def command(
    out: Output,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    transform: tuple[str, ...],
    job: str | None,
    failed: bool,
    full_refresh: bool,
    event_time_start: str | None,
    event_time_end: str | None,
    threads: int | None,
    yes: bool,
    no_telemetry: bool,
    dry_run: bool,
    artifacts: Path | None,
    **source: Any,
) -> int:
    """Build the product's seeds, models and snapshots, and run their tests, in dbt's order.

    Compiles first if anything has changed, unless artifacts were pulled: those then run. The run is
    recorded in Dagster's instance and under .floe/runs; `floe list` shows the last state of each
    model.
    """
    from floe_cli.confirmation import confirm_production
    from floe_cli.freshness import place_here, stored_artifacts
    from floe_cli.progress import Progress, record_document, summarise
    from floe_core.observability import no_telemetry_if
    from floe_core.secrets import remembered
    from floe_dagster.execute import execute
    from floe_dagster.plan import RunRequest, plan
    from floe_dagster.windows import parse_window

    window = parse_window(event_time_start, event_time_end)
    with remembered(), no_telemetry_if(no_telemetry):
        stored = stored_artifacts(artifacts, source, out)
        here = place_here(stored, out) if stored else _compiled(out, failed, source)
        what, root = here.artifacts, here.root
        request = RunRequest(
            select, exclude, transform, failed, full_refresh, threads, job=job, window=window
        )
        decided = plan(what, root=root, request=request)
        if dry_run:
            _show_plan(out, decided)
            return Exit.OK
        count = plural(len(decided.unique_ids), "node")
        confirm_production(what, f"Run {count} of {what.product}", yes)
        with Progress(out, decided) as progress:
            record = execute(
                what,
                root=root,
                planned=decided,
                listener=progress.listen,
                compile_seconds=here.compile_seconds,
            )
    out.document(record_document(record))
    summarise(out, record, root, _projects(decided, root), repeated(source, artifacts))
    if record.status == "cancelled":
        return Exit.INTERRUPTED
    if record.is_unreachable:
        return Exit.UNAVAILABLE
    return Exit.OK if record.is_success else Exit.FAILED


def _compiled(out: Output, failed: bool, source: Mapping[str, Any]) -> Stored:
    """Artifacts that are up to date with the files."""
    from floe_cli.freshness import Stored, compile_now

    request = compile_request(**source)
    fresh = compile_now(request, out)
    if failed and source["vars_"] is None:
        fresh = _with_the_vars_of_last_time(fresh, request, out)
    artifacts = fresh.compilation.artifacts
    if fresh.compilation.is_changed:
        out.note(f"Compiled {artifacts.product} for environment {artifacts.environment}.")
    return Stored(artifacts, fresh.root, sum(fresh.stages.values()))


def _with_the_vars_of_last_time(fresh: Fresh, request: CompileRequest, out: Output) -> Fresh:
    """What failed is run again as it was run: with the same dbt vars."""
    from floe_cli.freshness import compile_now
    from floe_core.layout import Layout
    from floe_dagster.records import read_records

    artifacts = fresh.compilation.artifacts
    records = read_records(Layout(fresh.root), artifacts.environment, limit=1)
    if not records or dict(records[0].vars) == artifacts.dbt_vars:
        return fresh
    return compile_now(replace(request, vars=records[0].vars), out)


def _projects(decided: RunPlan, root: Path) -> dict[str, Path]:
    """Folder of the dbt project of each transform, by the transform's name."""
    return {
        name: root / planned.project
        for planned in decided.units
        for name in planned.unit.transforms
    }


def _show_plan(out: Output, decided: RunPlan) -> None:
    rows = [
        {
            "unique_id": node.unique_id,
            "name": node.name,
            "resource_type": node.resource_type,
            "transform": node.transform,
        }
        for unit in decided.units
        for node in (*unit.nodes, *unit.tests)
    ]
    out.document(
        {
            "ok": True,
            "product": decided.product,
            "environment": decided.environment,
            "dry_run": True,
            "nodes": rows,
        }
    )
    width = max(len(row["name"] or "") for row in rows)
    lines = [
        f"  {row['resource_type']:<8}  {row['name']:<{width}}  {row['transform'] or ''}".rstrip()
        for row in rows
    ]
    out.result(
        f"Would run {plural(len(rows), 'node')} of {decided.product} "
        f"in environment {decided.environment}:\n" + "\n".join(lines)
    )
