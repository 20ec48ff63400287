"""Secrets are hidden in messages, and nothing else is."""

from __future__ import annotations

import json

import pytest

from floe_core.masking import mask_values


@pytest.mark.parametrize(
    ("secrets", "text", "masked"),
    [
        (["me"], 'FATAL: role "me" has no name here', 'FATAL: role "*****" has no name here'),
        (["a"], "a database, password=a;user=a", "***** database, password=*****;user=*****"),
        (["hunter2"], "://bob:hunter2@host hunter21", "://bob:*****@host hunter21"),
        (["correct-horse"], "xcorrect-horsex", "x*****x"),
        (["ab", "ab-cd"], "ab-cd, ab, cab", "*****, *****, cab"),
        (["!b?"], "a!b?c", "a*****c"),
        (["a.c"], "abc a.c", "abc *****"),
        (["it's-a\\b\"é"], repr({"k": "it's-a\\b\"é"}), "{'k': '*****'}"),
        (["it's-a\\b\"é"], json.dumps({"k": "it's-a\\b\"é"}), '{"k": "*****"}'),
        (["", "x"], "an empty secret", "an empty secret"),
        ([], "no secret", "no secret"),
    ],
)
def test_known_values(secrets: list[str], text: str, masked: str) -> None:
    assert mask_values(text, secrets) == masked
