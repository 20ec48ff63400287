"""Python, floe's packages, what they need, and plugins."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from floe_cli.doctor.check import Check, Section
from floe_cli.output import plural
from floe_core.version import __version__

_AUTHOR = "The floe authors"
_NAMED = ("dagster", "dbt-core", "dbt-duckdb", "duckdb", "pyiceberg")
"""What is shown with its version; the rest is counted."""


def installation() -> Section:
    """All checks of what is installed."""
    return Section("Installation", (python(), *packages(), *requirements(), *plugins(), git()))


def python() -> Check:
    """The interpreter is one that floe supports."""
    version = platform.python_version()
    supported = distribution("floe-cli").metadata["Requires-Python"] or ""
    if SpecifierSet(supported).contains(version, prereleases=True):
        return Check("ok", f"Python {version}")
    return Check(
        "problem",
        f"Python {version}; floe needs {supported}",
        "make the environment anew with another Python, such as `python3.12 -m venv .venv`",
    )


def packages() -> Iterator[Check]:
    """Floe's packages are its own, and all of one version."""
    ours = []
    for name, found in sorted(_siblings("floe-cli").items()):
        # With --no-index: the public index has packages of other people under some of the names.
        mend = (
            "pip install --no-index --no-deps --force-reinstall --find-links dist "
            f"{name}=={__version__}   (`make wheels` in floe's repository writes dist)"
        )
        if found is None:
            yield Check("problem", f"{name} is not installed", mend)
        elif found.metadata["Author"] != _AUTHOR:
            message = f"{name} {found.version} is another project's package of the same name"
            yield Check("problem", message, mend)
        elif found.version != __version__:
            yield Check("problem", f"{name} is {found.version}, but floe is {__version__}", mend)
        else:
            ours.append(name)
    if ours:
        yield Check("ok", f"floe {__version__}: {', '.join(ours)}")


def requirements() -> Iterator[Check]:
    """What floe's packages need is there, in a version that they work with."""
    versions: dict[str, str] = {}
    for name, specifier in _requirements():
        found = _distribution(name)
        pip = f"pip install {shlex.quote(f'{name}{specifier}')}"
        if found is None:
            yield Check("problem", f"{name} is not installed", pip)
        elif not specifier.contains(found.version, prereleases=True):
            message = f"{name} is {found.version}; floe needs {specifier}"
            yield Check("problem", message, pip)
        else:
            versions[name] = found.version
    for name in _NAMED:
        if name in versions:
            yield Check("ok", f"{name} {versions.pop(name)}")
    details = tuple(f"{name} {version}" for name, version in sorted(versions.items()))
    yield Check("ok", f"{len(versions)} other packages that floe needs", details=details)


def plugins() -> Iterator[Check]:
    """Plugins, floe's own and those of others, can be used."""
    from floe_core.plugins import INTERFACES, states

    found = [state for group in INTERFACES for state in states(group)]
    for state in found:
        if state.state == "ok":
            continue
        registration = state.registration
        yield Check(
            "problem",
            f"plugin `{registration.name}` of `{registration.group}` cannot be used: "
            f"{state.reason}",
            f"pip uninstall {registration.distribution}, or install another version of it",
        )
    usable = sum(state.state == "ok" for state in found)
    yield Check("ok", f"{plural(usable, 'plugin')} can be used")


def git() -> Check:
    """Git is there, for dbt packages that come from repositories."""
    if shutil.which("git"):
        return Check("ok", "git")
    message = "git is not on PATH; `floe deps` needs it for dbt packages from a repository"
    return Check("warning", message, "install git")


def _siblings(name: str) -> dict[str, Distribution | None]:
    """Floe's packages, from one to those that it needs; None for one that is missing."""
    found: dict[str, Distribution | None] = {}
    names = [name]
    while names:
        current = names.pop()
        found[current] = package = _distribution(current)
        for requirement in (package.requires if package else None) or ():
            sibling = Requirement(requirement).name
            if _is_sibling(sibling) and sibling not in found:
                names.append(sibling)
    return found


def _is_sibling(name: str) -> bool:
    return name.startswith("floe-") or name == "dbt-duckdb-iceberg"


def _requirements() -> Iterator[tuple[str, SpecifierSet]]:
    """What floe's packages need of others, here and without extras, with all that they ask."""
    found: dict[str, SpecifierSet] = {}
    for sibling in _siblings("floe-cli").values():
        for requirement in map(Requirement, (sibling.requires if sibling else None) or ()):
            is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_wanted and not _is_sibling(requirement.name):
                known = found.get(requirement.name, SpecifierSet())
                found[requirement.name] = known & requirement.specifier
    yield from found.items()


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
