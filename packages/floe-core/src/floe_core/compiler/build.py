"""Stage `build`: everything that a runtime needs becomes `CompiledArtifacts`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from floe_core.compiler.control_plane import control_plane
from floe_core.compiler.enforce import Enforced
from floe_core.compiler.governance import SpecFile
from floe_core.compiler.inspect import Inspected, target_name
from floe_core.compiler.plugins import secret_backends
from floe_core.compiler.resolve import Resolved, other_profiles
from floe_core.compiler.transforms import PlacedTransform
from floe_core.diagnostics import FieldPath, Report
from floe_core.environment_variables import SOURCE_DATE_EPOCH
from floe_core.errors import UsageError
from floe_core.layout import Layout
from floe_core.schemas.artifacts import (
    ARTIFACTS_VERSION,
    CompiledArtifacts,
    CompiledJob,
    CompiledPlugins,
    CompiledTransform,
    Compute,
    Identity,
    Metadata,
    Observability,
    Orchestration,
)
from floe_core.schemas.observability import PlatformObservability
from floe_core.version import __version__

NOT_CARRIED: Mapping[str, frozenset[FieldPath]] = {
    # Which schema the file is written in is checked; what exists already is documentation; the
    # sign-in of web pages concerns the chart, not a product.
    "platform": frozenset({("version",), ("infrastructure",), ("security", "authentication")}),
    # Where the platform file is has been settled once there are artifacts.
    "floe": frozenset({("platform",)}),
}
"""What users may write that reaches no artifact, by file; everything else does."""


SIGNALS = {
    "traces": "tracing",
    "metrics": "metrics",
    "logs": "logging",
    "lineage": "lineage",
}
"""The signals by their names in the artifacts, with those of their sections."""

COPIED_OBSERVABILITY: Mapping[str, Mapping[str, str]] = {
    "tracing": {
        "exporter": "exporter",
        "otlp_protocol": "protocol",
        "otlp_endpoint": "endpoint",
        "otlp_headers": "headers",
        "otlp_tls": "tls",
        "otlp_compression": "compression",
        "sampling": "sampling",
    },
    "logging": {"log_level": "level", "log_format": "format"},
    "lineage": {
        "lineage_transport": "transport",
        "lineage_endpoint": "endpoint",
        "lineage_api_key": "api_key",
        "lineage_namespace": "namespace",
        "lineage_path": "path",
        "lineage_topic": "topic",
        "lineage_properties": "properties",
    },
}
"""What sections of the platform's `observability` say, by its name in the artifacts."""


@dataclass(frozen=True)
class Built:
    """The artifacts, and the inspection that they were built from."""

    enforced: Enforced
    artifacts: CompiledArtifacts


def build(enforced: Enforced, report: Report) -> Built:
    """Build the artifacts."""
    del report
    inspected = enforced.inspected
    resolved = inspected.resolved
    transforms = tuple(_transform(inspected, transform) for transform in resolved.transforms)
    projects = {t.dbt_project_path for t in transforms if t.dbt_project_path is not None}
    manifests = {t.dbt_manifest_path for t in transforms if t.dbt_manifest_path is not None}
    compute = resolved.profiles.compute.profile
    artifacts = CompiledArtifacts(
        version=ARTIFACTS_VERSION,
        metadata=Metadata(
            compiled_at=_now(resolved),
            floe_core_version=__version__,
            source_hash=source_hash(
                resolved,
                [(i.project, i.target, i.inputs_hash) for i in inspected.indexes],
                inspected.assets,
            ),
            origin="compiled",
        ),
        compute=Compute(target=compute.type, properties=compute.properties),
        transforms=transforms,
        observability=_observability(resolved),
        dbt_manifest_path=manifests.pop() if len(manifests) == 1 else None,
        dbt_project_path=projects.pop() if len(projects) == 1 else None,
        dbt_profiles_path=_relative(
            resolved, str(_layout(resolved).profiles_dir(resolved.environment))
        ),
        dbt_vars=dict(resolved.loaded.request.vars),
        identity=_identity(resolved),
        profiles=resolved.profiles.model_copy(
            update={"others": other_profiles(resolved.platform, resolved.floe.profiles)}
        ),
        layers=resolved.platform.layers,
        governance=resolved.governance.governance,
        column_classifications={
            model: dict(columns) for model, columns in enforced.classifications.items()
        },
        enforcement_result=enforced.result,
        quality_config=resolved.governance.quality_gates,
        plugins=_plugins(resolved),
        orchestration=Orchestration(
            schedules=resolved.floe.schedules,
            jobs=_jobs(inspected),
            sensors=resolved.floe.sensors,
            resource_presets=resolved.platform.resource_presets,
        ),
        consumption=resolved.floe.consumption,
        control_plane=control_plane(resolved.platform, resolved.floe),
    )
    return Built(enforced, _with_defaults_written(artifacts))


def _with_defaults_written(artifacts: CompiledArtifacts) -> CompiledArtifacts:
    """Mark every value as set, so that a default of today is written down for tomorrow's reader."""
    return CompiledArtifacts.model_validate(artifacts.model_dump(exclude_none=True))


