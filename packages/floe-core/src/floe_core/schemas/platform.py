"""`PlatformSpec`: the schema of platform.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from floe_core.schemas.base import FloeModel, Identifier, JsonValue, Scalar, SemVer
from floe_core.schemas.governance import GovernanceFloor
from floe_core.schemas.observability import PlatformObservability
from floe_core.schemas.secret import Credentials, SecretRef

PLATFORM_SCHEMA_VERSION = "1.1.0"
"""Version of the platform.yaml schema; files of the same major version are accepted."""

PropertyValue = Annotated[
    SecretRef | Scalar | list[JsonValue] | dict[str, JsonValue],
    Field(union_mode="left_to_right"),
]


class LocalStorage(FloeModel):
    """A folder on this machine."""

    type: Literal["local"] = Field(description="Kind of storage.")
    path: str = Field(min_length=1, description="Folder, relative to platform.yaml.")


class S3Storage(FloeModel):
    """A bucket of Amazon S3 or of a server that speaks its API."""

    type: Literal["s3"] = Field(description="Kind of storage.")
    bucket: str = Field(min_length=3, max_length=63, description="Name of the bucket.")
    prefix: str | None = Field(default=None, description="Key prefix of everything floe writes.")
    region: str | None = Field(default=None, description="AWS region.")
    endpoint: str | None = Field(
        default=None, description="URL of the S3 server, when it is not AWS."
    )
    path_style: bool = Field(
        default=False, description="Address the bucket in the path, not in the host name."
    )
    credentials: Credentials | None = Field(default=None, description="How to authenticate.")


StorageProfile = Annotated[LocalStorage | S3Storage, Field(discriminator="type")]


class CatalogProfile(FloeModel):
    """An Iceberg catalog."""

    type: Identifier = Field(
        default="polaris",
        description="Kind of catalog: `polaris`, `rest`, `nessie`, `glue`, `hive`, `sql`, or "
        "the name of a plugin.",
    )
    uri: str | None = Field(default=None, description="Endpoint of the catalog.")
    warehouse: str | None = Field(default=None, description="Warehouse within the catalog.")
    properties: dict[str, PropertyValue] = Field(
        default_factory=dict, description="Further properties of the catalog's client."
    )
    credentials: Credentials | None = Field(default=None, description="How to authenticate.")


class ComputeProfile(FloeModel):
    """An engine that runs dbt models."""

    type: Identifier = Field(description="Name of the engine: the dbt adapter, such as `duckdb`.")
    properties: dict[str, PropertyValue] = Field(
        default_factory=dict, description="Connection properties, as the engine names them."
    )
    credentials: Credentials | None = Field(default=None, description="How to authenticate.")


class Retention(FloeModel):
    """Which Iceberg snapshots are kept."""

    snapshots_days: int | None = Field(default=None, ge=1, description="Days to keep snapshots.")
    keep_last: int | None = Field(default=None, ge=1, description="Snapshots kept in any case.")


class Layer(FloeModel):
    """A layer of the lake, such as bronze: where its tables live and how long."""

    storage: Identifier = Field(default="default", description="Name of an entry of `storage`.")
    catalog: Identifier = Field(default="default", description="Name of an entry of `catalogs`.")
    namespace: str | None = Field(default=None, description="Iceberg namespace of its tables.")
    retention: Retention | None = Field(default=None, description="Which snapshots are kept.")


class Oidc(FloeModel):
    """An OpenID Connect provider."""

    provider_url: str = Field(description="Issuer URL of the provider.")
    client_id: str = Field(description="Client id of the platform at the provider.")


class Authentication(FloeModel):
    """How people sign in to the platform's web pages."""

    enabled: bool = Field(default=True, description="Whether signing in is required.")
    method: Literal["oidc"] = Field(default="oidc", description="How people sign in.")
    oidc: Oidc | None = Field(default=None, description="The OpenID Connect provider.")


class PrimaryBackend(FloeModel):
    """The one backend that secrets come from."""

    primary: Identifier = Field(description="Backend that is asked for secrets.")


class Security(FloeModel):
    """Sign-in, and where secrets are looked up."""

    authentication: Authentication | None = Field(default=None, description="How people sign in.")
    secret_backends: PrimaryBackend | tuple[Identifier, ...] | None = Field(
        default=None,
        description="Where secrets are looked up, one backend or several, in order: `env`, "
        "`file`, `kubernetes`, `aws_secrets_manager`, `vault`, or the name of a plugin. "
        "Without it: `env`, then `file`.",
    )


