"""`floe compile`."""

from __future__ import annotations

import time
from typing import Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, source_options
from floe_cli.output import CHECK_FORMATS, Output, diagnostics_document, shown_path

EPILOG = """\b
Examples:
  floe compile                            for environment `local`, or what platform.yaml says
  floe compile --env prod                 for another environment
  floe compile --output github            problems as annotations of a GitHub workflow
  floe compile --trace                    a trace of its stages, where platform.yaml sends traces
"""


@floe_command(
    "compile",
    formats=CHECK_FORMATS,
    short_help="Merge both files into .floe/artifacts.json.",
    epilog=EPILOG,
)
@source_options
@click.option("--trace", is_flag=True, help="Send a trace of the stages.")
def command(out: Output, trace: bool, **source: Any) -> None:
    """Merge floe.yaml and platform.yaml into one contract, .floe/artifacts.json.

    Parses the dbt projects that changed since last time. Needs no network and no credentials.
    With SOURCE_DATE_EPOCH set, equal inputs give equal files, byte for byte.
    """
    from floe_cli.freshness import compile_now, describe_contents

    started = time.perf_counter()
    fresh = compile_now(compile_request(**source), out)
    compilation, artifacts = fresh.compilation, fresh.compilation.artifacts
    seconds = time.perf_counter() - started
    out.document(
        {
            "ok": True,
            "product": artifacts.product,
            "environment": artifacts.environment,
            "artifacts": shown_path(compilation.path),
            "source_hash": artifacts.metadata.source_hash,
            "is_changed": compilation.is_changed,
            "parsed_projects": list(compilation.parsed),
            "seconds": round(seconds, 3),
            **diagnostics_document(fresh.diagnostics),
        }
    )
    verb = "Compiled" if compilation.is_changed else "Nothing changed in"
    out.result(
        f"{verb} {artifacts.product} for environment {artifacts.environment}: "
        f"{describe_contents(fresh)} ({seconds:.1f} s)\n"
        f"  {shown_path(compilation.path)}"
    )
    if trace:
        from floe_cli.compile_trace import send

        send(fresh, out)
    out.note("Next: floe run")
