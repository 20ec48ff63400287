"""`floe completion`."""

from __future__ import annotations

import click

from floe_cli.edge import floe_command
from floe_cli.output import Output

EPILOG = """\b
Put this where your shell starts, then open a new one:
  bash  echo 'eval "$(floe completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(floe completion zsh)"' >> ~/.zshrc     (after compinit)
  fish  floe completion fish > ~/.config/fish/completions/floe.fish
"""


@floe_command(
    "completion",
    formats=("text",),
    short_help="Print the script that completes commands in your shell.",
    epilog=EPILOG,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(out: Output, shell: str) -> None:
    """Print the script with which your shell completes floe's commands, options and values.

    Environments are completed from platform files; transforms, models and tags from what
    `floe compile` wrote last.
    """
    from click.shell_completion import get_completion_class

    from floe_cli.main import cli

    completer = get_completion_class(shell)
    assert completer is not None
    out.result(completer(cli, {}, "floe", "_FLOE_COMPLETE").source().rstrip("\n"))
