"""Other spellings of floe.yaml and platform.yaml, turned into the canonical one.

The canonical schema is the only one that the rest of floe knows. Each spelling is one line of a
table here; the source positions move along, so diagnostics show what the user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from floe_core.diagnostics import FieldPath, Report, did_you_mean, field_name
from floe_core.source import Place, Source

IDENTITY_KEYS = ("name", "version", "description", "owner", "labels")
PLATFORM_IDENTITY_KEYS = ("name", "version")
API_VERSION = "floe.dev/v1"

_RENAMED_IN_TRANSFORM = {"dependsOn": "depends_on", "tier": "layer"}
_FLAT_SIGNALS = {"traces": "tracing", "metrics": "metrics", "lineage": "lineage"}
_FLAT_ENDPOINTS = {"otlp_endpoint": "tracing", "lineage_endpoint": "lineage"}
_CUBE_KEYS = ("port", "api_secret_ref", "pre_aggregations", "security")
_THE_SCHEDULE = "default"
_NAMED_SECTIONS = ("storage", "catalogs", "compute")


def normalise_floe(source: Source, report: Report) -> None:
    """Bring the data of a floe.yaml into the canonical form."""
    steps = _Steps(source, report)
    steps.unwrap_document(("FloeSpec",), IDENTITY_KEYS)
    for key in ("storage", "catalog", "compute"):
        steps.move((key,), ("profiles", key))
    _single_schedule(steps)
    for number in steps.indexes(("transforms",)):
        for other, canonical in _RENAMED_IN_TRANSFORM.items():
            steps.move(("transforms", number, other), ("transforms", number, canonical))
        steps.refuse_both(("transforms", number, "path"), ("transforms", number, "project"))
    _flat_observability(steps)
    for key in _CUBE_KEYS:
        steps.move(("consumption", key), ("consumption", "cube", key))


def normalise_platform(source: Source, report: Report) -> None:
    """Bring the data of a platform.yaml (or manifest.yaml) into the canonical form."""
    steps = _Steps(source, report)
    steps.unwrap_document(("Manifest", "PlatformSpec"), PLATFORM_IDENTITY_KEYS)
    _compute_plugin(steps)
    for section in _NAMED_SECTIONS:
        _refuse_unnamed_entry(steps, section)
    _flat_observability(steps)


def _compute_plugin(steps: _Steps) -> None:
    if isinstance(steps.get(("plugins", "compute")), dict):
        steps.move(("plugins", "compute", "config"), ("plugins", "compute", "properties"))
    steps.move(("plugins", "compute"), ("compute", "default"))
    steps.drop_empty(("plugins",))


def _refuse_unnamed_entry(steps: _Steps, section: str) -> None:
    """An entry whose keys stand where the names of entries should."""
    if not isinstance(steps.get((section, "type")), str):
        return
    steps.refuse(
        (section,),
        "FLOE-S003",
        "holds entries by name; this one has no name",
        f"put a name above its keys, as in `{section}: {{default: {{type: ...}}}}`",
        on_key=True,
    )


def _single_schedule(steps: _Steps) -> None:
    schedule = steps.get(("schedule",))
    if schedule is None or isinstance(schedule, list):
        return
    if not steps.is_free(("schedule",), ("schedules",)):
        return
    steps.put(("schedules",), [], like=("schedule",))
    steps.move(("schedule",), ("schedules", 0))
    if isinstance(schedule, dict) and steps.get(("schedules", 0, "name")) is None:
        steps.put(("schedules", 0, "name"), _THE_SCHEDULE)


def _flat_observability(steps: _Steps) -> None:
    for flat, section in _FLAT_SIGNALS.items():
        at = ("observability", flat)
        if steps.has(at) and not isinstance(steps.get(at), dict):
            steps.move_into(at, ("observability", section), "enabled")
    for key, section in _FLAT_ENDPOINTS.items():
        steps.move(("observability", key), ("observability", section, "endpoint"))


class _Steps:
    """The few edits that normalising is made of; each keeps data and places in step."""

    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report

    def get(self, path: FieldPath) -> Any:
        """The value at `path`, or None."""
        value: Any = self.source.data
        for part in path:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def has(self, path: FieldPath) -> bool:
        """Whether there is a value at `path`, null included."""
        parent = self.get(path[:-1])
        if isinstance(parent, dict):
            return path[-1] in parent
        return isinstance(parent, list) and isinstance(path[-1], int) and path[-1] < len(parent)

    def indexes(self, path: FieldPath) -> range:
        """Indexes of the list at `path`; none when it is no list."""
        value = self.get(path)
        return range(len(value)) if isinstance(value, list) else range(0)

    def unwrap_document(self, kinds: tuple[str, ...], keys: tuple[str, ...]) -> None:
        """Check and remove `apiVersion` and `kind`, and bring what is in `metadata` to the top.

        Of a product's keys, those that are not in `keys` are refused there, as any other.
        """
        self._remove_constant("apiVersion", (API_VERSION,))
        self._remove_constant("kind", kinds)
        metadata = self.get(("metadata",))
        if metadata is not None and not isinstance(metadata, dict):
            help = "known keys: " + ", ".join(f"`{key}`" for key in sorted(keys))
            self.refuse(("metadata",), "FLOE-S003", "must be keys and values", help)
            return
        for key in IDENTITY_KEYS:
            self.move(("metadata", key), (key,))
        for key in list(self.get(("metadata",)) or ()):
            help = did_you_mean(key, keys, "known keys")
            self.refuse(("metadata", key), "FLOE-S001", "is not a known key", help, on_key=True)
        self.drop_empty(("metadata",))

    def refuse(
        self,
        path: FieldPath,
        code: str,
        message: str,
        help: str | None = None,
        *,
        on_key: bool = False,
    ) -> None:
        """Report what is at `path`, and take it out."""
        self.report.add(self.source.diagnostic(code, path, message, help=help, on_key=on_key))
        self._pop(path)
        self.source.left_out.add(path)

    def refuse_both(self, origin: FieldPath, goal: FieldPath) -> None:
        """Report two spellings of which only one may be written."""
        if self.has(origin):
            self.is_free(origin, goal)

    def _remove_constant(self, key: str, allowed: tuple[str, ...]) -> None:
        if not self.has((key,)):
            return
        value = self.get((key,))
        if value not in allowed:
            self.report.add(
                self.source.diagnostic(
                    "FLOE-S004",
                    (key,),
                    f"`{value}` is not known here",
                    help="write " + " or ".join(f"`{word}`" for word in allowed),
                )
            )
        self._pop((key,))

    def is_free(self, origin: FieldPath, goal: FieldPath) -> bool:
        """Whether nothing is written at `goal` yet; reports the two spellings otherwise."""
        if not self.has(goal):
            return True
        place = self.source.places.get(goal)
        written = field_name(place.written if place else goal)
        self.report.add(
            self.source.diagnostic(
                "FLOE-S006",
                origin,
                f"says the same as `{written}`",
                help="write it once",
                on_key=True,
            )
        )
        self._pop(origin)
        return False

    def move(self, origin: FieldPath, goal: FieldPath) -> None:
        """Move a value, if it is there; drop it where what should hold it is no mapping."""
        if not self.has(origin):
            return
        if not self._can_hold(goal, origin):
            self._pop(origin)
            return
        if not self.is_free(origin, goal):
            return
        value = self._pop_value(origin)
        self._insert(goal, value)
        self._move_places(origin, goal, value)

    def move_into(self, origin: FieldPath, parent: FieldPath, key: str) -> None:
        """Move a value to a key of `parent`, which may be the value's own path."""
        if origin != parent:
            self.move(origin, (*parent, key))
            return
        place = self.source.places.get(origin)
        self._insert(origin, {key: self.get(origin)})
        if place is not None:
            self.source.places[(*origin, key)] = place

    def put(self, path: FieldPath, value: Any, *, like: FieldPath | None = None) -> None:
        """Write a value that stands in the file where `like` stands, or nowhere."""
        self._insert(path, value)
        place = self.source.places.get(like) if like is not None else None
        if place is not None:
            self.source.places[path] = place

    def drop_empty(self, path: FieldPath) -> None:
        """Remove a mapping that has been emptied, or that is written without a value."""
        if self.has(path) and not self.get(path):
            self._pop(path)

    def _can_hold(self, goal: FieldPath, origin: FieldPath) -> bool:
        """Whether all parents of `goal` are mappings or absent; makes the absent ones."""
        for length in range(1, len(goal)):
            parent = goal[:length]
            if self.has(parent):
                kind = list if isinstance(goal[length], int) else dict
                if not isinstance(self.get(parent), kind):
                    return False
            else:
                self._insert(parent, {})
                self._note_like(parent, origin)
        return True

    def _note_like(self, path: FieldPath, like: FieldPath) -> None:
        place = self.source.places.get(like)
        if place is not None:
            self.source.places[path] = Place(place.key, place.value, place.written[:-1])

    def _insert(self, path: FieldPath, value: Any) -> None:
        parent = self.get(path[:-1])
        if isinstance(parent, list):
            parent.insert(int(path[-1]), value)
        else:
            parent[path[-1]] = value

    def _pop_value(self, path: FieldPath) -> Any:
        return self.get(path[:-1]).pop(path[-1])

    def _pop(self, path: FieldPath) -> None:
        self._pop_value(path)

    def _move_places(self, origin: FieldPath, goal: FieldPath, value: Any) -> None:
        places = self.source.places
        for below in _paths_below(value):
            place = places.pop((*origin, *below), None)
            if place is not None:
                places[(*goal, *below)] = place
        for paths in (self.source.reported, self.source.left_out):
            for path in [path for path in paths if path[: len(origin)] == origin]:
                paths.remove(path)
                paths.add((*goal, *path[len(origin) :]))


def _paths_below(value: Any) -> Iterator[FieldPath]:
    """The value's own path, which is empty, and those of all that is in it."""
    yield ()
    children: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        for below in _paths_below(child):
            yield (key, *below)