def _layout(resolved: Resolved) -> Layout:
    return Layout(resolved.loaded.request.root)


def _relative(resolved: Resolved, path: str) -> str:
    return os.path.relpath(path, resolved.loaded.request.root).replace(os.sep, "/")


def _now(resolved: Resolved) -> datetime:
    epoch = resolved.loaded.request.environ.get(SOURCE_DATE_EPOCH)
    if not epoch:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is `{epoch}`, which is not a number of seconds since 1970"
        ) from None


def source_hash(
    resolved: Resolved, projects: Sequence[tuple[str, str, str]], assets: Mapping[str, str]
) -> str:
    """Hash of all that artifacts are made of.

    Args:
        resolved: The product in its environment.
        projects: Folder, dbt target and hash of the inputs of each project, in order.
        assets: Hash of the files of each transform that is one asset, by its name.
    """
    facts = {
        "files": resolved.loaded.content_hash,
        "environment": resolved.environment,
        "vars": dict(resolved.loaded.request.vars),
        "projects": projects,
        "assets": dict(assets),
        "floe": __version__,
        "contract": ARTIFACTS_VERSION,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _transform(inspected: Inspected, transform: PlacedTransform) -> CompiledTransform:
    resolved = inspected.resolved
    layout = _layout(resolved)
    located = transform.located
    if transform.asset is not None:
        return _asset(inspected, transform)
    target = target_name(transform, resolved.environment)
    target_path = layout.target_path(resolved.environment, located.project, target)
    return CompiledTransform(
        type=transform.spec.type,
        path=located.project,
        target=target,
        name=transform.name,
        layer=transform.spec.layer,
        depends_on=transform.spec.depends_on,
        tags=transform.spec.tags,
        models=located.models,
        select=located.select,
        nodes=inspected.claims.get(transform.name, ()),
        dbt_project_path=located.project,
        dbt_manifest_path=_relative(resolved, str(target_path / "manifest.json")),
        dbt_profiles_path=_relative(resolved, str(layout.profiles_dir(resolved.environment))),
    )


def _asset(inspected: Inspected, transform: PlacedTransform) -> CompiledTransform:
    """A transform that is not dbt's."""
    located = transform.located
    return CompiledTransform(
        type=transform.spec.type,
        path=located.project,
        target=transform.spec.target,
        name=transform.name,
        layer=transform.spec.layer,
        depends_on=transform.spec.depends_on,
        tags=transform.spec.tags,
        models=located.models,
        select=located.select,
        nodes=inspected.claims.get(transform.name, ()),
        entry=located.entry,
        description=transform.spec.description,
        inputs_hash=inspected.assets.get(transform.name),
    )


def _jobs(inspected: Inspected) -> tuple[CompiledJob, ...]:
    return tuple(
        CompiledJob(
            name=job.name,
            transforms=job.transforms,
            select=job.select,
            nodes=inspected.job_nodes.get(job.name),
        )
        for job in inspected.resolved.floe.jobs
    )


def _identity(resolved: Resolved) -> Identity:
    floe = resolved.floe
    return Identity(
        name=floe.name,
        version=floe.version,
        description=floe.description,
        owner=floe.owner,
        labels=floe.labels,
        platform=resolved.platform.name,
        environment=resolved.environment,
        environment_category=resolved.category,
    )


def _observability(resolved: Resolved) -> Observability:
    """The platform says where telemetry goes; the product may turn a signal off."""
    platform = resolved.platform.observability or PlatformObservability()
    product = resolved.floe.observability
    written: dict[str, Any] = {
        name: signal(resolved, section).is_on for name, section in SIGNALS.items()
    }
    for section, fields in COPIED_OBSERVABILITY.items():
        values = getattr(platform, section)
        if values is not None:
            written |= {name: getattr(values, field) for name, field in fields.items()}
    return Observability(
        attributes=product.attributes if product else {},
        deadline_seconds=platform.deadline_seconds if resolved.platform.observability else None,
        **written,
    )


@dataclass(frozen=True)
class Signal:
    """Whether a signal is emitted, and which file says so; None when neither speaks of it."""

    is_on: bool
    decided_by: SpecFile | None


def signal(resolved: Resolved, name: str) -> Signal:
    """Whether the platform offers a signal and the product does not turn it off."""
    section = getattr(resolved.platform.observability, name, None)
    switch = getattr(resolved.floe.observability, name, None)
    if section is None:
        return Signal(False, None)
    if section.enabled and switch is not None and not switch.enabled:
        return Signal(False, "floe")
    return Signal(section.enabled, "platform")


def _plugins(resolved: Resolved) -> CompiledPlugins:
    orchestrator = resolved.platform.plugins.orchestrator if resolved.platform.plugins else None
    return CompiledPlugins(
        orchestrator=orchestrator.type if orchestrator else "dagster",
        secret_backends=secret_backends(resolved.platform.security),
    )
