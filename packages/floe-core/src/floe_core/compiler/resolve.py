"""Stage `resolve`: references become what they refer to, and the environment is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from floe_core import plugins
from floe_core.compiler.compute import check_compute_entries, report_no_adapter
from floe_core.compiler.discovery import LOCAL
from floe_core.compiler.governance import MergedGovernance, merge_governance
from floe_core.compiler.load import Loaded
from floe_core.compiler.not_yet import warn_of_idle_sections
from floe_core.compiler.orchestration import check_orchestration
from floe_core.compiler.plugins import (
    check_catalogs,
    check_exporter,
    check_secret_backends,
    unusable,
)
from floe_core.compiler.transforms import PlacedTransform, place_transforms
from floe_core.compiler.validation import is_left_out
from floe_core.diagnostics import (
    Diagnostic,
    Report,
    did_you_mean,
)
from floe_core.errors import PluginError
from floe_core.plugins import (
    ComputeTarget,
)
from floe_core.schemas.artifacts import (
    EnvironmentCategory,
    NamedCatalog,
    NamedCompute,
    NamedStorage,
    Profiles,
)
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.platform import (
    CatalogProfile,
    ComputeProfile,
    LocalStorage,
    PlatformSpec,
)
from floe_core.source import Source

PRODUCTION_NAMES = frozenset({"prod", "production"})


BUILT_IN_PLATFORM = PlatformSpec(
    name="built-in",
    storage={"default": LocalStorage(type="local", path=".floe/data/local/warehouse")},
    catalogs={"default": CatalogProfile(type="sqlite")},
    compute={"default": ComputeProfile(type="duckdb")},
)
"""The platform of environment `local` when there is no platform.yaml, or a section is absent."""


@dataclass(frozen=True)
class Resolved:
    """The product in one environment; everything it refers to is in hand.

    Attributes:
        loaded: The files.
        floe: The spec of floe.yaml.
        platform: The spec of the platform, built-in parts included.
        environment: Name of the environment.
        category: Its category.
        profiles: The platform entries that the product uses.
        target: The plugin for the product's compute.
        transforms: The transforms, in the order of floe.yaml.
        governance: The platform's floor, made stricter by the product.
    """

    loaded: Loaded
    floe: FloeSpec
    platform: PlatformSpec
    environment: str
    category: EnvironmentCategory
    profiles: Profiles
    target: ComputeTarget
    transforms: tuple[PlacedTransform, ...]
    governance: MergedGovernance


def resolve(loaded: Loaded, report: Report) -> Resolved | None:
    """Resolve what the files refer to; None when too much is wrong to go on."""
    environment = _environment(loaded, report)
    platform = _effective_platform(loaded, environment)
    placed: tuple[PlacedTransform, ...] = ()
    if loaded.floe is not None:
        placed = place_transforms(loaded, loaded.floe, report)
        check_orchestration(loaded, loaded.floe, placed, report)
    if platform is None:
        return None
    _check_layers(loaded, platform, report)
    check_compute_entries(loaded, report)
    check_catalogs(loaded, loaded.floe.profiles.catalog if loaded.floe else "default", report)
    check_exporter(loaded, platform, report)
    check_secret_backends(loaded, platform, report)
    if loaded.floe is None:
        return None
    governance = merge_governance(loaded, loaded.floe, platform, report)
    profiles = _profiles(loaded, loaded.floe, platform, environment, report)
    if not report.has_errors:
        warn_of_idle_sections(loaded, report)
    if profiles is None or len(placed) < len(loaded.floe.transforms):
        return None
    target = plugins.compute_target(profiles.compute.profile.type)
    if target is None:
        return None
    category = platform.environment_category or (
        "production" if environment in PRODUCTION_NAMES else "non_production"
    )
    return Resolved(
        loaded,
        loaded.floe,
        platform,
        environment,
        category,
        profiles,
        target,
        placed,
        governance,
    )


def _environment(loaded: Loaded, report: Report) -> str:
    wanted = loaded.request.wanted_environment
    said = loaded.platform.environment if loaded.platform else None
    if wanted and said and wanted != said and loaded.platform_source:
        report.add(
            loaded.platform_source.diagnostic(
                "FLOE-R005",
                ("environment",),
                f"this file is for environment `{said}`, but `{wanted}` was asked for",
                help=f"use `--env {said}`, or name another file with `--platform`",
            )
        )
    return wanted or said or LOCAL


def _effective_platform(loaded: Loaded, environment: str) -> PlatformSpec | None:
    platform = loaded.platform
    if environment != LOCAL:
        return platform
    if platform is None:
        return BUILT_IN_PLATFORM if loaded.platform_source is None else None
    absent = {
        section: getattr(BUILT_IN_PLATFORM, section)
        for section in ("storage", "catalogs", "compute")
        if not getattr(platform, section)
    }
    return platform.model_copy(update=absent)


def _check_layers(loaded: Loaded, platform: PlatformSpec, report: Report) -> None:
    source = loaded.platform_source
    if source is None:
        return
    for name, layer in platform.layers.items():
        for key, section in (("storage", "storage"), ("catalog", "catalogs")):
            entries: Mapping[str, Any] = getattr(platform, section)
            reference = getattr(layer, key)
            is_known = reference in entries or is_left_out(source, (section, reference))
            if not is_known and not is_left_out(source, ("layers", name)):
                report.add(
                    source.diagnostic(
                        "FLOE-R001",
                        ("layers", name, key),
                        f"`{section}` has no entry `{reference}`",
                        help=did_you_mean(reference, entries, "entries"),
                    )
                )


def _profiles(
    loaded: Loaded, floe: FloeSpec, platform: PlatformSpec, environment: str, report: Report
) -> Profiles | None:
    storage = _entry(loaded, floe, "storage", platform.storage, environment, report)
    catalog = _entry(loaded, floe, "catalog", platform.catalogs, environment, report)
    compute = _entry(loaded, floe, "compute", platform.compute, environment, report)
    if compute is None:
        return None
    try:
        target = plugins.compute_target(compute.type)
    except PluginError as problem:
        source = loaded.platform_source or loaded.floe_source
        report.add(unusable(source, ("compute", floe.profiles.compute, "type"), problem))
        return None
    if target is None or not target.is_installed():
        report_no_adapter(loaded, floe.profiles.compute, compute.type, target, report)
        return None
    storage_profile = _place_storage(loaded, storage)
    return Profiles(
        storage=NamedStorage(name=floe.profiles.storage, profile=storage_profile)
        if storage_profile
        else None,
        catalog=NamedCatalog(name=floe.profiles.catalog, profile=catalog) if catalog else None,
        compute=NamedCompute(
            name=floe.profiles.compute,
            profile=target.relocate(compute, partial(_relative_to_root, loaded)),
        ),
    )


_SECTIONS = {"storage": "storage", "catalog": "catalogs", "compute": "compute"}


def _entry(
    loaded: Loaded,
    floe: FloeSpec,
    key: str,
    entries: Mapping[str, Any],
    environment: str,
    report: Report,
) -> Any:
    name: str = getattr(floe.profiles, key)
    if name in entries:
        return entries[name]
    section = _SECTIONS[key]
    is_written = ("profiles", key) in loaded.floe_source.places
    if (
        (not is_written and key != "compute")
        or is_left_out(loaded.platform_source, (section, name))
        or is_left_out(loaded.floe_source, ("profiles", key))
    ):
        return None
    if is_written or loaded.platform_source is None:
        message = f"`{section}` of the platform for environment `{environment}` has no `{name}`"
        help = did_you_mean(name, entries, "entries")
        at = ("profiles", key)
        report.add(loaded.floe_source.diagnostic("FLOE-R001", at, message, help=help))
    else:
        report.add(_no_default(loaded.platform_source, section, entries, environment))
    return None


def _no_default(
    source: Source, section: str, entries: Mapping[str, Any], environment: str
) -> Diagnostic:
    """The entry that a product uses when it names none is not there."""
    message = f"is required in environment `{environment}`: only `{LOCAL}` has a built-in one"
    help = f"add `{section}: {{default: {{type: ...}}}}`"
    if entries:
        listed = ", ".join(f"`{name}`" for name in sorted(entries))
        message = f"is required: floe.yaml names no entry of `{section}`, so `default` is used"
        help = f"add it, or write `profiles: {{{section}: NAME}}` in floe.yaml; entries: {listed}"
    path = (section,) if (section,) in source.places else ()
    missing = "default" if path else f"{section}.default"
    return source.diagnostic("FLOE-R001", path, message, help=help, missing=missing)


def _relative_to_root(loaded: Loaded, path: str) -> str:
    """A path of platform.yaml, relative to the project root; absolute ones stay."""
    if loaded.platform_source is None or Path(path).is_absolute():
        return path
    absolute = os.path.join(os.path.dirname(os.path.abspath(loaded.platform_source.path)), path)  # noqa: PTH100, PTH118, PTH120 - keeps links
    return Path(os.path.relpath(absolute, loaded.request.root)).as_posix()


def _place_storage(loaded: Loaded, storage: Any) -> Any:
    """A storage with its folder relative to the project root, as the built-in one is already."""
    is_built_in = any(storage is entry for entry in BUILT_IN_PLATFORM.storage.values())
    if isinstance(storage, LocalStorage) and not is_built_in:
        return storage.model_copy(update={"path": _relative_to_root(loaded, storage.path)})
    return storage
