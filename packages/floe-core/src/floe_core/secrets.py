"""Looking up secrets at run time, in the process that executes, and floe's own places for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core import plugins
from floe_core.entry_points import blamed
from floe_core.environment_variables import FLOE_SECRETS_DIR
from floe_core.errors import SecretNotFoundError, SecretUnreadableError
from floe_core.schemas.secret import SecretRef

if TYPE_CHECKING:
    from floe_core.plugins import SecretBackend

DEFAULT_SECRETS_DIR = Path("/etc/floe/secrets")
DEFAULT_BACKENDS = ("env", "file")


def resolve(
    refs: Mapping[str, SecretRef], backends: Sequence[str] = DEFAULT_BACKENDS
) -> dict[str, str]:
    """Look up secrets, asking the backends in order; the first that has a secret wins.

    Args:
        refs: The references, by whatever name the caller knows them.
        backends: Names of backends. Where one is not installed, `env` and `file` are asked too.

    Returns:
        The values, by the same names.

    Raises:
        SecretNotFoundError: if one or more are nowhere, or cannot be read where they are; it names
            every place that was asked.
        PluginError: if a backend cannot be used.
    """
    values: dict[str, str] = {}
    missing: list[str] = []
    unreadable: list[str] = []
    asked = _installed(backends) if refs else {}
    absent = [backend for backend in backends if backend not in asked]
    for name, ref in refs.items():
        try:
            value = _first_hit(ref, asked)
        except SecretUnreadableError as problem:
            unreadable.append(f"{describe(ref)} ({problem.message})")
            continue
        if value is None:
            missing.append(f"{describe(ref)} (looked in: {'; '.join(_places(ref, asked, absent))})")
        else:
            values[name] = value
    if missing or unreadable:
        raise _not_found(missing, unreadable)
    return values


def _not_found(missing: Sequence[str], unreadable: Sequence[str]) -> SecretNotFoundError:
    parts = [
        f"secret{'s' if len(named) > 1 else ''} {what}: {', '.join(named)}"
        for what, named in (("not found", missing), ("cannot be read", unreadable))
        if named
    ]
    help = "Set one of the variables named above, or mount the secret as a file."
    return SecretNotFoundError(
        "; ".join(parts), help=help if missing else "Store the secret as plain UTF-8 text."
    )


def _installed(backends: Sequence[str]) -> dict[str, SecretBackend]:
    """The backends that can be asked; where one of them cannot, those of `DEFAULT_BACKENDS` too."""
    found = {name: plugins.secret_backend(name) for name in backends}
    if None in found.values():
        found |= {
            name: plugins.secret_backend(name) for name in DEFAULT_BACKENDS if name not in found
        }
    return {name: backend for name, backend in found.items() if backend is not None}


def _first_hit(ref: SecretRef, backends: Mapping[str, SecretBackend]) -> str | None:
    for name, backend in backends.items():
        with blamed(plugins.SECRETS, name, is_shown=False):
            value = backend.find(ref)
        if value is not None:
            return value
    return None


def _places(
    ref: SecretRef, backends: Mapping[str, SecretBackend], absent: Sequence[str]
) -> list[str]:
    asked = [place for backend in backends.values() for place in backend.places(ref)]
    return asked + [f"not in `{name}`, which is not installed here" for name in absent]


def describe(ref: SecretRef) -> str:
    """Name a secret for a message: `name`, or `name/key`."""
    return f"{ref.name}/{ref.entry}" if ref.entry else ref.name


def variable_name(*parts: str) -> str:
    """Name of the environment variable that may hold a secret: upper case, `_` for the rest."""
    return "_".join("".join(c if c.isalnum() else "_" for c in part).upper() for part in parts)


class EnvironmentVariables:
    """Secrets in environment variables: `NAME_KEY` in upper case, else `NAME` as JSON.

    A variable without a value counts as not set.
    """

    def places(self, ref: SecretRef) -> Sequence[str]:
        """The variables that may hold the secret."""
        whole = variable_name(ref.name)
        if ref.entry is None:
            return [f"environment variable {whole}"]
        return [
            f"environment variable {variable_name(ref.name, ref.entry)}",
            f"environment variable {whole} as JSON with `{ref.entry}`",
        ]

    def find(self, ref: SecretRef) -> str | None:
        """The value of the first variable that holds the secret."""
        whole = os.environ.get(variable_name(ref.name)) or None
        if ref.entry is None:
            return whole
        single = os.environ.get(variable_name(ref.name, ref.entry))
        return single or _entry_of_json(whole, ref)


class MountedFiles:
    """Secrets in files, `NAME/KEY` below `FLOE_SECRETS_DIR`; a newline at the end is left out.

    A file without a value counts as not there.
    """

    def places(self, ref: SecretRef) -> Sequence[str]:
        """The file that may hold the secret."""
        return [f"file {self._path(ref)}"]

    def find(self, ref: SecretRef) -> str | None:
        """The content of the file.

        Raises:
            SecretUnreadableError: if the file cannot be read, or is not UTF-8.
        """
        path = self._path(ref)
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n") or None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnicodeDecodeError:
            raise SecretUnreadableError(f"file {path} is not UTF-8") from None
        except OSError as problem:
            raise SecretUnreadableError(f"file {path}: {problem.strerror}") from None

    def _path(self, ref: SecretRef) -> Path:
        folder = Path(os.environ.get(FLOE_SECRETS_DIR) or DEFAULT_SECRETS_DIR)
        return folder / ref.name / ref.entry if ref.entry else folder / ref.name


def _entry_of_json(text: str | None, ref: SecretRef) -> str | None:
    """A key of a JSON object: text as it is, anything else as JSON spells it.

    Raises:
        SecretUnreadableError: if the value is an object or a list, which is no secret's value.
    """
    if text is None:
        return None
    try:
        document = json.loads(text, parse_float=str, parse_int=str)  # digits as they are written
    except ValueError:
        return None
    value = document.get(ref.entry) if isinstance(document, dict) else None
    if value is None or value == "":
        return None
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise SecretUnreadableError(
            f"environment variable {variable_name(ref.name)} has {kind} under `{ref.entry}`, "
            "not a value"
        )
    return value if isinstance(value, str) else json.dumps(value)


if TYPE_CHECKING:
    _: tuple[type[SecretBackend], ...] = (EnvironmentVariables, MountedFiles)
