"""Names of datasets, by OpenLineage's naming rules (https://openlineage.io/docs/spec/naming).

Where a rule leaves a choice, the names are those of OpenLineage's own integrations for dbt and
Spark, so that graphs of other producers join. A table has one name, whoever writes or reads it:

* of an Iceberg table its location, with the name in its catalog as a symlink; where the location
  is not known, the name in the catalog, which servers find by the symlink,
* of a file its path, and of any other table the engine's address with database, schema and name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from floe_core.errors import FloeError
from floe_core.index import BUILDABLE, Node, ProjectIndex
from floe_core.lake import OWN, Lake, LakeCatalog, lake_of, with_tables
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.platform import CatalogProfile, ComputeProfile

_ICEBERG = frozenset({"table", "incremental", "seed", "snapshot"})
"""Materializations that floe's adapter keeps as Iceberg tables."""

_PORTS = {
    "clickhouse": "8123",
    "postgres": "5432",
    "redshift": "5439",
    "sqlserver": "1433",
    "trino": "8080",
}
_SCHEMES = {"sqlserver": "mssql"}
_REDSHIFT = re.compile(r"(?P<cluster>[^.]+)\.[^.]+\.(?P<region>[^.]+)\.redshift\.amazonaws\.com")
_ROLE = re.compile(r"arn:[\w-]+:iam::(?P<account>\d{12}):")
_URL = re.compile(r"^[A-Za-z][\w+.-]*:/")
_S3 = frozenset({"s3", "s3a", "s3n"})


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name within a namespace."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class IcebergCatalog:
    """The catalog that an Iceberg table is registered in; addresses hold no user and password."""

    type: str
    name: str
    uri: str | None = None
    warehouse: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table, view or file.

    Attributes:
        namespace: Where it is.
        name: What it is called there.
        kind: OpenLineage's dataset type.
        symlinks: Other names of it.
        catalog: Its catalog, of an Iceberg table.
    """

    namespace: str
    name: str
    kind: Literal["TABLE", "VIEW", "FILE"] = "TABLE"
    symlinks: tuple[Identifier, ...] = ()
    catalog: IcebergCatalog | None = None


class Naming:
    """Gives the nodes of a product their datasets.

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        indexes: What is known of the projects.
        namespace: Namespace of the product's jobs, for views that exist in its engine alone.
        locations: Location of each Iceberg table, as a URI or an absolute path, by unique id.
    """

    def __init__(
        self,
        artifacts: CompiledArtifacts,
        root: Path,
        indexes: Sequence[ProjectIndex],
        *,
        namespace: str,
        locations: Mapping[str, str] | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._root = root
        self._namespace = namespace
        self._locations = locations or {}
        self._compute = _compute(artifacts)
        self._projects = {uid: index.project for index in indexes for uid in index.nodes}
        self._sources: dict[tuple[str, ...], list[Node]] = {}
        for index in indexes:
            for node in index.nodes.values():
                if node.resource_type == "source":
                    self._sources.setdefault(node.asset_key, []).append(node)
        self._indexes = indexes
        self._places: dict[Identifier, str] = {}

    def dataset(self, node: Node, location: str | None = None) -> Dataset | None:
        """The dataset of a node; None where it has none, such as an ephemeral model.

        Args:
            node: A model, seed, snapshot or source.
            location: Location of its Iceberg table, when it is known by now.
        """
        if node.resource_type not in BUILDABLE | {"source"} or node.materialized == "ephemeral":
            return None
        if node.resource_type == "asset":
            return None
        file = self._file(node)
        if file is not None:
            return Dataset(file.namespace, file.name, "FILE")
        if self._is_iceberg(node):
            return self._iceberg(node, location or self._locations.get(node.unique_id))
        kind: Literal["TABLE", "VIEW"] = "VIEW" if node.materialized == "view" else "TABLE"
        parts = (node.database, node.schema, node.alias or node.name)
        return Dataset(self._engine, ".".join(part for part in parts if part), kind)

    def outputs(self, node: Node, location: str | None = None) -> tuple[Dataset, ...]:
        """What a node writes; a Python transform is known by the sources that name it."""
        if node.resource_type == "asset":
            made = (self.dataset(source) for source in self._sources.get(node.asset_key, ()))
            return tuple(dict.fromkeys(dataset for dataset in made if dataset is not None))
        dataset = self.dataset(node, location)
        return () if dataset is None else (dataset,)

    def _file(self, node: Node) -> Identifier | None:
        """The file that dbt-duckdb reads a source from, or writes an external model to."""
        if self._compute.type != "duckdb":
            return None
        given = None
        if node.resource_type == "source":
            given = node.meta.get("external_location") or node.config.get("external_location")
        elif node.materialized == "external":
            given = node.config.get("location")
        if not isinstance(given, str) or "(" in given:
            return None
        try:
            path = given.format(
                name=node.name, identifier=node.alias or node.name, schema=node.schema
            )
        except (KeyError, IndexError, ValueError):
            return None
        folder = self._root / self._projects.get(node.unique_id, ".")
        return storage_name(path if _URL.match(path) else str(folder / path.strip("'\"")))

    def _is_iceberg(self, node: Node) -> bool:
        if self._lake is None:
            return False
        return node.resource_type in {"source", "seed", "snapshot"} or (
            node.materialized in _ICEBERG
        )

    def _iceberg(self, node: Node, location: str | None) -> Dataset:
        lake = self._lake
        assert lake is not None
        table = node.alias or node.name
        layer = lake.tables.get(f"{node.schema}.{table}")
        key = lake.keys[layer] if layer else OWN
        namespace = lake.namespace(layer) if layer else node.schema or "main"
        catalog = self._catalogs[key]
        known = in_catalog(catalog, lake.catalogs[key].profile, namespace, table)
        if location is None:  # a source of one project may be a model of another
            location = self._places.get(known)
        else:
            self._places[known] = location
        if location is not None:
            place = storage_name(location)
            return Dataset(place.namespace, place.name, "TABLE", (known,), catalog)
        return Dataset(known.namespace, known.name, "TABLE", (), catalog)

    @cached_property
    def _lake(self) -> Lake | None:
        profiles = self._artifacts.profiles
        if profiles is None or self._compute.type != "duckdb":
            return None
        environment = self._artifacts.environment
        lake = lake_of(profiles, profiles.others, self._artifacts.layers, environment)
        return None if lake is None else with_tables(lake, self._artifacts, self._indexes)

    @cached_property
    def _catalogs(self) -> dict[str, IcebergCatalog]:
        assert self._lake is not None
        data = self._root / ".floe" / "data" / self._artifacts.environment
        return {key: _catalog(catalog, data) for key, catalog in self._lake.catalogs.items()}

    @cached_property
    def _engine(self) -> str:
        """Namespace of the tables that the engine keeps itself."""
        compute, environment = self._compute, self._artifacts.environment
        if compute.type == "duckdb":
            path = compute.properties.get("path")
            if self._lake is not None and path is None:
                return f"duckdb://{self._namespace}/{environment}"
            name = str(path or f".floe/data/{environment}/engine.duckdb")
            return f"duckdb://{self._root / name}"
        profiles = self._artifacts.profiles
        name = profiles.compute.name if profiles is not None else "default"
        return _engine_namespace(compute, name)


def data_parents(node: Node, nodes: Mapping[str, Node]) -> list[Node]:
    """What a node reads data from, in order; of an ephemeral model, what that reads."""
    found: dict[str, Node] = {}
    waiting, seen = list(reversed(node.depends_on)), set()
    while waiting:
        unique_id = waiting.pop()
        parent = nodes.get(unique_id)
        if parent is None or unique_id in seen:
            continue
        seen.add(unique_id)
        if parent.materialized == "ephemeral":
            waiting += reversed(parent.depends_on)
        elif parent.resource_type in BUILDABLE | {"source"}:
            found[unique_id] = parent
    return list(found.values())


def storage_name(location: str) -> Identifier:
    """Name of a folder or file by where it is: `s3://bucket` and the key, or `file` and a path."""
    if not _URL.match(location):
        return Identifier("file", posixpath.normpath(location))
    url = urlsplit(location)
    if url.scheme == "file":
        return Identifier("file", posixpath.normpath(unquote(url.path)))
    scheme = "s3" if url.scheme in _S3 else url.scheme
    return Identifier(f"{scheme}://{url.netloc}", url.path.strip("/") or "/")


def in_catalog(
    catalog: IcebergCatalog, profile: CatalogProfile, namespace: str, table: str
) -> Identifier:
    """Name of an Iceberg table in its catalog, as OpenLineage's Spark integration has it.

    A REST server may hold several warehouses with tables of one name, so that the warehouse is
    part of the namespace here.
    """
    name = f"{namespace}.{table}"
    uri, warehouse = catalog.uri, catalog.warehouse
    if catalog.type == "glue":
        region, account = _aws(profile)
        if region and account:
            return Identifier(f"arn:aws:glue:{region}:{account}", f"table/{namespace}/{table}")
    elif catalog.type == "hive" and uri:
        return Identifier(re.sub(r"^thrift:", "hive:", uri), name)
    elif catalog.type in {"polaris", "rest", "nessie"} and uri:
        base = uri.rstrip("/")
        return Identifier(f"{base}/{warehouse}" if warehouse else base, name)
    elif warehouse:
        return Identifier(re.sub(r"^file:/+", "file:/", warehouse.rstrip("/")), name)
    return Identifier(f"{catalog.type}://{catalog.name}", name)


def without_user(url: str) -> str:
    """A URL without user, password and query, any of which may hold a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _compute(artifacts: CompiledArtifacts) -> ComputeProfile:
    from floe_dagster.connection import compute_profile

    return compute_profile(artifacts)


