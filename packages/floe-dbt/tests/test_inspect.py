from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from floe_core.index import ProjectIndex
from floe_core.index_file import dump_index, load_index
from floe_core.plugins import Finding, LocatedTransform
from floe_dbt import project
from floe_dbt.inspection import inputs_hash_of
from floe_dbt.transform import DbtTransformExecutor

EXECUTOR = DbtTransformExecutor()
WHOLE = LocatedTransform("shop", "dbt")


def index_of(request: Any) -> ProjectIndex:
    inspection = EXECUTOR.inspect(request)
    assert inspection.findings == []
    assert inspection.index is not None
    return inspection.index


@pytest.fixture(scope="module")
def parsed(new_workspace: Callable[[str], Any]) -> tuple[Any, ProjectIndex]:
    """A workspace whose project has been parsed once, for tests that leave it as it is."""
    workspace = new_workspace("parsed").write(SHOP)
    return workspace, index_of(workspace.request())


SHOP = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\n",
    "seeds/raw.csv": "id\n1\n",
    "models/staging/stg.sql": "select * from {{ ref('raw') }}\n",
    "models/marts/revenue.sql": "{{ config(tags=['mart']) }}select * from {{ ref('stg') }}\n",
    "models/marts/costs.sql": "{{ config(tags=['mart']) }}select * from {{ ref('stg') }}\n",
    "tests/none.sql": "select * from {{ ref('revenue') }} where id is null\n",
}


class TestClaims:
    @pytest.mark.parametrize(
        ("transform", "expected"),
        [
            (WHOLE, {"raw", "stg", "revenue", "costs"}),
            (replace(WHOLE, models=("models/marts",)), {"revenue", "costs"}),
            (replace(WHOLE, models=("models/marts/r*.sql", "models/staging")), {"revenue", "stg"}),
            (replace(WHOLE, models=("seeds/raw.csv",)), {"raw"}),
            (replace(WHOLE, select="tag:mart"), {"revenue", "costs"}),
            (replace(WHOLE, select="raw+1 costs"), {"raw", "stg", "costs"}),
            (replace(WHOLE, select="tag:mart,revenue"), {"revenue"}),
            (replace(WHOLE, models=("models/marts",), select="stg+"), {"revenue", "costs"}),
        ],
    )
    def test_nodes_of_a_transform(
        self, parsed: tuple[Any, ProjectIndex], transform: LocatedTransform, expected: set[str]
    ) -> None:
        workspace, index = parsed
        inspection = EXECUTOR.inspect(workspace.request(transform, cached=index))
        assert inspection.findings == []
        claimed = inspection.claims["shop"]
        assert {unique_id.split(".")[-1] for unique_id in claimed} == expected
        assert list(claimed) == sorted(claimed)

    @pytest.mark.parametrize(
        ("transform", "finding"),
        [
            (
                replace(WHOLE, select="tag:none"),
                Finding(
                    "FLOE-D002",
                    ("select",),
                    "`tag:none` selects no model, seed or snapshot of project `shop`",
                ),
            ),
            (
                replace(WHOLE, select="+revenu"),
                Finding(
                    "FLOE-D002",
                    ("select",),
                    "`+revenu` selects no model, seed or snapshot of project `shop`",
                    "did you mean `revenue`?",
                ),
            ),
            (
                LocatedTransform("revenu", "dbt", select="revenu"),
                Finding(
                    "FLOE-D002",
                    ("name",),
                    "project `shop` has no model `revenu`",
                    "did you mean `revenue`?",
                ),
            ),
            (
                LocatedTransform("shop", "dbt", select="shop.nothing"),
                Finding(
                    "FLOE-D002",
                    ("select",),
                    "`shop.nothing` selects no model, seed or snapshot of project `shop`",
                ),
            ),
            (
                replace(WHOLE, models=("tests/none.sql",)),
                Finding(
                    "FLOE-D002",
                    ("models",),
                    "`tests/none.sql` holds no model, seed or snapshot that is enabled",
                ),
            ),
            (
                replace(WHOLE, select="tga:mart"),
                Finding(
                    "FLOE-D002",
                    ("select",),
                    "`tga:mart` is not a selection that dbt knows: 'tga' is not a valid method "
                    "name",
                    "see https://docs.getdbt.com/reference/node-selection/syntax",
                ),
            ),
        ],
    )
    def test_transforms_without_nodes(
        self, parsed: tuple[Any, ProjectIndex], transform: LocatedTransform, finding: Finding
    ) -> None:
        workspace, index = parsed
        inspection = EXECUTOR.inspect(workspace.request(transform, cached=index))
        assert inspection.findings == [(transform.name, finding)]
        assert inspection.claims[transform.name] == ()

    def test_a_transform_that_is_named_like_the_project(
        self, parsed: tuple[Any, ProjectIndex]
    ) -> None:
        workspace, index = parsed
        # `shop` selects the package in dbt's syntax, which is the whole project.
        transform = LocatedTransform("shop", "dbt", select="shop")
        inspection = EXECUTOR.inspect(workspace.request(transform, cached=index))
        assert len(inspection.claims["shop"]) == 4


