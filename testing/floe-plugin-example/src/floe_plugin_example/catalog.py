"""`lakehouse`: an Iceberg REST catalog whose users have a token."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.plugins import CatalogProfile, Finding, SecretRef, StorageProfile

if TYPE_CHECKING:
    from floe_core.plugins import CatalogClient


class Lakehouse:
    """Signs in with `properties: {token: ...}`, and leaves storage to what the catalog vends."""

    nests_namespaces = True

    def check(self, catalog: CatalogProfile) -> Sequence[Finding]:
        """Look for the endpoint and the token."""
        if catalog.uri is None:
            return [Finding("LAKE-001", (), "needs `uri`, its endpoint", "add `uri:`")]
        if not isinstance(catalog.properties.get("token"), SecretRef):
            help = "name the secret that holds it"
            return [Finding("LAKE-002", (), "needs `properties: {token: ...}`", help)]
        return []

    def properties(
        self,
        catalog: CatalogProfile,
        storage: StorageProfile | None,
        data: Path,
        secret: Callable[[SecretRef], str],
    ) -> dict[str, str]:
        """Say it in PyIceberg's own names."""
        token = catalog.properties["token"]
        assert isinstance(token, SecretRef)
        found = {"type": "rest", "uri": str(catalog.uri), "token": secret(token)}
        return found | {"header.X-Iceberg-Access-Delegation": "vended-credentials"}


if TYPE_CHECKING:
    _: type[CatalogClient] = Lakehouse
