"""Windows of event time: what microbatch models process in one run.

Importing this module does not import Dagster.
"""

from __future__ import annotations

from datetime import UTC, datetime

from floe_core.errors import UsageError
from floe_dbt.engine import Window

__all__ = ["Window", "parse_window"]


def parse_window(start: str | None, end: str | None) -> Window | None:
    """Read the two ends of a window, as ISO 8601; UTC where they name no time zone.

    Raises:
        UsageError: if one is missing or not a time, or the start is not before the end.
    """
    if not start and not end:
        return None
    if not start or not end:
        missing = "--event-time-end" if start else "--event-time-start"
        given = "--event-time-start" if start else "--event-time-end"
        raise UsageError(
            f"{given} needs {missing} as well", help="A window has two ends; the end is excluded."
        )
    window = Window(_instant("--event-time-start", start), _instant("--event-time-end", end))
    if window.start >= window.end:
        raise UsageError(
            f"--event-time-start {start} is not before --event-time-end {end}",
            help="The end is excluded: for one day write the next day as the end.",
        )
    return window


def _instant(option: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} `{text}` is not a date or time",
            help="Write it like 2024-01-31 or 2024-01-31T06:00:00.",
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
