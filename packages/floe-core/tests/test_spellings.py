"""Each spelling means the same as the canonical one, and shows what the user wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from floe_core.diagnostics import Diagnostic, Report
from floe_core.schemas.spellings import normalise_floe, normalise_platform
from floe_core.source import Source, read_source

NORMALISE = {"floe": normalise_floe, "platform": normalise_platform}


def normalised(tmp_path: Path, file: str, content: str) -> tuple[Source, list[Diagnostic]]:
    path = tmp_path / f"{file}.yaml"
    path.write_text(content)
    report = Report()
    source = read_source(path, report)
    NORMALISE[file](source, report)
    return source, report.sorted()


def data(tmp_path: Path, file: str, content: str) -> Any:
    source, diagnostics = normalised(tmp_path, file, content)
    assert diagnostics == []
    return source.data


@pytest.mark.parametrize(
    ("file", "spelling", "canonical"),
    [
        (
            "floe",
            "{storage: lake, catalog: main, compute: fast}",
            "{profiles: {storage: lake, catalog: main, compute: fast}}",
        ),
        ("floe", "{compute: a, profiles: {storage: b}}", "{profiles: {storage: b, compute: a}}"),
        (
            "floe",
            "{apiVersion: floe.dev/v1, kind: FloeSpec, metadata: {name: a, version: 1.0.0, "
            "description: b, owner: c, labels: {d: e}}}",
            "{name: a, version: 1.0.0, description: b, owner: c, labels: {d: e}}",
        ),
        (
            "floe",
            "{metadata: {name: a}, version: 1.0.0}",
            "{name: a, version: 1.0.0}",
        ),
        ("floe", "{metadata: , name: a}", "{name: a}"),
        (
            "floe",
            "{schedule: {cron: '@daily', timezone: UTC, enabled: false}}",
            "{schedules: [{name: default, cron: '@daily', timezone: UTC, enabled: false}]}",
        ),
        (
            "floe",
            "{schedule: {name: daily, cron: '@daily'}}",
            "{schedules: [{name: daily, cron: '@daily'}]}",
        ),
        (
            "floe",
            "{transforms: [{name: a, dependsOn: [b], tier: gold}]}",
            "{transforms: [{name: a, depends_on: [b], layer: gold}]}",
        ),
        (
            "floe",
            "{observability: {traces: true, metrics: false, lineage: true, attributes: {a: b}}}",
            "{observability: {tracing: {enabled: true}, metrics: {enabled: false}, "
            "lineage: {enabled: true}, attributes: {a: b}}}",
        ),
        (
            "floe",
            "{consumption: {enabled: true, port: 4000, api_secret_ref: a, "
            "pre_aggregations: {refresh_schedule: '@daily'}, security: {row_level: true}}}",
            "{consumption: {enabled: true, cube: {port: 4000, api_secret_ref: a, "
            "pre_aggregations: {refresh_schedule: '@daily'}, security: {row_level: true}}}}",
        ),
        (
            "platform",
            "{apiVersion: floe.dev/v1, kind: Manifest, metadata: {name: a, version: 1.1.0}}",
            "{name: a, version: 1.1.0}",
        ),
        (
            "platform",
            "{plugins: {compute: {type: duckdb, config: {threads: 2}}}}",
            "{compute: {default: {type: duckdb, properties: {threads: 2}}}}",
        ),
        (
            "platform",
            "{plugins: {compute: {type: duckdb}, orchestrator: {type: dagster}}}",
            "{compute: {default: {type: duckdb}}, plugins: {orchestrator: {type: dagster}}}",
        ),
        (
            "platform",
            "{observability: {traces: true, metrics: true, lineage: false, "
            "otlp_endpoint: 'http://a', lineage_endpoint: 'http://b'}}",
            "{observability: {tracing: {enabled: true, endpoint: 'http://a'}, "
            "metrics: {enabled: true}, lineage: {enabled: false, endpoint: 'http://b'}}}",
        ),
        (
            "platform",
            "{observability: {otlp_endpoint: 'http://a'}}",
            "{observability: {tracing: {endpoint: 'http://a'}}}",
        ),
    ],
)
def test_spelling_equals_the_canonical_form(
    file: str, spelling: str, canonical: str, tmp_path: Path
) -> None:
    canonical_data = data(tmp_path, file, canonical)
    assert data(tmp_path, file, spelling) == canonical_data
    assert read_source(tmp_path / f"{file}.yaml", Report()).data is not None


@pytest.mark.parametrize(
    ("file", "content", "path", "written"),
    [
        ("floe", "compute: a", ("profiles", "compute"), ("compute",)),
        ("floe", "metadata: {name: a}", ("name",), ("metadata", "name")),
        ("floe", "schedule: {cron: a}", ("schedules", 0, "cron"), ("schedule", "cron")),
        (
            "floe",
            "transforms: [{dependsOn: [a]}]",
            ("transforms", 0, "depends_on", 0),
            ("transforms", 0, "dependsOn", 0),
        ),
        (
            "platform",
            "plugins: {compute: {config: {a: 1}}}",
            ("compute", "default", "properties", "a"),
            ("plugins", "compute", "config", "a"),
        ),
        (
            "platform",
            "observability: {otlp_endpoint: a}",
            ("observability", "tracing", "endpoint"),
            ("observability", "otlp_endpoint"),
        ),
    ],
)
def test_place_shows_what_is_written(
    file: str,
    content: str,
    path: tuple[str | int, ...],
    written: tuple[str | int, ...],
    tmp_path: Path,
) -> None:
    assert normalised(tmp_path, file, content)[0].places[path].written == written


@pytest.mark.parametrize(
    ("file", "content", "field", "other"),
    [
        ("floe", "{compute: a, profiles: {compute: b}}", "compute", "profiles.compute"),
        ("floe", "{schedule: {cron: a}, schedules: []}", "schedule", "schedules"),
        ("floe", "{name: a, metadata: {name: b}}", "metadata.name", "name"),
        (
            "floe",
            "{transforms: [{project: a, path: b}]}",
            "transforms[0].path",
            "transforms[0].project",
        ),
        (
            "floe",
            "{transforms: [{layer: a, tier: b}]}",
            "transforms[0].tier",
            "transforms[0].layer",
        ),
        (
            "platform",
            "{plugins: {compute: {type: a}}, compute: {default: {type: b}}}",
            "plugins.compute",
            "compute.default",
        ),
        (
            "platform",
            "{observability: {traces: true, tracing: {enabled: true}}}",
            "observability.traces",
            "observability.tracing.enabled",
        ),
    ],
)
def test_two_spellings_of_the_same_are_refused(
    file: str, content: str, field: str, other: str, tmp_path: Path
) -> None:
    (diagnostic,) = normalised(tmp_path, file, content)[1]
    assert (diagnostic.code, diagnostic.field) == ("FLOE-S006", field)
    assert f"`{other}`" in diagnostic.message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("floe", "{profiles: [a], compute: b, schedule: [c], transforms: d, metadata: {}}"),
        ("floe", "{transforms: [a, [b], null], observability: c, consumption: [d]}"),
        ("platform", "{plugins: a, observability: [b], compute: c}"),
        ("platform", "{plugins: {compute: a}, compute: [b], storage: {type: {a: b}}}"),
    ],
)
def test_values_of_the_wrong_type_pass_through(file: str, content: str, tmp_path: Path) -> None:
    assert normalised(tmp_path, file, content)[0].data is not None
