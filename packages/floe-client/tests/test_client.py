"""HTTP with a control plane, over real connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from floe_client import client as client_module
from floe_client.client import ControlPlaneClient, Fetched
from floe_core.errors import (
    ControlPlaneError,
    FloeError,
    ServiceUnavailableError,
    UsageError,
)
from floe_core.schemas.artifacts import CompiledControlPlane
from floe_testing.control_plane import API_KEY, Answer, ControlPlane, control_plane

OK = Answer(200, b"{}", {"ETag": '"1"'})
ENVIRONMENT = "env-uuid-789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_API_KEY", API_KEY)


@pytest.fixture
def server() -> Iterator[ControlPlane]:
    with control_plane() as running:
        yield running


def client_of(url: str, *, deadline: float = 30.0, attempts: int = 3) -> ControlPlaneClient:
    where = CompiledControlPlane(api_url=url, api_key_env="FLOE_API_KEY")
    return ControlPlaneClient(where, deadline=deadline, attempts=attempts)


def test_what_is_asked(server: ControlPlane) -> None:
    server.answer(OK)
    fetched = client_of(f"{server.url}/floe/").fetch_artifacts("a/b c", '"0"')
    assert fetched == Fetched(b"{}", '"1"')
    [request] = server.requests
    assert request.path == "/floe/api/v1/environments/a%2Fb%20c/artifacts"
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["if-none-match"] == '"0"'
    assert request.headers["accept"] == "application/json"


def test_not_modified(server: ControlPlane) -> None:
    server.answer(Answer(304))
    assert client_of(server.url).fetch_artifacts(ENVIRONMENT, '"1"') is None


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_fault_is_tried_again(server: ControlPlane, status: int) -> None:
    server.answer(Answer(status), Answer(status), OK)
    assert client_of(server.url).fetch_artifacts(ENVIRONMENT) is not None
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 418])
def test_a_refusal_is_not_tried_again(server: ControlPlane, status: int) -> None:
    server.answer(Answer(status), OK)
    with pytest.raises(FloeError, match=rf"{status}"):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "least"),
    [
        ("1", 1.0),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True), 1.0),
        ("soon", 0.0),
        ("-5", 0.0),
    ],
    ids=["seconds", "date", "words", "negative"],
)
def test_the_server_says_when(server: ControlPlane, header: object, least: float) -> None:
    value = header() if callable(header) else str(header)
    server.answer(Answer(429, headers={"Retry-After": value}), OK)
    started = time.monotonic()
    assert client_of(server.url).fetch_artifacts(ENVIRONMENT) is not None
    assert time.monotonic() - started >= least


def test_too_long_a_wait_is_no_wait(server: ControlPlane) -> None:
    server.answer(Answer(503, headers={"Retry-After": "3600"}))
    with pytest.raises(ServiceUnavailableError, match="answers 503, and asks to wait 3600 s"):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b"{}", seconds=600), Answer(200, b"{}" * 1000, drip=0.2)],
    ids=["hangs", "drips"],
)
def test_it_ends(server: ControlPlane, answer: Answer) -> None:
    server.answer(answer)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError) as caught:
        client_of(server.url, deadline=1.0).fetch_artifacts(ENVIRONMENT)
    assert time.monotonic() - started < 20
    assert "did not answer" in str(caught.value)


def test_it_ends_while_the_server_has_it_try_again(server: ControlPlane) -> None:
    server.answer(Answer(503, headers={"Retry-After": "15"}))
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match=r"answers 503$"):
        client_of(server.url, deadline=3.0).fetch_artifacts(ENVIRONMENT)
    assert time.monotonic() - started < 14


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServiceUnavailableError, match=f"127.0.0.1:{port} cannot be reached: "):
            client_of(f"http://127.0.0.1:{port}", attempts=2).fetch_artifacts(ENVIRONMENT)


def test_a_truncated_answer(server: ControlPlane) -> None:
    server.answer(Answer(200, b'{"version": "1.0', length=5000))
    with pytest.raises(ServiceUnavailableError, match=r"broke off$"):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)


def test_a_huge_answer(server: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_BODY", 1024**2)
    server.answer(Answer(200, b" " * (1024**2 + 1)))
    with pytest.raises(ControlPlaneError, match=r"larger than 1 MiB, so it is not artifacts$"):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)


def test_an_answer_that_holds_the_key(server: ControlPlane) -> None:
    server.answer(Answer(200, b'{"key": "' + API_KEY.encode() + b'"}'))
    with pytest.raises(ControlPlaneError, match="holds the API key") as caught:
        client_of(server.url).fetch_artifacts(ENVIRONMENT)
    assert API_KEY not in str(caught.value)


def test_a_redirect_on_the_host(server: ControlPlane) -> None:
    server.answer(Answer(307, headers={"Location": "/elsewhere"}), OK)
    assert client_of(server.url).fetch_artifacts(ENVIRONMENT) is not None
    assert [request.path for request in server.requests][1] == "/elsewhere"
    assert server.requests[1].headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.parametrize("scheme", ["http:", ""])
def test_a_redirect_to_another_host(server: ControlPlane, scheme: str) -> None:
    with control_plane() as other:
        server.answer(Answer(302, headers={"Location": other.url.replace("http:", scheme)}))
        with pytest.raises(ControlPlaneError, match=f"redirects to {other.url}, and the API key"):
            client_of(server.url).fetch_artifacts(ENVIRONMENT)
        assert other.requests == []


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/again", "redirects in circles"),
        ("ftp://127.0.0.1/", "redirects to ftp://127.0.0.1, and the API key is not sent there"),
        ("//user:pass@example.com/", "redirects to http://example.com, and the API key"),
    ],
)
def test_a_redirect_to_nowhere(server: ControlPlane, location: str, message: str) -> None:
    server.answer(Answer(301, headers={"Location": location}))
    with pytest.raises(ControlPlaneError, match=message):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)


@pytest.mark.parametrize("etag", ["\xe9", None])
def test_an_etag_that_cannot_be_sent_back(server: ControlPlane, etag: str | None) -> None:
    server.answer(Answer(200, b"{}", {"ETag": etag} if etag else {}))
    assert client_of(server.url).fetch_artifacts(ENVIRONMENT) == Fetched(b"{}", None)


@pytest.mark.parametrize(
    "url",
    ["https://", "https://user:pass@example.com", "https://example.com?a=1", "http://a:b", "x"],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ControlPlaneError, match="is not the address of an API") as caught:
        client_of(url)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "  ", "two words", "two\nlines", "kéy", "tab\tbed"])
def test_a_key_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_API_KEY", value)
    with pytest.raises(ControlPlaneError, match="the variable FLOE_API_KEY") as caught:
        client_of("https://example.com")
    text = f"{caught.value} {caught.value.help}"
    assert not any(word in text for word in value.split() if word != "two")


def test_a_key_with_a_line_end(server: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_API_KEY", f"{API_KEY}\n")
    server.answer(OK)
    client_of(server.url).fetch_artifacts(ENVIRONMENT)
    assert server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.parametrize(
    ("url", "is_clear"),
    [
        ("http://example.com", True),
        ("http://10.0.0.1:8080", True),
        ("https://example.com", False),
        ("http://localhost:8080", False),
        ("http://127.1.2.3", False),
        ("http://[::1]:8080", False),
    ],
)
def test_a_key_in_clear(url: str, is_clear: bool) -> None:
    assert client_of(url).sends_key_in_clear is is_clear


def test_unknown_environment_is_usage(server: ControlPlane) -> None:
    server.answer(Answer(404))
    with pytest.raises(UsageError, match=r"has no artifacts of this environment \(404\)"):
        client_of(server.url).fetch_artifacts(ENVIRONMENT)
