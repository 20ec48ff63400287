"""Stage `resolve`: references become what they refer to, and the environment is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from floe_core import plugins
from floe_core.compiler.compute import check_compute_entries, report_no_adapter
from floe_core.compiler.discovery import LOCAL
from floe_core.compiler.governance import MergedGovernance, merge_governance
from floe_core.compiler.load import Loaded
from floe_core.compiler.not_yet import warn_of_idle_sections
from floe_core.compiler.observability import check_observability, move_files
from floe_core.compiler.orchestration import check_orchestration
from floe_core.compiler.plugins import (
    check_catalogs,
    check_secret_backends,
    unusable,
)
from floe_core.compiler.storage import check_storage
from floe_core.compiler.transforms import PlacedTransform, place_transforms
from floe_core.compiler.validation import is_left_out
from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Report,
    did_you_mean,
)
from floe_core.entry_points import blamed
from floe_core.environment_variables import FLOE_ENV
from floe_core.errors import PluginError
from floe_core.lake import Lake, lake_of
from floe_core.plugins import (
    ComputeTarget,
)
from floe_core.provenance import Origin, in_file, leaves
from floe_core.schemas.artifacts import (
    EnvironmentCategory,
    NamedCatalog,
    NamedCompute,
    NamedStorage,
    OtherProfiles,
    Profiles,
)
from floe_core.schemas.floe import FloeSpec, ProfileReferences
from floe_core.schemas.platform import (
    CatalogProfile,
    ComputeProfile,
    LocalStorage,
    PlatformSpec,
    StorageProfile,
)
from floe_core.schemas.secret import SecretRef
from floe_core.source import Source

PRODUCTION_NAMES = frozenset({"prod", "production"})


BUILT_IN_PLATFORM = PlatformSpec(
    name="built-in",
    storage={"default": LocalStorage(type="local", path=".floe/data/local/warehouse")},
    catalogs={"default": CatalogProfile(type="sql")},
    compute={"default": ComputeProfile(type="duckdb")},
)
"""The platform of environment `local` when there is no platform.yaml, or a section is absent."""


@dataclass(frozen=True)
class Resolved:
    """The product in one environment; everything it refers to is in hand.

    Attributes:
        loaded: The files.
        floe: The spec of floe.yaml.
        platform: The spec of the platform, built-in parts included; paths are relative to the
            project root.
        environment: Name of the environment.
        category: Its category.
        profiles: The platform entries that the product uses.
        target: The plugin for the product's compute.
        transforms: The transforms, in the order of floe.yaml.
        governance: The platform's floor, made stricter by the product.
        environment_origin: What chose the environment.
        built_in: Sections of the platform that are the built-in ones.
        moved: Paths of files as they are written in the platform file, where that is not how
            `platform` has them, by field path.
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
    environment_origin: Origin
    built_in: frozenset[str]
    moved: Mapping[FieldPath, str]

    @property
    def lake(self) -> Lake | None:
        """The product's Iceberg catalog, where its engine writes to one."""
        if not self.target.stores_in_lake:
            return None
        others = other_profiles(self.platform, self.floe.profiles)
        return lake_of(self.profiles, others, self.platform.layers, self.environment)

    @property
    def secrets(self) -> dict[str, SecretRef]:
        """Secrets that the engine and its catalogs need, by environment variable."""
        own = self.target.secrets(self.profiles.compute.profile)
        return {**own, **(self.lake.secrets() if self.lake is not None else {})}


def other_profiles(platform: PlatformSpec, used: ProfileReferences) -> OtherProfiles | None:
    """Every entry of the platform besides the product's own: layers and serving refer to them."""
    others = OtherProfiles(
        storage={k: v for k, v in platform.storage.items() if k != used.storage},
        catalogs={k: v for k, v in platform.catalogs.items() if k != used.catalog},
        compute={k: v for k, v in platform.compute.items() if k != used.compute},
    )
    return others if others.storage or others.catalogs or others.compute else None


