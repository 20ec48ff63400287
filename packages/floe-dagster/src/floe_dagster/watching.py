"""The files that a product is compiled from, and word of their changes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from floe_core.compiler.load import Loaded
from floe_core.errors import ServiceUnavailableError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dbt import project

_DEBOUNCE_MILLISECONDS = 1000
_QUIET_MILLISECONDS = 200
_STOP_MILLISECONDS = 200
_NOT_INPUT = frozenset({"__pycache__", "dbt_packages", "logs", "node_modules", "target"})


@dataclass(frozen=True)
class Inputs:
    """What a product is compiled from.

    Attributes:
        trees: Folders of which every file counts, at whatever depth.
        folders: Folders of which the YAML files count, and the coming and going of folders.
        files: Files that count by themselves, such as the modules of transforms.
    """

    trees: frozenset[Path]
    folders: frozenset[Path]
    files: frozenset[Path] = frozenset()

    def hold(self, path: Path) -> bool:
        """Whether a change of this path may change what is compiled."""
        if path in self.files:
            return True
        for tree in self.trees:
            if path.is_relative_to(tree):
                parts = path.relative_to(tree).parts
                return not any(part.startswith(".") or part in _NOT_INPUT for part in parts)
        if path.parent not in self.folders or path.name in _NOT_INPUT:
            return False
        if path.name.startswith("."):
            return path.name == ".dbtignore"
        return path.suffix in {"", ".yaml", ".yml"}


def inputs_of(loaded: Loaded, artifacts: CompiledArtifacts) -> Inputs:
    """Where the inputs of a compile are, as far as they exist."""
    root = loaded.request.root
    trees: set[Path] = set()
    folders = {root}
    files: set[Path] = set()
    if loaded.platform_source is not None:
        folders.add(loaded.platform_source.path.absolute().parent)
    for transform in artifacts.transforms:
        folder = root / (transform.dbt_project_path or transform.path)
        try:
            trees.update(project.read(folder).folders())
            folders.add(folder)
        except project.ProjectFileError:  # of another kind, or broken since
            (trees if folder.is_dir() else files).add(folder)
    return Inputs(_resolved(trees), _resolved(folders), frozenset(map(_in_resolved_folder, files)))


def _in_resolved_folder(file: Path) -> Path:
    """A file, which need not exist now, by the name that the operating system reports it with."""
    return file.parent.resolve() / file.name


def _resolved(paths: Iterable[Path]) -> frozenset[Path]:
    """Existing folders by the names that the operating system reports them with."""
    return frozenset(path.resolve() for path in paths if path.is_dir())


Wait = Callable[[float], bool]
"""Waits so many seconds for a change; says whether there was one."""


@contextmanager
def watch(inputs: Inputs) -> Iterator[Wait]:
    """Watch inputs in the background; changes that come close together count as one.

    Waiting raises `ServiceUnavailableError` where the operating system watches no more files.
    """
    changes: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    stop = threading.Event()
    # Of a file the folder is watched: editors put another file in its place.
    beside = inputs.folders | _resolved(file.parent for file in inputs.files)
    threads = [
        threading.Thread(
            target=_listen,
            args=(paths, inputs, recursive, changes, stop),
            name="floe-watch",
            daemon=True,
        )
        for paths, recursive in ((inputs.trees, True), (beside, False))
        if paths
    ]
    for thread in threads:
        thread.start()

    def wait(seconds: float) -> bool:
        try:
            found = [changes.get(timeout=seconds)]
        except queue.Empty:
            return False
        while not changes.empty():
            found.append(changes.get())
        for problem in filter(None, found):
            raise ServiceUnavailableError(
                f"changes of files cannot be watched: {problem}",
                help="Set WATCHFILES_FORCE_POLLING=1 to look at the files again and again instead.",
            )
        return True

    try:
        yield wait
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _listen(
    paths: frozenset[Path],
    inputs: Inputs,
    recursive: bool,
    changes: queue.SimpleQueue[Exception | None],
    stop: threading.Event,
) -> None:
    import watchfiles

    try:
        for _ in watchfiles.watch(
            *paths,
            watch_filter=lambda _change, path: inputs.hold(Path(path)),
            debounce=_DEBOUNCE_MILLISECONDS,
            step=_QUIET_MILLISECONDS,
            rust_timeout=_STOP_MILLISECONDS,
            stop_event=stop,
            recursive=recursive,
            raise_interrupt=False,
        ):
            changes.put(None)
    except (OSError, RuntimeError) as problem:
        changes.put(problem)
