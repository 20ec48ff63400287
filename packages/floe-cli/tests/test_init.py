"""A product that cannot be written as a whole leaves nothing behind."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

FLOE = str(Path(sys.executable).with_name("floe"))


@pytest.mark.parametrize("most", [1, 400, 10_000])
def test_a_write_that_fails_takes_back_what_was_written(most: int, tmp_path: Path) -> None:
    """Files of more than `most` bytes cannot be written: the first one, a later one, a schema."""
    kept = tmp_path / "above/shop/dbt/kept.sql"
    kept.parent.mkdir(parents=True)
    kept.write_text("select 1")
    done = subprocess.run(
        [FLOE, "init", "shop"],
        cwd=tmp_path / "above",
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 1
    folder, _, reason = done.stderr.partition(" cannot be written to: ")
    assert folder.startswith("error: shop")
    assert reason == (
        "File too large\n  help: Let this user write to it, or work on a copy in another place.\n"
    )
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [kept]
    assert sorted(path.name for path in kept.parents[1].iterdir()) == ["dbt"]
