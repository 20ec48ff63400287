"""`floe schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from floe_cli.edge import floe_command
from floe_cli.output import Output, shown_path


@click.group("schema", short_help="JSON Schemas of the files, for editors and checks.")
def command() -> None:
    """JSON Schemas of floe.yaml, platform.yaml and the artifacts, for editors and checks."""


@floe_command("export", short_help="Print or write a JSON Schema.")
@click.argument("schema", type=click.Choice(["platform", "floe", "artifacts"]), required=False)
@click.option(
    "--all",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write all three into this folder instead.",
)
def export(out: Output, schema: str | None, folder: Path | None) -> None:
    """Print the JSON Schema (draft 2020-12) of one file, or write all three to a folder."""
    from floe_core.errors import UsageError
    from floe_core.schemas.json_schema import export_schema, write_schemas

    if (schema is None) == (folder is None):
        raise UsageError(
            "say which schema, or `--all FOLDER`", help="One of platform, floe, artifacts."
        )
    if schema is not None:
        text = export_schema(schema)
        out.document(json.loads(text))
        out.result(text.rstrip("\n"))
    elif folder is not None:
        written = [shown_path(path) for path in write_schemas(folder)]
        out.document({"ok": True, "written": written})
        for path in written:
            out.note(f"wrote {path}")


command.add_command(export)
