"""Dagster definitions built from floe's artifacts.

A code location in three lines::

    from floe_dagster import build_definitions

    defs = build_definitions(".floe/artifacts.json")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from floe_dagster.definitions import build_definitions

__all__ = ["build_definitions"]


def __getattr__(name: str) -> Any:
    """Import Dagster when it is needed, so that `floe list` does without."""
    if name not in __all__:
        raise AttributeError(f"module `floe_dagster` has no attribute `{name}`")
    from floe_dagster import definitions

    return getattr(definitions, name)
