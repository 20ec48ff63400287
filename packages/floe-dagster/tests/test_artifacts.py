"""Finding the artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe_core.errors import ArtifactsError
from floe_dagster.artifacts import find_artifacts, project_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project/deep")
    return tmp_path / "project"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_here_or_above(project: Path) -> None:
    path = touch(project / ".floe/artifacts.json")
    assert find_artifacts() == path
    assert project_root(path) == project


def test_the_variable_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(project / ".floe/artifacts.json")
    mounted = touch(project.parent / "mnt/artifacts.json")
    monkeypatch.setenv("FLOE_ARTIFACTS", str(mounted))
    assert find_artifacts() == mounted
    assert project_root(mounted) == Path.cwd()
    monkeypatch.setenv("FLOE_PROJECT_DIR", str(project))
    assert project_root(mounted) == project


def test_not_found_names_every_place(project: Path) -> None:
    with pytest.raises(ArtifactsError) as caught:
        find_artifacts()
    places = str(caught.value).splitlines()[1:]
    assert places[:2] == [
        f"  {project}/deep/.floe/artifacts.json",
        f"  {project}/.floe/artifacts.json",
    ]
    assert places[-1] == "  /.floe/artifacts.json"


def test_what_the_variable_names_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_ARTIFACTS", "nowhere.json")
    with pytest.raises(ArtifactsError, match=r"deep/nowhere.json, which FLOE_ARTIFACTS names"):
        find_artifacts()
