"""Files below a table's location that nobody needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.exceptions import ForbiddenError, NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO

from floe_iceberg.data_files import duckdb_path
from floe_iceberg.errors import CatalogRefusedError, IcebergError, TableGoneError
from floe_iceberg.inspection import look_at, tables_of
from floe_iceberg.local_file_io import LocalFileIO
from floe_iceberg.maintenance.guards import readable, refuse_shared_files, shown
from floe_iceberg.maintenance.report import Kept, Report
from floe_iceberg.shape import Identifier
from floe_iceberg.table_files import Kind, TableFile, referenced, remove

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo  # type: ignore[import-untyped]
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

ORPHAN_AGE = timedelta(days=3)
"""Age below which a file may belong to a commit that is at work."""


def remove_orphan_files(
    catalog: Catalog,
    name: Identifier,
    *,
    older_than: timedelta = ORPHAN_AGE,
    dry_run: bool = False,
) -> Report:
    """Remove what lies below a table's location and what nobody needs.

    That is what writers have left that were killed, and what could not be removed when its
    snapshots left. Folders of the table's name beside it, which a killed writer has begun and
    never registered, go too. Files stay whose names begin with `_` or `.`.

    Args:
        catalog: Where the table is.
        name: The table.
        older_than: Files that are younger stay: they may belong to a commit that is at work.
        dry_run: Change nothing.

    Raises:
        NoSuchTableError: if there is no such table.
        IcebergError: if others may need the files: another table lives below the same location,
            or `gc.enabled` is false; or if a snapshot cannot be read.
    """
    table = catalog.load_table(name)
    refuse_shared_files(table)
    begun_before = datetime.now(UTC) - older_than
    storage = _Storage(table)
    # What is listed before the metadata is read is known to it, or of no use to anybody.
    listing = storage.files_below(storage.location)
    others = _locations(catalog, name, storage)
    _refuse_shared_location(table, storage, others)
    abandoned = [storage.files_below(folder) for folder in storage.siblings() - others.keys()]
    table.refresh()
    with readable(table):
        needed = {
            _basename(path)
            for path in referenced(table.metadata, table.metadata_location, table.io)
        }
    plan = _Sweep(begun_before)
    plan.sweep(listing, needed)
    for found in abandoned:
        plan.sweep_abandoned(found)
    report = Report(
        table=shown(table),
        operation="remove orphan files",
        is_dry_run=dry_run,
        removed=tuple(sorted(plan.files)),
        folders=tuple(plan.folders),
        kept=tuple(plan.kept),
    )
    if dry_run:
        return report
    failed = remove(table.io, report.removed)
    return replace(report, failed=(*failed, *_remove_folders(report.folders)))


def _remove_folders(folders: Iterable[str]) -> list[str]:
    failed = []
    for folder in folders:
        try:
            Path(duckdb_path(folder)).rmdir()  # which refuses a folder that is not empty
        except FileNotFoundError:
            continue
        except OSError:
            failed.append(folder)
    return failed


@dataclass(frozen=True, slots=True)
class _Listing:
    """What lies below a folder.

    Attributes:
        root: URI of the folder.
        files: Files, with the time of their last change.
        folders: Local folders, likewise; the folder itself is one.
    """

    root: str
    files: Mapping[TableFile, datetime]
    folders: Mapping[str, datetime]


class _Storage:
    """Lists files below a table's location, wherever PyIceberg finds them."""

    def __init__(self, table: Table) -> None:
        io = table.io.arrow if isinstance(table.io, LocalFileIO) else table.io
        if not isinstance(io, PyArrowFileIO):
            raise IcebergError(
                f"files of {shown(table)} cannot be listed by {type(io).__name__}",
                "leave the catalog's property `py-io-impl` out",
            )
        self._io = io
        self.location = table.location().rstrip("/")

    def files_below(self, folder: str) -> _Listing:
        files, folders = {}, {}
        for uri, info in self._list(folder):
            if info.is_file:
                file = TableFile(uri, _kind(_basename(uri)), info.size or 0)
                files[file] = info.mtime or datetime.now(UTC)
            elif "://" not in duckdb_path(uri) and info.mtime is not None:
                folders[uri] = info.mtime
        return _Listing(folder, files, folders)

    def siblings(self) -> set[str]:
        """Folders that were made for a table of the same name, as `shape` names them."""
        parent, _, own = self.location.rpartition("/")
        stem = re.fullmatch(r"(.+)-[0-9a-f]{8}", own)
        if stem is None:
            return set()
        pattern = re.compile(re.escape(stem[1]) + r"-[0-9a-f]{8}")
        return {
            uri
            for uri, info in self._list(parent, is_deep=False)
            if not info.is_file and pattern.fullmatch(_basename(uri)) and uri != self.location
        }

    def path(self, location: str) -> str:
        """A location as one that can be compared, whatever it is spelled like."""
        return self._io.parse_location(location.rstrip("/"), self._io.properties)[2]

    def _list(self, folder: str, *, is_deep: bool = True) -> Iterable[tuple[str, FileInfo]]:
        """What lies below a folder; where that means all of it, a local folder comes too.

        On S3 folders are nothing, and vended keys may not ask for them.
        """
        from pyarrow.fs import FileSelector

        scheme, netloc, path = self._io.parse_location(folder, self._io.properties)
        prefix = folder[: -len(path)] if folder.endswith(path) else ""
        system = self._io.fs_by_scheme(scheme, netloc)
        found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=is_deep))
        is_itself_shown = is_deep and "://" not in duckdb_path(folder)
        for info in (*found, *(system.get_file_info([path]) if is_itself_shown else ())):
            yield prefix + info.path, info


