"""`floe query`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import artifacts_option, source_options
from floe_cli.output import Output
from floe_cli.rows import print_rows
from floe_cli.times import MOMENT

EPILOG = """\b
Examples:
  floe query "select * from customers limit 10"
  floe query "select count(*) from customers" --at "2026-03-01 09:00"
  floe query --file report.sql --output csv > report.csv
  echo "select 1" | floe query --file -
"""


@floe_command(
    "query",
    formats=("text", "json", "csv"),
    short_help="Query the product's tables, read-only.",
    epilog=EPILOG,
)
@click.argument("sql", required=False)
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    help="Read the statement from a file; `-` is standard input.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Most rows to show as text or JSON; 0 for all.",
)
@click.option(
    "--at",
    type=MOMENT,
    metavar="TIME",
    help="Read Iceberg tables as they were then; a time without a zone is local.",
)
@source_options
@artifacts_option
def command(
    out: Output,
    sql: str | None,
    file: Any,
    limit: int,
    at: datetime | None,
    artifacts: Path | None,
    **source: Any,
) -> None:
    """Run one statement that reads, on the engine that the product runs on.

    Tables are named as dbt names them: `customers`, or `schema.customers`. Compiles first if
    anything has changed. With `--at`, views show what they would show of the tables of then.
    """
    from floe_cli.freshness import current_artifacts
    from floe_core.errors import UsageError
    from floe_core.secrets import remembered
    from floe_dagster.connection import compute_target, product_tables, resolve_secrets

    if (sql is None) == (file is None):
        raise UsageError("give one statement, or `--file`", help='floe query "select 1"')
    statement = sql if sql is not None else file.read()
    with remembered():
        here = current_artifacts(artifacts, source, out)
        what, root = here.artifacts, here.root
        target, compute = compute_target(what)
        secrets = resolve_secrets(what)
    most = None if limit == 0 or out.format == "csv" else limit
    ask = None if most is None else most + 1
    lake = product_tables(what, root)
    if at is not None:
        if lake is None:
            raise UsageError(
                f"`--at` reads Iceberg tables, and those of {what.product} are the engine's own",
                help="Ask for the tables as they are now.",
            )
        lake = replace(lake, at=at)
    result = target.query(compute, what.environment, root, secrets, statement, ask, lake)
    print_rows(out, result, most)
