"""The events of a run: START, then COMPLETE, FAIL or ABORT, of the run and of each node.

Tests have no events of their own. Those of one dataset are one job with two events, like a node,
and their results are assertions on the dataset, which is the job's input.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from floe_core.index import Node, ProjectIndex
from floe_core.masking import mask_data, mask_values
from floe_core.version import __version__
from floe_dagster.lineage import facets
from floe_dagster.lineage.datasets import Dataset, Naming, data_parents
from floe_dagster.lineage.facets import PRODUCER
from floe_dagster.lineage.facts import NodeFacts, ParentRun, RunFacts, Size, TableFacts
from floe_dbt.engine import Event, NodeFinished, NodeStarted

RunStatus = Literal["success", "failed", "cancelled"]

_STATES = {
    "success": RunState.COMPLETE,
    "failed": RunState.FAIL,
    "error": RunState.FAIL,
    "cancelled": RunState.ABORT,
}
_NOTHING = NodeFacts()
_FLOE = ("floe", __version__)


def node_run_id(run_id: str, unique_id: str) -> str:
    """Run id of a node: the same in every process of the run."""
    return str(uuid5(UUID(run_id), unique_id))


def job_name(product: str, node: Node) -> str:
    """Name of the job of a node: `product.package.model`."""
    if node.resource_type == "asset":
        return f"{product}.{node.package_name}.{node.name}"
    return f"{product}.{node.unique_id.partition('.')[2]}"


class RunEvents:
    """Makes the events of one run from what is heard of it, in the order in which it happens.

    Safe to call from several threads. Nothing is sent.

    Args:
        run: The run.
        indexes: What is known of the projects.
        naming: Gives nodes their datasets.
        planned: Unique ids of the nodes and tests that run here.
        tables: What is known of tables before they are built, of sources above all.
    """

    def __init__(
        self,
        run: RunFacts,
        indexes: Sequence[ProjectIndex],
        naming: Naming,
        planned: Collection[str],
        tables: Mapping[str, TableFacts] | None = None,
    ) -> None:
        self._run = run
        self._nodes = {uid: node for index in indexes for uid, node in index.nodes.items()}
        self._indexes = {uid: index for index in indexes for uid in index.nodes}
        self._naming = naming
        self._tables = dict(tables or {})
        self._started: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._open_tests: dict[str, set[str]] = {}
        for uid in planned:
            for tested in self._tested(uid):
                self._open_tests.setdefault(tested, set()).add(uid)
        self._results: dict[str, list[tuple[Node, NodeFinished]]] = {}
        self._testing: dict[str, datetime] = {}

    def know(self, unique_id: str, table: TableFacts) -> None:
        """Take what is known of a table that this run reads and does not build."""
        with self._lock:
            self._tables.setdefault(unique_id, table)

    def start(self) -> list[RunEvent]:
        """The run began."""
        return [self._run_event(RunState.START, self._run.started_at)]

    def hear(self, event: Event, facts: NodeFacts = _NOTHING) -> list[RunEvent]:
        """A node or test began or ended.

        Args:
            event: What happened.
            facts: What is known of the node by now.
        """
        node = self._nodes.get(event.unique_id)
        if node is None:
            return []
        with self._lock:
            if node.resource_type == "test":
                return self._hear_test(node, event)
            if isinstance(event, NodeStarted):
                self._started[event.unique_id] = event.started_at
                return [self._node_event(node, RunState.START, event.started_at, facts)]
            return self._node_ended(node, event, facts)

    def end(self, status: RunStatus, at: datetime, error: str | None = None) -> list[RunEvent]:
        """The run ended; nodes that had not ended by then are broken off.

        Args:
            status: How it ended.
            at: When.
            error: What broke it off, when it is not a node that failed.
        """
        with self._lock:
            events = []
            for uid in list(self._started):
                del self._started[uid]
                events.append(self._node_event(self._nodes[uid], RunState.ABORT, at, _NOTHING))
            for uid in list(self._testing):
                events.append(self._tests_ended(uid, at))
            events.append(self._run_event(_STATES[status], at, error))
            return events

    def _node_ended(self, node: Node, event: NodeFinished, facts: NodeFacts) -> list[RunEvent]:
        state = _STATES.get(event.status)
        if self._started.pop(event.unique_id, None) is None or state is None:
            return []  # it was skipped: it never ran
        at = event.started_at + timedelta(seconds=event.seconds)
        if state is RunState.COMPLETE:
            self._tables[node.unique_id] = facts.table
        return [self._node_event(node, state, at, facts, event)]

    def _hear_test(self, test: Node, event: Event) -> list[RunEvent]:
        events = []
        for uid in self._tested(test.unique_id):
            if isinstance(event, NodeStarted):
                if uid not in self._testing:
                    self._testing[uid] = event.started_at
                    events.append(self._test_event(uid, RunState.START, event.started_at))
                continue
            if event.status in {"pass", "warn", "fail", "error"}:
                self._results.setdefault(uid, []).append((test, event))
            remaining = self._open_tests.get(uid, set())
            remaining.discard(test.unique_id)
            if not remaining and uid in self._testing:
                at = event.started_at + timedelta(seconds=event.seconds)
                events.append(self._tests_ended(uid, at))
        return events

    def _tests_ended(self, uid: str, at: datetime) -> RunEvent:
        del self._testing[uid]
        results = self._results.pop(uid, [])
        has_failed = any(result.status in {"fail", "error"} for _, result in results)
        state = RunState.FAIL if has_failed else RunState.COMPLETE
        return self._test_event(uid, state if results else RunState.ABORT, at, results)

    def _tested(self, unique_id: str) -> tuple[str, ...]:
        """The nodes that a test looks at: the one it is declared on, else what it reads."""
        test = self._nodes.get(unique_id)
        if test is None or test.resource_type != "test":
            return ()
        parents = [node.unique_id for node in data_parents(test, self._nodes)]
        on = test.attached_node
        return (on,) if on is not None and on in parents else tuple(parents)

    def _run_event(self, state: RunState, at: datetime, error: str | None = None) -> RunEvent:
        run = self._run
        return _event(
            state,
            at,
            Run(
                run.run_id,
                facets.run_facets(
                    run,
                    parent=run.parent,
                    engine=run.engine or _FLOE,
                    nominal=run.nominal,
                    error=self._cleaned(error),
                ),
            ),
            Job(
                run.namespace,
                run.job_name,
                facets.job_facets(
                    run,
                    kind="JOB",
                    integration="FLOE",
                    description=run.description,
                    owner=run.owner,
                ),
            ),
        )

    def _node_event(
        self,
        node: Node,
        state: RunState,
        at: datetime,
        facts: NodeFacts,
        ended: NodeFinished | None = None,
    ) -> RunEvent:
        run = self._run
        index = self._indexes[node.unique_id]
        is_dbt = node.resource_type != "asset"
        nominal = run.nominal
        if ended is not None and ended.batches:
            nominal = (ended.batches[0].start, ended.batches[-1].end)
        job_facets = facets.job_facets(
            run,
            kind=(node.resource_type if is_dbt else node.package_name).upper(),
            integration="DBT" if is_dbt else "FLOE",
            description=node.description,
            owner=node.owner or run.owner,
            tags=node.tags,
            path=facts.path,
        )
        if facts.sql:
            query = mask_values(facts.sql, run.secrets)
            job_facets["sql"] = facets.sql_facet(query, index.adapter_type)
        run_facets = facets.run_facets(
            run,
            parent=self._this_run,
            engine=facts.engine or _engine(index),
            nominal=nominal,
            error=self._error(ended),
            language="SQL" if is_dbt else "PYTHON",
        )
        event = _event(
            state,
            at,
            Run(node_run_id(run.run_id, node.unique_id), run_facets),
            Job(run.namespace, job_name(run.product, node), job_facets),
        )
        event.inputs = self._inputs(node, state)
        event.outputs = self._outputs(node, state, facts, ended)
        return event

    def _inputs(self, node: Node, state: RunState) -> list[InputDataset]:
        """What the node reads; at its start without what may still get another name."""
        found: dict[Dataset, InputDataset] = {}
        for parent in data_parents(node, self._nodes):
            for dataset in self._datasets(parent):
                if state is not RunState.START or _is_settled(dataset):
                    found.setdefault(dataset, self._input(parent, dataset))
        return list(found.values())

    def _input(self, node: Node, dataset: Dataset) -> InputDataset:
        """A dataset that is read; of those that the product writes, the writer tells the rest."""
        known = dict(facets.dataset_facets(dataset))
        if node.resource_type == "source":
            table = self._tables.get(node.unique_id, TableFacts())
            known |= facets.table_facets(node, table, None, {})
        return InputDataset(dataset.namespace, dataset.name, facets=known)

    def _outputs(
        self, node: Node, state: RunState, facts: NodeFacts, ended: NodeFinished | None
    ) -> list[OutputDataset]:
        """What the node writes; nothing as long as the name of its dataset may still change."""
        location = facts.table.location
        datasets = self._datasets(node, location)
        if state is RunState.START:
            return [
                OutputDataset(data.namespace, data.name, facets=dict(facets.dataset_facets(data)))
                for data in datasets
                if _is_settled(data)
            ]
        if state is not RunState.COMPLETE:
            return []
        return [self._output(node, dataset, facts, ended) for dataset in datasets]

    def _output(
        self, node: Node, dataset: Dataset, facts: NodeFacts, ended: NodeFinished | None
    ) -> OutputDataset:
        run = self._run
        classified = run.classifications.get(node.name, {})
        known = {
            **facets.dataset_facets(dataset),
            **facets.table_facets(node, facts.table, node.owner or run.owner, classified),
        }
        if facts.columns is not None:
            sources = {
                parent.unique_id: data
                for parent in data_parents(node, self._nodes)
                for data in self._datasets(parent)
            }
            sources[node.unique_id] = dataset  # an incremental model may read itself
            known |= facets.column_lineage(facts.columns, node, facts.table, sources)
        written = facts.table.written
        if written == Size() and ended is not None and ended.rows is not None:
            written = Size(rows=ended.rows)
        return OutputDataset(
            dataset.namespace,
            dataset.name,
            facets=known,
            outputFacets=facets.output_facets(written),
        )

    def _test_event(
        self,
        uid: str,
        state: RunState,
        at: datetime,
        results: Sequence[tuple[Node, NodeFinished]] = (),
    ) -> RunEvent:
        run, node, index = self._run, self._nodes[uid], self._indexes[uid]
        table = self._tables.get(uid, TableFacts())
        inputs = []
        for dataset in self._datasets(node):
            tested = self._input(node, dataset)
            if results:
                tested.inputFacets = facets.quality_facets(results, table.size)
            inputs.append(tested)
        event = _event(
            state,
            at,
            Run(
                node_run_id(run.run_id, f"{uid}.test"),
                facets.run_facets(
                    run,
                    parent=self._this_run,
                    engine=_engine(index),
                    nominal=run.nominal,
                ),
            ),
            Job(
                run.namespace,
                f"{job_name(run.product, node)}.test",
                facets.job_facets(
                    run,
                    kind="TEST",
                    integration="DBT",
                    description=f"Tests of {node.name}",
                    owner=node.owner or run.owner,
                ),
            ),
        )
        event.inputs = inputs
        return event

    def _datasets(self, node: Node, location: str | None = None) -> tuple[Dataset, ...]:
        known = self._tables.get(node.unique_id)
        return self._naming.outputs(node, location or (known.location if known else None))

    @property
    def _this_run(self) -> ParentRun:
        run = self._run
        root = (run.parent.root or run.parent) if run.parent else None
        return ParentRun(run.namespace, run.job_name, run.run_id, root)

    def _error(self, ended: NodeFinished | None) -> str | None:
        if ended is None or ended.status not in {"error", "cancelled"}:
            return None
        return self._cleaned(ended.message)

    def _cleaned(self, error: str | None) -> str | None:
        return mask_data(mask_values(error, self._run.secrets)) if error else None


def _is_settled(dataset: Dataset) -> bool:
    """Whether its name stays; that of an Iceberg table is known with its location."""
    return dataset.catalog is None or bool(dataset.symlinks)


def _engine(index: ProjectIndex) -> tuple[str, str]:
    return ("dbt", index.dbt_version) if index.dbt_version else _FLOE


def _event(state: RunState, at: datetime, run: Run, job: Job) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime=at.astimezone(UTC).isoformat(timespec="microseconds"),
        run=run,
        job=job,
        producer=PRODUCER,
    )
