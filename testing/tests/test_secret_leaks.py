"""No secret is written: canaries from every local place, and the search of all that floe leaves."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe_core.secret_backends import kubernetes as kubernetes_module
from floe_testing.canaries import canary, forms, live, printed, run_in_dagster, traces
from floe_testing.cli import run_floe
from floe_testing.kubernetes import TOKEN, Kubernetes, kubernetes
from floe_testing.lineage import lineage_sink
from floe_testing.otlp import receive

SECRETS = {
    **{name: canary(name) for name in ("one", "two", "three", "four", "idle")},
    **{name: f"c4n4ry-{name}-header=+/%41" for name in ("collector", "marquez")},
}

PLUGIN = '''
from floe_core.plugins import Property, SecretRef
from floe_dbt.targets.duckdb import DuckDBTarget

OPTIONS = {
    "one": "custom_user_agent",
    "two": "http_proxy_username",
    "three": "http_proxy_password",
    "four": "extension_directory",
}
KEYS = tuple(OPTIONS)


class Guarded(DuckDBTarget):
    """DuckDB that is given secrets, which statements can read."""

    properties = DuckDBTarget.properties | {key: Property(SecretRef, key) for key in KEYS}

    def _plain(self, compute):
        properties = {k: v for k, v in compute.properties.items() if k not in KEYS}
        return compute.model_copy(update={"properties": properties})

    def output(self, compute, environment, lake=None):
        given = {
            option: "{{ env_var('DBT_ENV_SECRET_FLOE_%s') }}" % key.upper()
            for key, option in OPTIONS.items()
        }
        output = super().output(self._plain(compute), environment, lake)
        return output | {"config_options": given}

    def secrets(self, compute):
        return {f"DBT_ENV_SECRET_FLOE_{key.upper()}": compute.properties[key] for key in KEYS}

    def query(self, compute, *given):
        return super().query(self._plain(compute), *given)

    def connect(self, compute, *given):
        return super().connect(self._plain(compute), *given)
'''

IDLE = "{secret_ref: idle, key: key}"
OBSERVED = """
observability:
  tracing:
    endpoint: "{collector}"
    protocol: http
    headers: {{authorization: {{secret_ref: collector/key}}}}
  metrics: {{enabled: true}}
  logging: {{enabled: true, level: DEBUG}}
  lineage: {{endpoint: "{sink}", api_key: {{secret_ref: marquez/key}}}}
"""
FILES = {
    "floe.yaml": """
name: guarded
version: "1.0.0"
transforms:
  - {name: models, project: dbt}
  - {name: told, type: python, entry: "told:build"}
consumption: {enabled: true, cube: {api_secret_ref: idle/key}}
""",
    "platform.yaml": f"""
compute:
  default:
    type: guarded
    properties:
      one: {{secret_ref: one, key: key}}
      two: {{secret_ref: two, key: key}}
      three: {{secret_ref: three/key}}
      four: {{secret_ref: four, key: key}}
  idle:
    type: postgres
    properties: {{host: {IDLE}, dbname: mart}}
    credentials: {{mode: static, username: {IDLE}, password: {IDLE}}}
storage:
  default: {{type: local, path: data}}
  idle:
    type: s3
    bucket: lake
    credentials: {{mode: static, username: {IDLE}, password: {IDLE}}}
catalogs:
  default: {{type: sql}}
  idle:
    type: polaris
    uri: https://polaris.example.com/api/catalog
    warehouse: lake
    properties: {{token: {IDLE}}}
    credentials: {{mode: oauth2, client_id: {IDLE}, client_secret: {IDLE}}}
control_plane: {{api_url: "https://floe.example.com", api_key_env: IDLE_KEY}}
security: {{secret_backends: [env, file, kubernetes]}}
""",
    "dbt/dbt_project.yml": "{name: guarded_dbt, version: '1.0', config-version: 2}",
    "dbt/models/good.sql": "{{ config(materialized='table') }} select 1 as id",
    "dbt/models/seen.sql": "select current_setting('custom_user_agent') as agent",
    "dbt/models/bad.sql": "{{ config(materialized='table') }} "
    "select error('no: ' || concat_ws(' ', current_setting('custom_user_agent'), "
    "current_setting('http_proxy_password'))) as x",
    "dbt/models/after.sql": "select * from {{ ref('bad') }}",
    "told.py": """
import os

def build(context):
    secret = " ".join(v for k, v in os.environ.items() if k.startswith("ONE"))
    raise RuntimeError(f"told: {secret}")
