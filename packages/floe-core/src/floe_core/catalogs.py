"""The kinds of Iceberg catalogs that floe knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from floe_core.plugins import Finding
from floe_core.schemas.platform import CatalogProfile

if TYPE_CHECKING:
    from floe_core.plugins import CatalogClient


class CatalogServer:
    """A catalog that is reached by its endpoint: `polaris`, `rest`, `nessie`, `hive`."""

    def check(self, catalog: CatalogProfile) -> Sequence[Finding]:
        """Look for the endpoint."""
        if catalog.uri is not None:
            return []
        message = f"a catalog of type `{catalog.type}` needs `uri`, its endpoint"
        return [Finding("FLOE-G004", (), message, "add `uri:`")]


class CatalogWithoutServer:
    """A catalog that is found without an endpoint: `glue` by its region, `sqlite` by its file."""

    def check(self, catalog: CatalogProfile) -> Sequence[Finding]:
        """Nothing is needed."""
        return []


if TYPE_CHECKING:
    _: tuple[type[CatalogClient], ...] = (CatalogServer, CatalogWithoutServer)
