"""What floe has written for the product, and whether it can write."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from floe_cli.doctor.check import Check, Section
from floe_cli.doctor.product import Product
from floe_cli.output import shown_path
from floe_core.environment_variables import DAGSTER_HOME
from floe_core.errors import ArtifactsError
from floe_core.layout import Layout
from floe_core.schemas.base import JsonValue

_LITTLE = 1024**3
"""Bytes below which a disk is nearly full."""


def state(product: Product) -> Section:
    """All checks of what is, or will be, written."""
    layout = Layout(product.request.root)
    return Section(
        "State",
        (
            artifacts(product, layout),
            folder(layout.folder),
            *dagster_home(),
            disk(layout.root),
            *runs(product, layout),
        ),
    )


def artifacts(product: Product, layout: Layout) -> Check:
    """There are artifacts, and they are made of the files as they are now."""
    from floe_core.artifacts import load_artifacts

    compile_again = f"floe compile{product.options}"
    if not layout.artifacts.exists():
        return Check("warning", "the product has not been compiled", compile_again)
    try:
        found = load_artifacts(layout.artifacts)
    except ArtifactsError as problem:
        return Check("problem", problem.message, compile_again)
    what = f"{found.metadata.origin} for environment {found.environment}"
    at = shown_path(layout.artifacts)
    if found.metadata.origin != "compiled" or product.resolved is None:
        return Check("ok", f"{at} is there, {what}")
    if found.environment != product.environment:
        message = f"{at} is {what}, not {product.environment}"
        return Check("warning", message, compile_again)
    if _hash_now(product, found.dbt_vars) != found.metadata.source_hash:
        message = f"{at} is {what}, and older than the files"
        return Check("warning", message, compile_again)
    return Check("ok", f"{at} is {what}, and up to date")


def _hash_now(product: Product, vars: Mapping[str, JsonValue]) -> str | None:
    """The hash that a compile of the files would give; None when they cannot be read."""
    from floe_core.compiler.assets import inspect_assets
    from floe_core.compiler.build import source_hash
    from floe_core.compiler.inspect import inspect_requests
    from floe_core.diagnostics import Report
    from floe_dbt.inspection import inputs_hash_of
    from floe_dbt.project import ProjectFileError, read_at

    assert product.resolved is not None
    request = replace(product.request, vars=vars)
    resolved = replace(product.resolved, loaded=replace(product.loaded, request=request))
    try:
        hashes = [
            (asked.project, asked.target, inputs_hash_of(asked, read_at(asked.root, asked.project)))
            for asked, _, _ in inspect_requests(resolved)
        ]
    except ProjectFileError:
        return None
    return source_hash(resolved, hashes, inspect_assets(resolved, Report()))


def folder(path: Path) -> Check:
    """A folder can be written to, or made."""
    nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        message = f"{shown_path(nearest)} is in the place of a folder"
        return Check("problem", message, f"rm {shlex.quote(shown_path(nearest))}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        message = f"{shown_path(nearest)} cannot be written to"
        return Check("problem", message, f"chmod u+rwx {shlex.quote(shown_path(nearest))}")
    return Check("ok", f"{shown_path(path)} can be written to")


def dagster_home() -> Iterator[Check]:
    """A folder of the user's own for the Dagster instance must exist, and be writable."""
    named = os.environ.get(DAGSTER_HOME)
    if not named:
        return
    path = Path(named).expanduser()
    if not path.is_absolute():
        message = f"{DAGSTER_HOME} is {named}, but Dagster takes absolute paths alone"
        mend = f"export {DAGSTER_HOME}={shlex.quote(str(path.absolute()))}"
        yield Check("problem", message, mend)
    elif not path.exists():
        message = f"{DAGSTER_HOME} is {named}, which does not exist"
        yield Check("problem", message, f"mkdir -p {shlex.quote(str(path))}")
    else:
        yield folder(path)


def disk(path: Path) -> Check:
    """There is room for tables."""
    free = shutil.disk_usage(path).free
    shown = f"{free / 1024**3:.1f} GiB of disk are free"
    if free < _LITTLE:
        return Check("warning", shown, "floe clean   (removes what was generated, not your tables)")
    return Check("ok", shown)


def runs(product: Product, layout: Layout) -> Iterator[Check]:
    """A run is at work, or one was killed."""
    from floe_dagster.lock import is_held, read_holder

    lock = layout.lock(product.environment)
    holder = read_holder(lock)
    if holder is None:
        return
    who = f"process {holder.pid} (`{holder.command}`, since {holder.started_at:%Y-%m-%d %H:%M})"
    if is_held(lock):
        yield Check("ok", f"a run is at work: {who}")
    else:
        message = f"a run was killed: {who}"
        yield Check("warning", message, f"floe run --failed{product.options}")
