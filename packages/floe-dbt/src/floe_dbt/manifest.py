"""Projects dbt's manifest.json to the small index that the rest of floe reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from floe_core.index import Column, Node, ProjectIndex, ResourceType

_NODE_TYPES: Mapping[str, ResourceType] = {
    "model": "model",
    "seed": "seed",
    "snapshot": "snapshot",
    "test": "test",
}
"""Of what dbt keeps under `nodes`; analyses and hooks are left out."""


def read_index(
    manifest: Path,
    *,
    root: Path,
    folder: Path,
    project: str,
    target: str,
    inputs_hash: str,
) -> ProjectIndex:
    """Read a manifest (schema version 12) that dbt has just written.

    The result holds no absolute path and nothing that depends on the time, so equal projects give
    equal indexes wherever they are.

    Args:
        manifest: Path of manifest.json.
        root: Absolute project root; where it stands in the manifest, the index has
            `$FLOE_PROJECT_DIR`.
        folder: Absolute folder of the dbt project.
        project: The same folder, relative to the project root.
        target: dbt target name that it was parsed for.
        inputs_hash: Hash of everything that the parse read.

    Raises:
        OSError: if there is no manifest.
        ValueError: if it is not JSON.
    """
    here = orjson.dumps(str(root))[1:-1] + b"/"
    document = orjson.loads(manifest.read_bytes().replace(here, b"$FLOE_PROJECT_DIR/"))
    metadata = document["metadata"]
    nodes = sorted(_nodes(document, folder), key=lambda node: node.unique_id)
    return ProjectIndex(
        project=project,
        name=metadata["project_name"],
        target=target,
        adapter_type=metadata["adapter_type"],
        dbt_version=metadata["dbt_version"],
        inputs_hash=inputs_hash,
        nodes={node.unique_id: node for node in nodes},
        macros=_macros(document["macros"], metadata["project_name"]),
    )


def _macros(macros: Mapping[str, Any], project: str) -> dict[str, str]:
    """Hash of each macro of the project, and of all macros of each package together."""
    own: dict[str, str] = {}
    packages: dict[str, list[str]] = {}
    for row in sorted(macros.values(), key=lambda row: str(row["unique_id"])):
        if row["package_name"] == project:
            own[row["name"]] = _sha1(row["macro_sql"])
        elif row["package_name"] != "dbt":
            packages.setdefault(f"package {row['package_name']}", []).append(row["macro_sql"])
    return own | {name: _sha1("".join(texts)) for name, texts in packages.items()}


def _sha1(text: str | None) -> str:
    return hashlib.sha1((text or "").encode()).hexdigest()


_HAVE_FIELDS = frozenset(
    {"alias", "database", "enabled", "group", "materialized", "meta", "schema", "severity", "tags"}
)


def _config(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the project configures, as dbt rendered it; defaults are left out."""
    rendered = row.get("config") or {}
    return {
        key: rendered[key]
        for key in sorted(row.get("unrendered_config") or ())
        if key in rendered and key not in _HAVE_FIELDS
    }


def _nodes(document: Mapping[str, Any], folder: Path) -> Iterator[Node]:
    owners = _owners(document.get("groups") or {})
    for row in document["nodes"].values():
        if row["resource_type"] == "test":
            yield _test(row)
        elif row["resource_type"] in _NODE_TYPES:
            yield _relation(row, owners, folder)
    yield from (_source(row) for row in document["sources"].values())
    yield from (_exposure(row) for row in document["exposures"].values())
    yield from (_unit_test(row) for row in (document.get("unit_tests") or {}).values())


def _owners(groups: Mapping[str, Any]) -> dict[tuple[str, str], str | None]:
    """E-mail address of each group's owner, by package and name of the group."""
    return {
        (group["package_name"], group["name"]): _email(group["owner"]) for group in groups.values()
    }


def _email(owner: Mapping[str, Any] | None) -> str | None:
    """The owner's address; dbt allows a list of them, and the first one answers."""
    email = (owner or {}).get("email")
    if isinstance(email, list):
        return str(email[0]) if email else None
    return str(email) if email else None


