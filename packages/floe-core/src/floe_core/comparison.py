"""What changes between two compiles, in the words of a data product.

Artifacts are compared leaf by leaf, so nothing is missed; the nodes of dbt projects are compared by
the indexes, which know their SQL and configuration. A leaf that follows from another, such as a
generated path or a hash, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, Literal

from floe_core.compiler.governance import is_ranked, strictness
from floe_core.diagnostics import FieldPath, field_name
from floe_core.index import Column, Node, ProjectIndex
from floe_core.provenance import leaves
from floe_core.schemas.artifacts import CompiledArtifacts, CompiledTransform

Sign = Literal["+", "-", "~"]


@dataclass(frozen=True)
class Side:
    """One of two compiles.

    Attributes:
        title: What it is, for people.
        artifacts: Its artifacts.
        indexes: What dbt knows of its projects; None when that is not at hand.
        root: Project root whose files are those that were compiled; None when there is none.
    """

    title: str
    artifacts: CompiledArtifacts
    indexes: Sequence[ProjectIndex] | None = None
    root: Path | None = None


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        sign: `+` added, `-` removed, `~` changed.
        kind: What it is, such as `model.sql` or `governance.stricter`; stable, for programs.
        group: Heading that it is listed under.
        subject: What changes, such as the name of a model or the path of a field.
        what: Which part of the subject; None when it is the whole of it.
        before: The old value; None when there was none.
        after: The new value; None when there is none.
        file: File that it is about, relative to the project root.
        diff: Unified diff of the file, where both texts are at hand.
    """

    sign: Sign
    kind: str
    group: str
    subject: str
    what: str | None = None
    before: Any = None
    after: Any = None
    file: str | None = None
    diff: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as data; the keys are stable."""
        return {**asdict(self), "diff": list(self.diff)}


GROUPS = (
    "product",
    "transforms",
    "models",
    "seeds",
    "snapshots",
    "tests",
    "sources",
    "exposures",
    "macros",
    "classifications",
    "governance",
    "schedules",
    "jobs",
    "sensors",
    "resource presets",
    "compute",
    "storage",
    "catalog",
    "layers",
    "observability",
    "other",
)
"""Headings, in the order in which they are shown."""


def compare(before: Side, after: Side) -> tuple[Change, ...]:
    """List what differs, by group, then by subject; nothing for equal sides."""
    changes = [*_fields(before, after), *_nodes(before, after)]
    return tuple(
        sorted(changes, key=lambda c: (GROUPS.index(c.group), c.subject, c.what or "", c.sign))
    )


# Fields of the artifacts

_NAMED_LISTS = (
    ("transforms",),
    ("orchestration", "schedules"),
    ("orchestration", "jobs"),
    ("orchestration", "sensors"),
)
_FOLLOWS: frozenset[tuple[str, str]] = frozenset(
    {("metadata", "compiled_at"), ("metadata", "source_hash"), ("metadata", "origin")}
)
"""What says nothing about the product: the time, hashes and where the artifacts came from."""

_PLACES: tuple[tuple[FieldPath, str, str], ...] = (
    # Path in the artifacts, group, kind; what follows is the subject and its part.
    (("transforms",), "transforms", "transform"),
    (("orchestration", "schedules"), "schedules", "schedule"),
    (("orchestration", "jobs"), "jobs", "job"),
    (("orchestration", "sensors"), "sensors", "sensor"),
    (("column_classifications",), "classifications", "classification"),
    (("layers",), "layers", "layer"),
    (("orchestration", "resource_presets"), "resource presets", "resource_preset"),
)
_SECTIONS: tuple[tuple[FieldPath, str, str], ...] = (
    # Path in the artifacts, group, kind; the subject is the rest of the path.
    (("identity",), "product", "product"),
    (("version",), "product", "contract"),
    (("metadata", "floe_core_version"), "product", "floe"),
    (("profiles", "compute", "profile"), "compute", "compute"),
    (("profiles", "compute"), "compute", "compute"),
    (("profiles", "storage", "profile"), "storage", "storage"),
    (("profiles", "storage"), "storage", "storage"),
    (("profiles", "catalog", "profile"), "catalog", "catalog"),
    (("profiles", "catalog"), "catalog", "catalog"),
    (("profiles", "others", "compute"), "compute", "compute"),
    (("profiles", "others", "storage"), "storage", "storage"),
    (("profiles", "others", "catalogs"), "catalog", "catalog"),
    (("compute",), "compute", "compute"),
    (("governance",), "governance", "governance"),
    (("quality_config",), "governance", "governance"),
    (("enforcement_result",), "governance", "enforcement"),
    (("observability",), "observability", "observability"),
    (("dbt_vars",), "product", "vars"),
)


def _fields(before: Side, after: Side) -> Iterator[Change]:
    old, new = _document(before.artifacts), _document(after.artifacts)
    whole: set[FieldPath] = set()
    for path in _items(old) | _items(new):
        had, has = _at(old, path), _at(new, path)
        if had is None or has is None:
            whole.add(path)
            yield _whole_item(path, had, has)
    was, now = dict(leaves(old)), dict(leaves(new))
    for path in was.keys() | now.keys():
        if was.get(path) != now.get(path) and not any(
            path[:length] in whole for length in range(len(path) + 1)
        ):
            change = _field(path, was.get(path), now.get(path), was, now)
            if change is not None:
                yield change


def _document(artifacts: CompiledArtifacts) -> dict[str, Any]:
    """The artifacts without what follows from the rest; items of lists by their names."""
    document = artifacts.model_dump(mode="json", exclude_none=True)
    for section, key in _FOLLOWS:
        document[section].pop(key, None)
    _drop_repetitions(document, artifacts)
    for *above, key in _NAMED_LISTS:
        parent = _at(document, tuple(above))
        if isinstance(parent, dict) and isinstance(parent.get(key), list):
            parent[key] = {_name(item, number): item for number, item in enumerate(parent[key])}
    whole: dict[str, Any] = _with_whole_lists(document)
    return whole


def _with_whole_lists(value: Any) -> Any:
    """The same with lists of single values as one value each: tuples."""
    if isinstance(value, dict):
        return {key: _with_whole_lists(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if any(isinstance(item, dict | list) for item in value):
        return [_with_whole_lists(item) for item in value]
    return tuple(value)


def _drop_repetitions(document: dict[str, Any], artifacts: CompiledArtifacts) -> None:
    """Remove what 1.1 says elsewhere, and paths that floe makes of the environment's name."""
    profiles = artifacts.profiles
    said = None if profiles is None else profiles.compute.profile
    ours = artifacts.compute
    if said is not None and (said.type, said.properties) == (ours.target, ours.properties):
        document.pop("compute")
    for transform in document["transforms"]:
        transform.pop("nodes", None)
        if transform.get("dbt_project_path") == transform["path"]:
            del transform["dbt_project_path"]
        if transform.get("target") == artifacts.environment:
            del transform["target"]
        for key in ("dbt_manifest_path", "dbt_profiles_path"):
            if str(transform.get(key, "")).startswith(f".floe/{artifacts.environment}"):
                del transform[key]
    others = _at(document, ("profiles", "others")) or {}
    for section in [section for section, entries in others.items() if not entries]:
        del others[section]
    if any(transform.name is not None for transform in artifacts.transforms):
        for key in ("dbt_manifest_path", "dbt_project_path", "dbt_profiles_path"):
            document.pop(key, None)


