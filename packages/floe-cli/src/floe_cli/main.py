"""The `floe` program."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from floe_core.version import __version__

_COMMANDS = (
    "init",
    "validate",
    "compile",
    "pull",
    "run",
    "dev",
    "query",
    "tables",
    "list",
    "trace",
    "lineage",
    "explain",
    "diff",
    "platform",
    "plugins",
    "deps",
    "clean",
    "schema",
    "doctor",
    "completion",
)


class LazyGroup(click.Group):
    """Finds a command's module when the command is asked for; `floe_cli.commands.<name>_`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in the order in which a newcomer meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"floe_cli.commands.{cmd_name}_").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Offer the near miss for a command that does not exist."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from floe_core.diagnostics import near_miss

            nearest = near_miss(name, _COMMANDS)
            hint = f" Did you mean `{nearest}`?" if nearest else ""
            ctx.fail(f"There is no command `{name}`.{hint}")
        return super().resolve_command(ctx, args)


EPILOG = """\b
Start a product and look at its first table:
  floe init shop && cd shop
  floe run
  floe query "select * from daily_revenue"

Exit codes: 0 done, 1 run failed, 2 usage, 3 invalid configuration,
4 policy violation, 5 service unreachable, 130 interrupted.
"""


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="floe", message="%(prog)s %(version)s")
def cli() -> None:
    """Two YAML files become a running data platform.

    floe.yaml says what to build (dbt transforms, schedules); platform.yaml says where.
    `floe compile` merges them into one contract, and `floe run` executes it.
    """


def main() -> None:
    """Run `floe`, and exit with one of the codes of `floe_cli.exits`."""
    try:
        cli.main(prog_name="floe", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(2)
    except click.ClickException as problem:
        _show(problem)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(1)


def _show(problem: click.ClickException) -> None:
    """Print what is wrong with the command line as all other errors are printed."""
    from floe_cli.output import Output, asked_format
    from floe_core.errors import UsageError

    context = getattr(problem, "ctx", None)
    command = context.command_path if context else "floe"
    message = problem.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    out = Output(asked_format(sys.argv[1:]))
    out.error(UsageError(message, help=f"`{command} --help` shows what there is."))
    out.finish(UsageError.exit_code)


def _close_stdout() -> None:
    """Keep Python from complaining about the reader that went away."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
