"""What maintenance makes sure of before it removes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from floe_iceberg.commit import may_remove_files
from floe_iceberg.errors import IcebergError

if TYPE_CHECKING:
    from pyiceberg.table import Table


@contextmanager
def readable(table: Table) -> Iterator[None]:
    """Say which table it is whose metadata cannot be read.

    Raises:
        IcebergError: in place of a `FileNotFoundError`.
    """
    try:
        yield
    except FileNotFoundError as problem:
        raise IcebergError(
            f"nobody can say what {shown(table)} needs, so nothing was removed: {problem}",
            "restore the file, or roll the table back to a snapshot that is whole",
        ) from problem


def refuse_shared_files(table: Table) -> None:
    """Stop where the table's files may be needed by others.

    Raises:
        IcebergError: if `gc.enabled` is false.
    """
    if not may_remove_files(table.metadata):
        raise IcebergError(
            f"the property gc.enabled of {shown(table)} is false, so others may need its files",
            "set it to true once they do not",
        )


def shown(table: Table) -> str:
    """Name of a table, for messages."""
    return ".".join(table.name())
