"""The platform's governance floor, which floe.yaml may only make stricter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from floe_core.compiler.validation import value_at
from floe_core.diagnostics import FieldPath, Report
from floe_core.schemas.artifacts import Governance
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.governance import (
    GovernanceFloor,
    PolicyLevel,
    ProductGovernance,
    QualityGates,
)
from floe_core.schemas.platform import PlatformSpec

if TYPE_CHECKING:
    from floe_core.compiler.load import Loaded

SpecFile = Literal["floe", "platform"]
SHARED: tuple[SpecFile, ...] = ("platform", "floe")
"""The files that say how strict the product is."""

WEAKENED = "FLOE-P001"
DEFAULT_LEVEL: PolicyLevel = "warn"


@dataclass(frozen=True)
class MergedGovernance:
    """What holds for the product: the stricter of platform and product, key by key."""

    governance: Governance
    quality_gates: QualityGates | None
    chosen: Mapping[FieldPath, tuple[SpecFile, ...]]
    """Which file says what holds, by key below `governance`; both when they agree."""


def _by_order(*words: str) -> Callable[[Any], int]:
    return words.index


_STRICTNESS: Mapping[FieldPath, Callable[[Any], int]] = {
    ("policy_enforcement_level",): _by_order("off", "warn", "strict"),
    ("pii_encryption",): _by_order("optional", "required"),
    ("audit_logging",): _by_order("disabled", "enabled"),
    ("data_retention_days",): lambda days: -int(days),
    ("quality_gates", "minimum_test_coverage"): int,
    ("quality_gates", "block_on_failure"): int,
}
"""How strict a value of each shared key is; greater is stricter."""


def merge_governance(
    loaded: Loaded, floe: FloeSpec, platform: PlatformSpec, report: Report
) -> MergedGovernance:
    """Take the stricter of both files for each key, and report where floe.yaml is weaker."""
    floor = (platform.governance or GovernanceFloor()).model_dump(exclude_none=True)
    product = floe.governance or ProductGovernance()
    wanted = product.model_dump(exclude_none=True)
    merged: dict[FieldPath, Any] = {}
    chosen: dict[FieldPath, tuple[SpecFile, ...]] = {}
    for path, rank in _STRICTNESS.items():
        ours, theirs = value_at(wanted, path), value_at(floor, path)
        if ours is not None and theirs is not None and rank(ours) < rank(theirs):
            report.add(
                loaded.floe_source.diagnostic(
                    WEAKENED,
                    ("governance", *path),
                    f"`{_word(ours)}` is weaker than the platform's `{_word(theirs)}`",
                    help=f"write `{_word(theirs)}` or stricter, or leave it out",
                )
            )
        candidates = {
            file: value
            for file, value in zip(SHARED, (theirs, ours), strict=True)
            if value is not None
        }
        merged[path] = max(candidates.values(), key=rank) if candidates else None
        chosen[path] = tuple(file for file, value in candidates.items() if value == merged[path])
    coverage = merged[("quality_gates", "minimum_test_coverage")]
    block = merged[("quality_gates", "block_on_failure")]
    gates = None
    if coverage is not None or block is not None:
        gates = QualityGates(minimum_test_coverage=coverage, block_on_failure=block)
    return MergedGovernance(
        Governance(
            policy_enforcement_level=merged[("policy_enforcement_level",)] or DEFAULT_LEVEL,
            pii_encryption=merged[("pii_encryption",)],
            audit_logging=merged[("audit_logging",)],
            data_retention_days=merged[("data_retention_days",)],
            classification_source=product.classification_source,
            policies=product.policies,
            emit_classification_lineage=product.emit_classification_lineage,
        ),
        gates,
        chosen,
    )


def strictness(path: FieldPath, value: Any) -> float:
    """How strict a value of a shared key is; what is not set is as lenient as can be."""
    if value is None:
        return float("-inf") if path == ("data_retention_days",) else 0
    return _STRICTNESS[path](value)


def is_ranked(path: FieldPath) -> bool:
    """Whether values of a key below `governance` are more or less strict."""
    return path in _STRICTNESS


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
