"""Where lineage events go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

from floe_core.environment_variables import (
    OPENLINEAGE_API_KEY,
    OPENLINEAGE_ENDPOINT,
    OPENLINEAGE_URL,
)

_PATH = "/api/v1/lineage"


@dataclass(frozen=True, slots=True)
class LineageSettings:
    """Where lineage events go, and how long a run may wait for that.

    Attributes:
        transport: How they are sent.
        endpoint: URL of the server, of `http`.
        api_key: Key of the server, of `http`.
        namespace: Namespace of the product's jobs.
        path: File that is appended to, of `file`.
        topic: Topic, of `kafka`.
        properties: librdkafka's properties, of `kafka`.
        deadline_seconds: Most that delivery may delay the end of a run.
        spool: File that keeps events that were not delivered; none are kept when None.
    """

    transport: Literal["http", "console", "file", "noop", "kafka"] = "http"
    endpoint: str | None = None
    api_key: str | None = field(default=None, repr=False)
    namespace: str | None = None
    path: Path | None = None
    topic: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    deadline_seconds: float = 5.0
    spool: Path | None = None

    @property
    def url(self) -> str | None:
        """The endpoint with a path: `/api/v1/lineage` when it has none."""
        if self.endpoint is None:
            return None
        has_path = urlsplit(self.endpoint).path.strip("/")
        return self.endpoint if has_path else self.endpoint.rstrip("/") + _PATH

    @property
    def destination(self) -> str:
        """Where events go, in words, without any secret."""
        if self.transport == "http" and self.endpoint:
            parts = urlsplit(self.endpoint)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if self.transport == "file":
            return str(self.path)
        return f"topic {self.topic}" if self.transport == "kafka" else self.transport


def completed(settings: LineageSettings, environ: Mapping[str, str]) -> LineageSettings:
    """Fill what the settings leave open from OpenLineage's environment variables.

    A key of the environment is for the server of the environment: it is not sent to an endpoint
    that the settings name, unless there is no `OPENLINEAGE_URL` at all.
    """
    found = settings
    if settings.transport != "http":
        return found
    url = environ.get(OPENLINEAGE_URL)
    if settings.endpoint is None and url:
        path = environ.get(OPENLINEAGE_ENDPOINT, _PATH.lstrip("/"))
        found = replace(found, endpoint=urljoin(url.rstrip("/") + "/", path))
    if settings.api_key is None and (settings.endpoint is None or not url):
        found = replace(found, api_key=environ.get(OPENLINEAGE_API_KEY) or None)
    return found
