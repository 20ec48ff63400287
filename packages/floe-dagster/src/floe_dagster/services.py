"""Dagster's code server, web server and daemon as child processes of `floe dev`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe_core.diagnostics import display_path
from floe_core.environment_variables import (
    DAGSTER_HOME,
    FLOE_ARTIFACTS,
    FLOE_PROJECT_DIR,
    FLOE_START_SCHEDULES,
)
from floe_core.errors import ServiceUnavailableError, UsageError
from floe_core.layout import Layout, write_atomic

_DEFINITIONS = "floe_dagster.definitions"
_START_SECONDS = 180.0
_POLL_SECONDS = 0.1
_TAIL_LINES = 15
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LOAD_ERROR = "... on PythonError { message }"
_LOCATION = f"""
query Location($name: String!) {{
  workspaceLocationEntryOrError(name: $name) {{
    __typename {_LOAD_ERROR}
    ... on WorkspaceLocationEntry {{ locationOrLoadError {{ __typename {_LOAD_ERROR} }} }}
  }}
}}"""
_RELOAD = f"""
mutation Reload($name: String!) {{
  reloadRepositoryLocation(repositoryLocationName: $name) {{
    __typename {_LOAD_ERROR}
    ... on WorkspaceLocationEntry {{ locationOrLoadError {{ __typename {_LOAD_ERROR} }} }}
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the web server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Services:
    """The running services; made by `start`."""

    def __init__(self, address: Address, location: str, running: Sequence[_Service]) -> None:
        self.address = address
        self._location = location
        self._running = running

    def check(self) -> None:
        """Look whether all services are running.

        Raises:
            ServiceUnavailableError: if one is not; the message has the last lines of its log.
        """
        for service in self._running:
            code = service.process.poll()
            if code is not None:
                raise ServiceUnavailableError(_epitaph(service, code))

    def reload(self) -> None:
        """Load the definitions anew, in all services.

        Raises:
            ServiceUnavailableError: if they cannot be loaded, or the web server does not answer.
        """
        problem = _load_error(self._ask(_RELOAD))
        if problem is not None:
            raise ServiceUnavailableError(f"Dagster cannot load the definitions: {problem}")

    def wait_until_loaded(self) -> None:
        """Wait until the web server answers and has loaded the definitions.

        Raises:
            ServiceUnavailableError: if a service ends before that, or it takes minutes.
        """

        def is_loaded() -> bool:
            try:
                answer = self._ask(_LOCATION)
            except ServiceUnavailableError:
                return False
            [entry] = answer.values()
            return entry.get("locationOrLoadError") is not None

        self._wait(is_loaded, "Dagster's web server")
        problem = _load_error(self._ask(_LOCATION))
        if problem is not None:
            raise ServiceUnavailableError(f"Dagster cannot load the definitions: {problem}")

    def wait_for(self, path: Path) -> None:
        """Wait until a service has made a file."""
        self._wait(path.exists, "Dagster's code server")

    def _wait(self, is_ready: Callable[[], bool], who: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"{who} is not ready after {_START_SECONDS:.0f} seconds",
                    help=f"Its log is in {display_path(self._running[-1].log.parent)}.",
                )
            time.sleep(_POLL_SECONDS)

    def _ask(self, query: str) -> Mapping[str, Any]:
        body = {"query": query, "variables": {"name": self._location}}
        request = urllib.request.Request(
            f"{self.address.url}/graphql",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_START_SECONDS) as response:
                answer = json.loads(response.read())
        except (OSError, ValueError) as problem:
            raise ServiceUnavailableError(
                f"Dagster's web server does not answer: {problem}"
            ) from None
        data: Mapping[str, Any] | None = answer.get("data")
        if data is None:
            raise ServiceUnavailableError(f"Dagster's web server answers: {answer.get('errors')}")
        return data


def _load_error(answer: Mapping[str, Any]) -> str | None:
    """Why the definitions are not loaded; None when they are."""
    [entry] = answer.values()
    loaded = entry.get("locationOrLoadError") or entry
    if loaded["__typename"] == "RepositoryLocation":
        return None
    return str(loaded.get("message") or loaded["__typename"]).strip()


def _epitaph(service: _Service, code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    text = _COLOURS.sub("", service.log.read_text(encoding="utf-8", errors="replace"))
    tail = "".join(f"\n  {line}" for line in text.splitlines()[-_TAIL_LINES:])
    where = display_path(service.log)
    return f"{service.name} {how}; {f'the end of {where}:{tail}' if tail else f'{where} is empty'}"


def free_address(host: str, port: int) -> Address:
    """Settle where to listen; port 0 stands for a free one.

    Raises:
        UsageError: if one cannot listen there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen(1)
            return Address(host, probe.getsockname()[1])
    except OSError as problem:
        raise _cannot_listen(host, port, problem) from None


def _cannot_listen(host: str, port: int, problem: OSError) -> UsageError:
    import errno

    if problem.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} of {host} is in use by another program",
            help="Choose another with `--port`; `--port 0` takes a free one.",
        )
    return UsageError(
        f"one cannot listen on port {port} of {host}: {problem.strerror}",
        help="Choose others with `--host` and `--port`.",
    )


@contextmanager
def start(
    layout: Layout, artifacts: Path, location: str, address: Address, *, schedules: bool
) -> Iterator[Services]:
    """Start the services on the project's Dagster instance, and end them.

    They end with this process too, even when it is killed.

    Args:
        layout: The project's files.
        artifacts: The artifacts that the definitions are made from.
        location: Name of the code location.
        address: Where the web server listens.
        schedules: Whether schedules and sensors run without being turned on in Dagster.

    Raises:
        ServiceUnavailableError: if one of them does not start.
    """
    layout.logs.mkdir(parents=True, exist_ok=True)
    environment, instance = _environment(layout, artifacts, schedules=schedules)
    running: list[_Service] = []
    with tempfile.TemporaryDirectory(prefix="floe-") as name, _guard() as guard:
        code, workspace = Path(name) / "code", Path(name) / "workspace.yaml"
        server = {"socket": str(code), "location_name": location}
        write_atomic(workspace, json.dumps({"load_from": [{"grpc_server": server}]}).encode())

        def launch(title: str, *arguments: str) -> None:
            log = layout.logs / f"dagster-{title.replace(' ', '-')}.log"
            command = [sys.executable, "-m", *arguments, "--instance-ref", instance]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=layout.root,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            guard(process)
            running.append(_Service(f"Dagster's {title}", process, log))

        services = Services(address, location, running)
        launch(
            "code server",
            *("dagster", "code-server", "start", "--socket", str(code)),
            *("-m", _DEFINITIONS, "--location-name", location, "--log-level", "warning"),
        )
        services.wait_for(code)
        where = ("--workspace", str(workspace), "--code-server-log-level", "warning")
        listen = ("--host", address.host, "--port", str(address.port))
        launch("web server", "dagster_webserver", *listen, *where)
        launch("daemon", "dagster._daemon", "run", *where)
        services.wait_until_loaded()
        yield services


def _environment(layout: Layout, artifacts: Path, *, schedules: bool) -> tuple[dict[str, str], str]:
    """Environment of the services, and the instance in Dagster's own notation."""
    from dagster._serdes import serialize_value

    from floe_dagster.instance import instance_ref, prepare_home

    environment = {
        **os.environ,
        DAGSTER_HOME: str(prepare_home(layout)),
        FLOE_ARTIFACTS: str(artifacts),
        FLOE_PROJECT_DIR: str(layout.root),
    }
    if schedules:
        environment[FLOE_START_SCHEDULES] = "1"
    return environment, serialize_value(instance_ref(layout))


@contextmanager
def _guard() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Hand out a function that puts a process under guard; see `floe_dagster.guard`."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "floe_dagster.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    guarded: list[subprocess.Popen[bytes]] = []
    assert guard.stdin is not None

    def add(process: subprocess.Popen[bytes]) -> None:
        guarded.append(process)
        assert guard.stdin is not None
        guard.stdin.write(f"{process.pid}\n".encode())
        guard.stdin.flush()

    try:
        yield add
    finally:
        with suppress(BrokenPipeError):
            guard.stdin.close()
        for process in guarded:
            process.wait()
        guard.wait()
