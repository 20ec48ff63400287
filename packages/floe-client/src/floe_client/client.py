"""HTTP with a control plane: one request that always ends, and an API key that never leaks."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
)
from tenacity.wait import wait_exponential, wait_random

from floe_core.errors import ControlPlaneError, FloeError, ServiceUnavailableError, UsageError
from floe_core.schemas.artifacts import CompiledControlPlane
from floe_core.version import __version__

ATTEMPTS = 4
"""How often a request is made before the control plane counts as unreachable."""

DEADLINE_SECONDS = 60.0
"""How long a request may take in all: retries, waits, redirects and the body."""

LONGEST_WAIT_SECONDS = 20.0
"""The longest `Retry-After` that is waited for."""

LARGEST_BODY = 64 * 1024 * 1024
"""How many bytes an answer may have."""

_MOST_REDIRECTS = 5
_NOT_MODIFIED = 304
_SHORTEST_SECRET = 8
_backoff = wait_exponential(multiplier=0.2, max=5) + wait_random(0, 0.2)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of the control plane.

    Attributes:
        body: The artifacts, as bytes.
        etag: What to send as `If-None-Match` next time; None when the server gave none.
    """

    body: bytes
    etag: str | None


class ControlPlaneClient:
    """Asks a control plane.

    Args:
        control_plane: Where it is, and which variable holds the API key.
        deadline: Seconds that one request may take in all; `DEADLINE_SECONDS` when None.
        attempts: How often a request is made.

    Raises:
        ControlPlaneError: if the variable is unset, or its value cannot be a key.
    """

    def __init__(
        self,
        control_plane: CompiledControlPlane,
        *,
        deadline: float | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._control_plane = control_plane
        self._base = _base_url(control_plane.api_url)
        self._deadline = DEADLINE_SECONDS if deadline is None else deadline
        self._attempts = attempts
        self._key = _api_key(control_plane.api_key_env)

    @property
    def host(self) -> str:
        """Host and port of the control plane, for messages."""
        return self._base.netloc.decode()

    @property
    def sends_key_in_clear(self) -> bool:
        """Whether the API key crosses a network without encryption."""
        return self._base.scheme == "http" and not _is_loopback(self._base.host)

    def artifacts_url(self, environment_id: str) -> str:
        """Address of the artifacts of an environment."""
        path = f"{self._base.path.rstrip('/')}/api/v1/environments/{quote(environment_id, safe='')}"
        return str(self._base.copy_with(raw_path=f"{path}/artifacts".encode()))

    def fetch_artifacts(self, environment_id: str, etag: str | None = None) -> Fetched | None:
        """Fetch the artifacts of an environment; None when they are those of `etag`.

        Raises:
            ServiceUnavailableError: if no whole answer came in time.
            ControlPlaneError: if the key is refused, or the answer is of no use.
            UsageError: if there is no such environment.
        """
        headers = {"If-None-Match": etag} if etag else {}
        return asyncio.run(self._within_deadline(self.artifacts_url(environment_id), headers))

    async def _within_deadline(self, url: str, headers: Mapping[str, str]) -> Fetched | None:
        try:
            # Of all of it, since a server may answer byte by byte and never exceed a read timeout.
            async with asyncio.timeout(self._deadline):
                return await self._with_retries(url, headers)
        except TimeoutError:
            raise ServiceUnavailableError(
                f"the control plane at {self.host} did not answer within {self._deadline:g} s"
            ) from None

    async def _with_retries(self, url: str, headers: Mapping[str, str]) -> Fetched | None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(self._attempts) | stop_before_delay(self._deadline),
            wait=_wait,
            reraise=True,
        )
        timeout = httpx.Timeout(self._deadline, connect=min(10.0, self._deadline))
        async with httpx.AsyncClient(timeout=timeout, headers=self._headers()) as client:
            try:
                return await retrying(self._follow, client, url, headers)
            except _Again as problem:
                raise ServiceUnavailableError(problem.message) from None

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._key}",
            "Accept": "application/json",
            "User-Agent": f"floe-client/{__version__}",
        }

    async def _follow(
        self, client: httpx.AsyncClient, url: str, headers: Mapping[str, str]
    ) -> Fetched | None:
        """Make the request, following redirects that stay on the host."""
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                async with client.stream("GET", url, headers=headers) as response:
                    if response.has_redirect_location:
                        url = self._redirected(response)
                        continue
                    return await self._read(response)
            except httpx.ConnectError as problem:
                # Of the address or the certificate; no request has been made yet.
                message = f"the control plane at {self.host} cannot be reached: {problem}"
                raise _Again(message, None) from None
            except httpx.TimeoutException:
                raise ServiceUnavailableError(
                    f"the control plane at {self.host} did not answer in time"
                ) from None
            except httpx.HTTPError:
                raise ServiceUnavailableError(
                    f"the answer of the control plane at {self.host} broke off"
                ) from None
        raise ControlPlaneError(f"the control plane at {self.host} redirects in circles")

    def _redirected(self, response: httpx.Response) -> str:
        """Where a redirect leads; never to another host, for the key would go there too."""
        source = response.url
        target = source.join(response.headers["location"])
        is_same = (target.scheme, target.netloc) == (source.scheme, source.netloc)
        is_upgrade = (source.scheme, target.scheme) == ("http", "https") and (
            target.host == source.host and source.port is None and target.port is None
        )
        if not is_same and not is_upgrade:
            where = f"{target.scheme}://{target.netloc.decode(errors='replace')}"
            raise ControlPlaneError(
                f"the control plane at {self.host} redirects to {where}, "
                "and the API key is not sent there",
                help="If that is where it is now, write it as `control_plane.api_url`.",
            )
        return str(target)

    async def _read(self, response: httpx.Response) -> Fetched | None:
        if response.status_code == _NOT_MODIFIED:
            return None
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        body = await self._body(response)
        if len(self._key) >= _SHORTEST_SECRET and self._key.encode() in body:
            raise ControlPlaneError(
                f"the answer of the control plane at {self.host} holds the API key, "
                "so it is not written anywhere"
            )
        etag = response.headers.get("etag")
        return Fetched(body, etag if etag and etag.isascii() and etag.isprintable() else None)

    def _refusal(self, response: httpx.Response) -> Exception:
        """What a status other than success amounts to; the body is not shown."""
        status = response.status_code
        name = self._control_plane.api_key_env
        if status == httpx.codes.UNAUTHORIZED:
            return ControlPlaneError(
                f"the control plane at {self.host} does not know the API key (401)",
                help=f"The key is in the variable {name}.",
            )
        if status == httpx.codes.FORBIDDEN:
            return ControlPlaneError(
                f"the API key may not read this environment at {self.host} (403)",
                help=f"The key is in the variable {name}.",
            )
        if status == httpx.codes.NOT_FOUND:
            return NoSuchEnvironmentError(self.host)
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return self._overloaded(status, _retry_after(response.headers.get("retry-after")))
        return ControlPlaneError(f"the control plane at {self.host} answers {status}")

    def _overloaded(self, status: int, wait: float | None) -> Exception:
        message = f"the control plane at {self.host} answers {status}"
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return ServiceUnavailableError(f"{message}, and asks to wait {wait:.0f} s")
        return _Again(message, wait)

    async def _body(self, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > LARGEST_BODY:
                raise ControlPlaneError(
                    f"the answer of the control plane at {self.host} is larger than "
                    f"{LARGEST_BODY // 1024**2} MiB, so it is not artifacts"
                )
            chunks.append(chunk)
        return b"".join(chunks)


class NoSuchEnvironmentError(UsageError):
    """The control plane does not know an environment, or has no artifacts of it."""

    def __init__(self, host: str) -> None:
        super().__init__(f"the control plane at {host} has no artifacts of this environment (404)")


class _Again(FloeError):
    """What may be over in a moment.

    Attributes:
        wait: Seconds that the server asks us to wait.
    """

    def __init__(self, message: str, wait: float | None) -> None:
        super().__init__(message)
        self.wait = wait


def _wait(state: RetryCallState) -> float:
    """What the server asks for, else a little longer each time."""
    problem = state.outcome.exception() if state.outcome else None
    if isinstance(problem, _Again) and problem.wait is not None:
        return problem.wait
    return _backoff(state)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds a number or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _base_url(api_url: str) -> httpx.URL:
    try:
        url = httpx.URL(api_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if not url.host or url.userinfo or url.query or url.fragment:
        raise ControlPlaneError(
            "`control_plane.api_url` is not the address of an API",
            help="Write scheme, host and path alone, such as `https://floe.example.com`.",
        )
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _api_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ControlPlaneError(
            f"the variable {variable}, which holds the API key of the control plane, is not set",
            help=f"Set it: `export {variable}=...`; `control_plane.api_key_env` names it.",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ControlPlaneError(
            f"the value of the variable {variable} cannot be an API key",
            help="A key is one line of letters, digits and signs, without spaces.",
        )
    return key
