"""Ages and points in time, as options take them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36525)


class Duration(click.ParamType[timedelta]):
    """A whole number and its unit: `7d`, `12h`, `30m`."""

    name = "duration"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})\s*([smhdw])", value.strip().lower())
        if found is None:
            self.fail(f"`{value}` is no age; write it like 7d, 12h or 30m", param, ctx)
        age = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if age > _LONGEST:
            self.fail(f"`{value}` is longer than a hundred years", param, ctx)
        return age


class Moment(click.ParamType[datetime]):
    """A date, or a date and a time; one without a zone is local."""

    name = "moment"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(f"`{value}` is no time; write it like `2026-03-01 09:00`", param, ctx)


DURATION = Duration()
MOMENT = Moment()
