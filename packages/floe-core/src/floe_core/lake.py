"""Where the tables of a product live, for engines that write Iceberg through floe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from floe_core import plugins
from floe_core.entry_points import blamed
from floe_core.errors import ArtifactsError
from floe_core.index import ProjectIndex
from floe_core.profiles import PROJECT_DIR
from floe_core.schemas.artifacts import CompiledArtifacts, OtherProfiles, Profiles
from floe_core.schemas.platform import CatalogProfile, Layer, StorageProfile
from floe_core.schemas.secret import SecretRef
from floe_core.secrets import variable_name

OWN = "default"
"""Key of the catalog that a product's tables go to unless a layer says otherwise."""

_TAKEN = {OWN, "engine", "memory", "system", "temp"}
"""Keys that a layer's catalog cannot have: the product's own, and databases of DuckDB."""

_TABLES = {"model", "seed", "snapshot"}


@dataclass(frozen=True)
class LakeCatalog:
    """An Iceberg catalog, and where its tables are stored.

    Attributes:
        name: Name of its entry in `catalogs` of platform.yaml.
        profile: The entry.
        storage: The entry of `storage` that goes with it.
    """

    name: str
    profile: CatalogProfile
    storage: StorageProfile | None

    def properties(self, data: Path, secret: Callable[[SecretRef], str]) -> dict[str, str]:
        """PyIceberg's properties; see `CatalogClient.properties`.

        Raises:
            ArtifactsError: if there is no plugin for the kind of catalog.
            PluginError: if the plugin cannot be used.
        """
        client = plugins.catalog_client(self.profile.type)
        if client is None:
            known = ", ".join(plugins.names(plugins.CATALOGS)) or "none"
            raise ArtifactsError(
                f"no catalog of type `{self.profile.type}` can be opened here (installed: {known})",
                help=f"Install a package that registers `{self.profile.type}` under "
                f"`{plugins.CATALOGS}`.",
            )
        with blamed(plugins.CATALOGS, self.profile.type):
            return client.properties(self.profile, self.storage, data, secret)


@dataclass(frozen=True)
class Lake:
    """The Iceberg catalogs of a product, and the tables that layers place.

    Attributes:
        environment: Name of the environment.
        catalogs: The catalogs by key. `default` is the product's own; where a layer combines
            catalog and storage otherwise, the key is the layer's name, or `layer NAME`
            where that is taken.
        layers: The layers, by name.
        keys: Key of the catalog of each layer, by the layer's name.
        tables: Layer of each table that one places, by the table's name in dbt,
            `schema.identifier`. The others are in the product's own catalog, under their schema.
        at: The time that queries read tables as of; now when None.
    """

    environment: str
    catalogs: Mapping[str, LakeCatalog]
    layers: Mapping[str, Layer] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def names(self) -> dict[str, str]:
        """Names of the catalogs in platform.yaml, by key."""
        return {key: known.name for key, known in self.catalogs.items()}

    def namespace(self, layer: str) -> str:
        """The Iceberg namespace of a layer."""
        return self.layers[layer].namespace or layer

    def table_properties(self, layer: str) -> dict[str, str]:
        """Iceberg's table properties that say which snapshots a layer keeps."""
        retention = self.layers[layer].retention
        if retention is None:
            return {}
        found = {}
        if retention.snapshots_days is not None:
            age = retention.snapshots_days * 24 * 3600 * 1000
            found["history.expire.max-snapshot-age-ms"] = str(age)
        if retention.keep_last is not None:
            found["history.expire.min-snapshots-to-keep"] = str(retention.keep_last)
        return found

    def properties(self, key: str, root: Path, secrets: Mapping[str, str]) -> dict[str, str]:
        """PyIceberg's properties of a catalog, with what they need to sign in.

        Args:
            key: Key of the catalog.
            root: Absolute project root.
            secrets: Values by the names that `secrets` gives.
        """
        return self.catalogs[key].properties(self._data(root), lambda ref: secrets[variable(ref)])

    def written_properties(self, key: str) -> dict[str, str]:
        """PyIceberg's properties as profiles.yml has them: secrets and the root are variables."""
        return self.catalogs[key].properties(
            self._data(Path(PROJECT_DIR)), lambda ref: f"{{{{ env_var('{variable(ref)}') }}}}"
        )

    def secrets(self) -> dict[str, SecretRef]:
        """Each environment variable that `written_properties` refers to, with its secret."""
        found: dict[str, SecretRef] = {}

        def note(ref: SecretRef) -> str:
            found[variable(ref)] = ref
            return ""

        for catalog in self.catalogs.values():
            catalog.properties(self._data(Path(PROJECT_DIR)), note)
        return found

    def _data(self, root: Path) -> Path:
        return root / ".floe" / "data" / self.environment


def variable(ref: SecretRef) -> str:
    """The environment variable that holds a secret for dbt, which keeps it out of its logs."""
    parts = [ref.name, *([ref.entry] if ref.entry else [])]
    return f"DBT_ENV_SECRET_FLOE_{variable_name(*parts)}"


def lake_of(
    profiles: Profiles, others: OtherProfiles | None, layers: Mapping[str, Layer], environment: str
) -> Lake | None:
    """The Iceberg catalogs of a product; None where the platform has none.

    Args:
        profiles: The entries of the platform that the product uses.
        others: Those that only layers refer to.
        layers: The layers of the platform.
        environment: Name of the environment.
    """
    if profiles.catalog is None:
        return None
    storages = dict(others.storage if others else {})
    entries = dict(others.catalogs if others else {})
    entries[profiles.catalog.name] = profiles.catalog.profile
    own_storage = profiles.storage
    if own_storage is not None:
        storages[own_storage.name] = own_storage.profile
    stored = own_storage.profile if own_storage else None
    catalogs = {OWN: LakeCatalog(profiles.catalog.name, profiles.catalog.profile, stored)}
    keys = {}
    for name, layer in layers.items():
        wanted = LakeCatalog(layer.catalog, entries[layer.catalog], storages.get(layer.storage))
        free = f"layer {name}" if name.lower() in _TAKEN else name  # no name has a space
        keys[name] = next((key for key, known in catalogs.items() if known == wanted), free)
        catalogs[keys[name]] = wanted
    return Lake(environment, catalogs, layers, keys)


def with_tables(lake: Lake, artifacts: CompiledArtifacts, indexes: Iterable[ProjectIndex]) -> Lake:
    """The same catalogs, with the tables that layers place."""
    tables = {}
    for index in indexes:
        for unique_id, layer in _layers(artifacts, index).items():
            node = index.nodes[unique_id]
            tables[f"{node.schema}.{node.alias or node.name}"] = layer
    return replace(lake, tables=tables)


def _layers(artifacts: CompiledArtifacts, index: ProjectIndex) -> dict[str, str]:
    """The layer of each node that has one and becomes a table or view, by unique id."""
    found = {}
    for transform in artifacts.transforms:
        for unique_id in transform.nodes or ():
            node = index.nodes.get(unique_id)
            if node is None or node.resource_type not in _TABLES:
                continue
            own = node.meta.get("floe")
            named = transform.layer or (own.get("layer") if isinstance(own, Mapping) else None)
            if named in artifacts.layers and node.materialized != "ephemeral":
                found[unique_id] = str(named)
    return found
