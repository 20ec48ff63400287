"""What commands print: text for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from floe_core.environment_variables import NO_COLOR

if TYPE_CHECKING:
    from rich.status import Status

    from floe_core.diagnostics import Diagnostic
    from floe_core.errors import FloeError


CHECK_FORMATS = ("text", "json", "github", "sarif")
"""Forms of the output of commands whose result is what they find."""

_DOCUMENTS = frozenset(CHECK_FORMATS) - {"text"}
"""Forms that take all of standard output, for problems too."""


def asked_format(arguments: Sequence[str]) -> str:
    """Form of the output that a command line asks for which cannot be understood as a whole."""
    format = "text"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if word == "--":
            break
        if joined := re.fullmatch(r"(?:--output=|-[qv]*o)(.+)", word):
            value = joined[1]
        elif re.fullmatch(r"--output|-[qv]*o", word):
            value = following
        else:
            continue
        format = value if value in _DOCUMENTS else "text"
    return format


class Output:
    """Where a command prints to, and how much.

    Results go to standard output; everything else (progress, warnings, errors) to standard error,
    so that a result can be piped. With `format` json, github or sarif, the document is the whole
    of standard output, errors included.
    """

    def __init__(self, format: str = "text", verbosity: int = 0) -> None:
        self.format = format
        self.verbosity = verbosity
        self._found: list[Diagnostic] = []
        self._problem: FloeError | None = None

    @property
    def is_json(self) -> bool:
        """Whether a program reads the output."""
        return self.format == "json"

    @property
    def is_quiet(self) -> bool:
        """Whether only results and errors are wanted."""
        return self.verbosity < 0

    @property
    def is_verbose(self) -> bool:
        """Whether more than usual is wanted."""
        return self.verbosity > 0

    def result(self, text: str) -> None:
        """Print a result for people."""
        if self.format not in _DOCUMENTS:
            _echo(text, sys.stdout)

    def document(self, document: Any) -> None:
        """Print the result for programs."""
        if self.is_json:
            text = json.dumps(document, indent=2, default=str, ensure_ascii=False, allow_nan=False)
            _echo(text, sys.stdout)

    def note(self, text: str) -> None:
        """Say what is going on; not with `-q`."""
        if not self.is_quiet:
            _echo(text, sys.stderr)

    def status(self, text: str) -> Status | None:
        """Show what is at work until the status is stopped.

        None where nobody would see it, or where nothing but plain text is wanted.
        """
        if self.is_quiet or self.format != "text" or not has_colour(sys.stderr):
            return None
        from rich.console import Console

        status = Console(stderr=True, highlight=False).status(text, spinner_style="dim")
        status.start()
        return status

    def problem(self, text: str) -> None:
        """Say what went wrong; with `-q` too."""
        _echo(text, sys.stderr)

    def warn(self, text: str) -> None:
        """Say what could not be done and does not matter to the result; with `-q` too."""
        self.problem(f"{style('warning:', sys.stderr, fg='yellow', bold=True)} {text}")

    def detail(self, text: str) -> None:
        """Say what only `-v` asks for."""
        if self.is_verbose:
            _echo(text, sys.stderr)

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Print diagnostics and their count; with `-q` the errors alone."""
        shown = [d for d in diagnostics if d.is_error or not self.is_quiet]
        self._found += diagnostics
        if self.format == "github":
            self._annotate(shown)
        if not shown or self.format in _DOCUMENTS:
            return
        for diagnostic in shown:
            _echo(_coloured(diagnostic.render()) + "\n", sys.stderr)
        if any(d.is_error for d in shown):
            _echo(count_findings(shown), sys.stderr)

    def error(self, problem: FloeError) -> None:
        """Print an error."""
        if self.is_json:
            message = ", in ".join([problem.message, *getattr(problem, "__notes__", ())])
            document: dict[str, Any] = {"ok": False, "error": message, "help": problem.help}
            document |= diagnostics_document(getattr(problem, "diagnostics", ()))
            self.document(document)
        self._problem = problem
        if self.format == "github":
            from floe_cli import github

            _echo(github.error(problem), sys.stdout)
        if self.format in _DOCUMENTS:
            return
        label = style("error:", sys.stderr, fg="red", bold=True)
        _echo(f"{label} {problem.message}", sys.stderr)
        if problem.help:
            _echo(f"  help: {problem.help}", sys.stderr)

    def finish(self, exit_code: int) -> None:
        """Print what can only be printed when all is known."""
        if self.format == "sarif":
            from floe_cli import sarif
            from floe_cli.repository import repository_root

            log = sarif.log(self._found, self._problem, exit_code, repository_root())
            _echo(json.dumps(log, indent=2, ensure_ascii=False), sys.stdout)

    def _annotate(self, diagnostics: Sequence[Diagnostic]) -> None:
        from floe_cli import github
        from floe_cli.repository import repository_root

        root = repository_root()
        for diagnostic in diagnostics:
            _echo(github.annotation(diagnostic, root), sys.stdout)


def diagnostics_document(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """Diagnostics as data."""
    return {"diagnostics": [diagnostic.to_dict() for diagnostic in diagnostics]}


def count_findings(diagnostics: Sequence[Diagnostic]) -> str:
    """Count errors and warnings: `2 errors, 1 warning`."""
    errors = sum(1 for diagnostic in diagnostics if diagnostic.is_error)
    return ", ".join(
        [plural(errors, "error")] * bool(errors)
        + [plural(len(diagnostics) - errors, "warning")] * bool(len(diagnostics) - errors)
    )


def plural(count: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def style(text: str, stream: IO[str], **styles: Any) -> str:
    """Style text if the stream shows colours."""
    return click.style(text, **styles) if has_colour(stream) else text


def has_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that may be given more than plain text."""
    return is_terminal(stream) and not os.environ.get(NO_COLOR) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at the stream."""
    return bool(getattr(stream, "isatty", lambda: False)())


def _echo(text: str, stream: IO[str]) -> None:
    click.echo(text, file=stream, color=has_colour(stream))


def _coloured(rendered: str) -> str:
    """Colour the severity of a diagnostic, and the caret."""
    if not has_colour(sys.stderr):
        return rendered
    first, *rest = rendered.split("\n")
    colour = "red" if "error[" in first else "yellow"
    for word in ("error[", "warning["):
        first = first.replace(word, click.style(word[:-1], fg=colour, bold=True) + "[", 1)
    rest = [click.style(line, fg=colour) if set(line) <= set(" |^\t") else line for line in rest]
    return "\n".join([first, *rest])


def shown_path(path: Path) -> str:
    """A path as people read it: relative to the current folder where that is short."""
    from floe_core.diagnostics import display_path

    return display_path(path)
