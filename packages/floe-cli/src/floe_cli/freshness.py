"""Artifacts that are up to date, for the commands that work on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from floe_cli.output import Output, plural

if TYPE_CHECKING:
    from floe_core.compiler.generate import Compilation
    from floe_core.compiler.request import CompileRequest
    from floe_core.diagnostics import Diagnostic


@dataclass(frozen=True)
class Fresh:
    """A compile that has just been made.

    Attributes:
        compilation: What it produced.
        diagnostics: Its warnings.
        root: Project root.
    """

    compilation: Compilation
    diagnostics: tuple[Diagnostic, ...]
    root: Path


def compile_now(request: CompileRequest, out: Output) -> Fresh:
    """Compile, showing the stage that is at work and the warnings.

    Raises:
        CompileError: if the files are wrong.
    """
    from floe_core.compiler.pipeline import compile_request

    status = out.status("compiling ...")
    try:
        compilation, diagnostics = compile_request(
            request, lambda stage, seconds: out.detail(f"  {stage}: {seconds:.3f} s")
        )
    finally:
        if status is not None:
            status.stop()
    out.diagnostics(diagnostics)
    return Fresh(compilation, diagnostics, request.root)


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
