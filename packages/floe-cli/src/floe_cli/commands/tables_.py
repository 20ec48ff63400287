"""`floe tables`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import artifacts_option, source_options
from floe_cli.output import Output, plural
from floe_cli.times import DURATION

if TYPE_CHECKING:
    from datetime import timedelta

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = """\b
Examples:
  floe tables list
  floe tables show gold.orders
  floe tables preview gold.orders --at "2026-03-01 09:00"
  floe tables maintain --dry-run
"""


_LIST_EXAMPLES = """\b
Examples:
  floe tables list
  floe tables list --env dev --output json
"""

_SHOW_EXAMPLES = """\b
Examples:
  floe tables show gold.orders
  floe tables show gold.orders --output json | jq .columns
"""

_HISTORY_EXAMPLES = """\b
Examples:
  floe tables history gold.orders
  floe tables history gold.orders --limit 0 --output json
"""

_PREVIEW_EXAMPLES = """\b
Examples:
  floe tables preview gold.orders
  floe tables preview gold.orders --at "2026-03-01 09:00" --limit 5
  floe tables preview gold.orders --at audit
  floe tables preview gold.orders --limit 0 --output csv > orders.csv
"""

_MAINTAIN_EXAMPLES = """\b
Examples:
  floe tables maintain --dry-run
  floe tables maintain gold.orders --compact
  floe tables maintain --expire --older-than 30d --keep-last 3
