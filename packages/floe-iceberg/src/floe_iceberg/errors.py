"""What goes wrong with Iceberg tables, as one tree below floe's own.

::

    FloeError
      IcebergError                1  base of the errors below
        UnsupportedTypeError      1  a column has a type that Iceberg cannot hold exactly
        CommitConflictError       1  others changed the table each time a commit was tried
        CommitUnknownError        1  nobody can say whether a commit landed
        TableGoneError            1  a table is not there, or its metadata cannot be read
        WriteError                1  data files could not be written
      ServiceUnavailableError
        CatalogUnavailableError   5  the catalog or the storage cannot be reached
      CatalogRefusedError         3  the catalog or the storage refuses the credentials
      CatalogSetupError           3  the profile cannot work: a package or a bucket is missing
"""

from __future__ import annotations

from typing import ClassVar

from floe_core.errors import FloeError, ServiceUnavailableError


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


class TableGoneError(IcebergError):
    """A table is not in the catalog, or its metadata cannot be read."""


class WriteError(IcebergError):
    """Data files could not be written; the table is as it was."""


class CatalogUnavailableError(ServiceUnavailableError):
    """The catalog or the storage cannot be reached."""


class CatalogRefusedError(FloeError):
    """The catalog or the storage refuses the credentials, or what they may do."""

    exit_code: ClassVar[int] = 3


class CatalogSetupError(FloeError):
    """A profile cannot work as it is: a package, a bucket or a region is missing."""

    exit_code: ClassVar[int] = 3
