"""`floe schema export`."""

from __future__ import annotations

import pytest

from floe_core.schemas.json_schema import SCHEMAS, export_schema
from floe_testing.cli import FloeResult, run_floe


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_the_whole_output(name: str, form: str) -> None:
    printed = run_floe("schema", "export", name, "--output", form)
    assert printed == FloeResult(0, export_schema(name), "")
