"""Names in Dagster, which the compiler checks and the runtime gives."""

from __future__ import annotations

import re

RUN_JOB = "floe_run"
"""The job of everything that the product builds; `floe run` executes it."""


def valid_name(text: str) -> str:
    """Make a name that Dagster accepts for ops, jobs, schedules and sensors."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def schedule_job_name(schedule: str) -> str:
    """Name of the job of a schedule that names no job of floe.yaml."""
    return f"{valid_name(schedule)}_job"
