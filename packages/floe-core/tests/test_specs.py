"""What users and the source documents write loads as written."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from floe_core import FloeSpec, PlatformSpec
from floe_core.compiler.validation import validate
from floe_core.diagnostics import Report
from floe_core.schemas.spellings import normalise_floe, normalise_platform
from floe_core.secret_scan import refuse_literal_secrets
from floe_core.source import read_source

SEEDS = Path(__file__).parent / "seeds"


def load(path: Path) -> BaseModel | None:
    report = Report()
    source = read_source(path, report)
    refuse_literal_secrets(source, report)
    is_floe = path.stem.endswith("_floe")
    (normalise_floe if is_floe else normalise_platform)(source, report)
    spec = validate(FloeSpec if is_floe else PlatformSpec, source, report)
    assert [diagnostic.render() for diagnostic in report.sorted()] == []
    return spec


@pytest.mark.parametrize("path", sorted(SEEDS.iterdir()), ids=lambda path: path.stem)
def test_seed_loads_as_written(path: Path) -> None:
    assert load(path) is not None


def test_seed_002_says_what_it_says() -> None:
    floe = load(SEEDS / "002_floe.yaml")
    assert isinstance(floe, FloeSpec)
    assert [t.name for t in floe.transforms] == ["raw_to_bronze", "bronze_to_silver"]
    assert floe.schedules[0].transforms == ("raw_to_bronze", "bronze_to_silver")
    platform = load(SEEDS / "002_platform.yaml")
    assert isinstance(platform, PlatformSpec)
    assert platform.observability is not None
    assert platform.observability.tracing is not None
    assert platform.observability.tracing.endpoint == "https://otel-collector.company.com:4317"


def test_seed_001_profiles_at_top_level() -> None:
    floe = load(SEEDS / "001_1.2_floe.yaml")
    assert isinstance(floe, FloeSpec)
    assert floe.profiles.model_dump() == {
        "storage": "default",
        "catalog": "default",
        "compute": "default",
    }


@pytest.mark.parametrize("model", [FloeSpec, PlatformSpec])
def test_specs_are_frozen_and_closed(model: type[BaseModel]) -> None:
    minimal = {"name": "shop", "version": "1.0.0"}
    if model is FloeSpec:
        minimal["transforms"] = [{"project": "dbt"}]  # type: ignore[assignment]
    spec = model.model_validate(minimal)
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({**minimal, "nonsense": 1})


def test_literal_password_is_refused_from_python_too() -> None:
    with pytest.raises(ValidationError):
        PlatformSpec.model_validate(
            {
                "compute": {
                    "default": {
                        "type": "postgres",
                        "credentials": {"mode": "static", "username": "me", "password": "hunter2"},
                    }
                }
            }
        )
