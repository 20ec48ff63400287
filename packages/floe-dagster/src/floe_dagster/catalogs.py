"""The Iceberg catalogs of a product, from its artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.connection import product_lake, resolve_secrets

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


@dataclass(frozen=True)
class ProductCatalog:
    """An Iceberg catalog of a product.

    Attributes:
        name: Its entry in `catalogs` of platform.yaml.
        properties: PyIceberg's properties, with what they need to sign in.
    """

    name: str
    properties: Mapping[str, str] = field(repr=False)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, opened when it is first asked for.

        Raises:
            FloeError: as `explained` does.
        """
        from floe_iceberg import open_catalog

        with self.explained():
            return open_catalog(self.properties)

    def explained(self) -> AbstractContextManager[None]:
        """Say in one sentence why the catalog cannot be used; see `floe_iceberg.explained`."""
        from floe_iceberg import explained

        return explained(self.name, self.properties)


def product_catalogs(artifacts: CompiledArtifacts, root: Path) -> dict[str, ProductCatalog]:
    """The catalogs that hold a product's tables, by their keys in `floe_core.lake.Lake`.

    Args:
        artifacts: Say which these are.
        root: Absolute project root.

    Raises:
        ArtifactsError: if the product's engine does not write Iceberg tables.
        SecretNotFoundError: if a secret is missing.
    """
    lake = product_lake(artifacts)
    if lake is None:
        raise ArtifactsError(
            f"the tables of {artifacts.product} are no Iceberg tables of floe's: its engine keeps "
            "them by itself, or the platform has no `catalogs`",
            help="`floe query` reads them.",
        )
    secrets = resolve_secrets(artifacts)
    return {
        key: ProductCatalog(entry.name, lake.properties(key, root, secrets))
        for key, entry in lake.catalogs.items()
    }
