"""`DbtCore` runs dbt-core 1.x inside this process.

dbt is imported by the first command, not with this module: that takes seconds.

How a build is cancelled: dbt has no call for it. A watching thread interrupts the queries of all
open connections until the build returns, and the callback that dbt hands its events to raises for
every node that is about to compile or to send a statement, so that dbt records it as failed and
skips what depends on it. Nothing of dbt is replaced or patched.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.metadata
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from floe_core.errors import ServiceUnavailableError, UnwritableError
from floe_core.masking import mask_data
from floe_dbt import messages, project
from floe_dbt.build_log import BuildLog
from floe_dbt.engine import (
    LOGGER,
    BuildResult,
    CommandResult,
    DbtError,
    Described,
    Invocation,
    Listener,
    NodeFinished,
    Selection,
)
from floe_dbt.process import lent
from floe_dbt.targets.duckdb import in_use, make_folder

_QUIET = (
    "--log-level", "none", "--no-print", "--no-use-colors",
    "--no-use-colors-file", "--no-send-anonymous-usage-stats", "--no-version-check",
)  # fmt: skip
_SUMMARIES = frozenset({"DeprecationsSummary"})
"""Warnings that only count others."""

_INTERRUPT_EVERY = 0.1
_NOTICE_EVERY = 0.5
_ABANDON_AFTER = 30.0

Callback = Callable[[Any], None]


@dataclass(slots=True)
class _Outcome:
    """What one dbt command came to."""

    result: Any = None
    exception: BaseException | None = None


class DbtCore:
    """Implements `DbtEngine` with the dbt-core that is installed here.

    Commands of all instances run one after the other, since dbt's state is the process's.
    """

    def __init__(self) -> None:
        self.version = importlib.metadata.version("dbt-core")
        self._builds: list[_Build] = []

    def parse(self, invocation: Invocation) -> CommandResult:
        """Parse the project, reusing what an earlier parse left in `target_path`."""
        warnings = _Warnings()
        arguments = ["parse", *_locations(invocation), *_threads(invocation), "--partial-parse"]
        outcome = _run(invocation, arguments, warnings)
        return _command_result(outcome, invocation, tuple(warnings.texts))

    def list(self, invocation: Invocation, selection: Selection) -> tuple[str, ...]:
        """Unique ids of the models, seeds, snapshots and tests that a selection stands for.

        Raises:
            DbtError: if the selection is not valid, or the project does not parse.
        """
        arguments = ["list", *_locations(invocation), *_selection(selection)]
        arguments += ["--output", "json", "--output-keys", "unique_id"]
        for resource_type in ("model", "seed", "snapshot", "test", "unit_test"):
            arguments += ["--resource-type", resource_type]
        outcome = _run(invocation, arguments)
        if outcome.exception is not None:
            raise DbtError(_text(outcome.exception))
        return tuple(sorted(json.loads(line)["unique_id"] for line in outcome.result or ()))

    def build(
        self,
        invocation: Invocation,
        selection: Selection,
        listener: Listener,
        *,
        full_refresh: bool = False,
    ) -> BuildResult:
        """Build seeds, models, snapshots and run tests, in dbt's order.

        dbt runs in a thread of its own, so that an interrupt of the calling thread (Ctrl-C)
        cancels the build in an orderly way before it is raised again.
        """
        arguments = ["build", *_locations(invocation), *_selection(selection)]
        arguments += [*_threads(invocation), *_window(invocation)]
        if full_refresh:
            arguments.append("--full-refresh")
        build = _Build(
            invocation, arguments, BuildLog(invocation, listener, _count_rows, _describe)
        )
        self._builds.append(build)
        try:
            return build.run()
        finally:
            self._builds.remove(build)

    def cancel(self) -> None:
        """End every build that this engine runs."""
        for build in tuple(self._builds):
            build.cancel()

    def deps(self, invocation: Invocation) -> CommandResult:
        """Fetch the packages that the project declares, into the project's own folder."""
        warnings = _Warnings()
        arguments = ["deps", *_folders(invocation), "--vars", json.dumps(dict(invocation.vars))]
        outcome = _run(invocation, arguments, warnings)
        return _command_result(outcome, invocation, tuple(warnings.texts))


