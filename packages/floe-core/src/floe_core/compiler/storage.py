"""What a storage cannot work with, at its place in platform.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from floe_core.compiler.findings import from_finding
from floe_core.compiler.load import Loaded
from floe_core.diagnostics import Report
from floe_core.plugins import Finding
from floe_core.schemas.platform import S3Storage
from floe_core.schemas.secret import OAuth2Credentials
from floe_core.urls import host_of, is_address, is_unencrypted


def check_storage(loaded: Loaded, report: Report) -> None:
    """Check each storage of platform.yaml."""
    source, platform = loaded.platform_source, loaded.platform
    if source is None or platform is None:
        return
    for name, storage in platform.storage.items():
        if isinstance(storage, S3Storage):
            for finding in _findings(storage):
                report.add(from_finding(source, ("storage", name), finding))


def _findings(storage: S3Storage) -> Iterator[Finding]:
    endpoint = storage.endpoint
    if endpoint is not None and not endpoint.lower().startswith(("http://", "https://")):
        message, help = "is not a URL", f"write `https://{endpoint}`"
        yield Finding("FLOE-G004", ("endpoint",), message, help)
    elif endpoint is not None and is_unencrypted(endpoint):
        message = "is not encrypted: whoever listens on the way reads the data"
        yield Finding("FLOE-G005", ("endpoint",), message, "use `https://`", is_warning=True)
    if endpoint is None and storage.path_style:
        message = "means nothing without `endpoint`: AWS itself is addressed by host name"
        help = "remove it, or add `endpoint:`"
        yield Finding("FLOE-G004", ("path_style",), message, help, on_key=True)
    if endpoint is not None and not storage.path_style and is_address(host_of(endpoint) or ""):
        message = "is an address, so the bucket cannot stand in the host name"
        yield Finding("FLOE-G004", ("endpoint",), message, "add `path_style: true`")
    if isinstance(storage.credentials, OAuth2Credentials):
        message = "S3 cannot be signed in to with `oauth2`"
        help = "use `static`, `iam_role`, `service_account` or `vended_credentials`"
        yield Finding("FLOE-G004", ("credentials", "mode"), message, help)