def _kind(name: str) -> Kind:
    if name.endswith(".metadata.json"):
        return "metadata"
    if name.endswith(".avro"):
        return "manifest list" if name.startswith("snap-") else "manifest"
    if name.endswith(("-deletes.parquet", "-deletes.orc", "-deletes.avro")):
        return "position deletes"
    if name.endswith((".parquet", ".orc")):
        return "data"
    return "statistics" if name.endswith((".stats", ".puffin")) else "other"


def _locations(catalog: Catalog, name: Identifier, storage: _Storage) -> dict[str, str]:
    """Where the other tables of a catalog are: their names, by location.

    Raises:
        CatalogRefusedError: if the catalog does not say.
        TableGoneError: if a table cannot be read.
    """
    found = {}
    try:
        for other in tables_of(catalog):
            if other == name:
                continue
            try:
                location = look_at(catalog, other).location()
            except NoSuchTableError:  # dropped meanwhile
                continue
            except TableGoneError as problem:
                raise TableGoneError(
                    f"nobody can say whether files of {'.'.join(other)} lie among those of "
                    f"{'.'.join(name)}, so nothing was removed: {problem.message}",
                    problem.help,
                ) from problem
            found[location.rstrip("/")] = ".".join(other)
    except ForbiddenError as problem:
        raise CatalogRefusedError(
            "the catalog does not let these credentials see all tables, so nobody can say whether "
            f"another one lies among the files of {'.'.join(name)}; nothing was removed",
            "grant them the right to list namespaces and tables",
        ) from problem
    return found


def _refuse_shared_location(table: Table, storage: _Storage, others: Mapping[str, str]) -> None:
    own = storage.path(storage.location)
    for location, other in others.items():
        path = storage.path(location)
        if path == own or path.startswith(f"{own}/"):
            raise IcebergError(
                f"{other} lives below the location of {shown(table)}, {storage.location}, so "
                "nobody can say whose the files there are; nothing was removed",
                "write one of the two anew under another name, and drop it",
            )


class _Sweep:
    """Decides what goes."""

    def __init__(self, begun_before: datetime) -> None:
        self._begun_before = begun_before
        self.files: list[TableFile] = []
        self.folders: list[str] = []
        self.kept: list[Kept] = []

    def sweep(self, listing: _Listing, needed: set[str]) -> None:
        """Let go what nobody needs below a table's location.

        Names of files are unique, so they alone are compared: a path may be spelled in many ways.
        """
        for file, changed_at in listing.files.items():
            name = _basename(file.path)
            if name in needed:
                continue
            if name.startswith((".", "_")) or name == "version-hint.text":
                self.kept.append(Kept("file", file.path, "hidden, so not the table's own"))
            elif changed_at >= self._begun_before:
                self.kept.append(Kept("file", file.path, self._young))
            else:
                self.files.append(file)
        # Writers expect these to be there.
        own = {listing.root, f"{listing.root}/data", f"{listing.root}/metadata"}
        self._sweep_folders(listing, own)

    def sweep_abandoned(self, listing: _Listing) -> None:
        """Let go a whole folder that a writer has begun, and that never became a table."""
        if any(file.kind == "metadata" for file in listing.files):
            why = "a table that was dropped, or never finished: remove it by hand"
        elif any(at >= self._begun_before for at in listing.files.values()):
            why = self._young
        else:
            self.files += listing.files
            self._sweep_folders(listing, set())
            return
        self.kept.append(Kept("folder", listing.root, why))

    def _sweep_folders(self, listing: _Listing, own: set[str]) -> None:
        going = {file.path for file in self.files}
        staying = [file.path for file in listing.files if file.path not in going]
        for folder in sorted(listing.folders, key=len, reverse=True):  # those within first
            if folder in own or listing.folders[folder] >= self._begun_before:
                staying.append(f"{folder}/")
            elif not any(path.startswith(f"{folder}/") for path in staying):
                self.folders.append(folder)

    @property
    def _young(self) -> str:
        age = datetime.now(UTC) - self._begun_before
        return f"younger than {timedelta(seconds=round(age.total_seconds()))}"


def _basename(path: str) -> str:
    return path.rpartition("/")[2]
