"""`floe explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.options import compile_request, source_options
from floe_cli.output import Output, diagnostics_document

if TYPE_CHECKING:
    from floe_core.provenance import Leaf, Origin


@floe_command("explain", short_help="Say where a value came from.")
@click.argument("field", required=False)
@click.option("--all", "is_all", is_flag=True, help="Explain every value.")
@source_options
def command(out: Output, field: str | None, is_all: bool, **source: Any) -> None:
    r"""Say where a value of the artifacts came from.

    A file and line, a default, the choice of the environment, the stricter of two policies, dbt.

    FIELD is a path in .floe/artifacts.json; items of lists are called by number or by name. A
    section shows all that is in it. Compiles in memory: the artifacts on disk stay as they are.

    \b
    Examples:
      floe explain compute.properties.threads
      floe explain transforms.shop.layer --env prod
      floe explain governance
      floe explain --all --output json
    """
    from floe_core.compiler.origins import explain
    from floe_core.errors import UsageError

    if (field is None) != is_all:
        raise UsageError("say which field, or `--all`", help="One such as `compute.target`.")
    status = out.status("compiling ...")
    try:
        leaves, diagnostics = explain(compile_request(**source), field)
    finally:
        if status is not None:
            status.stop()
    if out.is_verbose:
        out.diagnostics(diagnostics)
    out.document(
        {
            "ok": True,
            "fields": [leaf.to_dict() for leaf in leaves],
            **diagnostics_document(diagnostics),
        }
    )
    out.result("\n".join(_in_full(leaves[0]) if len(leaves) == 1 else _table(leaves)))


def _in_full(leaf: Leaf) -> Iterator[str]:
    yield f"{leaf.field} = {_value(leaf)}"
    yield from _origin(leaf.origin, f"{leaf.origin.kind}: ")
    for other in leaf.origin.also:
        yield from _origin(other, "also: ")


def _origin(origin: Origin, label: str) -> Iterator[str]:
    from floe_core.diagnostics import excerpt

    yield f"  {label}{_words(origin)}"
    if origin.position is not None and origin.source is not None:
        yield from excerpt(origin.source, origin.position)


def _words(origin: Origin) -> str:
    return ", ".join(part for part in (origin.place(), origin.reason) if part)


_WIDEST = 60


def _table(leaves: Sequence[Leaf]) -> Iterator[str]:
    shown = [(f"{leaf.field} = {_value(leaf)}", leaf.origin) for leaf in leaves]
    fitting = [len(text) for text, _ in shown if len(text) <= _WIDEST]
    width = max(fitting, default=0)
    for text, origin in shown:
        yield f"{text:<{width}}  {origin.kind}: {_words(origin)}"


def _value(leaf: Leaf) -> str:
    if leaf.value is None:
        return "(not set)"
    text = leaf.value if isinstance(leaf.value, str) else json.dumps(leaf.value, ensure_ascii=False)
    return " ".join(text.split())
