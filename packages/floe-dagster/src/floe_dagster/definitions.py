"""Dagster definitions of a product, made from its artifacts.

A code location is three lines::

    from floe_dagster.definitions import defs

    __all__ = ["defs"]

or none: ``dagster dev -m floe_dagster.definitions``. `defs` is made when it is first asked for,
from the artifacts that `FLOE_ARTIFACTS` names, else from `.floe/artifacts.json` of the current
folder or one above it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from floe_core.artifacts import load_artifacts
from floe_core.environment_variables import FLOE_START_SCHEDULES
from floe_core.errors import ArtifactsError, FloeError
from floe_core.index import ProjectIndex
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster import assets
from floe_dagster.artifacts import find_artifacts, project_root
from floe_dagster.build import dbt_core
from floe_dagster.connection import resolve_secrets
from floe_dagster.jobs import define_jobs
from floe_dagster.launched import launched
from floe_dagster.partitions import with_partitions
from floe_dagster.placement import place
from floe_dagster.schedules import schedules
from floe_dagster.sensors import sensors
from floe_dagster.transform_assets import transform_asset
from floe_dagster.units import Unit, resolve_units
from floe_dbt.engine import DbtEngine, Listener

if TYPE_CHECKING:
    defs: dg.Definitions

__all__ = ["build_definitions", "defs"]

_log = logging.getLogger("floe")


def build_definitions(
    artifacts: CompiledArtifacts | Path | str,
    *,
    root: Path | None = None,
    indexes: Sequence[ProjectIndex] | None = None,
    listener: Listener | None = None,
    engine: DbtEngine | None = None,
    start_schedules: bool | None = None,
) -> dg.Definitions:
    """Make the definitions of a product: assets, checks, jobs, schedules and sensors.

    Artifacts that were compiled elsewhere use the dbt project that is here where theirs is not.

    A run that Dagster launches waits for other runs of the project and environment to end.

    Args:
        artifacts: The artifacts, or the path of the file.
        root: Project root; by default the folder that holds the `.floe` of the artifacts' path.
        indexes: What dbt knows of the projects; read from `.floe` when None.
        listener: Hears every event of dbt, in the process that executes.
        engine: Runs dbt; dbt-core in the process that executes when None.
        start_schedules: Whether enabled schedules and sensors run without being turned on in
            Dagster; when None, in every environment but `local`.

    Raises:
        ArtifactsError: if the artifacts cannot be read, do not fit the dbt projects, or give two
            nodes one asset key.
    """
    if not isinstance(artifacts, CompiledArtifacts):
        path = Path(artifacts)
        artifacts, root = load_artifacts(path), root or project_root(path)
    root = (root or Path.cwd()).absolute()
    if artifacts.metadata.origin != "compiled":
        placed = place(artifacts, root)
        artifacts = placed.artifacts
        for note in placed.notes:
            _log.warning("%s", note)
    _check_root(artifacts, root)
    units = resolve_units(artifacts, root, indexes)
    secrets = _secrets(artifacts)
    execution = assets.Execution(
        engine=_factory(engine),
        secrets=secrets,
        around=launched(artifacts, units, root, secrets, listener),
    )
    return definitions_of(artifacts, units, root, execution, start_schedules=start_schedules)


def _check_root(artifacts: CompiledArtifacts, root: Path) -> None:
    """Refuse a root that the projects are not below, before anything is written there."""
    for transform in artifacts.transforms:
        if transform.is_asset:
            continue
        project = transform.dbt_project_path or artifacts.dbt_project_path or "."
        if not (root / project).is_dir():
            raise ArtifactsError(
                f"there is no dbt project `{project}` in {root}",
                help="Name the folder of floe.yaml: `build_definitions(..., root=...)`, or the "
                "variable FLOE_PROJECT_DIR.",
            )


def definitions_of(
    artifacts: CompiledArtifacts,
    units: Sequence[Unit],
    root: Path,
    execution: assets.Execution,
    *,
    start_schedules: bool | None = None,
) -> dg.Definitions:
    """Make definitions of units that are resolved already; see `build_definitions`."""
    built = assets_of(artifacts, units, root, execution)
    shown, jobs = with_partitions(built, define_jobs(artifacts, units), units)
    start = artifacts.environment != "local" if start_schedules is None else start_schedules
    return dg.Definitions(
        assets=[*shown, *assets.external_specs(units)],
        jobs=list(jobs.values()),
        schedules=schedules(artifacts, jobs, start=start),
        sensors=sensors(artifacts, root, jobs, start=start),
    )


def assets_of(
    artifacts: CompiledArtifacts, units: Sequence[Unit], root: Path, execution: assets.Execution
) -> list[dg.AssetsDefinition]:
    """Make what builds the units, without what starts it.

    Raises:
        ArtifactsError: if two nodes have one asset key.
    """
    assets.check_keys_are_unique(units)
    extra_deps = assets.cross_project_deps(units)
    return [
        assets.unit_assets(artifacts, unit, root, execution, extra_deps[unit.name])
        if unit.is_dbt
        else transform_asset(
            artifacts, unit, root, execution, chain(*extra_deps[unit.name].values())
        )
        for unit in units
        if unit.assets
    ]


def _factory(engine: DbtEngine | None) -> Callable[[], DbtEngine]:
    return dbt_core if engine is None else lambda: engine


def _secrets(artifacts: CompiledArtifacts) -> Callable[[str], Mapping[str, str]]:
    """Looks the secrets up once a run, however many steps it has."""
    return lru_cache(maxsize=1)(lambda _run_id: resolve_secrets(artifacts))


def _start_schedules() -> bool | None:
    """What `FLOE_START_SCHEDULES` says of schedules; None when it says nothing."""
    return {"1": True, "0": False}.get(os.environ.get(FLOE_START_SCHEDULES, ""))


def __getattr__(name: str) -> Any:
    if name != "defs":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        built = dg.Definitions.merge(
            build_definitions(find_artifacts(), start_schedules=_start_schedules()),
            # The lock lets one step at a time do its work, and a run that loads the artifacts
            # once is quicker and keeps them to its end.
            dg.Definitions(executor=dg.in_process_executor),
        )
    except FloeError as problem:
        # Dagster shows the text of an exception and the frames that it came through.
        raise ArtifactsError(f"{problem}\n{problem.help or ''}".rstrip()) from None
    return globals().setdefault("defs", built)


def __dir__() -> list[str]:
    return sorted({*globals(), "defs"})
