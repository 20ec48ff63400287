"""Delivering events beside the run: never in its way, never an error of it.

One daemon thread sends; a run hands events over and goes on. What a transport does not take in
time is kept in a file, which the next run sends first. An event may arrive twice, which
OpenLineage allows: a server that took it may have been too slow to say so.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from filelock import Timeout

from floe_core.errors import ArtifactsError, FloeError
from floe_dagster.lineage.settings import LineageSettings
from floe_dagster.lineage.spool import Spool

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from openlineage.client.transport.transport import Transport
    from requests import Session

_log = logging.getLogger("floe")

LIMIT_EVENTS = 10_000
"""Most events that wait in memory; the oldest give way."""

_AGAIN_SECONDS = 10.0
"""A server that failed longer ago than this is asked once more when the run ends."""

_RETRY = {
    "total": 2,
    "connect": 2,
    "read": False,
    "backoff_factor": 0.2,
    "status_forcelist": [500, 502, 503, 504],
    "allowed_methods": ["POST"],
    "respect_retry_after_header": False,
}
_KEPT = frozenset({"http", "kafka", "file"})
"""Transports that can fail, and to which kept events are worth sending."""

_ABOUT_THE_EVENT = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 431})
"""HTTP statuses that say that this one event is not wanted; others are about the server."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the events.

    Attributes:
        delivered: Events of this run that were taken.
        resent: Events of earlier runs that were taken.
        kept: Events of this run that wait in the file for the next.
        dropped: Events that are lost: no room, or refused.
        destination: Where they should have gone.
        problem: Why some were not taken, in words; None when all were.
    """

    delivered: int = 0
    resent: int = 0
    kept: int = 0
    dropped: int = 0
    destination: str = ""
    problem: str | None = None

    def warning(self) -> str | None:
        """One sentence about what was not delivered; None when all was."""
        if not self.kept and not self.dropped:
            return None
        reason = f" ({self.problem})" if self.problem else ""
        parts = [f"{self.kept} kept for the next run"] if self.kept else []
        parts += [f"{self.dropped} dropped"] if self.dropped else []
        return f"Lineage was not delivered to {self.destination}{reason}: {', '.join(parts)}."


class Delivery:
    """Sends events through a transport, in order, until it is closed.

    Args:
        transport: OpenLineage's transport.
        settings: Where events go.
        spool: Keeps what is not delivered; it is dropped when None.
    """

    def __init__(
        self, transport: Transport, settings: LineageSettings, spool: Spool | None
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._spool = spool
        self._news = threading.Condition()
        self._waiting: deque[RunEvent] = deque()
        self._in_flight: RunEvent | None = None
        self._backlog: list[bytes] = []
        self._resent: list[bytes] = []
        self._refused: list[bytes] = []
        self._delivered = self._kept = self._dropped = 0
        self._problem: str | None = None
        self._failed_at: float | None = None
        self._closes_at: float | None = None
        self._own_from: float | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None

    def send(self, events: Iterable[RunEvent]) -> None:
        """Take events to send; returns at once."""
        with self._news:
            if self._is_over or self._closes_at is not None:
                return
            self._waiting.extend(events)
            while len(self._waiting) > LIMIT_EVENTS:
                self._waiting.popleft()
                self._dropped += 1
            if self._thread is None:
                self._begin()
            self._news.notify_all()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._work, name="floe-lineage", daemon=True)
        try:
            thread.start()
        except RuntimeError as problem:  # no more threads, or the interpreter ends
            self._problem = _words(problem)
        else:
            self._thread = thread

    def close(self, seconds: float | None = None) -> Counts:
        """Send what waits, and keep what could not be sent.

        Args:
            seconds: Most that this may take; the settings say when None.
        """
        seconds = self._settings.deadline_seconds if seconds is None else max(seconds, 0.0)
        now = time.monotonic()
        with self._news:
            if self._is_over:
                return self._counts()
            self._own_from, self._closes_at = now + seconds / 2, now + seconds
            self._news.notify_all()
        try:
            if self._thread is not None:
                self._thread.join(seconds)
        finally:  # an impatient second Ctrl-C loses nothing
            with self._news:
                self._is_over = True
                flying = [] if self._in_flight is None else [self._in_flight]
                left = [*flying, *self._waiting]
                self._waiting.clear()
            self._kept = self._keep(left)
        return self._counts()

    def _counts(self) -> Counts:
        is_late = bool(self._kept or self._dropped)
        return Counts(
            delivered=self._delivered,
            resent=len(self._resent),
            kept=self._kept,
            dropped=self._dropped,
            destination=self._settings.destination,
            problem=self._problem or ("it did not answer in time" if is_late else None),
        )

    def _keep(self, left: list[RunEvent]) -> int:
        """Keep events for the next run; how many were."""
        if self._spool is None:
            self._dropped += len(left)
            return 0
        lines = [_line(event) for event in left]
        try:
            lost = self._spool.settle([*self._resent, *self._refused], lines)
        except (FloeError, OSError, Timeout) as problem:
            _log.debug("lineage events cannot be kept: %s", problem)
            lost = len(left)
        self._dropped += lost
        return max(len(left) - lost, 0)

    def _work(self) -> None:
        try:
            if self._spool is not None:
                self._backlog = self._spool.claim()
            self._send_backlog()
            while (event := self._next()) is not None:
                outcome = self._attempt(event)
                with self._news:
                    if self._is_over:  # it has been kept meanwhile
                        return
                    self._in_flight = None
                    if outcome is None:
                        self._waiting.appendleft(event)
                    elif outcome:
                        self._delivered += 1
                    else:
                        self._dropped += 1
            self._send_backlog()
        except Exception as problem:
            self._problem = _words(problem)
            _log.debug("lineage events are not sent any more", exc_info=True)
        finally:
            self._close_transport()

    def _next(self) -> RunEvent | None:
        """The next event of this run, once there is one; None when nothing more can be sent."""
        with self._news:
            while not self._is_over:
                is_closing = self._closes_at is not None
                if is_closing and not self._may_try():
                    return None
                if self._waiting and self._failed_at is None:
                    self._in_flight = self._waiting.popleft()
                    return self._in_flight
                if is_closing and not self._waiting:
                    return None
                self._news.wait()
            return None

    def _may_try(self) -> bool:
        """Whether the server works, or failed so long ago that it is asked once more."""
        if self._failed_at is None:
            return True
        if time.monotonic() - self._failed_at < _AGAIN_SECONDS:
            return False
        self._failed_at = None
        return True

    def _send_backlog(self) -> None:
        """Send what earlier runs left, as long as that takes nothing from this one's events."""
        while self._backlog and self._failed_at is None and not self._has_ended():
            is_late = self._own_from is not None and time.monotonic() > self._own_from
            if is_late and self._waiting:
                return
            line = self._backlog[0]
            outcome = self._attempt(orjson.loads(line))
            if self._has_ended() or outcome is None:
                return
            del self._backlog[0]
            (self._resent if outcome else self._refused).append(line)

    def _has_ended(self) -> bool:
        return self._is_over

    def _attempt(self, event: RunEvent | dict[str, Any]) -> bool | None:
        """Send an event: True when it was taken, False when it is refused, None when to stop."""
        try:
            self._transport.emit(event)  # type: ignore[arg-type]
            self._flush()
        except Exception as problem:
            status = getattr(getattr(problem, "response", None), "status_code", None)
            self._problem = _words(problem)
            _log.debug("a lineage event was not taken: %s", self._problem)
            if status in _ABOUT_THE_EVENT:
                return False
            self._failed_at = time.monotonic()
            return None
        return True

    def _flush(self) -> None:
        """Wait for Kafka, which takes events into a buffer of its own."""
        wait = getattr(self._transport, "wait_for_completion", None)
        if wait is not None and not wait(timeout=self._settings.deadline_seconds):
            raise TimeoutError

    def _close_transport(self) -> None:
        try:
            self._transport.close(0)
        except Exception:
            _log.debug("the lineage transport does not close", exc_info=True)


