"""`DbtTransformExecutor`: transforms of type `dbt`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.plugins import Finding, Inspection, InspectRequest, LocatedTransform
from floe_core.schemas.floe import Transform
from floe_dbt import project as projects
from floe_dbt.dbt_core import DbtCore
from floe_dbt.inspection import inspect
from floe_dbt.location import locate
from floe_dbt.parsing import invocation

if TYPE_CHECKING:
    from floe_core.plugins import ProjectExecutor


class DbtTransformExecutor:
    """Finds dbt projects, and tells what is in them."""

    fields = frozenset({"project", "path", "models", "select", "target"})

    def locate(
        self, transform: Transform, root: Path
    ) -> tuple[LocatedTransform | None, Sequence[Finding]]:
        """Find the transform's dbt project below `root`, looking at the file system alone.

        `project`, or a `path` with a dbt_project.yml, is a whole project, narrowed by `models` or
        `select`. Another `path` is models of the project beside floe.yaml. With neither, it is the
        project beside floe.yaml or the only one below it, and unless something narrows it the
        transform's name is the one model that is meant.
        """
        return locate(transform, root)

    def inspect(self, request: InspectRequest) -> Inspection:
        """Parse the project, or use the cached index when nothing has changed.

        dbt is not even imported when nothing has changed: what a `select` stands for is remembered
        beside the index.
        """
        return inspect(request)

    def fetch(self, request: InspectRequest) -> str | None:
        """Fetch the packages that the project declares (`dbt deps`)."""
        if not projects.read_at(request.root, request.project).declared_packages():
            return None
        return DbtCore().deps(invocation(request)).error

    def reuse(self, project: Path, other: Path) -> str | None:
        """Link to the packages that are installed for another copy of the project."""
        return projects.reuse_packages(project, other)


if TYPE_CHECKING:
    _: type[ProjectExecutor] = DbtTransformExecutor
