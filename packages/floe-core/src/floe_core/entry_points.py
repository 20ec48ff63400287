"""Finding plugins among the installed distributions, and loading one of them.

A plugin is loaded when something needs it: a broken one that nothing needs harms nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from floe_core.errors import FloeError, PluginError

_log = logging.getLogger("floe")

State = Literal["ok", "failed", "clash"]

CANNOT_LOAD = "FLOE-G001"
CLASH = "FLOE-G002"


@dataclass(frozen=True, slots=True)
class Registration:
    """An entry point of an installed distribution.

    Attributes:
        group: Group of the entry point, such as `floe.targets`.
        name: Name that it registers.
        distribution: Name of the distribution.
        version: Version of the distribution.
        target: What the entry point names, as `module:class`.
    """

    group: str
    name: str
    distribution: str
    version: str
    target: str

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class PluginState:
    """A registration, and what became of loading it.

    Attributes:
        registration: The registration.
        state: Whether it loads, fails to, or shares its name with another distribution's.
        reason: Why it is not `ok`; None when it is.
    """

    registration: Registration
    state: State
    reason: str | None = None


def registrations(group: str) -> tuple[Registration, ...]:
    """What is registered in a group, by name and distribution; imports none of it."""
    return tuple(registration for registration, _ in _found(group))


def names(group: str) -> list[str]:
    """Names registered in a group, sorted."""
    return sorted({registration.name for registration in registrations(group)})


def load(group: str, name: str, *alternatives: Collection[str]) -> Any | None:
    """Make the plugin that is registered as `name` in `group`; None when there is none.

    Args:
        group: The group.
        name: The name.
        alternatives: Sets of attributes; the plugin has all of at least one set.

    Raises:
        PluginError: if two distributions register the name, or the plugin cannot be imported,
            cannot be made, or lacks a method.
    """
    found = [both for both in _found(group) if both[0].name == name]
    if len(found) > 1:
        raise _clash([registration for registration, _ in found])
    for registration, point in found:
        return _make(registration, point, alternatives)
    return None


@contextmanager
def blamed(group: str, name: str, *, is_shown: bool = True) -> Iterator[None]:
    """Say which plugin is at fault for what it raises in a block, unless it is an error of floe's.

    Args:
        group: Group of the plugin.
        name: Its name.
        is_shown: Whether the text of what it raises is shown; it may hold what is secret.

    Raises:
        PluginError: if the block raises anything else.
    """
    try:
        yield
    except FloeError:
        raise
    except Exception as problem:
        [registration] = [known for known in registrations(group) if known.name == name]
        if is_shown:
            _log.info("plugin %s of %s failed", name, group, exc_info=True)
        reason = _reason(problem) if is_shown else type(problem).__name__
        raise _failure(registration, reason, "failed") from None


def state_of(registration: Registration, *alternatives: Collection[str]) -> PluginState:
    """Load a plugin to see whether it can be; see `load`."""
    try:
        load(registration.group, registration.name, *alternatives)
    except PluginError as problem:
        state: State = "clash" if problem.code == CLASH else "failed"
        return PluginState(registration, state, problem.reason)
    return PluginState(registration, "ok")


def _found(group: str) -> list[tuple[Registration, EntryPoint]]:
    found = [(_registration(point), point) for point in entry_points(group=group)]
    return sorted(found, key=lambda both: (both[0].name, both[0].distribution))


def _registration(point: EntryPoint) -> Registration:
    distribution = point.dist
    return Registration(
        point.group,
        point.name,
        distribution.name if distribution else "unknown",
        distribution.version if distribution else "",
        point.value,
    )


def _make(
    registration: Registration, point: EntryPoint, alternatives: tuple[Collection[str], ...]
) -> Any:
    try:
        plugin = point.load()()
    except (Exception, SystemExit) as problem:  # a foreign module may raise anything
        raise _failure(registration, _reason(problem)) from problem
    missing = [
        sorted(name for name in names if not hasattr(plugin, name)) for names in alternatives
    ]
    if missing and all(missing):
        fewest = min(missing, key=len)
        listed = ", ".join(f"`{name}`" for name in fewest)
        raise _failure(registration, f"it has no {listed}")
    return plugin


def _reason(problem: BaseException) -> str:
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text}".removesuffix(": ")


def _failure(
    registration: Registration, reason: str, verb: str = "cannot be loaded"
) -> PluginError:
    return PluginError(
        CANNOT_LOAD,
        f"the plugin `{registration.name}` of `{registration.group}` {verb}: {reason} "
        f"(`{registration.target}` of {registration.origin})",
        reason,
        help=f"repair or remove {registration.distribution}; `floe plugins` shows all plugins",
    )


def _clash(rivals: list[Registration]) -> PluginError:
    first = rivals[0]
    listed = " and ".join(f"{rival.origin} (`{rival.target}`)" for rival in rivals)
    removable = " or ".join(rival.distribution for rival in rivals)
    return PluginError(
        CLASH,
        f"`{first.name}` of `{first.group}` is registered by {listed}",
        f"registered by {' and '.join(rival.origin for rival in rivals)}",
        help=f"uninstall {removable}",
    )
