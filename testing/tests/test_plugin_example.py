"""A distribution of a third party, in use: its transform, engine, catalog, exporter and secrets."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from floe_core import plugins
from floe_core.artifacts import load_artifacts
from floe_core.otel import setup
from floe_core.schemas.platform import CatalogProfile
from floe_core.schemas.secret import SecretRef
from floe_testing.canaries import traces
from floe_testing.cli import run_floe

EXAMPLE = Path(__file__).parents[1] / "floe-plugin-example"
CANARY = "c4n4ry-92d1"

PRODUCT = {
    "floe.yaml": """
name: atlas
version: "1.0.0"
transforms:
  - {name: cities, type: csv, path: in/cities.csv, description: Cities, tags: [raw]}
  - {name: marts, project: dbt, depends_on: [cities]}
""",
    "platform.yaml": """
compute:
  default:
    type: duckdb_folder
    properties: {folder: tables, token: {secret_ref: atlas, key: token}}
security: {secret_backends: [env, lines]}
""",
    "in/cities.csv": "name,people\nOslo,700000\nBergen,290000\n",
    "dbt/dbt_project.yml": "{name: atlas_dbt, version: '1.0', config-version: 2}",
    "dbt/models/largest.sql": "select max(people) as people from {{ source('in', 'cities') }}",
    "dbt/models/sources.yml": """
sources:
  - name: in
    schema: main
    tables: [{name: cities, config: {meta: {dagster: {asset_key: [cities]}}}}]
""",
    "secrets.txt": f"atlas/token={CANARY}\n",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example as an installer leaves it: its entry points beside its modules."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / f"floe_plugin_example-{project['version']}.dist-info"
    info.mkdir(parents=True)
    name, version = project["name"], project["version"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(EXAMPLE / "src")


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "atlas"
    for path, text in PRODUCT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EXAMPLE_SECRETS", str(folder / "secrets.txt"))
    return folder


@pytest.mark.usefixtures("installed")
def test_a_product_is_built_with_plugins_alone(product: Path) -> None:
    done = run_floe("run")
    assert done.exit_code == 0, done.stderr
    assert (product / "tables" / "local.duckdb").is_file()
    found = run_floe("query", "-o", "json", "select people from largest")
    assert json.loads(found.stdout)["rows"] == [{"people": 700000}]
    cities, _ = json.loads(run_floe("list", "-o", "json").stdout)["transforms"]
    assert (cities["name"], cities["type"]) == ("cities", "csv")
    assert [node["last_rows"] for node in cities["nodes"]] == [2]
    assert traces({"the token": CANARY}, [product / ".floe"]) == []


@pytest.mark.usefixtures("installed")
def test_what_its_classes_find_stands_at_the_users_line(product: Path) -> None:
    (product / "in" / "cities.csv").write_text("\n")
    text = (product / "floe.yaml").read_text().replace("in/cities.csv", "in/citties.csv")
    done = run_floe("compile")
    assert done.exit_code == 3
    assert "floe.yaml:5:37: error[CSV-003] `transforms[0].path`: `in/cities.csv` begins" in (
        done.stderr
    )
    (product / "floe.yaml").write_text(text)
    assert "error[CSV-002] `transforms[0].path`: there is no file" in run_floe("validate").stderr


@pytest.mark.usefixtures("installed")
def test_a_change_of_the_file_is_a_change_of_the_product(product: Path) -> None:
    def source_hash() -> str:
        assert run_floe("compile").exit_code == 0
        artifacts = json.loads((product / ".floe" / "artifacts.json").read_text())
        return str(artifacts["metadata"]["source_hash"])

    before = source_hash()
    assert source_hash() == before
    (product / "in" / "cities.csv").write_text("name,people\n")
    assert source_hash() != before


@pytest.mark.usefixtures("installed")
def test_a_secret_is_looked_for_in_its_backend(
    product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXAMPLE_SECRETS")
    done = run_floe("run")
    assert done.exit_code == 3
    assert "line atlas/token= of the file that EXAMPLE_SECRETS would name" in done.stderr
    monkeypatch.setenv("EXAMPLE_SECRETS", str(product))
    done = run_floe("run")
    assert done.exit_code == 3
    assert f"secret cannot be read: atlas/token ({product} cannot be read)" in done.stderr


@pytest.mark.usefixtures("installed")
def test_it_is_listed() -> None:
    listed = json.loads(run_floe("plugins", "-o", "json").stdout)["plugins"]
    ours = [p for p in listed if p["distribution"] == "floe-plugin-example"]
    assert [(p["group"], p["name"], p["state"]) for p in ours] == [
        ("floe.transforms", "csv", "ok"),
        ("floe.targets", "duckdb_folder", "ok"),
        ("floe.catalogs", "lakehouse", "ok"),
        ("floe.telemetry", "jsonl", "ok"),
        ("floe.secrets", "lines", "ok"),
    ]


@pytest.mark.usefixtures("installed")
def test_its_catalog_is_checked_and_spelled_for_pyiceberg(product: Path) -> None:
    text = (product / "platform.yaml").read_text()
    catalog = "catalogs: {default: {type: lakehouse, uri: 'https://lake.acme.dev'}}\n"
    (product / "platform.yaml").write_text(text + catalog)
    done = run_floe("validate")
    assert done.exit_code == 3
    assert "error[LAKE-002] `catalogs.default`: needs `properties: {token: ...}`" in (done.stderr)

    client = plugins.catalog_client("lakehouse")
    assert client is not None
    token = SecretRef(secret_ref="lakehouse/token")
    profile = CatalogProfile(
        type="lakehouse", uri="https://lake.acme.dev", properties={"token": token}
    )
    found = client.properties(profile, None, product / ".floe/data/local", lambda ref: CANARY)
    assert found == {
        "type": "rest",
        "uri": "https://lake.acme.dev",
        "token": CANARY,
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
    }


@pytest.mark.usefixtures("installed")
def test_its_exporter_takes_the_spans_of_a_run(product: Path) -> None:
    text = (product / "platform.yaml").read_text()
    observability = "observability: {tracing: {exporter: jsonl}, metrics: {}}\n"
    (product / "platform.yaml").write_text(text + observability)
    done = run_floe("validate")
    assert done.exit_code == 3
    assert "error[JSONL-001] `observability.tracing`: needs `endpoint`" in done.stderr
    spans = product / "spans.jsonl"
    observability = observability.replace("jsonl", f"jsonl, endpoint: {spans}")
    (product / "platform.yaml").write_text(text + observability)
    assert run_floe("compile").exit_code == 0
    telemetry = setup(load_artifacts(product / ".floe" / "artifacts.json"))
    telemetry.start_run("a run").end()
    assert (telemetry.signals, telemetry.shutdown().total) == ({"traces"}, 0)
    assert "a run" in [json.loads(line)["name"] for line in spans.read_text().splitlines()]


def test_artifacts_that_need_a_plugin_that_is_not_installed(product: Path) -> None:
    done = run_floe("validate")
    assert done.exit_code == 3
    assert "there is no kind of transform named `csv`" in done.stderr
    assert "there is no secret backend named `lines`" in done.stderr


def test_it_imports_no_more_of_floe_than_the_public_modules() -> None:
    allowed = {"floe_core.plugins", "floe_core.lake", "floe_core.errors"}
    for path in (EXAMPLE / "src").rglob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["from"], ["import"]) and words[1].startswith("floe_"):
                is_own = words[1].startswith("floe_plugin_example.")
                assert is_own or words[1] in allowed, f"{path}: {line}"
