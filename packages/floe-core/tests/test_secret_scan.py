"""Literal secrets are refused and shown nowhere; references and ordinary values pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floe_core.compiler.validation import validate
from floe_core.diagnostics import Diagnostic, Report
from floe_core.schemas.platform import PlatformSpec
from floe_core.schemas.spellings import normalise_platform
from floe_core.secret_scan import refuse_literal_secrets
from floe_core.source import Source, read_source


def scan(tmp_path: Path, content: str) -> tuple[Source, Report]:
    path = tmp_path / "platform.yaml"
    path.write_text(content)
    report = Report()
    source = read_source(path, report)
    refuse_literal_secrets(source, report)
    return source, report


def shown(diagnostics: list[Diagnostic]) -> str:
    """Everything that a user or a program may see of the diagnostics."""
    documents = json.dumps([diagnostic.to_dict() for diagnostic in diagnostics])
    return "".join(d.render() for d in diagnostics) + documents + repr(diagnostics)


@pytest.mark.parametrize(
    "content",
    [
        "connection_secret_ref: floe-secrets/snowflake-credentials",
        "api_key_env: FLOE_API_KEY",
        "credentials: {mode: oauth2, client_secret: {secret_ref: polaris-oauth-secret}}",
        "credentials: {mode: oauth2, client_id: {secret_ref: polaris-client-id}}",
        "credentials: {mode: static, password: {secret_ref: pg, key: password}}",
        "credentials: {mode: iam_role, role_arn: 'arn:aws:iam::123456789012:role/Lake'}",
        "cube: {api_secret_ref: cube-api-secret}",
        "security: {secret_backends: {primary: aws_secrets_manager}}",
        "authentication: {method: oidc, oidc: {client_id: floe-platform}}",
        "attributes: {floe.tenant.id: tenant-uuid-123, floe.project.id: project-uuid-456}",
        "api_url: https://floe.example.com",
        "otlp_endpoint: http://otel-collector.floe-system:4317",
        "governance: {policies: {token: {production: {action: mask}}}}",
        "compute: {token: {type: duckdb}}",
        "path: models/marts/finance/quarterly_budget_vs_actual_by_department_2024.sql",
        "id: 550e8400-e29b-41d4-a716-446655440000",
        "digest: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "token_url: https://auth.example.com/oauth/token",
        "password:",
        "requires_password: true",
    ],
)
def test_references_and_ordinary_values_pass(content: str, tmp_path: Path) -> None:
    source, report = scan(tmp_path, content)
    before = read_source(tmp_path / "platform.yaml", Report()).data
    assert (report.sorted(), source.data) == ([], before)


SECRETS = {
    "AWS key": "AKIAIOSFODNN7EXAMPLE",
    "AWS secret key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "GitHub": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "GitLab": "glpat-abcdefghij0123456789",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVm",
    "Slack": "xoxb-123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
    "Stripe": "sk_live_abcdefghij0123456789abcd",
    "URL": "postgresql://floe:hunter2@db.example.com/mart",
    "base 64": "Tm9uZSBvZiB5b3VyIGJ1c2luZXNzIDEyMzQ1Njc4OTA=",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "content",
    [
        "labels: {a: %s}",
        "labels: [x, '%s']",
        "labels: {a: {b: [%s]}}",
        "labels: {'%s': a}",
        "a: &a '%s'\nb: *a",
        "a: |\n  first\n  %s\n",
        "a: 1\na: %s",
        "b: {<<: {a: %s}, a: 1}",
    ],
)
def test_secret_in_any_place(content: str, secret: str, tmp_path: Path) -> None:
    source, report = scan(tmp_path, content % secret)
    found = report.sorted()
    assert "FLOE-X001" in {diagnostic.code for diagnostic in found}
    assert secret not in shown(found) + repr(source.data)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "db_password",
        "dbPassword",
        "client_secret",
        "clientSecret",
        "token",
        "gcs.oauth2.token",
        "private_key",
        "s3.secret-access-key",
        "adls.account-key",
        "apiKey",
        "pwd",
        "header.Authorization",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "'hunter2'",
        "[hunter2]",
        "{value: hunter2}",
        "{secret_ref: a, default: hunter2}",
        "|\n    hunter2",
        '"x\n    hunter2"',
    ],
)
def test_key_that_is_named_like_a_secret(key: str, value: str, tmp_path: Path) -> None:
    source, report = scan(tmp_path, f"properties:\n  {key}: {value}\n")
    found = report.sorted()
    assert [diagnostic.code for diagnostic in found] == ["FLOE-X001"]
    assert str(found[0].field).startswith(f"properties.{key}")
    assert "hunter2" not in shown(found) + repr(source.data)


@pytest.mark.parametrize(
    "content",
    [
        'password: "hunter2\n',
        "password: @hunter2\n",
        "password: *hunter2\n",
        "password: !hunter2 x\n",
        "{mode: static, password: hunter2, x\n",
        "password:\n  hunter2: a: b\n",
        "secret_key: hunter2 [x: y: z\na: b: c\n",
        "dbPassword: hunter2: x\n",
        "uri: [https://me:hunter2@db/x\n",
        "password: {secret_ref: a}\npassword: hunter2\n",
        "private_key: |\n-----BEGIN PRIVATE KEY-----\nhunter2\n",
        "apikey: hunter2\n\tx: y\n",
        "{password: {secret_ref: a}, b: 1, password: hunter2, b: 2}\n",
    ],
)
def test_secret_in_a_file_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    found = scan(tmp_path, content)[1].sorted()
    assert found
    assert "hunter2" not in shown(found)


@pytest.mark.parametrize(
    "line",
    [
        "{type: postgres, credentials: {mode: static, usr: a, password: hunter2}}",
        "{type: x, credentials: {mode: static, password: {secret_ref: a}, password: hunter2}}",
        "{typ: postgres, properties: {password: hunter2, api_token: 'hunter2 too'}}",
        "{typ: postgres} # old password: hunter2",
        "{typ: postgres, credentials: {password: #hunter2\n }}",
        "{typ: postgres, credentials: {password: &hunter2 }}",
        "{typ: postgres, properties: {uri: 'https://me:hunter2@db/x'}}",
    ],
)
def test_secret_on_the_line_of_another_mistake(line: str, tmp_path: Path) -> None:
    source, report = scan(tmp_path, f"compute:\n  default: {line}\n")
    normalise_platform(source, report)
    validate(PlatformSpec, source, report)
    found = report.sorted()
    assert {diagnostic.code for diagnostic in found} & {"FLOE-S001", "FLOE-S002"}
    assert "hunter2" not in shown(found)


def test_refused_secret_is_reported_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    source, report = scan(
        tmp_path,
        "compute: {default: {type: postgres, credentials: "
        "{mode: static, username: me, password: hunter2}}}\n"
        "control_plane: {api_url: 'https://me:hunter2@floe.example.com'}\n",
    )
    spec = validate(PlatformSpec, source, report)
    assert [diagnostic.code for diagnostic in report.sorted()] == ["FLOE-X001", "FLOE-X001"]
    assert spec is not None
    assert spec.compute["default"].credentials is not None
