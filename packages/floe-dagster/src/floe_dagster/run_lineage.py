"""Lineage of a run: what is heard of it while it goes on is kept, and becomes events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.index import Node, ProjectIndex
from floe_core.layout import Layout
from floe_dagster.lineage.datasets import Naming, data_parents
from floe_dagster.lineage.facts import (
    ColumnLineage,
    ColumnSource,
    NodeFacts,
    Size,
    TableColumn,
    TableFacts,
)
from floe_dagster.lineage.store import StoredNode, read_lineage, remember, stored_node
from floe_dbt.column_cache import ColumnLineageCache
from floe_dbt.column_lineage import InputField, Relation
from floe_dbt.engine import Described, Event, NodeFinished

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

    from floe_dagster.lineage.events import RunEvents, RunStatus
    from floe_dagster.records import RunRecord

_STATUSES: Mapping[str, RunStatus] = {"success": "success", "cancelled": "cancelled"}
"""How a run may end; anything else has failed."""


class RunLineage:
    """Keeps what a run tells of tables and columns, and makes events of it where they are sent.

    Safe to call from several threads. Nothing here fails a run: what cannot be known is left out.

    Args:
        layout: The project's files.
        environment: Name of the environment.
        run_id: Id of the run.
        indexes: What is known of the projects.
        naming: Gives nodes their datasets.
        events: Makes the events; None where none are sent.
        send: Takes the events, in order.
    """

    def __init__(
        self,
        layout: Layout,
        environment: str,
        run_id: str,
        indexes: Sequence[ProjectIndex],
        naming: Naming,
        events: RunEvents | None,
        send: Callable[[Sequence[RunEvent]], None],
    ) -> None:
        self._file = layout.lineage(environment)
        self._cache = ColumnLineageCache(layout.column_lineage(environment))
        self._run_id = run_id
        self._indexes = {uid: index for index in indexes for uid in index.nodes}
        self._nodes = {uid: node for index in indexes for uid, node in index.nodes.items()}
        self._naming = naming
        self._events = events
        self._send = send
        self._lock = threading.Lock()
        self._described: dict[str, Described] = {}
        self._built: dict[str, StoredNode] = {}

    def run_started(self) -> None:
        """Say that the run began."""
        if self._events is not None:
            self._send(self._events.start())

    def hear(self, event: Event) -> None:
        """Take an event of dbt."""
        node = self._nodes.get(event.unique_id)
        facts = NodeFacts()
        if isinstance(event, NodeFinished) and node is not None and event.status == "success":
            self._described |= event.relations
            for uid, described in event.relations.items():
                if uid != event.unique_id and self._events is not None:
                    self._events.know(uid, self._table(self._nodes[uid], described))
            facts = self._facts(node, event)
            at = event.started_at + timedelta(seconds=event.seconds)
            datasets = self._naming.outputs(node, facts.table.location)
            self._built[event.unique_id] = stored_node(self._run_id, at, facts, datasets)
        if self._events is not None:
            with self._lock:  # what one thread starts another may end
                self._send(self._events.hear(event, facts))

    def run_ended(self, record: RunRecord) -> None:
        """Say how the run ended."""
        if self._events is not None:
            at = record.finished_at or record.started_at
            status = _STATUSES.get(record.status, "failed")
            self._send(self._events.end(status, at, record.error))

    def keep(self) -> None:
        """Keep what was learnt, for `floe lineage` and the next run.

        Raises:
            UnwritableError: if it cannot be.
        """
        self._cache.save()
        if self._built:
            packages = {node.package_name for node in self._nodes.values()}
            others = {
                uid
                for uid in read_lineage(self._file).nodes
                if uid.split(".")[1] not in packages  # of a project that is not run here
            }
            remember(self._file, self._built, {*self._nodes, *others})

    def _facts(self, node: Node, event: NodeFinished) -> NodeFacts:
        sql = _read(event.compiled_path)
        described = event.relations.get(event.unique_id, Described())
        table = self._table(node, described)
        if event.commit is not None:
            commit = event.commit
            table = replace(
                table,
                written=Size(event.rows, commit.added_files_size, commit.added_files),
                size=Size(commit.total_records, commit.total_files_size, commit.total_data_files),
                version=str(commit.snapshot_id),
                location=commit.location,
                change="CREATE" if commit.is_first else None,
            )
        is_sql = sql is not None and node.resource_type == "model"
        return NodeFacts(
            table=table,
            columns=self._columns(node, sql, described) if sql is not None and is_sql else None,
            sql=sql if is_sql else None,
            path=self._path(node),
        )

    def _table(self, node: Node, described: Described) -> TableFacts:
        docs = {column.name.lower(): column.description for column in node.columns}
        return TableFacts(
            columns=tuple(
                TableColumn(name, kind, docs.get(name.lower(), ""))
                for name, kind in described.columns.items()
            ),
            location=described.location,
        )

    def _columns(self, node: Node, sql: str, described: Described) -> ColumnLineage | None:
        if not described.columns:
            return None
        parents = {_relation(parent): parent for parent in data_parents(node, self._nodes)}
        found = self._cache.read(
            sql,
            self._indexes[node.unique_id].adapter_type,
            {
                relation: self._described[parent.unique_id].columns
                for relation, parent in parents.items()
                if parent.unique_id in self._described
            },
            _relation(node),
            list(described.columns),
        )

        def sources(fields: Sequence[InputField]) -> tuple[ColumnSource, ...]:
            return tuple(
                ColumnSource(parents[one.relation].unique_id, one.column, how.type, how.subtype)
                for one in fields
                for how in one.transformations
            )

        columns = {name: sources(fields) for name, fields in found.columns.items()}
        return ColumnLineage(columns, sources(found.dataset))

    def _path(self, node: Node) -> str | None:
        if not node.original_file_path:
            return None
        folder = Path(self._indexes[node.unique_id].project)
        return (folder / node.original_file_path).as_posix()


def _relation(node: Node) -> Relation:
    return Relation(node.database or "", node.schema or "", node.alias or node.name)


def _read(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
