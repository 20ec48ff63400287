"""Looking up secrets at run time, in the process that executes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from floe_core.environment_variables import FLOE_SECRETS_DIR
from floe_core.errors import SecretNotFoundError
from floe_core.schemas.secret import SecretRef

DEFAULT_SECRETS_DIR = Path("/etc/floe/secrets")
DEFAULT_BACKENDS = ("env", "file")


def resolve(
    refs: Mapping[str, SecretRef], backends: Sequence[str] = DEFAULT_BACKENDS
) -> dict[str, str]:
    """Look up secrets, asking the backends in order; the first that has a secret wins.

    Args:
        refs: The references, by whatever name the caller knows them.
        backends: Names of backends. `env` asks environment variables: `NAME_KEY` in upper case,
            else `NAME` as JSON, else `NAME` itself when no key is asked for. `file` asks
            `$FLOE_SECRETS_DIR/NAME/KEY` (default `/etc/floe/secrets`).

    Returns:
        The values, by the same names.

    Raises:
        SecretNotFoundError: if one or more are nowhere; it names every place that was asked.
    """
    values: dict[str, str] = {}
    missing: list[str] = []
    for name, ref in refs.items():
        places: list[str] = []
        value = _first_hit(ref, backends, places)
        if value is None:
            missing.append(f"{describe(ref)} (looked in: {'; '.join(places)})")
        else:
            values[name] = value
    if missing:
        subject = "secret" if len(missing) == 1 else "secrets"
        raise SecretNotFoundError(
            f"{subject} not found: " + ", ".join(missing),
            help="Set one of the variables named above, or mount the secret as a file.",
        )
    return values


def describe(ref: SecretRef) -> str:
    """Name a secret for a message: `name`, or `name/key`."""
    return f"{ref.name}/{ref.entry}" if ref.entry else ref.name


def variable_name(*parts: str) -> str:
    """Name of the environment variable that may hold a secret: upper case, `_` for the rest."""
    return "_".join("".join(c if c.isalnum() else "_" for c in part).upper() for part in parts)


def _first_hit(ref: SecretRef, backends: Sequence[str], places: list[str]) -> str | None:
    """Ask the backends in order; where one cannot be asked yet, those of `DEFAULT_BACKENDS` too."""
    idle = [backend for backend in backends if backend not in _BACKENDS]
    asked = [backend for backend in backends if backend in _BACKENDS]
    if idle:
        asked += [backend for backend in DEFAULT_BACKENDS if backend not in asked]
    for backend in asked:
        value = _BACKENDS[backend](ref, places)
        if value is not None:
            return value
    places.extend(f"not in `{backend}`, which floe cannot ask yet" for backend in idle)
    return None


def _from_environment(ref: SecretRef, places: list[str]) -> str | None:
    whole = variable_name(ref.name)
    if ref.entry is None:
        places.append(f"environment variable {whole}")
        return os.environ.get(whole)
    single = variable_name(ref.name, ref.entry)
    places.append(f"environment variable {single}")
    if single in os.environ:
        return os.environ[single]
    places.append(f"environment variable {whole} as JSON with `{ref.entry}`")
    return _entry_of_json(os.environ.get(whole), ref.entry)


def _from_file(ref: SecretRef, places: list[str]) -> str | None:
    folder = Path(os.environ.get(FLOE_SECRETS_DIR) or DEFAULT_SECRETS_DIR)
    path = folder / ref.name / ref.entry if ref.entry else folder / ref.name
    places.append(f"file {path}")
    if not path.is_file():
        return None
    return path.read_text(encoding="utf-8").rstrip("\r\n")


def _entry_of_json(text: str | None, entry: str) -> str | None:
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    value = document.get(entry) if isinstance(document, dict) else None
    return None if value is None else str(value)


_BACKENDS: Mapping[str, Callable[[SecretRef, list[str]], str | None]] = {
    "env": _from_environment,
    "file": _from_file,
}

SUPPORTED_BACKENDS = frozenset(_BACKENDS)
"""Backends that this floe can ask."""
