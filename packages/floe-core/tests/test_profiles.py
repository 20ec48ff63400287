from __future__ import annotations

from pathlib import Path

import yaml

from floe_core import profiles

OUTPUT = {"type": "duckdb", "extensions": ["httpfs"], "path": "x"}
PROFILES = {"floe": {"target": "dev", "outputs": {"prod": OUTPUT, "dev": OUTPUT}}}


def test_shared_outputs_are_written_in_full() -> None:
    text = profiles.dump(PROFILES).decode()
    assert "&" not in text
    assert yaml.safe_load(text) == PROFILES


def test_order_does_not_matter() -> None:
    outputs = dict(reversed(PROFILES["floe"]["outputs"].items()))
    assert profiles.dump({"floe": {"outputs": outputs, "target": "dev"}}) == profiles.dump(PROFILES)


def test_a_file_that_says_the_same_is_left_alone(tmp_path: Path) -> None:
    profiles.write(tmp_path, PROFILES)
    before = (tmp_path / "profiles.yml").stat()
    profiles.write(tmp_path, PROFILES)
    assert (tmp_path / "profiles.yml").stat().st_ino == before.st_ino
