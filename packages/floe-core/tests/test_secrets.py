from __future__ import annotations

import pytest

from floe_core.errors import SecretNotFoundError
from floe_core.schemas.secret import SecretRef
from floe_core.secrets import resolve

REFS = {"password": SecretRef(secret_ref="pg", key="password")}


@pytest.mark.parametrize("backends", [("env",), ("aws_secrets_manager",), ("vault", "file")])
def test_a_variable_is_found(backends: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert resolve(REFS, backends) == {"password": "value"}


def test_a_backend_that_cannot_be_asked_yet_is_named() -> None:
    with pytest.raises(SecretNotFoundError, match="`vault`, which floe cannot ask yet"):
        resolve(REFS, ("vault",))
