"""What a pull leaves on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floe_client import ControlPlaneClient, Pulled, pull, rollback
from floe_core.artifacts import NewerArtifactsWarning, load_artifacts
from floe_core.errors import ArtifactsError, ControlPlaneError, FloeError, UsageError
from floe_core.layout import Layout
from floe_core.schemas.artifacts import CompiledControlPlane
from floe_testing.control_plane import (
    API_KEY,
    Answer,
    ControlPlane,
    artifacts,
    control_plane,
    on_duckdb,
    serving,
)

ENVIRONMENT = "env-uuid-789"
OTHER = "env-uuid-790"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    monkeypatch.setenv("FLOE_API_KEY", API_KEY)
    with control_plane() as running:
        serve(running, artifacts())
        yield running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def serve(server: ControlPlane, document: Any) -> None:
    server.script = serving({ENVIRONMENT: document, OTHER: document})


def version(number: int) -> dict[str, Any]:
    document = on_duckdb()
    document["metadata"]["source_hash"] = f"v{number}"
    return document


def pulled(server: ControlPlane, layout: Layout, environment: str = ENVIRONMENT) -> Pulled:
    where = CompiledControlPlane(api_url=server.url, api_key_env="FLOE_API_KEY")
    return pull(ControlPlaneClient(where, deadline=30.0), environment, layout)


def in_place(layout: Layout) -> str:
    return load_artifacts(layout.artifacts).metadata.source_hash


def if_none_match(server: ControlPlane) -> str | None:
    return server.requests[-1].headers.get("if-none-match")


def test_the_example_of_1_0(server: ControlPlane, layout: Layout) -> None:
    done = pulled(server, layout)
    assert (done.is_changed, done.path) == (True, layout.artifacts)
    expected = artifacts()
    expected["metadata"]["origin"] = "pulled"
    assert json.loads(layout.artifacts.read_bytes()) == expected
    assert load_artifacts(layout.artifacts) == done.artifacts
    assert done.artifacts.is_pulled


def test_it_asks_for_changes_alone(server: ControlPlane, layout: Layout) -> None:
    pulled(server, layout)
    assert if_none_match(server) is None
    content = layout.artifacts.read_bytes()
    done = pulled(server, layout)
    assert if_none_match(server) is not None
    assert not done.is_changed
    assert done.artifacts.is_pulled
    assert layout.artifacts.read_bytes() == content
    serve(server, version(2))
    assert pulled(server, layout).is_changed
    assert in_place(layout) == "v2"


@pytest.mark.parametrize("change", ["edited", "gone", "environment", "no record", "bad record"])
def test_it_asks_for_everything_when_something_else_is_there(
    server: ControlPlane, layout: Layout, change: str
) -> None:
    pulled(server, layout)
    environment = OTHER if change == "environment" else ENVIRONMENT
    if change == "edited":
        layout.artifacts.write_bytes(layout.artifacts.read_bytes() + b"\n")
    elif change == "gone":
        layout.artifacts.unlink()
    elif change == "no record":
        layout.pull.unlink()
    elif change == "bad record":
        layout.pull.write_bytes(b"[1]")
    pulled(server, layout, environment)
    assert if_none_match(server) is None
    assert in_place(layout) == "abc123def456"


def test_no_etag_no_difference(server: ControlPlane, layout: Layout) -> None:
    server.answer(Answer(200, json.dumps(artifacts()).encode()))
    assert pulled(server, layout).is_changed
    assert not pulled(server, layout).is_changed
    assert not layout.previous_artifacts.exists()


def test_rollback_and_on(server: ControlPlane, layout: Layout) -> None:
    for number in (1, 2, 3):
        serve(server, version(number))
        pulled(server, layout)
    assert rollback(layout).artifacts.metadata.source_hash == "v2"
    assert in_place(layout) == "v2"
    assert rollback(layout).is_changed
    assert in_place(layout) == "v3"
    rollback(layout)
    assert pulled(server, layout).is_changed
    assert if_none_match(server) is None
    assert in_place(layout) == "v3"


def test_rollback_to_nothing(server: ControlPlane, layout: Layout) -> None:
    pulled(server, layout)
    with pytest.raises(UsageError, match="there are no earlier artifacts"):
        rollback(layout)


def test_rollback_after_the_file_is_lost(server: ControlPlane, layout: Layout) -> None:
    for number in (1, 2):
        serve(server, version(number))
        pulled(server, layout)
    layout.artifacts.unlink()
    rollback(layout)
    assert in_place(layout) == "v1"
    assert not layout.previous_artifacts.exists()


def test_a_newer_minor_version_keeps_what_we_do_not_know(
    server: ControlPlane, layout: Layout
) -> None:
    new = {"version": "1.9.0", "heat": {"max": 1.5, "tags": ["a", None]}}
    document = artifacts(**new)
    document["compute"]["pool"] = "large"
    serve(server, document)
    with pytest.warns(NewerArtifactsWarning) as caught:
        pulled(server, layout)
    assert len(caught) == 1
    stored = json.loads(layout.artifacts.read_bytes())
    assert {key: stored[key] for key in new} == new
    assert stored["compute"]["pool"] == "large"


def without(key: str) -> bytes:
    document = artifacts()
    del document[key]
    return json.dumps(document).encode()


def with_property(key: str, value: Any) -> bytes:
    return json.dumps(artifacts(compute={"target": "x", "properties": {key: value}})).encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Sign in</html>", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 3000, "is not JSON"),
        (b"[]", "has no `version`, so it is not floe's artifacts"),
        (b'{"detail": "no"}', "has no `version`, so it is not floe's artifacts"),
        (json.dumps(artifacts(version="2.0.0")).encode(), "is of artifacts version 2.0.0; this"),
        (without("compute"), "does not follow the artifacts contract: `compute`: Field required"),
        (json.dumps(artifacts(metadata=[])).encode(), "contract: `metadata`"),
        (with_property("password", "hunter2hunter2"), "`compute.properties.password`"),
    ],
)
def test_nothing_is_replaced_by_what_is_no_use(
    server: ControlPlane, layout: Layout, body: bytes, message: str
) -> None:
    serve(server, version(1))
    pulled(server, layout)
    before = {path.name: path.read_bytes() for path in layout.folder.iterdir() if path.is_file()}
    server.answer(Answer(200, body))
    with pytest.raises(ArtifactsError) as caught:
        pulled(server, layout)
    assert message in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.help}"
    after = {path.name: path.read_bytes() for path in layout.folder.iterdir() if path.is_file()}
    assert after == before


def test_not_modified_though_nobody_asked(server: ControlPlane, layout: Layout) -> None:
    server.answer(Answer(304))
    with pytest.raises(ControlPlaneError, match="304"):
        pulled(server, layout)


def test_into_a_file(server: ControlPlane, layout: Layout, tmp_path: Path) -> None:
    where = CompiledControlPlane(api_url=server.url, api_key_env="FLOE_API_KEY")
    client = ControlPlaneClient(where)
    done = pull(client, ENVIRONMENT, layout, tmp_path / "out.json")
    assert done.path == tmp_path / "out.json"
    assert load_artifacts(done.path) == done.artifacts
    assert not layout.folder.exists()
    with pytest.raises(UsageError, match="is not a file"):
        pull(client, ENVIRONMENT, layout, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FloeError, match="cannot be written"):
        pull(client, ENVIRONMENT, layout, tmp_path / "file" / "out.json")
