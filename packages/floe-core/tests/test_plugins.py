"""Plugins: those that are installed, and the ones that the docstrings show."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import subprocess
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import get_protocol_members

from floe_core import plugins
from floe_core.compiler.pipeline import CHECKS, run_stages
from floe_core.compiler.request import CompileRequest
from floe_core.errors import PluginError

SHOWN = [
    interface
    for interfaces in plugins.INTERFACES.values()
    for interface in interfaces
    if interface is not plugins.ProjectExecutor
]


def shown_class(interface: type) -> type:
    """The class that an interface's docstring shows."""
    text = (interface.__doc__ or "").partition("::\n\n")[2]
    code = textwrap.dedent(text)
    namespace: dict[str, Any] = {
        **vars(plugins),
        "contextmanager": contextmanager,
        "importlib": importlib,
        "subprocess": subprocess,
        "duckdb": sqlite3,
    }
    exec(code, namespace)
    [name] = re.findall(r"^class (\w+):", code, re.MULTILINE)
    found: type = namespace[name]
    return found


@pytest.mark.parametrize("interface", SHOWN, ids=lambda interface: interface.__name__)
def test_the_plugin_that_a_docstring_shows_is_complete(interface: type) -> None:
    plugin = shown_class(interface)()
    assert {name for name in get_protocol_members(interface) if not hasattr(plugin, name)} == set()


def test_the_example_of_a_transform_finds_its_file(tmp_path: Path) -> None:
    csv = shown_class(plugins.TransformExecutor)()
    transform = plugins.Transform(name="cities", type="csv", path="cities.csv")
    assert csv.locate(transform, tmp_path)[0] is None
    (tmp_path / "cities.csv").write_text("name\nOslo\n")
    located, findings = csv.locate(transform, tmp_path)
    assert (located, findings) == (plugins.LocatedTransform("cities", "cities.csv"), [])
    assert csv.inspect(located, tmp_path).files == [tmp_path / "cities.csv"]


def test_the_example_of_an_engine_writes_a_profile() -> None:
    target = shown_class(plugins.ComputeTarget)()
    compute = plugins.ComputeProfile(type="duckdb_folder", properties={"folder": "tables"})
    placed = target.relocate(compute, lambda path: f"../{path}")
    assert target.output(placed, "dev")["path"].endswith("/../tables/dev.duckdb")


def test_the_example_of_a_catalog_speaks_pyiceberg() -> None:
    client = shown_class(plugins.CatalogClient)()
    token = plugins.SecretRef(secret_ref="lakehouse")
    catalog = plugins.CatalogProfile(uri="https://lake.acme.dev", properties={"token": token})
    assert client.check(catalog) == []
    assert client.properties(catalog, None, Path(), lambda ref: ref.name) == {
        "type": "rest",
        "uri": "https://lake.acme.dev",
        "token": "lakehouse",
    }


def test_our_own_choices_are_plugins_that_load() -> None:
    states = {group: plugins.states(group) for group in plugins.INTERFACES}
    assert {s.state for found in states.values() for s in found} == {"ok"}
    names = {
        (s.registration.group, s.registration.name) for found in states.values() for s in found
    }
    assert names >= {
        ("floe.transforms", "dbt"),
        ("floe.transforms", "python"),
        ("floe.targets", "duckdb"),
        ("floe.targets", "postgres"),
        ("floe.catalogs", "polaris"),
        ("floe.telemetry", "otlp"),
        ("floe.secrets", "env"),
        ("floe.secrets", "file"),
    }


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A distribution whose plugins cannot be used, one of them a second `duckdb`."""
    folder = tmp_path / "site" / "odd_plugins-0.9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugins\nVersion: 0.9\n")
    (folder / "entry_points.txt").write_text(
        "[floe.targets]\nodd = odd_plugins:Odd\npostgres = odd_plugins:Odd\n"
        "[floe.catalogs]\nodd = odd_plugins:Odd\n"
    )
    (tmp_path / "site" / "odd_plugins.py").write_text("raise SystemExit('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return "odd-plugins 0.9"


def test_what_cannot_be_used_says_why(broken: str) -> None:
    with pytest.raises(PluginError) as raised:
        plugins.compute_target("odd")
    assert raised.value.message == (
        "the plugin `odd` of `floe.targets` cannot be loaded: SystemExit: no licence "
        f"(`odd_plugins:Odd` of {broken})"
    )
    with pytest.raises(PluginError, match=f"floe-dbt .* and {broken}"):
        plugins.compute_target("postgres")


@pytest.mark.usefixtures("broken")
def test_what_is_not_needed_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "dbt").mkdir()
    (tmp_path / "dbt" / "dbt_project.yml").write_text("name: shop\n")
    (tmp_path / "floe.yaml").write_text(
        'name: shop\nversion: "1.0.0"\ntransforms: [{project: dbt}]\n'
    )
    (tmp_path / "platform.yaml").write_text(
        "compute:\n"
        "  default: {type: duckdb}\n"
        "  serving: {type: postgres, properties: {host: db, dbname: mart}}\n"
        "  other: {type: odd}\n"
        "catalogs: {other: {type: odd}}\n"
    )
    outcome = run_stages(CHECKS, CompileRequest(tmp_path / "floe.yaml", environ={}))
    assert [d.render() for d in outcome.diagnostics if d.is_error] == []
