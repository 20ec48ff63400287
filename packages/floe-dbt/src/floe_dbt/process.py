"""The state of the process that dbt reads and changes, lent to it for one command."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from floe_core.environment_variables import FLOE_PROJECT_DIR

_LOCK = threading.Lock()

_USER_WISHES = frozenset(
    {
        "CACHE_SELECTED_ONLY",
        "DOWNLOAD_DIR",
        "FAIL_FAST",
        "INVOCATION_ENV",
        "LOG_FILE_MAX_BYTES",
        "LOG_FORMAT_FILE",
        "PACKAGE_HUB_URL",
        "POPULATE_CACHE",
        "STATIC_PARSER",
        "STORE_FAILURES",
        "WARN_ERROR",
        "WARN_ERROR_OPTIONS",
    }
)
"""dbt's own settings that a user may make through `DBT_...` variables; floe decides all others."""


@contextmanager
def lent(root: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Set up environment variables for dbt, one command at a time in the whole process.

    Variables that steer dbt itself (`DBT_TARGET_PATH` and the like) are hidden, so that only floe
    says where dbt reads and writes. Variables and working directory are put back in the end.
    """
    with _LOCK:
        changes: dict[str, str | None] = dict.fromkeys(_hidden(os.environ))
        changes |= {**environment, FLOE_PROJECT_DIR: str(root)}
        before = {name: os.environ.get(name) for name in changes}
        directory = _working_directory()
        _set(changes)
        try:
            yield
        finally:
            _set(before)
            if directory is not None:
                os.chdir(directory)


def _set(variables: Mapping[str, str | None]) -> None:
    """Set environment variables; None removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _hidden(names: Mapping[str, str]) -> list[str]:
    from dbt.env_vars import KNOWN_ENGINE_ENV_VARS

    known = {
        name for variable in KNOWN_ENGINE_ENV_VARS for name in (variable.name, variable.old_name)
    }
    return [name for name in names if name in known and _setting(name) not in _USER_WISHES]


def _setting(name: str) -> str:
    return name.removeprefix("DBT_").removeprefix("ENGINE_")


def _working_directory() -> str | None:
    """The working directory; None when it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None
