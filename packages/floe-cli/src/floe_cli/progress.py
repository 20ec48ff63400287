"""What `floe run` shows: a line per node while it works, and a summary at the end."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_cli.output import Output, plural, shown_path, style

if TYPE_CHECKING:
    from rich.status import Status

    from floe_dagster.plan import RunPlan
    from floe_dagster.records import NodeRecord, RunRecord
    from floe_dbt.engine import Event

_LABELS = {
    "success": ("done", "green"),
    "pass": ("pass", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
    "error": ("ERROR", "red"),
    "skipped": ("skip", "yellow"),
    "cancelled": ("stop", "yellow"),
}
_BAD = ("error", "fail")


class Progress:
    """Prints a line when a node ends and, on a terminal, what is at work right now."""

    def __init__(self, out: Output, plan: RunPlan) -> None:
        self.out = out
        self.plan = plan
        self.total = len(plan.unique_ids)
        self.ended = 0
        self.working: dict[str, str] = {}
        self.lock = threading.Lock()
        self.width = min(60, max((len(n) for n in self._names()), default=10))
        self.status: Status | None = None

    def _names(self) -> list[str]:
        return [node.name for unit in self.plan.units for node in (*unit.nodes, *unit.tests)]

    def __enter__(self) -> Progress:
        if not self.out.is_json:
            count = plural(self.total, "node")
            self.out.note(
                f"Running {count} of {self.plan.product} in environment {self.plan.environment}."
            )
            self.status = self.out.status("starting ...")
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is not None:
            self.status.stop()

    def listen(self, event: Event) -> None:
        """Take note of an event; called from several threads."""
        from floe_dbt.engine import NodeStarted

        with self.lock:
            if isinstance(event, NodeStarted):
                self.working[event.unique_id] = event.name
            else:
                self.working.pop(event.unique_id, None)
                self.ended += 1
                self._print(self._line(event))
            if self.status is not None:
                self.status.update(f"{self.ended}/{self.total}  {', '.join(self.working.values())}")

    def _print(self, line: str) -> None:
        if self.status is not None:
            from rich.text import Text

            self.status.console.print(Text.from_ansi(line), soft_wrap=True)
        elif not self.out.is_json:
            self.out.note(line)

    def _line(self, event: Any) -> str:
        label, colour = _LABELS[event.status]
        counter = f"{self.ended:>{len(str(self.total))}}/{self.total}"
        name = event.name if len(event.name) <= self.width else event.name[: self.width - 1] + "…"
        text = style(f"{label:<5}", sys.stderr, fg=colour)
        line = f"{counter}  {text}  {event.resource_type:<8}  {name:<{self.width}}  {_facts(event)}"
        return line.rstrip()


def _facts(node: Any) -> str:
    if node.status == "skipped":
        return ""
    facts = f"{node.seconds:.2f} s"
    if node.rows is not None:
        facts += f"  {plural(node.rows, 'row')}"
    if node.failures:
        facts += f"  {plural(node.failures, 'failing row')}"
    return facts


def record_document(record: RunRecord) -> dict[str, Any]:
    """A run's record as data."""
    from dataclasses import asdict

    return {"ok": record.is_success, **asdict(record)}


def summarise(
    out: Output, record: RunRecord, root: Path, projects: Mapping[str, Path], options: str
) -> None:
    """Say what failed and why, count what was done, and name the next command.

    Args:
        out: Where to print.
        record: The run.
        root: Project root.
        projects: Folder of the dbt project of each transform.
        options: Options that say what was compiled, for the next command.
    """
    if out.is_json:
        return
    for node in record.nodes:
        if node.status in _BAD:
            out.problem("\n" + describe_failure(node, root, projects))
    if record.error:
        out.problem(f"\n{style('error:', sys.stderr, fg='red', bold=True)} {record.error}")
    out.result("\n".join([*_built(record), _verdict(record)]))
    if record.trace_id is not None:
        out.note(f"Trace {record.trace_id}")
    for warning in record.warnings:
        out.warn(warning)
    hint = _next_command(record, options)
    if hint:
        out.note(f"Next: {hint}")


def describe_failure(node: NodeRecord, root: Path, projects: Mapping[str, Path]) -> str:
    """Name a failed node with its file and line, and what the database said."""
    project = projects.get(node.transform or "") or next(iter(projects.values()))
    lines = [
        f"{style(node.status, sys.stderr, fg='red', bold=True)} in {node.resource_type} {node.name}"
    ]
    if node.path:
        place = shown_path(project / node.path)
        lines.append(f"  --> {place}:{node.line}" if node.line else f"  --> {place}")
    if node.message or node.traceback:
        text = node.traceback or node.message or ""
        lines += [f"  {line}".rstrip() for line in text.splitlines()]
    if node.compiled_path:
        path = shown_path(root / node.compiled_path)
        is_failed_test = node.status == "fail"
        lines.append(
            f"  its rows: floe query --file {path}" if is_failed_test else f"  ran as: {path}"
        )
    return "\n".join(lines)


_MOST_SHOWN = 40


def _built(record: RunRecord) -> list[str]:
    """A line for each seed, model and snapshot: status, seconds, rows."""
    nodes = [node for node in record.nodes if node.resource_type != "test"]
    shown = nodes[:_MOST_SHOWN]
    width = max((len(node.name) for node in shown), default=0)
    lines = []
    for node in shown:
        label, colour = _LABELS[node.status]
        status = style(f"{label:<5}", sys.stdout, fg=colour)
        seconds = "" if node.status == "skipped" else f"{node.seconds:.2f} s"
        rows = "" if node.rows is None else plural(node.rows, "row")
        lines.append(
            f"  {status}  {node.resource_type:<8}  {node.name:<{width}}  {seconds:>9}  {rows:>16}"
        )
    if len(nodes) > len(shown):
        lines.append(f"  ... and {len(nodes) - len(shown):,} more; `floe list` shows them all")
    return [line.rstrip() for line in lines]


_COUNTED = (
    ("success", "built"),
    ("pass", "passed"),
    ("warn", "warned"),
    ("fail", "failed"),
    ("error", "broke"),
    ("skipped", "skipped"),
    ("cancelled", "stopped"),
)
_VERDICTS = {"success": "Done", "failed": "Failed", "cancelled": "Interrupted"}


def _verdict(record: RunRecord) -> str:
    counts = Counter(node.status for node in record.nodes)
    parts = [f"{counts[status]} {word}" for status, word in _COUNTED if counts[status]]
    done = ", ".join(parts) or "nothing was run"
    return f"{_VERDICTS.get(record.status, record.status)}: {done} ({record.seconds or 0:.1f} s)"


def _next_command(record: RunRecord, options: str) -> str | None:
    if record.is_success:
        last = next((n for n in reversed(record.nodes) if n.resource_type == "model"), None)
        table = _table(last.relation) if last else None
        return f'floe query{options} "select * from {table} limit 10"' if table else None
    has_failed_nodes = any(node.status in (*_BAD, "cancelled", "skipped") for node in record.nodes)
    return f"floe run{options} --failed" if has_failed_nodes and not record.is_unreachable else None


_IN_REACH = ("main", "public")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def _table(relation: str | None) -> str | None:
    """A relation as one types it: without its database, and without a default schema."""
    names = [name.strip('"`') for name in (relation or "").split(".")][-2:]
    if not all(_PLAIN.fullmatch(name) for name in names):
        return None
    return names[-1] if names[0] in _IN_REACH else ".".join(names)
