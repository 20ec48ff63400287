"""Partitions of microbatch models: one for each of dbt's batches.

Dagster runs a job over assets that are partitioned differently only in part: checks and data
versions fail when such a run has no partition. So jobs are made of the assets without partitions,
and dbt decides what is due; the assets that Dagster shows have them, and a launch or backfill of
partitions runs exactly their window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from floe_core.index import Node
from floe_dagster import translator
from floe_dagster.jobs import Jobs
from floe_dagster.units import Unit
from floe_dbt.engine import Window

_BATCHES = {
    "hour": ("%Y-%m-%dT%H", "0 * * * *"),
    "day": ("%Y-%m-%d", "0 0 * * *"),
    "month": ("%Y-%m", "0 0 1 * *"),
    "year": ("%Y", "0 0 1 1 *"),
}
"""How dbt writes the start of a batch, and when one begins, by the size of the batch."""


def partitions_of(node: Node) -> dg.TimeWindowPartitionsDefinition | None:
    """Partitions of a microbatch model, from `begin` to the batch that is going on."""
    if node.batch_size not in _BATCHES or node.begin is None:
        return None
    key_format, cron = _BATCHES[node.batch_size]
    begin = datetime.fromisoformat(node.begin).replace(tzinfo=UTC)
    return dg.TimeWindowPartitionsDefinition(
        start=begin.strftime(key_format),
        fmt=key_format,
        cron_schedule=cron,
        timezone="UTC",
        end_offset=1,
    )


def partition_key(node: Node, batch: Window) -> str:
    """Key of the partition that a batch of a node is."""
    return batch.start.strftime(_BATCHES[node.batch_size or "day"][0])


def with_partitions(
    built: Sequence[dg.AssetsDefinition], jobs: Jobs, units: Sequence[Unit]
) -> tuple[Sequence[dg.AssetsDefinition], Jobs]:
    """Partition the assets of microbatch models, and leave the jobs as they are."""
    partitions = {
        translator.asset_key(node): found
        for unit in units
        for node in unit.assets
        if (found := partitions_of(node)) is not None
    }
    if not partitions:
        return built, jobs
    plain = dg.Definitions(assets=built, jobs=list(jobs.values()))
    return (
        [assets.map_asset_specs(lambda spec: _partitioned(spec, partitions)) for assets in built],
        {name: plain.resolve_job_def(name) for name in jobs},
    )


def _partitioned(
    spec: dg.AssetSpec, partitions: Mapping[dg.AssetKey, dg.TimeWindowPartitionsDefinition]
) -> dg.AssetSpec:
    found = partitions.get(spec.key)
    return spec if found is None else spec.replace_attributes(partitions_def=found)
