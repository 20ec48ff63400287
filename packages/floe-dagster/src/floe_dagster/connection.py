"""How dbt reaches the database: the invocation of a unit, and the secrets that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core import plugins, secrets
from floe_core.errors import (
    ArtifactsError,
    SecretBackendError,
    SecretNotFoundError,
    ServiceUnavailableError,
)
from floe_core.index_file import load_index
from floe_core.lake import Lake, lake_of, with_tables
from floe_core.layout import Layout
from floe_core.plugins import ComputeTarget
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledPlugins
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef
from floe_dagster import connection_secret
from floe_dbt.engine import Invocation

if TYPE_CHECKING:
    from floe_dagster.units import Unit

_PLACEHOLDER = "placeholder"


def compute_target(artifacts: CompiledArtifacts) -> tuple[ComputeTarget, ComputeProfile]:
    """The plugin of the product's engine, and the profile that it connects with.

    Raises:
        ArtifactsError: if the plugin or the adapter is not installed.
    """
    profile = compute_profile(artifacts)
    target = plugins.compute_target(profile.type)
    if target is None:
        known = ", ".join(plugins.names(plugins.TARGETS)) or "none"
        raise ArtifactsError(
            f"no adapter for `{profile.type}`, which the artifacts need: there is no compute "
            f"target of that name here (installed: {known})",
            help=f"Install the adapter, `pip install dbt-{profile.type}`, and a package that "
            f"registers `{profile.type}` under `{plugins.TARGETS}`.",
        )
    if not target.is_installed():
        raise ArtifactsError(
            f"no adapter for `{profile.type}`, which the artifacts need: {target.distribution} "
            "is not installed",
            help=f"Install it: `pip install {target.distribution}`.",
        )
    name = artifacts.compute.connection_secret_ref
    if name is not None:
        profile = connection_secret.with_references(profile, target, name, _backends(artifacts))
    return target, profile


def secret_refs(artifacts: CompiledArtifacts) -> Mapping[str, SecretRef]:
    """References to the secrets that the product's engine needs, by environment variable.

    Raises:
        ArtifactsError: if the engine's plugin is not installed.
    """
    target, profile = compute_target(artifacts)
    lake = product_lake(artifacts)
    return {**target.secrets(profile), **(lake.secrets() if lake is not None else {})}


def product_lake(artifacts: CompiledArtifacts) -> Lake | None:
    """The Iceberg catalogs of the product; None where its engine keeps tables by itself.

    Raises:
        ArtifactsError: if the engine's plugin is not installed.
    """
    target, _ = compute_target(artifacts)
    profiles = artifacts.profiles
    if profiles is None or not target.stores_in_lake:
        return None
    return lake_of(profiles, profiles.others, artifacts.layers, artifacts.environment)


def product_tables(artifacts: CompiledArtifacts, root: Path) -> Lake | None:
    """The Iceberg catalogs of the product, with the tables that layers place.

    They are known where `floe compile`, or a parse here, has left an index.

    Raises:
        ArtifactsError: if the engine's plugin is not installed.
    """
    lake = product_lake(artifacts)
    try:
        indexes = load_index(Layout(root).index(artifacts.environment).read_bytes())
    except (OSError, ValueError):
        return lake
    return with_tables(lake, artifacts, indexes) if lake is not None else None


def compute_profile(artifacts: CompiledArtifacts) -> ComputeProfile:
    """The compute profile of the product; made from `compute` for artifacts of contract 1.0."""
    if artifacts.profiles is not None:
        return artifacts.profiles.compute.profile
    return ComputeProfile(type=artifacts.compute.target, properties=artifacts.compute.properties)


def resolve_secrets(artifacts: CompiledArtifacts) -> dict[str, str]:
    """Look up the engine's secrets, here and now.

    Raises:
        SecretNotFoundError: if one is in none of the product's backends.
        SecretBackendError: if one of them is not set up, or refuses to answer.
        ServiceUnavailableError: if one of them does not answer.
    """
    with secrets.remembered():
        return _resolve(artifacts)


def _resolve(artifacts: CompiledArtifacts) -> dict[str, str]:
    name, backends = artifacts.compute.connection_secret_ref, _backends(artifacts)
    refs = dict(secret_refs(artifacts))
    keys = {
        variable: ref.key
        for variable, ref in refs.items()
        if name is not None and ref.secret_ref == name and ref.key is not None
    }
    values = secrets.resolve({v: ref for v, ref in refs.items() if v not in keys}, backends)
    if name is not None and keys:
        found = connection_secret.read(name, list(keys.values()), backends)
        values |= {variable: found[key] for variable, key in keys.items() if key in found}
    return values


def _backends(artifacts: CompiledArtifacts) -> Sequence[str]:
    return (artifacts.plugins or CompiledPlugins()).secret_backends


def secrets_or_placeholders(artifacts: CompiledArtifacts) -> dict[str, str]:
    """Look up the engine's secrets for a command that does not connect, such as a dry run."""
    try:
        return resolve_secrets(artifacts)
    except (SecretNotFoundError, SecretBackendError, ServiceUnavailableError):
        return dict.fromkeys(secret_refs(artifacts), _PLACEHOLDER)


def invocation(
    artifacts: CompiledArtifacts,
    unit: Unit,
    root: Path,
    environment: Mapping[str, str],
    threads: int | None = None,
) -> Invocation:
    """Where and how dbt runs for a unit."""
    layout = Layout(root)
    return Invocation(
        root=root,
        project=unit.project,
        profiles_dir=_profiles_dir(artifacts, unit, root),
        target=unit.target,
        target_path=layout.target_path(artifacts.environment, unit.project, unit.target),
        log_path=layout.dbt_logs(artifacts.environment),
        vars=artifacts.dbt_vars,
        environment=environment,
        threads=threads,
        log_level=artifacts.observability.log_level,
    )


def _profiles_dir(artifacts: CompiledArtifacts, unit: Unit, root: Path) -> Path:
    named = next(
        (t.dbt_profiles_path for t in unit.transforms.values() if t.dbt_profiles_path is not None),
        artifacts.dbt_profiles_path,
    )
    own = Layout(root).profiles_dir(artifacts.environment)
    folder = root / named if named and not artifacts.is_pulled else own
    if not (folder / "profiles.yml").is_file():
        raise ArtifactsError(
            f"there is no profiles.yml in {folder}", help="Run `floe compile` here to write it."
        )
    return folder
