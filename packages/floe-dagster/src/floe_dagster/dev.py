"""`floe dev`: Dagster's services on definitions that follow the files they are compiled from."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from floe_core.artifacts import dump_artifacts
from floe_core.compiler.load import load
from floe_core.compiler.pipeline import compile_request, run_stages
from floe_core.compiler.request import CompileRequest
from floe_core.diagnostics import Diagnostic
from floe_core.errors import CompileError, FloeError, ProjectLockedError
from floe_core.index import Node
from floe_core.index_file import load_index
from floe_core.layout import Layout, write_atomic
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_dagster import lock, services
from floe_dagster.interrupts import as_interrupts
from floe_dagster.watching import Inputs, inputs_of, watch

_CHECK_SECONDS = 0.5


class Console(Protocol):
    """Where `develop` says what happens."""

    def note(self, text: str) -> None:
        """Say what is going on."""

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Show what a compile found."""

    def error(self, problem: FloeError) -> None:
        """Say what went wrong; the services go on."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is served once the services have started.

    Attributes:
        url: What to open in a browser.
        dagster_home: Folder of the Dagster instance.
    """

    url: str
    dagster_home: Path


def develop(
    artifacts: CompiledArtifacts,
    *,
    root: Path,
    request: CompileRequest | None,
    address: services.Address,
    schedules: bool,
    console: Console,
    on_ready: Callable[[Ready], None],
) -> None:
    """Serve a product in Dagster until an interrupt (Ctrl-C or SIGTERM).

    Args:
        artifacts: The artifacts.
        root: Absolute project root.
        request: What they are compiled from, and anew when it changes; None for artifacts that
            come from elsewhere, which are served as they are.
        address: Where the web server listens.
        schedules: Whether schedules and sensors run without being turned on in Dagster.
        console: Hears what happens.
        on_ready: Called once, when everything has started.

    Raises:
        KeyboardInterrupt: at an interrupt; everything has ended then.
        ProjectLockedError: if `floe dev` serves the project already.
        ArtifactsError: if no definitions can be made of the artifacts.
        ServiceUnavailableError: if a service does not start, or ends by itself.
    """
    from floe_dagster.instance import prepare_home

    layout = Layout(root)
    layout.prepare()
    with as_interrupts(signal.SIGINT, signal.SIGTERM), _only_one(layout, address):
        product = _Product(layout, artifacts, console)
        product.prepare(artifacts)
        with services.start(
            layout, product.served, artifacts.product, address, schedules=schedules
        ) as running:
            try:
                on_ready(Ready(address.url, prepare_home(layout)))
                _follow(product, request, running)
            except KeyboardInterrupt:
                console.note("Stopping ...")
                raise


@contextmanager
def _only_one(layout: Layout, address: services.Address) -> Iterator[None]:
    with lock.hold_file(
        layout.dev_lock,
        command=f"floe dev at {address.url}",
        does="serves this project already",
        help="Open that address, or stop that process first.",
        wait=0,
    ):
        yield


def _follow(
    product: _Product, request: CompileRequest | None, running: services.Services
) -> NoReturn:
    """Compile and reload at each change, until an interrupt or the end of a service.

    Each watch begins with a compile, for what was changed while nothing was watched.
    """
    inputs = _inputs(request, product.artifacts)
    while True:
        with watch(inputs) as wait:
            known, is_due = inputs, True
            while inputs == known:
                running.check()
                is_due = wait(_CHECK_SECONDS) or is_due
                if is_due and request is not None and product.compile_again(request, running):
                    is_due, inputs = False, _inputs(request, product.artifacts)


def _inputs(request: CompileRequest | None, artifacts: CompiledArtifacts) -> Inputs:
    loaded = run_stages((load,), request).value if request is not None else None
    return inputs_of(loaded, artifacts) if loaded is not None else Inputs(frozenset(), frozenset())


class _Product:
    """What is served, and how it follows its files."""

    def __init__(self, layout: Layout, artifacts: CompiledArtifacts, console: Console) -> None:
        self.artifacts = artifacts
        self.served = layout.served(artifacts.environment)
        self._layout = layout
        self._console = console
        self._nodes = self._read_nodes()
        self._warnings: Sequence[Diagnostic] | None = None
        self._is_broken = False
        self._is_waiting = True  # of the first compile, which nobody asked for, nothing is said

    def prepare(self, artifacts: CompiledArtifacts) -> None:
        """Make artifacts those that the next load of the definitions takes.

        Raises:
            ArtifactsError: if no definitions can be made of them; the ones before stay.
        """
        from floe_dagster.definitions import build_definitions

        build_definitions(artifacts, root=self._layout.root)
        write_atomic(self.served, dump_artifacts(artifacts))

    def compile_again(self, request: CompileRequest, running: services.Services) -> bool:
        """Compile and reload what changed; says whether that is over, or waits for a run.

        While a run of the project builds, its dbt projects are left alone.
        """
        try:
            with lock.hold(
                self._layout, self.artifacts.environment, command="floe dev, compiling", wait=0
            ):
                compilation, diagnostics = compile_request(request)
        except ProjectLockedError as problem:
            if not self._is_waiting:
                self._console.note(f"Something changed; it is compiled later: {problem.message}.")
            self._is_waiting = True
            return False
        except FloeError as problem:
            self._fail(problem)
        else:
            self._show_warnings(diagnostics)
            self._reload(compilation.artifacts, running)
        self._is_waiting = False
        return True

    def _fail(self, problem: FloeError) -> None:
        if isinstance(problem, CompileError):
            self._console.diagnostics(problem.diagnostics)
        else:
            self._console.error(problem)
        self._console.note("Not reloaded: what was served before is served still.")
        self._is_broken = True

    def _show_warnings(self, warnings: Sequence[Diagnostic]) -> None:
        if self._warnings is not None and list(warnings) != list(self._warnings):
            self._console.diagnostics(warnings)
        self._warnings = warnings

    def _reload(self, artifacts: CompiledArtifacts, running: services.Services) -> None:
        nodes = self._read_nodes()
        is_changed = artifacts != self.artifacts or nodes != self._nodes
        if not is_changed and not self._is_broken:
            return
        changes = describe_changes(self._nodes, nodes)
        changes = changes or ("the settings changed" if is_changed else "nothing changed")
        try:
            self.prepare(artifacts)
            running.reload()
        except FloeError as problem:
            self._fail(problem)
            return
        self._console.note(f"Compiled again: {changes}; reloaded.")
        self.artifacts, self._nodes, self._is_broken = artifacts, nodes, False

    def _read_nodes(self) -> dict[tuple[str, str, str], Node]:
        """What dbt knows of the product, by project, target and unique id."""
        path = self._layout.index(self.artifacts.environment)
        indexes = load_index(path.read_bytes()) if path.is_file() else ()
        return {
            (index.project, index.target, unique_id): node
            for index in indexes
            for unique_id, node in index.nodes.items()
        }


def describe_changes(before: Mapping[Any, Node], after: Mapping[Any, Node]) -> str:
    """Count what differs: `2 models changed, 1 test added`; empty when nothing does."""
    changes = Counter[tuple[str, str]]()
    for key in [*before, *(key for key in after if key not in before)]:
        node = after.get(key) or before[key]
        if key not in before:
            changes[node.resource_type, "added"] += 1
        elif key not in after:
            changes[node.resource_type, "removed"] += 1
        elif before[key] != after[key]:
            changes[node.resource_type, "changed"] += 1
    return ", ".join(
        f"{count} {kind}{'s' if count != 1 else ''} {verb}"
        for (kind, verb), count in sorted(changes.items())
    )