def _common(row: Mapping[str, Any]) -> dict[str, Any]:
    config = row.get("config") or {}
    return {
        "unique_id": row["unique_id"],
        "name": row["name"],
        "package_name": row["package_name"],
        "original_file_path": row["original_file_path"].replace("\\", "/"),
        "fqn": tuple(row.get("fqn") or ()),
        "description": row.get("description") or "",
        "tags": tuple(row.get("tags") or ()),
        "meta": config.get("meta") or row.get("meta") or {},
        "depends_on": tuple(sorted(set((row.get("depends_on") or {}).get("nodes") or ()))),
        "patch_path": row.get("patch_path"),
        "config": _config(row),
    }


def _relation(
    row: Mapping[str, Any], owners: Mapping[tuple[str, str], str | None], folder: Path
) -> Node:
    config = row["config"]
    group = row.get("group") or config.get("group")
    version = row.get("version")
    return Node(
        **_common(row),
        resource_type=_NODE_TYPES[row["resource_type"]],
        alias=row["alias"],
        database=row["database"],
        schema=row["schema"],
        config_schema=config.get("schema"),
        version=None if version is None else str(version),
        materialized=config.get("materialized"),
        columns=_columns(row),
        group=group,
        owner=owners.get((row["package_name"], group)) if group else None,
        code_version=_code_version(row, folder),
        **_batches(config),
    )


def _batches(config: Mapping[str, Any]) -> dict[str, Any]:
    """Size and start of the batches of a microbatch model."""
    if config.get("materialized") != "incremental":
        return {}
    if config.get("incremental_strategy") != "microbatch":
        return {}
    begin = config.get("begin")
    return {"batch_size": config.get("batch_size"), "begin": str(begin) if begin else None}


def _code_version(row: Mapping[str, Any], folder: Path) -> str:
    if row["resource_type"] != "seed":
        return _sha1(row.get("raw_code"))
    checksum = row["checksum"]
    if checksum["name"] != "path":
        return str(checksum["checksum"])
    # dbt does not read large seeds to compare them, and gives their path in place of a checksum.
    try:
        with (folder / row["original_file_path"]).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(row["original_file_path"].encode()).hexdigest()


def _columns(row: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=column["name"],
            data_type=column.get("data_type"),
            description=column.get("description") or "",
            tags=tuple(column.get("tags") or ()),
            meta=(column.get("config") or {}).get("meta") or column.get("meta") or {},
        )
        for column in (row.get("columns") or {}).values()
    )


def _source(row: Mapping[str, Any]) -> Node:
    return Node(
        **_common(row),
        resource_type="source",
        alias=row["identifier"],
        database=row["database"],
        schema=row["schema"],
        columns=_columns(row),
        source_name=row["source_name"],
    )


def _test(row: Mapping[str, Any]) -> Node:
    metadata = row.get("test_metadata") or {}
    return Node(
        **_common(row),
        resource_type="test",
        alias=row.get("alias") or "",
        severity=_severity(row),
        attached_node=row.get("attached_node"),
        column_name=row.get("column_name"),
        test_name=metadata.get("name"),
        code_version=_sha1(row.get("raw_code")),
    )


def _severity(row: Mapping[str, Any]) -> str:
    return str((row.get("config") or {}).get("severity") or "error").lower()


def _unit_test(row: Mapping[str, Any]) -> Node:
    """A unit test is a test of its model; `dbt build` runs it before the model."""
    depends_on = (row.get("depends_on") or {}).get("nodes") or [None]
    return Node(
        **_common(row),
        resource_type="test",
        severity="error",
        attached_node=row.get("tested_node_unique_id") or depends_on[0],
        code_version=row.get("checksum"),
    )


def _exposure(row: Mapping[str, Any]) -> Node:
    return Node(**_common(row), resource_type="exposure", owner=_email(row.get("owner")))
