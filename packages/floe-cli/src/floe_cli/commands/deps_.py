"""`floe deps`."""

from __future__ import annotations

from typing import Any

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import compile_request, source_options
from floe_cli.output import Output


@floe_command("deps", short_help="Fetch the packages that the dbt projects declare.")
@source_options
def command(out: Output, **source: Any) -> int:
    """Fetch the packages that the product's dbt projects declare in packages.yml.

    The one command that needs a network; packages with a `local:` path do not.
    """
    from floe_core.compiler.inspect import inspect_requests
    from floe_core.compiler.pipeline import CHECKS, check, run_stages

    outcome = run_stages(CHECKS, compile_request(**source))
    check(outcome)
    failures = {}
    projects: dict[str, None] = {}
    for request, executor, _ in inspect_requests(outcome.value):
        if request.project in projects:
            continue
        projects[request.project] = None
        out.note(f"Fetching the packages of {request.project} ...")
        problem = executor.fetch(request)
        if problem is not None:
            failures[request.project] = problem
    out.document({"ok": not failures, "projects": list(projects), "failures": failures})
    for project, problem in failures.items():
        out.note(f"error: {project}: {problem}")
    if failures:
        return Exit.UNAVAILABLE
    out.result(
        f"Packages are up to date in {', '.join(projects)}."
        if projects
        else "The product has no dbt project, so there are no packages to fetch."
    )
    return Exit.OK
