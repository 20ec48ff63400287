"""What a check came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `floe doctor`.

    Attributes:
        status: A `problem` keeps floe from working; a `warning` may be as it should be.
        message: What was found.
        mend: What to type, or to do, about it; None when nothing need be done.
        details: What only `-v` shows.
    """

    status: Status
    message: str
    mend: str | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Checks of one kind."""

    title: str
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "section": self.title,
            "checks": [
                {
                    "status": check.status,
                    "message": check.message,
                    "mend": check.mend,
                    "details": list(check.details),
                }
                for check in self.checks
            ],
        }
