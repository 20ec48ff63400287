"""What a process knows of telemetry before it starts it: names, attributes and secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from floe_core.artifacts import load_artifacts
from floe_core.observability import (
    context_attributes,
    is_lineage_off,
    is_telemetry_off,
    lineage_namespace,
    no_telemetry_if,
    resolve_secrets,
    resource_attributes,
    secret_refs,
)
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.urls import is_unencrypted, is_url

CONTRACT = Path(__file__).parent / "contract"
PULLED = load_artifacts(CONTRACT / "1.0.0" / "sample.json")
COMPILED = load_artifacts(CONTRACT / "1.1.0" / "sample.json")
TENANT = {
    "floe.tenant.id": "tenant-uuid-123",
    "floe.project.id": "project-uuid-456",
    "floe.environment.id": "env-uuid-789",
    "floe.environment.type": "preview",
}


def with_observability(artifacts: CompiledArtifacts, **fields: Any) -> CompiledArtifacts:
    data = artifacts.model_dump(mode="json", exclude_none=True)
    data["observability"] |= fields
    return CompiledArtifacts.model_validate(data)


def test_artifacts_of_a_control_plane_tell_their_tenant() -> None:
    assert context_attributes(PULLED) == TENANT
    assert resource_attributes(PULLED) == TENANT | {
        "service.name": "my-project",
        "floe.product.name": "my-project",
        "deployment.environment.name": "preview",
    }


def test_the_context_counts_whatever_the_attributes_say() -> None:
    forged = with_observability(PULLED, attributes={"floe.tenant.id": "someone"})
    assert resource_attributes(forged)["floe.tenant.id"] == "tenant-uuid-123"
    without = forged.model_copy(update={"environment_context": None})
    assert context_attributes(without) == {"floe.tenant.id": "someone"}


def test_compiled_artifacts_tell_their_product() -> None:
    artifacts = with_observability(COMPILED, attributes={"team": "growth"})
    assert context_attributes(artifacts) == {}
    assert resource_attributes(artifacts) == {
        "team": "growth",
        "service.name": "nyc-flights",
        "floe.product.name": "nyc-flights",
        "service.version": "1.0.0",
        "floe.product.version": "1.0.0",
        "deployment.environment.name": "prod",
    }


@pytest.mark.parametrize(
    ("artifacts", "environ", "namespace"),
    [
        (PULLED, {"OPENLINEAGE_NAMESPACE": "other"}, "floe.tenant-uuid-123.my-project"),
        (with_observability(PULLED, lineage_namespace="a"), {}, "floe.tenant-uuid-123.my-project"),
        (with_observability(COMPILED, lineage_namespace="acme"), {}, "acme"),
        (
            with_observability(COMPILED, lineage_namespace="acme"),
            {"OPENLINEAGE_NAMESPACE": "other"},
            "acme",
        ),
        (with_observability(COMPILED, lineage_namespace=None), {}, "nyc-flights"),
        (
            with_observability(COMPILED, lineage_namespace=None),
            {"OPENLINEAGE_NAMESPACE": "other"},
            "other",
        ),
    ],
)
def test_namespace_of_lineage(
    artifacts: CompiledArtifacts, environ: dict[str, str], namespace: str
) -> None:
    assert lineage_namespace(artifacts, environ) == namespace


@pytest.mark.parametrize(
    ("environ", "telemetry", "lineage"),
    [
        ({}, False, False),
        ({"FLOE_NO_TELEMETRY": "1"}, True, True),
        ({"FLOE_NO_TELEMETRY": "0"}, False, False),
        ({"OTEL_SDK_DISABLED": "TRUE"}, True, False),
        ({"OPENLINEAGE_DISABLED": "true"}, False, True),
        ({"OTEL_SDK_DISABLED": ""}, False, False),
    ],
)
def test_variables_turn_it_off(environ: dict[str, str], telemetry: bool, lineage: bool) -> None:
    assert (is_telemetry_off(environ), is_lineage_off(environ)) == (telemetry, lineage)


@pytest.mark.parametrize("before", [None, "0"])
def test_a_block_without_telemetry(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOE_NO_TELEMETRY", raising=False)
    if before is not None:
        monkeypatch.setenv("FLOE_NO_TELEMETRY", before)
    with no_telemetry_if(False):
        assert not is_telemetry_off()
    with no_telemetry_if(True):
        assert is_telemetry_off()
        assert is_lineage_off()
    assert os.environ.get("FLOE_NO_TELEMETRY") == before


WITH_SECRETS = with_observability(
    COMPILED,
    logs=True,
    otlp_headers={"authorization": {"secret_ref": "otel/token"}, "x-team": "data"},
    lineage_api_key={"secret_ref": "marquez", "key": "key"},
    lineage_properties={"acks": 1, "sasl.password": {"secret_ref": "kafka"}},
).model_copy(update={"plugins": None})


@pytest.mark.parametrize(
    ("off", "fields"),
    [
        ((), {"otlp_headers.authorization", "lineage_api_key", "lineage_properties.sasl.password"}),
        (("lineage",), {"otlp_headers.authorization"}),
        (("traces", "metrics"), {"otlp_headers.authorization", "lineage_api_key"}),
        (("traces", "metrics", "logs", "lineage"), set()),
    ],
)
def test_secrets_of_signals_that_are_on(off: tuple[str, ...], fields: set[str]) -> None:
    refs = secret_refs(with_observability(WITH_SECRETS, **dict.fromkeys(off, False)).observability)
    assert refs.keys() >= fields
    assert not fields or refs["otlp_headers.authorization"].entry == "token"


def test_a_secret_that_is_not_there_is_a_problem_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_TOKEN", "Bearer planted")
    found = resolve_secrets(WITH_SECRETS)
    assert found.values == {"otlp_headers.authorization": "Bearer planted"}
    assert found.problem_of("otlp_") is None
    assert "marquez/key" in str(found.problem_of("lineage_api_key"))
    assert "planted" not in repr(found)


@pytest.mark.parametrize(
    ("variable", "asked"),
    [
        ("FLOE_NO_TELEMETRY", set()),
        ("OTEL_SDK_DISABLED", {"lineage_api_key", "lineage_properties.sasl.password"}),
        ("OPENLINEAGE_DISABLED", {"otlp_headers.authorization"}),
    ],
)
def test_nobody_is_asked_for_the_secrets_of_what_is_switched_off(
    variable: str, asked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TOKEN", "Bearer planted")
    monkeypatch.setenv("MARQUEZ_KEY", "planted")
    monkeypatch.setenv("KAFKA", "planted")
    monkeypatch.setenv(variable, "true")
    found = resolve_secrets(WITH_SECRETS)
    assert (found.values.keys(), found.problems) == (asked, {})


@pytest.mark.parametrize(
    ("url", "is_one", "is_plain"),
    [
        ("http://otel:4317", True, True),
        ("https://otel:4317/base", True, False),
        ("http://localhost:4317", True, False),
        ("http://127.0.0.1:4317", True, False),
        ("http://[::1]:4317", True, False),
        ("otel:4317", False, False),
        ("ftp://otel", False, False),
        ("http://", False, True),
        ("http://otel:port", False, True),
        ("http://otel?x=1", False, True),
    ],
)
def test_urls(url: str, is_one: bool, is_plain: bool) -> None:
    assert (is_url(url), is_unencrypted(url)) == (is_one, is_plain)


def test_the_fields_of_the_contract_survive_a_round_trip() -> None:
    dumped = json.loads(WITH_SECRETS.model_dump_json())
    assert CompiledArtifacts.model_validate(dumped) == WITH_SECRETS
