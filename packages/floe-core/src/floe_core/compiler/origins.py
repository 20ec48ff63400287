"""Where each value of the artifacts came from.

Most values are copied from one of the two files, and `_COPIED` says from where; what a stage has
decided it has noted itself. A value that is not where it is said to come from is a defect, which a
test over fully filled files finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from floe_core.compiler.build import COPIED_OBSERVABILITY, SIGNALS, Built, signal
from floe_core.compiler.control_plane import control_plane_file
from floe_core.compiler.governance import SHARED
from floe_core.compiler.pipeline import IN_MEMORY, check, run_stages
from floe_core.compiler.request import FLOE_FILE, CompileRequest
from floe_core.compiler.transforms import PlacedTransform
from floe_core.compiler.validation import value_at
from floe_core.diagnostics import Diagnostic, FieldPath, Report, field_name
from floe_core.environment_variables import SOURCE_DATE_EPOCH
from floe_core.index import Node, ProjectIndex
from floe_core.provenance import Leaf, Origin, find, in_file, leaves
from floe_core.source import Source, read_source

File = Literal["floe", "platform"]

_COPIED: Mapping[FieldPath, tuple[File, FieldPath]] = {
    ("identity", "name"): ("floe", ("name",)),
    ("identity", "version"): ("floe", ("version",)),
    ("identity", "description"): ("floe", ("description",)),
    ("identity", "owner"): ("floe", ("owner",)),
    ("identity", "labels"): ("floe", ("labels",)),
    ("identity", "platform"): ("platform", ("name",)),
    ("profiles", "storage", "name"): ("floe", ("profiles", "storage")),
    ("profiles", "catalog", "name"): ("floe", ("profiles", "catalog")),
    ("profiles", "compute", "name"): ("floe", ("profiles", "compute")),
    ("profiles", "others", "storage"): ("platform", ("storage",)),
    ("profiles", "others", "catalogs"): ("platform", ("catalogs",)),
    ("profiles", "others", "compute"): ("platform", ("compute",)),
    ("layers",): ("platform", ("layers",)),
    ("governance", "classification_source"): ("floe", ("governance", "classification_source")),
    ("governance", "policies"): ("floe", ("governance", "policies")),
    ("governance", "emit_classification_lineage"): (
        "floe",
        ("governance", "emit_classification_lineage"),
    ),
    ("observability", "attributes"): ("floe", ("observability", "attributes")),
    ("observability", "deadline_seconds"): ("platform", ("observability", "deadline_seconds")),
    **{
        ("observability", name): ("platform", ("observability", section, field))
        for section, fields in COPIED_OBSERVABILITY.items()
        for name, field in fields.items()
    },
    ("plugins", "orchestrator"): ("platform", ("plugins", "orchestrator", "type")),
    ("plugins", "secret_backends"): ("platform", ("security", "secret_backends")),
    ("orchestration", "schedules"): ("floe", ("schedules",)),
    ("orchestration", "jobs"): ("floe", ("jobs",)),
    ("orchestration", "sensors"): ("floe", ("sensors",)),
    ("orchestration", "resource_presets"): ("platform", ("resource_presets",)),
    ("consumption",): ("floe", ("consumption",)),
}
"""What is copied as it is, by its path in the artifacts: the file, and the path in it."""

_SECTION_OF = {"storage": "storage", "catalog": "catalogs", "compute": "compute"}
_TITLES: Mapping[File, str] = {"floe": FLOE_FILE, "platform": "platform.yaml"}


def explain(
    request: CompileRequest, field: str | None = None
) -> tuple[Sequence[Leaf], tuple[Diagnostic, ...]]:
    """Compile in memory, and say where one field came from, or every field that has a value.

    Args:
        request: What to compile; the artifacts on disk stay as they are.
        field: A path such as `transforms.bronze.layer`; of a section, all that is in it.

    Raises:
        CompileError: if the files are wrong.
        UsageError: if the artifacts have no such field.
    """
    outcome = run_stages(IN_MEMORY, request)
    check(outcome)
    built: Built = outcome.value
    traced = trace(built)
    found = list(traced) if field is None else find(traced, document(built), field)
    if len(found) != 1:
        found = [leaf for leaf in found if leaf.origin.kind != "unset"]
    return found, outcome.diagnostics


def document(built: Built) -> dict[str, Any]:
    """The artifacts as data; fields without a value are there, and are None."""
    return built.artifacts.model_dump(mode="json")


def trace(built: Built) -> tuple[Leaf, ...]:
    """Every field of the artifacts with its origin, in the order of the artifacts."""
    tracer = _Tracer(built)
    return tuple(
        Leaf(path, value, _UNSET if value is None else tracer.origin(path))
        for path, value in leaves(document(built))
    )


class _Tracer:
    def __init__(self, built: Built) -> None:
        self.enforced = built.enforced
        self.inspected = built.enforced.inspected
        self.resolved = built.enforced.inspected.resolved
        self.loaded = self.resolved.loaded
        self.read: dict[Path, Source] = {}
        self.made: Mapping[FieldPath, Callable[[FieldPath], Origin]] = {
            ("version",): lambda _: _computed("the version of the contract that this floe writes"),
            ("metadata",): self._metadata,
            ("compute",): self._compute,
            ("transforms",): self._transform,
            ("observability",): self._observability,
            ("dbt_manifest_path",): self._of_the_only_project,
            ("dbt_project_path",): self._of_the_only_project,
            ("dbt_profiles_path",): lambda _: _GENERATED,
            ("dbt_vars",): lambda path: _VARS if path[1:] else _NO_VARS,
            ("identity",): self._identity,
            ("profiles",): self._profile,
            ("governance",): lambda path: self._policy(path[1:]),
            ("quality_config",): lambda path: self._policy(("quality_gates", *path[1:])),
            ("column_classifications",): self._classification,
            ("enforcement_result",): self._enforcement,
            ("control_plane",): self._control_plane,
        }

    def origin(self, path: FieldPath) -> Origin:
        """Where the value at a path of the artifacts came from."""
        if path[:2] == ("profiles", "others") and len(path) == 3:
            return _computed("the platform has no further entry")
        if path[:2] == ("orchestration", "jobs") and path[3:4] == ("nodes",):
            return self._selected(path)
        for length in range(len(path), 0, -1):
            if path[:length] in _COPIED:
                file, base = _COPIED[path[:length]]
                return self._copied(file, (*base, *path[length:]))
        return self.made[path[:1]](path)

    # Files

    def _copied(self, file: File, path: FieldPath) -> Origin:
        source = self.loaded.floe_source if file == "floe" else self.loaded.platform_source
        if file == "platform" and path[0] in self.resolved.built_in:
            return Origin("built-in", "floe's built-in platform for environment `local`")
        if path[:2] == ("security", "secret_backends") and source is not None:
            primary = (*path[:2], "primary")
            path = primary if primary in source.places else path
        if source is None or path not in source.places:
            return Origin("default", f"{_TITLES[file]} does not set `{field_name(path)}`")
        moved = self.resolved.moved.get(path) if file == "platform" else None
        reason = f"written as `{moved}`, relative to the file" if moved else ""
        return in_file(source, path, reason=reason)

    def _has(self, file: File, path: FieldPath) -> bool:
        source = self.loaded.floe_source if file == "floe" else self.loaded.platform_source
        return source is not None and path in source.places

    # Sections

    def _metadata(self, path: FieldPath) -> Origin:
        if path[1] == "compiled_at" and self.loaded.request.environ.get(SOURCE_DATE_EPOCH):
            return Origin("environment", f"the variable {SOURCE_DATE_EPOCH}")
        return _computed(
            {
                "compiled_at": "the time of the compile",
                "floe_core_version": "the version of floe-core that is installed",
                "source_hash": "a hash of both files, the dbt projects, the environment, `--vars` "
                "and the versions that shape the output",
                "origin": "compiled here, not pulled",
            }[str(path[1])]
        )

    def _identity(self, path: FieldPath) -> Origin:
        if path[1] == "environment":
            origin, choice = self.resolved.environment_origin, self.loaded.choice
            chosen = Origin("file", f"the platform file: {choice.reason}", choice.path)
            return replace(origin, also=(*origin.also, chosen))
        if self._has("platform", ("environment_category",)):
            return self._copied("platform", ("environment_category",))
        return Origin("environment", f"the category of environment `{self.resolved.environment}`")

    def _compute(self, path: FieldPath) -> Origin:
        key = "type" if path[1] == "target" else path[1]
        return self._entry("compute", (key, *path[2:]))

    def _profile(self, path: FieldPath) -> Origin:
        return self._entry(str(path[1]), path[3:])

    def _entry(self, key: str, below: FieldPath) -> Origin:
        """A value of the platform entry that the product uses."""
        name = getattr(self.resolved.floe.profiles, key)
        return self._copied("platform", (_SECTION_OF[key], name, *below))

    def _transform(self, path: FieldPath) -> Origin:
        transform = self.resolved.transforms[int(path[1])]
        key, at = path[2], ("transforms", transform.number)
        if transform.asset is not None:
            if key in {"path", "nodes", "inputs_hash"}:
                return self._made_of(transform, key)
            return self._copied("floe", (*at, *path[2:]))
        if key in {"path", "dbt_project_path"}:
            return self._located(transform, ("project",))
        if key in {"name", "select"} and transform.asset is None:
            return self._located(transform, (key,))
        if key == "models" and len(path) > 3:
            return self._located(transform, (key, path[3]))
        if key == "nodes":
            return self._nodes(transform.name, path[3:])
        if key in {"dbt_manifest_path", "dbt_profiles_path"}:
            return _GENERATED
        if key == "target" and not self._has("floe", (*at, "target")):
            return Origin("environment", "the transform names no `target`")
        return self._copied("floe", (*at, *path[2:]))

    def _made_of(self, transform: PlacedTransform, key: str | int) -> Origin:
        """What a transform that is not dbt's is made of."""
        if key == "nodes":
            return _ASSET
        if key == "inputs_hash":
            return _computed("a hash of the files that the transform is made of")
        fields = ("entry", "path", "project")
        named = [f for f in fields if self._has("floe", ("transforms", transform.number, f))]
        return _computed(f"the file or folder that `{named[0]}` names" if named else "found nearby")

    def _located(self, transform: Any, key: FieldPath) -> Origin:
        """What the transform's plugin found, from where it says that it found it."""
        found = transform.located.origins.get(key)
        if isinstance(found, tuple):
            return self._copied("floe", ("transforms", transform.number, *found))
        if found is not None:
            return self._other_file(self.loaded.request.root / found, ("name",))
        return _computed("the dbt project that is at or below floe.yaml")

    def _other_file(self, path: Path, at: FieldPath) -> Origin:
        source = self._source(path)
        return in_file(source, at) if at in source.places else Origin("file", file=source.path)

    def _source(self, path: Path) -> Source:
        if path not in self.read:
            self.read[path] = read_source(path, Report())
        return self.read[path]

    def _of_the_only_project(self, path: FieldPath) -> Origin:
        key = "dbt_project_path" if path == ("dbt_project_path",) else "dbt_manifest_path"
        return self._transform(("transforms", 0, key))

    def _observability(self, path: FieldPath) -> Origin:
        name = SIGNALS[str(path[1])]
        at = ("observability", name, "enabled")
        file = signal(self.resolved, name).decided_by
        if file is None:
            return Origin("default", f"platform.yaml has no `observability.{name}`")
        other: File = "platform" if file == "floe" else "floe"
        also = (self._copied(other, at),) if self._has(other, at) else ()
        return replace(self._copied(file, at), also=also)

    def _policy(self, path: FieldPath) -> Origin:
        """The stricter of both files; what only one of them says needs no comparison."""
        written: list[File] = list(self.resolved.governance.chosen.get(path, ()))
        at = ("governance", *path)
        others = [f for f in SHARED if f not in written and self._has(f, at)]
        if not written:
            return Origin("default", f"neither file sets `{field_name(at)}`")
        first, *rest = written
        also = tuple(self._copied(file, at) for file in (*rest, *others))
        reason = "both files say the same" if rest else ""
        if others:
            reason = f"stricter than {_TITLES[others[0]]}"
        reason = reason or f"only {_TITLES[first]} sets it"
        return replace(self._copied(first, at), kind="policy", reason=reason, also=also)

    def _enforcement(self, path: FieldPath) -> Origin:
        if path[1] == "level":
            return self._policy(("policy_enforcement_level",))
        gate = self._policy(("quality_gates", "minimum_test_coverage"))
        return Origin(
            "computed", "the product's models and tests, judged by this gate", also=(gate,)
        )

    def _control_plane(self, path: FieldPath) -> Origin:
        return self._copied(control_plane_file(self.resolved.platform, self.resolved.floe), path)

    # dbt

    def _selected(self, path: FieldPath) -> Origin:
        job = self.resolved.floe.jobs[int(path[2])]
        if len(path) < 5:
            return Origin("dbt", "the selection of the job stands for no node")
        return self._node(self.inspected.job_nodes[job.name][int(path[4])])

    def _nodes(self, transform: str, below: FieldPath) -> Origin:
        if not below:
            return Origin("dbt", "no node belongs to the transform")
        return self._node(self.inspected.claims[transform][int(below[0])])

    def _node(self, unique_id: str) -> Origin:
        for index in self.inspected.indexes:
            if unique_id in index.nodes:
                node = index.nodes[unique_id]
                file = self._file(index, node.package_name, node.original_file_path)
                return Origin("dbt", f"{node.resource_type} `{node.name}`", file)
        return _ASSET

    def _classification(self, path: FieldPath) -> Origin:
        if len(path) < 4:
            return Origin("dbt", "no column has `meta.floe`")
        column, key = str(path[2]), str(path[3])
        index, node = self.enforced.classified[str(path[1])]
        reason = f"`meta.floe` of column `{column}` of {node.resource_type} `{node.name}`"
        package, _, patch = (node.patch_path or "").partition("://")
        file = self._file(index, package, patch) if patch else None
        if file is None:
            model = self._file(index, node.package_name, node.original_file_path)
            return Origin("dbt", reason, model)
        source = self._source(file)
        for at in source.places:
            if at[-1:] == (key,) and _is_of_column(source.data, at, node, column):
                return in_file(source, at, kind="dbt", reason=reason)
        return Origin("dbt", reason, file)

    def _file(self, index: ProjectIndex, package: str, path: str) -> Path | None:
        """A file of a project, if it is one of the product's own files."""
        folder = self.loaded.request.root / index.project
        found = (folder / path).resolve()
        if package != index.name or not found.is_file():
            return None
        return folder / path


def _is_of_column(data: Any, path: FieldPath, node: Node, column: str) -> bool:
    """Whether a path of a properties file is a key of `meta.floe` of this column."""
    named = [value_at(data, (*path[:length], "name")) for length in (2, 4)]
    is_meta = path[4:-1] in {("meta", "floe"), ("config", "meta", "floe")}
    return is_meta and path[0] == f"{node.resource_type}s" and named == [node.name, column]


_UNSET = Origin("unset", "neither file sets it, and there is no default")
_VARS = Origin("option", "given with `--vars`")
_NO_VARS = Origin("default", "no `--vars` are given")
_GENERATED = Origin("computed", "where `floe compile` writes it, by environment and project")


def _computed(reason: str) -> Origin:
    return Origin("computed", reason)


_ASSET = _computed("the one asset of a transform that is not dbt's")
