"""Pulling artifacts into `.floe`, and going back to those that a pull replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from floe_client.client import ControlPlaneClient
from floe_core.artifacts import load_artifacts, parse_artifacts
from floe_core.diagnostics import Report
from floe_core.errors import ArtifactsError, ControlPlaneError, UsageError
from floe_core.layout import Layout, write_atomic
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_core.secret_scan import refuse_literal_secrets
from floe_core.source import Source


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull or a rollback came to.

    Attributes:
        artifacts: The artifacts that are in `path` now.
        path: Where they are.
        is_changed: Whether `path` holds others than before.
    """

    artifacts: CompiledArtifacts
    path: Path
    is_changed: bool


def pull(
    client: ControlPlaneClient, environment_id: str, layout: Layout, file: Path | None = None
) -> Pulled:
    """Fetch the artifacts of an environment into `.floe/artifacts.json`, or into `file`.

    Nothing is replaced unless the answer follows the contract. What `.floe/artifacts.json` held is
    kept for `rollback`.

    Args:
        client: The control plane.
        environment_id: What the control plane calls the environment.
        layout: Where the artifacts go.
        file: A file to write instead; `.floe` is then left alone.

    Raises:
        ServiceUnavailableError: if the control plane gives no whole answer in time.
        ControlPlaneError: if it refuses the key, or answers what is of no use.
        ArtifactsError: if the answer is no artifacts, or of another major version.
        UsageError: if it has no such environment, or the file cannot be written.
    """
    url = client.artifacts_url(environment_id)
    etag = _etag(layout, url) if file is None else None
    fetched = client.fetch_artifacts(environment_id, etag)
    if fetched is None:
        if etag is None:
            raise ControlPlaneError(
                f"the control plane at {client.host} answers 304 to a question that it did not get"
            )
        return Pulled(load_artifacts(layout.artifacts), layout.artifacts, is_changed=False)
    artifacts, content = _checked(fetched.body, client.host)
    try:
        if file is None:
            return Pulled(artifacts, layout.artifacts, _replace(layout, content, url, fetched.etag))
        return Pulled(artifacts, file, _write(file, content))
    except OSError as problem:
        where = file or layout.folder
        raise UsageError(f"{where} cannot be written to: {problem.strerror}") from None


def rollback(layout: Layout) -> Pulled:
    """Exchange the artifacts with those that the last pull, or a compile after it, replaced.

    Raises:
        UsageError: if nothing was replaced.
        ArtifactsError: if what was replaced cannot be read any more.
    """
    previous = _read(layout.previous_artifacts)
    if previous is None:
        raise UsageError(
            "there are no earlier artifacts to go back to",
            help="`floe pull` keeps the artifacts that it replaces, one version back.",
        )
    artifacts = load_artifacts(layout.previous_artifacts)
    current = _read(layout.artifacts)
    write_atomic(layout.artifacts, previous)
    if current is None:
        layout.previous_artifacts.unlink()
    else:
        write_atomic(layout.previous_artifacts, current)
    return Pulled(artifacts, layout.artifacts, is_changed=current != previous)


def _checked(body: bytes, host: str) -> tuple[CompiledArtifacts, bytes]:
    """The artifacts of an answer, marked as pulled; what this floe does not know is kept."""
    try:
        artifacts = parse_artifacts(body, origin=f"the answer of the control plane at {host}")
    except ArtifactsError as problem:
        raise ArtifactsError(problem.message, help="Nothing was replaced.") from None
    document: dict[str, Any] = orjson.loads(body)
    _refuse_secrets(document, host)
    document["metadata"]["origin"] = "pulled"
    metadata = artifacts.metadata.model_copy(update={"origin": "pulled"})
    return artifacts.model_copy(update={"metadata": metadata}), _dump(document)


def _refuse_secrets(document: Mapping[str, Any], host: str) -> None:
    """Connection properties are written to profiles.yml, so they hold references alone."""
    report = Report()
    read = {key: deepcopy(document[key]) for key in ("compute", "profiles") if key in document}
    refuse_literal_secrets(Source(Path("artifacts.json"), data=read), report)
    for diagnostic in report.diagnostics:
        raise ArtifactsError(
            f"the answer of the control plane at {host} has a literal secret in "
            f"`{diagnostic.field}`",
            help="Nothing was replaced; `compute.connection_secret_ref` names a secret.",
        )


def _dump(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _replace(layout: Layout, content: bytes, url: str, etag: str | None) -> bool:
    """Put artifacts in place, keeping what was there and where the new ones came from."""
    layout.prepare()
    current = _read(layout.artifacts)
    is_changed = current != content
    if is_changed:
        if current is not None:
            write_atomic(layout.previous_artifacts, current)
        write_atomic(layout.artifacts, content)
    record = {"url": url, "etag": etag, "sha256": hashlib.sha256(content).hexdigest()}
    write_atomic(layout.pull, _dump(record))
    return is_changed


def _write(file: Path, content: bytes) -> bool:
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is not a file")
    is_changed = _read(file) != content
    if is_changed:
        write_atomic(file, content)
    return is_changed


def _etag(layout: Layout, url: str) -> str | None:
    """The ETag of what is there now; None when it came from elsewhere, or was replaced since."""
    try:
        record = orjson.loads(layout.pull.read_bytes())
        etag: str | None = record["etag"]
        is_same = record["url"] == url and record["sha256"] == _hash(layout.artifacts)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return etag if is_same else None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
