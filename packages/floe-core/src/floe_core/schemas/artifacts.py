"""`CompiledArtifacts`: the versioned contract between the compiler and every runtime.

Version 1.0.0 is the contract of the control plane's first API; 1.1.0 adds optional fields only, so
a reader of 1.0 can read it. Paths are relative to the project root, the folder of floe.yaml.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from floe_core.schemas.base import FloeModel, Identifier, JsonValue, Scalar, SemVer
from floe_core.schemas.floe import Consumption, Schedule, Sensor
from floe_core.schemas.governance import (
    AuditLogging,
    ClassificationPolicy,
    PiiEncryption,
    PolicyLevel,
    QualityGates,
)
from floe_core.schemas.observability import (
    HeaderName,
    LineageTransport,
    LogFormat,
    LogLevel,
    OtlpCompression,
    OtlpProtocol,
    Sampling,
    Tls,
)
from floe_core.schemas.platform import (
    CatalogProfile,
    ComputeProfile,
    Layer,
    LocalStorage,
    PropertyValue,
    ResourcePreset,
    S3Storage,
)
from floe_core.schemas.secret import SecretRef

ARTIFACTS_VERSION = "1.1.0"
"""Version of the contract that this floe writes."""

EnvironmentCategory = Literal["production", "non_production"]


class ArtifactModel(FloeModel):
    """Base of all parts of the artifacts: immutable; keys of a newer minor version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Metadata(ArtifactModel):
    """Where the artifacts came from."""

    compiled_at: AwareDatetime = Field(
        description="When they were compiled; `SOURCE_DATE_EPOCH` overrides the clock."
    )
    floe_core_version: str = Field(description="Version of floe-core that compiled them.")
    source_hash: str = Field(description="Hash of every input of the compile.")
    origin: Literal["compiled", "pulled"] | None = Field(
        default=None, description="Compiled here, or pulled from a control plane."
    )


class EnvironmentContext(ArtifactModel):
    """Tenant, project and environment of artifacts that a control plane compiled."""

    tenant_id: str
    tenant_slug: str
    project_id: str
    project_slug: str
    environment_id: str
    environment_type: str
    governance_category: EnvironmentCategory


class Identity(ArtifactModel):
    """The product, and the environment it was compiled for."""

    name: Identifier = Field(description="Name of the data product.")
    version: SemVer = Field(description="Version of the product.")
    description: str | None = Field(default=None, description="One sentence about it.")
    owner: str | None = Field(default=None, description="Who answers for it.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the product.")
    platform: str | None = Field(default=None, description="Name of the platform.")
    environment: Identifier = Field(description="Environment that was compiled for.")
    environment_category: EnvironmentCategory = Field(description="Its category.")


class Compute(ArtifactModel):
    """The engine that runs the product (the form of contract 1.0)."""

    target: Identifier = Field(description="Name of the engine: the dbt adapter.")
    connection_secret_ref: str | None = Field(
        default=None, description="Name of a secret that holds the connection's credentials."
    )
    properties: dict[str, PropertyValue] = Field(
        default_factory=dict, description="Connection properties, as the engine names them."
    )


class NamedStorage(ArtifactModel):
    """The storage profile that the product uses."""

    name: Identifier
    profile: Annotated[LocalStorage | S3Storage, Field(discriminator="type")]


class NamedCatalog(ArtifactModel):
    """The catalog profile that the product uses."""

    name: Identifier
    profile: CatalogProfile


class NamedCompute(ArtifactModel):
    """The compute profile that the product uses."""

    name: Identifier
    profile: ComputeProfile


class Profiles(ArtifactModel):
    """The platform entries that the product's references resolved to, and those of its layers."""

    storage: NamedStorage | None = Field(default=None, description="Where data is stored.")
    catalog: NamedCatalog | None = Field(default=None, description="The Iceberg catalog.")
    compute: NamedCompute = Field(description="The engine.")
    others: OtherProfiles | None = Field(
        default=None, description="Entries that only layers refer to."
    )


class OtherProfiles(ArtifactModel):
    """Platform entries besides the product's own, by name."""

    storage: dict[Identifier, Annotated[LocalStorage | S3Storage, Field(discriminator="type")]] = (
        Field(default_factory=dict)
    )
    catalogs: dict[Identifier, CatalogProfile] = Field(default_factory=dict)
    compute: dict[Identifier, ComputeProfile] = Field(default_factory=dict)