"""


@click.group(
    "tables", short_help="Look at the product's Iceberg tables, and keep them small.", epilog=EPILOG
)
def command() -> None:
    """Look at the product's Iceberg tables, and keep them small.

    These are the tables in the catalogs of the product: its own, and those of the platform's
    layers. A table is named `namespace.table`.
    """


def lake_options(body: F) -> F:
    """Add the options that say whose tables are meant."""
    catalog = click.option(
        "--catalog", metavar="NAME", help="Catalog profile; all of the product's otherwise."
    )
    return source_options(artifacts_option(catalog(body)))


@floe_command("list", short_help="Show the tables and their sizes.", epilog=_LIST_EXAMPLES)
@lake_options
def list_(out: Output, catalog: str | None, artifacts: Path | None, **source: Any) -> int:
    """Show the tables, with rows, files, bytes and the time of the last change.

    The figures are those of the current snapshot; what earlier snapshots hold comes on top.
    """
    from floe_cli.lake import open_lake
    from floe_cli.tables_output import list_document, print_list

    lake = open_lake(out, artifacts, source, catalog)
    rows = list_document(lake)
    broken = [row for row in rows if row["problem"]]
    out.document({"ok": not broken, "tables": rows})
    print_list(out, rows, lake)
    for row in broken:
        out.problem(f"error: {row['problem']}")
    return Exit.FAILED if broken else Exit.OK


@floe_command(
    "show", short_help="Show the shape of a table, and where it is.", epilog=_SHOW_EXAMPLES
)
@click.argument("table")
@lake_options
def show(
    out: Output, table: str, catalog: str | None, artifacts: Path | None, **source: Any
) -> None:
    """Show columns, partitions, sort order, sizes, branches, tags, location and properties."""
    from floe_cli.lake import open_lake
    from floe_cli.tables_output import print_shape, shape_document

    lake = open_lake(out, artifacts, source, catalog)
    document = shape_document(lake.find(table))
    out.document({"ok": True, **document})
    print_shape(out, document)


@floe_command("history", short_help="Show what happened to a table.", epilog=_HISTORY_EXAMPLES)
@click.argument("table")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Most snapshots to show; 0 for all.",
)
@lake_options
def history(
    out: Output,
    table: str,
    limit: int,
    catalog: str | None,
    artifacts: Path | None,
    **source: Any,
) -> None:
    """Show the snapshots of a table that are left, the newest first.

    Rows that were only written anew, beside others that changed in the same file, count as added
    and as removed. `*` marks what is on another branch than main.
    """
    from floe_cli.lake import open_lake
    from floe_cli.tables_output import history_document, print_history

    found = open_lake(out, artifacts, source, catalog).find(table)
    changes = history_document(found)
    shown = changes[:limit] if limit else changes
    out.document({"ok": True, "table": found.shown, "snapshots": shown})
    print_history(out, shown)
    more = f"; {len(changes) - len(shown)} more, `--limit 0` shows them"
    out.note(f"{plural(len(shown), 'snapshot')}{more if len(shown) < len(changes) else ''}")


@floe_command(
    "preview",
    short_help="Show some rows of a table.",
    formats=("text", "json", "csv"),
    epilog=_PREVIEW_EXAMPLES,
)
@click.argument("table")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Most rows to show; 0 for all.",
)
@click.option(
    "--at",
    metavar="SNAPSHOT|TIME|BRANCH",
    help="Show the rows of then; a tag will do too, and a time without a zone is local.",
)
@lake_options
def preview(
    out: Output,
    table: str,
    limit: int,
    at: str | None,
    catalog: str | None,
    artifacts: Path | None,
    **source: Any,
) -> None:
    """Show some rows of a table, as it is or as it was."""
    from floe_cli.lake import open_lake
    from floe_cli.rows import print_rows

    found = open_lake(out, artifacts, source, catalog).find(table)
    print_rows(out, found.preview(at, limit + 1 if limit else None), limit or None)


@floe_command(
    "maintain",
    short_help="Expire old snapshots, compact files, remove orphans.",
    epilog=_MAINTAIN_EXAMPLES,
)
@click.argument("tables", metavar="[TABLE]...", nargs=-1)
@click.option("--expire", is_flag=True, help="Let old snapshots leave, with the files of theirs.")
@click.option("--compact", is_flag=True, help="Write small files into larger ones.")
@click.option("--orphans", is_flag=True, help="Remove files that nobody needs.")
@click.option(
    "--older-than",
    type=DURATION,
    metavar="AGE",
    help="Remove nothing that is younger, such as 7d or 12h.",
)
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep as many snapshots anyway."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and stop.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask in production.")
@lake_options
def maintain(
    out: Output,
    tables: tuple[str, ...],
    expire: bool,
    compact: bool,
    orphans: bool,
    older_than: timedelta | None,
    keep_last: int | None,
    dry_run: bool,
    yes: bool,
    catalog: str | None,
    artifacts: Path | None,
    **source: Any,
) -> int:
    """Keep tables small: all of them, or those that are named.

    Does all three unless options name some. Snapshots are kept as the retention of the table's
    layer says, which becomes properties of the table so that every writer follows it; else as the
    table's properties say: 5 days, and the last 5. What a branch or tag points to stays. Orphans
    are files below a table's location that no snapshot names, older than 3 days: what a writer
    leaves that was killed. `-v` shows what stays, and why.
    """
    from floe_cli.confirmation import confirm_production
    from floe_cli.lake import Maintenance, open_lake
    from floe_cli.tables_output import maintenance_document, print_maintenance

    is_all = not (expire or compact or orphans)
    asked = Maintenance(
        expire=expire or is_all,
        compact=compact or is_all,
        orphans=orphans or is_all,
        older_than=older_than,
        keep_last=keep_last,
        is_dry_run=dry_run,
    )
    lake = open_lake(out, artifacts, source, catalog)
    found = [lake.find(name) for name in tables] or lake.tables()
    if not dry_run:
        count = plural(len(found), "table")
        confirm_production(lake.artifacts, f"Maintain {count} of {lake.artifacts.product}", yes)
    done = []
    for table in found:
        status = out.status(f"{table.shown} ...")
        try:
            done.append(table.maintain(asked))
        finally:
            if status is not None:
                status.stop()
        print_maintenance(out, done[-1])
    is_ok = all(result.is_ok for result in done)
    out.document(maintenance_document(done, is_ok, dry_run))
    if not found:
        out.result("There are no tables.")
    return Exit.OK if is_ok else Exit.FAILED


for _command in (list_, show, history, preview, maintain):
    command.add_command(_command)
