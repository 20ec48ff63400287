"""The transforms of floe.yaml: where they are, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

from floe_core import plugins
from floe_core.compiler.findings import from_finding
from floe_core.compiler.load import Loaded
from floe_core.compiler.plugins import unusable
from floe_core.compiler.validation import UNNAMED, is_left_out
from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Report,
    did_you_mean,
)
from floe_core.entry_points import blamed
from floe_core.errors import PluginError
from floe_core.plugins import (
    LocatedTransform,
    ProjectExecutor,
    TransformExecutor,
)
from floe_core.schemas.floe import FloeSpec, Transform
from floe_core.source import Source


@dataclass(frozen=True)
class PlacedTransform:
    """A transform of floe.yaml with its folder and the plugin that handles it."""

    number: int
    spec: Transform
    located: LocatedTransform
    executor: TransformExecutor | ProjectExecutor

    @property
    def name(self) -> str:
        """Name of the transform."""
        return self.located.name

    @property
    def asset(self) -> TransformExecutor | None:
        """The plugin, when it makes one asset of the transform; None when it finds projects."""
        return self.executor if plugins.is_asset_kind(self.executor) else None

    @property
    def project(self) -> ProjectExecutor | None:
        """The plugin, when it finds projects of many nodes."""
        return None if plugins.is_asset_kind(self.executor) else self.executor


def place_transforms(loaded: Loaded, floe: FloeSpec, report: Report) -> tuple[PlacedTransform, ...]:
    """Find the folder and the plugin of each transform, and check them against each other."""
    placed = []
    executor_of = cache(plugins.transform_executor)
    for number, transform in enumerate(floe.transforms):
        at: FieldPath = ("transforms", number)
        if _is_place_uncertain(loaded.floe_source, number):
            continue
        try:
            executor = executor_of(transform.type)
        except PluginError as problem:
            report.add(unusable(loaded.floe_source, (*at, "type"), problem))
            continue
        if executor is None:
            report.add(_unknown_transform_type(loaded.floe_source, at, transform.type))
            continue
        if _refuse_keys(loaded.floe_source, at, transform.type, executor, report):
            continue
        try:
            with blamed(plugins.TRANSFORMS, transform.type):
                located, findings = executor.locate(transform, loaded.request.root)
        except PluginError as problem:
            report.add(unusable(loaded.floe_source, (*at, "type"), problem))
            continue
        for finding in findings:
            report.add(from_finding(loaded.floe_source, at, finding))
        if located is not None:
            placed.append(PlacedTransform(number, transform, located, executor))
    check_unique(loaded.floe_source, "transforms", [(p.number, p.name) for p in placed], report)
    _check_dependencies(loaded, floe, placed, report)
    _check_overlap(loaded, placed, report)
    return tuple(placed)


_ABOUT_PLACE = frozenset({"entry", "models", "name", "path", "project", "select", "type"})


def _is_place_uncertain(source: Source, number: int) -> bool:
    """Whether something is wrong that says where a transform is, or which models it has."""
    at = ("transforms", number)
    return is_left_out(source, at) or any((*at, key) in source.left_out for key in _ABOUT_PLACE)


_KEYS_OF_SOME = ("project", "path", "models", "select", "target", "entry", "description")
"""Keys of a transform that not every kind reads."""


def _refuse_keys(
    source: Source,
    at: FieldPath,
    type_: str,
    executor: TransformExecutor | ProjectExecutor,
    report: Report,
) -> bool:
    """Refuse what the transform's kind does not read; whether there was any."""
    refused = [
        key for key in _KEYS_OF_SOME if (*at, key) in source.places and key not in executor.fields
    ]
    known = ", ".join(f"`{key}`" for key in _KEYS_OF_SOME if key in executor.fields) or "nothing"
    for key in refused:
        report.add(
            source.diagnostic(
                "FLOE-T001",
                (*at, key),
                f"means nothing to a transform of type `{type_}`",
                help=f"remove it; besides what all kinds have, `{type_}` takes {known}",
                on_key=True,
            )
        )
    return bool(refused)


_RESERVED = {
    "flink": "write `type: dbt` for SQL on the product's engine, or `type: python` with "
    "`entry: module:function`"
}
"""Kinds of transforms that are to come, and what to write instead."""


def _unknown_transform_type(source: Source, at: FieldPath, type_: str) -> Diagnostic:
    if type_ in _RESERVED:
        message = f"`{type_}` is reserved for a later release of floe"
        return source.diagnostic("FLOE-R004", (*at, "type"), message, help=_RESERVED[type_])
    return source.diagnostic(
        "FLOE-R004",
        (*at, "type"),
        f"there is no kind of transform named `{type_}`",
        help=did_you_mean(type_, plugins.names(plugins.TRANSFORMS), "installed"),
    )


