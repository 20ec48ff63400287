"""`floe diff`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from floe_cli.edge import floe_command
from floe_cli.exits import Exit
from floe_cli.options import compile_request, project_option
from floe_cli.output import Output, plural, style

if TYPE_CHECKING:
    from floe_core.comparison import Change, Side
    from floe_core.compiler.request import CompileRequest


@floe_command("diff", short_help="Show what changes between two compiles.")
@click.option(
    "-e",
    "--env",
    "envs",
    metavar="NAME",
    multiple=True,
    help="Environment; give it twice to compare two.",
)
@click.option(
    "--against", metavar="FILE|COMMIT", help="Artifacts, a product's folder, or a git commit."
)
@click.option(
    "--platform", type=click.Path(path_type=Path), help="Platform file; it is looked for otherwise."
)
@click.option("--vars", "vars_", metavar="YAML", help="dbt vars, as YAML: '{key: value}'.")
@project_option
def command(
    out: Output, envs: tuple[str, ...], against: str | None, platform: Path | None, **source: Any
) -> int:
    r"""Show what changes between two compiles: models, schedules, policies, engines.

    Without options: from the last compile to the files as they are now. Compiles in memory:
    .floe/artifacts.json stays as it is, and so does the git repository. Of a commit, the product is
    compiled in a temporary folder; dbt packages are those installed here when its lock is the same.
    `-v` shows the SQL of changed models, where both texts are at hand.

    \b
    Examples:
      floe diff
      floe diff --env dev --env prod
      floe diff --against main
      floe diff --against build/artifacts.json --output json

    Exit codes: 0 nothing differs, 1 something does, 3 one side does not compile, 4 one side
    violates a policy.
    """
    from floe_core.comparison import compare
    from floe_core.errors import CompileError, UsageError

    if len(envs) > 2 or (len(envs) == 2 and (against or platform)):
        raise UsageError(
            "two environments are compared by themselves",
            help="Give `--env` twice, without `--against` and `--platform`.",
        )
    if against == "":
        raise UsageError(
            "`--against` names nothing",
            help="Name artifacts (.floe/artifacts.json), a product's folder, or a commit, "
            "branch or tag.",
        )
    request = compile_request(platform=platform, env=None, vars_=source.pop("vars_"), **source)
    status = out.status("compiling ...")
    try:
        with _sides(out, request, envs, against) as (before, after):
            changes = compare(before, after)
    except CompileError as problem:
        if not out.is_json:
            for title in getattr(problem, "__notes__", ()):
                out.problem(f"In {title}:")
        raise
    finally:
        if status is not None:
            status.stop()
    _print(out, before, after, changes)
    return Exit.FAILED if changes else Exit.OK


def _sides(
    out: Output, request: CompileRequest, envs: tuple[str, ...], against: str | None
) -> AbstractContextManager[tuple[Side, Side]]:
    from floe_core.compiler import sides

    if len(envs) == 2:
        return nullcontext(sides.environments(request, envs))
    if envs:
        request = replace(request, environment=envs[0])
    if against is None:
        return nullcontext(sides.last_compile(request))
    if sides.is_ambiguous(request, against):
        out.note(f"`{against}` is a path and a commit: the path is compared.")
    return sides.against(request, against)


def _print(out: Output, before: Side, after: Side, changes: Sequence[Change]) -> None:
    is_complete = before.indexes is not None and after.indexes is not None
    out.document(
        {
            "ok": True,
            "is_different": bool(changes),
            "is_complete": is_complete,
            "product": after.artifacts.product,
            "before": {"title": before.title, "environment": before.artifacts.environment},
            "after": {"title": after.title, "environment": after.artifacts.environment},
            "changes": [change.to_dict() for change in changes],
        }
    )
    if not is_complete:
        out.note("SQL and configuration of models are not compared: one side has no index.")
    if not changes:
        out.result(f"Nothing differs between {before.title} and {after.title}.")
        return
    lines = [f"{after.artifacts.product}: from {before.title} to {after.title}"]
    lines += _lines(changes, is_verbose=out.is_verbose)
    out.result("\n".join([*lines, "", _summary(changes)]))


def _lines(changes: Sequence[Change], *, is_verbose: bool) -> Iterator[str]:
    group = None
    for same in _alike(changes, most=None if is_verbose else 3):
        if same[0].group != group:
            group = same[0].group
            yield f"\n{group}"
        yield "  " + _line(same)
        if is_verbose:
            yield from (f"      {line}" for line in same[0].diff)


def _alike(changes: Sequence[Change], most: int | None) -> Iterator[list[Change]]:
    """Changes one by one; more than `most` that say the same of several subjects together."""
    together: dict[str, list[Change]] = {}
    for change in changes:
        together.setdefault(_likeness(change), []).append(change)
    for change in changes:
        same = together[_likeness(change)]
        if most is None or len(same) <= most or change.what is None or change.diff:
            yield [change]
        elif change is same[0]:
            yield same


def _likeness(change: Change) -> str:
    return json.dumps([change.kind, change.what, change.before, change.after], default=str)


_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_UNSAID = ("sql", "data", "code")
"""What changes without values that are worth reading: hashes."""


def _line(same: Sequence[Change]) -> str:
    change = same[0]
    subject = change.subject
    if len(same) > 1:
        subject = f"{len(same)} {change.group}"
    what = f": {change.what}" if change.what else ""
    text = f"{style(change.sign, sys.stdout, fg=_COLOURS[change.sign])} {subject}{what}"
    values = _values(change)
    if values:
        text += f" {values}" if change.what else f": {values}"
    if change.kind in {"governance.stricter", "governance.looser"}:
        text += f" ({change.kind.partition('.')[2]})"
    if len(same) > 1:
        more = ", ..." if len(same) > 8 else ""
        return f"{text} ({', '.join(other.subject for other in same[:8])}{more})"
    is_of_file = change.what is None or change.what in _UNSAID
    return f"{text}  {change.file}" if change.file and is_of_file else text


def _values(change: Change) -> str:
    if change.what in _UNSAID:
        return "changed"
    if change.group == "macros":
        return ""
    if change.kind.endswith(".renamed"):
        return f"was {change.before}"
    if change.sign == "~":
        return f"{_value(change.before)} -> {_value(change.after)}"
    value = change.before if change.sign == "-" else change.after
    if isinstance(value, dict):
        return str(value.get("cron") or value.get("classification") or "")
    return "" if value is None else _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        text = " ".join(value.split())
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _summary(changes: Sequence[Change]) -> str:
    counts = [
        (sum(1 for change in changes if change.sign == sign), word)
        for sign, word in (("+", "added"), ("-", "removed"), ("~", "changed"))
    ]
    parts = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"{plural(len(changes), 'difference')}: {parts}"
