"""The frozen base of every floe schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

__all__ = ["FloeModel", "Identifier", "JsonValue", "SecretName", "SemVer"]


class FloeModel(BaseModel):
    """Base of all specs and artifacts: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)


SEMVER_PATTERN = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"

IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN, max_length=200)]
"""A name that people type: a letter or underscore, then letters, digits, `_`, `.`, `-`."""

SemVer = Annotated[str, Field(pattern=SEMVER_PATTERN)]
"""A Semantic Versioning 2.0.0 version, such as `1.4.0`."""


def _no_value_in_name(name: str) -> str:
    if name.count("/") > 1:
        raise ValueError("a secret is named `name` or `name/key`")
    return name


SecretName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$", max_length=253),
    AfterValidator(_no_value_in_name),
]
"""The name of a secret, or `name/key`; never its value."""
