"""Reading a YAML file with the source position of every key and value.

YAML is read as version 1.2 (https://yaml.org/spec/1.2.2/, core schema), as editors do: `off`, `no`
and `12:30` are strings. Anchors, aliases and the `<<` merge key work; tags and several documents
in one file do not. Files up to 5 MiB are read.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Position,
    Report,
    Severity,
    field_name,
    near_miss,
)
from floe_core.masking import mask_comment, mask_unread
from floe_core.syntax import IN_QUOTES, explain

MAX_BYTES = 5 * 1024 * 1024
_MAX_DEPTH = 64
_MAX_ALIASED_NODES = 10_000
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_MERGE = "<<"

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 300
_DROPPED = "<dropped>"
_KNOWN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in the file.

    Attributes:
        key: Position of its key; None for items of a list and for the document.
        value: Position of the value; of a mapping or list, where it begins.
        written: Field path as it is written in the file.
        last_line: Last line of a text that goes over several lines.
    """

    key: Position | None
    value: Position
    written: FieldPath
    last_line: int = 0


@dataclass
class Source:
    """A YAML file: its data, and where each value stands.

    Attributes:
        path: Path of the file, as it was given.
        lines: Its lines, without line ends.
        data: Mappings, lists and scalars; None when the file could not be read.
        places: Where each value of `data` stands, by field path.
        masked: Stretches that are shown as `*`, because they hold a secret.
        dropped: What is written but counts for nothing, such as the second of two equal keys:
            parts of mappings, by the field path that `places` knows their keys under.
        reported: Field paths of values that were reported already; they are judged no further.
        left_out: Field paths of values that were taken out of `data`, because they are wrong,
            and of those that a misspelled key was meant to hold.
    """

    path: Path
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] | None = None
    places: dict[FieldPath, Place] = field(default_factory=dict)
    masked: set[Position] = field(default_factory=set)
    dropped: dict[FieldPath, dict[str, Any]] = field(default_factory=dict)
    reported: set[FieldPath] = field(default_factory=set)
    left_out: set[FieldPath] = field(default_factory=set)

    def diagnostic(
        self,
        code: str,
        path: FieldPath,
        message: str,
        *,
        help: str | None = None,
        severity: Severity = "error",
        on_key: bool = False,
        missing: str | None = None,
    ) -> Diagnostic:
        """Make a diagnostic about the value at `path`, or about what is missing below it.

        Args:
            code: Stable code.
            path: Field path in `data`.
            message: What is wrong.
            help: What to write instead.
            severity: Whether it stops the compile.
            on_key: Point at the key instead of the value.
            missing: Key that should stand below `path` and does not.
        """
        place = self._nearest(path)
        written = place.written if place else path
        if missing is not None:
            written = (*written, missing)
        position = self._pick(place, on_key or missing is not None)
        return Diagnostic(
            code=code,
            severity=severity,
            message=message,
            file=self.path,
            field=field_name(written) or None,
            position=position,
            source=self.line(position),
            help=help,
        )

    def line(self, position: Position | None) -> str | None:
        """The source line that a position is on, with secrets masked."""
        if position is None or not 1 <= position.line <= len(self.lines):
            return None
        if self.data is None:
            return mask_unread(self.lines, position.line)
        text = mask_comment(self.lines[position.line - 1])
        for stretch in self.masked:
            if stretch.line == position.line:
                start, end = stretch.column - 1, stretch.end_column - 1
                text = text[:start] + "*" * (min(end, len(text)) - start) + text[end:]
        return text

    def text(self, path: FieldPath) -> str | None:
        """The value at `path` as it is written, if it is on one line that holds no secret."""
        place = self.places.get(path)
        if place is None or place.last_line != place.value.line:
            return None
        if any(stretch.line == place.value.line for stretch in self.masked):
            return None
        start, end = place.value.column - 1, place.value.end_column - 1
        return self.lines[place.value.line - 1][start:end]

    def _nearest(self, path: FieldPath) -> Place | None:
        """Where the value, or what it is missing from, stands; None for the document itself."""
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place
        return None

    @staticmethod
    def _pick(place: Place | None, on_key: bool) -> Position | None:
        if place is None:
            return None
        return place.key if on_key and place.key is not None else place.value


@dataclass(slots=True)
class _Node:
    """A node of the YAML document; `value` is a string, a list of nodes or a list of pairs."""

    kind: str
    value: Any
    position: Position
    is_plain: bool = False
    last_line: int = 0


