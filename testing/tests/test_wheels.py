"""The built wheels, each in an environment that holds nothing but what it asks for.

Other projects on the public index use some of our names, so each test also proves where the
installed files come from.
"""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
PACKAGES = (
    "floe-core",
    "floe-client",
    "floe-iceberg",
    "dbt-duckdb-iceberg",
    "floe-dbt",
    "floe-dagster",
    "floe-cli",
)
IMPORTED = {"dbt-duckdb-iceberg": "dbt.adapters.duckdb_iceberg"}
"""What a package is imported as, where that is not its name."""
VERSION = "0.1.0"

# Runs inside the new environment: imports every module and describes what is installed.
PROBE = """
import importlib, json, pkgutil, sys
from importlib.metadata import distributions

package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as missing:  # of the extra `otel`
        if not module.name.startswith("floe_core.otel.") or "opentelemetry" not in missing.name:
            raise
ours = [d for d in distributions() if d.name.startswith("floe-") or d.name == "dbt-duckdb-iceberg"]
print(json.dumps({
    "file": package.__file__,
    "version": str(getattr(package, "__version__", None)),  # dbt has a module of the name
    "records": {d.name: d.read_text("RECORD") for d in ours},
    "entry_points": {f"{e.group}:{e.name}": str(e.load())
                     for d in ours for e in d.entry_points if e.group != "console_scripts"},
}))
"""


def project_of(package: str) -> dict[str, object]:
    content = tomllib.loads((REPOSITORY / "packages" / package / "pyproject.toml").read_text())
    project = content["project"]
    assert isinstance(project, dict)
    return project


def uv(*arguments: str | Path, cwd: Path = REPOSITORY) -> None:
    program = os.environ.get("UV") or shutil.which("uv") or REPOSITORY / ".tools" / "bin" / "uv"
    run(program, "--no-progress", *arguments, cwd=cwd)


def run(*command: str | Path, cwd: Path) -> str:
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT", "UV_NO_SYNC"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command, check=False, cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse")
    for package in PACKAGES:
        uv("build", "--quiet", "--wheel", "--out-dir", folder, REPOSITORY / "packages" / package)
    return folder


def module_of(package: str) -> str:
    return IMPORTED.get(package, package.replace("-", "_"))


def wheel_of(wheelhouse: Path, package: str) -> Path:
    [wheel] = wheelhouse.glob(f"{package.replace('-', '_')}-{VERSION}-*.whl")
    return wheel