def check_unique(
    source: Source, section: str, named: Iterable[tuple[int, str]], report: Report
) -> None:
    """Refuse two items of a section with one name."""
    first: dict[str, int] = {}
    for number, name in named:
        if name in first:
            report.add(
                source.diagnostic(
                    "FLOE-R006",
                    (section, number, "name"),
                    f"`{name}` is the name of `{section}[{first[name]}]` already",
                    help="give each a name of its own",
                )
            )
        first.setdefault(name, number)


def _check_dependencies(
    loaded: Loaded, floe: FloeSpec, placed: Sequence[PlacedTransform], report: Report
) -> None:
    source = loaded.floe_source
    names = transform_names(source, floe, placed)
    if names is not None:
        for number, transform in enumerate(floe.transforms):
            for position, name in enumerate(transform.depends_on):
                if name not in names:
                    at = ("transforms", number, "depends_on", position)
                    report.add(unknown_name(source, "FLOE-R007", at, name, names))
    found = {transform.name for transform in placed}
    graph = {t.name: [name for name in t.spec.depends_on if name in found] for t in placed}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        report.add(_circle(source, placed, list(reversed(problem.args[1]))))


def transform_names(
    source: Source, floe: FloeSpec, placed: Sequence[PlacedTransform]
) -> frozenset[str] | None:
    """Names of all transforms; None when they are not all known, for something is wrong."""
    found = {transform.number: transform.name for transform in placed}
    names: list[str] = []
    for number, transform in enumerate(floe.transforms):
        name = found.get(number, transform.name)
        if name is None or is_stood_in(source, ("transforms", number), name):
            return None
        names.append(name)
    return frozenset(names)


def is_stood_in(source: Source, path: FieldPath, name: str) -> bool:
    """Whether the name of an item is not what the user wrote."""
    return is_left_out(source, path) and name.startswith(UNNAMED)


def _circle(source: Source, placed: Sequence[PlacedTransform], circle: list[str]) -> Diagnostic:
    first = min((p for p in placed if p.name in circle), key=lambda p: p.number)
    start = circle.index(first.name)
    circle = [*circle[start:-1], *circle[:start], first.name]
    number = first.spec.depends_on.index(circle[1])
    message = f"transforms depend on each other in a circle: {' -> '.join(circle)}"
    if len(circle) == 2:
        message = f"transform `{first.name}` depends on itself"
    at = ("transforms", first.number, "depends_on", number)
    return source.diagnostic("FLOE-R008", at, message, help="remove one of these `depends_on`")


def unknown_name(
    source: Source, code: str, at: FieldPath, name: str, names: Iterable[str]
) -> Diagnostic:
    """Say that there is no transform of this name."""
    return source.diagnostic(
        code,
        at,
        f"there is no transform named `{name}`",
        help=did_you_mean(name, names, "transforms"),
    )


def _check_overlap(loaded: Loaded, placed: Sequence[PlacedTransform], report: Report) -> None:
    """Refuse what overlaps by its files alone; selections are compared when dbt has parsed.

    A transform is told of the first other one that it overlaps with.
    """
    claimed: dict[str, list[tuple[PlacedTransform, set[str] | None]]] = {}
    for transform in placed:
        if transform.located.select is not None or transform.asset is not None:
            continue
        files = _files(loaded.request.root, transform.located)
        for other, other_files in claimed.setdefault(transform.located.project, []):
            if other.spec.target != transform.spec.target:
                continue
            shared = _shared(files, other_files)
            if shared is not None:
                report.add(overlap_diagnostic(loaded.floe_source, transform, other, shared))
                break
        claimed[transform.located.project].append((transform, files))


def _files(root: Path, located: LocatedTransform) -> set[str] | None:
    """Files of a transform, relative to its project; None for all of them."""
    if not located.models or "." in located.models:
        return None
    project = root / located.project
    files: set[str] = set()
    for pattern in located.models:
        for path in _matching(project, pattern):
            found = path.rglob("*") if path.is_dir() else [path]
            files.update(p.relative_to(project).as_posix() for p in found if p.is_file())
    return files


def _matching(project: Path, pattern: str) -> list[Path]:
    """Paths that a glob names; none for a glob that only the transform's plugin understands."""
    once = re.sub(r"(\*\*/)+", "**/", pattern)  # many of them say the same, and never end
    try:
        return list(project.glob(once))
    except (ValueError, NotImplementedError, IndexError):
        return []


def _shared(files: set[str] | None, others: set[str] | None) -> str | None:
    if files is None and others is None:
        return "the whole project"
    both = (files if others is None else others if files is None else files & others) or ()
    models = sorted(PurePosixPath(name).stem for name in both if name.endswith(".sql"))
    return ", ".join(f"`{name}`" for name in models) or None


def overlap_diagnostic(
    source: Source, transform: PlacedTransform, other: PlacedTransform, shared: str
) -> Diagnostic:
    """Say that two transforms claim the same models."""
    return source.diagnostic(
        "FLOE-R014",
        ("transforms", transform.number),
        f"overlaps with transform `{other.name}`: both claim {shared}",
        help="a model belongs to one transform; narrow them with `models` or `select`",
    )
