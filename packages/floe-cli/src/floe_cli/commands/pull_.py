"""`floe pull`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, project_option
from floe_cli.output import Output, shown_path

if TYPE_CHECKING:
    from floe_client import Pulled
    from floe_core.compiler.request import CompileRequest
    from floe_core.errors import FloeError, UsageError
    from floe_core.layout import Layout
    from floe_core.schemas.artifacts import CompiledArtifacts, CompiledControlPlane

EPILOG = """\b
Examples:
  floe pull --env preview                         what `floe run` then runs
  floe pull --env production --output prod.json   into a file of its own
  floe pull --rollback                            back to what was there before

The control plane is `control_plane` of platform.yaml, or of floe.yaml. The API
key is in the variable that its `api_key_env` names, and is sent to that host
alone. Exit codes: 2 no such environment, 3 no control plane named, key missing
or refused, or an answer that is no artifacts, 5 no answer.
"""


@floe_command(
    "pull",
    writes_file=True,
    short_help="Fetch artifacts from the control plane.",
    epilog=EPILOG,
)
@click.option(
    "-e",
    "--env",
    metavar="NAME",
    help="Environment of the control plane: a key of `control_plane.environments`, else its id.",
)
@click.option(
    "--platform",
    type=click.Path(path_type=Path),
    help="Platform file; it is looked for otherwise.",
)
@click.option("--rollback", is_flag=True, help="Go back to the artifacts that were there before.")
@project_option
def command(
    out: Output,
    env: str | None,
    platform: Path | None,
    rollback: bool,
    file: Path | None,
    project_dir: Path | None,
) -> None:
    """Fetch the artifacts of an environment from the control plane into .floe/artifacts.json.

    `floe run`, `query` and `list` then work from them, until the next `floe compile`. Nothing is
    replaced unless the answer follows the contract; what was there is kept for `--rollback`. When
    nothing has changed, nothing is fetched.
    """
    from floe_client import rollback as roll_back
    from floe_core.errors import UsageError
    from floe_core.layout import Layout

    if rollback and (env or file):
        raise UsageError("`--rollback` fetches nothing, so it goes with neither `--env` nor a file")
    request = compile_request(project_dir, _as_name(env), platform, None)
    layout = Layout(request.root)
    before = _current(layout)
    if rollback:
        _show(out, roll_back(layout), before, "Went back to")
        return
    name = env or request.wanted_environment
    if name is None:
        raise UsageError(
            "`floe pull` needs the environment to fetch", help="Write it: `floe pull --env NAME`."
        )
    pulled = _pull(out, request, name, layout, file)
    _show(out, pulled, None if file else before, "Pulled")


def _as_name(env: str | None) -> str | None:
    """The environment, where it can be the name of one of ours: it then has a platform file."""
    from floe_core.schemas.base import IDENTIFIER_PATTERN

    return env if env and re.fullmatch(IDENTIFIER_PATTERN, env) else None


def _current(layout: Layout) -> CompiledArtifacts | None:
    """The artifacts that are there now, to say what changes."""
    from floe_core.artifacts import NewerArtifactsWarning, load_artifacts
    from floe_core.errors import ArtifactsError

    try:
        with warnings.catch_warnings(action="ignore", category=NewerArtifactsWarning):
            return load_artifacts(layout.artifacts)
    except ArtifactsError:
        return None


def _pull(
    out: Output, request: CompileRequest, name: str, layout: Layout, file: Path | None
) -> Pulled:
    from floe_cli.freshness import newer_artifacts_noted
    from floe_client import ControlPlaneClient, pull
    from floe_client.client import NoSuchEnvironmentError
    from floe_core.compiler.control_plane import find_control_plane

    control_plane = find_control_plane(request)
    client = ControlPlaneClient(control_plane)
    if client.sends_key_in_clear:
        out.problem(
            f"warning: {client.host} is asked over http, so the API key crosses the network "
            "unencrypted; write `https://` in `control_plane.api_url`"
        )
    status = out.status(f"asking {client.host} ...")
    try:
        with newer_artifacts_noted(out):
            return pull(client, control_plane.environments.get(name, name), layout, file)
    except NoSuchEnvironmentError as problem:
        raise _no_such_environment(problem, name, control_plane) from None
    finally:
        if status is not None:
            status.stop()


def _no_such_environment(
    problem: FloeError, name: str, control_plane: CompiledControlPlane
) -> UsageError:
    """Say which environments have a name, and which id a name stands for."""
    from floe_core.diagnostics import did_you_mean
    from floe_core.errors import UsageError

    known = control_plane.environments
    if name in known:
        help = f"`control_plane.environments` says that `{name}` is `{known[name]}` there."
    elif known:
        help = f"`{name}` was taken as its id: " + did_you_mean(name, known, "names")
    else:
        help = f"`{name}` was taken as its id: `control_plane.environments` is empty."
    return UsageError(problem.message.replace("this environment", f"`{name}`"), help=help)


def _show(out: Output, done: Pulled, before: CompiledArtifacts | None, verb: str) -> None:
    now, old = _facts(done.artifacts), _facts(before) if before else {}
    out.document(
        {
            "ok": True,
            "is_changed": done.is_changed,
            "artifacts": shown_path(done.path),
            **now,
            "before": old or None,
        }
    )
    of = f"{now['product']} for environment {now['environment']}"
    if not done.is_changed:
        out.result(f"Not modified: {of} is as it was.\n  {shown_path(done.path)}")
    else:
        width = max(map(len, now))
        lines = [
            f"  {key:<{width}}  {value}"
            + (f" (was {old[key]})" if _differs(old, key, value) else "")
            for key, value in now.items()
        ]
        out.result("\n".join([f"{verb} {of}:", *lines, f"  {shown_path(done.path)}"]))
    if done.path.name == "artifacts.json" and done.path.parent.name == ".floe":
        out.note("Next: floe run")


def _differs(old: Mapping[str, Any], key: str, value: object) -> bool:
    return key in old and old[key] != value


def _facts(artifacts: CompiledArtifacts) -> dict[str, str]:
    """What tells one version of a product's artifacts from the next."""
    context = artifacts.environment_context
    return {
        "product": artifacts.product,
        "environment": artifacts.environment,
        "environment_id": context.environment_id if context else "-",
        "compute": artifacts.compute.target,
        "version": artifacts.version,
        "compiled_at": artifacts.metadata.compiled_at.isoformat(),
        "source_hash": artifacts.metadata.source_hash,
        "origin": artifacts.metadata.origin or "-",
    }
