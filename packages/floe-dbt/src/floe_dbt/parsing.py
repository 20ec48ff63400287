"""How dbt is invoked at compile."""

from __future__ import annotations

from floe_core import profiles
from floe_core.layout import Layout
from floe_core.plugins import InspectRequest
from floe_dbt.engine import Invocation


def invocation(request: InspectRequest) -> Invocation:
    """A parse beside the run's own folder of profiles, and in the run's target folder.

    The run then starts from dbt's partial parse, and its profiles.yml is written by `generate`.
    """
    folder = request.work_dir / "parse"
    profiles.write(folder, request.profiles)
    layout = Layout(request.root)
    environment = request.work_dir.name
    target_path = layout.target_path(environment, request.project, request.target)
    return Invocation(
        root=request.root,
        project=request.project,
        profiles_dir=folder,
        target=request.target,
        target_path=request.work_dir / target_path.relative_to(layout.work(environment)),
        log_path=request.work_dir / "logs",
        vars=request.vars,
        environment=request.environment,
    )
