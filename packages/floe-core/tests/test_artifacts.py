"""The contract: each released version is read, and what is written follows its schema."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from floe_core.artifacts import (
    NewerArtifactsWarning,
    dump_artifacts,
    load_artifacts,
    parse_artifacts,
)
from floe_core.errors import ArtifactsError
from floe_core.schemas.artifacts import ARTIFACTS_VERSION
from floe_core.schemas.json_schema import export_schema

CONTRACT = Path(__file__).parent / "contract"
VERSIONS = sorted(path.name for path in CONTRACT.iterdir())


def sample(version: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CONTRACT / version / "sample.json").read_text())
    return document


def parse(document: object) -> Any:
    return parse_artifacts(json.dumps(document).encode(), origin="artifacts.json")


@pytest.mark.parametrize("version", VERSIONS)
def test_released_version_round_trips(version: str) -> None:
    artifacts = load_artifacts(CONTRACT / version / "sample.json")
    assert json.loads(dump_artifacts(artifacts)) == sample(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_sample_follows_its_schema(version: str) -> None:
    schema = json.loads((CONTRACT / version / "schema.json").read_text())
    jsonschema.validate(sample(version), schema)


def test_a_reader_of_1_0_can_read_what_is_written_today() -> None:
    schema = json.loads((CONTRACT / "1.0.0" / "schema.json").read_text())
    jsonschema.validate(sample(ARTIFACTS_VERSION), schema)


def test_the_written_version_is_released_with_its_schema() -> None:
    kept = (CONTRACT / ARTIFACTS_VERSION / "schema.json").read_text()
    assert kept == export_schema("artifacts"), "a change of the contract needs a new version"


def test_sample_of_1_0_is_for_the_environment_that_it_names() -> None:
    artifacts = load_artifacts(CONTRACT / "1.0.0" / "sample.json")
    assert (artifacts.environment, artifacts.product) == ("preview", "my-project")
    assert not artifacts.is_production


def test_newer_minor_is_read_with_one_warning() -> None:
    document = sample("1.1.0") | {"version": "1.9.0", "new_section": {"a": 1}}
    with pytest.warns(NewerArtifactsWarning, match="1.9.0, newer than 1.1.0") as caught:
        artifacts = parse(document)
    assert len(caught) == 1
    assert artifacts.version == "1.9.0"


def test_same_minor_is_read_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(sample("1.1.0"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"version": "2.0.0"},
            "artifacts.json is of artifacts version 2.0.0; this floe reads 1.x (up to 1.1.0)",
        ),
        ({}, "artifacts.json has no `version`, so it is not floe's artifacts"),
        ([], "artifacts.json has no `version`, so it is not floe's artifacts"),
        ({"version": "x"}, "artifacts.json has no `version`, so it is not floe's artifacts"),
        (
            {"version": "1.0.0"},
            "artifacts.json does not follow the artifacts contract: `metadata`: Field required",
        ),
    ],
)
def test_refusal_names_the_reason(document: object, message: str) -> None:
    with pytest.raises(ArtifactsError) as refused:
        parse(document)
    assert refused.value.message == message
    assert refused.value.help


def test_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ArtifactsError) as refused:
        load_artifacts(tmp_path / "artifacts.json")
    assert refused.value.help == "Run `floe compile` first."


def test_truncated_file_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "artifacts.json"
    path.write_bytes((CONTRACT / "1.0.0" / "sample.json").read_bytes()[:200])
    with pytest.raises(ArtifactsError, match="is not JSON"):
        load_artifacts(path)