def open_delivery(settings: LineageSettings) -> Delivery:
    """Make what delivers events; nothing is sent or connected to before the first event.

    Raises:
        ArtifactsError: if the settings lack something, or the transport cannot be had here.
    """
    spool = None
    if settings.spool is not None and settings.transport in _KEPT:
        spool = Spool(settings.spool)
    return Delivery(_transport(settings), settings, spool)


def _transport(settings: LineageSettings) -> Transport:
    match settings.transport:
        case "http":
            return _http(settings)
        case "file":
            return _file(settings)
        case "kafka":
            return _kafka(settings)
        case "console":
            return _console()
        case _:
            from openlineage.client.transport.noop import NoopConfig, NoopTransport

            return NoopTransport(NoopConfig())


def _http(settings: LineageSettings) -> Transport:
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpSslContextConfig,
        HttpTransport,
        TokenProvider,
    )

    key = settings.api_key
    try:
        url = settings.url
        if url is None:
            raise _lacks("endpoint", "http", "such as `endpoint: http://marquez:5000`")
        parts = urlsplit(url)
        return HttpTransport(
            HttpConfig(
                url=f"{parts.scheme}://{parts.netloc}",
                endpoint=f"{parts.path}?{parts.query}" if parts.query else parts.path,
                timeout=max(settings.deadline_seconds, 0.1),
                ssl_context=HttpSslContextConfig(ca_cert_path=_authorities()),
                session=_session(url),
                auth=ApiKeyTokenProvider({"apiKey": key}) if key else TokenProvider({}),
                retry=dict(_RETRY),
            )
        )
    except ValueError:
        raise ArtifactsError(
            "`observability.lineage.endpoint` is not a URL",
            help="Write it like `http://marquez:5000`.",
        ) from None


