"""What dbt knows of a project, as far as floe needs it.

A transform plugin projects dbt's manifest to a `ProjectIndex` once per change of the project; the
compiler, the orchestration and the command line read nothing else. Field names are those of dbt's
manifest (https://schemas.getdbt.com/dbt/manifest/v12.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ResourceType = Literal["model", "seed", "snapshot", "source", "test", "exposure", "asset"]
"""dbt's, and `asset` for what a transform of another kind makes."""
BUILDABLE: frozenset[str] = frozenset({"model", "seed", "snapshot", "asset"})
"""Resource types that a run materializes."""


@dataclass(frozen=True, slots=True)
class Column:
    """A documented column of a node."""

    name: str
    data_type: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a dbt project, or the asset of a transform of another kind."""

    unique_id: str
    resource_type: ResourceType
    name: str
    package_name: str
    original_file_path: str
    """Path relative to the package's folder."""
    fqn: tuple[str, ...] = ()
    alias: str = ""
    database: str | None = None
    schema: str | None = None
    config_schema: str | None = None
    """`schema` as configured on the node itself, before `generate_schema_name`."""
    version: str | None = None
    materialized: str | None = None
    description: str = ""
    columns: tuple[Column, ...] = ()
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    owner: str | None = None
    """E-mail address of the owner of the node's dbt group."""
    depends_on: tuple[str, ...] = ()
    """Unique ids of direct parents, sorted."""
    code_version: str | None = None
    """SHA-1 of the raw SQL, or the checksum of a seed."""
    source_name: str | None = None
    severity: str | None = None
    """Of a test: `error` or `warn`."""
    attached_node: str | None = None
    """Of a generic test: the node that it is declared on."""
    column_name: str | None = None
    """Of a generic test: the column that it is declared on."""
    test_name: str | None = None
    """Of a generic test: the name of the test macro, such as `not_null`."""
    batch_size: str | None = None
    """Of a microbatch model: `hour`, `day`, `month` or `year`."""
    begin: str | None = None
    """Of a microbatch model: start of its first batch, in ISO 8601."""
    patch_path: str | None = None
    """File that describes the node and its columns, as `package://path`."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration that the project sets and that has no field of its own here."""

    @property
    def asset_key(self) -> tuple[str, ...]:
        """Key of the node as an asset: `meta.dagster.asset_key`, else the schema and the name.

        A source's key is its source name and table name; a versioned model's key is its alias. The
        rule is dagster-dbt's.
        """
        dagster = self.meta.get("dagster")
        configured = dagster.get("asset_key") if isinstance(dagster, Mapping) else None
        if configured:
            return (configured,) if isinstance(configured, str) else tuple(map(str, configured))
        if self.resource_type == "source":
            return (self.source_name or "", self.name)
        if self.version is not None:
            return (self.alias,)
        return (self.name,) if self.config_schema is None else (self.config_schema, self.name)


@dataclass(frozen=True, slots=True)
class ProjectIndex:
    """The nodes of one dbt project, parsed for one dbt target."""

    project: str
    """Folder of the dbt project, relative to the project root (`.` when it is the root)."""
    name: str
    """Name of the dbt project."""
    target: str
    """dbt target name that it was parsed for."""
    adapter_type: str
    dbt_version: str
    inputs_hash: str
    """Hash of everything that the parse read; equal hashes mean an equal index."""
    nodes: dict[str, Node]
    """By unique id, sorted by it. Disabled nodes are absent."""
    macros: dict[str, str] = field(default_factory=dict)
    """SHA-1 of each macro of the project, by name, and of all macros of each package."""

    def children(self) -> dict[str, list[str]]:
        """Map each unique id to the unique ids of its direct children, sorted."""
        children: dict[str, list[str]] = {unique_id: [] for unique_id in self.nodes}
        for node in self.nodes.values():
            for parent in node.depends_on:
                if parent in children:
                    children[parent].append(node.unique_id)
        return children
