from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from floe_core.plugins import Finding, LocatedTransform
from floe_core.schemas.floe import Transform
from floe_dbt import project
from floe_dbt.transform import DbtTransformExecutor

EXECUTOR = DbtTransformExecutor()
BESIDE = {"dbt_project.yml": "name: beside\n", "models/a.sql": "", "models/deep/b.sql": ""}


def locate(workspace: Any, **fields: Any) -> tuple[LocatedTransform | None, list[Finding]]:
    located, findings = EXECUTOR.locate(Transform.model_validate(fields), workspace.root)
    return located, list(findings)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"project": "dbt"}, LocatedTransform("shop", "dbt"), id="whole project"),
        pytest.param({"path": "dbt"}, LocatedTransform("shop", "dbt"), id="path of a project"),
        pytest.param({"project": "./dbt/"}, LocatedTransform("shop", "dbt"), id="normalised"),
        pytest.param(
            {"name": "own", "project": "dbt"}, LocatedTransform("own", "dbt"), id="own name"
        ),
        pytest.param(
            {"project": "dbt", "models": [{"path": "models/marts"}, {"path": "models/*.sql"}]},
            LocatedTransform("shop", "dbt", models=("models/marts", "models/*.sql")),
            id="models",
        ),
        pytest.param(
            {"project": "dbt", "select": "tag:mart"},
            LocatedTransform("shop", "dbt", select="tag:mart"),
            id="select",
        ),
        pytest.param(
            {"name": "revenue"},
            LocatedTransform("revenue", "dbt", select="revenue"),
            id="one model of the only project below",
        ),
        pytest.param(
            {"name": "marts", "select": "tag:mart"},
            LocatedTransform("marts", "dbt", select="tag:mart"),
            id="select of the only project below",
        ),
        pytest.param(
            {"name": "marts", "models": [{"path": "models/marts"}]},
            LocatedTransform("marts", "dbt", models=("models/marts",)),
            id="models of the only project below",
        ),
    ],
)
def test_a_project_below(shop: Any, fields: dict[str, Any], expected: LocatedTransform) -> None:
    assert locate(shop, **fields) == (expected, [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"project": "."}, LocatedTransform("beside", ".")),
        ({"path": "models/deep"}, LocatedTransform("beside", ".", models=("models/deep",))),
        ({"path": "models/*.sql"}, LocatedTransform("beside", ".", models=("models/*.sql",))),
        (
            {"path": "models", "models": [{"path": "deep"}]},
            LocatedTransform("beside", ".", models=("models/deep",)),
        ),
        ({"name": "a"}, LocatedTransform("a", ".", select="a")),
    ],
)
def test_a_project_beside_floe_yaml(
    workspace: Any, fields: dict[str, Any], expected: LocatedTransform
) -> None:
    workspace.write(BESIDE, ".")
    assert locate(workspace, **fields) == (expected, [])


def test_a_project_above_floe_yaml(workspace: Any) -> None:
    workspace.write(BESIDE, "shared")
    product = type(workspace)(workspace.root / "product")
    product.root.mkdir()
    located = LocatedTransform("beside", "../shared")
    assert locate(product, project="../shared") == (located, [])


@pytest.mark.parametrize(
    ("fields", "code", "field", "message", "help"),
    [
        pytest.param(
            {"project": "dbx"},
            "FLOE-R012",
            ("project",),
            "there is no folder `dbx` beside floe.yaml",
            "did you mean `dbt`?",
            id="missing, near",
        ),
        pytest.param(
            {"project": "elsewhere/completely"},
            "FLOE-R012",
            ("project",),
            "there is no folder `elsewhere/completely` beside floe.yaml",
            "dbt projects here: `dbt`",
            id="missing, far",
        ),
        pytest.param(
            {"project": "dbt/models"},
            "FLOE-R012",
            ("project",),
            "`dbt/models` holds no dbt_project.yml",
            "dbt projects here: `dbt`",
            id="not a project",
        ),
        pytest.param(
            {"path": "dbt/dbt_project.yml"},
            "FLOE-R012",
            ("path",),
            "`dbt/dbt_project.yml` is a file, not the folder of a dbt project",
            "dbt projects here: `dbt`",
            id="a file",
        ),
        pytest.param(
            {"project": "dbt", "models": [{"path": "models/marts/revenu.sql"}]},
            "FLOE-R013",
            ("models", 0, "path"),
            "`models/marts/revenu.sql` names no file of the dbt project",
            "did you mean `models/marts/revenue.sql`?",
            id="no model",
        ),
        pytest.param(
            {"project": "dbt", "models": [{"path": "models"}, {"path": "nowhere/*.sql"}]},
            "FLOE-R013",
            ("models", 1, "path"),
            "`nowhere/*.sql` names no file of the dbt project",
            "folders with models, seeds or snapshots: `models`, `seeds`",
            id="no model for a glob",
        ),
        pytest.param(
            {"project": "dbt", "models": [{"path": "stg_orders"}]},
            "FLOE-R013",
            ("models", 0, "path"),
            "`stg_orders` names no file of the dbt project",
            "did you mean `models/stg_orders.sql`?",
            id="name of a model",
        ),
        pytest.param(
            {"project": "dbt", "models": [{"path": "../other/models"}]},
            "FLOE-R017",
            ("models", 0, "path"),
            "`../other/models` leaves the dbt project",
            "write a path below the dbt project's folder, relative to it",
            id="models outside",
        ),
        pytest.param(
            {"project": "/srv/dbt"},
            "FLOE-R017",
            ("project",),
            "`/srv/dbt` is an absolute path, which holds on this machine only",
            "write it relative to floe.yaml",
            id="absolute",
        ),
        pytest.param(
            {},
            "FLOE-R012",
            (),
            "needs `project`, or the `name` of a dbt model",
            "add `project: dbt`",
            id="nothing at all",
        ),
    ],
)
def test_findings(
    shop: Any,
    fields: dict[str, Any],
    code: str,
    field: tuple[str | int, ...],
    message: str,
    help: str,
) -> None:
    _, findings = locate(shop, **fields)
    assert findings == [Finding(code, field, message, help)]


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("name: a: b\n", "a second `: ` on this line", 1),
        ("name: a\nversion: [\n", "is not valid YAML: ", 2),
        ("name: \x07\n", "is not valid YAML: unacceptable character #x0007", None),
        ("", "holds no keys", None),
        ("- a\n", "holds no keys", None),
    ],
)
def test_a_project_file_that_cannot_be_read(
    workspace: Any, content: str, message: str, line: int | None
) -> None:
    workspace.write({"dbt_project.yml": content})
    located, [finding] = locate(workspace, project="dbt")
    assert located is None
    assert (finding.code, finding.file, finding.line) == (
        "FLOE-R012",
        "dbt/dbt_project.yml",
        line,
    )
    assert finding.message.startswith(message)


