"""`floe init`."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from floe_cli.edge import floe_command
from floe_cli.output import Output, shown_path

_PLACEHOLDER = "__product__"


@floe_command("init", short_help="Write a small working product.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--name", help="Name of the product; the folder's name otherwise.")
def command(out: Output, folder: Path, name: str | None) -> None:
    """Write a small working product into FOLDER (the current one otherwise).

    floe.yaml, platform.yaml and a dbt project with a seed, three models and tests: run it, look
    at its tables, then put your own models in their place. Nothing is overwritten.
    """
    from floe_core.errors import UsageError
    from floe_core.layout import Layout
    from floe_core.schemas.json_schema import write_schemas

    product = name or _product_name(folder.resolve().name)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", product):
        raise UsageError(
            f"`{product}` is not a name for a product",
            help="Start with a letter; go on with letters, digits, `_`, `.` or `-`.",
        )
    contents = dict(_template(files("floe_cli").joinpath("templates", "init"), Path()))
    taken = sorted(path for path in contents if (folder / path).exists())
    if taken:
        listed = ", ".join(shown_path(folder / path) for path in taken)
        raise UsageError(
            f"nothing is overwritten, and these files are there already: {listed}",
            help="Choose an empty folder: `floe init DIR`.",
        )
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace(_PLACEHOLDER, product), encoding="utf-8")
    layout = Layout(folder.resolve())
    layout.prepare()
    write_schemas(layout.schemas)
    out.document(
        {
            "ok": True,
            "product": product,
            "folder": str(folder),
            "files": sorted(path.as_posix() for path in contents),
        }
    )
    lines = [f"Wrote {product}:", *(f"  {shown_path(folder / path)}" for path in sorted(contents))]
    out.result("\n".join(lines))
    enter = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    out.note(f"Next: {enter}floe run")


def _product_name(folder: str) -> str:
    """Turn a folder's name into a product's."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder).strip("-.")
    return name if re.match(r"[A-Za-z_]", name) else f"product-{name}".rstrip("-")


def _template(source: Traversable, below: Path) -> list[tuple[Path, str]]:
    """All files of the template; `dot.` at the start of a name stands for a dot."""
    found: list[tuple[Path, str]] = []
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        name = re.sub(r"^dot\.", ".", entry.name)
        if entry.is_dir():
            found += _template(entry, below / name)
        else:
            found.append((below / name, entry.read_text(encoding="utf-8")))
    return found
