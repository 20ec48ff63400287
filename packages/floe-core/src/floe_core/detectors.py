"""Telling tokens and private keys from ordinary text, with detect-secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

USER_INFO = re.compile(r"://[^/\s:@]{0,200}:[^/\s]{0,500}@")
"""The user name and password of a URL."""

_WORD = re.compile(r"[\w+/=-]{16,}", re.ASCII)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
_LONGEST_LINE = 4096

_DETECTORS = (
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)


def kinds(texts: Iterable[str]) -> dict[str, str]:
    """The kind of secret that each text looks like; texts that look like none are left out."""
    suspicious = sorted({text for text in texts if _is_suspicious(text)})
    if not suspicious:
        return {}
    from detect_secrets.settings import transient_settings

    found: dict[str, str] = {}
    plain: list[dict[str, Any]] = [{"name": name} for name in _DETECTORS]
    with transient_settings({"plugins_used": plain}):
        for text in suspicious:
            _note(found, text, _lines(text))
    with transient_settings({"plugins_used": [{"name": "Base64HighEntropyString", "limit": 4.5}]}):
        for text in suspicious:
            _note(found, text, filter(_LONG_TOKEN.fullmatch, text.split()))
    return found


def _note(found: dict[str, str], text: str, parts: Iterable[str]) -> None:
    """Remember the kind of the first secret in the parts of a text."""
    from detect_secrets.core.scan import scan_line

    for part in parts:
        for secret in scan_line(f'"{part}"'):
            found.setdefault(text, str(secret.type))
            return


def _is_suspicious(text: str) -> bool:
    """Whether the detectors are worth loading for this text."""
    if USER_INFO.search(text) or "PRIVATE KEY" in text:
        return True
    words = _WORD.findall(text)
    return any(re.search("[0-9]", word) and re.search("[A-Za-z]", word) for word in words)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, long ones in pieces: the detectors are slow on long lines."""
    for line in text.splitlines():
        for start in range(0, len(line), _LONGEST_LINE):
            yield line[start : start + _LONGEST_LINE]
