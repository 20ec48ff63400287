"""`type: csv`: a CSV file becomes a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.plugins import (
    AssetInspection,
    CompiledTransform,
    Finding,
    JsonValue,
    LocatedTransform,
    Transform,
    TransformContext,
)

if TYPE_CHECKING:
    from floe_core.plugins import TransformExecutor


class CsvTransform:
    """Copies a CSV file into a table of the transform's name."""

    fields = frozenset({"path", "description"})

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the file."""
        if transform.path is None or transform.name is None:
            help = "as in `{name: cities, type: csv, path: in/cities.csv}`"
            return None, [Finding("CSV-001", (), "needs `name` and `path`", help)]
        if not (root / transform.path).is_file():
            message = f"there is no file `{transform.path}` beside floe.yaml"
            return None, [Finding("CSV-002", ("path",), message)]
        return LocatedTransform(transform.name, transform.path), []

    def inspect(self, located: LocatedTransform, root: Path) -> AssetInspection:
        """Look for a header."""
        file = root / located.project
        with file.open(encoding="utf-8", errors="replace") as lines:
            if lines.readline().strip():
                return AssetInspection(files=[file])
        message = f"`{located.project}` begins with an empty line"
        help = "begin it with the names of the columns"
        return AssetInspection((file,), [Finding("CSV-003", ("path",), message, help)])

    def execute(
        self, transform: CompiledTransform, context: TransformContext
    ) -> Mapping[str, JsonValue] | None:
        """Copy it."""
        connection = context.connect()
        file = str(context.root / transform.path)
        sql = f'create or replace table "{transform.name}" as from read_csv(?)'
        [[rows]] = connection.execute(sql, [file]).fetchall()
        context.logger.info("%s rows from %s", rows, transform.path)
        return {"rows": rows}


if TYPE_CHECKING:
    _: type[TransformExecutor] = CsvTransform
