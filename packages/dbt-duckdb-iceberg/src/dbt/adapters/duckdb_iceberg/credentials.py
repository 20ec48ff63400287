"""The profile: what dbt-duckdb's has, and the Iceberg catalogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt_common.exceptions import DbtRuntimeError

from floe_iceberg.attachment import OWN, Attached, Placement


@dataclass
class IcebergCredentials(DuckDBCredentials):
    """An output of type `duckdb_iceberg` in profiles.yml.

    Attributes:
        catalog: PyIceberg's properties of the catalog that tables go to, such as `type`, `uri` and
            `warehouse`; or the name of a catalog in PyIceberg's own configuration.
        catalogs: Further catalogs by name. One is used where a model or source has its name as
            `database`.
        catalog_names: What messages call the catalogs, by name; `default` is that of `catalog`.
        tables: Where tables are whose dbt name (`schema.identifier`) is not their Iceberg name:
            `catalog`, `namespace`, and `properties` of the table.
        table_properties: Iceberg table properties of every table, unless a model sets its own.
    """

    catalog: dict[str, Any] | str | None = None
    catalogs: dict[str, dict[str, Any]] = field(default_factory=dict)
    catalog_names: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    table_properties: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.catalog:
            raise DbtRuntimeError(
                "A profile of type duckdb_iceberg needs `catalog`, the properties of its Iceberg "
                "catalog. A local one is:\n"
                "  catalog:\n"
                "    type: sql\n"
                "    uri: sqlite:////absolute/path/catalog.db\n"
                "    warehouse: file:///absolute/path/warehouse"
            )
        if self.is_motherduck or self.remote:
            raise DbtRuntimeError("duckdb_iceberg runs DuckDB in dbt's own process only")
        for name in self.catalogs:
            if name.lower() in {self.database.lower(), "temp", "system", OWN}:
                raise DbtRuntimeError(f"`catalogs` cannot have an entry named {name}: it is taken")
        # Each statement commits by itself: a view of an Iceberg table that another thread has
        # just renewed is seen at once, and what is atomic is Iceberg's own commit.
        self.disable_transactions = True

    @property
    def type(self) -> str:
        """The adapter's type."""
        return "duckdb_iceberg"

    @property
    def unique_field(self) -> str:
        """What dbt hashes to count adapters; nothing of the catalog is in it."""
        return f"{self.path}{self.external_root}"

    def shown(self, catalog: str) -> str:
        """What may be shown of a catalog: its kind, and where it is."""
        if catalog == OWN and isinstance(self.catalog, str):
            return f"{self.catalog} of PyIceberg's own configuration"
        known = self.attached().catalogs[catalog]
        uri = known.get("uri", "")
        if "@" in uri:
            scheme, _, rest = uri.partition("://")
            uri = f"{scheme}://{rest.rpartition('@')[2]}"
        found = (known.get("type", ""), uri, known.get("warehouse", ""))
        return ", ".join(part for part in found if part)

    def attached(self) -> Attached:
        """The catalogs and tables, for DuckDB."""
        own = {"name": self.catalog} if isinstance(self.catalog, str) else self.catalog or {}
        catalogs = {OWN: own, **self.catalogs}
        return Attached(
            {key: _texts(properties) for key, properties in catalogs.items()},
            self.database,
            tables={
                name: Placement(
                    place.get("catalog", OWN),
                    place.get("namespace", name.partition(".")[0]),
                    _texts(place.get("properties") or {}),
                )
                for name, place in self.tables.items()
            },
            path=str(self.path),
            names=self.catalog_names,
        )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
