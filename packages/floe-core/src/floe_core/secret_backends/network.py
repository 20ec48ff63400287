"""What all backends have in common that are asked over a network."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar, TypeAlias

from floe_core.errors import FloeError, SecretBackendError, SecretUnreadableError
from floe_core.schemas.secret import SecretRef
from floe_core.secrets import entry_of, read_json

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
ATTEMPTS = 3
"""How often an answer is asked for that does not come, or that says to come again."""

Content: TypeAlias = Mapping[str, object] | str | bytes
"""What a secret holds: several keys, or one text."""

_TALKATIVE = ("botocore", "httpcore", "httpx", "hvac", "urllib3")
"""Loggers of the libraries; at level DEBUG botocore logs whole answers."""


class NetworkBackend(ABC):
    """A place for secrets that is asked over a network.

    A secret is asked for once, and all of its keys are read together.

    Attributes:
        name: Name of the backend, and of the extra of floe-core that brings its library.
        library: The module that it needs.
    """

    name: ClassVar[str]
    library: ClassVar[str]

    def __init__(self) -> None:
        self._answers: dict[str, Content | FloeError | None] = {}

    @abstractmethod
    def place(self, name: str) -> str:
        """Name the place of a secret.

        Raises:
            SecretBackendError: if a setting is missing.
        """

    @abstractmethod
    def read(self, name: str) -> Content | None:
        """Read a secret; None when it is not there.

        Raises:
            SecretUnreadableError: if it is there and cannot be read.
            SecretBackendError: if a setting is missing, or the backend refuses to answer.
            ServiceUnavailableError: if the backend does not answer.
        """

    def places(self, ref: SecretRef) -> Sequence[str]:
        """The place of the secret."""
        if find_spec(self.library) is None:
            raise SecretBackendError(
                f"the secret backend `{self.name}` needs {self.library}, which is not installed",
                help=f"Run `pip install 'floe-core[{self.name}]'`.",
            )
        place = self.place(ref.name)
        return [f"`{ref.entry}` of {place}" if ref.entry else place]

    def find(self, ref: SecretRef) -> str | None:
        """The value of a key, or the whole secret: its text, or all of its keys as JSON."""
        self.places(ref)
        content, place = self._content(ref.name), self.place(ref.name)
        if content is None:
            return None
        if ref.entry is None:
            return _whole(content, place)
        if not isinstance(content, Mapping):
            document = read_json(_text(content, place))
            if not isinstance(document, dict):
                raise SecretUnreadableError(
                    f"{place} is no JSON object, so it has no key `{ref.entry}`",
                    help="Refer to it without a key, or store a JSON object there.",
                )
            content = document
        return entry_of(content, ref.entry, place)

    def _content(self, name: str) -> Content | None:
        if name not in self._answers:
            try:
                with _hushed():
                    self._answers[name] = self.read(name)
            except FloeError as problem:
                self._answers[name] = problem
        answer = self._answers[name]
        if isinstance(answer, FloeError):
            raise answer
        return answer


def text_or_bytes(content: bytes) -> str | bytes:
    """Text where it is UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _whole(content: Content, place: str) -> str | None:
    if isinstance(content, Mapping):
        return json.dumps({k: v for k, v in content.items() if not isinstance(v, bytes)})
    return _text(content, place) or None


def _text(content: str | bytes, place: str) -> str:
    if isinstance(content, bytes):
        raise SecretUnreadableError(f"{place} is not UTF-8")
    return content


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the libraries from logging what they send and receive, whatever level is set."""
    known = [
        name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _TALKATIVE
    ]
    loggers = [logging.getLogger(name) for name in {*_TALKATIVE, *known}]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
