"""The platform as a compile sees it: one canonical document, whatever the file looks like."""

from __future__ import annotations

from typing import Any

import yaml

from floe_core.compiler.resolve import Resolved
from floe_core.diagnostics import display_path


def platform_document(resolved: Resolved) -> dict[str, Any]:
    """The platform in its canonical form, with defaults, built-in sections and moved paths.

    Secrets are references, as they are in the file. Sections without content are left out.
    """
    chosen = {
        "environment": resolved.environment,
        "environment_category": resolved.category,
    }
    document = resolved.platform.model_copy(update=chosen).model_dump(
        mode="json", exclude_none=True
    )
    return {key: value for key, value in document.items() if value != {}}


def platform_yaml(resolved: Resolved, *, with_searched: bool) -> str:
    """The same as YAML, below a comment that says where it is from.

    Args:
        resolved: The product in its environment.
        with_searched: Name the places that were looked at before.
    """
    choice = resolved.loaded.choice
    place = display_path(choice.path) if choice.path else "built-in platform"
    lines = [f"{place}: {choice.reason}"]
    if choice.path and resolved.built_in:
        lines.append(f"built in: {', '.join(sorted(resolved.built_in))}")
    if resolved.moved:
        lines.append("paths of files are relative to floe.yaml")
    if with_searched:
        before = [path for path in choice.searched if path != choice.path]
        lines += [f"not there: {display_path(path)}" for path in before]
    text = yaml.safe_dump(platform_document(resolved), sort_keys=False, allow_unicode=True)
    return "".join(f"# {line}\n" for line in lines) + text