class CompiledTransform(ArtifactModel):
    """One transform of the product. Contract 1.0 has `type`, `path` and `target`."""

    type: Identifier = Field(description="Kind of transform.")
    path: str = Field(description="Folder of the transform; in 1.0 relative to dbt_project_path.")
    target: Identifier | None = Field(default=None, description="dbt target name.")
    name: Identifier | None = Field(default=None, description="Name of the transform.")
    layer: Identifier | None = Field(default=None, description="Layer of its tables.")
    depends_on: tuple[Identifier, ...] = Field(default=(), description="Transforms built before.")
    tags: tuple[str, ...] = Field(default=(), description="Tags of its assets.")
    models: tuple[str, ...] = Field(default=(), description="Paths and globs that narrow it.")
    select: str | None = Field(default=None, description="dbt selection that narrows it.")
    nodes: tuple[str, ...] | None = Field(
        default=None, description="Unique ids of the nodes that belong to it, sorted."
    )
    entry: str | None = Field(
        default=None, description="Function that a Python transform calls, as `module:function`."
    )
    description: str | None = Field(
        default=None, description="One sentence about the asset of a transform that is not dbt's."
    )
    inputs_hash: str | None = Field(
        default=None,
        description="Of a transform that is one asset, executed by its plugin: hash of its files.",
    )
    dbt_project_path: str | None = Field(default=None, description="Folder of the dbt project.")
    dbt_manifest_path: str | None = Field(default=None, description="Path of dbt's manifest.")
    dbt_profiles_path: str | None = Field(
        default=None, description="Folder of the generated profiles.yml."
    )

    @property
    def is_asset(self) -> bool:
        """Whether it is one asset that its plugin makes, not a part of a dbt project."""
        return self.inputs_hash is not None


class Observability(ArtifactModel):
    """What is emitted and where it goes. Contract 1.0 has the first six fields."""

    traces: bool = Field(default=False, description="Whether spans are exported.")
    metrics: bool = Field(default=False, description="Whether metrics are exported.")
    lineage: bool = Field(default=False, description="Whether lineage events are emitted.")
    otlp_endpoint: str | None = Field(
        default=None, description="OTLP base endpoint of traces, metrics and logs."
    )
    lineage_endpoint: str | None = Field(default=None, description="URL of the lineage server.")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Attributes of everything that is emitted."
    )
    logs: bool = Field(default=False, description="Whether log records are exported.")
    exporter: Identifier | None = Field(
        default=None, description="Where traces, metrics and logs go."
    )
    otlp_protocol: OtlpProtocol | None = Field(default=None, description="OTLP form.")
    otlp_headers: dict[HeaderName, SecretRef | str] = Field(
        default_factory=dict, description="Headers of each export."
    )
    otlp_tls: Tls | None = Field(default=None, description="Certificates of the connection.")
    otlp_compression: OtlpCompression | None = Field(
        default=None, description="Compression of what is sent."
    )
    sampling: Sampling | None = Field(default=None, description="Which traces are exported.")
    lineage_transport: LineageTransport | None = Field(
        default=None, description="OpenLineage transport."
    )
    lineage_namespace: str | None = Field(
        default=None,
        description="OpenLineage namespace of the product's jobs; its name when absent.",
    )
    lineage_api_key: SecretRef | None = Field(
        default=None, description="Secret that holds the key of the lineage server."
    )
    lineage_path: str | None = Field(
        default=None, description="File that lineage events are added to."
    )
    lineage_topic: str | None = Field(default=None, description="Kafka topic of lineage events.")
    lineage_properties: dict[str, SecretRef | Scalar] = Field(
        default_factory=dict, description="Properties of the Kafka producer."
    )
    log_level: LogLevel | None = Field(default=None, description="Lowest level that is logged.")
    log_format: LogFormat | None = Field(default=None, description="Form of logs.")
    deadline_seconds: float | None = Field(
        default=None, ge=0, description="Most that telemetry may delay the end of a run."
    )


