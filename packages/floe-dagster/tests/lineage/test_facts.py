"""What artifacts, git and the environment know of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from floe_dagster.lineage.facts import (
    ParentRun,
    SourceCode,
    parent_run,
    run_facts,
    source_code,
)
from floe_testing.shop import AT, RUN_ID, artifacts_of

CLASSIFIED = {"orders": {"email": {"classification": "pii"}}}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:acme/shop.git", "https://github.com/acme/shop"),
        ("ssh://git@git.acme.dev:2222/acme/shop.git", "https://git.acme.dev/acme/shop"),
        ("https://user:canary@git.acme.dev:8443/shop", "https://git.acme.dev:8443/shop"),
        ("/srv/git/shop", None),
        (None, None),
    ],
)
def test_source_code(tmp_path: Path, remote: str | None, url: str | None) -> None:
    project = tmp_path / "products/shop"
    project.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    if remote is not None:
        git(tmp_path, "remote", "add", "origin", remote)
    expected = SourceCode(url, git(tmp_path, "rev-parse", "HEAD"), "products/shop") if url else None
    assert source_code(project) == expected


def test_no_repository(tmp_path: Path) -> None:
    assert source_code(tmp_path) is None


@pytest.mark.parametrize(
    ("parent", "root", "expected"),
    [
        (f"airflow/dag.task/{RUN_ID}", "", ParentRun("airflow", "dag.task", RUN_ID)),
        (
            f"airflow/a/b/{RUN_ID}",
            f"airflow/top/{RUN_ID}",
            ParentRun("airflow", "a/b", RUN_ID, ParentRun("airflow", "top", RUN_ID)),
        ),
        ("airflow/dag/no-id", "", None),
        (f"airflow/{RUN_ID}", "", None),
        ("", f"airflow/top/{RUN_ID}", None),
    ],
)
def test_parent(parent: str, root: str, expected: ParentRun | None) -> None:
    environ = {"OPENLINEAGE_PARENT_ID": parent, "OPENLINEAGE_ROOT_PARENT_ID": root}
    assert parent_run(environ) == expected


@pytest.mark.parametrize(("is_allowed", "models"), [(True, ["orders"]), (False, []), (None, [])])
def test_classifications_only_where_governance_says_so(
    tmp_path: Path, is_allowed: bool | None, models: list[str]
) -> None:
    artifacts = artifacts_of(
        column_classifications=CLASSIFIED,
        governance={
            "policy_enforcement_level": "warn",
            "emit_classification_lineage": is_allowed,
        },
    )
    run = run_facts(artifacts, root=tmp_path, run_id=RUN_ID, namespace="acme", started_at=AT)
    assert list(run.classifications) == models
    assert (run.product, run.owner, run.job_name) == ("shop", "data@acme.dev", "shop")
