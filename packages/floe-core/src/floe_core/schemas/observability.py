"""Observability: where telemetry goes (platform.yaml) and what a product emits (floe.yaml)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from floe_core.schemas.base import FloeModel, Identifier


class Tracing(FloeModel):
    """OpenTelemetry traces."""

    enabled: bool = Field(default=True, description="Whether spans are exported.")
    exporter: Identifier = Field(
        default="otlp",
        description="Where spans go: `otlp`, `console`, `none`, or the name of a plugin.",
    )
    protocol: Literal["grpc", "http"] = Field(
        default="grpc", description="OTLP protocol of the endpoint."
    )
    endpoint: str | None = Field(
        default=None, description="OTLP base endpoint, such as `http://otel:4317`."
    )


class Metrics(FloeModel):
    """OpenTelemetry metrics."""

    enabled: bool = Field(default=True, description="Whether metrics are exported.")


class Lineage(FloeModel):
    """OpenLineage events."""

    enabled: bool = Field(default=True, description="Whether lineage events are emitted.")
    transport: Literal["http", "console", "noop"] = Field(
        default="http", description="OpenLineage transport."
    )
    endpoint: str | None = Field(
        default=None, description="URL of the lineage server, such as `http://marquez:5000`."
    )


class Logging(FloeModel):
    """Logs of runs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is written."
    )
    format: Literal["json", "text"] = Field(default="json", description="Form of a log line.")


class PlatformObservability(FloeModel):
    """`observability` of platform.yaml."""

    tracing: Tracing | None = Field(default=None, description="OpenTelemetry traces.")
    metrics: Metrics | None = Field(default=None, description="OpenTelemetry metrics.")
    lineage: Lineage | None = Field(default=None, description="OpenLineage events.")
    logging: Logging | None = Field(default=None, description="Logs of runs.")


class Switch(FloeModel):
    """Turns one signal of a product on or off."""

    enabled: bool = Field(default=True, description="Whether the product emits this signal.")


class ProductObservability(FloeModel):
    """`observability` of floe.yaml: which signals the product emits, and with what attributes."""

    tracing: Switch | None = Field(default=None, description="OpenTelemetry traces.")
    metrics: Switch | None = Field(default=None, description="OpenTelemetry metrics.")
    lineage: Switch | None = Field(default=None, description="OpenLineage events.")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Attributes added to everything the product emits."
    )