def _name(item: Mapping[str, Any], number: int) -> str:
    return str(item.get("name") or number)


def _at(document: Any, path: FieldPath) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _items(document: Mapping[str, Any]) -> set[FieldPath]:
    """Paths of all named things, which are added and removed as a whole."""
    found: set[FieldPath] = set()
    for path, _, kind in _PLACES:
        for name, item in (_at(document, path) or {}).items():
            if kind == "classification":
                found |= {(*path, name, column) for column in item}
            else:
                found.add((*path, name))
    for section in ("storage", "catalogs", "compute"):
        entries = _at(document, ("profiles", "others", section)) or {}
        found |= {("profiles", "others", section, name) for name in entries}
    for key in ("storage", "catalog", "compute"):
        if _at(document, ("profiles", key)) is not None:
            found.add(("profiles", key))
    return found


def _whole_item(path: FieldPath, had: Any, has: Any) -> Change:
    group, kind, subject, _ = _placed(path)
    sign: Sign = "+" if had is None else "-"
    action = "added" if had is None else "removed"
    return Change(sign, f"{kind}.{action}", group, subject, None, had, has)


def _placed(path: FieldPath) -> tuple[str, str, str, str | None]:
    """Group, kind, subject and part of a path of the artifacts."""
    for prefix, group, kind in _PLACES:
        if path[: len(prefix)] == prefix and len(path) > len(prefix):
            length = len(prefix) + (2 if kind == "classification" else 1)
            subject = ".".join(str(part) for part in path[len(prefix) : length])
            return group, kind, subject, field_name(path[length:]) or None
    for prefix, group, kind in _SECTIONS:
        if path[: len(prefix)] == prefix:
            return group, kind, field_name(path[len(prefix) :]) or kind, None
    return "other", "field", field_name(path), None


