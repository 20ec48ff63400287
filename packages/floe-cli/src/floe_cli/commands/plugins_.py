"""`floe plugins`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.output import Output, has_colour, plural

if TYPE_CHECKING:
    from floe_core.entry_points import PluginState

EPILOG = """\b
Examples:
  floe plugins                       all that is installed
  floe plugins --group transforms    the kinds of transforms
  floe plugins --check               exit code 1 if one cannot be used
"""

_WIDEST = 1000
_GROUPS = ("transforms", "targets", "catalogs", "telemetry", "secrets")


@floe_command(
    "plugins", short_help="Show the plugins that are installed, and what they are.", epilog=EPILOG
)
@click.option("-g", "--group", type=click.Choice(_GROUPS), help="Show the plugins of one group.")
@click.option("--check", is_flag=True, help="Exit with 1 if a plugin cannot be used.")
def command(out: Output, group: str | None, check: bool) -> int:
    """Load every installed plugin, and show where it is from or why it cannot be used.

    A plugin is an entry point of an installed distribution; floe's own choices are plugins too. One
    that cannot be used harms nothing until a product needs it, so the exit code is 0 unless
    `--check` asks.
    """
    from floe_core.plugins import states

    groups = (group,) if group else _GROUPS
    found = [state for name in groups for state in states(f"floe.{name}")]
    broken = [state for state in found if state.state != "ok"]
    out.document(
        {
            "ok": not broken,
            "plugins": [
                {
                    "group": state.registration.group,
                    "name": state.registration.name,
                    "distribution": state.registration.distribution,
                    "version": state.registration.version,
                    "module": state.registration.target,
                    "state": state.state,
                    "reason": state.reason,
                }
                for state in found
            ],
        }
    )
    if not out.is_json:
        _print_table(found)
        bad = f", {len(broken)} of them cannot be used" if broken else ""
        out.note(f"{plural(len(found), 'plugin')}{bad}")
    return Exit.FAILED if broken and check else Exit.OK


def _print_table(found: Sequence[PluginState]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("group", "name", "distribution", "module", "state"):
        table.add_column(column, no_wrap=True)
    for state in found:
        registration = state.registration
        shown = state.state if state.reason is None else f"{state.state}: {state.reason}"
        colour = "green" if state.state == "ok" else "red"
        table.add_row(
            Text(registration.group),
            Text(registration.name),
            Text(registration.origin),
            Text(registration.target),
            Text(shown, style=colour),
        )
    is_styled = has_colour(sys.stdout)
    console = Console(
        file=sys.stdout, width=_WIDEST, no_color=not is_styled, force_terminal=is_styled
    )
    console.print(table, width=console.measure(table).maximum, crop=False, no_wrap=True)
