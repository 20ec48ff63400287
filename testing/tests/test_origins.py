"""Every value of the artifacts has an origin, and what is said to stand in a file stands there.

The canary files fill every leaf of both specs, so their artifacts fill every section.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from floe_core.compiler.build import Built
from floe_core.compiler.build import build as stage_build
from floe_core.compiler.enforce import enforce
from floe_core.compiler.inspect import Inspected
from floe_core.compiler.load import load
from floe_core.compiler.origins import trace
from floe_core.compiler.pipeline import IN_MEMORY, run_stages
from floe_core.compiler.request import CompileRequest
from floe_core.compiler.resolve import Resolved, resolve
from floe_core.diagnostics import Report
from floe_core.provenance import Leaf, leaves

CANARY = Path(__file__).parent / "canary"
SCHEMA = """
models:
  - name: a
    columns:
      - name: email
        config: {meta: {floe: {classification: pii, pii_type: email, sensitivity: high}}}
        data_tests: [not_null]
"""


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canary")
    for name in ("floe.yaml", "platform.yaml"):
        shutil.copy(CANARY / name, folder)
    for project in ("dbt", "other_dbt"):
        models = folder / project / "models"
        models.mkdir(parents=True)
        config = f"{{+schema: {project}, +tags: [canary]}}"
        text = f"name: {project}_models\nmodels: {{{project}_models: {config}}}\n"
        (models.parent / "dbt_project.yml").write_text(text)
        (models / "a.sql").write_text("select 1 as email")
        (models / "b.sql").write_text("select 2 as x")
    (folder / "canary_module.py").write_text("def build(context): ...")
    (folder / "dbt" / "models" / "schema.yml").write_text(SCHEMA)
    return folder


def build(folder: Path, **options: Any) -> Built:
    request = CompileRequest(folder / "floe.yaml", **{"environ": {}, **options})
    outcome = run_stages(IN_MEMORY, request)
    assert [d.render() for d in outcome.diagnostics if d.is_error] == []
    built: Built = outcome.value
    return built


@pytest.fixture(scope="module")
def traced(canary: Path) -> tuple[Leaf, ...]:
    return trace(build(canary, vars={"canary_var": "canary-value"}))


def test_every_leaf_has_an_origin(canary: Path, traced: Sequence[Leaf]) -> None:
    artifacts = build(canary, vars={"canary_var": "canary-value"}).artifacts
    document = artifacts.model_dump(mode="json", exclude_none=True)
    valued = [leaf.path for leaf in traced if leaf.origin.kind != "unset"]
    assert valued == [path for path, _ in leaves(document)]
    absent = {name for name in type(artifacts).model_fields if name not in document}
    assert absent == {"environment_context", "dbt_manifest_path", "dbt_project_path"}


def written_at(leaf: Leaf) -> Any:
    """What stands at the place of a leaf: the stretch of the line that is its value."""
    origin = leaf.origin
    assert origin.file is not None
    assert origin.position is not None
    line = origin.file.read_text().splitlines()[origin.position.line - 1]
    text = line[origin.position.column - 1 : origin.position.end_column - 1]
    return text.strip("\"'")


def test_what_stands_in_a_file_stands_there(traced: Sequence[Leaf]) -> None:
    in_files = [leaf for leaf in traced if leaf.origin.position is not None]
    for leaf in in_files:
        value = leaf.value if isinstance(leaf.value, str) else json.dumps(leaf.value)
        assert written_at(leaf) == value, leaf
    assert len(in_files) > 100


def test_all_that_both_files_say_is_found(traced: Sequence[Leaf]) -> None:
    """The values that only a file can have brought in are said to come from one."""
    unmistakable = [leaf for leaf in traced if "canary" in str(leaf.value).lower()]
    elsewhere = [leaf for leaf in unmistakable if leaf.origin.position is None]
    assert [leaf.field for leaf in elsewhere if leaf.path[-1] != "dbt_manifest_path"] == [
        "transforms[3].path",
        "dbt_vars.canary_var",
    ]


@pytest.mark.parametrize(
    ("field", "kind", "place"),
    [
        ("metadata.compiled_at", "computed", None),
        ("compute.properties.threads", "file", "platform.yaml:29:49"),
        ("transforms[0].type", "file", "floe.yaml:10:11"),
        ("transforms[1].type", "default", None),
        ("transforms[0].nodes[0]", "dbt", "dbt/models/a.sql"),
        ("transforms[2].dbt_project_path", "file", "floe.yaml:21:25"),
        ("transforms[2].target", "environment", None),
        ("transforms[0].dbt_manifest_path", "computed", None),
        ("observability.traces", "file", "platform.yaml:44:22"),
        ("dbt_vars.canary_var", "option", None),
        ("identity.environment", "environment", "platform.yaml:3:14"),
        ("identity.environment_category", "file", "platform.yaml:4:23"),
        ("governance.policy_enforcement_level", "policy", "floe.yaml:38:29"),
        ("quality_config.minimum_test_coverage", "policy", "floe.yaml:42:42"),
        ("column_classifications.a.email.pii_type", "dbt", "dbt/models/schema.yml:6:63"),
        ("enforcement_result.level", "policy", "floe.yaml:38:29"),
        ("enforcement_result.models_checked", "computed", None),
        ("plugins.secret_backends[0]", "file", "platform.yaml:60:30"),
        ("orchestration.sensors[2].status", "file", "floe.yaml:36:74"),
        ("control_plane.api_url", "file", "platform.yaml:78:12"),
    ],
)
def test_origin(
    field: str,
    kind: str,
    place: str | None,
    canary: Path,
    traced: Sequence[Leaf],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(canary)
    origin = next(leaf.origin for leaf in traced if leaf.field == field)
    assert (origin.kind, origin.place()) == (kind, place)


def inspect_nothing(resolved: Resolved, report: Report) -> Inspected:
    return Inspected(resolved, (), {}, ())


FLOE = 'name: shop\nversion: "1.0.0"\ntransforms: [{name: shop, path: dbt}]\n'
LAKE = "storage: {default: {type: local, path: lake}}\ncompute: {default: {type: duckdb}}\n"


@pytest.mark.parametrize(
    ("floe", "platform", "options", "field", "kind", "place", "reason"),
    [
        ("", "", {}, "compute.target", "built-in", None, "built-in platform"),
        ("", "", {}, "identity.environment", "environment", None, "default"),
        ("", "", {"environment": "local"}, "identity.environment", "environment", None, "`--env`"),
        (
            "",
            LAKE,
            {"environ": {"FLOE_ENV": "dev"}},
            "identity.environment",
            "environment",
            None,
            "FLOE_ENV",
        ),
        (
            "",
            "",
            {"environ": {"SOURCE_DATE_EPOCH": "0"}},
            "metadata.compiled_at",
            "environment",
            None,
            "SOURCE_DATE_EPOCH",
        ),
        (
            "",
            LAKE,
            {"environment": "prod"},
            "identity.environment_category",
            "environment",
            None,
            "`prod`",
        ),
        (
            "",
            LAKE,
            {},
            "profiles.storage.profile.path",
            "file",
            "conf/platform.yaml:1:40",
            "written as `lake`",
        ),
        (
            "schedule: {cron: '@daily'}\n",
            "",
            {},
            "orchestration.schedules[0].name",
            "default",
            None,
            "`schedules[0].name`",
        ),
        (
            "schedule: {cron: '@daily'}\n",
            "",
            {},
            "orchestration.schedules[0].cron",
            "file",
            "floe.yaml:4:18",
            "",
        ),
        (
            "",
            LAKE + "security: {secret_backends: [file, env]}\n",
            {},
            "plugins.secret_backends[1]",
            "file",
            "conf/platform.yaml:3:36",
            "",
        ),
        (
            "observability: {tracing: {enabled: false}}\n",
            LAKE + "observability: {traces: true}\n",
            {},
            "observability.traces",
            "file",
            "floe.yaml:4:36",
            "",
        ),
        (
            "control_plane: {api_url: 'https://a.test'}\n",
            LAKE,
            {},
            "control_plane.api_url",
            "file",
            "floe.yaml:4:26",
            "",
        ),
        (
            "governance: {audit_logging: enabled}\n",
            LAKE + "governance: {audit_logging: enabled}\n",
            {},
            "governance.audit_logging",
            "policy",
            "conf/platform.yaml:3:29",
            "both files say the same",
        ),
        (
            "governance: {data_retention_days: 9}\n",
            LAKE + "governance: {data_retention_days: 90}\n",
            {},
            "governance.data_retention_days",
            "policy",
            "floe.yaml:4:35",
            "stricter than platform.yaml",
        ),
        ("", "", {}, "transforms[0].layer", "unset", None, "neither file"),
        ("", "", {}, "transforms[0].models[0]", "file", "floe.yaml:3:33", ""),
        ("", "", {}, "transforms[0].dbt_project_path", "computed", None, "the dbt project that is"),
    ],
)
def test_origin_of_what_is_decided(
    floe: str,
    platform: str,
    options: dict[str, Any],
    field: str,
    kind: str,
    place: str | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    is_narrowed = "models" in field or "project" in field
    text = FLOE.replace("dbt", "models") if is_narrowed else FLOE
    (tmp_path / "floe.yaml").write_text(text + floe)
    project = tmp_path if is_narrowed else tmp_path / "dbt"
    (project / "models").mkdir(parents=True)
    (project / "models" / "a.sql").write_text("select 1 as x")
    (project / "dbt_project.yml").write_text("name: shop_models\n")
    (tmp_path / ".git").mkdir()
    file = None
    if platform:
        file = tmp_path / "conf" / "platform.yaml"
        file.parent.mkdir()
        file.write_text(platform)
    request = CompileRequest(
        tmp_path / "floe.yaml", **{"environ": {}, "platform_file": file, **options}
    )
    outcome = run_stages((load, resolve, inspect_nothing, enforce, stage_build), request)
    assert [d.render() for d in outcome.diagnostics if d.is_error] == []
    origin = next(leaf.origin for leaf in trace(outcome.value) if leaf.field == field)
    assert (origin.kind, origin.place()) == (kind, place)
    assert reason in origin.reason
