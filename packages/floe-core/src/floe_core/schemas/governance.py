"""Governance: the platform's floor and what a product adds to it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from floe_core.schemas.base import FloeModel

PolicyLevel = Literal["off", "warn", "strict"]
PiiEncryption = Literal["optional", "required"]
AuditLogging = Literal["enabled", "disabled"]


class QualityGates(FloeModel):
    """What the tests of a product must reach."""

    minimum_test_coverage: int | None = Field(
        default=None, ge=0, le=100, description="Percentage of models that have a test."
    )
    block_on_failure: bool | None = Field(
        default=None, description="Whether a gate that is missed stops the run."
    )


class GovernanceFloor(FloeModel):
    """The keys that platform.yaml and floe.yaml share; floe.yaml may only make them stricter."""

    policy_enforcement_level: PolicyLevel | None = Field(
        default=None, description="How policy violations are treated: off, warn or strict."
    )
    pii_encryption: PiiEncryption | None = Field(
        default=None, description="Whether columns classified as PII must be encrypted."
    )
    audit_logging: AuditLogging | None = Field(
        default=None, description="Whether runs are written to the audit log."
    )
    data_retention_days: int | None = Field(
        default=None, ge=1, description="Days for which data is kept at most."
    )
    quality_gates: QualityGates | None = Field(
        default=None, description="Gates on the tests of the product."
    )


class PolicyAction(FloeModel):
    """What happens to a classified column in one category of environments."""

    action: Literal["restrict", "mask", "redact", "synthesize"] = Field(
        description="What is done with the column's values."
    )
    requires_role: tuple[str, ...] = Field(
        default=(), description="Roles that see the values all the same."
    )


class ClassificationPolicy(FloeModel):
    """The policy of one classification, such as `pii`."""

    production: PolicyAction | None = Field(
        default=None, description="In environments of category production."
    )
    non_production: PolicyAction | None = Field(default=None, description="In all others.")


class ProductGovernance(GovernanceFloor):
    """`governance` of floe.yaml: the shared keys, and policies by classification."""

    classification_source: Literal["dbt_meta"] | None = Field(
        default=None, description="Where column classifications are read from."
    )
    policies: dict[str, ClassificationPolicy] = Field(
        default_factory=dict, description="Policy of each classification, by its name."
    )
    emit_classification_lineage: bool | None = Field(
        default=None, description="Whether lineage events carry the classification facet."
    )
