"""Observability: where telemetry goes (platform.yaml) and what a product emits (floe.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from floe_core.schemas.base import FloeModel, Identifier, Scalar
from floe_core.schemas.secret import SecretRef

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
"""The name of an HTTP header; upper and lower case are the same."""

OtlpProtocol = Literal["grpc", "http"]
OtlpCompression = Literal["gzip", "none"]
LineageTransport = Literal["http", "console", "file", "noop", "kafka"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "text"]


class Tls(FloeModel):
    """Certificates of the connection to a collector; paths are relative to platform.yaml."""

    ca_certificate: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file of the authorities that the collector's certificate is checked by; "
        "without it the well-known ones.",
    )
    client_certificate: str | None = Field(
        default=None, min_length=1, description="PEM file of the certificate to sign in with."
    )
    client_key: str | None = Field(
        default=None, min_length=1, description="PEM file of its private key."
    )


class Sampling(FloeModel):
    """Which traces are exported. A run that has a parent follows its parent's decision."""

    sampler: Literal["always", "never", "ratio"] = Field(
        description="All of them, none, or a part of them."
    )
    ratio: float | None = Field(
        default=None, ge=0, le=1, description="Part of the traces, with `sampler: ratio`."
    )


class Tracing(FloeModel):
    """OpenTelemetry traces, and the collector that metrics and logs go to as well."""

    enabled: bool = Field(default=True, description="Whether spans are exported.")
    exporter: Identifier | None = Field(
        default=None,
        description="Where traces, metrics and logs go: `otlp`, `console`, `none`, or the name of "
        "a plugin. Without it `OTEL_TRACES_EXPORTER` and its like, else `otlp`.",
    )
    protocol: OtlpProtocol | None = Field(
        default=None,
        description="OTLP protocol of the endpoint. Without it `OTEL_EXPORTER_OTLP_PROTOCOL`, "
        "else `grpc`.",
    )
    endpoint: str | None = Field(
        default=None,
        description="OTLP base endpoint of traces, metrics and logs, such as `http://otel:4317`; "
        "with `protocol: http` floe adds `/v1/traces` and so on. Without it "
        "`OTEL_EXPORTER_OTLP_ENDPOINT`, else this machine.",
    )
    headers: dict[HeaderName, SecretRef | str] = Field(
        default_factory=dict,
        description="Headers of each export, literal or as secrets. Without them "
        "`OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Certificates of the connection. Without them "
        "`OTEL_EXPORTER_OTLP_CERTIFICATE` and its like.",
    )
    compression: OtlpCompression | None = Field(
        default=None,
        description="Compression of what is sent. Without it `OTEL_EXPORTER_OTLP_COMPRESSION`, "
        "else `none`.",
    )
    sampling: Sampling | None = Field(
        default=None,
        description="Which traces are exported. Without it `OTEL_TRACES_SAMPLER`, else all.",
    )


class Metrics(FloeModel):
    """OpenTelemetry metrics; they go where traces go."""

    enabled: bool = Field(default=True, description="Whether metrics are exported.")


class Lineage(FloeModel):
    """OpenLineage events."""

    enabled: bool = Field(default=True, description="Whether lineage events are emitted.")
    transport: LineageTransport = Field(default="http", description="OpenLineage transport.")
    endpoint: str | None = Field(
        default=None,
        description="URL of the lineage server, such as `http://marquez:5000`; without a path it "
        "gets `/api/v1/lineage`. Without it `OPENLINEAGE_URL`.",
    )
    api_key: SecretRef | None = Field(
        default=None,
        description="Secret that holds the server's API key. Without it `OPENLINEAGE_API_KEY`.",
    )
    namespace: str | None = Field(
        default=None,
        min_length=1,
        description="Namespace of the product's jobs. Without it `OPENLINEAGE_NAMESPACE`, else "
        "the product's name.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="With `transport: file`, the file that events are added to, relative to "
        "platform.yaml.",
    )
    topic: str | None = Field(
        default=None, min_length=1, description="With `transport: kafka`, the topic of the events."
    )
    properties: dict[str, SecretRef | Scalar] = Field(
        default_factory=dict,
        description="With `transport: kafka`, properties of the producer: `bootstrap.servers` and "
        "what else its client knows.",
    )


class Logging(FloeModel):
    """Logs of runs."""

    enabled: bool = Field(
        default=False,
        description="Whether log records are exported too, to where traces go.",
    )
    level: LogLevel = Field(default="INFO", description="Lowest level that is written.")
    format: LogFormat = Field(default="json", description="Form of a log line.")


class PlatformObservability(FloeModel):
    """`observability` of platform.yaml."""

    tracing: Tracing | None = Field(
        default=None, description="OpenTelemetry traces, and the collector."
    )
    metrics: Metrics | None = Field(default=None, description="OpenTelemetry metrics.")
    lineage: Lineage | None = Field(default=None, description="OpenLineage events.")
    logging: Logging | None = Field(default=None, description="Logs of runs.")
    deadline_seconds: float = Field(
        default=5,
        ge=0,
        le=300,
        description="Most that telemetry and lineage may delay the end of a run, in seconds.",
    )


class Switch(FloeModel):
    """Turns one signal of a product on or off."""

    enabled: bool = Field(default=True, description="Whether the product emits this signal.")


class ProductObservability(FloeModel):
    """`observability` of floe.yaml: which signals the product emits, and with what attributes."""

    tracing: Switch | None = Field(default=None, description="OpenTelemetry traces.")
    metrics: Switch | None = Field(default=None, description="OpenTelemetry metrics.")
    lineage: Switch | None = Field(default=None, description="OpenLineage events.")
    logging: Switch | None = Field(default=None, description="Export of log records.")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Attributes added to everything the product emits."
    )