class TestCache:
    def test_an_index_that_still_holds_is_kept(self, parsed: tuple[Any, ProjectIndex]) -> None:
        workspace, index = parsed
        inspection = EXECUTOR.inspect(workspace.request(cached=index))
        assert inspection.index is index
        assert not inspection.was_parsed

    def test_without_a_change_dbt_is_not_imported(self, parsed: tuple[Any, ProjectIndex]) -> None:
        workspace, index = parsed
        marts = LocatedTransform("marts", "dbt", select="tag:mart")
        expected = EXECUTOR.inspect(workspace.request(marts, cached=index)).claims
        (workspace.root / "index.json").write_bytes(dump_index([index]))
        code = (
            "import pathlib, sys\n"
            "from floe_core.index_file import load_index\n"
            "from floe_core.plugins import InspectRequest, LocatedTransform\n"
            "from floe_dbt.transform import DbtTransformExecutor\n"
            "root = pathlib.Path(sys.argv[1])\n"
            "[index] = load_index((root / 'index.json').read_bytes())\n"
            "request = InspectRequest(root, 'dbt', 'local', eval(sys.argv[2]), "
            "root / '.floe/local', {}, [LocatedTransform('marts', 'dbt', select='tag:mart')], "
            "index)\n"
            "inspection = DbtTransformExecutor().inspect(request)\n"
            "assert not inspection.was_parsed\n"
            "print(inspection.claims['marts'])\n"
            "assert not [m for m in sys.modules if m.split('.')[0] in ('dbt', 'duckdb')]\n"
        )
        output = subprocess.run(
            [sys.executable, "-c", code, str(workspace.root), repr(workspace.profiles())],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert output.strip() == str(expected["marts"])

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"models/staging/stg.sql": "select 1 as id"}, id="model"),
            pytest.param({"seeds/raw.csv": "id\n2\n"}, id="seed"),
            pytest.param({"models/new.yml": "models: [{name: stg}]"}, id="new file"),
            pytest.param({"macros/m.sql": "{% macro m() %}{% endmacro %}"}, id="macro"),
            pytest.param({"dbt_project.yml": "name: shop\nversion: '1.1'\n"}, id="settings"),
        ],
    )
    def test_a_changed_file_is_noticed(
        self, parsed: tuple[Any, ProjectIndex], change: dict[str, str]
    ) -> None:
        workspace, index = parsed
        inputs_hash = hash_of(workspace.request())
        assert inputs_hash == index.inputs_hash
        before = {
            name: (workspace.root / "dbt" / name).read_text() if name in SHOP else None
            for name in change
        }
        try:
            workspace.write(change)
            assert hash_of(workspace.request()) != inputs_hash
        finally:
            for name, content in before.items():
                path = workspace.root / "dbt" / name
                path.unlink() if content is None else path.write_text(content)
        assert hash_of(workspace.request()) == inputs_hash

    def test_a_changed_setting_is_noticed(self, parsed: tuple[Any, ProjectIndex]) -> None:
        workspace, _ = parsed
        hashes = {
            hash_of(workspace.request()),
            hash_of(workspace.request(vars={"a": 1})),
            hash_of(workspace.request(target="prod", profiles=workspace.profiles("prod"))),
        }
        assert len(hashes) == 3

    def test_a_changed_environment_variable_is_noticed_if_it_is_read(
        self, workspace: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.write({**SHOP, "models/e.sql": "select '{{ env_var(\"STAGE\", 'x') }}' as s"})
        unset = hash_of(workspace.request())
        monkeypatch.setenv("OTHER", "1")
        assert hash_of(workspace.request()) == unset
        monkeypatch.setenv("STAGE", "1")
        assert hash_of(workspace.request()) != unset

    def test_the_folder_that_the_project_is_in_does_not_count(
        self, workspace: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.write({**SHOP, "models/e.sql": "select '{{ env_var(\"FLOE_PROJECT_DIR\") }}' s"})
        hashes = set()
        for folder in ("/one", "/other"):
            monkeypatch.setenv("FLOE_PROJECT_DIR", folder)
            hashes.add(hash_of(workspace.request()))
        assert len(hashes) == 1

    def test_output_and_logs_are_no_input(self, parsed: tuple[Any, ProjectIndex]) -> None:
        workspace, index = parsed
        workspace.write({"target/x.sql": "", "logs/dbt.log": ""})
        assert hash_of(workspace.request()) == index.inputs_hash


def hash_of(request: Any) -> str:
    return inputs_hash_of(request, project.read_at(request.root, request.project))


class TestFindings:
    def test_a_project_that_does_not_parse(self, shop: Any) -> None:
        shop.write({"models/bad.sql": "select 1\nfrom {{ foo( }}\n"})
        inspection = EXECUTOR.inspect(shop.request())
        assert (inspection.index, inspection.claims) == (None, {})
        [(name, finding)] = inspection.findings
        assert (name, finding.code, finding.field) == ("", "FLOE-D001", ())
        assert finding.message == "dbt: unexpected '}', expected ')'"
        assert (finding.file, finding.line) == ("dbt/models/bad.sql", 2)

    def test_a_variable_that_is_not_set(self, shop: Any) -> None:
        shop.write({"models/bad.sql": "select '{{ env_var('STAGE') }}'\n"})
        [(_, finding)] = EXECUTOR.inspect(shop.request()).findings
        assert finding.message == "dbt: Env var required but not provided: 'STAGE'"
        assert (finding.file, finding.line) == ("dbt/models/bad.sql", 1)

    def test_a_project_file_that_dbt_refuses(self, shop: Any) -> None:
        shop.write({"dbt_project.yml": "name: shop\nversion: 'one'\n"})
        [(_, finding)] = EXECUTOR.inspect(shop.request()).findings
        assert finding.message.startswith("dbt: at path ['version']")
        assert (finding.file, finding.line) == ("dbt/dbt_project.yml", None)

    def test_packages_that_are_not_installed(self, shop: Any) -> None:
        shop.write({"packages.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n"})
        inspection = EXECUTOR.inspect(shop.request())
        assert inspection.index is None
        assert inspection.findings == [
            (
                "",
                Finding(
                    "FLOE-D003",
                    (),
                    "project `shop` declares 1 package, and none is installed",
                    "run `floe deps`",
                ),
            )
        ]

    @pytest.mark.parametrize(
        ("declared", "is_stale"),
        [
            ("{package: dbt-labs/dbt_utils, version: 1.3.0}", False),
            ("{package: dbt-labs/dbt_utils, version: ['>=1.0.0', '<2.0.0']}", False),
            ("{package: dbt-labs/dbt_utils, version: 1.2.0}", True),
            ("{package: dbt-labs/codegen, version: 1.3.0}", True),
        ],
    )
    def test_packages_that_changed_since_they_were_fetched(
        self, shop: Any, declared: str, is_stale: bool
    ) -> None:
        shop.write(
            {
                "packages.yml": f"packages: [{declared}]\n",
                "package-lock.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n",
                "dbt_packages/dbt_utils/dbt_project.yml": "name: dbt_utils\nversion: '1.3.0'\n",
            }
        )
        inspection = EXECUTOR.inspect(shop.request())
        assert inspection.index is not None
        codes = [(finding.code, finding.is_warning) for _, finding in inspection.findings]
        assert codes == ([("FLOE-D003", True)] if is_stale else [])

    def test_warnings_of_dbt_are_one_finding(self, shop: Any) -> None:
        shop.write(
            {
                "models/a.yml": "models: [{name: nobody}]\n",
                "models/b.yml": "seeds: [{name: nothing}]\n",
            }
        )
        inspection = EXECUTOR.inspect(shop.request())
        assert inspection.index is not None
        [(name, finding)] = inspection.findings
        assert (name, finding.code, finding.is_warning) == ("", "FLOE-D005", True)
        assert finding.message.startswith("dbt warns: Did not find matching node for patch")
        assert "nobody" in finding.message
        assert str(shop.root) not in finding.message
        again = EXECUTOR.inspect(shop.request(cached=inspection.index))
        assert not again.was_parsed
        assert again.findings == []


def test_equal_projects_in_two_folders_give_equal_bytes(
    parsed: tuple[Any, ProjectIndex], workspace: Any
) -> None:
    _, index = parsed
    twin = index_of(workspace.write(SHOP).request())
    assert dump_index([twin]) == dump_index([index])
    assert load_index(dump_index([index])) == (index,)
    assert str(workspace.root).encode() not in dump_index([twin])


def test_writes_into_its_folder_only(workspace: Any) -> None:
    before = workspace.write(SHOP).files()
    request = workspace.request(LocatedTransform("marts", "dbt", select="tag:mart"))
    EXECUTOR.inspect(request)
    assert {path.rsplit("/", 1)[0] for path in workspace.files() - before} >= {".floe/local/parse"}
    assert all(path.startswith(".floe/local/") for path in workspace.files() - before)
