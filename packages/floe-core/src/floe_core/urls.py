"""What a URL tells without being opened."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def host_of(url: str) -> str | None:
    """The host that a URL names, in lower case; None where it names none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_url(text: str) -> bool:
    """Whether a text is the URL of a server: `http://` or `https://`, a host, perhaps a path."""
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or re.search(r"\s", text))
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port and is_plain


def is_unencrypted(url: str) -> bool:
    """Whether what is sent to a URL can be read on the way: `http`, and not to this machine."""
    return url.lower().startswith("http://") and not _is_this_machine(host_of(url) or "")


def is_address(host: str) -> bool:
    """Whether a host is an IP address, which has no names below it."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_this_machine(host: str) -> bool:
    if is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
