"""The errors that floe raises, as one tree.

::

    FloeError                     exit code 1
      CompileError                3  files are wrong; carries diagnostics
        PolicyViolationError      4  a policy is violated; carries diagnostics
      ArtifactsError              3  artifacts are missing, unreadable or of another version
      UsageError                  2  the command cannot be given like this
      ControlPlaneError           3  a control plane is not set up, or refuses to answer
      ServiceUnavailableError     5  a database or server cannot be reached
      SecretNotFoundError         3  a secret is in none of the places that were asked
      SecretUnreadableError       3  a secret is there, and cannot be read
      SecretBackendError          3  a secret backend is not set up, or refuses to answer
      PluginError                 3  an installed plugin cannot be used
      QueryError                  1  a query is wrong or would write
      UnwritableError             1  a folder cannot be written to
      TransformError              1  a transform that is not dbt's failed
      ProjectLockedError          1  another run holds the project

Constructors store data; the command line prints it and picks the exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from floe_core.diagnostics import Diagnostic


class FloeError(Exception):
    """Base of all errors that floe raises on purpose.

    Attributes:
        message: What happened, as one sentence.
        help: What to do about it; None when there is nothing to say.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class CompileError(FloeError):
    """The files cannot be compiled; `diagnostics` says why, all of it."""

    exit_code = 3

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        count = sum(1 for diagnostic in diagnostics if diagnostic.is_error)
        super().__init__(f"{count} error{'s' if count != 1 else ''}")
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        return "\n".join([self.message, *(d.render() for d in self.diagnostics)])


class PolicyViolationError(CompileError):
    """The files are valid, but a policy forbids what they say."""

    exit_code = 4


class ArtifactsError(FloeError):
    """Artifacts are missing, cannot be read, or have a version that this floe does not know."""

    exit_code = 3


class UsageError(FloeError):
    """The options of a command contradict each other or the state of the project."""

    exit_code = 2


class ControlPlaneError(FloeError):
    """No control plane is set up, or it refuses what is asked of it."""

    exit_code = 3


class ServiceUnavailableError(FloeError):
    """A database or a server does not answer."""

    exit_code = 5


class SecretNotFoundError(FloeError):
    """A secret is in none of the places that were asked; the message names them all."""

    exit_code = 3


class SecretUnreadableError(FloeError):
    """A secret is where a backend looked, and cannot be read; the message holds no value."""

    exit_code = 3


class SecretBackendError(FloeError):
    """A secret backend is not set up here, or refuses to show a secret."""

    exit_code = 3


class PluginError(FloeError):
    """An installed plugin cannot be used.

    Attributes:
        code: Code of the diagnostic that says so at compile.
        reason: What is wrong, without the names of plugin and distribution.
    """

    exit_code = 3

    def __init__(self, code: str, message: str, reason: str, help: str | None = None) -> None:
        super().__init__(message, help)
        self.code = code
        self.reason = reason


class QueryError(FloeError):
    """A query is wrong, or would change data."""


class UnwritableError(FloeError):
    """A folder cannot be written to: it is read-only, the disk is full, a file is in its place."""


class TransformError(FloeError):
    """A transform that is not dbt's failed; the file and line are the user's.

    Attributes:
        path: File that the error is in, relative to the project root when it is below it.
        line: Line of that file, from 1.
        traceback: The user's frames, as Python shows them.
    """

    def __init__(
        self,
        message: str,
        path: str | None = None,
        line: int | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.traceback = traceback


class ProjectLockedError(FloeError):
    """Another process runs this project in this environment."""