@dataclass(slots=True)
class _Build:
    """One `dbt build`, which can be cancelled."""

    invocation: Invocation
    arguments: list[str]
    log: BuildLog
    outcome: _Outcome = field(default_factory=_Outcome)
    is_over: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.log.is_cancelled.set()

    def run(self) -> BuildResult:
        try:
            _make_database_folder(self.invocation)
        except UnwritableError as problem:
            return BuildResult((), problem.message)
        context = contextvars.copy_context()
        worker = threading.Thread(target=context.run, args=(self._work,), name="dbt", daemon=True)
        watcher = threading.Thread(target=self._watch, name="dbt-cancel", daemon=True)
        worker.start()
        watcher.start()
        try:
            # An interrupt that the system hands to another thread is noticed between two waits.
            while not self.is_over.wait(_NOTICE_EVERY):
                pass
        except BaseException:
            self.cancel()
            self.is_over.wait(_ABANDON_AFTER)
            raise
        worker.join()
        watcher.join()
        return self._result()

    def _work(self) -> None:
        try:
            self.outcome = _run(self.invocation, self.arguments, self.log, self.log.is_cancelled)
        except BaseException as problem:
            # The calling thread is the one to see it.
            self.outcome = _Outcome(exception=problem)
        finally:
            self.is_over.set()

    def _watch(self) -> None:
        """Once cancelled, interrupt queries until dbt returns."""
        while not self.is_over.is_set():
            if self.log.is_cancelled.wait(_INTERRUPT_EVERY):
                self.log.exempt_thread = threading.get_ident()
                _cancel_queries()
                self.is_over.wait(_INTERRUPT_EVERY)

    def _result(self) -> BuildResult:
        results = getattr(self.outcome.result, "results", None) or ()
        self.log.complete(results)
        if self.log.failure is not None:
            raise self.log.failure
        nodes = tuple(self.log.finished)
        if self.log.is_cancelled.is_set():
            return BuildResult(nodes, was_cancelled=True)
        problem = self.outcome.exception
        if problem is not None and not _is_fail_fast(problem):
            return _broken_off(nodes, problem, self.invocation.root)
        return BuildResult(nodes, _hook_error(results))


def _broken_off(nodes: tuple[NodeFinished, ...], problem: BaseException, root: Path) -> BuildResult:
    """The result of a build that an error ended before every node had its turn."""
    text = _text(problem)
    if in_use(text) is not None:
        return BuildResult(nodes, in_use(text, root), is_unreachable=True)
    return BuildResult(nodes, text, is_unreachable=_is_unreachable(problem))


