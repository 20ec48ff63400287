"""No secret is written: a product on PostgreSQL that signs in with what AWS and Vault hold.

And one whose tables are in a REST catalog with OAuth2, vended keys and keys of its own.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.auth import LegacyOAuth2AuthManager

from floe_testing import seaweedfs
from floe_testing.aws import SECRET_KEY, SESSION_TOKEN, Aws, moto_server
from floe_testing.canaries import canary, live, printed, run_in_dagster, traces
from floe_testing.cli import run_floe
from floe_testing.lakes import VENDED, bucket, keys, platform, rest
from floe_testing.openbao import ROOT_TOKEN, OpenBao, openbao
from floe_testing.postgres import Server, server

pytestmark = pytest.mark.integration

PASSWORD = canary("password")
WRONG = canary("wrong")
SPARE = canary("spare")
FILES = {
    "floe.yaml": """
name: guarded
version: "1.0.0"
transforms:
  - {name: models, project: dbt}
  - {name: told, type: python, entry: "told:build"}
""",
    "dbt/dbt_project.yml": "{name: guarded_dbt, version: '1.0', config-version: 2}",
    "dbt/models/good.sql": "{{ config(materialized='table') }} select 1 as id",
    "dbt/models/bad.sql": "{{ config(materialized='table') }} select 1 / 0 as x",
    "dbt/models/after.sql": "select * from {{ ref('bad') }}",
    "told.py": "def build(context):\n    raise RuntimeError(context.connect().info.password)\n",
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server(PASSWORD) as started:
        yield started


@pytest.fixture(scope="module")
def moto() -> Iterator[Aws]:
    with moto_server() as started:
        yield started


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with openbao() as started:
        client = started.client()
        client.secrets.kv.v2.create_or_update_secret("prod/pg", {"password": PASSWORD})
        client.sys.create_or_update_policy(
            "etl", 'path "secret/data/prod/*" { capabilities = ["read"] }'
        )
        client.sys.enable_auth_method("approle")
        client.auth.approle.create_or_update_approle("etl", token_policies=["etl"])
        client.adapter.close()
        yield started


@pytest.fixture
def secret_id(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> str:
    """The process signs in to Vault by AppRole."""
    client = bao.client()
    role_id = client.auth.approle.read_role_id("etl")["data"]["role_id"]
    found: str = client.auth.approle.generate_secret_id("etl")["data"]["secret_id"]
    client.adapter.close()
    monkeypatch.setenv("VAULT_ADDR", bao.url)
    monkeypatch.setenv("VAULT_ROLE_ID", role_id)
    monkeypatch.setenv("VAULT_SECRET_ID", found)
    return found


@pytest.fixture
def guarded(
    postgres: Server, moto: Aws, secret_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in moto.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    client = moto.client("secretsmanager")
    if not client.list_secrets()["SecretList"]:
        held = json.dumps({"user": "floe", "spare": SPARE})
        client.create_secret(Name="prod/login", SecretString=held)
    client.close()
    folder = tmp_path / "guarded"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    compute = {
        "type": "postgres",
        "properties": {"host": postgres.host, "port": postgres.port, "dbname": "mart"},
        "credentials": {
            "mode": "static",
            "username": {"secret_ref": "prod/login", "key": "user"},
            "password": {"secret_ref": "prod/pg", "key": "password"},
        },
    }
    backends = ["env", "aws_secrets_manager", "vault"]
    platform = {"compute": {"default": compute}, "security": {"secret_backends": backends}}
    (folder / "platform.yaml").write_text(yaml.safe_dump(platform))
    monkeypatch.chdir(folder)
    return folder


def test_secrets_are_nowhere(
    guarded: Path,
    secret_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        results = live()
        run_in_dagster(guarded)
        # Each way to fail, with the secrets in hand.
        for variable, value in (
            ("PROD_PG_PASSWORD", WRONG),
            ("VAULT_SECRET_ID", WRONG),
            ("VAULT_ADDR", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ):
            with monkeypatch.context() as patch:
                patch.setenv(variable, value)
                for words in (["run", "-v"], ["query", "-v", "select 1"]):
                    results[f"{' '.join(words)} with another {variable}"] = run_floe(*words)
    assert results["run -v"].exit_code == 1
    assert "RuntimeError: *****" in results["run -v"].stderr
    assert results["run -v --select good --full-refresh"].exit_code == 0
    assert '"id": 1' in results["query -v -o json select * from good"].stdout
    assert "prod/pg/password is found" in results["doctor -v --connect"].stdout
    codes = {
        words.rpartition(" ")[2]: result.exit_code
        for words, result in results.items()
        if " with another " in words
    }
    assert codes == {
        "PROD_PG_PASSWORD": 5,
        "VAULT_SECRET_ID": 3,
        "VAULT_ADDR": 5,
        "AWS_ENDPOINT_URL": 5,
    }
    texts = printed(results) | {"the log": caplog.text, "the streams": "".join(capfd.readouterr())}
    assert "Traceback" not in "".join(printed(results).values())
    secrets = {
        "the password": PASSWORD,
        "a wrong one": WRONG,
        "another key of AWS's secret": SPARE,
        "the secret id": secret_id,
        "the root token": ROOT_TOKEN,
        "the key of AWS": SECRET_KEY,
        "the session of AWS": SESSION_TOKEN,
    }
    places = [guarded, *filter(Path.exists, [tmp_path / "home"])]
    assert traces(secrets, places, texts) == []


LAKE_FILES = {
    **FILES,
    "dbt/models/bad.sql": "{{ config(materialized='table') }} select error('no: ' || id) as x "
    "from {{ ref('good') }}",
    "dbt/models/held.sql": "{{ config(materialized='table') }} "
    "select name, secret_string, (select count(*) from {{ ref('good') }}) as n "
    "from duckdb_secrets()",
    "told.py": """
