"""`floe clean`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floe_cli.edge import floe_command
from floe_cli.options import floe_file, project_option
from floe_cli.output import Output, is_terminal, shown_path

if TYPE_CHECKING:
    from floe_core.layout import Layout

_STATE = ("data", "runs", "dagster", "lineage")
_ALWAYS_KEPT = (".gitignore", "locks", "schemas")


@floe_command("clean", short_help="Remove what floe generated.")
@project_option
@click.option("--data", is_flag=True, help="Remove the local tables and the history as well.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(out: Output, project_dir: Path | None, data: bool, yes: bool) -> None:
    """Remove generated files: artifacts, profiles, dbt's target and logs.

    Local tables (.floe/data), the history of runs (.floe/runs, .floe/dagster, .floe/lineage) and
    what `floe pull` has fetched stay, unless `--data` is given; that asks first.
    """
    from floe_core.compiler.request import CompileRequest
    from floe_core.layout import Layout, writing_to

    layout = Layout(CompileRequest(floe_file(project_dir)).root)
    if not layout.folder.is_dir():
        out.document({"ok": True, "removed": [], "kept": []})
        out.result("There is nothing to remove.")
        return
    if data:
        _confirm(layout.folder, yes)
    removed, kept = [], []
    state = {*_STATE, *_fetched(layout)}
    with _no_run_at_work(layout):
        for path in sorted(layout.folder.iterdir()):
            if path.name in state and not data:
                kept.append(path)
            elif path.name not in _ALWAYS_KEPT:
                with writing_to(layout.folder):
                    _remove(path)
                removed.append(path)
    out.document(
        {
            "ok": True,
            "removed": [shown_path(path) for path in removed],
            "kept": [shown_path(path) for path in kept],
        }
    )
    out.result(f"Removed {_listed(removed)}." if removed else "There is nothing to remove.")
    if kept:
        out.note(f"Kept {_listed(kept)}; `floe clean --data` removes it too.")


def _confirm(folder: Path, yes: bool) -> None:
    from floe_core.errors import UsageError

    if yes:
        return
    if not is_terminal(sys.stdin):
        raise UsageError(
            "`floe clean --data` deletes tables, and there is no terminal to ask",
            help="Add `--yes` to delete them all the same.",
        )
    click.confirm(f"Delete all local tables and run history in {folder}?", abort=True, err=True)


def _fetched(layout: Layout) -> set[str]:
    """Names of the files that came from a control plane: floe cannot generate them."""
    from floe_core.artifacts import load_artifacts
    from floe_core.errors import ArtifactsError

    fetched = set()
    for path in (layout.artifacts, layout.previous_artifacts):
        with suppress(ArtifactsError):
            if load_artifacts(path).is_pulled:
                fetched |= {path.name, layout.pull.name}
    return fetched


@contextmanager
def _no_run_at_work(layout: Layout) -> Iterator[None]:
    """Hold the locks of all environments.

    Raises:
        ProjectLockedError: if a run is at work.
    """
    from floe_dagster.lock import hold

    with ExitStack() as held:
        for path in sorted(layout.folder.glob("locks/*.lock")):
            held.enter_context(hold(layout, path.stem, command="floe clean", wait=0))
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _listed(paths: list[Path]) -> str:
    return ", ".join(shown_path(path) for path in paths)