""",
}


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product whose engine takes secrets, and the plugin of the engine."""
    folder = tmp_path / "guarded"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = tmp_path / "site" / "guarded_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guarded_plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[floe.targets]\nguarded = guarded_plugin:Guarded\n")
    (tmp_path / "site" / "guarded_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """One secret in each local place: both forms of variables, a file, and Kubernetes."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(tmp_path / "mounted"))
    monkeypatch.setenv("ONE_KEY", SECRETS["one"])
    monkeypatch.setenv("TWO", json.dumps({"key": SECRETS["two"]}))
    monkeypatch.setenv("IDLE_KEY", SECRETS["idle"])
    monkeypatch.setenv("COLLECTOR_KEY", SECRETS["collector"])
    monkeypatch.setenv("MARQUEZ_KEY", SECRETS["marquez"])
    (tmp_path / "mounted" / "three").mkdir(parents=True)
    (tmp_path / "mounted" / "three" / "key").write_text(SECRETS["three"])
    with kubernetes(tmp_path / "pod") as cluster:
        cluster.secrets["four"] = {"key": SECRETS["four"]}
        monkeypatch.setattr(kubernetes_module, "SERVICE_ACCOUNT", cluster.service_account)
        for name, value in cluster.variables.items():
            monkeypatch.setenv(name, value)
        yield cluster


@pytest.mark.integration
def test_secrets_are_nowhere(
    guarded: Path,
    planted: Kubernetes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(guarded)
    with (
        receive("http") as collector,
        lineage_sink(key=SECRETS["marquez"]) as sink,
        caplog.at_level(logging.DEBUG),
    ):
        with (guarded / "platform.yaml").open("a") as platform:
            platform.write(OBSERVED.format(collector=collector.endpoint, sink=sink.url))
        results = live()
        run_in_dagster(guarded)
    assert {sent["authorization"] for sent in collector.headers} == {SECRETS["collector"]}
    assert {event["eventType"] for event in sink.events} == {"START", "COMPLETE", "FAIL"}
    assert results["run -v"].exit_code == 1
    assert "no: ***** *****" in results["run -v"].stderr, "the model saw a secret and told it"
    assert "told: *****" in results["run -v"].stderr
    assert results["run -v --select good --full-refresh"].exit_code == 0
    assert '"id": 1' in results["query -v -o json select * from good"].stdout
    doctor = results["doctor -v --connect"].stdout
    assert "four/key is found" in doctor
    texts = printed(results) | {
        "the log": caplog.text,
        "the streams": "".join(capfd.readouterr()),
        "spans": str(collector.resource_spans),
        "metrics": str(collector.resource_metrics),
        "log records": str(collector.resource_logs),
        "lineage": json.dumps(sink.events),
    }
    assert any(path.suffix == ".db" for path in guarded.rglob("*")), "the event log is there"
    secrets = {**SECRETS, "the token of the pod": TOKEN}
    places = [guarded, *filter(Path.exists, [tmp_path / "home"])]
    assert traces(secrets, places, texts) == []


@pytest.mark.integration
def test_a_run_asks_a_server_once(
    guarded: Path, planted: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(guarded)
    assert run_floe("compile").exit_code == 0
    assert planted.requests == [], "compiling needs no secret"
    assert run_floe("run", "--select", "good").exit_code == 0
    assert len(planted.requests) == 1
    assert run_floe("query", "select 1").exit_code == 0
    assert len(planted.requests) == 2
    run_in_dagster(guarded)
    assert len(planted.requests) == 3


@pytest.mark.parametrize(
    ("is_refused", "code", "text"),
    [
        (True, 3, "does not let the pod's service account read"),
        (False, 5, "answers with status 500"),
    ],
)
def test_a_backend_that_fails_ends_the_command(
    is_refused: bool,
    code: int,
    text: str,
    guarded: Path,
    planted: Kubernetes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(guarded)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    if is_refused:
        planted.forbidden.add("four")
    else:
        planted.statuses += [500] * 100
    for words in (["run"], ["query", "select 1"]):
        done = run_floe(*words)
        assert done.exit_code == code, done.stderr
        assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert traces(SECRETS, [], {"stderr": done.stderr}) == []
    dry = run_floe("run", "--dry-run", "--select", "good")
    assert dry.exit_code == 0, "a dry run does not connect"
    assert text in run_floe("doctor", "--connect").stdout


@pytest.mark.parametrize("form", sorted(forms("x")))
def test_the_search_finds_each_spelling(form: str, tmp_path: Path) -> None:
    spelled = forms(SECRETS["one"])[form]
    (tmp_path / "found").write_bytes(b"before " + spelled + b" after")
    assert [line for line in traces(SECRETS, [tmp_path]) if f"one stands as {form} " in line]


@pytest.mark.parametrize("start", range(6))
def test_the_search_finds_base_64_of_a_longer_text(start: int) -> None:
    import base64

    text = base64.b64encode(("x" * start + SECRETS["one"] + "yy").encode()).decode()
    assert traces(SECRETS, [], {"text": text})


def test_no_settings_of_the_developer_are_at_work() -> None:
    assert not [name for name in os.environ if name.startswith("KUBERNETES_")]