def build(context):
    held = context.connect().attachment._attached.catalogs
    raise RuntimeError(f"told: {held}")
""",
}


@pytest.fixture
def vended(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every token and key that the catalog gives, as the client receives it."""
    found: set[str] = set()
    fetch, load = LegacyOAuth2AuthManager._fetch_access_token, RestCatalog._load_file_io

    def fetch_and_note(manager: LegacyOAuth2AuthManager, credential: str) -> str:
        token = fetch(manager, credential)
        found.add(token)
        return token

    def load_and_note(catalog: RestCatalog, properties: Any, location: str | None = None) -> Any:
        given = (properties or {}).items()
        found.update(v for k, v in given if k in {"s3.secret-access-key", "s3.session-token"})
        return load(catalog, properties, location)

    monkeypatch.setattr(LegacyOAuth2AuthManager, "_fetch_access_token", fetch_and_note)
    monkeypatch.setattr(RestCatalog, "_load_file_io", load_and_note)
    return found


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sessions of PyIceberg
@pytest.mark.parametrize("storage", [VENDED, keys("admin")], ids=["vended", "static"])
def test_secrets_of_a_lake_are_nowhere(
    storage: dict[str, Any],
    vended: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "guarded"
    for path, text in LAKE_FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    secrets = {
        "ADMIN_ID": seaweedfs.ADMIN.key,
        "ADMIN_SECRET": seaweedfs.ADMIN.secret,
        "READER_ID": seaweedfs.READER.key,
        "READER_SECRET": seaweedfs.READER.secret,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with seaweedfs.server() as weed, caplog.at_level(logging.DEBUG):

        def platform_with(credentials: dict[str, Any]) -> str:
            return yaml.safe_dump(platform(rest(weed), bucket(weed.s3, credentials)))

        (folder / "platform.yaml").write_text(platform_with(storage))
        results = live()
        results["query held"] = run_floe("query", "-v", "-o", "json", "select * from held")
        run_in_dagster(folder)
        with monkeypatch.context() as patch:
            patch.setenv("ADMIN_SECRET", WRONG)
            for words in (["run", "-v"], ["query", "-v", "select * from good"]):
                results[f"{' '.join(words)} with a wrong secret"] = run_floe(*words)
        (folder / "platform.yaml").write_text(platform_with(keys("reader")))
        results["run that may only read"] = run_floe("run", "-v", "--select", "good")
    codes = {words: result.exit_code for words, result in results.items()}
    assert codes["run -v"] == 1
    assert "RuntimeError: told: {'default'" in results["run -v"].stderr
    assert codes["run -v --select good --full-refresh"] == 0
    assert '"id": 1' in results["query -v -o json select * from good"].stdout
    assert "secret=redacted" in results["query held"].stdout
    assert codes["run -v with a wrong secret"] == 1
    assert codes["query -v select * from good with a wrong secret"] == 3
    assert "does not allow writing s3://lake/main/good/" in results["run that may only read"].stderr
    texts = printed(results) | {"the log": caplog.text, "the streams": "".join(capfd.readouterr())}
    assert any(path.suffix == ".db" for path in folder.rglob("*")), "the event log is there"
    assert len(vended) > (2 if storage is VENDED else 0), "tokens and keys were given"
    given = {f"what the catalog gave ({number})": v for number, v in enumerate(sorted(vended))}
    places = [folder, *filter(Path.exists, [tmp_path / "home"])]
    queried = texts.pop("floe query held")
    found = traces({**secrets, "a wrong one": WRONG, **given}, places, texts)
    del secrets["ADMIN_ID"]  # what DuckDB itself shows of a secret is who signs in
    found += traces({**secrets, **given}, [], {"what DuckDB shows": queried})
    assert found == [], "\n".join(found)
