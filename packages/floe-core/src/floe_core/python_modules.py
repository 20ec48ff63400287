"""Modules of the user's: found without executing anything, and imported when a run needs them."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

INSTALLED = frozenset({"site-packages", "dist-packages"})


def search_path(root: Path) -> list[str]:
    """Folders of the project that modules are imported from, before those that are installed."""
    return [str(folder) for folder in (root, root / "src") if folder.is_dir()]


def find_module(root: Path, name: str) -> Path | None:
    """Find the file of a module in the project or among the installed; nothing is imported.

    Args:
        root: Project root.
        name: Name of the module, with its packages.
    """
    importlib.invalidate_caches()
    spec: ModuleSpec | None = None
    path: list[str] | None = None
    parts = name.split(".")
    for number in range(len(parts)):
        part = ".".join(parts[: number + 1])
        if number and not path:
            return None
        spec = _spec(root, part, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin if origin.suffix == ".py" else None


def _spec(root: Path, name: str, path: list[str] | None) -> ModuleSpec | None:
    if path is None:
        found = PathFinder.find_spec(name, search_path(root))
        # A folder without Python in it is a namespace package to Python, such as a dbt project's.
        if found is not None and found.origin is not None:
            return found
        elsewhere = _first(name, None)
        return elsewhere if elsewhere is not None and elsewhere.origin is not None else found
    return _first(name, path)


def _first(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path) if find is not None else None
        if spec is not None:
            return spec
    return None


def functions(file: Path) -> tuple[tuple[str, ...], bool]:
    """Names that a module gives a value at its top level, and whether there may be others.

    Raises:
        SyntaxError: if the file is no Python; it carries the line.
        OSError: if the file cannot be read.
    """
    names: dict[str, None] = {}
    is_open = False
    for statement in _top_level(ast.parse(file.read_bytes(), str(file)).body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = None
            is_open = is_open or statement.name == "__getattr__"
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                names[alias.asname or alias.name.partition(".")[0]] = None
                is_open = is_open or alias.name == "*"
        else:
            targets = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            names.update({n.id: None for n in targets if isinstance(n.ctx, ast.Store)})
    return tuple(names), is_open


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those within `if`, `try` and `with` included."""
    for statement in body:
        inner = [
            part
            for name in ("body", "orelse", "handlers", "finalbody")
            for part in getattr(statement, name, ())
        ]
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _top_level(inner)
        else:
            yield statement


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """Let modules of the project be imported in a block.

    Afterwards they are forgotten, so that the next run of a long-lived process sees what has
    changed, and another project may have a module of the same name.
    """
    folders = search_path(root)
    before = set(sys.modules)
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
        for name in set(sys.modules) - before:
            if _is_of_project(sys.modules[name], root):
                del sys.modules[name]


def _is_of_project(module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:  # a namespace package
        folders = [Path(folder) for folder in getattr(module, "__path__", ())]
        return bool(folders) and all(folder.is_relative_to(root) for folder in folders)
    return is_of_project(Path(file), root)


def is_of_project(file: Path, root: Path) -> bool:
    """Whether a file is the project's own, not a library that is installed below its root."""
    return file.is_relative_to(root) and INSTALLED.isdisjoint(file.parts)
