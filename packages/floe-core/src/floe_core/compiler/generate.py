"""Stage `generate`: the files under `.floe/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from floe_core import profiles
from floe_core.artifacts import dump_artifacts, load_artifacts
from floe_core.compiler.build import Built
from floe_core.diagnostics import Report
from floe_core.errors import ArtifactsError
from floe_core.index_file import dump_index
from floe_core.layout import Layout, write_if_changed
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.json_schema import write_schemas


@dataclass(frozen=True)
class Compilation:
    """What a compile produced.

    Attributes:
        artifacts: The artifacts, as they stand in `path`.
        path: `.floe/artifacts.json`.
        is_changed: Whether the artifacts differ from those of the previous compile.
        parsed: dbt projects that were parsed afresh.
    """

    artifacts: CompiledArtifacts
    path: Path
    is_changed: bool
    parsed: tuple[str, ...]


def generate(built: Built, report: Report) -> Compilation:
    """Write profiles.yml, the index and, last, the artifacts; each only if it has changed."""
    del report
    inspected = built.enforced.inspected
    resolved = inspected.resolved
    layout = Layout(resolved.loaded.request.root)
    layout.prepare()
    profiles.write(layout.profiles_dir(resolved.environment), inspected.profiles)
    write_if_changed(layout.index(resolved.environment), dump_index(inspected.indexes))
    artifacts, is_changed = _keep_if_equal(built.artifacts, layout.artifacts)
    write_schemas(layout.schemas)
    write_if_changed(layout.artifacts, dump_artifacts(artifacts))
    return Compilation(artifacts, layout.artifacts, is_changed, inspected.parsed)


def _keep_if_equal(fresh: CompiledArtifacts, path: Path) -> tuple[CompiledArtifacts, bool]:
    """The previous artifacts when only their time differs, so that equal inputs keep the file."""
    try:
        previous = load_artifacts(path)
    except ArtifactsError:
        return fresh, True
    metadata = fresh.metadata.model_copy(update={"compiled_at": previous.metadata.compiled_at})
    if previous == fresh.model_copy(update={"metadata": metadata}):
        return previous, False
    return fresh, True
