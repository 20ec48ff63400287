"""The register of diagnostic codes holds what the code uses, and cases show each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from floe_core.codes import CODES

REPOSITORY = Path(__file__).parents[2]
CODE = re.compile(r"FLOE-[A-Z]\d{3}")
REGISTER = REPOSITORY / "packages/floe-core/src/floe_core/codes.py"
CASES = REPOSITORY / "packages/floe-cli/tests/cases"


def used() -> set[str]:
    sources = REPOSITORY.glob("packages/*/src/**/*.py")
    return {code for path in sources if path != REGISTER for code in CODE.findall(path.read_text())}


def test_every_code_that_is_used_is_registered() -> None:
    assert used() - set(CODES) == set()


def test_every_registered_code_is_used() -> None:
    assert set(CODES) - used() == set()


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_planted_mistake_shows_the_code(code: str) -> None:
    texts = (path.read_text() for path in CASES.glob("*/expected.txt"))
    assert any(code in text for text in texts)
