"""What goes wrong, as one sentence of dbt's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
from dbt_common.exceptions import DbtBaseException, DbtDatabaseError, DbtRuntimeError

from floe_core.errors import FloeError
from floe_iceberg.errors import (
    CatalogRefusedError,
    CatalogSetupError,
    CatalogUnavailableError,
    TableGoneError,
)

if TYPE_CHECKING:
    from floe_iceberg.attachment import Attachment


@contextmanager
def explained(lake: Attachment) -> Iterator[None]:
    """Let dbt report what goes wrong here as an error of the node, with what to do about it."""
    try:
        with lake.explained():
            yield
    except DbtBaseException:
        raise
    except FloeError as problem:
        raise DbtRuntimeError(text_of(problem, lake)) from problem
    except duckdb.Error as problem:
        raise DbtDatabaseError(str(problem)) from problem
    except Exception as problem:
        raise DbtRuntimeError(described(problem)) from problem


_PROFILE = "of the dbt profile"
_HELP = {
    CatalogUnavailableError: f"check the addresses in `catalog` {_PROFILE}, and that the server "
    "runs",
    CatalogRefusedError: f"check the credentials in `catalog` {_PROFILE}, and what they may do",
    CatalogSetupError: f"check `catalog` {_PROFILE}",
    TableGoneError: "build it first: `dbt run`",
}
"""What to do, where floe's own help is about the keys of platform.yaml or its commands."""
_OF_FLOE = ("platform.yaml", "`catalogs.", "`floe ")


def text_of(problem: FloeError, lake: Attachment) -> str:
    """A message, and what to do about it: in words of dbt, unless floe wrote the profile."""
    help = problem.help
    if help and not lake.has_names and any(word in help for word in _OF_FLOE):
        help = _HELP.get(type(problem))
    return f"{problem.message}; {help}" if help else problem.message


def described(problem: Exception) -> str:
    """An error that nobody knows, in one line."""
    said = str(problem).strip().splitlines()
    text = f"{type(problem).__name__}: {said[0]}" if said else type(problem).__name__
    return f"Iceberg: {text}"
