"""The demo's floe.yaml, byte for byte the same, compiles in every environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from floe_core import compile_pipeline

DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    ignored = shutil.ignore_patterns(".floe", "data")
    shutil.copytree(DEMO, folder, ignore=ignored)
    return folder


@pytest.mark.parametrize(
    ("environment", "is_production"), [("local", False), ("dev", False), ("prod", True)]
)
def test_compiles(environment: str, is_production: bool, demo: Path) -> None:
    artifacts = compile_pipeline(demo / "flights/floe.yaml", environment=environment).artifacts
    assert (artifacts.environment, artifacts.is_production) == (environment, is_production)
    assert [transform.name for transform in artifacts.transforms] == ["bronze", "silver", "gold"]
    assert all(transform.nodes for transform in artifacts.transforms)
