"""What goes wrong, as one sentence of dbt's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from dbt_common.exceptions import DbtBaseException, DbtDatabaseError, DbtRuntimeError

from floe_core.errors import FloeError


@contextmanager
def explained() -> Iterator[None]:
    """Let dbt report what goes wrong here as an error of the node, with what to do about it."""
    try:
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


_SERVER = "is the address right in `catalog` of the profile, and is the server up?"
_CREDENTIALS = "are the credentials right in `catalog` of the profile?"
_URI = "is `uri` right in `catalog` of the profile, and may this user write there?"
_DAMAGED = (
    "restore the table's metadata file, or drop the table in the catalog and run the model with "
    "--full-refresh"
)
_HELP = {
    "ConnectionError": _SERVER,
    "Timeout": _SERVER,
    "ServerError": "the server of the catalog failed: look at its log, and run again",
    "UnauthorizedError": _CREDENTIALS,
    "OAuthError": _CREDENTIALS,
    "ForbiddenError": "the catalog does not allow this to the credentials of the profile",
    "DBAPIError": _URI,
    "ArgumentError": _URI,
    "NoSuchModuleError": _URI,
    "NoSuchTableError": "somebody else has dropped it: run the model with --full-refresh",
    "FileNotFoundError": _DAMAGED,
    "PermissionError": "may this user write to `warehouse` of the profile?",
    "ValidationError": _DAMAGED,
    "JSONDecodeError": _DAMAGED,
    "NotInstalledError": "install what PyIceberg needs for this kind of catalog",
    "ValueError": "is `catalog` of the profile right?",
}
"""What to do, by the name of an error of PyIceberg, requests, SQLAlchemy or Python."""


def described(problem: Exception) -> str:
    """An error of PyIceberg, or of what it stands on, in one sentence and with what to do."""
    kinds = [kind.__name__ for kind in type(problem).__mro__]
    help = next((_HELP[kind] for kind in kinds if kind in _HELP), None)
    said = str(getattr(problem, "orig", None) or problem).strip().splitlines()
    text = f"{type(problem).__name__}: {said[0]}" if said else type(problem).__name__
    return f"Iceberg: {text}; {help}" if help else f"Iceberg: {text}"
