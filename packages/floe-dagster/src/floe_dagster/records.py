"""Run records: what each run did, one JSON file a run under `.floe/runs/<environment>/`.

A record is written when a run starts and again when it ends, so that a run whose process was killed
is seen. Importing this module imports neither Dagster nor dbt.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from floe_core.layout import Layout, write_atomic

RunStatus = Literal["success", "failed", "cancelled", "running", "crashed"]
"""Outcome of a run; `crashed` is read from a running record whose process is gone."""

_log = logging.getLogger("floe")


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What happened to one node of a run. Fields are those of `floe_dbt.engine.NodeFinished`.

    `started_at` is None for what had no turn. `compiled_path` is relative to the project root,
    `path` to the dbt project.
    """

    unique_id: str
    name: str
    resource_type: str
    status: str
    transform: str | None = None
    started_at: datetime | None = None
    seconds: float = 0.0
    rows: int | None = None
    failures: int | None = None
    message: str | None = None
    path: str | None = None
    line: int | None = None
    compiled_path: str | None = None
    relation: str | None = None
    traceback: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a product in one environment.

    Attributes:
        run_id: Id of the run in Dagster's instance too.
        product: Name of the data product.
        environment: Name of the environment.
        status: Outcome.
        started_at: When it started, in UTC.
        finished_at: When it ended; None while it runs and after a crash.
        seconds: How long it took.
        source_hash: `metadata.source_hash` of the artifacts that ran.
        selection: The request: select, exclude, transforms, failed, full_refresh, threads.
        vars: dbt vars that it ran with.
        planned: Unique ids of what was to be built and tested, in order.
        nodes: What happened, in the order in which nodes ended.
        error: Why the run broke off, when it is not a node that failed.
        is_unreachable: Whether `error` is that the database does not answer.
        trace_id: Id of the run's trace, as 32 hexadecimal digits; None where spans are off.
        warnings: What telemetry and lineage could not do, in a sentence each.
        dropped: How much of it is lost, by `traces`, `metrics`, `logs` and `lineage`.
        pid: Process that runs it.
        host: Machine of that process.
    """

    run_id: str
    product: str
    environment: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None = None
    seconds: float | None = None
    source_hash: str = ""
    selection: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    planned: tuple[str, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    error: str | None = None
    is_unreachable: bool = False
    trace_id: str | None = None
    warnings: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)

    @property
    def is_success(self) -> bool:
        """Whether everything that was planned was built and passed."""
        return self.status == "success"


@dataclass(frozen=True, slots=True)
class NodeState:
    """The last that is known of one node.

    Attributes:
        node: What happened to it.
        run_id: In which run.
        at: When that run ended, or started when it has no end.
    """

    node: NodeRecord
    run_id: str
    at: datetime


OnSkip = Callable[[Path, str], None]


def write_record(layout: Layout, record: RunRecord) -> Path:
    """Write a record, in place of the one that the same run wrote before."""
    started = record.started_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = layout.runs(record.environment) / f"{started}-{record.run_id[:8]}.json"
    write_atomic(path, orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2))
    return path


def read_records(
    layout: Layout,
    environment: str,
    *,
    limit: int | None = None,
    on_skip: OnSkip | None = None,
) -> list[RunRecord]:
    """Read the records of an environment, newest first.

    Args:
        layout: The project's files.
        environment: Name of the environment.
        limit: Most records to read; all when None.
        on_skip: Called with a file that is no record, and why; a log message when None.
    """
    found: list[RunRecord] = []
    for record in _newest_first(layout, environment, on_skip or _log_skip):
        if limit is not None and len(found) >= limit:
            break
        # One run at a time holds the lock, so only the newest can still be running.
        has_process = not found and _is_alive(record)
        is_crashed = record.status == "running" and not has_process
        found.append(replace(record, status="crashed") if is_crashed else record)
    return found


def find_record(layout: Layout, environment: str, run_id: str) -> RunRecord | None:
    """Read the record of one run as it was written last; None when there is none."""
    for path in layout.runs(environment).glob(f"[0-9]*-{run_id[:8]}.json"):
        record = _parse(path.read_bytes())
        if record.run_id == run_id:
            return record
    return None


def _newest_first(layout: Layout, environment: str, on_skip: OnSkip) -> Iterator[RunRecord]:
    for path in sorted(layout.runs(environment).glob("*.json"), reverse=True):
        if path.name.startswith("."):
            continue
        try:
            yield _parse(path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
            on_skip(path, str(problem))


def _log_skip(path: Path, why: str) -> None:
    _log.warning("%s is not a run record and is left out: %s", path, why)


def _parse(content: bytes) -> RunRecord:
    document = orjson.loads(content)
    values = _known(RunRecord, document)
    if values["status"] not in get_args(RunStatus):
        raise ValueError(f"`status` is {values['status']!r}")
    values["started_at"] = datetime.fromisoformat(values["started_at"])
    if values.get("finished_at"):
        values["finished_at"] = datetime.fromisoformat(values["finished_at"])
    values["planned"] = tuple(values.get("planned", ()))
    values["warnings"] = tuple(values.get("warnings", ()))
    values["nodes"] = tuple(map(_node, values.get("nodes", ())))
    return RunRecord(**values)


def _node(document: Mapping[str, Any]) -> NodeRecord:
    values = _known(NodeRecord, document)
    if values.get("started_at"):
        values["started_at"] = datetime.fromisoformat(values["started_at"])
    return NodeRecord(**values)


def _known(record: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the fields that a newer floe wrote."""
    names = {field.name for field in fields(record)}
    return {key: value for key, value in document.items() if key in names}


def _is_alive(record: RunRecord) -> bool:
    if record.host != socket.gethostname():
        return True  # cannot be told from here
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _has_ended(record.pid)


def _has_ended(pid: int) -> bool:
    """Whether a process is over, and only kept because nobody has asked how it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:  # macOS has no such file
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def last_states(records: Iterable[RunRecord]) -> dict[str, NodeState]:
    """Find the last state of each node, by unique id, in records that are newest first."""
    states: dict[str, NodeState] = {}
    for record in records:
        for node in record.nodes:
            at = record.finished_at or record.started_at
            states.setdefault(node.unique_id, NodeState(node, record.run_id, at))
    return states