def hashes(record: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a RECORD that have a hash, with it."""
    for path, digest, _ in csv.reader(record.splitlines()):
        if digest:
            yield path, digest


@pytest.mark.parametrize("package", PACKAGES)
def test_one_version_and_siblings_pinned_to_it(package: str) -> None:
    project = project_of(package)
    assert project["version"] == VERSION
    extras = project.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    requirements = [project["dependencies"], *extras.values()]
    wanted = [Requirement(r) for group in requirements for r in group]
    siblings = [r for r in wanted if r.name.startswith("floe-") or r.name in PACKAGES]
    assert {str(sibling.specifier) for sibling in siblings} <= {f"=={VERSION}"}


def environment_with(package: str, wheelhouse: Path, folder: Path) -> Path:
    """Make an environment with one of the wheels and what it asks for; returns its `bin`."""
    python = folder / "environment" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, folder / "environment", cwd=folder)
    uv(
        *("pip", "install", "--quiet", "--python", python, "--find-links", wheelhouse),
        # uv keeps wheels by path and name; the temporary path and 0.1.0 both come again.
        *(f"--refresh-package={name}" for name in PACKAGES),
        f"{package}=={VERSION}",
        cwd=folder,
    )
    return python.parent


@pytest.mark.network
@pytest.mark.integration
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_alone(package: str, wheelhouse: Path, tmp_path: Path) -> None:
    """The wheel installs from a wheelhouse, imports, and is the one built here."""
    bin = environment_with(package, wheelhouse, tmp_path)
    python = bin / "python"
    found = json.loads(run(python, "-I", "-c", PROBE, module_of(package), cwd=tmp_path))

    assert Path(found["file"]).is_relative_to(tmp_path)
    if package == "floe-core":
        assert found["version"] == VERSION
    assert package in found["records"]
    for name, installed in found["records"].items():
        with zipfile.ZipFile(wheel_of(wheelhouse, name)) as wheel:
            built = wheel.read(f"{name.replace('-', '_')}-{VERSION}.dist-info/RECORD").decode()
        assert dict(hashes(built)).items() <= dict(hashes(installed)).items()
    if package == "floe-cli":
        assert "Usage: floe" in run(bin / "floe", "--help", cwd=tmp_path)


@pytest.mark.network
@pytest.mark.integration
def test_a_third_party_wheel_brings_plugins(wheelhouse: Path, tmp_path: Path) -> None:
    """A distribution of plugins, installed beside floe from wheels, is used in a run."""
    example = REPOSITORY / "testing" / "floe-plugin-example"
    uv("build", "--quiet", "--wheel", "--out-dir", wheelhouse, example)
    environment = tmp_path / "environment"
    python, floe = environment / "bin" / "python", environment / "bin" / "floe"
    uv("venv", "--quiet", "--python", sys.executable, environment, cwd=tmp_path)
    ours = [*PACKAGES, "floe-plugin-example"]
    uv(
        *("pip", "install", "--quiet", "--python", python, "--find-links", wheelhouse),
        *(f"--refresh-package={package}" for package in ours),
        *(f"{package}=={VERSION}" for package in ours),
        cwd=tmp_path,
    )
    product = tmp_path / "atlas"
    product.mkdir()
    (product / "cities.csv").write_text("name,people\nOslo,700000\n")
    (product / "floe.yaml").write_text(
        'name: atlas\nversion: "1.0.0"\ntransforms: [{name: cities, type: csv, path: cities.csv}]\n'
    )
    (product / "platform.yaml").write_text(
        "compute: {default: {type: duckdb_folder, properties: {folder: tables}}}\n"
    )
    run(floe, "run", "--quiet", cwd=product)
    found = run(floe, "query", "--output", "csv", "select * from cities", cwd=product)
    assert found == "name,people\nOslo,700000\n"


@pytest.mark.network
@pytest.mark.integration
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_content(package: str, wheelhouse: Path) -> None:
    """The wheel carries our name, license and types, and nothing but the package."""
    module = module_of(package).replace(".", "/")
    root = module.split("/")[0]
    with zipfile.ZipFile(wheel_of(wheelhouse, package)) as wheel:
        names = wheel.namelist()
        dist_info = f"{package.replace('-', '_')}-{VERSION}.dist-info"
        metadata = message_from_string(wheel.read(f"{dist_info}/METADATA").decode())
        license_text = wheel.read(f"{dist_info}/licenses/LICENSE")

    assert {name.split("/")[0] for name in names} == {root, dist_info}
    assert f"{module}/py.typed" in names
    assert license_text == (REPOSITORY / "LICENSE").read_bytes()
    assert (metadata["Name"], metadata["Version"]) == (package, VERSION)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "The floe authors"


@pytest.mark.network
@pytest.mark.integration
def test_code_location_as_documented(wheelhouse: Path, tmp_path: Path) -> None:
    """floe-dagster alone runs a product that was compiled elsewhere, by the page's own lines."""
    here = Path(sys.executable).parent
    shop = tmp_path / "shop"
    run(here / "floe", "init", "shop", cwd=tmp_path)
    run(here / "floe", "compile", cwd=shop)
    bin = environment_with("floe-dagster", wheelhouse, tmp_path)

    page = (REPOSITORY / "docs" / "how-to" / "dagster.md").read_text()
    code = page.partition("```python\n# definitions.py\n")[2].partition("```")[0]
    (shop / "definitions.py").write_text(code)
    lines = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ dagster")]
    for line in lines:
        run("bash", "-c", f"{shlex.quote(str(bin))}/{line}", cwd=shop)

    assert len(lines) >= 3
    tables = run(here / "floe", "query", "-o", "csv", "select count(*) from customers", cwd=shop)
    assert tables.split() == ["count_star()", "4"]
