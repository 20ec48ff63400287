"""Turns the events of a `dbt build` into floe's, as they happen."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from floe_dbt import messages
from floe_dbt.engine import (
    Commit,
    Described,
    Event,
    Invocation,
    Listener,
    NodeFinished,
    NodeStarted,
    NodeStatus,
    Window,
)

_RESOURCE_TYPES = {
    "model": "model",
    "seed": "seed",
    "snapshot": "snapshot",
    "test": "test",
    "unit_test": "test",
}
_STATUSES: Mapping[str, NodeStatus] = {
    "success": "success",
    "error": "error",
    "runtime error": "error",
    "partial success": "error",
    "skipped": "skipped",
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
}
_STORED = frozenset({"model", "seed", "snapshot"})
_BATCH = re.compile(r"batch (\d{4}(?:-\d\d(?:-\d\d(?:T\d\d)?)?)?) of ")
"""How dbt describes a batch: by its start, as exactly as batches of its size need."""

_BEFORE_WORK = frozenset({"ConcurrencyLine", "NodeCompiling", "NodeExecuting", "SQLQuery"})
"""Events of dbt after which a node, a hook or a statement begins."""


class Cancelled(Exception):
    """Raised into dbt to keep it from going on."""


class BuildLog:
    """The callback that dbt hands its events to, from all of its threads.

    Attributes:
        finished: Nodes that have ended, in that order.
        is_cancelled: Set this to keep dbt from starting anything more.
        exempt_thread: Identifier of the thread that may go on talking to the database.
        failure: What the listener raised; it cancels the build.
    """

    def __init__(
        self,
        invocation: Invocation,
        listener: Listener,
        count_rows: Callable[[str], int | None],
        describe: Callable[[Mapping[str, Any]], Described],
    ) -> None:
        self.finished: list[NodeFinished] = []
        self.is_cancelled = threading.Event()
        self.exempt_thread: int | None = None
        self.failure: Exception | None = None
        self._invocation = invocation
        self._listener = listener
        self._count_rows = count_rows
        self._describe = describe
        self._described: set[str] = set()
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._started: set[str] = set()
        self._batches: dict[str, list[Window]] = {}
        self._causes: dict[str, str] = {}
        self._nodes: Mapping[str, Any] | None = None

    def __call__(self, event: Any) -> None:
        """Take one event of dbt.

        Raises:
            Cancelled: if the build is cancelled and dbt is about to begin something.
        """
        name = event.info.name
        if name == "NodeStart":
            self._open[event.data.node_info.unique_id] += 1
        elif name == "LogBatchResult":
            self._end_batch(event)
        elif name == "GenericExceptionOnRun":
            cause = event.data.exc.removeprefix("Exception on worker thread. ")
            self._causes.setdefault(event.data.unique_id, cause)
        elif name == "NodeFinished":
            self._finish(event.data.node_info, event.data.run_result)
        if name in _BEFORE_WORK:
            self._check()
        if name == "NodeCompiling":
            self._start(event.data.node_info)

    def complete(self, results: Iterable[Any]) -> None:
        """Add the nodes that dbt has a result but no event for, as when it fails fast."""
        known = {node.unique_id for node in self.finished}
        for result in results:
            node = result.node
            if node.resource_type in _RESOURCE_TYPES and node.unique_id not in known:
                self._emit_finished(
                    NodeFinished(
                        unique_id=node.unique_id,
                        resource_type=_RESOURCE_TYPES[node.resource_type],
                        name=node.name,
                        status=self._status(node.unique_id, str(result.status)),
                        started_at=datetime.now(UTC),
                        seconds=0.0,
                        path=node.original_file_path,
                    )
                )

    def _check(self) -> None:
        if self.is_cancelled.is_set() and threading.get_ident() != self.exempt_thread:
            raise Cancelled("the build was cancelled")

    def _start(self, node: Any) -> None:
        if node.resource_type not in _RESOURCE_TYPES or node.unique_id in self._started:
            return
        self._started.add(node.unique_id)
        self._emit(
            NodeStarted(
                unique_id=node.unique_id,
                resource_type=_RESOURCE_TYPES[node.resource_type],
                name=node.node_name,
                started_at=_instant(node.node_started_at),
            )
        )

    def _end_batch(self, event: Any) -> None:
        """Keep a batch that was built; dbt says which one it was in words only."""
        found = _BATCH.match(event.data.description)
        if found and event.info.level != "error" and event.data.status != "skipped":
            batches = self._batches.setdefault(event.data.node_info.unique_id, [])
            batches.append(_batch(found[1]))

    def _finish(self, node: Any, result: Any) -> None:
        self._open[node.unique_id] -= 1
        if node.resource_type not in _RESOURCE_TYPES or self._open[node.unique_id] > 0:
            return  # the batches of a microbatch model end before the model does
        status = self._status(node.unique_id, result.status)
        has_run = status != "skipped"
        # Of a microbatch model dbt says how many batches failed, and elsewhere why the first did.
        message = self._causes.get(node.unique_id, result.message)
        source, compiled = self._files(node.unique_id)
        self._emit_finished(
            NodeFinished(
                unique_id=node.unique_id,
                resource_type=_RESOURCE_TYPES[node.resource_type],
                name=node.node_name,
                status=status,
                started_at=_instant(node.node_started_at),
                seconds=result.execution_time if has_run else 0.0,
                rows=self._rows(node, result) if status == "success" else None,
                failures=result.num_failures if status in {"pass", "warn", "fail"} else None,
                message=_message(status, message),
                path=source,
                line=self._line(status, message, source, compiled),
                compiled_path=str(compiled) if compiled is not None else None,
                relation=node.node_relation.relation_name or None,
                batches=tuple(sorted(self._batches.get(node.unique_id, ()), key=_start)),
                commit=_commit(result) if status == "success" else None,
                relations=self._relations(node) if status == "success" else {},
            )
        )

    def _relations(self, node: Any) -> Mapping[str, Described]:
        """What a node has made, and what it reads that nobody has told of yet."""
        if not self._invocation.describes or node.resource_type not in _STORED:
            return {}
        nodes = self._manifest_nodes()
        with self._lock:
            unknown = {node.unique_id, *_sources(nodes, node.unique_id) - self._described}
            self._described |= unknown
        # Asked for outside of the lock, which other threads wait for.
        return {
            name: self._describe(nodes[name])
            for name in sorted(unknown)
            if nodes.get(name, {}).get("relation_name")
        }

    def _rows(self, node: Any, result: Any) -> int | None:
        """Rows that were written: what the adapter tells, else the size of a table made anew."""
        if node.materialized in {"view", "ephemeral"}:
            return None
        rows = _rows_affected(result)
        relation = node.node_relation.relation_name
        if rows is None and node.materialized == "table" and relation:
            rows = self._count_rows(relation)
        return rows

    def _status(self, unique_id: str, status: str) -> NodeStatus:
        known = _STATUSES.get(status, "error")
        if known == "error" and self.is_cancelled.is_set():
            return "cancelled" if unique_id in self._started else "skipped"
        return known

    def _emit_finished(self, event: NodeFinished) -> None:
        with self._lock:
            self.finished.append(event)
        self._emit(event)

    def _emit(self, event: Event) -> None:
        try:
            self._listener(event)
        except Exception as failure:
            # Raised here, it would end one of dbt's threads and the build would wait forever.
            self.failure = self.failure or failure
            self.is_cancelled.set()

    def _files(self, unique_id: str) -> tuple[str | None, Path | None]:
        """The node's file, relative to the dbt project, and its compiled SQL if there is any."""
        node = self._manifest_nodes().get(unique_id)
        if node is None:
            return None, None
        return self._source(node), self._compiled(node)

    def _source(self, node: Mapping[str, Any]) -> str:
        path = str(node["original_file_path"])
        project = self._invocation.root / self._invocation.project
        installed = Path("dbt_packages") / node["package_name"] / path
        is_installed = not (project / path).is_file() and (project / installed).is_file()
        return installed.as_posix() if is_installed else path

    def _compiled(self, node: Mapping[str, Any]) -> Path | None:
        own = str(node["original_file_path"])
        if os.path.basename(own) != os.path.basename(node["path"]):  # noqa: PTH119
            own = f"{own}/{node['path']}"  # generic tests: several in one file
        path = self._invocation.target_path / "compiled" / node["package_name"] / own
        return path if path.is_file() else None

    def _line(
        self, status: NodeStatus, message: str, source: str | None, compiled: Path | None
    ) -> int | None:
        if status != "error" or source is None or not source.endswith(".sql"):
            return None
        project = self._invocation.root / self._invocation.project
        try:
            line = messages.parse(message).line
            if line is not None or compiled is None:
                return line
            return messages.source_line(
                message,
                (project / source).read_text(encoding="utf-8"),
                compiled.read_text(encoding="utf-8"),
            )
        except (OSError, UnicodeDecodeError):
            return None

    def _manifest_nodes(self) -> Mapping[str, Any]:
        """Nodes of the manifest that dbt wrote when it parsed, just before the build."""
        with self._lock:
            if self._nodes is None:
                try:
                    content = (self._invocation.target_path / "manifest.json").read_bytes()
                    manifest = orjson.loads(content)
                    self._nodes = {
                        **manifest["nodes"],
                        **manifest["sources"],
                        **manifest.get("unit_tests", {}),
                    }
                except (OSError, ValueError, KeyError):
                    self._nodes = {}
            return self._nodes


