"""Stage `enforce`: policies judged on what dbt really has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from floe_core.compiler.inspect import Inspected, enumerate_names
from floe_core.compiler.resolve import Resolved
from floe_core.diagnostics import Report
from floe_core.index import Node, ProjectIndex
from floe_core.schemas.artifacts import ColumnClassification, EnforcementResult

COVERAGE = "FLOE-P002"
BAD_CLASSIFICATION = "FLOE-P003"
POLICY_CODES = frozenset({"FLOE-P001", COVERAGE})
"""Codes of diagnostics that say a policy is violated; the rest are mistakes."""


@dataclass(frozen=True)
class Enforced:
    """The product, judged.

    Attributes:
        inspected: The product with what is in its projects.
        result: What was judged; None when no policy asks for anything, or the level is `off`.
        classifications: What `meta.floe` says, by model, then by column.
        classified: The node of each of these models, with the index that it is in.
    """

    inspected: Inspected
    result: EnforcementResult | None
    classifications: Mapping[str, Mapping[str, ColumnClassification]]
    classified: Mapping[str, tuple[ProjectIndex, Node]]


def enforce(inspected: Inspected, report: Report) -> Enforced:
    """Judge the quality gates, and read the classifications of columns."""
    result = _judge(inspected, report)
    return Enforced(inspected, result, *_classifications(inspected, report))


def _judge(inspected: Inspected, report: Report) -> EnforcementResult | None:
    governance = inspected.resolved.governance
    level = governance.governance.policy_enforcement_level
    gates = governance.quality_gates
    if level == "off" or gates is None or gates.minimum_test_coverage is None:
        return None
    models, untested = _coverage(inspected)
    tested = len(models) - len(untested)
    is_met = tested * 100 >= gates.minimum_test_coverage * len(models)
    if is_met:
        return EnforcementResult(level=level, passed=True, models_checked=len(models))
    message = (
        f"{tested} of {len(models)} models have a test ({tested * 100 // len(models)} %); "
        f"{gates.minimum_test_coverage} % are required"
    )
    _report_coverage(
        inspected.resolved, message, untested, is_error=level == "strict", report=report
    )
    return EnforcementResult(
        level=level, passed=False, models_checked=len(models), violations=(message,)
    )


def _coverage(inspected: Inspected) -> tuple[list[str], list[str]]:
    """Names of all claimed models, and of those that no test depends on; both sorted."""
    claimed = {node for nodes in inspected.claims.values() for node in nodes}
    models: list[str] = []
    untested: list[str] = []
    for index in inspected.indexes:
        tested = {
            parent
            for node in index.nodes.values()
            if node.resource_type == "test"
            for parent in node.depends_on
        }
        for node in index.nodes.values():
            if node.resource_type == "model" and node.unique_id in claimed:
                models.append(node.name)
                if node.unique_id not in tested:
                    untested.append(node.name)
    return sorted(models), sorted(untested)


def _report_coverage(
    resolved: Resolved, message: str, untested: list[str], *, is_error: bool, report: Report
) -> None:
    path = ("governance", "quality_gates", "minimum_test_coverage")
    source = resolved.loaded.floe_source
    if path not in source.places and resolved.loaded.platform_source is not None:
        source = resolved.loaded.platform_source
    report.add(
        source.diagnostic(
            COVERAGE,
            path,
            message,
            help=f"add a test to {enumerate_names(untested)}",
            severity="error" if is_error else "warning",
        )
    )


def _classifications(
    inspected: Inspected, report: Report
) -> tuple[dict[str, dict[str, ColumnClassification]], dict[str, tuple[ProjectIndex, Node]]]:
    found: dict[str, dict[str, ColumnClassification]] = {}
    nodes: dict[str, tuple[ProjectIndex, Node]] = {}
    for index in inspected.indexes:
        for node in index.nodes.values():
            if node.resource_type not in {"model", "seed", "snapshot"}:
                continue
            columns = {}
            for column in node.columns:
                meta = column.meta.get("floe")
                if isinstance(meta, dict) and "classification" in meta:
                    columns[column.name] = _classification(meta)
                elif meta is not None:
                    _report_classification(inspected, index, node.name, column.name, report)
            if columns:
                found[node.name] = columns
                nodes[node.name] = (index, node)
    return dict(sorted(found.items())), nodes


def _classification(meta: Mapping[str, object]) -> ColumnClassification:
    def text(key: str) -> str | None:
        value = meta.get(key)
        return None if value is None else str(value)

    return ColumnClassification(
        classification=str(meta["classification"]),
        pii_type=text("pii_type"),
        sensitivity=text("sensitivity"),
    )


def _report_classification(
    inspected: Inspected, index: ProjectIndex, model: str, column: str, report: Report
) -> None:
    report.add(
        inspected.resolved.loaded.floe_source.diagnostic(
            BAD_CLASSIFICATION,
            ("transforms",),
            f"`meta.floe` of column `{column}` of `{model}` in project `{index.name}` has no "
            "`classification`",
            help="write `floe: {classification: pii}` there, or remove it",
            severity="warning",
            on_key=True,
        )
    )
