"""Secrets in AWS Secrets Manager (moto) and in Vault (OpenBao), read over the network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe_core import secrets
from floe_core.errors import FloeError
from floe_core.schemas.secret import SecretRef
from floe_core.secret_backends import vault as vault_module
from floe_testing.aws import Aws, moto_server
from floe_testing.kubernetes import TOKEN, kubernetes
from floe_testing.openbao import ROOT_TOKEN, OpenBao, openbao

pytestmark = pytest.mark.integration

AWS, VAULT = "aws_secrets_manager", "vault"
USER = SecretRef(secret_ref="prod/pg", key="user")
PASSWORD = SecretRef(secret_ref="prod/pg", key="password")
SIGN_IN = {"user": "etl", "password": "c4n4ry-password-88e1"}
POLICY = 'path "secret/data/prod/*" { capabilities = ["read"] }'


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "KUBERNETES_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def moto() -> Iterator[Aws]:
    with moto_server() as server:
        client = server.client("secretsmanager")
        client.create_secret(Name="prod/pg", SecretString=json.dumps(SIGN_IN))
        client.create_secret(Name="plain", SecretString="c4n4ry-plain")
        client.create_secret(Name="binary", SecretBinary=b"c4n4ry-binary")
        client.create_secret(Name="gone", SecretString="c4n4ry-gone")
        client.delete_secret(SecretId="gone", RecoveryWindowInDays=7)
        client.close()
        yield server


@pytest.fixture
def aws(moto: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    for name, value in moto.variables.items():
        monkeypatch.setenv(name, value)
    return moto


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with openbao() as server:
        client = server.client()
        client.secrets.kv.v2.create_or_update_secret("prod/pg", SIGN_IN)
        client.secrets.kv.v2.create_or_update_secret("other/pg", SIGN_IN)
        client.secrets.kv.v2.create_or_update_secret("prod/gone", SIGN_IN)
        client.secrets.kv.v2.delete_latest_version_of_secret("prod/gone")
        client.sys.enable_secrets_engine("kv", path="team/old", options={"version": "1"})
        client.secrets.kv.v1.create_or_update_secret("prod/pg", SIGN_IN, mount_point="team/old")
        client.sys.create_or_update_policy("etl", POLICY)
        client.sys.enable_auth_method("approle")
        client.auth.approle.create_or_update_approle("etl", token_policies=["etl"])
        client.adapter.close()
        yield server


@pytest.fixture
def vault(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> OpenBao:
    monkeypatch.setenv("VAULT_ADDR", bao.url)
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    return bao


def find(ref: SecretRef, *backends: str) -> str:
    return secrets.resolve({"it": ref}, backends)["it"]


def problem(ref: SecretRef, *backends: str) -> tuple[int, str]:
    with pytest.raises(FloeError) as raised:
        find(ref, *backends)
    assert "c4n4ry" not in f"{raised.value.message} {raised.value.help}"
    return raised.value.exit_code, raised.value.message


def test_aws_has_keys_text_and_bytes(aws: Aws) -> None:
    assert secrets.resolve({"a": USER, "b": PASSWORD}, [AWS]) == {
        "a": SIGN_IN["user"],
        "b": SIGN_IN["password"],
    }
    assert find(SecretRef(secret_ref="plain"), AWS) == "c4n4ry-plain"
    assert find(SecretRef(secret_ref="binary"), AWS) == "c4n4ry-binary"


def test_what_aws_does_not_have(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    code, message = problem(SecretRef(secret_ref="nowhere/key"), AWS)
    assert (code, "not found" in message) == (3, True)
    code, message = problem(SecretRef(secret_ref="prod/pg", key="nothing"), AWS)
    assert (code, "not found" in message) == (3, True)
    code, message = problem(SecretRef(secret_ref="gone"), AWS)
    assert (code, "is marked for deletion" in message) == (3, True)
    monkeypatch.setenv("NOWHERE_KEY", "from-variable")
    assert find(SecretRef(secret_ref="nowhere/key"), AWS, "env") == "from-variable"


def test_vault_has_fields(vault: OpenBao) -> None:
    assert find(PASSWORD, VAULT) == SIGN_IN["password"]
    with secrets.remembered():
        assert find(USER, VAULT) == "etl"


def test_vault_with_version_1(vault: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_MOUNT", "team/old")
    assert find(PASSWORD, VAULT) == SIGN_IN["password"]
    assert "not found" in problem(SecretRef(secret_ref="prod/none", key="a"), VAULT)[1]


@pytest.mark.parametrize("name", ["prod/none", "prod/gone"])
def test_what_vault_does_not_have(
    name: str, vault: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = SecretRef(secret_ref=name, key="password")
    code, message = problem(ref, VAULT)
    assert code == 3
    assert message == (
        f"secret not found: {name}/password (looked in: `password` of secret/{name} of Vault at "
        f"{vault.url})"
    )
    monkeypatch.setenv(secrets.variable_name(name, "password"), "from-variable")
    assert find(ref, VAULT, "env") == "from-variable"


def test_app_role(vault: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    client = vault.client()
    role_id = client.auth.approle.read_role_id("etl")["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("etl")["data"]["secret_id"]
    client.adapter.close()
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("VAULT_ROLE_ID", role_id)
    monkeypatch.setenv("VAULT_SECRET_ID", secret_id)
    assert find(PASSWORD, VAULT) == SIGN_IN["password"]
    code, message = problem(SecretRef(secret_ref="other/pg", key="password"), VAULT)
    assert (code, "does not let this process read secret/other/pg" in message) == (3, True)
    monkeypatch.setenv("VAULT_SECRET_ID", "c4n4ry-wrong")
    code, message = problem(PASSWORD, VAULT)
    assert (code, "refuses the sign-in by AppRole" in message) == (3, True)
    monkeypatch.setenv("VAULT_AUTH_MOUNT", "elsewhere")
    assert problem(PASSWORD, VAULT)[0] == 3


def test_the_service_account_of_a_pod(
    vault: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kubernetes(tmp_path / "pod") as cluster:
        client = vault.client()
        client.sys.enable_auth_method("kubernetes")
        client.auth.kubernetes.configure(
            kubernetes_host=f"https://127.0.0.1:{cluster.port}",
            kubernetes_ca_cert=(cluster.service_account / "ca.crt").read_text(),
            token_reviewer_jwt=TOKEN,
        )
        client.auth.kubernetes.create_role("etl", ["default"], ["etl"], policies=["etl"])
        client.adapter.close()
        monkeypatch.setattr(vault_module, "SERVICE_ACCOUNT", cluster.service_account)
        monkeypatch.delenv("VAULT_TOKEN")
        monkeypatch.setenv("VAULT_ROLE", "etl")
        assert find(PASSWORD, VAULT) == SIGN_IN["password"]
        monkeypatch.setenv("VAULT_ROLE", "nobody")
        code, message = problem(PASSWORD, VAULT)
        assert (code, "refuses the sign-in by Kubernetes" in message) == (3, True)


@pytest.mark.parametrize("mount", ["secret", "nowhere"])
def test_a_token_that_is_refused(
    mount: str, vault: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_MOUNT", mount)
    monkeypatch.setenv("VAULT_TOKEN", "c4n4ry-no-token")
    code, message = problem(PASSWORD, VAULT)
    assert (code, f"nothing below the mount `{mount}`" in message) == (3, True)


def test_a_sealed_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    with openbao() as server:
        client = server.client()
        client.sys.seal()
        client.adapter.close()
        monkeypatch.setenv("VAULT_ADDR", server.url)
        monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
        code, message = problem(PASSWORD, VAULT)
    assert (code, "cannot answer now" in message) == (5, True)
