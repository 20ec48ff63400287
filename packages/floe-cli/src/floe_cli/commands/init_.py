"""`floe init`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
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

    root = Path(os.path.abspath(folder))  # noqa: PTH100 - keeps links
    product = name or _product_name(root.name)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", product):
        raise UsageError(
            f"`{product}` is not a name for a product",
            help="Start with a letter; go on with letters, digits, `_`, `.` or `-`.",
        )
    contents = dict(_template(files("floe_cli").joinpath("templates", "init"), Path()))
    _check_place(root, contents)
    _write(root, {path: text.replace(_PLACEHOLDER, product) for path, text in contents.items()})
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
    enter = "" if root == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    out.note(f"Next: {enter}floe run")


def _check_place(root: Path, contents: Mapping[Path, str]) -> None:
    """See that every file can be written anew, and inside of the folder.

    Raises:
        UsageError: if something is there already.
    """
    from floe_core.errors import UsageError
    from floe_core.layout import Layout

    taken = [root / path for path in contents if os.path.lexists(root / path)]
    if taken:
        listed = ", ".join(shown_path(path) for path in sorted(taken))
        raise UsageError(
            f"nothing is overwritten, and these files are there already: {listed}",
            help="Choose an empty folder: `floe init DIR`.",
        )
    inside = {root / parent for path in contents for parent in path.parents} - {root}
    blockers = [path for path in inside if path.is_symlink()]
    for path in {Layout(root).folder, *inside, root, *root.parents}.difference(blockers):
        if os.path.lexists(path) and not path.is_dir():
            blockers.append(path)
    if blockers:
        listed = ", ".join(shown_path(path) for path in sorted(blockers))
        raise UsageError(
            f"a folder is needed where something else is: {listed}",
            help="Choose an empty folder: `floe init DIR`.",
        )


def _write(root: Path, contents: Mapping[Path, str]) -> None:
    """Write all files or, when one cannot be written, none.

    Raises:
        UnwritableError: if one cannot be written.
    """
    from floe_core.layout import Layout, writing_to
    from floe_core.schemas.json_schema import write_schemas

    layout = Layout(root)
    with ExitStack() as undo:
        for path in (root / path for path in contents):
            for parent in [p for p in reversed(path.parents) if not p.exists()]:
                with writing_to(parent):
                    parent.mkdir()
                undo.callback(parent.rmdir)
            with writing_to(path.parent), path.open("x", encoding="utf-8") as file:
                undo.callback(path.unlink)
                file.write(contents[path.relative_to(root)])
        if not layout.folder.exists():
            undo.callback(shutil.rmtree, layout.folder, ignore_errors=True)
        layout.prepare()
        write_schemas(layout.schemas)
        undo.pop_all()


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
