"""The frozen base of every floe schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

__all__ = [
    "FloeModel",
    "Identifier",
    "JsonValue",
    "Scalar",
    "SecretName",
    "SecretPath",
    "SemVer",
]


class FloeModel(BaseModel):
    """Base of all specs and artifacts: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)


SEMVER_PATTERN = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat
"""A single value, of the type that YAML says."""

IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN, max_length=200)]
"""A name that people type: a letter or underscore, then letters, digits, `_`, `.`, `-`."""

SemVer = Annotated[str, Field(pattern=SEMVER_PATTERN)]
"""A Semantic Versioning 2.0.0 version, such as `1.4.0`."""


def _plain_path(name: str) -> str:
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise ValueError("the parts of a secret's name are neither empty, `.` nor `..`")
    return name


def _one_key_at_most(name: str) -> str:
    if name.count("/") > 1:
        raise ValueError("a secret is named `name` or `name/key`")
    return name


SecretPath = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$", max_length=253),
    AfterValidator(_plain_path),
]
"""The name of a secret, of one or several parts; never its value."""

SecretName = Annotated[SecretPath, AfterValidator(_one_key_at_most)]
"""The name of a secret, or `name/key`; never its value."""