def _field(
    path: FieldPath,
    had: Any,
    has: Any,
    was: Mapping[FieldPath, Any],
    now: Mapping[FieldPath, Any],
) -> Change | None:
    """The change of one leaf; an empty collection that is filled is told by what fills it."""
    if _is_only_filled(path, had, now) or _is_only_filled(path, has, was):
        return None
    group, kind, subject, what = _placed(path)
    if kind == "governance":
        kind, subject = _governance(path, had, has)
    elif (kind, what) == ("transform", "inputs_hash"):
        kind, what = "transform.code", "code"
    elif what is not None:
        kind = f"{kind}.{what.partition('.')[0].partition('[')[0]}"
    elif path[:1] == ("identity",):
        kind = f"product.{path[1]}"
    return Change(_sign(had, has), kind, group, subject, what, had, has)


def _is_only_filled(path: FieldPath, value: Any, others: Mapping[FieldPath, Any]) -> bool:
    is_empty = value in ({}, ())
    return is_empty and any(other[: len(path)] == path and other != path for other in others)


def _sign(had: Any, has: Any) -> Sign:
    if had is None:
        return "+"
    return "-" if has is None else "~"


def _governance(path: FieldPath, had: Any, has: Any) -> tuple[str, str]:
    """Whether a policy becomes stricter, by the order that the enforce stage goes by."""
    key = ("quality_gates", *path[1:]) if path[0] == "quality_config" else path[1:]
    subject = field_name(key)
    if not is_ranked(key):
        return "governance.changed", subject
    rank_before, rank_after = strictness(key, had), strictness(key, has)
    if rank_before == rank_after:
        return "governance.changed", subject
    return f"governance.{'stricter' if rank_after > rank_before else 'looser'}", subject


# Nodes of the dbt projects

_GROUP_OF = {
    "model": "models",
    "seed": "seeds",
    "snapshot": "snapshots",
    "test": "tests",
    "source": "sources",
    "exposure": "exposures",
}
_RENAMEABLE = frozenset({"model", "seed", "snapshot"})
_COMPARED = (
    "alias",
    "attached_node",
    "column_name",
    "database",
    "description",
    "group",
    "materialized",
    "meta",
    "owner",
    "schema",
    "severity",
    "test_name",
    "version",
)


@dataclass(frozen=True)
class _Owned:
    """A node with the transform that it belongs to."""

    node: Node
    index: ProjectIndex
    transform: CompiledTransform | None

    @property
    def file(self) -> str | None:
        """Its file, relative to the project root; packages have theirs elsewhere."""
        if self.node.package_name != self.index.name:
            return None
        return (Path(self.index.project) / self.node.original_file_path).as_posix()