def _session(url: str) -> Session:
    """A session that looks at the environment once; requests does so at each event.

    ~/.netrc, which would take the place of the key, is not read.
    """
    from requests import Session
    from requests.utils import get_environ_proxies

    session = Session()
    session.trust_env = False
    session.proxies.update(get_environ_proxies(url))
    return session


def _authorities() -> str | None:
    """The file of certificate authorities that requests would take from the environment."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


def _file(settings: LineageSettings) -> Transport:
    from openlineage.client.transport.file import FileConfig, FileTransport

    if settings.path is None:
        raise _lacks("path", "file", "such as `path: lineage.jsonl`")
    return FileTransport(FileConfig(log_file_path=str(settings.path), append=True))


def _kafka(settings: LineageSettings) -> Transport:
    from openlineage.client.transport import kafka

    if settings.topic is None:
        raise _lacks("topic", "kafka", "such as `topic: lineage`")
    logger = logging.getLogger(kafka.__name__)
    was_disabled, logger.disabled = logger.disabled, True  # it logs a traceback before it raises
    try:
        return kafka.KafkaTransport(
            kafka.KafkaConfig(
                config=dict(settings.properties),
                topic=settings.topic,
                messageKey=f"run:{settings.namespace}" if settings.namespace else None,
                flush=False,
            )
        )
    except ModuleNotFoundError:
        raise ArtifactsError(
            "lineage cannot be sent to Kafka: confluent-kafka is not installed",
            help="Install it: `pip install confluent-kafka`.",
        ) from None
    finally:
        logger.disabled = was_disabled


def _console() -> Transport:
    from openlineage.client.transport.transport import Transport

    class Console(Transport):
        kind = "console"

        def emit(self, event: Any) -> None:
            print(_line(event).decode(), file=sys.stderr, flush=True)

    return Console()


def _lacks(field: str, transport: str, example: str) -> ArtifactsError:
    return ArtifactsError(
        f"`observability.lineage` has no `{field}`, which transport `{transport}` needs",
        help=f"Add it in platform.yaml, {example}.",
    )


def _line(event: Any) -> bytes:
    from openlineage.client.serde import Serde

    return Serde.to_json(event).encode()


def _words(problem: Exception) -> str:
    """Why an event was not taken: never what a library says, which may hold addresses and keys."""
    status = getattr(getattr(problem, "response", None), "status_code", None)
    if status is not None:
        return f"it answered {status}"
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    if kinds & {"ReadTimeout", "TimeoutError"}:
        return "it did not answer in time"
    if "RetryError" in kinds:
        return "it failed again and again"
    if kinds & {"ConnectionError", "ConnectTimeout"}:
        return "it cannot be reached"
    return type(problem).__name__