def test_a_project_without_a_name(workspace: Any) -> None:
    workspace.write({"dbt_project.yml": "profile: x\n"})
    located, [finding] = locate(workspace, project="dbt")
    assert located is None
    assert finding == Finding(
        "FLOE-R012",
        ("project",),
        "dbt/dbt_project.yml has no `name`",
        "give the transform or it a `name`",
    )


def test_several_projects_below(workspace: Any) -> None:
    for folder in ("crm", "web/dbt", ".hidden", "crm/dbt_packages/x", "node_modules/y"):
        workspace.write({"dbt_project.yml": "name: x\n"}, folder)
    located, [finding] = locate(workspace, name="orders")
    assert located is None
    assert finding.message == (
        "it is not clear which dbt project holds dbt model `orders`: `crm`, `web/dbt`"
    )
    assert finding.help == "add `project: crm`, or another of them"


def test_no_project_at_all(workspace: Any) -> None:
    _, [finding] = locate(workspace, name="orders")
    assert finding.message.startswith("there is no dbt project for dbt model `orders`")
    _, [finding] = locate(workspace, project="dbt")
    assert finding.help == (
        "no folder below floe.yaml holds a dbt_project.yml; `dbt init` makes one"
    )


def test_a_path_without_models(workspace: Any) -> None:
    workspace.write(BESIDE, ".")
    _, [finding] = locate(workspace, path="models/dep")
    assert (finding.code, finding.field) == ("FLOE-R013", ("path",))
    assert finding.help == "did you mean `models/deep`?"
    _, [finding] = locate(workspace, path="models", models=[{"path": "nothing"}])
    assert finding.field == ("models", 0, "path")
    _, [finding] = locate(workspace, path="../models")
    assert finding.code == "FLOE-R017"


FILES: Mapping[str, str] = {
    ".dbtignore": "",
    ".hidden": "",
    "README.md": "",
    "dbt_project.yml": "name: shop\nmodel-paths: [models, more]\nseed-paths: [data]\n",
    "packages.yml": "packages: [{local: ../tools}]\n",
    "package-lock.yml": "",
    "models/a.sql": "",
    "models/.b.sql.swp": "",
    "more/deep/b.py": "",
    "data/c.csv": "",
    "seeds/not_declared.csv": "",
    "macros/d.sql": "",
    "snapshots/e.yml": "",
    "target/manifest.json": "",
    "logs/dbt.log": "",
    "dbt_packages/tools/dbt_project.yml": "name: tools\n",
    "dbt_packages/tools/macros/f.sql": "",
    "dbt_packages/tools/integration_tests/g.sql": "",
}


def test_input_files(workspace: Any) -> None:
    workspace.write(FILES)
    files = list(project.read_at(workspace.root, "dbt").files())
    folder = workspace.root / "dbt"
    assert [path.relative_to(folder).as_posix() for path in files] == [
        "dbt_project.yml",
        ".dbtignore",
        "package-lock.yml",
        "packages.yml",
        "models/a.sql",
        "more/deep/b.py",
        "data/c.csv",
        "snapshots/e.yml",
        "macros/d.sql",
        "dbt_packages/tools/dbt_project.yml",
        "dbt_packages/tools/macros/f.sql",
    ]


def test_input_files_of_a_project_that_lives_in_its_root(workspace: Any) -> None:
    workspace.write(
        {
            "dbt_project.yml": "name: flat\nmodel-paths: ['.']\n",
            "a.sql": "",
            "target/b.sql": "",
            "dbt_packages/c/d.sql": "",
            ".floe/e.sql": "",
        },
        ".",
    )
    names = {path.name for path in project.read_at(workspace.root, ".").files()}
    assert names == {"dbt_project.yml", "a.sql"}
