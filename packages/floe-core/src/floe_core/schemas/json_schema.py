"""JSON Schemas (draft 2020-12) of floe.yaml, platform.yaml and the artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from floe_core.layout import write_if_changed
from floe_core.schemas.artifacts import ARTIFACTS_VERSION, CompiledArtifacts
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.platform import PLATFORM_SCHEMA_VERSION, PlatformSpec

SCHEMAS: dict[str, type[BaseModel]] = {
    "platform": PlatformSpec,
    "floe": FloeSpec,
    "artifacts": CompiledArtifacts,
}
"""The model of each schema, by the name that `floe schema export` takes."""

_TITLES = {
    "platform": f"platform.yaml {PLATFORM_SCHEMA_VERSION}",
    "floe": "floe.yaml",
    "artifacts": f"CompiledArtifacts {ARTIFACTS_VERSION}",
}

_OTHER_FLOE_SPELLINGS = {
    "apiVersion": "`floe.dev/v1`, for files that are written like Kubernetes objects.",
    "kind": "`FloeSpec`, for files that are written like Kubernetes objects.",
    "metadata": "Another place for name, version, description, owner and labels.",
    "storage": "Another spelling of `profiles.storage`.",
    "catalog": "Another spelling of `profiles.catalog`.",
    "compute": "Another spelling of `profiles.compute`.",
    "schedule": "Another spelling of `schedules`, for a single one.",
}
_OTHER_TRANSFORM_SPELLINGS = {
    "dependsOn": "Another spelling of `depends_on`.",
    "tier": "Another spelling of `layer`.",
}
_OTHER_PLATFORM_SPELLINGS = {
    "apiVersion": "`floe.dev/v1`, for files that are written like Kubernetes objects.",
    "kind": "`Manifest`, for files that are written like Kubernetes objects.",
    "metadata": "Another place for name and version.",
}
_MOVABLE = ("name", "version")


def export_schema(name: str) -> str:
    """The JSON Schema of `platform`, `floe` or `artifacts`, as JSON text with a final newline.

    Other spellings are part of it, marked as deprecated, so that an editor takes what floe takes.
    """
    schema = SCHEMAS[name].model_json_schema(mode="validation")
    schema["$schema"] = GenerateJsonSchema.schema_dialect
    schema["title"] = _TITLES[name]
    if name == "floe":
        _add_spellings(schema, _OTHER_FLOE_SPELLINGS)
        _add_spellings(schema["$defs"]["Transform"], _OTHER_TRANSFORM_SPELLINGS)
        _open_flat_forms(schema["$defs"]["ProductObservability"], ("traces", "metrics", "lineage"))
        _open_flat_forms(
            schema["$defs"]["Consumption"],
            ("port", "api_secret_ref", "pre_aggregations", "security"),
        )
    elif name == "platform":
        _add_spellings(schema, _OTHER_PLATFORM_SPELLINGS)
        _add_spellings(
            schema["$defs"]["Plugins"], {"compute": "Another spelling of `compute.default`."}
        )
        _open_flat_forms(
            schema["$defs"]["PlatformObservability"],
            ("traces", "metrics", "lineage", "otlp_endpoint", "lineage_endpoint"),
        )
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write `platform.schema.json`, `floe.schema.json` and `artifacts.schema.json` to a folder."""
    paths = []
    for name in SCHEMAS:
        path = folder / f"{name}.schema.json"
        write_if_changed(path, export_schema(name).encode())
        paths.append(path)
    return paths


def _add_spellings(schema: dict[str, Any], spellings: dict[str, str]) -> None:
    for key, description in spellings.items():
        schema["properties"][key] = {"deprecated": True, "description": description}
    if "metadata" in spellings and "required" in schema:
        schema["required"] = [key for key in schema["required"] if key not in _MOVABLE]


def _open_flat_forms(schema: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        flat = {"deprecated": True, "description": "Flat form of this section."}
        canonical = schema["properties"].get(key)
        if canonical is None:
            schema["properties"][key] = flat
        else:
            description = canonical.pop("description", None)
            schema["properties"][key] = {
                "anyOf": [canonical, {"type": "boolean", "deprecated": True}],
                "description": description,
            }
