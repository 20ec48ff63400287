"""`floe validate`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, source_options
from floe_cli.output import CHECK_FORMATS, Output, diagnostics_document

EPILOG = """\b
Examples:
  floe validate                           for people
  floe validate --output github           as annotations of a GitHub workflow
  floe validate --output sarif > a.sarif  for code scanning
"""


@floe_command(
    "validate",
    formats=CHECK_FORMATS,
    short_help="Check floe.yaml and platform.yaml without dbt.",
    epilog=EPILOG,
)
@source_options
def command(out: Output, **source: Any) -> None:
    """Check floe.yaml and platform.yaml, and say everything that is wrong at once.

    Looks at both files and at the file system, without starting dbt; takes a fraction of a
    second. `floe compile` checks models, selections and tests as well.
    """
    from floe_core.compiler.pipeline import CHECKS, check, run_stages

    request = compile_request(**source)
    _restore_schemas(request.root)
    outcome = run_stages(CHECKS, request)
    check(outcome)
    out.diagnostics(outcome.diagnostics)
    resolved = outcome.value
    out.document(
        {
            "ok": True,
            "product": resolved.floe.name,
            "environment": resolved.environment,
            **diagnostics_document(outcome.diagnostics),
        }
    )
    out.result(f"{resolved.floe.name} is valid for environment {resolved.environment}.")


def _restore_schemas(root: Path) -> None:
    """Put back what the editor hints in both files point to, where that may be written."""
    from floe_core.errors import UnwritableError
    from floe_core.layout import Layout
    from floe_core.schemas.json_schema import write_schemas

    layout = Layout(root)
    if not layout.schemas.is_dir():
        with suppress(UnwritableError):
            layout.prepare()
            write_schemas(layout.schemas)
