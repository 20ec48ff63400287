"""Reading and writing `CompiledArtifacts`: the one way in and the one way out."""

from __future__ import annotations

import warnings
from pathlib import Path

import orjson
from pydantic import ValidationError

from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import ARTIFACTS_VERSION, CompiledArtifacts


class NewerArtifactsWarning(UserWarning):
    """The artifacts come from a newer minor version; what this floe does not know is ignored."""


def load_artifacts(path: Path) -> CompiledArtifacts:
    """Read artifacts from a file.

    A newer minor version is read with a `NewerArtifactsWarning`; unknown fields are ignored.

    Raises:
        ArtifactsError: if the file is missing or is no artifacts, or its major version is another.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactsError(
            f"there are no artifacts at {path}", help="Run `floe compile` first."
        ) from None
    except OSError as problem:
        raise ArtifactsError(f"{path} cannot be read: {problem.strerror}") from None
    return parse_artifacts(content, origin=str(path))


def is_pulled(path: Path) -> bool:
    """Whether a file holds artifacts that were pulled; False for one that cannot be read."""
    try:
        return bool(orjson.loads(path.read_bytes())["metadata"]["origin"] == "pulled")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def parse_artifacts(content: bytes, *, origin: str) -> CompiledArtifacts:
    """Read artifacts from JSON text; `origin` names where it came from in errors.

    Raises:
        ArtifactsError: if the text is no artifacts, or its major version is another.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as problem:
        raise ArtifactsError(f"{origin} is not JSON: {problem}") from None
    _check_version(document, origin)
    try:
        return CompiledArtifacts.model_validate_json(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactsError(
            f"{origin} does not follow the artifacts contract: `{field}`: {first['msg']}",
            help="Run `floe compile` to write it afresh.",
        ) from None


def _check_version(document: object, origin: str) -> None:
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, str) or not version.partition(".")[0].isdigit():
        raise ArtifactsError(
            f"{origin} has no `version`, so it is not floe's artifacts",
            help="Run `floe compile` to write it afresh.",
        )
    major, minor = [*version.split("."), "0"][:2]
    our_major, our_minor = ARTIFACTS_VERSION.split(".")[:2]
    if major != our_major:
        raise ArtifactsError(
            f"{origin} is of artifacts version {version}; this floe reads {our_major}.x "
            f"(up to {ARTIFACTS_VERSION})",
            help="Compile with the floe that runs it: install the same version in both places, "
            "then run `floe compile` again.",
        )
    if minor.isdigit() and int(minor) > int(our_minor):
        warnings.warn(
            f"{origin} is of artifacts version {version}, newer than {ARTIFACTS_VERSION}: "
            "fields that this floe does not know are ignored",
            NewerArtifactsWarning,
            stacklevel=3,
        )


def dump_artifacts(artifacts: CompiledArtifacts) -> bytes:
    """Write artifacts as JSON: two-space indent, fields in schema order, unset fields left out.

    Equal artifacts give equal bytes.
    """
    document = artifacts.model_dump(mode="json", exclude_unset=True)
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
