"""A compiled product of two dbt projects, once a session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from floe_core.artifacts import load_artifacts
from floe_core.compiler.pipeline import compile_pipeline
from floe_core.index import ProjectIndex
from floe_core.index_file import load_index
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster.connection import compute_target, product_tables
from floe_dagster.execute import execute
from floe_dagster.instance import open_instance
from floe_dagster.units import Unit, resolve_units

PRODUCTS = Path(__file__).parent / "products"


@dataclass(frozen=True)
class Product:
    """A product on disk, compiled for environment local."""

    root: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def artifacts(self) -> CompiledArtifacts:
        return load_artifacts(self.layout.artifacts)

    @property
    def indexes(self) -> Sequence[ProjectIndex]:
        return load_index(self.layout.index("local").read_bytes())

    @property
    def units(self) -> dict[str, Unit]:
        return {unit.name: unit for unit in resolve_units(self.artifacts, self.root)}

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def query(self, sql: str) -> Any:
        """The one value that a query of the local environment gives."""
        target, compute = compute_target(self.artifacts)
        lake = product_tables(self.artifacts, self.root)
        [[value]] = target.query(compute, "local", self.root, {}, sql, None, lake).rows
        return value

    def compile(self) -> CompiledArtifacts:
        return compile_pipeline(self.root / "floe.yaml").artifacts


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOE_ARTIFACTS", "FLOE_PROJECT_DIR", "FLOE_ENV", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def empty(tmp_path: Path) -> Product:
    """A product without files, to be written by the test."""
    return Product(tmp_path)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A product of two dbt projects with a bit of everything, as compiled."""
    return _compiled("shop", tmp_path_factory)


@pytest.fixture(scope="session")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A product of seven nodes, as compiled."""
    return _compiled("small", tmp_path_factory)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The same, after a run."""
    return _compiled("small", tmp_path_factory, is_run=True)


@pytest.fixture(scope="session")
def events_once(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A product with microbatch models, jobs and sensors, as compiled."""
    return _compiled("events", tmp_path_factory)


@pytest.fixture(scope="session")
def slow_once(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The same, with a model that runs for hours and one that depends on it."""
    return _compiled("small", tmp_path_factory, _SLOW)


@pytest.fixture
def product(shop: Product) -> Product:
    """The first product, for a test that changes or runs it."""
    return _restored(shop)


@pytest.fixture
def small(small_once: Product) -> Product:
    """The second product, for a test that changes or runs it."""
    return _restored(small_once)


@pytest.fixture
def built(built_once: Product) -> Product:
    """The second product after a run, for a test that changes or runs it."""
    return _restored(built_once)


@pytest.fixture
def events(events_once: Product) -> Product:
    """The fourth product, for a test that changes or runs it."""
    return _restored(events_once)


@pytest.fixture
def slow(slow_once: Product) -> Product:
    """The third product, for a test that changes or runs it."""
    return _restored(slow_once)


_SLOW = {
    "dbt/models/slow.sql": """
        {{ config(materialized='table') }}
        -- depends_on: {{ ref('base') }}
        select sum(a.range * b.range) as s from range(1000000) a, range(10000000) b
    """,
    "dbt/models/slower.sql": "select * from {{ ref('slow') }}",
}


def _compiled(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    files: Mapping[str, str] | None = None,
    *,
    is_run: bool = False,
) -> Product:
    product = Product(tmp_path_factory.mktemp(name) / name)
    shutil.copytree(PRODUCTS / name, product.root)
    for path, text in (files or {}).items():
        product.write(path, text)
    product.compile()
    if is_run:
        execute(product.artifacts, root=product.root)
    else:
        open_instance(product.layout).dispose()
    shutil.copytree(product.root, _pristine(product))
    return product


def _restored(product: Product) -> Product:
    """Undo what tests did; the path stays, so that dbt need not parse everything again."""
    shutil.rmtree(product.root)
    shutil.copytree(_pristine(product), product.root)
    return product


def _pristine(product: Product) -> Path:
    return product.root.with_suffix(".pristine")
