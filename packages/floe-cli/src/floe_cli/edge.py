"""The edge of every command: shared options, error handling and the log file."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from floe_cli.exits import Exit
from floe_cli.output import Output
from floe_core.errors import CompileError, FloeError, UnwritableError

_log = logging.getLogger("floe")
_log.addHandler(logging.NullHandler())  # without a log file, nothing is said twice

Body = Callable[..., int | None]


def floe_command(
    name: str,
    *,
    formats: tuple[str, ...] = ("text", "json"),
    writes_file: bool = False,
    **attributes: Any,
) -> Callable[[Body], click.Command]:
    """Make a command of a function that takes an `Output` first and may return an exit code.

    Adds `--output`, `-v` and `-q`. Errors that floe raises are printed, and give the exit code;
    anything else is a defect of floe: it is written to the log, and says so.

    With `writes_file`, a value of `--output` that is no form of the output is the path of a file,
    which the function gets as `file`; the option may then be given twice, for both.
    """

    def decorate(body: Body) -> click.Command:
        @functools.wraps(body)
        def edge(output: str | tuple[str, ...], verbose: int, quiet: bool, **options: Any) -> None:
            form = output if isinstance(output, str) else _form(output, formats)
            if not isinstance(output, str):
                options["file"] = _file(output, formats)
            out = Output(form, verbosity=-1 if quiet else verbose)
            sys.exit(_guarded(body, out, options))

        shared = (
            click.option("-q", "--quiet", is_flag=True, help="Print results and errors only."),
            click.option("-v", "--verbose", count=True, help="Print more."),
            _form_or_file_option(formats) if writes_file else _form_option(formats),
        )
        make: Callable[[Callable[..., None]], click.Command] = click.command(name, **attributes)
        wrapped: Callable[..., None] = edge
        for option in shared:
            wrapped = option(wrapped)
        return make(wrapped)

    return decorate


def _form_option(formats: tuple[str, ...]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default="text",
        show_default=True,
        help="Form of the output.",
    )


def _form_or_file_option(formats: tuple[str, ...]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        multiple=True,
        metavar=f"[{'|'.join(formats)}|FILE]",
        help="Form of the output, or else a file to write; may be given twice, for both.",
    )


def _form(values: tuple[str, ...], formats: tuple[str, ...]) -> str:
    return next((value for value in reversed(values) if value in formats), "text")


def _file(values: tuple[str, ...], formats: tuple[str, ...]) -> Path | None:
    """The file among the values of `--output`.

    Raises:
        UsageError: if there are several.
    """
    files = [value for value in values if value not in formats]
    if len(files) > 1 or "" in files:
        raise click.UsageError(f"`--output` takes one file, not {len(files)}")
    return Path(files[0]) if files else None


def _guarded(body: Body, out: Output, options: dict[str, Any]) -> int:
    code = _run(body, out, options)
    out.finish(code)
    return code


def _run(body: Body, out: Output, options: dict[str, Any]) -> int:
    try:
        return int(body(out, **options) or Exit.OK)
    except CompileError as problem:
        out.diagnostics(problem.diagnostics)
        if out.is_json:
            out.error(problem)
        return problem.exit_code
    except FloeError as problem:
        out.error(problem)
        _log.error("%s", problem.message)
        return problem.exit_code
    except (KeyboardInterrupt, click.Abort, click.ClickException, BrokenPipeError):
        raise
    except Exception as problem:
        return _defect(out, problem)
    finally:
        close_log()


def _defect(out: Output, problem: Exception) -> int:
    """Say that floe itself is at fault; the traceback goes to the log, or to `-v`."""
    _log.exception("internal error")
    where = next(
        (h.baseFilename for h in _log.handlers if isinstance(h, logging.FileHandler)), None
    )
    help = f"The traceback is in {where}." if where else "Run it again with `-v` for the traceback."
    if out.is_verbose:
        import traceback

        traceback.print_exc()
    out.error(FloeError(f"floe itself failed: {type(problem).__name__}: {problem}", help=help))
    return Exit.FAILED


def open_log(root: Path) -> None:
    """Write the log of this command to `.floe/logs/floe.log`; up to 1 MiB, one older file.

    A folder that cannot be written to costs the log, not the command.
    """
    from logging.handlers import RotatingFileHandler

    from floe_core.layout import Layout, make_folder

    close_log()
    layout = Layout(root)
    try:
        layout.prepare()
        make_folder(layout.logs)
        handler = RotatingFileHandler(
            layout.logs / "floe.log", maxBytes=1024 * 1024, backupCount=1, encoding="utf-8"
        )
    except (OSError, UnwritableError):
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    _log.info("floe %s", " ".join(sys.argv[1:2]))  # options may hold what no log should


def close_log() -> None:
    """Close the log of this command."""
    for handler in list(_log.handlers):
        if isinstance(handler, logging.FileHandler):
            _log.removeHandler(handler)
            handler.close()