def _nodes(before: Side, after: Side) -> Iterator[Change]:
    if before.indexes is None or after.indexes is None:
        yield from _claims(before, after)
        return
    old, new = _owned(before), _owned(after)
    gone, fresh = old.keys() - new.keys(), new.keys() - old.keys()
    pairs = {key: key for key in old.keys() & new.keys()}
    for was, now in _renamed({k: old[k] for k in gone}, {k: new[k] for k in fresh}):
        pairs[was] = now
        node, other = old[was].node, new[now].node
        yield _node_change("~", "renamed", other, "name", _subject(node), _subject(other))
    for was in gone - pairs.keys():
        yield _node_change("-", "removed", old[was].node, file=old[was].file)
    for now in fresh - set(pairs.values()):
        yield _node_change("+", "added", new[now].node, file=new[now].file)
    for was, now in pairs.items():
        yield from _compare_node(old[was], new[now], before, after)
    yield from _macros(before.indexes, after.indexes)


def _claims(before: Side, after: Side) -> Iterator[Change]:
    """Without an index only the ids of the nodes are known."""
    old, new = (
        {
            node
            for transform in side.artifacts.transforms
            if not transform.is_asset
            for node in transform.nodes or ()
        }
        for side in (before, after)
    )
    for unique_id in sorted(old ^ new):
        resource_type, _, name = unique_id.partition(".")
        sign: Sign = "+" if unique_id in new else "-"
        action = "added" if unique_id in new else "removed"
        group = _GROUP_OF.get(resource_type, "other")
        yield Change(sign, f"{resource_type}.{action}", group, name.partition(".")[2])


_Key = tuple[str, str, str]


def _owned(side: Side) -> dict[_Key, _Owned]:
    """Everything in the product's projects, by id; copies of a node are told apart."""
    found: dict[_Key, _Owned] = {}
    for index in side.indexes or ():
        is_main = index.target == side.artifacts.environment
        for unique_id, node in index.nodes.items():
            owners = (
                transform
                for transform in side.artifacts.transforms
                if unique_id in (transform.nodes or ())
                and transform.dbt_project_path == index.project
                and transform.target == index.target
            )
            where = "" if node.package_name == index.name else index.project
            key = (unique_id, "" if is_main else index.target, where)
            found[key] = _Owned(node, index, next(owners, None))
    return found


def _renamed(
    gone: Mapping[_Key, _Owned], fresh: Mapping[_Key, _Owned]
) -> Iterator[tuple[_Key, _Key]]:
    """Nodes that went and came with the same code, when there is no doubt which became which."""
    went, came = _by_code(gone), _by_code(fresh)
    for code, keys in went.items():
        if len(keys) == 1 and len(came.get(code, ())) == 1:
            yield keys[0], came[code][0]


def _by_code(owned: Mapping[_Key, _Owned]) -> dict[tuple[str, str | None], list[_Key]]:
    found: dict[tuple[str, str | None], list[_Key]] = {}
    for key, one in owned.items():
        if one.node.resource_type in _RENAMEABLE:
            found.setdefault((one.node.resource_type, one.node.code_version), []).append(key)
    return found


