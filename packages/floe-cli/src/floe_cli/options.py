"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from floe_core.compiler.request import CompileRequest

F = TypeVar("F", bound=Callable[..., Any])


def project_option(command: F) -> F:
    """Add `--project-dir`."""
    return click.option(
        "-C",
        "--project-dir",
        type=click.Path(path_type=Path),
        default=None,
        help="Folder of floe.yaml; the current one or one above it otherwise.",
    )(command)


def source_options(command: F) -> F:
    """Add the options that say what is compiled."""
    for decorate in (
        click.option("--vars", "vars_", metavar="YAML", help="dbt vars, as YAML: '{key: value}'."),
        click.option(
            "--platform",
            type=click.Path(path_type=Path),
            help="Platform file; it is looked for otherwise.",
        ),
        click.option(
            "-e",
            "--env",
            metavar="NAME",
            help="Environment; FLOE_ENV, the platform file's or `local` otherwise.",
        ),
        project_option,
    ):
        command = decorate(command)
    return command


def compile_request(
    project_dir: Path | None, env: str | None, platform: Path | None, vars_: str | None
) -> CompileRequest:
    """Turn the options into what the compiler is asked to do, and open the log.

    Raises:
        UsageError: if there is no floe.yaml, or `--vars` is no mapping.
    """
    from floe_cli.edge import open_log
    from floe_core.compiler.request import CompileRequest

    request = CompileRequest(
        floe_file=floe_file(project_dir),
        platform_file=platform,
        environment=env,
        vars=parse_vars(vars_),
    )
    if request.floe_file.exists():
        open_log(request.root)
    return request


def floe_file(project_dir: Path | None) -> Path:
    """Path of floe.yaml, as short as it can be shown.

    Raises:
        UsageError: if there is none.
    """
    from floe_core.compiler.request import FLOE_FILE, find_floe_file
    from floe_core.errors import UsageError

    if project_dir is None:
        return find_floe_file(Path.cwd())
    path = project_dir if project_dir.name == FLOE_FILE else project_dir / FLOE_FILE
    if not path.exists() and not path.is_symlink():
        raise UsageError(
            f"there is no {FLOE_FILE} in {project_dir}",
            help="Run `floe init` to start a product there.",
        )
    return path


def parse_vars(text: str | None) -> dict[str, Any]:
    """Read `--vars`.

    Raises:
        UsageError: if it is not a YAML mapping.
    """
    if text is None:
        return {}
    import yaml

    from floe_core.errors import UsageError

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(
            "--vars is not a YAML mapping", help="Write it like `--vars '{start: 2013-01-01}'`."
        )
    return _as_json(value)


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """YAML's dates as text, as dbt reads them."""
    import json

    document: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return document
