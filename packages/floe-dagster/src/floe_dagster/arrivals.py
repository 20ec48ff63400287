"""Which files have arrived since the last look."""

from __future__ import annotations

import glob
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

QUIET_SECONDS = 10.0
"""A file that nothing has been written to for so long has arrived."""

_Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size, of a file."""


@dataclass(frozen=True)
class Seen:
    """What earlier looks have seen.

    Attributes:
        arrived: Stamps of the files that have arrived, by path.
        growing: Stamps of the files that had not yet, by path.
    """

    arrived: Mapping[str, _Stamp] = field(default_factory=dict)
    growing: Mapping[str, _Stamp] = field(default_factory=dict)

    def as_text(self) -> str:
        """What `read_seen` reads."""
        return json.dumps({"arrived": self.arrived, "growing": self.growing}, sort_keys=True)


def read_seen(text: str | None) -> Seen:
    """Read what `Seen.as_text` wrote; nothing has been seen when that is not what it is."""
    try:
        document = json.loads(text or "{}")
        return Seen(*(_stamps(document.get(key, {})) for key in ("arrived", "growing")))
    except (ValueError, TypeError, AttributeError):
        return Seen()


def _stamps(rows: Mapping[str, list[int]]) -> dict[str, _Stamp]:
    return {path: (int(changed), int(size)) for path, (changed, size) in rows.items()}


def look(root: Path, pattern: str, seen: Seen, now: float) -> tuple[dict[str, _Stamp], Seen]:
    """Find the files that have arrived, or changed, since the last look.

    A file has arrived when nothing has been written to it for `QUIET_SECONDS`, or when it is as it
    was at the last look; until then it is taken to be still growing.

    Args:
        root: Folder that a relative pattern starts at.
        pattern: File or glob.
        seen: What earlier looks have seen.
        now: Seconds since 1970.

    Returns:
        Stamps of the files that have arrived, by path, and what has been seen by now.
    """
    found = _files(root, pattern)
    fresh = {path: stamp for path, stamp in found.items() if seen.arrived.get(path) != stamp}
    arrived = {
        path: stamp
        for path, stamp in fresh.items()
        if now - stamp[0] / 1e9 >= QUIET_SECONDS or seen.growing.get(path) == stamp
    }
    known = {path: stamp for path, stamp in seen.arrived.items() if path in found} | arrived
    growing = {path: stamp for path, stamp in fresh.items() if path not in arrived}
    return arrived, Seen(known, growing)


def _files(root: Path, pattern: str) -> dict[str, _Stamp]:
    found: dict[str, _Stamp] = {}
    for path in sorted(glob.glob(pattern, root_dir=root, recursive=True)):  # noqa: PTH207 - keeps paths relative
        try:
            status = (root / path).stat()
        except OSError:  # gone again, or not ours to see
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = (status.st_mtime_ns, status.st_size)
    return found


def fingerprint(arrived: Mapping[str, _Stamp]) -> str:
    """The same text for the same files in the same state, and for no others."""
    return hashlib.sha256(json.dumps(arrived, sort_keys=True).encode()).hexdigest()
