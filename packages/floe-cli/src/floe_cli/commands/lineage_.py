"""`floe lineage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli import completion
from floe_cli.edge import floe_command
from floe_cli.options import artifacts_option, source_options
from floe_cli.output import Output, plural, shown_path

if TYPE_CHECKING:
    from floe_dagster.lineage.graph import Column, Graph, GraphNode

_FORMATS = ("text", "json", "mermaid", "html")
_SUFFIXES = {".html": "html", ".htm": "html", ".json": "json", ".mmd": "mermaid", ".txt": "text"}

EPILOG = """\b
Examples:
  floe lineage
  floe lineage orders --upstream
  floe lineage orders --column amount
  floe lineage --output lineage.html
  floe lineage orders --output mermaid
"""


@floe_command(
    "lineage",
    short_help="Show what tables and columns are made of.",
    formats=_FORMATS,
    writes_file=True,
    epilog=EPILOG,
)
@click.argument("model", required=False, shell_complete=completion.nodes)
@click.option("--column", metavar="NAME", help="Follow one column of MODEL.")
@click.option("--upstream", is_flag=True, help="Show only what it is made of.")
@click.option("--downstream", is_flag=True, help="Show only what is made of it.")
@source_options
@artifacts_option
def command(
    out: Output,
    file: Path | None,
    model: str | None,
    column: str | None,
    upstream: bool,
    downstream: bool,
    artifacts: Path | None,
    **source: Any,
) -> None:
    """Show what tables and columns are made of, and what is made of them.

    MODEL is the name of a model, seed, snapshot or source; all are shown without it. Tables come
    from dbt; columns from the runs that built them here. No server is asked.

    The page that `html` makes is one file that needs no network.
    """
    import json

    from floe_cli.freshness import current_artifacts
    from floe_cli.lineage_output import document, mermaid, text
    from floe_cli.lineage_page import page
    from floe_core.errors import UsageError
    from floe_core.layout import Layout, write_atomic
    from floe_dagster.lineage.graph import build_graph
    from floe_dagster.lineage.store import read_lineage
    from floe_dagster.units import resolve_units

    if model is None and (column is not None or upstream or downstream):
        raise UsageError("say which model", help="Such as `floe lineage orders --upstream`.")
    stored = current_artifacts(artifacts, source, out)
    environment = stored.artifacts.environment
    layout = Layout(stored.root)
    kept = read_lineage(layout.lineage(environment))
    indexes = [unit.index for unit in resolve_units(stored.artifacts, stored.root)]
    graph = build_graph(indexes, kept)
    sides = (upstream or not downstream, downstream or not upstream)
    shown, start, followed = _part(graph, model, column, sides)
    if followed is not None and not graph.column_edges:
        out.note("What columns are made of is known once `floe run` has built them here.")
    product = stored.artifacts.product
    title = f"{product} in environment {environment}"
    form = out.format if file is None else _SUFFIXES.get(file.suffix.lower(), out.format)
    found = {
        "ok": True,
        "product": product,
        "environment": environment,
        **document(shown, start, followed, sides),
    }
    match form:
        case "json":
            content = json.dumps(found, indent=2, ensure_ascii=False)
        case "mermaid":
            content = mermaid(shown, followed, sides)
        case "html":
            content = page(title, shown, found)
        case _:
            content = text(title, shown, start, followed, sides)
    if file is None:
        out.document(found)
        out.result(content.rstrip("\n"))
        return
    write_atomic(file.absolute(), (content.rstrip("\n") + "\n").encode())
    out.document({"ok": True, "file": str(file)})
    out.note(f"Wrote {shown_path(file.absolute())}: {plural(len(shown.nodes), 'table')}.")


def _part(
    graph: Graph, model: str | None, column: str | None, sides: tuple[bool, bool]
) -> tuple[Graph, GraphNode | None, Column | None]:
    """The part of the graph that is asked for, and the table and column it is about."""
    if model is None:
        return graph, None, None
    start = graph.find(model)
    followed = graph.column(start, column) if column is not None else None
    upstream, downstream = sides
    return (
        graph.around(start.unique_id, upstream=upstream, downstream=downstream),
        start,
        followed,
    )
