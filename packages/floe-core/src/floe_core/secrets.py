"""Looking up secrets at run time, in the process that executes, and floe's own places for them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core import plugins
from floe_core.entry_points import blamed
from floe_core.environment_variables import FLOE_SECRETS_DIR
from floe_core.errors import (
    SecretBackendError,
    SecretNotFoundError,
    SecretUnreadableError,
    ServiceUnavailableError,
)
from floe_core.schemas.secret import SecretRef

if TYPE_CHECKING:
    from floe_core.plugins import SecretBackend

DEFAULT_SECRETS_DIR = Path("/etc/floe/secrets")
DEFAULT_BACKENDS = ("env", "file")

_remembered: ContextVar[dict[str, SecretBackend] | None] = ContextVar("remembered", default=None)


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
        SecretBackendError: if a backend that has to be asked is not set up, or refuses to answer.
        ServiceUnavailableError: if a backend that has to be asked does not answer.
        PluginError: if a backend cannot be used.
    """
    values: dict[str, str] = {}
    missing: list[str] = []
    unreadable: list[tuple[SecretRef, SecretUnreadableError]] = []
    asked = _installed(backends) if refs else {}
    absent = [backend for backend in backends if backend not in asked]
    for name, ref in refs.items():
        try:
            value = _first_hit(ref, asked)
        except SecretUnreadableError as problem:
            unreadable.append((ref, problem))
            continue
        if value is None:
            searched = [*_places(ref, asked), *map(_absence, absent)]
            missing.append(f"{describe(ref)} (looked in: {'; '.join(searched)})")
        else:
            values[name] = value
    if missing or unreadable:
        raise _not_found(missing, unreadable, asked)
    return values


def places(ref: SecretRef, backends: Sequence[str]) -> list[str]:
    """Name the places that a secret is looked for in; looks in none of them.

    Raises:
        SecretBackendError: if a backend is not set up here.
        PluginError: if a backend cannot be used.
    """
    return _places(ref, _installed(backends))


@contextmanager
def remembered() -> Iterator[None]:
    """Look each secret up once in a block, however often it is asked for; then forget them all.

    It matters for backends that are asked over a network.
    """
    if _remembered.get() is not None:  # an outer block forgets
        yield
        return
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def _not_found(
    missing: Sequence[str],
    unreadable: Sequence[tuple[SecretRef, SecretUnreadableError]],
    asked: Mapping[str, SecretBackend],
) -> SecretNotFoundError:
    reasons = [f"{describe(ref)} ({problem.message})" for ref, problem in unreadable]
    parts = [
        f"secret{'s' if len(named) > 1 else ''} {what}: {', '.join(named)}"
        for what, named in (("not found", missing), ("cannot be read", reasons))
        if named
    ]
    if not missing:
        helps = (problem.help for _, problem in unreadable)
        help = next(filter(None, helps), "Store the secret as plain UTF-8 text.")
    elif asked.keys() >= set(DEFAULT_BACKENDS):
        help = "Set one of the variables named above, or mount the secret as a file."
    else:
        help = "Store the secret in one of the places named above."
    return SecretNotFoundError("; ".join(parts), help=help)


def _installed(backends: Sequence[str]) -> dict[str, SecretBackend]:
    """The backends that can be asked; where one of them cannot, those of `DEFAULT_BACKENDS` too."""
    kept = _remembered.get()
    known = {} if kept is None else kept
    found = {name: known.get(name) or plugins.secret_backend(name) for name in backends}
    if None in found.values():
        found |= {
            name: plugins.secret_backend(name) for name in DEFAULT_BACKENDS if name not in found
        }
    usable = {name: backend for name, backend in found.items() if backend is not None}
    known |= usable
    return usable


def _first_hit(ref: SecretRef, backends: Mapping[str, SecretBackend]) -> str | None:
    searched: list[str] = []
    for name, backend in backends.items():
        try:
            with blamed(plugins.SECRETS, name, is_shown=False):
                value = backend.find(ref)
        except (SecretBackendError, ServiceUnavailableError) as problem:
            kind = (
                SecretBackendError
                if isinstance(problem, SecretBackendError)
                else ServiceUnavailableError
            )
            before = f" (it is not in: {'; '.join(searched)})" if searched else ""
            raise kind(
                f"secret {describe(ref)} cannot be looked up: {problem.message}{before}",
                help=problem.help,
            ) from None
        if value is not None:
            return value
        searched += backend.places(ref)
    return None


def _places(ref: SecretRef, backends: Mapping[str, SecretBackend]) -> list[str]:
    return [place for backend in backends.values() for place in backend.places(ref)]


def _absence(backend: str) -> str:
    return f"not in `{backend}`, which is not installed here"


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
    """A key of a JSON object in a variable; None where it holds anything else."""
    document = None if text is None else read_json(text)
    if not isinstance(document, dict) or ref.entry is None:
        return None
    return entry_of(document, ref.entry, f"environment variable {variable_name(ref.name)}")


def read_json(text: str) -> object:
    """Parse JSON, with numbers as they are spelled; None if it is none."""
    try:
        document: object = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return None
    return document


def entry_of(document: Mapping[str, object], key: str, place: str) -> str | None:
    """The value of a key: text as it is, anything else as JSON spells it; None where it is empty.

    Raises:
        SecretUnreadableError: if it is an object or a list, which is no secret's value, or bytes
            that are no text.
    """
    value = document.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise SecretUnreadableError(f"{place} has {kind} under `{key}`, not a value")
    if isinstance(value, bytes):
        raise SecretUnreadableError(f"`{key}` of {place} is not UTF-8")
    return value if isinstance(value, str) else json.dumps(value)


if TYPE_CHECKING:
    _: tuple[type[SecretBackend], ...] = (EnvironmentVariables, MountedFiles)