class Resources(FloeModel):
    """An amount of CPU and memory, in Kubernetes quantities."""

    cpu: str | None = Field(
        default=None, pattern=r"^\d+(\.\d+)?m?$", description="CPU, such as `100m` or `2`."
    )
    memory: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?$",
        description="Memory, such as `256Mi`.",
    )


class ResourcePreset(FloeModel):
    """A named size of a pod."""

    requests: Resources | None = Field(default=None, description="What the pod is promised.")
    limits: Resources | None = Field(default=None, description="What the pod may use at most.")


class Orchestrator(FloeModel):
    """The orchestrator that runs products."""

    type: Literal["dagster"] = Field(description="Name of the orchestrator.")


class Plugins(FloeModel):
    """Which plugin does a job that has several."""

    orchestrator: Orchestrator | None = Field(default=None, description="Runs the products.")


class ServiceAccount(FloeModel):
    """A cloud identity of one of floe's services."""

    role_arn: str = Field(description="ARN of the role that the service assumes.")


class AwsIam(FloeModel):
    """IAM facts."""

    service_accounts: dict[str, ServiceAccount] = Field(
        default_factory=dict, description="Role of each service, by the service's name."
    )


class Aws(FloeModel):
    """Facts about the AWS account."""

    account_id: str | None = Field(
        default=None, pattern=r"^\d{12}$", description="The account's twelve digits, in quotes."
    )
    vpc_id: str | None = Field(default=None, description="Id of the VPC.")
    iam: AwsIam | None = Field(default=None, description="IAM facts.")


class Cloud(FloeModel):
    """Facts about the cloud that the platform runs in."""

    provider: Literal["aws", "gcp", "azure", "local"] = Field(description="The cloud provider.")
    region: str | None = Field(default=None, description="Region of the platform.")
    aws: Aws | None = Field(default=None, description="Facts about the AWS account.")


class Network(FloeModel):
    """Facts about how the platform is reached."""

    ingress: dict[str, Scalar] = Field(
        default_factory=dict, description="Facts about the ingress controller."
    )
    local_access: dict[str, int] = Field(
        default_factory=dict, description="Node port of each service on a local cluster."
    )


class Infrastructure(FloeModel):
    """Facts about what exists already; floe does not provision any of it."""

    cloud: Cloud | None = Field(default=None, description="The cloud.")
    network: Network | None = Field(default=None, description="The network.")


class ControlPlane(FloeModel):
    """A floe control plane."""

    api_url: str = Field(pattern=r"^https?://.+", description="Base URL of its API.")
    api_key_env: str = Field(
        default="FLOE_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the API key.",
    )
    environments: dict[str, str] = Field(
        default_factory=dict, description="Control-plane environment id of each environment."
    )


class PlatformSpec(FloeModel):
    """platform.yaml: where things are, how to authenticate, what is allowed."""

    version: SemVer = Field(
        default=PLATFORM_SCHEMA_VERSION, description="Version of this schema, in quotes."
    )
    name: Identifier | None = Field(default=None, description="Name of the platform.")
    environment: Identifier | None = Field(
        default=None, description="Environment that this file describes; must agree with `--env`."
    )
    environment_category: Literal["production", "non_production"] | None = Field(
        default=None,
        description="Category of the environment; prod and production are production otherwise.",
    )
    storage: dict[Identifier, StorageProfile] = Field(
        default_factory=dict, description="Where data is stored, by profile name."
    )
    catalogs: dict[Identifier, CatalogProfile] = Field(
        default_factory=dict, description="Iceberg catalogs, by profile name."
    )
    compute: dict[Identifier, ComputeProfile] = Field(
        default_factory=dict, description="Engines, by profile name."
    )
    layers: dict[Identifier, Layer] = Field(
        default_factory=dict, description="Layers of the lake, by name."
    )
    observability: PlatformObservability | None = Field(
        default=None, description="Where telemetry and lineage go."
    )
    governance: GovernanceFloor | None = Field(
        default=None, description="The floor that every product meets."
    )
    security: Security | None = Field(default=None, description="Sign-in and secret backends.")
    resource_presets: dict[Identifier, ResourcePreset] = Field(
        default_factory=dict, description="Named sizes of pods."
    )
    plugins: Plugins | None = Field(default=None, description="Which plugin does which job.")
    infrastructure: Infrastructure | None = Field(
        default=None, description="Facts about what exists already."
    )
    control_plane: ControlPlane | None = Field(
        default=None, description="The control plane of this environment."
    )

    @field_validator("version")
    @classmethod
    def _major_is_ours(cls, version: str) -> str:
        ours = PLATFORM_SCHEMA_VERSION.partition(".")[0]
        if version.partition(".")[0] != ours:
            raise ValueError(
                f"version {version} of this schema is not known; this floe reads {ours}.x"
            )
        return version
