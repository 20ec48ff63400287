"""The Iceberg tables of a product: which there are, and what commands do with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_cli.output import Output
from floe_core.diagnostics import near_miss
from floe_core.errors import FloeError, QueryError, UsageError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from floe_core.lake import Lake as ProductLake
    from floe_core.plugins import QueryResult
    from floe_core.schemas.artifacts import CompiledArtifacts
    from floe_dagster.catalogs import ProductCatalog
    from floe_iceberg import Identifier
    from floe_iceberg.maintenance import Report

_LEAST_ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Maintenance:
    """What is asked of maintenance.

    Attributes:
        expire: Whether old snapshots leave.
        compact: Whether small files merge.
        orphans: Whether files leave that nobody needs.
        older_than: Age below which nothing is removed; None for the defaults.
        keep_last: Snapshots that stay in any case; None for the defaults.
        is_dry_run: Whether nothing is changed.

    Raises:
        UsageError: if the age may take files of a writer that is at work, or an option has no
            effect.
    """

    expire: bool = True
    compact: bool = True
    orphans: bool = True
    older_than: timedelta | None = None
    keep_last: int | None = None
    is_dry_run: bool = False

    def __post_init__(self) -> None:
        if self.keep_last is not None and not self.expire:
            raise UsageError(
                "`--keep-last` is about snapshots, which leave with `--expire` alone",
                help="Add `--expire`, or leave `--keep-last` out.",
            )
        if self.older_than is not None and not (self.expire or self.orphans):
            raise UsageError(
                "`--older-than` is about snapshots and orphans, and `--compact` removes neither",
                help="Add `--expire` or `--orphans`, or leave `--older-than` out.",
            )
        if self.orphans and self.older_than is not None and self.older_than < _LEAST_ORPHAN_AGE:
            raise UsageError(
                "files younger than a day may belong to a writer that is at work, so `--orphans` "
                "takes no lower `--older-than`",
                help="Add `--expire` or `--compact` to do these alone, or write `--older-than 1d`.",
            )


@dataclass(frozen=True)
class Maintained:
    """What became of one table.

    Attributes:
        table: The table.
        reports: What was done, or would be, in this order.
        problem: What went wrong, after these.
    """

    table: LakeTable
    reports: Sequence[Report]
    problem: FloeError | None

    @property
    def is_ok(self) -> bool:
        """Whether all was done."""
        return self.problem is None and not any(report.failed for report in self.reports)


@dataclass(frozen=True)
class LakeTable:
    """A table of a product.

    Attributes:
        artifacts: The product.
        where: Its catalog.
        layers: Layers whose catalog and namespace it is in.
        identifier: Its name there.
    """

    artifacts: CompiledArtifacts
    where: ProductCatalog
    layers: Sequence[str]
    identifier: Identifier

    @property
    def catalog(self) -> Catalog:
        """PyIceberg's catalog."""
        return self.where.catalog

    @property
    def keeps_views(self) -> bool:
        """Whether it is no table of the product, but holds the SQL of a namespace's views."""
        from floe_iceberg.attachment import VIEWS

        return self.identifier[-1] == VIEWS

    @property
    def shown(self) -> str:
        """Its name, with the namespace."""
        return ".".join(self.identifier)

    @cached_property
    def table(self) -> Table:
        """PyIceberg's view of it, as it was when it was first asked for.

        Raises:
            TableGoneError: if its metadata cannot be read.
        """
        from floe_iceberg.inspection import look_at

        with self.where.explained():
            return look_at(self.catalog, self.identifier)

    @property
    def retention(self) -> tuple[timedelta | None, int | None]:
        """Age and number of the snapshots that its layers keep; the most where several say so."""
        said = [found for name in self.layers if (found := self.artifacts.layers[name].retention)]
        days = [found.snapshots_days for found in said if found.snapshots_days is not None]
        numbers = [found.keep_last for found in said if found.keep_last is not None]
        age = timedelta(days=max(days)) if days else None
        return age, max(numbers, default=None)

    def snapshot(self, at: str | None) -> Snapshot | None:
        """The snapshot that an option means: a branch or tag, an id, or a time.

        Raises:
            IcebergError: if there is none.
        """
        from floe_iceberg import snapshot_at

        if at is None:
            return None
        if at in self.table.metadata.refs:
            return snapshot_at(self.table, at)
        if at.isdecimal():
            return snapshot_at(self.table, int(at))
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            return snapshot_at(self.table, at)
        return snapshot_at(self.table, moment)

    def preview(self, at: str | None, most: int | None) -> QueryResult:
        """Some rows.

        Raises:
            IcebergError: if there is no such snapshot.
            QueryError: if the files cannot be read.
        """
        import duckdb

        from floe_core.plugins import QueryResult
        from floe_iceberg import configure, files_of, load_iceberg, scan_sql

        snapshot = self.snapshot(at)
        number = snapshot.snapshot_id if snapshot is not None else None
        limit = f" LIMIT {most}" if most is not None else ""
        with closing(duckdb.connect()) as connection, self.where.explained():
            table = self.table
            files = files_of(table, snapshot_id=number)
            configure(connection, table.io.properties, table.location())
            if not files.is_read_as_parquet:
                load_iceberg(connection)
            query = scan_sql(table, files, snapshot_id=number)
            try:
                relation = connection.sql(f"SELECT * FROM ({query}){limit}")
                return QueryResult(
                    tuple(relation.columns), tuple(map(str, relation.types)), relation.fetchall()
                )
            except duckdb.Error as problem:
                raise QueryError(
                    f"{self.shown} cannot be read: {problem}",
                    help="`floe tables history` shows earlier snapshots; `--at` reads them.",
                ) from problem

    def maintain(self, asked: Maintenance) -> Maintained:
        """Do what is asked of maintenance; what goes wrong is part of the result."""
        reports: list[Report] = []
        try:
            _ = self.table  # which says what is wrong with it
            with self.where.explained():
                if asked.expire:
                    reports.append(self._expire(asked))
                if asked.compact:
                    reports.append(self._compact(asked))
                if asked.orphans:
                    reports.append(self._sweep(asked))
        except FloeError as problem:
            return Maintained(self, reports, problem)
        return Maintained(self, reports, None)

    def _expire(self, asked: Maintenance) -> Report:
        from floe_iceberg.maintenance import expire_snapshots, set_retention

        age, keep_last = self.retention
        if not asked.is_dry_run:
            set_retention(self.catalog, self.identifier, older_than=age, keep_last=keep_last)
        return expire_snapshots(
            self.catalog,
            self.identifier,
            older_than=asked.older_than if asked.older_than is not None else age,
            keep_last=asked.keep_last if asked.keep_last is not None else keep_last,
            dry_run=asked.is_dry_run,
        )

    def _compact(self, asked: Maintenance) -> Report:
        import duckdb

        from floe_iceberg.errors import WriteError
        from floe_iceberg.maintenance import compact

        with closing(duckdb.connect()) as connection:
            try:
                return compact(self.catalog, self.identifier, connection, dry_run=asked.is_dry_run)
            except duckdb.Error as problem:
                raise WriteError(
                    f"the files of {self.shown} could not be written anew, and are as they were: "
                    f"{problem}"
                ) from problem

    def _sweep(self, asked: Maintenance) -> Report:
        from floe_iceberg.maintenance import ORPHAN_AGE, remove_orphan_files

        age = asked.older_than if asked.older_than is not None else ORPHAN_AGE
        return remove_orphan_files(
            self.catalog, self.identifier, older_than=age, dry_run=asked.is_dry_run
        )


