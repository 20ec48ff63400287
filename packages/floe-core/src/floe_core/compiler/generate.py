"""Stage `generate`: the files under `.floe/`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from floe_core import profiles
from floe_core.artifacts import NewerArtifactsWarning, dump_artifacts, load_artifacts
from floe_core.compiler.build import Built
from floe_core.compiler.inspect import build_profiles
from floe_core.diagnostics import Report
from floe_core.errors import ArtifactsError
from floe_core.index_file import dump_index
from floe_core.lake import with_tables
from floe_core.layout import Layout, write_atomic, write_if_changed
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.json_schema import write_schemas


@dataclass(frozen=True)
class Compilation:
    """What a compile produced.

    Attributes:
        artifacts: The artifacts, as they stand in `path`.
        path: `.floe/artifacts.json`.
        is_changed: Whether the artifacts differ from those of the previous compile.
        has_replaced_pulled: Whether artifacts that were pulled stood in their place.
        parsed: dbt projects that were parsed afresh.
    """

    artifacts: CompiledArtifacts
    path: Path
    is_changed: bool
    has_replaced_pulled: bool
    parsed: tuple[str, ...]


def generate(built: Built, report: Report) -> Compilation:
    """Write profiles.yml, the index and, last, the artifacts; each only if it has changed."""
    del report
    inspected = built.enforced.inspected
    resolved = inspected.resolved
    layout = Layout(resolved.loaded.request.root)
    layout.prepare()
    lake = resolved.lake
    if lake is not None:
        lake = with_tables(lake, built.artifacts, inspected.indexes)
    content = build_profiles(resolved, lake)
    profiles.write(layout.profiles_dir(resolved.environment), content)
    write_if_changed(layout.index(resolved.environment), dump_index(inspected.indexes))
    previous = _previous(layout.artifacts)
    if previous is not None and previous.is_pulled:
        write_atomic(layout.previous_artifacts, layout.artifacts.read_bytes())
    artifacts = _keep_if_equal(built.artifacts, previous)
    write_schemas(layout.schemas)
    write_if_changed(layout.artifacts, dump_artifacts(artifacts))
    return Compilation(
        artifacts,
        layout.artifacts,
        is_changed=artifacts is not previous,
        has_replaced_pulled=previous is not None and previous.is_pulled,
        parsed=inspected.parsed,
    )


def _previous(path: Path) -> CompiledArtifacts | None:
    try:
        with warnings.catch_warnings(action="ignore", category=NewerArtifactsWarning):
            return load_artifacts(path)
    except ArtifactsError:
        return None


def _keep_if_equal(
    fresh: CompiledArtifacts, previous: CompiledArtifacts | None
) -> CompiledArtifacts:
    """The previous artifacts when only their time differs, so that equal inputs keep the file."""
    if previous is None:
        return fresh
    metadata = fresh.metadata.model_copy(update={"compiled_at": previous.metadata.compiled_at})
    return previous if previous == fresh.model_copy(update={"metadata": metadata}) else fresh
