"""`floe dev`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import artifacts_option, compile_request, source_options
from floe_cli.output import Output, shown_path

if TYPE_CHECKING:
    from floe_cli.freshness import Stored
    from floe_core.compiler.request import CompileRequest
    from floe_core.schemas.artifacts import CompiledArtifacts
    from floe_dagster.dev import Ready

EPILOG = """\b
Examples:
  floe dev                    Dagster on http://127.0.0.1:3000
  floe dev --port 0           on a free port, which it prints
  floe dev --schedules        with schedules that start runs
  floe dev --env staging      on the definitions of another environment
"""


@floe_command("dev", short_help="Serve the product in Dagster, and follow changes.", epilog=EPILOG)
@source_options
@artifacts_option
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="Port to listen on; 0 for a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than the default let other machines in.",
)
@click.option("--schedules", is_flag=True, help="Start schedules and sensors, in `local` too.")
def command(
    out: Output, port: int, host: str, schedules: bool, artifacts: Path | None, **source: Any
) -> int:
    """Serve the product in Dagster's web pages until Ctrl-C, and compile again when files change.

    What is launched there runs as with `floe run`, and is recorded in the same places. Definitions
    follow floe.yaml, platform.yaml and the dbt projects; while those are wrong, the last good ones
    stay. Artifacts that were pulled are served as they are. In environment `local`, schedules and
    sensors are stopped unless you start them.
    """
    from floe_cli.freshness import place_here, stored_artifacts
    from floe_dagster.dev import develop
    from floe_dagster.services import free_address

    address = free_address(host, port)
    stored = stored_artifacts(artifacts, source, out)
    if stored:
        request, what = None, _stored(out, place_here(stored, out), artifacts)
    else:
        request, what = _compiled(out, source)
    try:
        develop(
            what.artifacts,
            root=what.root,
            request=request,
            address=address,
            schedules=schedules,
            console=out,
            on_ready=lambda ready: _show(out, what.artifacts, ready, schedules),
        )
    except KeyboardInterrupt:
        out.note("Stopped.")
    return Exit.INTERRUPTED


def _stored(out: Output, stored: Stored, named: Path | None) -> Stored:
    which = f"the artifacts in {named}" if named else "the artifacts that were pulled"
    out.note(
        f"Taking {which}: {stored.artifacts.product} for environment "
        f"{stored.artifacts.environment}. They are not compiled when files change. "
        "Starting Dagster ..."
    )
    return stored


def _compiled(out: Output, source: Mapping[str, Any]) -> tuple[CompileRequest, Stored]:
    from floe_cli.freshness import Stored, compile_now, describe_contents

    request = compile_request(**source)
    fresh = compile_now(request, out)
    artifacts = fresh.compilation.artifacts
    out.note(
        f"Compiled {artifacts.product} for environment {artifacts.environment}: "
        f"{describe_contents(fresh)}. Starting Dagster ..."
    )
    return request, Stored(artifacts, fresh.root)


def _show(out: Output, artifacts: CompiledArtifacts, ready: Ready, schedules: bool) -> None:
    out.document(
        {
            "ok": True,
            "product": artifacts.product,
            "environment": artifacts.environment,
            "url": ready.url,
            "dagster_home": str(ready.dagster_home),
        }
    )
    out.result(f"Serving {artifacts.product} at {ready.url}")
    out.note(f"  runs are recorded in {shown_path(ready.dagster_home)}, logs are in .floe/logs")
    if artifacts.environment == "local" and not schedules:
        out.note("  schedules and sensors are stopped; `--schedules` starts them")
    out.note("  Ctrl-C stops it")
