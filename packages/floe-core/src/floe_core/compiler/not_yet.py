"""Sections that are read and carried, but that nothing acts on yet: one warning each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from floe_core.diagnostics import FieldPath, Report
from floe_core.source import Source

if TYPE_CHECKING:
    from floe_core.compiler.load import Loaded

NOT_YET = "FLOE-N001"

IDLE_PLATFORM_SECTIONS: Mapping[FieldPath, str] = {
    ("security", "authentication"): "there is no web page to sign in to",
    ("governance", "pii_encryption"): "columns are not encrypted",
    ("governance", "audit_logging"): "there is no audit log",
    ("governance", "data_retention_days"): "no data is deleted",
    ("governance", "quality_gates", "block_on_failure"): "a failed test fails the run already",
    ("resource_presets",): "runs are not given resources",
}
"""Sections of platform.yaml that nothing acts on yet, and what that means."""

IDLE_WITHOUT_ICEBERG: Mapping[FieldPath, str] = {
    ("storage",): "the compute engine stores tables by itself",
    ("catalogs",): "the compute engine does not write Iceberg tables",
    ("layers",): "layers only label assets, since the compute engine does not write Iceberg tables",
}
"""Those that nothing acts on where the engine does not write Iceberg, or there is no catalog."""

IDLE_FLOE_SECTIONS: Mapping[FieldPath, str] = {
    ("governance", "pii_encryption"): "columns are not encrypted",
    ("governance", "audit_logging"): "there is no audit log",
    ("governance", "data_retention_days"): "no data is deleted",
    ("governance", "quality_gates", "block_on_failure"): "a failed test fails the run already",
    ("governance", "policies"): "policies are not applied to queries",
    ("consumption",): "no semantic layer is generated",
}
"""Sections of floe.yaml that nothing acts on yet, and what that means."""


def warn_of_idle_sections(loaded: Loaded, report: Report, *, writes_iceberg: bool) -> None:
    """Warn once of each section that is written and that nothing acts on yet."""
    _warn(loaded.floe_source, IDLE_FLOE_SECTIONS, report)
    if loaded.platform_source is not None:
        if not writes_iceberg:
            _warn(loaded.platform_source, IDLE_WITHOUT_ICEBERG, report)
        _warn(loaded.platform_source, IDLE_PLATFORM_SECTIONS, report)


def _warn(source: Source, sections: Mapping[FieldPath, str], report: Report) -> None:
    for path, consequence in sections.items():
        if path in source.places:
            report.add(
                source.diagnostic(
                    NOT_YET,
                    path,
                    f"floe does not act on this yet: {consequence}",
                    severity="warning",
                    on_key=True,
                )
            )