def _compare_node(old: _Owned, new: _Owned, before: Side, after: Side) -> Iterator[Change]:
    a, b = old.node, new.node
    if a.code_version != b.code_version:
        what = "data" if b.resource_type == "seed" else "sql"
        diff = tuple(_unified(old, new, before, after))
        yield _node_change("~", what, b, what, a.code_version, b.code_version, new.file, diff)
    for what in _COMPARED:
        had, has = getattr(a, what), getattr(b, what)
        if had != has and not (what == "alias" and had == a.name and has == b.name):
            yield _node_change("~", what, b, what, had or None, has or None, new.file)
    if a.code_version == b.code_version and a.depends_on != b.depends_on:
        yield _node_change("~", "depends_on", b, "depends_on", a.depends_on, b.depends_on)
    if sorted(a.tags) != sorted(b.tags):
        yield _node_change("~", "tags", b, "tags", sorted(a.tags), sorted(b.tags), new.file)
    for what in sorted(a.config.keys() | b.config.keys()):
        had, has = a.config.get(what), b.config.get(what)
        if had != has:
            yield _node_change("~", "config", b, f"config.{what}", had, has, new.file)
    if old.file != new.file:
        yield _node_change("~", "file", b, "file", old.file, new.file)
    yield from _columns(a, b, new.file)
    yield from _moved(old, new)


def _moved(old: _Owned, new: _Owned) -> Iterator[Change]:
    """Between transforms, and so perhaps between layers."""
    was, now = old.transform, new.transform
    if (was and was.name) == (now and now.name):
        return
    for what, key in (("transform", "name"), ("layer", "layer")):
        had, has = getattr(was, key, None), getattr(now, key, None)
        if had != has:
            yield _node_change("~", what, new.node, what, had, has, new.file)


def _columns(a: Node, b: Node, file: str | None) -> Iterator[Change]:
    old, new = ({column.name: column for column in node.columns} for node in (a, b))
    for name in sorted(old.keys() | new.keys()):
        had, has = old.get(name), new.get(name)
        if had is None or has is None:
            before, after = (asdict(c) if c is not None else None for c in (had, has))
            yield _node_change(_sign(had, has), "column", b, f"column {name}", before, after, file)
            continue
        for what in ("data_type", "description", "tags", "meta"):
            values = _fact(b, had, what), _fact(b, has, what)
            if values[0] != values[1]:
                yield _node_change("~", "column", b, f"column {name}.{what}", *values, file)


def _fact(node: Node, column: Column, what: str) -> Any:
    """A fact about a column; its classification is told by itself."""
    value = getattr(column, what)
    if what == "meta" and node.resource_type in _RENAMEABLE:
        return {key: item for key, item in value.items() if key != "floe"}
    return _plain(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _node_change(
    sign: Sign,
    kind: str,
    node: Node,
    what: str | None = None,
    before: Any = None,
    after: Any = None,
    file: str | None = None,
    diff: tuple[str, ...] = (),
) -> Change:
    group = _GROUP_OF[node.resource_type]
    return Change(
        sign,
        f"{node.resource_type}.{kind}",
        group,
        _subject(node),
        what,
        _plain(before),
        _plain(after),
        file,
        diff,
    )


def _subject(node: Node) -> str:
    if node.resource_type == "source":
        return f"{node.source_name}.{node.name}"
    return node.name if node.version is None else f"{node.name}.v{node.version}"


def _unified(old: _Owned, new: _Owned, before: Side, after: Side) -> Iterator[str]:
    """The difference of a node's file, where both texts are at hand."""
    was, now = _text(old, before), _text(new, after)
    if was is None or now is None:
        return
    names = f"{old.file} ({before.title})", f"{new.file} ({after.title})"
    yield from unified_diff(was.splitlines(), now.splitlines(), *names, lineterm="")


def _text(owned: _Owned, side: Side) -> str | None:
    if side.root is None or owned.file is None:
        return None
    try:
        return (side.root / owned.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _macros(before: Sequence[ProjectIndex], after: Sequence[ProjectIndex]) -> Iterator[Change]:
    old, new = (
        {(index.name, name): code for index in indexes for name, code in index.macros.items()}
        for indexes in (before, after)
    )
    for project, name in sorted(old.keys() | new.keys()):
        had, has = old.get((project, name)), new.get((project, name))
        if had != has:
            sign = _sign(had, has)
            action = {"+": "added", "-": "removed", "~": "code"}[sign]
            what = None if sign != "~" else "code"
            yield Change(sign, f"macro.{action}", "macros", name, what, had, has)
