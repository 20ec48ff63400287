"""`compute.connection_secret_ref` of artifacts: one secret that holds what a connection needs.

It is a JSON object, or one entry a key: `{"user": "...", "password": "..."}`. What the engine takes
as a secret is taken from it; properties that the artifacts give themselves stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from floe_core import secrets
from floe_core.errors import SecretBackendError, SecretNotFoundError, ServiceUnavailableError
from floe_core.plugins import ComputeTarget
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef

_ALIASES = {"user": "username"}
"""Other names of keys, as Kubernetes has them in its secrets for sign-in."""


def with_references(
    profile: ComputeProfile, target: ComputeTarget, name: str, backends: Sequence[str]
) -> ComputeProfile:
    """The profile with references to the entries of the secret, as far as the engine takes them.

    Where the secret cannot be found, as in a parse, it is taken to hold them all.
    """
    keys = [
        key
        for key, definition in target.properties.items()
        if _takes_secret(definition.type) and key not in profile.properties
    ]
    if not keys:
        return profile
    try:
        found: Iterable[str] = read(name, keys, backends)
    except (SecretNotFoundError, SecretBackendError, ServiceUnavailableError):
        found = keys
    references = {key: SecretRef(secret_ref=name, key=key) for key in found}
    return profile.model_copy(update={"properties": {**profile.properties, **references}})


def read(name: str, keys: Sequence[str], backends: Sequence[str]) -> dict[str, str]:
    """Look up entries of the secret; those that it lacks are left out.

    Raises:
        SecretNotFoundError: if it is in none of the backends, or has none of the keys.
    """
    try:
        whole = secrets.resolve({name: SecretRef(secret_ref=name)}, backends)[name]
    except SecretNotFoundError:
        entries = {} if "/" in name else _one_by_one(name, keys, backends)
        if not entries:
            raise
        return entries
    entries = _wanted(_object(name, whole), keys)
    if not entries:
        raise SecretNotFoundError(
            f"secret {name} has none of {', '.join(f'`{key}`' for key in keys)}",
            help="The connection needs them there, as keys of a JSON object.",
        )
    return entries


def _object(name: str, text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SecretNotFoundError(
            f"secret {name} is no JSON object",
            help='A connection needs one: `{"user": "...", "password": "..."}`.',
        )
    return document


def _wanted(document: Mapping[str, object], keys: Sequence[str]) -> dict[str, str]:
    entries = {}
    for key in keys:
        value = document.get(key, document.get(_ALIASES.get(key, key)))
        if value is not None:
            entries[key] = str(value)
    return entries


def _one_by_one(name: str, keys: Sequence[str], backends: Sequence[str]) -> dict[str, str]:
    """Entries of a secret whose keys are variables or files of their own."""
    entries: dict[str, str] = {}
    for key in keys:
        for spelling in dict.fromkeys((key, _ALIASES.get(key, key))):
            reference = SecretRef(secret_ref=name, key=spelling)
            try:
                entries[key] = secrets.resolve({key: reference}, backends)[key]
            except SecretNotFoundError:
                continue
            break
    return entries


def _takes_secret(types: type | tuple[type, ...]) -> bool:
    return SecretRef in (types if isinstance(types, tuple) else (types,))
