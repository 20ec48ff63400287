"""`floe doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import file_options, floe_file, repeated
from floe_cli.output import Output, plural, style

if TYPE_CHECKING:
    from floe_cli.doctor.check import Check, Section
    from floe_core.compiler.request import CompileRequest

EPILOG = """\b
Examples:
  floe doctor                   this installation, and the product in this folder
  floe doctor --env prod        another environment of it
  floe doctor --connect         asks the engine and the secret backends too
  floe doctor -v                every place that was searched, every version

Exit code 0 when nothing keeps floe from working, 3 when something does.
"""

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@floe_command("doctor", short_help="Check the installation and the product.", epilog=EPILOG)
@file_options
@click.option("--connect", is_flag=True, help="Reach for the engine; nothing else uses a network.")
def command(out: Output, connect: bool, **source: Any) -> int:
    """Say what is installed, found, writable and missing, and what to type about it.

    Works in any folder. Changes nothing, uses no network without `--connect`, and shows no secret.
    """
    sections = _examine(_request(**source), repeated(source), connect)
    problems = sum(check.status == "problem" for section in sections for check in section.checks)
    warnings = sum(check.status == "warning" for section in sections for check in section.checks)
    out.document({"ok": not problems, "sections": [section.to_dict() for section in sections]})
    for section in sections:
        out.result("\n".join([section.title, *_lines(section, out), ""]))
    counts = [plural(problems, "problem")] * bool(problems)
    counts += [plural(warnings, "warning")] * bool(warnings)
    out.result(", ".join(counts) or "All is well.")
    return Exit.INVALID if problems else Exit.OK


def _request(
    project_dir: Path | None, env: str | None, platform: Path | None
) -> CompileRequest | None:
    """The product that is meant; None outside of any."""
    from floe_core.compiler.request import CompileRequest
    from floe_core.errors import UsageError

    try:
        file = floe_file(project_dir)
    except UsageError:
        if project_dir is not None:
            raise
        return None
    return CompileRequest(floe_file=file, platform_file=platform, environment=env)


def _examine(request: CompileRequest | None, options: str, connect: bool) -> list[Section]:
    from floe_cli.doctor.check import Check, Section
    from floe_cli.doctor.installation import installation
    from floe_cli.doctor.product import engine, files, projects, read_product, references
    from floe_cli.doctor.state import state

    if request is None:
        message = "there is no floe.yaml in this folder or above it"
        return [installation(), Section("Files", (Check("warning", message, "floe init shop"),))]
    product = read_product(request, options)
    sections = (
        installation(),
        files(product),
        engine(product, is_connecting=connect),
        projects(product),
        references(product, is_connecting=connect),
        state(product),
    )
    return [section for section in sections if section is not None]


def _lines(section: Section, out: Output) -> list[str]:
    lines = []
    for check in section.checks:
        lines.append(f"  {_label(check)}  {check.message}")
        if check.mend:
            first, *rest = check.mend.splitlines()
            lines += [f"           > {first}", *(f"             {line}" for line in rest)]
        if out.is_verbose:
            lines += [f"             {detail}" for detail in check.details]
    return lines


def _label(check: Check) -> str:
    return style(f"{check.status:<7}", sys.stdout, fg=_COLOURS[check.status])
