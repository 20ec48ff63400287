"""Secrets are hidden in messages, and nothing else is."""

from __future__ import annotations

import json

import pytest

from floe_core.masking import mask_data, mask_values


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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            "Conversion Error: Could not convert string 'a@b.c' to INT32\n\nLINE 1: select 'a@b.c'",
            "Conversion Error: Could not convert string '*****' to INT32",
        ),
        ('Duplicate key "id: 1" violates it', 'Duplicate key "*****" violates it'),
        ("value 300 is out of range", "value ***** is out of range"),
        ("Overflow in INT32 (99999 * 99999)!", "Overflow in INT32 (*****)!"),
        ('invalid syntax for type integer: "bob"', 'invalid syntax for type integer: "*****"'),
        ('expected "2020-13-01" to be', 'expected "*****" to be'),
        (
            'violates "users_pkey"\nDETAIL:  Key (email)=(bob) already exists.',
            'violates "users_pkey"',
        ),
        ("Key (a, b)=(1, 2) already exists", "Key (a, b)=(*****) already exists"),
        ('Referenced column "amount" not found', 'Referenced column "amount" not found'),
    ],
)
def test_values_of_rows(text: str, masked: str) -> None:
    assert mask_data(text) == masked
