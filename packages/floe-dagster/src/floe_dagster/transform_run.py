"""Executing a transform that is not dbt's: its plugin, in a thread that an interrupt can end."""

from __future__ import annotations

import contextvars
import ctypes
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from floe_core import plugins
from floe_core.context import TransformContext
from floe_core.errors import ArtifactsError, FloeError, ServiceUnavailableError, TransformError
from floe_core.masking import mask_values
from floe_core.plugins import TransformExecutor
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform
from floe_core.schemas.base import JsonValue
from floe_dagster.connection import compute_target, product_tables
from floe_dagster.units import Unit
from floe_dbt.engine import BuildResult, Listener, NodeFinished, NodeStarted, NodeStatus

_log = logging.getLogger("floe")

_Result = TypeVar("_Result")

_POLL_SECONDS = 0.2


class Cancelled(BaseException):
    """Raised in the thread of a transform that is to end; no `except Exception` takes it."""


@dataclass(frozen=True, slots=True)
class TransformRun:
    """One transform, and all that its plugin needs.

    Attributes:
        artifacts: The artifacts.
        unit: The unit of the transform.
        root: Absolute project root.
        secrets: Values of the compute's secrets, by the names that its plugin gave.
        logger: Where the transform may log.
        full_refresh: Whether to rebuild from nothing.
        cancelled: Once set, from whatever thread, the transform is ended.
    """

    artifacts: CompiledArtifacts
    unit: Unit
    root: Path
    secrets: Mapping[str, str]
    logger: logging.Logger
    full_refresh: bool
    cancelled: threading.Event

    @property
    def transform(self) -> CompiledTransform:
        """The transform."""
        [transform] = self.unit.transforms.values()
        return transform

    def execute(self, hear: Listener) -> BuildResult:
        """Execute it, and say in the terms of a build what became of it."""
        [node] = self.unit.assets
        started, clock = datetime.now(UTC), time.monotonic()
        hear(NodeStarted(node.unique_id, node.resource_type, node.name, started))
        told: dict[str, JsonValue] = {}
        problem: BaseException | None = None
        try:
            told = self._told(_in_thread(self._work, self.cancelled))
        except (Exception, Cancelled) as raised:
            problem = raised
        finished = NodeFinished(
            node.unique_id,
            node.resource_type,
            node.name,
            _status(problem),
            started,
            time.monotonic() - clock,
            rows=_rows(told),
            metadata=told,
            **self._failure(problem),
        )
        hear(finished)
        is_unreachable = isinstance(problem, ServiceUnavailableError)
        return BuildResult(
            (finished,),
            error=finished.message if is_unreachable else None,
            is_unreachable=is_unreachable,
            was_cancelled=isinstance(problem, Cancelled),
        )

    def _work(self) -> Mapping[str, JsonValue] | None:
        executor = _executor(self.transform)
        with self._connection() as connect:
            context = TransformContext(
                product=self.artifacts.product,
                environment=self.artifacts.environment,
                root=self.root,
                logger=self.logger,
                connect=connect,
                vars=self.artifacts.dbt_vars,
                full_refresh=self.full_refresh,
            )
            return executor.execute(self.transform, context)

    @contextmanager
    def _connection(self) -> Iterator[Callable[[], Any]]:
        """Gives `connect`, which connects when it is first called."""
        opened: list[Any] = []
        with ExitStack() as stack:

            def connect() -> Any:
                if not opened:
                    target, compute = compute_target(self.artifacts)
                    environment = self.artifacts.environment
                    lake = product_tables(self.artifacts, self.root)
                    opened.append(
                        stack.enter_context(
                            target.connect(compute, environment, self.root, self.secrets, lake)
                        )
                    )
                return opened[0]

            yield connect

    def _told(self, result: Mapping[str, JsonValue] | None) -> dict[str, JsonValue]:
        """What the transform returned, as JSON and without secrets.

        Raises:
            TransformError: if it is not JSON.
        """
        told: dict[str, JsonValue] = {}
        for key, value in (result or {}).items():
            try:
                plain = json.loads(json.dumps(_finite(value), default=_as_json, allow_nan=False))
            except (TypeError, ValueError):
                kind = type(value).__name__
                raise TransformError(
                    f"it returned {kind} under `{key}`, which is not JSON: return numbers, text, "
                    "lists and mappings"
                ) from None
            told[self._masked(str(key))] = self._without_secrets(plain)
        return told

    def _without_secrets(self, value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            return {self._masked(key): self._without_secrets(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without_secrets(item) for item in value]
        return self._masked(value) if isinstance(value, str) else value

    def _failure(self, problem: BaseException | None) -> dict[str, Any]:
        """Message, place and traceback of what went wrong."""
        if problem is None:
            return {}
        if isinstance(problem, Cancelled):
            return {"message": "it was interrupted"}
        text = str(problem).strip()
        if isinstance(problem, FloeError):
            text = "; ".join(filter(None, (text, problem.help)))
        else:
            text = f"{type(problem).__name__}: {text}".removesuffix(": ")
        failure: dict[str, Any] = {"message": self._masked(text)}
        if isinstance(problem, TransformError):
            trace = self._masked(problem.traceback) if problem.traceback else None
            failure |= {"path": problem.path, "line": problem.line, "traceback": trace}
        shown = failure.get("traceback") or failure["message"]
        _log.error("transform %s failed: %s", self.transform.name, shown)
        return failure

    def _masked(self, text: str) -> str:
        return mask_values(text, self.secrets.values())


def _executor(transform: CompiledTransform) -> TransformExecutor:
    """The plugin of the transform.

    Raises:
        ArtifactsError: if it is not installed, or makes no assets.
    """
    executor = plugins.transform_executor(transform.type)
    if executor is None or not plugins.is_asset_kind(executor):
        known = ", ".join(plugins.names(plugins.TRANSFORMS)) or "none"
        raise ArtifactsError(
            f"transform `{transform.name}` is of type `{transform.type}`, which is not installed "
            f"here (installed: {known})",
            help=f"Install the package that brings `{transform.type}`.",
        )
    return executor


def _status(problem: BaseException | None) -> NodeStatus:
    if problem is None:
        return "success"
    return "cancelled" if isinstance(problem, Cancelled) else "error"


def _rows(told: Mapping[str, JsonValue]) -> int | None:
    rows = told.get("rows")
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


def _finite(value: Any) -> Any:
    """Floats that JSON has no word for as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _as_json(value: Any) -> Any:
    """Numbers of NumPy as Python's, times and paths as text."""
    item = getattr(value, "item", None)
    if callable(item):
        return _finite(item())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError


def _in_thread(work: Callable[[], _Result], cancelled: threading.Event) -> _Result:
    """Do the work in another thread; when `cancelled` is set, `Cancelled` is raised in there.

    Python raises it between two of its instructions: a call that is at work in a library ends
    first. An interrupt of this thread has the same effect, and is raised when the work has ended.
    """
    future: Future[_Result] = Future()
    context = contextvars.copy_context()

    def fulfil() -> None:
        try:
            future.set_result(context.run(work))
        except BaseException as problem:
            future.set_exception(problem)

    worker = threading.Thread(target=fulfil, name="floe-transform", daemon=True)
    worker.start()
    is_told, interrupt = False, None
    while not future.done():
        try:
            future.exception(timeout=_POLL_SECONDS)
        except TimeoutError:
            pass
        except BaseException as problem:
            if interrupt is not None:
                raise  # asked twice: do not wait any longer
            interrupt = problem
            cancelled.set()
        if cancelled.is_set() and not is_told:
            is_told = True
            _raise_in(worker)
    if interrupt is not None:
        raise interrupt
    return future.result()


def _raise_in(thread: threading.Thread) -> None:
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled)
        )
