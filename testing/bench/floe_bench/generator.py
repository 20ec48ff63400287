"""Writes a data product of a given size: a dbt project, floe.yaml, and what peers read beside it.

The same size and seed give the same bytes, on every Python and machine.
"""

from __future__ import annotations

import csv
import io
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from floe_bench import models
from floe_bench.models import DOMAINS, ENTITIES, Model

TEMPLATE = Path(__file__).with_name("template")

_RAW_COLUMNS = (
    *("id", "account_id", "email", "status", "country_code", "amount_cents"),
    *("created_at", "updated_at"),
)
_ROWS = 60
_ACCOUNTS = 30
_STATUSES = ("new", "active", "paused", "done", "cancelled")
_COUNTRIES = ("AT", "BR", "CA", "DE", "FR", "IN", "JP", "KE")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of each a product has."""

    staging: int
    intermediate: int
    marts: int
    domains: int

    @classmethod
    def of(cls, size: int) -> Shape:
        """Split a number of models into layers, and into domains of some fifty models each."""
        staging, intermediate = size * 40 // 100, size * 25 // 100
        return cls(staging, intermediate, size - staging - intermediate, max(2, size // 50))


class Draw:
    """Random choices that are the same on every Python: only `random()` is promised to be."""

    def __init__(self, seed: int, size: int) -> None:
        self._random = random.Random(f"{seed}/{size}")

    def below(self, limit: int) -> int:
        """Draw a whole number from 0, below the limit."""
        return int(self._random.random() * limit)

    def one(self, choices: tuple[str, ...]) -> str:
        """Draw one of the choices."""
        return choices[self.below(len(choices))]


def generate(folder: Path, size: int, seed: int = 1) -> None:
    """Write a product of `size` models into a folder that does not exist yet.

    Raises:
        FileExistsError: if the folder exists.
        ValueError: if the size is too small for three layers in two domains.
    """
    if size < 10:
        raise ValueError(f"a product has 10 models or more, not {size}")
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    draw, shape = Draw(seed, size), Shape.of(size)
    for path, text in _files(draw, shape):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")


def _files(draw: Draw, shape: Shape) -> Iterator[tuple[str, str]]:
    for entity in ENTITIES:
        yield f"raw/{entity}.csv", _raw(entity, draw)
    domains = [_domain(number) for number in range(shape.domains)]
    staging = models.staging(shape.staging, domains)
    intermediate = models.intermediate(shape.intermediate, domains, staging, draw.below)
    marts = models.marts(shape.marts, domains, intermediate, draw.below)
    for model in (*staging, *intermediate, *marts):
        yield f"dbt/models/{model.folder}/{model.name}.sql", model.sql
        for name, sql in model.singular_tests:
            yield f"dbt/tests/{model.domain}/{name}.sql", sql
    yield from _properties((*staging, *intermediate, *marts))
    yield from _sources(staging)
    yield "dbt/models/marts/exposures.yml", _yaml({"exposures": list(_exposures(marts))})


def _domain(number: int) -> str:
    round_, place = divmod(number, len(DOMAINS))
    return DOMAINS[place] if round_ == 0 else f"{DOMAINS[place]}_{round_ + 1}"


def _raw(entity: str, draw: Draw) -> str:
    """Sixty rows as a source system would export them; keys are unique, text is untidy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_RAW_COLUMNS)
    for number in range(1, _ROWS + 1):
        account = 1 + draw.below(_ACCOUNTS)
        day, hour = 1 + draw.below(28), draw.below(24)
        email = f" Person{account}@Example.com" if number % 7 == 0 else f"p{account}@example.com"
        status, country = draw.one(_STATUSES), _COUNTRIES[account % len(_COUNTRIES)]
        created, updated = f"2024-02-{day:02} {hour:02}:00:00", f"2024-03-{day:02} {hour:02}:30:00"
        cents = draw.below(500_000)
        writer.writerow((number, account, email, status, country, cents, created, updated))
    return text.getvalue()


def _properties(all_models: tuple[Model, ...]) -> Iterator[tuple[str, str]]:
    """One YAML file for each folder of models."""
    folders: dict[str, list[Model]] = defaultdict(list)
    for model in all_models:
        folders[model.folder].append(model)
    for folder, inside in folders.items():
        name = folder.replace("/", "_")
        text = _yaml({"version": 2, "models": [model.properties for model in inside]})
        yield f"dbt/models/{folder}/_{name}.yml", text


def _sources(staging: tuple[Model, ...]) -> Iterator[tuple[str, str]]:
    by_domain: dict[str, list[Model]] = defaultdict(list)
    for model in staging:
        by_domain[model.domain].append(model)
    for domain, inside in by_domain.items():
        source = {
            "name": domain,
            "description": f"Exports of the {domain} system, one file a day",
            "config": {
                "meta": {
                    "external_location": "{{ env_var('FLOE_PROJECT_DIR') }}/raw/{identifier}.csv"
                }
            },
            "tables": [models.source_table(model) for model in inside],
        }
        path = f"dbt/models/staging/{domain}/_{domain}_sources.yml"
        yield path, _yaml({"version": 2, "sources": [source]})


def _exposures(marts: tuple[Model, ...]) -> Iterator[dict[str, Any]]:
    for number, mart in enumerate(marts[:: models.MARTS_PER_EXPOSURE], 1):
        yield {
            "name": f"dashboard_{number}",
            "label": f"Dashboard {number}",
            "type": "dashboard",
            "maturity": "high",
            "description": f"What the {mart.domain} team looks at on Mondays",
            "depends_on": [f"ref('{mart.name}')"],
            "owner": {"name": mart.domain, "email": f"{mart.domain}@example.com"},
        }


def _yaml(document: Mapping[str, Any]) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, width=100)
    return text


if __name__ == "__main__":
    generate(Path(sys.argv[1]), int(sys.argv[2]))