class Governance(ArtifactModel):
    """The platform's floor, made stricter by the product."""

    policy_enforcement_level: PolicyLevel = Field(description="off, warn or strict.")
    pii_encryption: PiiEncryption | None = None
    audit_logging: AuditLogging | None = None
    data_retention_days: int | None = None
    classification_source: Literal["dbt_meta"] | None = None
    policies: dict[str, ClassificationPolicy] = Field(default_factory=dict)
    emit_classification_lineage: bool | None = None


class ColumnClassification(ArtifactModel):
    """What `meta.floe` of a dbt column says about its values."""

    classification: str
    pii_type: str | None = None
    sensitivity: str | None = None


class EnforcementResult(ArtifactModel):
    """What the enforce stage judged."""

    level: PolicyLevel = Field(description="Level that was applied.")
    passed: bool = Field(description="Whether no policy was violated.")
    models_checked: int = Field(ge=0, description="Number of dbt models that were judged.")
    violations: tuple[str, ...] = Field(default=(), description="One sentence per violation.")


class CompiledJob(ArtifactModel):
    """A named selection that can be run."""

    name: Identifier
    transforms: tuple[Identifier, ...] = ()
    select: str | None = None
    nodes: tuple[str, ...] | None = Field(
        default=None, description="Unique ids of the dbt nodes that `select` stands for, sorted."
    )


class Orchestration(ArtifactModel):
    """Schedules, jobs and sensors, and the sizes that runs may ask for."""

    schedules: tuple[Schedule, ...] = ()
    jobs: tuple[CompiledJob, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    resource_presets: dict[Identifier, ResourcePreset] = Field(default_factory=dict)


class CompiledPlugins(ArtifactModel):
    """Which plugin does which job."""

    orchestrator: Identifier = "dagster"
    secret_backends: tuple[Identifier, ...] = ("env", "file")


class CompiledControlPlane(ArtifactModel):
    """The control plane of the product's environment."""

    api_url: str
    api_key_env: str
    environments: dict[str, str] = Field(default_factory=dict)


def _as_name(text: str) -> str:
    """Text of a control plane as the name of an environment, which becomes part of paths."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:200]
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


class CompiledArtifacts(ArtifactModel):
    """Everything a runtime needs to execute a data product in one environment."""

    version: SemVer = Field(description="Version of this contract.")
    metadata: Metadata
    environment_context: EnvironmentContext | None = None
    compute: Compute
    transforms: tuple[CompiledTransform, ...]
    observability: Observability
    dbt_manifest_path: str | None = Field(
        default=None, description="Path of dbt's manifest, when there is exactly one project."
    )
    dbt_project_path: str | None = Field(
        default=None, description="Folder of the dbt project, when there is exactly one."
    )
    dbt_profiles_path: str | None = Field(
        default=None, description="Folder of the generated profiles.yml."
    )
    dbt_vars: dict[str, JsonValue] = Field(
        default_factory=dict, description="dbt vars given with `--vars`."
    )
    identity: Identity | None = None
    profiles: Profiles | None = None
    layers: dict[Identifier, Layer] = Field(default_factory=dict)
    governance: Governance | None = None
    column_classifications: dict[str, dict[str, ColumnClassification]] = Field(
        default_factory=dict, description="By name of the model, then of the column."
    )
    enforcement_result: EnforcementResult | None = None
    quality_config: QualityGates | None = None
    plugins: CompiledPlugins | None = None
    orchestration: Orchestration | None = None
    consumption: Consumption | None = None
    control_plane: CompiledControlPlane | None = None

    @property
    def environment(self) -> str:
        """Name of the environment the artifacts are for."""
        if self.identity is not None:
            return self.identity.environment
        if self.environment_context is not None:
            return _as_name(self.environment_context.environment_type)
        return "local"

    @property
    def is_production(self) -> bool:
        """Whether the environment is of category production."""
        if self.identity is not None:
            return self.identity.environment_category == "production"
        if self.environment_context is not None:
            return self.environment_context.governance_category == "production"
        return False

    @property
    def is_pulled(self) -> bool:
        """Whether they were compiled elsewhere, and pulled from a control plane."""
        return self.metadata.origin == "pulled"

    @property
    def product(self) -> str:
        """Name of the data product."""
        if self.identity is not None:
            return self.identity.name
        if self.environment_context is not None:
            return self.environment_context.project_slug
        return "floe"
