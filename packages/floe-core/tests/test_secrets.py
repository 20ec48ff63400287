from __future__ import annotations

import os
from pathlib import Path

import pytest

from floe_core.errors import PluginError, SecretNotFoundError
from floe_core.schemas.secret import SecretRef
from floe_core.secrets import resolve

PASSWORD = SecretRef(secret_ref="pg", key="password")
WHOLE = SecretRef(secret_ref="api-token")
CANARY = "c4n4ry-0b5e"


@pytest.fixture(autouse=True)
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of mounted secrets, and no variables."""
    for name in ("PG", "PG_PASSWORD", "API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "secrets"
    (folder / "pg").mkdir(parents=True)
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(folder))
    return folder


def find(ref: SecretRef = PASSWORD, backends: tuple[str, ...] = ("env", "file")) -> str:
    return resolve({"it": ref}, backends)["it"]


def problem(ref: SecretRef = PASSWORD, backends: tuple[str, ...] = ("env", "file")) -> str:
    with pytest.raises(SecretNotFoundError) as raised:
        find(ref, backends)
    assert raised.value.exit_code == 3
    assert CANARY not in f"{raised.value.message} {raised.value.help}"
    return raised.value.message


def test_the_name_of_a_secret_may_be_a_path(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = SecretRef(secret_ref="prod/etl/pg", key="password")
    (mounted / "prod/etl/pg").mkdir(parents=True)
    (mounted / "prod/etl/pg/password").write_text("from-file")
    assert find(ref) == "from-file"
    monkeypatch.setenv("PROD_ETL_PG_PASSWORD", "from-variable")
    assert find(ref) == "from-variable"


@pytest.mark.parametrize("name", ["pg/..", "pg/../x", "pg//x", "pg/./x", "pg/"])
def test_the_name_of_a_secret_does_not_lead_out_of_a_folder(name: str) -> None:
    with pytest.raises(ValueError, match="neither empty"):
        SecretRef(secret_ref=name, key="password")


@pytest.mark.parametrize("backends", [("env",), ("safe",), ("safe", "file")])
def test_a_variable_is_found(backends: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "value")
    assert find(PASSWORD, backends) == "value"


@pytest.mark.parametrize(
    "ref", [PASSWORD, SecretRef(secret_ref="pg/password")], ids=["key", "name/key"]
)
def test_a_key_is_looked_for_in_each_place(
    ref: SecretRef, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mounted / "pg" / "password").write_text("from-file\n")
    assert find(ref) == "from-file"
    monkeypatch.setenv("PG", '{"password": "from-json"}')
    assert find(ref) == "from-json"
    monkeypatch.setenv("PG_PASSWORD", "from-variable")
    assert find(ref) == "from-variable"
    assert find(ref, ("file", "env")) == "from-file"


def test_a_whole_secret(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mounted / "api-token").write_text("from-file\r\n")
    assert find(WHOLE) == "from-file"
    monkeypatch.setenv("API_TOKEN", "from-variable")
    assert find(WHOLE) == "from-variable"


def test_what_is_empty_hides_nothing(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "")
    monkeypatch.setenv("PG", '{"password": ""}')
    (mounted / "pg" / "password").write_text("from-file")
    assert find() == "from-file"
    assert find(PASSWORD, ("file", "env")) == "from-file"
    (mounted / "pg" / "password").write_text("\n")
    assert "not found" in problem()


@pytest.mark.parametrize(
    ("json", "value"),
    [
        ('"text"', "text"),
        ("true", "true"),
        ("5432", "5432"),
        ("1.50", "1.50"),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_values_of_json_are_spelled_as_there(
    json: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG", f'{{"password": {json}}}')
    assert find() == value


@pytest.mark.parametrize(
    ("json", "kind"), [(f'{{"a": "{CANARY}"}}', "an object"), (f'["{CANARY}"]', "a list")]
)
def test_an_object_is_no_value(json: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG", f'{{"password": {json}}}')
    assert problem() == (
        f"secret cannot be read: pg/password (environment variable PG has {kind} under "
        "`password`, not a value)"
    )


@pytest.mark.parametrize("json", ["null", "{}"])
def test_null_is_no_value(json: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG", f'{{"password": {json}}}' if json == "null" else json)
    assert "not found" in problem()


@pytest.mark.parametrize("text", [CANARY, "[1]", "{"])
def test_a_variable_that_is_no_object_has_no_keys(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG", text)
    assert "not found" in problem()


def test_a_file_that_is_not_utf_8(mounted: Path) -> None:
    path = mounted / "pg" / "password"
    path.write_bytes(CANARY.encode() + b"\xff\xfe")
    assert problem() == f"secret cannot be read: pg/password (file {path} is not UTF-8)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(mounted: Path) -> None:
    path = mounted / "pg" / "password"
    path.write_text(CANARY)
    path.chmod(0)
    assert problem() == f"secret cannot be read: pg/password (file {path}: Permission denied)"


def test_a_file_that_is_a_loop_of_links(mounted: Path) -> None:
    path = mounted / "pg" / "password"
    path.symlink_to(path)
    assert problem() == (
        f"secret cannot be read: pg/password (file {path}: Too many levels of symbolic links)"
    )


def test_a_folder_is_no_secret(mounted: Path) -> None:
    (mounted / "pg" / "password").mkdir()
    assert "not found" in problem()


def test_all_that_is_missing_is_named_with_its_places(mounted: Path) -> None:
    with pytest.raises(SecretNotFoundError) as raised:
        resolve({"user": SecretRef(secret_ref="pg/user"), "token": WHOLE})
    assert raised.value.message == (
        "secrets not found: pg/user (looked in: environment variable PG_USER; environment "
        f"variable PG as JSON with `user`; file {mounted}/pg/user), api-token (looked in: "
        f"environment variable API_TOKEN; file {mounted}/api-token)"
    )


def test_a_backend_that_is_not_installed_is_named() -> None:
    assert "not in `safe`, which is not installed here" in problem(PASSWORD, ("safe",))


def test_a_backend_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site" / "safe_plugin-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: safe_plugin\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[floe.secrets]\nsafe = no_such_module:Safe\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PG_PASSWORD", "value")
    with pytest.raises(PluginError, match=r"`safe` .* cannot be loaded: ModuleNotFoundError"):
        find(PASSWORD, ("env", "safe"))
    assert find() == "value"
    assert resolve({}, ("safe",)) == {}


def test_a_backend_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises may hold the secret, so the text is not shown."""
    folder = tmp_path / "site" / "loud_plugin-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: loud_plugin\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[floe.secrets]\nloud = loud_plugin:Loud\n")
    (tmp_path / "site" / "loud_plugin.py").write_text(
        "class Loud:\n    def places(self, ref):\n        return []\n\n"
        f"    def find(self, ref):\n        raise RuntimeError('{CANARY}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(PluginError) as raised:
        find(PASSWORD, ("loud",))
    assert raised.value.message == (
        "the plugin `loud` of `floe.secrets` failed: RuntimeError "
        "(`loud_plugin:Loud` of loud_plugin 1.0)"
    )
    assert raised.value.__cause__ is None
