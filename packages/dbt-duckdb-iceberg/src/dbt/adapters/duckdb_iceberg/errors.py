"""What goes wrong, as one sentence of dbt's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
from dbt_common.exceptions import DbtBaseException, DbtDatabaseError, DbtRuntimeError

from floe_core.errors import FloeError

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
        raise DbtRuntimeError(text_of(problem)) from problem
    except duckdb.Error as problem:
        raise DbtDatabaseError(str(problem)) from problem
    except Exception as problem:
        raise DbtRuntimeError(described(problem)) from problem


def text_of(problem: FloeError) -> str:
    """A message and what to do about it."""
    if not problem.help:
        return problem.message
    help = problem.help[0].lower() + problem.help[1:].removesuffix(".")
    return f"{problem.message}: {help}"


def described(problem: Exception) -> str:
    """An error of PyIceberg, or of what it stands on, in one sentence."""
    said = str(problem).strip().splitlines()
    text = f"{type(problem).__name__}: {said[0]}" if said else type(problem).__name__
    return f"Iceberg: {text}"
