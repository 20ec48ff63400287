"""The files that a table is made of: which a snapshot needs, and which nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyiceberg.manifest import DataFile, DataFileContent, ManifestFile
from pyiceberg.utils.concurrent import ExecutorFactory

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata

Kind = Literal[
    "data",
    "position deletes",
    "equality deletes",
    "manifest",
    "manifest list",
    "metadata",
    "statistics",
    "other",
]

_CONTENT: dict[DataFileContent, Kind] = {
    DataFileContent.DATA: "data",
    DataFileContent.POSITION_DELETES: "position deletes",
    DataFileContent.EQUALITY_DELETES: "equality deletes",
}


@dataclass(frozen=True, slots=True, order=True)
class TableFile:
    """A file of a table.

    Attributes:
        path: Its URI.
        kind: What it holds.
        bytes: Its size; 0 where that is not known.
    """

    path: str
    kind: Kind
    bytes: int


def table_file(file: DataFile) -> TableFile:
    """A data or delete file as a file of its table."""
    return TableFile(file.file_path, _CONTENT[file.content], file.file_size_in_bytes)


def unreferenced(before: TableMetadata, gone: Iterable[int], io: FileIO) -> tuple[TableFile, ...]:
    """Find what nobody names once some snapshots are gone; the size of manifest lists is not known.

    Args:
        before: Metadata that has these snapshots still.
        gone: Ids of the snapshots that leave.
        io: Reads manifests.

    Raises:
        FileNotFoundError: if nobody can say what a snapshot needs that stays.
    """
    going, staying = set(gone), list[ManifestFile]()
    candidates: dict[str, ManifestFile] = {}
    found: list[TableFile] = []
    for snapshot in before.snapshots:
        if snapshot.snapshot_id not in going:
            staying += snapshot.manifests(io)
            continue
        with suppress(FileNotFoundError):
            found.append(TableFile(snapshot.manifest_list, "manifest list", 0))
            candidates |= {m.manifest_path: m for m in snapshot.manifests(io)}
    live = {manifest.manifest_path: manifest for manifest in staying}
    manifests = [manifest for path, manifest in candidates.items() if path not in live]
    found += [TableFile(m.manifest_path, "manifest", m.manifest_length) for m in manifests]
    files: dict[str, TableFile] = {}
    for manifest in manifests:
        with suppress(FileNotFoundError):
            files |= {file.file_path: table_file(file) for file in _files(manifest, io)}
    if files:
        for manifest in live.values():
            for file in _files(manifest, io):
                files.pop(file.file_path, None)
    statistics = [
        TableFile(file.statistics_path, "statistics", file.file_size_in_bytes)
        for file in (*before.statistics, *before.partition_statistics)
        if file.snapshot_id in going
    ]
    return (*files.values(), *found, *statistics)


def referenced(metadata: TableMetadata, location: str, io: FileIO) -> Iterator[str]:
    """The URIs of all files that a table needs, or may need to go back.

    Args:
        metadata: Metadata of the table.
        location: Where this metadata is.
        io: Reads manifests.

    Raises:
        FileNotFoundError: if nobody can say what a snapshot needs.
    """
    yield location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (file.statistics_path for file in metadata.statistics)
    yield from (file.statistics_path for file in metadata.partition_statistics)
    manifests: dict[str, ManifestFile] = {}
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        manifests |= {manifest.manifest_path: manifest for manifest in snapshot.manifests(io)}
    yield from manifests
    for manifest in manifests.values():
        yield from (file.file_path for file in _files(manifest, io))


def _files(manifest: ManifestFile, io: FileIO) -> Iterator[DataFile]:
    for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
        yield entry.data_file


def remove(io: FileIO, files: Iterable[TableFile]) -> tuple[str, ...]:
    """Remove files; gives the URIs of those that cannot be removed, which stay as orphans."""

    def attempt(file: TableFile) -> str | None:
        try:
            io.delete(file.path)
        except FileNotFoundError:
            return None
        except Exception:  # each file system has errors of its own
            return file.path
        return None

    return tuple(path for path in ExecutorFactory.get_or_create().map(attempt, files) if path)
