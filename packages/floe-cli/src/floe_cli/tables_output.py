"""What `floe tables` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from floe_cli.output import Output, plural
from floe_cli.rows import print_table

if TYPE_CHECKING:
    from floe_cli.lake import Lake, LakeTable, Maintained
    from floe_iceberg.maintenance import Amount, Report

_WORDS = {
    "expire snapshots": "expire ",
    "compact": "compact",
    "remove orphan files": "orphans",
}


def list_document(lake: Lake) -> list[dict[str, Any]]:
    """The tables of a product; one that cannot be read comes with its problem."""
    return [_summary(table) for table in lake.tables() if not table.keeps_views]


def _summary(table: LakeTable) -> dict[str, Any]:
    from floe_core.errors import FloeError
    from floe_iceberg.inspection import Size, moment, size_of

    size, changed_at, problem = Size(None, None, None, None), None, None
    try:
        snapshot = table.table.current_snapshot()
        size = size_of(snapshot)
        changed_at = moment(snapshot).isoformat() if snapshot is not None else None
    except FloeError as found:
        problem = found.message
    return {
        "name": table.shown,
        "namespace": ".".join(table.identifier[:-1]),
        "table": table.identifier[-1],
        "catalog": table.where.name,
        "layers": table.layers,
        **asdict(size),
        "changed_at": changed_at,
        "problem": problem,
    }


def print_list(out: Output, rows: Sequence[dict[str, Any]], lake: Lake) -> None:
    """Print the tables of a product."""
    if out.is_json:
        return
    if not rows:
        out.result("There are no tables.")
        return
    columns = ["table", "rows", "files", "size", "last change"]
    cells = [
        [
            row["name"],
            _number(row["rows"]),
            _number(row["files"]),
            _size(row["bytes"]),
            _time(row["changed_at"]),
        ]
        for row in rows
    ]
    numbers = [False, True, True, True, False]
    if len(lake.catalogs) > 1:
        columns, numbers = ["catalog", *columns], [False, *numbers]
        cells = [[row["catalog"], *cell] for row, cell in zip(rows, cells, strict=True)]
    print_table(columns, cells, numbers)
    out.note(plural(len(rows), "table"))


def shape_document(table: LakeTable) -> dict[str, Any]:
    """What a table looks like, and where it is."""
    from floe_iceberg import inspection
    from floe_iceberg.scan import COLUMN_TYPES

    found = table.table
    snapshot = found.current_snapshot()
    hidden = {"comment", COLUMN_TYPES}
    return {
        "table": table.shown,
        "catalog": table.where.name,
        "layers": table.layers,
        "comment": found.properties.get("comment"),
        "columns": [asdict(column) for column in inspection.columns_of(found)],
        "partition_by": inspection.partitions_of(found),
        "sort_by": inspection.sort_order_of(found),
        **asdict(inspection.size_of(snapshot)),
        "snapshot_id": snapshot.snapshot_id if snapshot is not None else None,
        "changed_at": inspection.moment(snapshot).isoformat() if snapshot is not None else None,
        "snapshots": len(found.snapshots()),
        **inspection.refs_of(found),
        "location": found.location(),
        "format_version": found.format_version,
        "properties": {k: v for k, v in sorted(found.properties.items()) if k not in hidden},
    }


def print_shape(out: Output, shape: dict[str, Any]) -> None:
    """Print what a table looks like."""
    layers = f", layer {', '.join(shape['layers'])}" if shape["layers"] else ""
    lines = [f"{shape['table']} (catalog {shape['catalog']}{layers})"]
    if shape["comment"]:
        lines.append(shape["comment"])
    lines += ["", "columns"]
    lines += _aligned(
        (column["name"], column["type"], "not null" * column["is_required"], column["doc"] or "")
        for column in shape["columns"]
    )
    deletes = f", {plural(shape['delete_files'], 'delete file')}" if shape["delete_files"] else ""
    facts = [
        ("partitions", ", ".join(shape["partition_by"]) or "none"),
        ("sorted by", ", ".join(shape["sort_by"]) or "nothing"),
        ("rows", _number(shape["rows"])),
        ("files", f"{_number(shape['files'])}{deletes}, {_size(shape['bytes'])}"),
        ("last change", _time(shape["changed_at"])),
        ("snapshot", f"{shape['snapshot_id'] or 'none'}, {shape['snapshots']} are kept"),
        ("branches", _refs(shape["branches"])),
        ("tags", _refs(shape["tags"])),
        ("location", shape["location"]),
    ]
    lines += ["", *_aligned(facts, "")]
    if shape["properties"]:
        lines += ["", "properties", *_aligned(shape["properties"].items())]
    out.result("\n".join(lines))


def history_document(table: LakeTable) -> list[dict[str, Any]]:
    """The snapshots of a table."""
    from floe_iceberg.inspection import history_of

    return [
        asdict(change)
        | {"committed_at": change.committed_at.isoformat(), "refs": list(change.refs)}
        for change in history_of(table.table)
    ]


def print_history(out: Output, changes: Sequence[dict[str, Any]]) -> None:
    """Print the snapshots of a table."""
    if out.is_json or not changes:
        return
    columns = ("snapshot", "time", "operation", "rows", "files", "written", "branches and tags")
    cells = [
        [
            f"{change['snapshot_id']}{'' if change['is_current'] else ' *'}",
            _time(change["committed_at"]),
            change["operation"] or "",
            f"+{change['rows_added']:,} -{change['rows_removed']:,}",
            f"+{change['files_added']:,} -{change['files_removed']:,}",
            _size(change["bytes_added"]),
            ", ".join(change["refs"]),
        ]
        for change in changes
    ]
    print_table(columns, cells, [False, False, False, True, True, True, False])


def maintenance_document(done: Sequence[Maintained], is_ok: bool, dry_run: bool) -> dict[str, Any]:
    """What became of the tables."""
    return {
        "ok": is_ok,
        "dry_run": dry_run,
        "tables": [
            {
                "table": result.table.shown,
                "catalog": result.table.where.name,
                "layers": result.table.layers,
                "reports": [report.to_dict() for report in result.reports],
                "error": result.problem.message if result.problem is not None else None,
                "help": result.problem.help if result.problem is not None else None,
            }
            for result in done
        ],
    }


def print_maintenance(out: Output, result: Maintained) -> None:
    """Print what became of a table."""
    lines = [result.table.shown]
    for report in result.reports:
        lines.append(f"  {_WORDS[report.operation]}  {_did(report)}")
        if out.is_verbose:
            lines += [f"    keeps {kept.what} {kept.name}: {kept.why}" for kept in report.kept]
    out.result("\n".join(lines))
    for report in result.reports:
        if report.failed and not out.is_json:
            out.problem(
                f"{plural(len(report.failed), 'file')} of {report.table} could not be removed; "
                "the next `floe tables maintain --orphans` tries again"
            )
    if result.problem is not None and not out.is_json:
        out.problem(f"error: {result.problem.message}")
        if result.problem.help:
            out.problem(f"  help: {result.problem.help}")


def _did(report: Report) -> str:
    if report.skipped is not None:
        return f"skipped: {report.skipped}"
    if report.is_empty:
        return "nothing to do"
    would = "would remove" if report.is_dry_run else "removed"
    if report.operation == "compact":
        rewritten = _amounts(report.removed_by_kind)
        if report.is_dry_run:
            return f"would write {rewritten} anew"
        written = sum(file.bytes for file in report.written)
        return f"wrote {rewritten} anew: {plural(len(report.written), 'file')}, {_size(written)}"
    parts = []
    if report.snapshots:
        parts.append(plural(len(report.snapshots), "snapshot"))
    if report.refs:
        parts.append(f"branches and tags {', '.join(report.refs)}")
    if report.removed:
        parts.append(_amounts(report.removed_by_kind))
    if report.folders:
        parts.append(plural(len(report.folders), "empty folder"))
    return f"{would} {', '.join(parts)}"


def _amounts(found: dict[Any, Amount]) -> str:
    """`2 data files, 1 manifest (3.4 kB)`."""
    total = sum(amount.bytes for amount in found.values())
    counts = (
        plural(amount.files, kind if kind.startswith("manifest") else _noun(kind))
        for kind, amount in found.items()
    )
    return f"{', '.join(counts)} ({_size(total)})"


def _noun(kind: str) -> str:
    return f"{kind.removesuffix('s') if kind.endswith('deletes') else kind} file"


def _aligned(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> list[str]:
    found = list(rows)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return [
        f"{indent}{'  '.join(f'{c:<{w}}' for c, w in zip(row, widths, strict=True))}".rstrip()
        for row in found
    ]


def _refs(refs: dict[str, int]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in refs.items()) or "none"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _size(count: int | None) -> str:
    """Bytes as people say them."""
    if count is None:
        return "?"
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _time(text: str | None) -> str:
    """A time as `--at` takes it."""
    if text is None:
        return "never"
    return datetime.fromisoformat(text).astimezone().isoformat(" ", "milliseconds")[:23]
