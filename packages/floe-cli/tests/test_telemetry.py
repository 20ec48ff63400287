"""`floe run --no-telemetry` reaches what runs in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floe_testing.cli import run_floe

PRODUCT = {
    "floe.yaml": 'name: seen\nversion: "1.0.0"\n'
    "transforms: [{name: seen, type: python, entry: 'seen:build'}]\n",
    "seen.py": "import os\n\n"
    "def build(context):\n"
    '    return {"is_off": os.environ.get("FLOE_NO_TELEMETRY", "unset")}\n',
}


@pytest.mark.parametrize(
    ("options", "seen"), [(("--no-telemetry",), "1"), ((), "unset")], ids=["off", "on"]
)
def test_no_telemetry_is_for_one_run(
    options: tuple[str, ...], seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOE_NO_TELEMETRY", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in PRODUCT.items():
        (tmp_path / name).write_text(text)
    done = run_floe("run", "-o", "json", *options)
    assert done.exit_code == 0, done.stderr
    assert f'"is_off": {json.dumps(seen)}' in json.dumps(json.loads(done.stdout))
