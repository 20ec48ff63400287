"""`compute.connection_secret_ref`: what a connection needs, from one secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from floe_core.errors import SecretNotFoundError
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.schemas.secret import SecretRef
from floe_dagster.connection import compute_target, resolve_secrets, secrets_or_placeholders
from floe_testing.control_plane import on_duckdb

USER, PASSWORD = "DBT_ENV_SECRET_FLOE_USERNAME", "DBT_ENV_SECRET_FLOE_PASSWORD"
VALUES = {USER: "etl", PASSWORD: "pw-canary"}
SIGN_IN = {"user": "etl", "password": "pw-canary"}


def on_postgres(name: str, **properties: Any) -> CompiledArtifacts:
    compute = {
        "target": "postgres",
        "connection_secret_ref": name,
        "properties": {"host": "db", "dbname": "mart", **properties},
    }
    return CompiledArtifacts.model_validate(on_duckdb(compute=compute))


def profile_of(artifacts: CompiledArtifacts) -> dict[str, Any]:
    target, compute = compute_target(artifacts)
    return target.output(compute, "preview")


@pytest.fixture(autouse=True)
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_json_object_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_SECRETS_PG_CREDENTIALS", json.dumps({**SIGN_IN, "other": 1}))
    artifacts = on_postgres("floe-secrets/pg-credentials")
    assert resolve_secrets(artifacts) == VALUES
    output = profile_of(artifacts)
    assert output["user"] == f"{{{{ env_var('{USER}') }}}}"
    assert output["host"] == "db"
    assert "pw-canary" not in str(output)


def test_a_mounted_json_object(secrets_dir: Path) -> None:
    (secrets_dir / "floe-secrets").mkdir()
    (secrets_dir / "floe-secrets/pg").write_text(json.dumps({**SIGN_IN, "host": "secret-host"}))
    assert resolve_secrets(on_postgres("floe-secrets/pg")) == VALUES, "own properties stay"


@pytest.mark.parametrize("user", ["user", "username"])
def test_a_mounted_folder(secrets_dir: Path, user: str) -> None:
    (secrets_dir / "pg").mkdir()
    (secrets_dir / "pg" / user).write_text("etl\n")
    (secrets_dir / "pg/password").write_text("pw-canary")
    assert resolve_secrets(on_postgres("pg")) == VALUES


def test_variables_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_USERNAME", "etl")
    monkeypatch.setenv("PG_PASSWORD", "pw-canary")
    assert resolve_secrets(on_postgres("pg")) == VALUES


def test_nowhere() -> None:
    artifacts = on_postgres("pg")
    with pytest.raises(SecretNotFoundError, match="secret not found: pg "):
        resolve_secrets(artifacts)
    assert secrets_or_placeholders(artifacts).keys() == VALUES.keys()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("pw-canary", "secret pg is no JSON object"),
        ('["pw-canary"]', "secret pg is no JSON object"),
        ('{"pass": "pw-canary"}', "secret pg has none of `user`, `password`"),
    ],
)
def test_of_no_use(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG", value)
    with pytest.raises(SecretNotFoundError) as caught:
        resolve_secrets(on_postgres("pg"))
    assert str(caught.value) == message
    assert "pw-canary" not in f"{caught.value.help}"


def test_an_engine_that_signs_in_nowhere() -> None:
    compute = {"target": "duckdb", "connection_secret_ref": "pg"}
    artifacts = CompiledArtifacts.model_validate(on_duckdb(compute=compute))
    assert resolve_secrets(artifacts) == {}
    _, profile = compute_target(artifacts)
    assert SecretRef not in map(type, profile.properties.values())