def _sources(nodes: Mapping[str, Any], unique_id: str) -> set[str]:
    """What a node reads: its parents, and those of parents that are only a part of its SQL."""
    found: set[str] = set()
    waiting = [unique_id]
    while waiting:
        node = nodes.get(waiting.pop(), {})
        for name in (node.get("depends_on") or {}).get("nodes", ()):
            parent = nodes.get(name)
            if parent is not None and name not in found:
                found.add(name)
                if (parent.get("config") or {}).get("materialized") == "ephemeral":
                    waiting.append(name)
    return found


def _commit(result: Any) -> Commit | None:
    """The snapshot that dbt-duckdb-iceberg tells of; a protobuf keeps numbers as floats."""
    told = dict(result.adapter_response)
    if "snapshot_id" not in told or "location" not in told:
        return None
    totals = ("total_data_files", "total_files_size", "total_records")
    return Commit(
        snapshot_id=int(told["snapshot_id"]),
        is_first=bool(told.get("is_first_snapshot")),
        location=told["location"],
        added_files=int(told.get("added_files", 0)),
        added_files_size=int(told.get("added_files_size", 0)),
        **{name: int(told[name]) for name in totals if name in told},
    )


def _start(batch: Window) -> datetime:
    return batch.start


def _batch(text: str) -> Window:
    """The batch that begins at a year, month, day or hour; the form says which of them it is."""
    parts = [int(part) for part in re.split("[-T]", text)]
    year, month, day, hour = [*parts, *(1, 1, 0)[len(parts) - 1 :]]
    start = datetime(year, month, day, hour, tzinfo=UTC)
    if len(parts) == 4:
        return Window(start, start + timedelta(hours=1))
    if len(parts) == 3:
        return Window(start, start + timedelta(days=1))
    months = 12 if len(parts) == 1 else 1
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return Window(start, datetime(year, month + 1, 1, tzinfo=UTC))


def _instant(text: str) -> datetime:
    """Read a timestamp of dbt, which is UTC and does not say so."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else datetime.now(UTC)


def _rows_affected(result: Any) -> int | None:
    response = result.adapter_response
    if "rows_affected" not in response:
        return None
    try:
        rows = int(response["rows_affected"])
    except (TypeError, ValueError):
        return None
    return rows if rows >= 0 else None


def _message(status: NodeStatus, message: str) -> str | None:
    if status in {"success", "pass", "skipped", "cancelled"} or not message:
        return None
    return messages.parse(message).text
