"""Kubernetes, AWS Secrets Manager and Vault: what names mean there, and each way to fail."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from floe_core import secrets
from floe_core.errors import FloeError
from floe_core.schemas.secret import SecretRef
from floe_core.secret_backends import kubernetes as kubernetes_module
from floe_core.secret_backends import network, vault
from floe_testing.kubernetes import Kubernetes, kubernetes

CANARY = "c4n4ry-31f0"
PASSWORD = SecretRef(secret_ref="pg", key="password")
WHOLE = SecretRef(secret_ref="pg")
K8S, AWS, VAULT = "kubernetes", "aws_secrets_manager", "vault"


@dataclass
class Server:
    """Answers each request with what `script` makes of its method and path."""

    url: str = ""
    script: Callable[[str], tuple[int, Any]] = lambda request: (404, {})
    requests: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "KUBERNETES_", "VAULT_", "PG")) or "PROXY" in name.upper():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setattr(kubernetes_module, "SERVICE_ACCOUNT", tmp_path / "pod")
    monkeypatch.setattr(vault, "SERVICE_ACCOUNT", tmp_path / "pod")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # between attempts


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}"
            running.requests.append(request)
            status, document = running.script(request)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path / "pod") as running:
        for name, value in running.variables.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def aws(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    return server


@pytest.fixture
def bao(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("VAULT_ADDR", server.url)
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    return server


def serves(answers: dict[str, tuple[int, Any]]) -> Callable[[str], tuple[int, Any]]:
    return lambda request: answers.get(request, (404, {"errors": []}))


def nowhere_to_connect() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find(ref: SecretRef, *backends: str) -> str:
    return secrets.resolve({"it": ref}, backends)["it"]


def problem(ref: SecretRef, *backends: str) -> tuple[int, str, str]:
    """Exit code, message and help of the error; none of it holds a value."""
    with pytest.raises(FloeError) as raised:
        find(ref, *backends)
    found = raised.value
    assert "c4n4ry" not in f"{found.message} {found.help}"
    return found.exit_code, found.message, found.help or ""


@pytest.mark.parametrize(
    ("backend", "library", "extra"),
    [
        (K8S, "httpx", "pip install 'floe-core[kubernetes]'"),
        (AWS, "boto3", "pip install 'floe-core[aws_secrets_manager]'"),
        (VAULT, "hvac", "pip install 'floe-core[vault]'"),
    ],
)
def test_a_missing_extra_ends_in_the_command(
    backend: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = network.find_spec
    monkeypatch.setattr(network, "find_spec", lambda name: None if name == library else real(name))
    code, message, help = problem(PASSWORD, backend)
    assert code == 3
    assert message == (
        "secret pg/password cannot be looked up: the secret backend "
        f"`{backend}` needs {library}, which is not installed"
    )
    assert help == f"Run `{extra}`."


def test_what_was_asked_before_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message, _ = problem(PASSWORD, "env", VAULT)
    assert message.endswith(
        "VAULT_ADDR is not set (it is not in: environment variable PG_PASSWORD; environment "
        "variable PG as JSON with `password`)"
    )
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert find(PASSWORD, "env", VAULT) == "value", "it is asked only when it is needed"


# Kubernetes


def test_kubernetes_values(pod: Kubernetes) -> None:
    pod.secrets["pg"] = {"user": "etl", "password": "ünï\n", "tls.key": "key", "empty": ""}
    assert find(PASSWORD, K8S) == "ünï\n"
    assert find(SecretRef(secret_ref="pg", key="tls.key"), K8S) == "key"
    assert json.loads(find(WHOLE, K8S)) == pod.secrets["pg"]
    assert pod.requests[0] == "/api/v1/namespaces/etl/secrets/pg"
    assert "not found" in problem(SecretRef(secret_ref="pg", key="empty"), K8S)[1]


@pytest.mark.parametrize(
    ("name", "there"), [("PG_MAIN", "pg-main"), ("prod/etl", "prod-etl"), ("a.b-1", "a.b-1")]
)
def test_names_become_what_kubernetes_allows(name: str, there: str, pod: Kubernetes) -> None:
    pod.secrets[there] = {"password": "value"}
    assert find(SecretRef(secret_ref=name, key="password"), K8S) == "value"


def test_a_secret_is_read_once(pod: Kubernetes) -> None:
    pod.secrets["pg"] = {"user": "etl", "password": "value"}
    both = {"a": SecretRef(secret_ref="pg/user"), "b": PASSWORD}
    assert secrets.resolve(both, [K8S]) == {"a": "etl", "b": "value"}
    assert len(pod.requests) == 1
    with secrets.remembered():
        secrets.resolve(both, [K8S])
        with secrets.remembered():
            secrets.resolve(both, ["env", K8S])
        secrets.resolve(both, [K8S])
    assert len(pod.requests) == 2
    secrets.resolve(both, [K8S])
    assert len(pod.requests) == 3, "nothing is kept afterwards"


def test_kubernetes_asks_again_when_it_is_busy(pod: Kubernetes) -> None:
    pod.secrets["pg"] = {"password": "value"}
    pod.statuses += [503, 429]
    assert find(PASSWORD, K8S) == "value"
    pod.statuses += [500, 500, 500]
    code, message, _ = problem(PASSWORD, K8S)
    assert code == 5
    assert message.endswith(f"https://127.0.0.1:{pod.port} answers with status 500")


def test_not_found_in_kubernetes(pod: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    code, message, help = problem(PASSWORD, K8S, "env")
    assert code == 3
    assert message == (
        "secret not found: pg/password (looked in: `password` of Kubernetes secret pg in "
        "namespace etl; environment variable PG_PASSWORD; environment variable PG as JSON with "
        "`password`)"
    )
    assert help == "Store the secret in one of the places named above."
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert find(PASSWORD, K8S, "env") == "value"


def test_kubernetes_refuses(pod: Kubernetes) -> None:
    pod.forbidden.add("pg")
    code, message, help = problem(PASSWORD, K8S)
    assert code == 3
    assert message == (
        "secret pg/password cannot be looked up: Kubernetes does not let the pod's service account "
        "read Kubernetes secret pg in namespace etl"
    )
    assert "allows `get` on `secrets`" in help
    (pod.service_account / "token").write_text("another-c4n4ry")
    code, message, _ = problem(PASSWORD, K8S)
    assert code == 3
    assert "does not accept the pod's token" in message


def test_kubernetes_with_another_certificate(pod: Kubernetes, tmp_path: Path) -> None:
    with kubernetes(tmp_path / "other") as other:
        (other.service_account / "ca.crt").replace(pod.service_account / "ca.crt")
    code, message, _ = problem(PASSWORD, K8S)
    assert code == 5
    assert "the certificate of the Kubernetes API at https://127.0.0.1:" in message
    assert pod.requests == []


def test_no_kubernetes_there(pod: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(nowhere_to_connect()))
    code, message, _ = problem(PASSWORD, K8S)
    assert code == 5
    assert message.endswith("does not answer (ConnectError)")


def test_not_in_a_pod(pod: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    (pod.service_account / "token").unlink()
    assert "automountServiceAccountToken" in problem(PASSWORD, K8S)[2]
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    code, message, _ = problem(PASSWORD, K8S)
    assert code == 3
    assert "works in a pod alone, and KUBERNETES_SERVICE_HOST is not set" in message


def test_bytes_of_kubernetes_are_no_value(pod: Kubernetes) -> None:
    pod.secrets["pg"] = {"password": b"\xff\xfe" + CANARY.encode(), "user": "etl"}
    _, message, _ = problem(PASSWORD, K8S)
    assert message == (
        "secret cannot be read: pg/password (`password` of Kubernetes secret pg in namespace etl "
        "is not UTF-8)"
    )
    assert json.loads(find(WHOLE, K8S)) == {"user": "etl"}


# AWS


@pytest.mark.parametrize(
    ("answer", "ref", "value"),
    [
        ({"SecretString": '{"password": "value", "port": 5432}'}, PASSWORD, "value"),
        ({"SecretString": '{"a": 1.50}'}, SecretRef(secret_ref="pg", key="a"), "1.50"),
        ({"SecretString": "plain"}, WHOLE, "plain"),
        ({"SecretString": '{"user": "etl"}'}, WHOLE, '{"user": "etl"}'),
        ({"SecretBinary": base64.b64encode(b"bytes").decode()}, WHOLE, "bytes"),
    ],
)
def test_aws_values(answer: dict[str, str], ref: SecretRef, value: str, aws: Server) -> None:
    aws.script = lambda request: (200, answer)
    assert find(ref, AWS) == value
    assert aws.requests == ["POST /"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            {"SecretString": CANARY},
            "AWS secret pg in eu-central-1 is no JSON object, so it has no key `password`",
        ),
        (
            {"SecretString": f'["{CANARY}"]'},
            "AWS secret pg in eu-central-1 is no JSON object, so it has no key `password`",
        ),
        (
            {"SecretString": f'{{"password": ["{CANARY}"]}}'},
            "AWS secret pg in eu-central-1 has a list under `password`, not a value",
        ),
        (
            {"SecretBinary": base64.b64encode(b"\xff\xfe").decode()},
            "AWS secret pg in eu-central-1 is not UTF-8",
        ),
    ],
)
def test_aws_values_of_no_use(answer: dict[str, str], message: str, aws: Server) -> None:
    aws.script = lambda request: (200, answer)
    assert problem(PASSWORD, AWS)[:2] == (
        3,
        f"secret cannot be read: pg/password ({message})",
    )


@pytest.mark.parametrize(
    ("status", "kind", "code", "text", "help"),
    [
        (400, "AccessDeniedException", 3, "does not let this process read", "GetSecretValue"),
        (400, "DecryptionFailure", 3, "does not let this process read", "kms:Decrypt"),
        (400, "UnrecognizedClientException", 3, "does not accept the AWS credentials", "Renew"),
        (400, "ExpiredTokenException", 3, "does not accept the AWS credentials", "Renew"),
        (400, "InvalidRequestException", 3, "is marked for deletion", "restore-secret"),
        (400, "ThrottlingException", 5, "cannot answer now", "later"),
        (500, "InternalServiceError", 5, "cannot answer now", "later"),
        (400, "SomethingNew", 3, "refuses to read AWS secret pg", ""),
    ],
)
def test_aws_refuses(status: int, kind: str, code: int, text: str, help: str, aws: Server) -> None:
    aws.script = lambda request: (status, {"__type": kind, "message": f"you sent {CANARY}"})
    exit_code, message, advice = problem(PASSWORD, AWS)
    assert exit_code == code
    assert text in message
    assert help in advice
    assert len(aws.requests) <= network.ATTEMPTS


def test_not_found_in_aws(aws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.script = lambda request: (400, {"__type": "ResourceNotFoundException", "message": "no"})
    assert problem(PASSWORD, AWS)[1] == (
        "secret not found: pg/password (looked in: `password` of AWS secret pg in eu-central-1)"
    )
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert find(PASSWORD, AWS, "env") == "value"


def test_no_aws_there(aws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nowhere_to_connect()}")
    code, message, _ = problem(PASSWORD, AWS)
    assert code == 5
    assert message.endswith("AWS Secrets Manager does not answer (EndpointConnectionError)")


def test_aws_without_settings(aws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    assert problem(PASSWORD, AWS)[2] == "Set AWS_REGION."
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    code, message, _ = problem(PASSWORD, AWS)
    assert code == 3
    assert "has no valid AWS settings (" in message
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "has no valid AWS settings (ProfileNotFound)" in problem(PASSWORD, AWS)[1]


@pytest.mark.parametrize("name", ["botocore", "botocore.parsers", "urllib3.connectionpool"])
def test_libraries_log_no_answers(name: str, aws: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Boto logs the bodies of answers at level DEBUG."""
    aws.script = lambda request: (200, {"SecretString": f'{{"password": "{CANARY}"}}'})
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger=name)
    assert find(PASSWORD, AWS) == CANARY
    assert CANARY not in caplog.text
    assert logging.getLogger(name).level == logging.DEBUG, "the level is as before"


