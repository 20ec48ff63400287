"""What goes wrong with Iceberg tables, as one tree below floe's own.

::

    FloeError
      IcebergError                1  base of the errors below
        UnsupportedTypeError      1  a column has a type that Iceberg cannot hold exactly
        CommitConflictError       1  others changed the table each time a commit was tried
        CommitUnknownError        1  nobody can say whether a commit landed
"""

from __future__ import annotations

from floe_core.errors import FloeError


class IcebergError(FloeError):
    """Something about an Iceberg table went wrong."""


class UnsupportedTypeError(IcebergError):
    """A column has a type whose values Iceberg cannot hold exactly."""

    def __init__(self, column: str, duckdb_type: str, help: str) -> None:
        super().__init__(
            f"column {column} has the type {duckdb_type}, which an Iceberg table cannot hold", help
        )
        self.column = column


class CommitConflictError(IcebergError):
    """Each time that a commit was tried, the table had been changed by somebody else."""


class CommitUnknownError(IcebergError):
    """The catalog did not say whether a commit landed; its files are left alone."""
