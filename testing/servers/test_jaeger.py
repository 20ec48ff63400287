"""A run is found again in Jaeger, by Jaeger's own API."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from floe_testing import golang
from floe_testing.cli import run_floe
from floe_testing.ports import free_ports
from floe_testing.servers import ended, wait_until_open

pytestmark = pytest.mark.servers

_MODULE, _VERSION = "github.com/jaegertracing/jaeger", "v1.76.0"
_PORTS = (
    "collector.otlp.grpc.host-port",
    "collector.otlp.http.host-port",
    "query.http-server.host-port",
    "query.grpc-server.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "admin.http.host-port",
)


@dataclass(frozen=True)
class Jaeger:
    """A Jaeger with its storage in memory."""

    grpc: str
    http: str
    api: str

    def trace(self, trace_id: str) -> dict[str, Any]:
        """A trace, once it can be found."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.api}/api/traces/{trace_id}") as answer:
                    [found] = json.load(answer)["data"]
                    return dict(found)
            except (urllib.error.HTTPError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@contextmanager
def jaeger(folder: Path) -> Iterator[Jaeger]:
    ports = free_ports(len(_PORTS))
    hosts = {name: f"127.0.0.1:{port}" for name, port in zip(_PORTS, ports, strict=True)}
    program = golang.program(_MODULE, _VERSION, "cmd/all-in-one")
    variables = os.environ | {"SPAN_STORAGE_TYPE": "memory"}
    with (folder / "jaeger.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *(f"--{name}={host}" for name, host in hosts.items())],
            stdout=log,
            stderr=log,
            env=variables,
        )
    with ended(process):
        for port in ports[:3]:
            wait_until_open(port, process)
        grpc, http, api = (f"http://{hosts[name]}" for name in _PORTS[:3])
        yield Jaeger(grpc, http, api)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with jaeger(tmp_path_factory.mktemp("jaeger")) as started:
        yield started


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_run_is_found_by_its_trace(
    protocol: str, server: Jaeger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    platform = folder / "platform.yaml"
    document = yaml.safe_load(platform.read_text())
    endpoint = server.grpc if protocol == "grpc" else server.http
    document["observability"] = {"tracing": {"endpoint": endpoint, "protocol": protocol}}
    platform.write_text(yaml.safe_dump(document))
    monkeypatch.chdir(folder)
    result = run_floe("run", "--output", "json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["warnings"] == []
    found = server.trace(record["trace_id"])
    [process] = found["processes"].values()
    assert process["serviceName"] == "shop"
    spans = {span["spanID"]: span for span in found["spans"]}
    names = {span["operationName"]: span for span in spans.values()}

    def parent(name: str) -> str | None:
        [above] = [
            spans[reference["spanID"]]["operationName"]
            for reference in names[name]["references"]
            if reference["refType"] == "CHILD_OF"
        ] or [None]
        return above

    assert parent("run shop") is None
    assert parent("step shop") == "run shop"
    assert parent("model customers") == "step shop"
    assert parent("commit main.customers") == "model customers"
    tags = {tag["key"]: tag["value"] for tag in names["model customers"]["tags"]}
    assert (tags["dbt.node.rows"], tags["dbt.node.status"]) == (4, "success")