@dataclass(frozen=True)
class Lake:
    """The catalogs of a product, by their keys."""

    artifacts: CompiledArtifacts
    lake: ProductLake
    catalogs: Mapping[str, ProductCatalog]

    def tables(self) -> list[LakeTable]:
        """All tables."""
        from floe_iceberg.inspection import tables_of

        found = []
        first: dict[str, ProductCatalog] = {}  # the same catalog may stand for several storages
        for where in self.catalogs.values():
            first.setdefault(where.name, where)
        for where in first.values():
            with where.explained():
                names = list(tables_of(where.catalog))
            for identifier in names:
                layers = self._layers(where.name, ".".join(identifier[:-1]))
                own = self.catalogs[self.lake.keys[layers[0]]] if layers else where
                found.append(LakeTable(self.artifacts, own, layers, identifier))
        return found

    def _layers(self, catalog: str, namespace: str) -> list[str]:
        return [
            name
            for name, layer in self.lake.layers.items()
            if layer.catalog == catalog and self.lake.namespace(name) == namespace
        ]

    def find(self, name: str) -> LakeTable:
        """The table of a name.

        Raises:
            UsageError: if there is none, or if two catalogs have one.
        """
        tables = self.tables()
        found = [table for table in tables if table.shown == name]
        if not found:
            raise UsageError(f"there is no table `{name}`", help=_instead(name, tables))
        if len(found) > 1:
            names = ", ".join(f"`--catalog {table.where.name}`" for table in found)
            raise UsageError(f"several catalogs have a table `{name}`", help=f"Add one of {names}.")
        return found[0]


def _instead(name: str, tables: Sequence[LakeTable]) -> str:
    known = [table.shown for table in tables]
    if not known:
        return "There are no tables yet; `floe run` builds them."
    last = [shown for shown in known if shown.rpartition(".")[2] == name]
    nearest = last[0] if last else near_miss(name, known)
    if nearest is not None:
        return f"Did you mean `{nearest}`?"
    return "`floe tables list` shows what there is; a table is named `namespace.table`."


def open_lake(
    out: Output, artifacts: Path | None, source: Mapping[str, Any], catalog: str | None
) -> Lake:
    """Open the catalogs of the product.

    Raises:
        CompileError: if the product's files are wrong.
        UsageError: if the product has no such catalog.
        ArtifactsError: if a catalog cannot be opened.
    """
    from floe_cli.freshness import current_artifacts
    from floe_dagster.catalogs import product_catalogs
    from floe_dagster.connection import product_lake

    here = current_artifacts(artifacts, source, out)
    found = product_catalogs(here.artifacts, here.root)
    lake = product_lake(here.artifacts)
    assert lake is not None, "it has catalogs"
    names = sorted({where.name for where in found.values()})
    if catalog is not None and catalog not in names:
        known = ", ".join(f"`{name}`" for name in names)
        raise UsageError(f"the product has no catalog `{catalog}`", help=f"It has {known}.")
    wanted = {k: where for k, where in found.items() if catalog in {None, where.name}}
    return Lake(here.artifacts, lake, wanted)
