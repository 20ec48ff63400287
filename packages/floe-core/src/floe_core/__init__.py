"""Schemas, compiler and diagnostics of floe.

>>> from floe_core import FloeSpec
>>> FloeSpec(name="shop", version="1.0.0", transforms=[{"project": "dbt"}]).name
'shop'
"""

from typing import TYPE_CHECKING, Any

from floe_core.version import __version__

if TYPE_CHECKING:
    from floe_core.artifacts import dump_artifacts, load_artifacts
    from floe_core.compiler.generate import Compilation
    from floe_core.compiler.pipeline import compile_pipeline
    from floe_core.context import TransformContext
    from floe_core.diagnostics import Diagnostic
    from floe_core.errors import CompileError, FloeError
    from floe_core.schemas.artifacts import CompiledArtifacts
    from floe_core.schemas.floe import FloeSpec
    from floe_core.schemas.platform import PlatformSpec

__all__ = [
    "Compilation",
    "CompileError",
    "CompiledArtifacts",
    "Diagnostic",
    "FloeError",
    "FloeSpec",
    "PlatformSpec",
    "TransformContext",
    "__version__",
    "compile_pipeline",
    "dump_artifacts",
    "load_artifacts",
]

_HOMES = {
    "Compilation": "floe_core.compiler.generate",
    "CompileError": "floe_core.errors",
    "CompiledArtifacts": "floe_core.schemas.artifacts",
    "Diagnostic": "floe_core.diagnostics",
    "FloeError": "floe_core.errors",
    "FloeSpec": "floe_core.schemas.floe",
    "PlatformSpec": "floe_core.schemas.platform",
    "TransformContext": "floe_core.context",
    "compile_pipeline": "floe_core.compiler.pipeline",
    "dump_artifacts": "floe_core.artifacts",
    "load_artifacts": "floe_core.artifacts",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import floe_core` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module `floe_core` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