class _Refused(Exception):
    """Carries the one diagnostic that makes a file unreadable."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def read_source(path: Path, report: Report) -> Source:
    """Read a YAML file whose top level is a mapping.

    Everything that is wrong with the file is reported; its data is then None, except for
    duplicate keys, of which the first counts.
    """
    source = Source(path)
    try:
        text = _read_text(source)
        source.lines = _LINE_END.split(text)
        root = _compose(source, text)
        _Converter(source, report).convert_document(root)
    except _Refused as refused:
        report.add(refused.diagnostic)
        source.data = None
    return source


def _refuse(code: str, message: str, path: Path, help: str | None = None) -> _Refused:
    return _Refused(Diagnostic(code, "error", message, file=path, help=help))


def _read_text(source: Source) -> str:
    content = _read_bytes(source.path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _Refused(_not_utf8(source, content, problem.start)) from None


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            help = f"a file named {path.name} is needed there"
            raise _refuse("FLOE-F002", "is a folder, not a file", path, help)
        if not path.is_file() and path.exists():
            raise _refuse("FLOE-F003", "is not a regular file", path)
        size = path.stat().st_size
        if size > MAX_BYTES:
            mebibytes = size / 1024 / 1024
            raise _refuse(
                "FLOE-F004",
                f"is {mebibytes:.1f} MiB; at most 5 MiB are read",
                path,
                "move data out of the file, or split the product",
            )
        return path.read_bytes()
    except OSError as problem:
        raise _refuse(*_describe_os_error(path, problem)) from None


def _describe_os_error(path: Path, problem: OSError) -> tuple[str, str, Path, str | None]:
    if problem.errno == errno.ENOENT and path.is_symlink():
        return "FLOE-F001", f"is a link to {path.readlink()}, which does not exist", path, None
    if problem.errno == errno.ENOENT:
        return "FLOE-F001", "does not exist", path, _similar_file(path)
    if problem.errno == errno.ELOOP:
        return "FLOE-F003", "is a loop of symbolic links", path, "let one of them name a file"
    return "FLOE-F003", f"cannot be read: {problem.strerror or problem}", path, None


def _similar_file(path: Path) -> str | None:
    files = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    nearest = near_miss(path.name, files)
    return f"did you mean `{path.with_name(nearest)}`?" if nearest else None


def _not_utf8(source: Source, content: bytes, start: int) -> Diagnostic:
    help = "save the file as UTF-8"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        message = "is UTF-16, not UTF-8"
        return Diagnostic("FLOE-F005", "error", message, file=source.path, help=help)
    source.lines = _LINE_END.split(content.decode("utf-8-sig", errors="replace"))
    before = _LINE_END.split(content[:start].decode("utf-8-sig", errors="replace"))
    column = len(before[-1]) + 1
    position = Position(len(before), column, column + 1)
    message = f"byte 0x{content[start]:02x} is not UTF-8"
    return _at(source, "FLOE-F005", position, message, help)


def _compose(source: Source, text: str) -> _Node:
    """Build the node tree from YAML events, without recursion."""
    try:
        return _Composer(source).compose(_Parser(text))
    except yaml.MarkedYAMLError as problem:
        raise _Refused(_syntax_diagnostic(source, problem)) from None
    except yaml.reader.ReaderError:
        raise _Refused(_forbidden_character(source, text)) from None


def _at(
    source: Source, code: str, position: Position | None, message: str, help: str | None = None
) -> Diagnostic:
    return Diagnostic(
        code, "error", message, source.path, None, position, source.line(position), help
    )


def _syntax_diagnostic(source: Source, problem: yaml.MarkedYAMLError) -> Diagnostic:
    found = explain(source.lines, problem)
    position = Position(found.line, found.column, found.column + 1)
    return _at(source, found.code, position, found.message, found.help)


def _forbidden_character(source: Source, text: str) -> Diagnostic:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    before = _LINE_END.split(text[: found.start()] if found else "")
    column = len(before[-1]) + 1
    position = Position(len(before), column, column + 1)
    code = f" U+{ord(found.group()):04X}" if found else ""
    message = f"the character{code} is forbidden in YAML"
    return _at(source, "FLOE-Y001", position, message, "remove it")


class _Composer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.anchors: dict[str, _Node] = {}
        self.open: list[_Node] = []
        self.root: _Node | None = None

    def compose(self, events: Any) -> _Node:
        documents = 0
        for event in _iterate(events):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(
                        _at(
                            self.source,
                            "FLOE-Y006",
                            self._position(event),
                            "holds more than one YAML document",
                            "keep what stands before the second `---`",
                        )
                    )
            elif isinstance(event, CollectionEndEvent):
                self.open.pop()
            elif isinstance(event, NodeEvent):
                self._node(event)
        if self.root is None or (self.root.kind == "scalar" and not self.root.value):
            has_text = any(line.strip() for line in self.source.lines)
            message = "holds nothing but comments" if has_text else "is empty"
            help = "write keys and values; `floe init` starts a working product to look at"
            raise _refuse("FLOE-Y004", message, self.source.path, help)
        return self.root

    def _node(self, event: NodeEvent) -> None:
        position = self._position(event)
        if isinstance(event, AliasEvent):
            node = self._alias(event, position)
        else:
            self._check_tag(event, position)
            node = self._fresh(event, position)
            if event.anchor:
                self.anchors[event.anchor] = node
        if self.open:
            self.open[-1].value.append(node)
        elif self.root is None:
            self.root = node
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            self.open.append(node)
            if len(self.open) > _MAX_DEPTH:
                message = f"is nested more than {_MAX_DEPTH} levels deep"
                raise _Refused(_at(self.source, "FLOE-Y005", position, message))

    def _fresh(self, event: NodeEvent, position: Position) -> _Node:
        if isinstance(event, ScalarEvent):
            is_plain = bool(event.implicit[0])
            return _Node("scalar", event.value, position, is_plain, self._last_line(event))
        return _Node("mapping" if isinstance(event, MappingStartEvent) else "list", [], position)

    def _alias(self, event: AliasEvent, position: Position) -> _Node:
        target = self.anchors.get(event.anchor or "")
        if target is None:
            message = "refers to an anchor that is not defined above it"
            help = "put text that begins with `*` in quotes"
            raise _Refused(_at(self.source, "FLOE-Y001", position, message, help))
        if any(target is node for node in self.open):
            message = "refers to the anchor that it stands in"
            raise _Refused(_at(self.source, "FLOE-Y005", position, message))
        return _Node("alias", target, position)

    def _check_tag(self, event: NodeEvent, position: Position) -> None:
        if getattr(event, "tag", None) not in _KNOWN_TAGS:
            message = "a word that begins with `!` is a YAML tag, and floe knows none"
            help = "remove the tag, or put the text in quotes"
            raise _Refused(_at(self.source, "FLOE-Y001", position, message, help))

    def _position(self, event: Event) -> Position:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        line, column = start.line + 1, start.column + 1
        is_block = not isinstance(event, ScalarEvent | AliasEvent)
        if is_block or end.line != start.line:
            return Position(line, column, column + 1)
        return Position(line, column, max(end.column + 1, column + 1))

    @staticmethod
    def _last_line(event: ScalarEvent) -> int:
        end = event.end_mark
        assert end is not None
        return end.line if end.column == 0 else end.line + 1


def _iterate(loader: Any) -> Iterator[Event]:
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Converter:
    """Turns nodes into data and notes where each value stands.

    `alias` is the position of the outermost alias that a node is reached through.
    """

    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report
        self.aliased = 0
        self.dropped_from: list[FieldPath] = []

    def convert_document(self, root: _Node) -> None:
        if root.kind != "mapping":
            kind = "a list" if root.kind == "list" else "a single value"
            raise _Refused(
                _at(
                    self.source,
                    "FLOE-Y006",
                    root.position,
                    f"is {kind}; keys and values are needed",
                    "write `key: value` lines",
                )
            )
        self.source.places[()] = Place(None, root.position, ())
        self.source.data = self._mapping(root, (), None, 0)

    def _value(self, node: _Node, path: FieldPath, alias: Position | None, depth: int) -> Any:
        self._check_size(alias, node, depth)
        match node.kind:
            case "alias":
                return self._value(node.value, path, alias or node.position, depth + 1)
            case "mapping":
                return self._mapping(node, path, alias, depth + 1)
            case "list":
                return self._list(node, path, alias, depth + 1)
        return self._scalar(node)

    def _check_size(self, alias: Position | None, node: _Node, depth: int) -> None:
        """Refuse aliases that repeat a lot; without aliases the file's size is the limit."""
        if alias is None:
            return
        self.aliased += 1
        message = None
        if self.aliased > _MAX_ALIASED_NODES:
            message = f"aliases repeat more than {_MAX_ALIASED_NODES:,} values"
        elif depth > 2 * _MAX_DEPTH:
            message = f"aliases lead more than {2 * _MAX_DEPTH} levels deep"
        if message:
            raise _Refused(_at(self.source, "FLOE-Y005", alias, message, "write the values out"))

    def _scalar(self, node: _Node) -> Any:
        text: str = node.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            message = "holds half of a surrogate pair, which is no character"
            raise _Refused(_at(self.source, "FLOE-Y001", node.position, message))
        return _resolve_plain(text) if node.is_plain else text

    def _list(self, node: _Node, path: FieldPath, alias: Position | None, depth: int) -> list[Any]:
        items = []
        for number, item in enumerate(node.value):
            at = (*path, number)
            self._note(at, None, item)
            items.append(self._value(item, at, alias, depth))
        return items

    def _mapping(
        self, node: _Node, path: FieldPath, alias: Position | None, depth: int
    ) -> dict[str, Any]:
        data: dict[str, Any] = {}
        seen: dict[str, Position] = {}
        merged: list[_Node] = []
        for key_node, value_node in _pairs(node):
            key = self._key(key_node)
            if key == _MERGE and key_node.is_plain:
                merged.append(value_node)
                continue
            if key in seen:
                self._report_duplicate(key, key_node.position, seen[key], path)
                self._drop(key, key_node, value_node, path, alias, depth)
                continue
            seen[key] = key_node.position
            at = (*path, key)
            self._note(at, key_node, value_node)
            data[key] = self._value(value_node, at, alias, depth)
        for node_to_merge in merged:
            self._merge(data, node_to_merge, path, alias or node_to_merge.position, depth)
        return data

    def _merge(
        self, data: dict[str, Any], node: _Node, path: FieldPath, alias: Position, depth: int
    ) -> None:
        self._check_size(alias, node, depth)
        target = node.value if node.kind == "alias" else node
        if target.kind == "list":
            for item in target.value:
                self._merge(data, item, path, alias, depth + 1)
            return
        if target.kind != "mapping":
            raise _Refused(
                _at(self.source, "FLOE-Y006", node.position, "`<<` needs a mapping to merge")
            )
        for key_node, value_node in _pairs(target):
            key = self._key(key_node)
            if key == _MERGE and key_node.is_plain:
                self._merge(data, value_node, path, alias, depth + 1)
            elif key in data:
                self._drop(key, key_node, value_node, path, alias, depth)
            else:
                at = (*path, key)
                self._note(at, key_node, value_node)
                data[key] = self._value(value_node, at, alias, depth)

    def _drop(
        self,
        key: str,
        key_node: _Node,
        value_node: _Node,
        path: FieldPath,
        alias: Position | None,
        depth: int,
    ) -> None:
        """Keep what counts for nothing beside the data, so that secrets are found in it."""
        root: FieldPath = (_DROPPED, len(self.dropped_from))
        self.dropped_from.append(path)
        at = (*root, key)
        self._note(at, key_node, value_node)
        self.source.dropped[root] = {key: self._value(value_node, at, alias, depth)}

    def _note(self, at: FieldPath, key: _Node | None, value: _Node) -> None:
        written = at
        if at[0] == _DROPPED:
            written = (*self.dropped_from[int(at[1])], *at[2:])
        last_line = value.value.last_line if value.kind == "alias" else value.last_line
        self.source.places[at] = Place(
            key.position if key else None, value.position, written, last_line
        )

    def _key(self, node: _Node) -> str:
        target = node.value if node.kind == "alias" else node
        if target.kind == "scalar" and not (target.is_plain and _NULL.fullmatch(target.value)):
            self._scalar(target)
            return str(target.value)
        raise _Refused(self._not_a_key(node))

    def _not_a_key(self, node: _Node) -> Diagnostic:
        position = node.position
        line = self.source.lines[position.line - 1]
        if line[position.column - 2 : position.column] == "{{":
            position = Position(position.line, position.column - 1, position.column + 1)
            message = "text cannot begin with `{`"
            return _at(self.source, "FLOE-Y001", position, message, IN_QUOTES)
        message = "is not a name, so it cannot be a key"
        return _at(self.source, "FLOE-Y006", position, message)

    def _report_duplicate(
        self, key: str, position: Position, first: Position, path: FieldPath
    ) -> None:
        self.report.add(
            Diagnostic(
                "FLOE-Y002",
                "error",
                f"the key is there already, on line {first.line}",
                self.source.path,
                field_name((*path, key)),
                position,
                self.source.line(position),
                "keep one of the two",
            )
        )


def _pairs(mapping: _Node) -> Iterator[tuple[_Node, _Node]]:
    return zip(mapping.value[::2], mapping.value[1::2], strict=True)


def _resolve_plain(text: str) -> Any:
    """The value of an unquoted scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return text if number in (float("inf"), float("-inf")) else number
    return text
