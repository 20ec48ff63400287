"""What commands ask before they change what matters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from floe_cli.output import is_terminal

if TYPE_CHECKING:
    from floe_core.schemas.artifacts import CompiledArtifacts


def confirm_production(artifacts: CompiledArtifacts, what: str, yes: bool) -> None:
    """Ask before something is done in an environment of category production.

    Args:
        artifacts: Say which environment it is.
        what: What will be done, such as `Run 3 nodes of shop`.
        yes: Whether the answer was given with `--yes`.

    Raises:
        UsageError: if there is nobody to ask.
        Abort: if the answer is no.
    """
    from floe_core.errors import UsageError

    if yes or not artifacts.is_production:
        return
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"environment {artifacts.environment} is production, and there is no terminal to ask",
            help="Add `--yes` to run it all the same.",
        )
    click.confirm(f"{what} in production ({artifacts.environment})?", abort=True, err=True)
