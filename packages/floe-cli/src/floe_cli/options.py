"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from floe_cli import completion

if TYPE_CHECKING:
    import yaml

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
    vars_ = click.option(
        "--vars", "vars_", metavar="YAML", help="dbt vars, as YAML: '{key: value}'."
    )
    return file_options(vars_(command))


def file_options(command: F) -> F:
    """Add the options that say which files are read."""
    for decorate in (
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
            shell_complete=completion.environments,
        ),
        project_option,
    ):
        command = decorate(command)
    return command


def artifacts_option(command: F) -> F:
    """Add `--artifacts`."""
    return click.option(
        "--artifacts",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Artifacts to work from; the pulled ones, else freshly compiled ones, otherwise.",
    )(command)


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


def repeated(source: Mapping[str, Any], artifacts: Path | None = None) -> str:
    """The options that the next command needs as well, with a space before each."""
    given = (
        ("--artifacts", artifacts),
        ("--env", source["env"]),
        ("--platform", source["platform"]),
        ("-C", source["project_dir"]),
    )
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given if value)


def parse_vars(text: str | None) -> dict[str, Any]:
    """Read `--vars` as dbt does, except that a key may be written once only.

    Raises:
        UsageError: if it is not a YAML mapping.
    """
    if text is None:
        return {}
    import yaml

    from floe_core.errors import UsageError

    try:
        twice = _key_written_twice(yaml.compose(text, Loader=yaml.SafeLoader))
        value = _as_json(yaml.safe_load(text))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        twice, value = None, None
    if twice is not None:
        raise UsageError(f"--vars holds the key `{twice}` twice", help="Write it once.")
    if not isinstance(value, dict):
        raise UsageError(
            "--vars is not a YAML mapping", help="Write it like `--vars '{start: 2013-01-01}'`."
        )
    return value


def _key_written_twice(document: yaml.Node | None) -> str | None:
    """A key that is written twice in one mapping; YAML readers would take the last."""
    import yaml

    waiting, seen = [document], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            return str(twice)
        waiting += [value for _, value in node.value]
    return None


def _as_json(value: Any) -> Any:
    """YAML's dates as text, as dbt reads them.

    Raises:
        TypeError: if a key at the top is no text, or one below it neither text nor a number.
        ValueError: if a value holds itself.
    """
    import json

    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise TypeError("a key is no text")
    return json.loads(json.dumps(value, default=str))