# Vault

MOUNT = "GET /v1/sys/internal/ui/mounts/secret"
V1 = (200, {"data": {"type": "kv", "options": {"version": "1"}}})
V2 = (200, {"data": {"type": "kv", "options": {"version": "2"}}})
FIELDS = {"user": "etl", "password": "value", "port": 5432}


@pytest.mark.parametrize(
    "answers",
    [
        {MOUNT: V2, "GET /v1/secret/data/pg": (200, {"data": {"data": FIELDS}})},
        {MOUNT: V1, "GET /v1/secret/pg": (200, {"data": FIELDS})},
        {"GET /v1/secret/pg": (200, {"data": FIELDS})},
    ],
    ids=["v2", "v1", "before versions"],
)
def test_vault_values(answers: dict[str, tuple[int, Any]], bao: Server) -> None:
    bao.script = serves(answers)
    assert find(PASSWORD, VAULT) == "value"
    assert find(SecretRef(secret_ref="pg", key="port"), VAULT) == "5432"
    assert json.loads(find(WHOLE, VAULT))["user"] == "etl"


def test_a_mount_and_a_path_of_their_own(bao: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_MOUNT", "team/kv/")
    bao.script = serves(
        {
            "GET /v1/sys/internal/ui/mounts/team/kv": V2,
            "GET /v1/team/kv/data/prod/pg": (200, {"data": {"data": FIELDS}}),
        }
    )
    assert find(SecretRef(secret_ref="prod/pg", key="password"), VAULT) == "value"


@pytest.mark.parametrize(
    ("variables", "method"),
    [
        ({"VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": CANARY}, "approle"),
        ({"VAULT_ROLE": "etl"}, "kubernetes"),
        ({"VAULT_ROLE": "etl", "VAULT_AUTH_MOUNT": "cluster-1"}, "cluster-1"),
    ],
)
def test_vault_is_signed_in_to_once(
    variables: dict[str, str],
    method: str,
    bao: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "token").write_text(CANARY)
    monkeypatch.delenv("VAULT_TOKEN")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    login = f"POST /v1/auth/{method}/login"
    bao.script = serves(
        {
            login: (200, {"auth": {"client_token": CANARY}}),
            MOUNT: V2,
            "GET /v1/secret/data/pg": (200, {"data": {"data": FIELDS}}),
            "GET /v1/secret/data/api": (200, {"data": {"data": {"token": "t"}}}),
        }
    )
    refs = {
        "a": PASSWORD,
        "b": SecretRef(secret_ref="pg/user"),
        "c": SecretRef(secret_ref="api/token"),
    }
    assert secrets.resolve(refs, [VAULT]) == {"a": "value", "b": "etl", "c": "t"}
    assert bao.requests == [login, MOUNT, "GET /v1/secret/data/pg", "GET /v1/secret/data/api"]


def test_the_token_of_vault_login_is_used_last(
    bao: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    assert "nothing to sign in with" in problem(PASSWORD, VAULT)[1]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".vault-token").write_text(f"{CANARY}\n")
    bao.script = serves({MOUNT: V1, "GET /v1/secret/pg": (200, {"data": FIELDS})})
    assert find(PASSWORD, VAULT) == "value"


def test_not_found_in_vault(bao: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bao.script = serves({MOUNT: V2})
    assert problem(PASSWORD, VAULT)[1] == (
        f"secret not found: pg/password (looked in: `password` of secret/pg of Vault at {bao.url})"
    )
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert find(PASSWORD, VAULT, "env") == "value"


DENIED = (403, {"errors": [f"permission denied for {CANARY}"]})


@pytest.mark.parametrize(
    ("answers", "text", "help"),
    [
        ({MOUNT: DENIED}, "refuses the token, or lets it see nothing below the mount", "policy"),
        (
            {MOUNT: V2, "GET /v1/secret/data/pg": DENIED},
            "does not let this process read secret/pg of Vault at",
            'path "secret/data/pg" { capabilities = ["read"] }',
        ),
    ],
)
def test_vault_refuses(
    answers: dict[str, tuple[int, Any]], text: str, help: str, bao: Server
) -> None:
    bao.script = serves(answers)
    code, message, advice = problem(PASSWORD, VAULT)
    assert code == 3
    assert text in message
    assert help in advice


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "refuses the sign-in by AppRole"),
        (403, "refuses the sign-in by AppRole"),
        (404, "knows no sign-in by AppRole at this mount"),
    ],
)
def test_vault_refuses_to_sign_in(
    status: int, text: str, bao: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("VAULT_ROLE_ID", "role")
    monkeypatch.setenv("VAULT_SECRET_ID", CANARY)
    bao.script = lambda request: (status, {"errors": [f"invalid secret id {CANARY}"]})
    code, message, _ = problem(PASSWORD, VAULT)
    assert code == 3
    assert text in message


def test_a_sealed_vault_is_asked_again(bao: Server) -> None:
    bao.script = lambda request: (503, {"errors": ["Vault is sealed"]})
    code, message, help = problem(PASSWORD, VAULT)
    assert code == 5
    assert message.endswith("cannot answer now (VaultDown)")
    assert "vault status" in help
    assert len(bao.requests) == network.ATTEMPTS


def test_no_vault_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{nowhere_to_connect()}/")
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    code, message, _ = problem(PASSWORD, VAULT)
    assert code == 5
    assert "does not answer (ConnectionError)" in message


@pytest.mark.parametrize("address", ["vault.example.com", "ftp://vault", "https://"])
def test_no_address(address: str, bao: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)
    code, message, help = problem(PASSWORD, VAULT)
    assert code == 3
    assert "VAULT_ADDR is no address" in message
    assert help.startswith("Set VAULT_ADDR")


def test_vault_with_a_certificate_of_its_own(
    pod: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", f"https://127.0.0.1:{pod.port}")
    monkeypatch.setenv("VAULT_TOKEN", CANARY)
    code, message, help = problem(PASSWORD, VAULT)
    assert code == 5
    assert "the certificate of Vault at https://127.0.0.1:" in message
    assert "VAULT_CACERT" in help
    monkeypatch.setenv("VAULT_CACERT", str(pod.service_account / "ca.crt"))
    assert "certificate" not in problem(PASSWORD, VAULT)[1]
    assert pod.requests, "it is asked once it is trusted"
    monkeypatch.setenv("VAULT_CACERT", str(pod.service_account / "none.crt"))
    assert "VAULT_CACERT" in problem(PASSWORD, VAULT)[1]


@pytest.mark.parametrize("document", [None, [], {"data": None}, {"data": {"data": []}}, "text"])
def test_an_answer_that_is_no_secret(document: object, bao: Server) -> None:
    bao.script = serves({MOUNT: V2, "GET /v1/secret/data/pg": (200, document)})
    code, message, _ = problem(PASSWORD, VAULT)
    assert code == 3
    assert "is no secret" in message