class _Warnings:
    """Collects dbt's warnings of one command."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, event: Any) -> None:
        if event.info.level == "warn" and event.info.name not in _SUMMARIES:
            text = messages.plain(event.info.msg)
            if text and text not in self.texts:
                self.texts.append(text)


def _run(
    invocation: Invocation,
    arguments: list[str],
    callback: Callback | None = None,
    is_cancelled: threading.Event | None = None,
) -> _Outcome:
    """Run one dbt command, and leave nothing of it behind in the process.

    Raises:
        KeyboardInterrupt: if the command was interrupted.
    """
    from dbt.cli.main import dbtRunner

    with lent(invocation.root, invocation.environment), _cleaned():
        if is_cancelled is not None and is_cancelled.is_set():
            return _Outcome()
        logger = logging.getLogger(LOGGER)
        callbacks = [callback] if callback is not None else []
        callbacks += [partial(_log, logger)] if logger.handlers else []
        runner = dbtRunner(callbacks=callbacks)
        result = runner.invoke([*arguments, *_QUIET, *_logging(invocation)])
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception
    if result.exception is None and not result.success and result.result is None:
        return _Outcome(exception=DbtError("dbt ended without saying why; its log may tell"))
    return _Outcome(result.result, result.exception)


def _log(logger: logging.Logger, event: Any) -> None:
    """Pass on what dbt says, in the thread that says it."""
    level = logging.getLevelNamesMapping().get(event.info.level.upper(), logging.DEBUG)
    if logger.isEnabledFor(level):
        text = messages.plain(event.info.msg)
        if level >= logging.WARNING:  # what the database says may show rows
            text = mask_data(text)
        if text:
            logger.log(level, "%s", text, extra={"dbt_event": event.info.name})


def _logging(invocation: Invocation) -> list[str]:
    """What goes to dbt's log file.

    As text: in JSON dbt escapes secrets before it looks for them, and so does not find them.
    """
    level = (invocation.log_level or "debug").lower().replace("warning", "warn")
    return ["--log-level-file", level]


@contextlib.contextmanager
def _cleaned() -> Iterator[None]:
    """Close and forget what dbt keeps between commands, which is made for one command a process."""
    from dbt.deprecations import buffered_deprecations, reset_deprecations

    try:
        yield
    finally:
        _close_connections()
        _close_log()
        buffered_deprecations.clear()
        reset_deprecations()  # type: ignore[no-untyped-call]


def _close_connections() -> None:
    managers = [adapter.connections for adapter in _adapters()]
    _factory().reset_adapters()
    for manager in managers:
        # dbt-duckdb keeps the database open for the next command of this process, and with it the
        # lock that keeps other processes out.
        database = getattr(type(manager), "_ENV", None)
        if database is not None:
            database.close()
            type(manager).close_all_connections()


def _factory() -> Any:
    """The register of adapters. Its declared types lack what all SQL adapters have."""
    from dbt.adapters.factory import FACTORY

    return FACTORY


def _adapters() -> tuple[Any, ...]:
    return tuple(_factory().adapters.values())


def _close_log() -> None:
    from dbt_common.events.event_manager_client import cleanup_event_logger, get_event_manager

    for logger in getattr(get_event_manager(), "loggers", ()):
        log: Any = getattr(logger, "_python_logger", None)
        if log is not None:
            for handler in tuple(log.handlers):
                log.removeHandler(handler)
                handler.close()
    cleanup_event_logger()


def _cancel_queries() -> None:
    """Interrupt whatever the connections of all adapters are doing."""
    for adapter in _adapters():
        # Connections open and close in other threads meanwhile. A connection that slips away ends
        # by itself, and one that slips through is found in the next round.
        with contextlib.suppress(Exception):
            if adapter.is_cancelable():
                with adapter.connection_named("floe_cancel"):
                    adapter.cancel_open_connections()


def _count_rows(relation: str) -> int | None:
    """Rows of a table that has just been built, where counting them costs nothing.

    DuckDB keeps the number, and dbt-duckdb does not pass on how many rows a statement wrote.
    """
    for adapter in _adapters():
        if adapter.type().startswith("duckdb"):
            # A number that is nice to have must not fail a model that has been built.
            with contextlib.suppress(Exception), adapter.connection_named("floe_rows"):
                _, table = adapter.execute(f"select count(*) from {relation}", fetch=True)
                return int(table.rows[0][0])
    return None


def _describe(node: Mapping[str, Any]) -> Described:
    """What the database knows of the relation of a node of the manifest; nothing if it fails."""
    for adapter in _adapters():
        # What is nice to have must not fail a model that has been built.
        with contextlib.suppress(Exception):
            return _described(adapter, node)
    return Described()


def _described(adapter: Any, node: Mapping[str, Any]) -> Described:
    relation = str(node["relation_name"])
    if hasattr(adapter, "describe_table"):
        name = node.get("alias") or node["identifier"]
        known = adapter.describe_table(node["database"], node["schema"], name)
        if known is not None:
            return Described(*known)
    with adapter.connection_named("floe_describe"):
        if adapter.type().startswith("duckdb"):
            _, table = adapter.execute(f"describe {relation}", fetch=True)
            return Described({str(row[0]): str(row[1]) for row in table.rows})
        columns = adapter.get_column_schema_from_query(f"select * from {relation} where false")
        return Described({str(column.name): str(column.dtype) for column in columns})


def _make_database_folder(invocation: Invocation) -> None:
    """Create the folder that the DuckDB file of the invocation's output will be in."""
    try:
        profiles = yaml.safe_load((invocation.profiles_dir / "profiles.yml").read_bytes())
        output = profiles["floe"]["outputs"][invocation.target]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return  # dbt says what is wrong with the file
    if str(output.get("type", "")).startswith("duckdb"):
        make_folder(output, invocation.root)


