"""The two sides of a comparison: compiled in memory, or as a compile has left them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from floe_core.artifacts import load_artifacts
from floe_core.checkout import Commit, checked_out, find_commit
from floe_core.comparison import Side
from floe_core.compiler.build import Built
from floe_core.compiler.pipeline import CHECKS, IN_MEMORY, check, run_stages
from floe_core.compiler.request import FLOE_FILE, CompileRequest
from floe_core.compiler.resolve import Resolved
from floe_core.diagnostics import Diagnostic, display_path
from floe_core.errors import CompileError, UsageError
from floe_core.index import ProjectIndex
from floe_core.index_file import load_index
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts

NOW = "the files now"


def last_compile(request: CompileRequest) -> tuple[Side, Side]:
    """What was compiled or pulled last, and what the files say now in its environment."""
    before = _recorded(Layout(request.root).artifacts, "the last compile")
    if before.artifacts.is_pulled:
        before = replace(before, title="what was pulled")
    return before, _compiled(_like(request, before.artifacts), NOW)


def environments(request: CompileRequest, names: Sequence[str]) -> tuple[Side, Side]:
    """The same files in two environments."""
    first, second = (
        _compiled(replace(request, environment=name), f"environment {name}") for name in names
    )
    return first, second


@contextmanager
def against(request: CompileRequest, other: str) -> Iterator[tuple[Side, Side]]:
    """Something else, and what the files say now.

    Args:
        request: What to compile now.
        other: Path of artifacts, of a floe.yaml or of its folder; else a commit.

    Raises:
        UsageError: if it is none of these.
        CompileError: if one side does not compile.
    """
    path = Path(other)
    if not path.exists():
        commit = find_commit(request.root, other)
        if commit is None:
            raise UsageError(
                f"`{other}` is no file, and no commit of the product's git repository",
                help="Name artifacts (.floe/artifacts.json), a product's folder, or a commit, "
                "branch or tag.",
            )
        with checked_out(commit) as files:
            yield _at_commit(request, commit, files), _compiled(request, NOW)
    elif path.suffix == ".json" and path.is_file():
        before = _recorded(path, display_path(path))
        yield before, _compiled(_like(request, before.artifacts), NOW)
    else:
        file = path if path.name == FLOE_FILE else path / FLOE_FILE
        if not file.is_file():
            raise UsageError(
                f"`{other}` is there, but it is neither artifacts nor a product",
                help=f"Name a .json file, a {FLOE_FILE}, or a folder that holds one.",
            )
        yield (
            _compiled(replace(request, floe_file=file), display_path(file)),
            _compiled(request, NOW),
        )


def is_ambiguous(request: CompileRequest, other: str) -> bool:
    """Whether something is both a path and a commit."""
    return Path(other).exists() and find_commit(request.root, other) is not None


def _like(request: CompileRequest, artifacts: CompiledArtifacts) -> CompileRequest:
    """A request for the environment and vars of artifacts, unless it names others."""
    return replace(
        request,
        environment=request.wanted_environment or artifacts.environment,
        vars=request.vars or artifacts.dbt_vars,
    )


def _compiled(request: CompileRequest, title: str) -> Side:
    """Compile in memory.

    Raises:
        CompileError: if the files are wrong; a note names the side.
    """
    outcome = run_stages(IN_MEMORY, request)
    try:
        check(outcome)
    except CompileError as problem:
        problem.add_note(title)
        raise
    built: Built = outcome.value
    return Side(title, built.artifacts, built.enforced.inspected.indexes, request.root)


def _recorded(path: Path, title: str) -> Side:
    artifacts = load_artifacts(path)
    index = path.parent / artifacts.environment / "index.json"
    return Side(title, artifacts, _indexes(index, artifacts))


def _indexes(path: Path, artifacts: CompiledArtifacts) -> tuple[ProjectIndex, ...] | None:
    """The indexes beside artifacts, if they are of the same compile."""
    try:
        indexes = load_index(path.read_bytes())
    except (OSError, ValueError):
        return None
    known = {unique_id for index in indexes for unique_id in index.nodes}
    dbts = (transform for transform in artifacts.transforms if not transform.is_asset)
    named = {node for transform in dbts for node in transform.nodes or ()}
    return indexes if named <= known else None


def _at_commit(request: CompileRequest, commit: Commit, files: Path) -> Side:
    """Compile the product as a commit has it."""

    def moved(path: Path) -> Path:
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(commit.repository):
            return path
        return files / real.relative_to(commit.repository)

    there = replace(request, floe_file=moved(request.root) / FLOE_FILE)
    if not there.floe_file.exists():
        place = there.floe_file.relative_to(files)
        raise UsageError(f"commit `{commit.ref}` has no {place}", help="The product began later.")
    if request.wanted_platform_file is not None:
        there = replace(there, platform_file=moved(request.wanted_platform_file))
    title = f"commit {commit.ref}"
    try:
        _reuse_fetched(there, request.root, commit)
        return _compiled(there, title)
    except CompileError as problem:
        shown = [_shown(diagnostic, commit, files) for diagnostic in problem.diagnostics]
        renamed = type(problem)(shown)
        renamed.add_note(title)
        raise renamed from None


def _reuse_fetched(request: CompileRequest, root: Path, commit: Commit) -> None:
    """Let the commit's projects use the packages that are installed now."""
    outcome = run_stages(CHECKS, request)
    check(outcome)
    resolved: Resolved = outcome.value
    for transform in resolved.transforms:
        if transform.project is None:
            continue
        project = transform.located.project
        there, here = (Path(os.path.normpath(folder / project)) for folder in (request.root, root))
        problem = transform.project.reuse(there, here)
        if problem is not None:
            raise CompileError([_no_packages(commit, there, problem)])


def _no_packages(commit: Commit, project: Path, problem: str) -> Diagnostic:
    return Diagnostic(
        "FLOE-D003",
        "error",
        f"the packages of this project cannot be had without a network: {problem}",
        file=project,
        help=f"compile it elsewhere: `git worktree add ../before {commit.ref}`, there "
        "`floe deps` and `floe compile`,\nthen here `floe diff --against` with its "
        ".floe/artifacts.json",
    )


def _shown(diagnostic: Diagnostic, commit: Commit, files: Path) -> Diagnostic:
    """A diagnostic with its file as git writes it: `commit:path`."""
    file = diagnostic.file
    if file is None or not file.is_relative_to(files):
        return diagnostic
    return replace(diagnostic, file=Path(f"{commit.ref}:{file.relative_to(files)}"))