def resolve(loaded: Loaded, report: Report) -> Resolved | None:
    """Resolve what the files refer to; None when too much is wrong to go on."""
    environment, environment_origin = _environment(loaded, report)
    platform, built_in = _effective_platform(loaded, environment)
    placed: tuple[PlacedTransform, ...] = ()
    if loaded.floe is not None:
        placed = place_transforms(loaded, loaded.floe, report)
        check_orchestration(loaded, loaded.floe, placed, report)
    if platform is None:
        return None
    _check_layers(loaded, platform, report)
    used = loaded.floe.profiles if loaded.floe else ProfileReferences()
    check_compute_entries(loaded, used.compute, report)
    check_storage(loaded, report)
    check_catalogs(loaded, used.catalog, report)
    check_observability(loaded, platform, report)
    check_secret_backends(loaded, platform, report)
    if loaded.floe is None:
        return None
    governance = merge_governance(loaded, loaded.floe, platform, report)
    written, platform = platform, _located(loaded, platform, built_in)
    profiles = _profiles(loaded, loaded.floe, platform, environment, report)
    target = plugins.compute_target(profiles.compute.profile.type) if profiles else None
    if not report.has_errors:
        has_lake = bool(target and target.stores_in_lake and profiles and profiles.catalog)
        warn_of_idle_sections(loaded, report, writes_iceberg=has_lake)
    if profiles is None or target is None or len(placed) < len(loaded.floe.transforms):
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
        environment_origin,
        built_in,
        _moved(written, platform),
    )


def _environment(loaded: Loaded, report: Report) -> tuple[str, Origin]:
    """Choose the environment, and say what chose it."""
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
    said_there = None
    if said and loaded.platform_source:
        said_there = in_file(loaded.platform_source, ("environment",))
    if wanted:
        how = "`--env`" if loaded.request.environment else f"the variable {FLOE_ENV}"
        also = (said_there,) if said_there is not None else ()
        return wanted, Origin("environment", how, also=also)
    if said and said_there is not None:
        return said, replace(said_there, kind="environment", reason="the platform file says so")
    return LOCAL, Origin("environment", f"nothing chooses another; `{LOCAL}` is the default")


def _effective_platform(
    loaded: Loaded, environment: str
) -> tuple[PlatformSpec | None, frozenset[str]]:
    """The platform with built-in sections for what is absent, and the names of these."""
    platform = loaded.platform
    if environment != LOCAL:
        return platform, frozenset()
    if platform is None:
        is_absent = loaded.platform_source is None
        return BUILT_IN_PLATFORM if is_absent else None, frozenset(
            BUILT_IN_PLATFORM.model_fields_set
        )
    absent = {
        section: getattr(BUILT_IN_PLATFORM, section)
        for section in ("storage", "catalogs", "compute")
        if not getattr(platform, section)
    }
    return platform.model_copy(update=absent), frozenset(absent)


def _located(loaded: Loaded, platform: PlatformSpec, built_in: Set[str]) -> PlatformSpec:
    """The platform with the paths of files relative to the project root."""
    move = partial(_relative_to_root, loaded)
    located: dict[str, Any] = {}
    if "storage" not in built_in:
        located["storage"] = {
            name: _place_storage(storage, move) for name, storage in platform.storage.items()
        }
    if "compute" not in built_in:
        located["compute"] = {
            name: _place_compute(compute, move) for name, compute in platform.compute.items()
        }
    if platform.observability is not None:
        located["observability"] = move_files(platform.observability, move)
    return platform.model_copy(update=located)


def _place_storage(storage: StorageProfile, move: Callable[[str], str]) -> StorageProfile:
    if isinstance(storage, LocalStorage):
        return storage.model_copy(update={"path": move(storage.path)})
    return storage


def _place_compute(compute: ComputeProfile, move: Callable[[str], str]) -> ComputeProfile:
    """Only the engine's plugin knows which of its properties are paths."""
    try:
        target = plugins.compute_target(compute.type)
        with blamed(plugins.TARGETS, compute.type):
            return compute if target is None else target.relocate(compute, move)
    except PluginError:  # which is said where the product uses this entry
        return compute


def _moved(written: PlatformSpec, located: PlatformSpec) -> dict[FieldPath, str]:
    now = dict(leaves(located.model_dump(mode="json")))
    before = leaves(written.model_dump(mode="json"))
    return {path: value for path, value in before if now.get(path) != value}


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
    return Profiles(
        storage=NamedStorage(name=floe.profiles.storage, profile=storage) if storage else None,
        catalog=NamedCatalog(name=floe.profiles.catalog, profile=catalog) if catalog else None,
        compute=NamedCompute(name=floe.profiles.compute, profile=compute),
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
