"""`floe platform`."""

from __future__ import annotations

from typing import Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, source_options
from floe_cli.output import Output, diagnostics_document, shown_path


@click.group("platform", short_help="The platform of an environment.")
def command() -> None:
    """The platform of an environment, as a compile sees it."""


@floe_command("show", short_help="Print the resolved platform as YAML.")
@source_options
def show(out: Output, **source: Any) -> None:
    r"""Print the platform that a compile would use, as YAML.

    It is the canonical form of the file: with defaults, with the built-in sections of environment
    `local`, and with paths relative to floe.yaml. Secrets are references. A comment says which file
    it is and why; `-v` adds the places that were looked at before.

    \b
    Examples:
      floe platform show --env prod
      diff <(floe platform show --env dev) <(floe platform show --env prod)
    """
    from floe_core.compiler.pipeline import CHECKS, check, run_stages
    from floe_core.compiler.platform_view import platform_document, platform_yaml

    outcome = run_stages(CHECKS, compile_request(**source))
    check(outcome)
    out.diagnostics(outcome.diagnostics)
    resolved = outcome.value
    choice = resolved.loaded.choice
    out.document(
        {
            "ok": True,
            "environment": resolved.environment,
            "file": shown_path(choice.path) if choice.path else None,
            "reason": choice.reason,
            "searched": [shown_path(path) for path in choice.searched],
            "built_in": sorted(resolved.built_in),
            "platform": platform_document(resolved),
            **diagnostics_document(outcome.diagnostics),
        }
    )
    out.result(platform_yaml(resolved, with_searched=out.is_verbose).rstrip("\n"))


command.add_command(show)
