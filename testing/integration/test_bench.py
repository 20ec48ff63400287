"""`make bench` works, with the peers in their environment: every command once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from floe_bench.rows import rows

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_every_row_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        ["make", "bench", f"ARGS=--quick --sizes 20 --rows 20000 --output json {figures}"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(figures.read_text())["rows"]
    assert [row["name"] for row in measured] == [row.name for row in rows((20,))]
    assert all(row["ratio"] > 0 for row in measured)
