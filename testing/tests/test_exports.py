"""The public names of each package change only on purpose."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC = {
    "floe_client": {"ControlPlaneClient", "Pulled", "pull", "rollback"},
    "floe_core": {
        "Compilation",
        "CompileError",
        "CompiledArtifacts",
        "Diagnostic",
        "FloeError",
        "FloeSpec",
        "PlatformSpec",
        "TransformContext",
        "__version__",
        "compile_pipeline",
        "dump_artifacts",
        "load_artifacts",
    },
    "floe_dagster": {"build_definitions"},
    "floe_iceberg": {
        "Committed",
        "Evolution",
        "Files",
        "Identifier",
        "Layout",
        "PartitionBy",
        "Rows",
        "append",
        "configure",
        "create",
        "describe",
        "evolve",
        "explained",
        "fast_forward",
        "files_of",
        "load",
        "load_iceberg",
        "open_catalog",
        "overwrite_partitions",
        "parse_partition_by",
        "replace",
        "rewrite",
        "scan_sql",
        "snapshot_at",
        "upsert",
    },
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    module = import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PUBLIC)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        import_module(package).nonsense  # noqa: B018 - the access is what is tested