def _folders(invocation: Invocation) -> list[str]:
    return [
        "--project-dir", str(_project(invocation)),
        "--profiles-dir", str(invocation.profiles_dir),
        "--log-path", str(invocation.log_path),
    ]  # fmt: skip


def _project(invocation: Invocation) -> Path:
    return (invocation.root / invocation.project).resolve()


def _locations(invocation: Invocation) -> list[str]:
    return [
        *_folders(invocation),
        "--profile", "floe",
        "--target", invocation.target,
        "--target-path", str(invocation.target_path),
        "--vars", json.dumps(dict(invocation.vars)),
    ]  # fmt: skip


def _threads(invocation: Invocation) -> list[str]:
    return [] if invocation.threads is None else ["--threads", str(invocation.threads)]


def _window(invocation: Invocation) -> list[str]:
    window = invocation.window
    if window is None:
        return []
    start, end = (at.strftime("%Y-%m-%dT%H:%M:%S") for at in (window.start, window.end))
    return ["--event-time-start", start, "--event-time-end", end]


def _selection(selection: Selection) -> list[str]:
    arguments = ["--indirect-selection", selection.indirect]
    if selection.select:
        arguments += ["--select", *selection.select]
    if selection.exclude:
        arguments += ["--exclude", *selection.exclude]
    return arguments


def _command_result(
    outcome: _Outcome, invocation: Invocation, warnings: tuple[str, ...]
) -> CommandResult:
    if outcome.exception is None:
        return CommandResult(warnings=warnings)
    message = messages.parse(_decorated(outcome.exception))
    folder = _project(invocation)
    path, line = _existing(message.path, folder), message.line
    variable = messages.missing_variable(message.text)
    if path is None and variable is not None:
        path, line = _mention(folder, variable)
    return CommandResult(
        error=message.text,
        path=path,
        line=line,
        warnings=warnings,
        is_missing_packages=_is_missing_packages(outcome.exception),
    )


def _existing(path: str | None, folder: Path) -> str | None:
    """The file that dbt means, relative to the project; dbt names some by their last part only."""
    if path is None:
        return None
    file = folder / path
    if file.is_file():
        return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else path
    found = [
        file.relative_to(folder).as_posix()
        for child in sorted(folder.iterdir())
        if child.is_dir() and child.name not in {"target", "dbt_packages", ".floe"}
        for file in child.rglob(Path(path).name)
        if file.as_posix().endswith(f"/{path}")
    ]
    return found[0] if len(found) == 1 else path


def _mention(folder: Path, variable: str) -> tuple[str | None, int | None]:
    """The one place that reads an environment variable; dbt does not tell which it is."""
    expression = re.compile(rf"env_var\(\s*['\"]{re.escape(variable)}['\"]\s*\)")
    places = [
        (path, number)
        for path in project.read(folder).files()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if expression.search(line)
    ]
    if len(places) != 1:
        return None, None
    path, number = places[0]
    return path.relative_to(folder).as_posix(), number


def _decorated(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__


def _text(problem: BaseException) -> str:
    return messages.parse(_decorated(problem)).text


def _is_missing_packages(problem: BaseException) -> bool:
    from dbt.exceptions import UninstalledPackagesFoundError

    return isinstance(problem, UninstalledPackagesFoundError)


def _is_fail_fast(problem: BaseException) -> bool:
    from dbt.exceptions import FailFastError

    return isinstance(problem, FailFastError)


def _is_unreachable(problem: BaseException | None) -> bool:
    """Whether the database, or the catalog, did not answer."""
    from dbt.adapters.exceptions.connection import FailedToConnectError

    while problem is not None:
        if isinstance(problem, FailedToConnectError | ServiceUnavailableError):
            return True
        problem = problem.__cause__
    return False


def _hook_error(results: Any) -> str | None:
    """What went wrong in `on-run-start` or `on-run-end`; dbt gives these no node events."""
    failed = [
        result
        for result in results
        if result.node.resource_type == "operation" and result.status == "error"
    ]
    return messages.plain(failed[0].message) if failed else None
