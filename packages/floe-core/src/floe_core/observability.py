"""What a process needs to know of telemetry and lineage before it starts either.

It is made of the artifacts, compiled or pulled, and of the environment, without a library of
telemetry.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from floe_core import secrets
from floe_core.environment_variables import (
    FLOE_NO_TELEMETRY,
    OPENLINEAGE_DISABLED,
    OPENLINEAGE_NAMESPACE,
    OTEL_SDK_DISABLED,
)
from floe_core.errors import FloeError
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledPlugins, Observability
from floe_core.schemas.secret import SecretRef

DEFAULT_DEADLINE_SECONDS = 5.0
"""Most that telemetry may delay the end of a run, where the artifacts do not say."""

DEFAULT_EXPORTER = "otlp"
"""Where traces, metrics and logs go, where neither the artifacts nor the environment say."""

_CONTEXT_ATTRIBUTES = (
    "floe.tenant.id",
    "floe.project.id",
    "floe.environment.id",
    "floe.environment.type",
)

OWN_ATTRIBUTES = frozenset(
    {
        *_CONTEXT_ATTRIBUTES,
        "deployment.environment.name",
        "floe.product.name",
        "floe.product.version",
        "service.name",
        "service.version",
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
    }
)
"""Attributes of the resource that floe sets, and that a product cannot."""


def is_telemetry_off(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment turns traces, metrics and logs off."""
    return _is_true(environ, FLOE_NO_TELEMETRY) or _is_true(environ, OTEL_SDK_DISABLED)


def is_lineage_off(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment turns lineage off."""
    return _is_true(environ, FLOE_NO_TELEMETRY) or _is_true(environ, OPENLINEAGE_DISABLED)


@contextmanager
def no_telemetry_if(is_off: bool) -> Iterator[None]:
    """Turn telemetry and lineage off in a block, here and in the processes that it starts."""
    before = os.environ.get(FLOE_NO_TELEMETRY)
    if is_off:
        os.environ[FLOE_NO_TELEMETRY] = "1"
    try:
        yield
    finally:
        if is_off and before is None:
            del os.environ[FLOE_NO_TELEMETRY]
        elif is_off and before is not None:
            os.environ[FLOE_NO_TELEMETRY] = before


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


def is_header_value(text: str) -> bool:
    """Whether a text can be sent as the value of a header."""
    return text.isascii() and text.isprintable() and text == text.strip()


def context_attributes(artifacts: CompiledArtifacts) -> dict[str, str]:
    """The attributes that tell a tenant's telemetry from another's; also the baggage of a run.

    Artifacts of a control plane name tenant, project and environment in `environment_context`, or
    in the attributes themselves. Artifacts that were compiled here have none.
    """
    context = artifacts.environment_context
    if context is None:
        attributes = artifacts.observability.attributes
        return {name: attributes[name] for name in _CONTEXT_ATTRIBUTES if name in attributes}
    return {
        "floe.tenant.id": context.tenant_id,
        "floe.project.id": context.project_id,
        "floe.environment.id": context.environment_id,
        "floe.environment.type": context.environment_type,
    }


def resource_attributes(artifacts: CompiledArtifacts) -> dict[str, str]:
    """The attributes of everything that a product emits; later ones here are stronger."""
    found = dict(artifacts.observability.attributes)
    found["service.name"] = found["floe.product.name"] = artifacts.product
    if artifacts.identity is not None:
        version = artifacts.identity.version
        found["service.version"] = found["floe.product.version"] = version
    found["deployment.environment.name"] = artifacts.environment
    return found | context_attributes(artifacts)


def lineage_namespace(artifacts: CompiledArtifacts, environ: Mapping[str, str] = os.environ) -> str:
    """The OpenLineage namespace of the product's jobs.

    `floe.{tenant_id}.{project_slug}` for artifacts of a control plane; else what platform.yaml
    says, else `OPENLINEAGE_NAMESPACE`, else the product's name.
    """
    context = artifacts.environment_context
    if context is not None:
        return f"floe.{context.tenant_id}.{context.project_slug}"
    configured = artifacts.observability.lineage_namespace
    return configured or environ.get(OPENLINEAGE_NAMESPACE) or artifacts.product


def secret_refs(observability: Observability) -> dict[str, SecretRef]:
    """References to the secrets of telemetry and lineage, by the field that has them.

    Of signals that are off, there are none.
    """
    found: dict[str, SecretRef | object] = {}
    if observability.traces or observability.metrics or observability.logs:
        found |= {f"otlp_headers.{k}": v for k, v in observability.otlp_headers.items()}
    if observability.lineage:
        found["lineage_api_key"] = observability.lineage_api_key
        found |= {f"lineage_properties.{k}": v for k, v in observability.lineage_properties.items()}
    return {name: ref for name, ref in found.items() if isinstance(ref, SecretRef)}


@dataclass(frozen=True)
class TelemetrySecrets:
    """The secrets of telemetry and lineage, looked up.

    Attributes:
        values: Values by the field that has the reference, as `secret_refs` names it.
        problems: Why a secret is not there, in a sentence, by the same names.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: Mapping[str, str] = field(default_factory=dict)

    def problem_of(self, prefix: str) -> str | None:
        """Why a secret of these fields is not there; None when all are."""
        found = (reason for name, reason in self.problems.items() if name.startswith(prefix))
        return next(found, None)


def resolve_secrets(artifacts: CompiledArtifacts) -> TelemetrySecrets:
    """Look the secrets of telemetry and lineage up, here and now.

    It raises nothing: a secret that is not there turns what needs it off, never the run.
    """
    backends = (artifacts.plugins or CompiledPlugins()).secret_backends
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    with secrets.remembered():
        for name, ref in secret_refs(artifacts.observability).items():
            if is_lineage_off() if name.startswith("lineage_") else is_telemetry_off():
                continue
            try:
                values |= secrets.resolve({name: ref}, backends)
            except FloeError as problem:
                problems[name] = problem.message
    return TelemetrySecrets(values, problems)
