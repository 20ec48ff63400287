"""What a process imports that runs dbt in Dagster, and with `telemetry` as argument for that."""

from __future__ import annotations

import sys

import dagster  # noqa: F401
import dbt.cli.main  # noqa: F401

from dbt.adapters.duckdb_iceberg import Plugin  # noqa: F401

if sys.argv[1:] == ["telemetry"]:
    import floe_dbt.column_walk  # noqa: F401
