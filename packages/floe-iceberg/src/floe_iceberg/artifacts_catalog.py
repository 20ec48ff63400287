"""The catalogs that a product's tables are in, from its artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.errors import ArtifactsError
from floe_core.layout import Layout, make_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog

    from floe_core.schemas.artifacts import CompiledArtifacts
    from floe_core.schemas.platform import CatalogProfile

DEFAULT = "default"
"""Name of the catalog of a product that names none."""


def catalog_names(artifacts: CompiledArtifacts) -> tuple[str, ...]:
    """Names of the catalogs that hold tables of a product: its own first, then its layers'."""
    profiles = artifacts.profiles
    own = profiles.catalog.name if profiles is not None and profiles.catalog else DEFAULT
    return tuple(dict.fromkeys([own, *(layer.catalog for layer in artifacts.layers.values())]))


def catalog_of(artifacts: CompiledArtifacts, root: Path, name: str = DEFAULT) -> Catalog:
    """Open a catalog of a product.

    Args:
        artifacts: Have its profile.
        root: Project root.
        name: Name of the profile.

    Raises:
        ArtifactsError: if catalogs of its kind cannot be opened.
    """
    from pyiceberg.catalog import load_catalog

    profile = _profile(artifacts, name)
    if profile is not None and profile.type not in {"sqlite", "sql"}:
        raise ArtifactsError(
            f"catalog `{name}` is of type {profile.type}, whose tables cannot be looked at yet",
            help="Only the local catalog can, `type: sqlite`.",
        )
    layout = Layout(root)
    folder = layout.data(artifacts.environment)
    layout.prepare()
    make_folder(folder)
    return load_catalog(
        name,
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
    )


def connect() -> DuckDBPyConnection:
    """A connection that reads and writes the files of tables."""
    import duckdb

    return duckdb.connect()


def _profile(artifacts: CompiledArtifacts, name: str) -> CatalogProfile | None:
    profiles = artifacts.profiles
    if profiles is None:
        return None
    if profiles.catalog is not None and profiles.catalog.name == name:
        return profiles.catalog.profile
    return profiles.others.catalogs.get(name) if profiles.others is not None else None
