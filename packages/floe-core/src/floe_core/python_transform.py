"""`PythonTransform`: transforms of type `python`, a function of the user's each."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.context import TransformContext
from floe_core.diagnostics import did_you_mean
from floe_core.errors import ServiceUnavailableError, TransformError
from floe_core.plugins import AssetInspection, Finding, LocatedTransform
from floe_core.python_modules import find_module, functions, importable, is_of_project
from floe_core.schemas.artifacts import CompiledTransform
from floe_core.schemas.base import JsonValue
from floe_core.schemas.floe import Transform

if TYPE_CHECKING:
    from floe_core.plugins import TransformExecutor

_ENTRY = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")
_EXAMPLE = "write it as `module:function`, such as `shop.scoring:build`"


class PythonTransform:
    """Calls a function of the user's package with a `TransformContext`."""

    fields = frozenset({"entry", "description"})

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the file of the entry's module, in the project, its `src`, or what is installed."""
        missing = [key for key in ("name", "entry") if getattr(transform, key) is None]
        if transform.name is None or transform.entry is None:
            listed = " and ".join(f"`{key}`" for key in missing)
            help = "as in `{name: scores, type: python, entry: shop.scoring:build}`"
            return None, [Finding("FLOE-T002", (), f"a Python transform needs {listed}", help)]
        entry = _ENTRY.fullmatch(transform.entry)
        if entry is None:
            message = f"`{transform.entry}` does not name a function of a module"
            return None, [Finding("FLOE-T002", ("entry",), message, _EXAMPLE)]
        file = find_module(root, entry["module"])
        if file is None:
            return None, [_no_module(root, entry["module"])]
        place = file.relative_to(root).as_posix() if is_of_project(file, root) else "."
        return LocatedTransform(transform.name, place, entry=transform.entry), []

    def inspect(self, located: LocatedTransform, root: Path) -> AssetInspection:
        """Look for the function in the module's file, without executing it."""
        module, _, function = (located.entry or "").partition(":")
        file = find_module(root, module)
        if file is None:
            return AssetInspection((), [_no_module(root, module)])
        try:
            names, is_open = functions(file)
        except SyntaxError as problem:
            return AssetInspection((file,), [_no_python(file, root, problem)])
        except (OSError, ValueError) as problem:
            message = f"module `{module}` cannot be read: {problem}"
            return AssetInspection((), [Finding("FLOE-T003", ("entry",), message)])
        if function in names or is_open:
            return AssetInspection((file,))
        public = [name for name in names if not name.startswith("_")]
        message = f"module `{module}` has no function `{function}`"
        help = did_you_mean(function, public, "names there")
        return AssetInspection((file,), [Finding("FLOE-T003", ("entry",), message, help)])

    def execute(
        self, transform: CompiledTransform, context: TransformContext
    ) -> Mapping[str, JsonValue] | None:
        """Import the module and call the function; what it prints goes to standard error.

        Raises:
            TransformError: if the function raises, or returns what is no mapping.
        """
        with importable(context.root), contextlib.redirect_stdout(sys.stderr):
            try:
                result = _function(transform, context.root)(context)
            except ServiceUnavailableError:
                raise
            except (Exception, SystemExit) as problem:
                raise _failure(problem, context.root) from None
        if result is not None and not isinstance(result, Mapping):
            raise TransformError(
                f"`{transform.entry}` returned {_a(type(result).__name__)}: return nothing, or a "
                "mapping of what there is to tell, such as `{'rows': 3}`"
            )
        return result


def _no_module(root: Path, module: str) -> Finding:
    looked = f"{module.replace('.', '/')}.py"
    message = f"there is no module `{module}`"
    help = (
        f"floe looks for {looked} beside floe.yaml, in `src` beside it, and among the installed "
        "packages"
    )
    known = sorted(_modules(root))
    nearest = did_you_mean(module, known, "modules") if known else ""
    return Finding("FLOE-T003", ("entry",), message, nearest if "did you mean" in nearest else help)


def _modules(root: Path, most: int = 500) -> set[str]:
    """Names of modules of the project, to find the one that is meant."""
    found: set[str] = set()
    for folder in (root, root / "src"):
        files = [*folder.glob("*.py"), *folder.glob("*/*.py"), *folder.glob("*/*/*.py")]
        for file in files[:most]:
            parts = file.relative_to(folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not any(part.startswith(".") for part in parts) and parts[0] != "src":
                found.add(name)
    return found


def _no_python(file: Path, root: Path, problem: SyntaxError) -> Finding:
    shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    return Finding(
        "FLOE-T003", (), f"{shown} is no Python: {problem.msg}", file=shown, line=problem.lineno
    )


def _function(transform: CompiledTransform, root: Path) -> Any:
    name, _, attribute = (transform.entry or "").partition(":")
    expected = find_module(root, name)
    if expected is None:
        raise TransformError(f"there is no module `{name}` here")
    module = importlib.import_module(name)
    found = Path(getattr(module, "__file__", None) or "")
    if found != expected:
        raise TransformError(
            f"`{name}` is {found} in this process, not {expected}: give the module another name"
        )
    function = getattr(module, attribute, None)
    if not callable(function):
        raise TransformError(f"module `{name}` has no function `{attribute}`")
    return function


def _failure(problem: BaseException, root: Path) -> TransformError:
    """What the user's code raised, with the user's own frames only."""
    if isinstance(problem, TransformError):
        return problem
    frames = [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if is_of_project(Path(frame.filename), root)
    ]
    text = str(problem).strip()
    message = f"{type(problem).__name__}: {text}" if text else type(problem).__name__
    path, line = (frames[-1].filename, frames[-1].lineno) if frames else (None, None)
    if isinstance(problem, SyntaxError) and problem.filename:
        path, line = problem.filename, problem.lineno
        message = f"{type(problem).__name__}: {problem.msg}"
    if path is not None and Path(path).is_relative_to(root):
        path = Path(path).relative_to(root).as_posix()
    shown = "".join(_shown(frame, root) for frame in frames)
    return TransformError(message, path, line, f"{shown}{message}\n" if frames else None)


def _shown(frame: traceback.FrameSummary, root: Path) -> str:
    """A frame as every version of Python shows it, without a machine's folders."""
    file = Path(frame.filename).relative_to(root).as_posix()
    line = f"    {frame.line}\n" if frame.line else ""
    return f'  File "{file}", line {frame.lineno}, in {frame.name}\n{line}'


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


if TYPE_CHECKING:
    _: type[TransformExecutor] = PythonTransform
