"""The pipeline: a tuple of stages and the loop that runs them.

The loop alone knows about spans, timing and progress; a stage is a plain function from the value
of the stage before it to its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe_core.compiler.build import build
from floe_core.compiler.enforce import POLICY_CODES, enforce
from floe_core.compiler.generate import Compilation, generate
from floe_core.compiler.inspect import inspect
from floe_core.compiler.load import load
from floe_core.compiler.request import FLOE_FILE, CompileRequest
from floe_core.compiler.resolve import resolve
from floe_core.diagnostics import Diagnostic, Report
from floe_core.errors import CompileError, PolicyViolationError
from floe_core.schemas.base import JsonValue
from floe_core.telemetry import span

Stage = Callable[[Any, Report], Any]
Progress = Callable[[str, float], None]

STAGES: tuple[Stage, ...] = (load, resolve, inspect, enforce, build, generate)
"""All stages of `floe compile`."""

CHECKS: tuple[Stage, ...] = (load, resolve)
"""The stages of `floe validate`: the files and the file system, without dbt."""

IN_MEMORY: tuple[Stage, ...] = (load, resolve, inspect, enforce, build)
"""All but writing: what a compile would come to."""

_WRITES = frozenset({generate})


@dataclass(frozen=True)
class Outcome:
    """What a run of stages came to.

    Attributes:
        value: Value of the last stage that ran to its end; None when one could not.
        diagnostics: All findings, by file and place.
    """

    value: Any
    diagnostics: tuple[Diagnostic, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything stops the compile."""
        return any(diagnostic.is_error for diagnostic in self.diagnostics)


def run_stages(
    stages: Sequence[Stage], request: CompileRequest, progress: Progress | None = None
) -> Outcome:
    """Run stages in order, collecting diagnostics; nothing is written once there is an error.

    Args:
        stages: `STAGES` or `CHECKS`.
        request: What to compile.
        progress: Called with the name of each stage and the seconds it took, when it has ended.
    """
    report = Report()
    value: Any = request
    for stage in stages:
        if stage in _WRITES and report.has_errors:
            value = None
        if value is None:
            break
        started = time.perf_counter()
        with span(f"floe.compile.{stage.__name__}"):
            value = stage(value, report)
        if progress is not None:
            progress(stage.__name__, time.perf_counter() - started)
    return Outcome(value, tuple(report.sorted()))


def check(outcome: Outcome) -> None:
    """Raise what an outcome's errors amount to.

    Raises:
        PolicyViolationError: if policies are violated and nothing else is wrong.
        CompileError: if anything else is wrong.
    """
    errors = [diagnostic for diagnostic in outcome.diagnostics if diagnostic.is_error]
    if not errors:
        return
    if all(diagnostic.code in POLICY_CODES for diagnostic in errors):
        raise PolicyViolationError(outcome.diagnostics)
    raise CompileError(outcome.diagnostics)


def compile_request(
    request: CompileRequest, progress: Progress | None = None
) -> tuple[Compilation, tuple[Diagnostic, ...]]:
    """Compile, and return the warnings along with the result.

    Raises:
        CompileError: if the files are wrong; carries every diagnostic.
    """
    outcome = run_stages(STAGES, request, progress)
    check(outcome)
    return outcome.value, outcome.diagnostics


def compile_pipeline(
    floe_file: str | Path = FLOE_FILE,
    *,
    platform_file: str | Path | None = None,
    environment: str | None = None,
    vars: Mapping[str, JsonValue] | None = None,
) -> Compilation:
    """Compile a product from Python, as `floe compile` does.

    Writes `.floe/` beside floe.yaml. Needs no network and no credentials.

    Example:
        >>> from floe_core import compile_pipeline
        >>> compilation = compile_pipeline("shop/floe.yaml")  # doctest: +SKIP
        >>> compilation.artifacts.product  # doctest: +SKIP
        'shop'

    Raises:
        CompileError: if the files are wrong; `diagnostics` carries all of it.
    """
    request = CompileRequest(
        floe_file=Path(floe_file),
        platform_file=Path(platform_file) if platform_file is not None else None,
        environment=environment,
        vars=vars or {},
    )
    return compile_request(request)[0]
