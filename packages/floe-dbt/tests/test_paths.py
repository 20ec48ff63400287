from __future__ import annotations

import pytest

from floe_dbt import paths


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("models/a.sql", "models/a.sql", True),
        ("./models/a.sql", "models/a.sql", True),
        ("models", "models/deep/a.sql", True),
        ("models/", "models/a.sql", True),
        (".", "models/a.sql", True),
        ("models/*.sql", "models/a.sql", True),
        ("models/*.sql", "models/deep/a.sql", False),
        ("models/**/*.sql", "models/a.sql", True),
        ("models/**/*.sql", "models/deep/deeper/a.sql", True),
        ("models/**", "models/deep/a.sql", True),
        ("models/*", "models/deep/a.sql", True),
        ("models/stg_?.sql", "models/stg_a.sql", True),
        ("models/stg_?.sql", "models/stg_ab.sql", False),
        ("models/[ab].sql", "models/a.sql", True),
        ("models/[!ab].sql", "models/a.sql", False),
        ("models/[a-c].sql", "models/b.sql", True),
        ("models/a.sql", "models/abcsql", False),
        ("mod", "models/a.sql", False),
    ],
)
def test_matches(pattern: str, path: str, is_match: bool) -> None:
    assert paths.matches(path, pattern) is is_match


@pytest.mark.parametrize(
    ("path", "does"),
    [("a/b", False), ("../a", True), ("a/../../b", True), ("/a", True), ("a..b", False)],
)
def test_leaves(path: str, does: bool) -> None:
    assert paths.leaves(path) is does
