"""The states of a product that commands are measured in; making them is not measured."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from floe_bench import sink

_MODEL = "dbt/models/staging/sales/stg_sales__orders.sql"
_REVISION = re.compile(r"select \*(?:, (\d+) as revision)? from tidied")

_BROKEN_FLOE = """\
name: Bench Product
version: "1.0"
transforms:
  - {name: staging, project: dbt, modelz: [{path: models/staging}]}
  - {name: marts, project: dbt, select: "tag:marts", depends_on: [stagign]}
schedules:
  - {name: daily, cron: "0 26 * * *", timezone: Europe/Berlin, transforms: [marts]}
"""
_OBSERVED = """\
version: "1.1.0"
name: bench
compute:
  default: {{type: duckdb, properties: {{threads: 4}}}}
observability:
  tracing: {{endpoint: "{url}", protocol: http}}
  metrics: {{enabled: true}}
  lineage: {{endpoint: "{url}"}}
"""
_BROKEN_DG = """\
type: dagster_dbt.DbtProjectComponent

attributes:
  project: "{{ context.project_root }}/../dbt"
  selection: "tag:marts"
  exclude: [staging]
"""


def as_is(product: Path) -> None:
    """Leave the product as the command before left it."""


def make_cold(product: Path) -> None:
    """Remove what floe, dbt and Dagster generated."""
    for name in (".floe", "dbt/target", "dbt/logs"):
        shutil.rmtree(product / name, ignore_errors=True)


def touch_a_model(product: Path) -> None:
    """Change one model's SQL to what it never was before."""
    path = product / _MODEL
    text, count = _REVISION.subn(
        lambda found: f"select *, {int(found[1] or 0) + 1} as revision from tidied",
        path.read_text(encoding="utf-8"),
    )
    assert count == 1, f"{path} does not end as generated"
    path.write_text(text, encoding="utf-8")


def observe(product: Path) -> None:
    """Send traces, metrics and lineage to a server of the benchmark's."""
    path = product / "platform.yaml"
    text = _OBSERVED.format(url=sink.url())
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def break_floe(product: Path) -> None:
    """Make several mistakes in floe.yaml."""
    (product / "floe.yaml").write_text(_BROKEN_FLOE, encoding="utf-8")


def break_dg(product: Path) -> None:
    """Make several mistakes in the YAML of dg's component."""
    path = product / "dg/warehouse/defs/models/defs.yaml"
    path.write_text(_BROKEN_DG, encoding="utf-8")


def remove(folder: str, product: Path) -> None:
    """Remove what a command wrote before."""
    shutil.rmtree(product / folder, ignore_errors=True)


def restore(folder: str, product: Path) -> None:
    """Bring a folder back to what the setup left.

    Files other than databases are linked: Iceberg's never change.
    """
    kept = product / f"{folder}.kept"
    if not kept.exists():
        (product / folder).rename(kept)
    remove(folder, product)
    shutil.copytree(kept, product / folder, copy_function=_copy)


def _copy(source: str, target: str) -> None:
    if source.endswith(".db"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)
