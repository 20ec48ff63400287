"""Start-up stays lean: what a command imports is on a list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPET = """
import json, sys
sys.argv = ["floe", *sys.argv[1:]]
from floe_cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
known = sys.stdlib_module_names
roots = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(root for root in roots if root not in known)), file=sys.stderr)
"""

ALWAYS = {"__main__", "click", "floe_cli", "floe_core"}
FILES = {
    "annotated_types",
    "croniter",
    "dateutil",
    "floe_dbt",
    "opentelemetry",
    "orjson",
    "pydantic",
    "pydantic_core",
    "six",
    "typing_extensions",
    "typing_inspection",
    "yaml",
}
ALLOWED = {
    "--version": ALWAYS,
    "--help": ALWAYS,
    "validate": ALWAYS | FILES,
    "platform show": ALWAYS | FILES,
    # Of a product that has just been compiled, dbt has nothing to parse.
    "explain --all": ALWAYS | FILES | {"floe_iceberg"},
    "diff": ALWAYS | FILES | {"floe_iceberg"},
}


def imported(arguments: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SNIPPET, *arguments.split()],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    # Compiled extensions and the interpreter's own build data register under names like these.
    return {name for name in names if not name.startswith(("_", "cython_runtime"))} | {"__main__"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from floe_testing.cli import run_floe

    folder = tmp_path_factory.mktemp("imports") / "shop"
    assert run_floe("init", str(folder)).exit_code == 0
    assert run_floe("compile", "--project-dir", str(folder)).exit_code == 0
    return folder


@pytest.mark.parametrize("arguments", ALLOWED)
def test_imports(arguments: str, shop: Path) -> None:
    assert imported(arguments, shop) <= ALLOWED[arguments]
