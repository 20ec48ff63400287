"""Exit codes of `floe`, which scripts may rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What an exit code says."""

    OK = 0
    FAILED = 1
    """A run, a test or a query failed."""
    USAGE = 2
    """The command cannot be given like this."""
    INVALID = 3
    """The configuration is wrong."""
    POLICY = 4
    """A policy is violated."""
    UNAVAILABLE = 5
    """A database or server cannot be reached."""
    INTERRUPTED = 130
    """Ctrl-C."""
