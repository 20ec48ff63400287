"""`floe dev` as a process, and Dagster's GraphQL API behind it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 240
_GOING = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}
_REPOSITORIES = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
    name location { name } assetNodes { assetKey { path } }
    schedules { name scheduleState { status } } } } } }
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) { __typename } }
"""


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.2)


@dataclass
class DevServer:
    """A running `floe dev`."""

    process: subprocess.Popen[str]
    folder: Path
    url: str
    errors: Path

    @property
    def said(self) -> str:
        """What it has printed to standard error."""
        return self.errors.read_text()

    def wait_to_say(self, text: str) -> None:
        """Wait until it has printed this to standard error."""
        wait_for(lambda: text in self.said or self.process.poll() is not None, text)
        assert text in self.said, self.said

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask the GraphQL API."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    @property
    def repository(self) -> dict[str, Any]:
        """The one repository: its name, location, assets and schedules."""
        [found] = self.ask(_REPOSITORIES)["repositoriesOrError"]["nodes"]
        return dict(found)

    @property
    def assets(self) -> set[str]:
        """Names of the assets."""
        return {node["assetKey"]["path"][-1] for node in self.repository["assetNodes"]}

    def launch(self, job: str = "floe_run") -> str:
        """Launch a job and return the run's id."""
        repository = self.repository
        selector = {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
            "pipelineName": job,
        }
        params = {"selector": selector, "runConfigData": {}, "mode": "default"}
        launched = self.ask(_LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def status(self, run_id: str) -> str:
        """Status of a run."""
        return str(self.ask(_STATUS, id=run_id)["runOrError"]["status"])

    def terminate(self, run_id: str) -> None:
        """Ask for the end of a run."""
        self.ask(_TERMINATE, id=run_id)

    def wait_for_run(self, run_id: str) -> str:
        """Wait for a run to end, and return its status."""
        wait_for(lambda: self.status(run_id) not in _GOING, f"the end of run {run_id}")
        return self.status(run_id)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def dev_server(folder: Path, *options: str) -> Iterator[DevServer]:
    """Start `floe dev` on a free port, and stop it if the test has not."""
    floe = str(Path(sys.executable).with_name("floe"))
    errors = folder.with_suffix(".errors")
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [floe, "dev", "--port", "0", *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " at http://" in line, errors.read_text()
        yield DevServer(process, folder, line.split(" at ")[1].strip(), errors)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)
        process.stdout.close()


def processes_of(folder: Path) -> set[int]:
    """Ids of the processes that run in a folder."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.add(int(entry.name))
    return found