def _catalog(catalog: LakeCatalog, data: Path) -> IcebergCatalog:
    """A catalog as far as it can be told without any secret."""
    try:
        known = catalog.properties(data, lambda _secret: "")
    except FloeError:
        known = {}
    uri = known.get("uri") or catalog.profile.uri
    warehouse = known.get("warehouse") or catalog.profile.warehouse
    return IcebergCatalog(
        type=catalog.profile.type,
        name=catalog.name,
        uri=without_user(uri) if uri else None,
        warehouse=without_user(warehouse) if warehouse and "://" in warehouse else warehouse,
    )


def _aws(profile: CatalogProfile) -> tuple[str | None, str | None]:
    """Region and account of a Glue catalog, as far as the profile tells."""
    properties = {key: str(value) for key, value in profile.properties.items()}
    region = properties.get("glue.region") or properties.get("client.region")
    account = properties.get("glue.id")
    role = getattr(profile.credentials, "role_arn", None)
    if account is None and role and (found := _ROLE.match(role)):
        account = found["account"]
    return region, account


def _engine_namespace(compute: ComputeProfile, profile: str) -> str:
    properties = {
        key: str(value)
        for key, value in compute.properties.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }
    kind = compute.type
    host, port = properties.get("host") or properties.get("server"), properties.get("port")
    if kind == "bigquery":
        return "bigquery"
    if kind == "snowflake" and "account" in properties:
        return f"snowflake://{_snowflake(properties['account'])}"
    if host is None:  # it is a secret: the name of the profile is the same for all its products
        return f"{kind}://{profile}"
    if kind == "databricks":
        return f"databricks://{host}"
    if kind == "redshift" and (found := _REDSHIFT.fullmatch(host)):
        host = f"{found['cluster']}.{found['region']}"
    if kind == "spark":
        port = port or ("10001" if properties.get("method") == "thrift" else "443")
    port = port or _PORTS.get(kind)
    return f"{_SCHEMES.get(kind, kind)}://{host}" + (f":{port}" if port else "")


def _snowflake(account: str) -> str:
    """An account as `organization-account`, or as `locator.region.cloud`."""
    first, *rest = account.split(".")
    if "-" in first:
        return first
    return ".".join([first, *(rest or ["us-west-1"]), *([] if len(rest) > 1 else ["aws"])])
