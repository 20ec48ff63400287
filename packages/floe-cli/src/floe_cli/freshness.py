"""The artifacts that a command works from: those named, else the pulled, else fresh ones."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_cli.output import Output, plural

if TYPE_CHECKING:
    from floe_core.compiler.generate import Compilation
    from floe_core.compiler.request import CompileRequest
    from floe_core.diagnostics import Diagnostic
    from floe_core.schemas.artifacts import CompiledArtifacts


@dataclass(frozen=True)
class Fresh:
    """A compile that has just been made.

    Attributes:
        compilation: What it produced.
        diagnostics: Its warnings.
        root: Project root.
        stages: Seconds that each stage took, in order.
        started_at: When it began.
    """

    compilation: Compilation
    diagnostics: tuple[Diagnostic, ...]
    root: Path
    stages: Mapping[str, float]
    started_at: datetime


def compile_now(request: CompileRequest, out: Output) -> Fresh:
    """Compile, showing the stage that is at work, the warnings, and what was pulled before.

    Raises:
        CompileError: if the files are wrong.
    """
    from floe_core.compiler.pipeline import compile_request

    status = out.status("compiling ...")
    stages: dict[str, float] = {}
    started_at = datetime.now(UTC)

    def note(stage: str, seconds: float) -> None:
        stages[stage] = seconds
        out.detail(f"  {stage}: {seconds:.3f} s")

    try:
        compilation, diagnostics = compile_request(request, note)
    finally:
        if status is not None:
            status.stop()
    out.diagnostics(diagnostics)
    if compilation.has_replaced_pulled:
        out.note(
            "This replaces the artifacts that were pulled; `floe pull --rollback` brings them back."
        )
    return Fresh(compilation, diagnostics, request.root, stages, started_at)


@dataclass(frozen=True)
class Stored:
    """Artifacts that were compiled before, here or elsewhere.

    Attributes:
        artifacts: The artifacts.
        root: Project root.
        compile_seconds: How long the compile took that was just made; None when there was none.
    """

    artifacts: CompiledArtifacts
    root: Path
    compile_seconds: float | None = None


def stored_artifacts(named: Path | None, source: Mapping[str, Any], out: Output) -> Stored | None:
    """The artifacts that `--artifacts` names, else the pulled ones; None when there are neither.

    Args:
        named: Value of `--artifacts`.
        source: The options that say what to compile, which stored artifacts have behind them.
        out: Where it is said that they are newer than this floe.

    Raises:
        UsageError: if an option asks for a compile that there will not be.
        ArtifactsError: if the artifacts cannot be read.
    """
    from floe_cli.edge import open_log
    from floe_core.artifacts import is_pulled, load_artifacts
    from floe_core.layout import Layout

    root = _root(named, source["project_dir"])
    path = named or (Layout(root).artifacts if root else None)
    if root is None or path is None or (named is None and not is_pulled(path)):
        return None
    open_log(root)
    with newer_artifacts_noted(out):
        artifacts = load_artifacts(path)
    _refuse_compile_options(named, source, artifacts)
    return Stored(artifacts, root)


def current_artifacts(named: Path | None, source: Mapping[str, Any], out: Output) -> Stored:
    """The artifacts that `--artifacts` names, else the pulled ones, else fresh ones.

    Raises:
        CompileError: if the files are wrong.
        UsageError: if an option asks for a compile that there will not be.
        ArtifactsError: if the artifacts cannot be read.
    """
    from floe_cli.options import compile_request

    stored = stored_artifacts(named, source, out)
    if stored is not None:
        return stored
    fresh = compile_now(compile_request(**source), out)
    return Stored(fresh.compilation.artifacts, fresh.root)


def place_here(stored: Stored, out: Output) -> Stored:
    """Let stored artifacts use the dbt project that is here, and say so where that is another.

    Raises:
        ArtifactsError: if there is no dbt project here.
    """
    from floe_dagster.placement import place

    placed = place(stored.artifacts, stored.root)
    for note in placed.notes:
        out.note(note)
    return Stored(placed.artifacts, stored.root)


def _root(named: Path | None, project_dir: Path | None) -> Path | None:
    """Project root of stored artifacts; None when floe.yaml is needed and the compile says so."""
    from floe_core.compiler.request import find_floe_file
    from floe_core.environment_variables import FLOE_PROJECT_DIR
    from floe_core.errors import UsageError
    from floe_dagster.artifacts import project_root

    if project_dir is not None:
        folder = project_dir.parent if project_dir.name == "floe.yaml" else project_dir
        return Path(os.path.abspath(folder))  # noqa: PTH100 - keeps links
    if named is not None and os.environ.get(FLOE_PROJECT_DIR):
        return project_root(named)
    try:
        return find_floe_file(Path.cwd()).parent
    except UsageError:
        return project_root(named) if named is not None else None


def _refuse_compile_options(
    named: Path | None, source: Mapping[str, Any], artifacts: CompiledArtifacts
) -> None:
    from floe_core.environment_variables import FLOE_ENV
    from floe_core.errors import UsageError

    what = f"the artifacts in {named}" if named else "the artifacts that were pulled"
    given = [
        option
        for option, key in (("--env", "env"), ("--platform", "platform"), ("--vars", "vars_"))
        if source[key] is not None
    ]
    if given:
        raise UsageError(
            f"{' and '.join(f'`{option}`' for option in given)} cannot change {what}, "
            f"which are compiled for environment {artifacts.environment}",
            help="Run `floe compile` with these options first, or leave them out.",
        )
    wanted = os.environ.get(FLOE_ENV)
    if wanted and wanted != artifacts.environment:
        raise UsageError(
            f"{FLOE_ENV} is `{wanted}`, but {what} are for environment {artifacts.environment}",
            help=f"Run `floe compile` for `{wanted}` first, or unset {FLOE_ENV}.",
        )


@contextmanager
def newer_artifacts_noted(out: Output) -> Iterator[None]:
    """Say in a note that artifacts are newer than this floe."""
    from floe_core.artifacts import NewerArtifactsWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NewerArtifactsWarning)
        yield
    for warning in caught:
        out.note(f"warning: {warning.message}")


def describe_contents(fresh: Fresh) -> str:
    """Count what the product holds: `2 transforms, 5 models, 1 seed, 9 tests`."""
    from floe_core.index_file import load_index
    from floe_core.layout import Layout

    artifacts = fresh.compilation.artifacts
    claimed = {node for transform in artifacts.transforms for node in transform.nodes or ()}
    indexes = load_index(Layout(fresh.root).index(artifacts.environment).read_bytes())
    counts: Counter[str] = Counter()
    for index in indexes:
        for node in index.nodes.values():
            is_ours = node.unique_id in claimed
            is_its_test = node.resource_type == "test" and claimed.intersection(node.depends_on)
            if is_ours or is_its_test:
                counts[node.resource_type] += 1
    parts = [plural(len(artifacts.transforms), "transform")]
    parts += [
        plural(counts[kind], kind) for kind in ("model", "seed", "snapshot", "test") if counts[kind]
    ]
    return ", ".join(parts)
