"""Transforms of type `python`: functions of the user's, run for real on DuckDB."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from floe_core.compiler.pipeline import compile_pipeline, compile_request
from floe_core.compiler.request import CompileRequest
from floe_core.errors import UsageError
from floe_dagster import execute as execute_module
from floe_dagster.definitions import build_definitions
from floe_dagster.execute import RunRequest, execute, plan
from floe_dagster.instance import open_instance
from floe_dagster.placement import place
from floe_dagster.records import NodeRecord, RunRecord, read_records
from floe_dbt.engine import Event, NodeStarted
from floe_testing.canaries import traces

if TYPE_CHECKING:
    from conftest import Product

CANARY = "c4n4ry-3a9f"

pytestmark = pytest.mark.filterwarnings("error")

PURE = {
    "floe.yaml": """
name: shop
version: "1.0.0"
owner: data@acme.dev
transforms:
  - name: scores
    type: python
    entry: scoring:build
    description: Twice of everything
    depends_on: [numbers]
    layer: gold
    tags: [ml]
  - {name: numbers, type: python, entry: "shop.numbers:make"}
""",
    "src/shop/__init__.py": "",
    "src/shop/numbers.py": """
def make(context):
    database = context.connect()
    assert database is context.connect()
    database.execute("create or replace table numbers as select range as n from range(3)")
    context.logger.info("made numbers in %s", context.environment)
""",
    "scoring.py": """
from shop import numbers

FACTOR = 2


def build(context):
    print("to standard error")
    assert numbers.make
    assert (context.product, context.environment) == ("shop", "local")
    assert context.root.joinpath("floe.yaml").is_file()
    database = context.connect()
    database.execute(
        f"create or replace table scores as select n, n * {FACTOR} as score from numbers"
    )
    [[rows]] = database.execute("select count(*) from scores").fetchall()
    return {"rows": rows, "model": {"factor": FACTOR}, "loss": float("nan"), "at": context.root}
""",
}

MIXED = {
    "floe.yaml": """
name: shop
version: "1.0.0"
transforms:
  - {name: marts, project: dbt, select: best, depends_on: [scores]}
  - {name: scores, type: python, entry: "scoring:build", depends_on: [staging]}
  - {name: staging, project: dbt, select: numbers}
""",
    "dbt/dbt_project.yml": "{name: shop_dbt, version: '1.0', config-version: 2}",
    "dbt/models/numbers.sql": "select range as n from range(3)",
    "dbt/models/best.sql": "select max(score) as score from {{ source('science', 'scores') }}",
    "dbt/models/sources.yml": """
sources:
  - name: science
    schema: main
    tables: [{name: scores, config: {meta: {dagster: {asset_key: [scores]}}}}]
models:
  - name: best
    columns: [{name: score, data_tests: [not_null]}]
""",
    "scoring.py": """
def build(context):
    sql = "create or replace table scores as select n * 2 as score from numbers"
    context.connect().execute(sql)
""",
}


def write(product: Product, files: dict[str, str]) -> Product:
    for path, text in files.items():
        product.write(path, text)
    product.compile()
    return product


@pytest.fixture
def pure(empty: Product) -> Product:
    """A product of two Python transforms, without dbt."""
    return write(empty, PURE)


@pytest.fixture
def mixed(empty: Product) -> Product:
    """A product whose Python transform stands between two transforms of one dbt project."""
    return write(empty, MIXED)


def run(product: Product, **request: Any) -> RunRecord:
    return execute(product.artifacts, root=product.root, request=RunRequest(**request))


def nodes(record: RunRecord) -> dict[str, NodeRecord]:
    return {node.name: node for node in record.nodes}


def statuses(record: RunRecord) -> dict[str, str]:
    return {name: node.status for name, node in nodes(record).items()}


def test_a_product_without_dbt(pure: Product, capfd: pytest.CaptureFixture[str]) -> None:
    record = run(pure)
    assert statuses(record) == {"numbers": "success", "scores": "success"}
    assert list(nodes(record)) == ["numbers", "scores"]
    assert pure.query("select sum(score) from scores") == 6
    scores = nodes(record)["scores"]
    assert (scores.rows, scores.resource_type, scores.transform) == (3, "asset", "scores")
    assert scores.metadata == {
        "rows": 3,
        "model": {"factor": 2},
        "loss": "nan",
        "at": pure.root.as_posix(),
    }
    assert read_records(pure.layout, "local")[0].nodes == record.nodes
    assert capfd.readouterr() == ("", "to standard error\n")
    assert "made numbers in local" in (pure.layout.logs / "dagster.log").read_text()


def test_what_a_transform_tells_is_on_its_materialization(pure: Product) -> None:
    record = run(pure)
    with open_instance(pure.layout) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("scores"))
    assert event is not None
    assert event.run_id == record.run_id
    assert event.asset_materialization is not None
    told = {key: value.value for key, value in event.asset_materialization.metadata.items()}
    assert told["rows"] == told["dagster/row_count"] == 3
    assert told["model"] == {"factor": 2}


def test_what_dagster_shows(pure: Product) -> None:
    graph = build_definitions(pure.layout.artifacts).resolve_asset_graph()
    scores = graph.get(dg.AssetKey("scores"))
    assert scores.parent_keys == {dg.AssetKey("numbers")}
    assert scores.description == "Twice of everything"
    assert scores.group_name == "scores"
    assert scores.kinds == {"python"}
    assert scores.owners == ["data@acme.dev"]
    assert {"ml", "floe/transform", "floe/layer"} <= scores.tags.keys()
    assert scores.metadata["floe/entry"] == "scoring:build"


def test_a_python_transform_between_two_of_dbt(mixed: Product) -> None:
    assert statuses(run(mixed)) == {
        "numbers": "success",
        "scores": "success",
        "best": "success",
        "not_null_best_score": "pass",
    }
    assert mixed.query("select score from best") == 4
    graph = build_definitions(mixed.layout.artifacts).resolve_asset_graph()
    assert graph.get(dg.AssetKey("best")).parent_keys == {dg.AssetKey("scores")}
    assert graph.get(dg.AssetKey("scores")).parent_keys == {dg.AssetKey("numbers")}
    assert graph.external_asset_keys == set()


def test_an_exception_fails_the_node_at_the_users_line(mixed: Product) -> None:
    run(mixed)
    mixed.write(
        "scoring.py",
        "def helper(database):\n"
        "    database.execute('create or replace table scores as select 1 as score')\n"
        "    database.execute('select * from no_such_table')\n"
        "\n\ndef build(context):\n"
        "    helper(context.connect())\n",
    )
    mixed.compile()
    record = run(mixed)
    assert record.status == "failed"
    assert statuses(record) == {
        "numbers": "success",
        "scores": "error",
        "best": "skipped",
        "not_null_best_score": "skipped",
    }
    scores = nodes(record)["scores"]
    assert (scores.path, scores.line) == ("scoring.py", 3)
    assert scores.message is not None
    assert scores.message.startswith("CatalogException: Catalog Error: Table with name no_such_")
    assert scores.traceback == (
        '  File "scoring.py", line 7, in build\n'
        "    helper(context.connect())\n"
        '  File "scoring.py", line 3, in helper\n'
        "    database.execute('select * from no_such_table')\n"
        f"{scores.message}\n"
    )
    assert mixed.query("select count(*) from scores") == 3, "what it wrote is rolled back"

    mixed.write("scoring.py", MIXED["scoring.py"])
    mixed.compile()
    again = plan(mixed.artifacts, root=mixed.root, request=RunRequest(failed=True))
    assert [name.split(".")[-2:] for name in again.unique_ids][-1:] == [["asset", "scores"]]
    assert len(again.unique_ids) == 3
    assert run(mixed, failed=True).status == "success"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return 3", "`scoring:build` returned an int: return nothing, or a mapping of what there"),
        ("return {'table': object()}", "it returned object under `table`, which is not JSON"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("raise ValueError", "ValueError"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    ],
)
def test_what_a_function_must_not_do(pure: Product, code: str, message: str) -> None:
    pure.write("scoring.py", f"def build(context):\n    {code}\n")
    record = run(pure, transforms=("scores",))
    assert record.status == "failed"
    assert record.error is None
    assert (nodes(record)["scores"].message or "").startswith(message)


def test_a_module_that_breaks_when_it_is_imported(pure: Product) -> None:
    pure.write(
        "scoring.py", "import shop\n\nTABLE = shop.no_such_name\n\ndef build(context): ...\n"
    )
    node = nodes(run(pure, transforms=("scores",)))["scores"]
    assert (node.path, node.line) == ("scoring.py", 3)
    pure.write("scoring.py", "\n\ndef build(context):\n    return {\n")
    node = nodes(run(pure, transforms=("scores",)))["scores"]
    assert (node.path, node.line) == ("scoring.py", 4)
    assert node.message == "SyntaxError: '{' was never closed"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"select": ("scores",)}, {"scores"}),
        ({"select": ("sc*",)}, {"scores"}),
        ({"select": ("tag:ml",)}, {"scores"}),
        ({"select": ("scores numbers",)}, {"scores", "numbers"}),
        ({"select": ("scores,tag:ml",)}, {"scores"}),
        ({"exclude": ("tag:ml",)}, {"numbers"}),
        ({"transforms": ("numbers",)}, {"numbers"}),
        ({}, {"scores", "numbers"}),
    ],
)
def test_selections(pure: Product, request_: dict[str, Any], expected: set[str]) -> None:
    planned = plan(pure.artifacts, root=pure.root, request=RunRequest(**request_))
    assert {node.name for unit in planned.units for node in unit.nodes} == expected


def test_a_selection_of_both_kinds(mixed: Product) -> None:
    request = RunRequest(select=("scores", "best"))
    planned = plan(mixed.artifacts, root=mixed.root, request=request)
    assert {node.name for unit in planned.units for node in unit.nodes} == {"scores", "best"}


@pytest.mark.parametrize("selection", ["+scores", "scores+", "1+scores+2", "@scores"])
def test_dbts_graph_ends_at_a_python_transform(pure: Product, selection: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan(pure.artifacts, root=pure.root, request=RunRequest(select=(selection,)))
    assert raised.value.message == (
        f"`{selection}` asks for what is before or after transform `scores`, which is not dbt's"
    )


def test_a_change_of_the_module_changes_the_hash_and_the_next_run(pure: Product) -> None:
    def source_hash() -> str:
        return compile_pipeline(pure.root / "floe.yaml").artifacts.metadata.source_hash

    before = source_hash()
    pure.write("README.md", "not an input")
    assert source_hash() == before
    run(pure)
    pure.write("scoring.py", PURE["scoring.py"].replace("FACTOR = 2", "FACTOR = 100"))
    assert source_hash() != before
    run(pure)
    assert pure.query("select max(score) from scores") == 200
    assert not {"scoring", "shop"} & sys.modules.keys(), "modules of the project are forgotten"
    assert str(pure.root) not in sys.path


def test_full_refresh_and_vars_reach_the_function(pure: Product) -> None:
    pure.write(
        "scoring.py",
        "def build(context):\n"
        "    return {'full': context.full_refresh, 'vars': dict(context.vars)}\n",
    )
    compile_pipeline(pure.root / "floe.yaml", vars={"start": "2026-01-01"})
    node = nodes(run(pure, transforms=("scores",), full_refresh=True))["scores"]
    assert node.metadata == {"full": True, "vars": {"start": "2026-01-01"}}


@pytest.mark.parametrize("secret", [CANARY, f'{CANARY}"\\ü'], ids=["plain", "escaped-in-json"])
def test_secrets_are_nowhere(
    pure: Product, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], secret: str
) -> None:
    monkeypatch.setattr(execute_module, "resolve_secrets", lambda _artifacts: {"PW": secret})
    pure.write("secret.txt", secret)
    read = "context.root.joinpath('secret.txt').read_text()"
    pure.write("scoring.py", f"def build(context):\n    raise RuntimeError('no: ' + {read})\n")
    pure.write(
        "src/shop/numbers.py",
        f"def make(context):\n    return {{'dsn': 'pw=' + {read}, 'all': [{{{read}: 1}}]}}\n",
    )
    record = run(pure)
    assert nodes(record)["scores"].message == "RuntimeError: no: *****"
    assert nodes(record)["numbers"].metadata == {"dsn": "pw=*****", "all": [{"*****": 1}]}
    printed = {"the streams": "".join(capfd.readouterr())}
    assert traces({"it": secret, "a part of it": CANARY}, [pure.layout.folder], printed) == []


def test_an_interrupt_ends_the_function(pure: Product) -> None:
    pure.write(
        "src/shop/numbers.py",
        "import time\n\n\ndef make(context):\n"
        "    context.connect().execute('create table numbers as select 1')\n"
        "    deadline = time.monotonic() + 120\n"
        "    while time.monotonic() < deadline:\n"
        "        try:\n            time.sleep(0.05)\n"
        "        except Exception:\n            pass\n",
    )
    timers: list[threading.Timer] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, NodeStarted):
            timers.append(threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)))
            timers[-1].start()

    record = execute(pure.artifacts, root=pure.root, listener=interrupt)
    assert record.status == "cancelled"
    assert statuses(record) == {"numbers": "cancelled", "scores": "skipped"}
    pure.write("src/shop/numbers.py", PURE["src/shop/numbers.py"])
    assert run(pure, failed=True).status == "success"


def test_another_process_that_has_the_database(pure: Product) -> None:
    """Where the platform has no catalog, tables are in DuckDB's file."""
    import subprocess

    profiles = pure.artifacts.profiles
    assert profiles is not None
    artifacts = pure.artifacts.model_copy(
        update={"profiles": profiles.model_copy(update={"catalog": None})}
    )

    path = pure.layout.data("local") / "engine.duckdb"
    path.parent.mkdir(parents=True)
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        record = execute(artifacts, root=pure.root)
        assert record.is_unreachable
        assert record.error is not None
        assert "is in use by process" in record.error
        holder.communicate("\n")


@pytest.mark.parametrize("named", ["/app", "dbt"])
def test_artifacts_that_were_compiled_elsewhere(mixed: Product, named: str) -> None:
    """A Python transform is placed by its entry, wherever the dbt project of the others is."""
    transforms = tuple(
        transform
        if transform.is_asset
        else transform.model_copy(update={"dbt_project_path": named})
        for transform in mixed.artifacts.transforms
    )
    changes = {"transforms": transforms, "dbt_project_path": named}
    placed = place(mixed.artifacts.model_copy(update=changes), mixed.root)
    assert len(placed.notes) == (named == "/app")
    assert execute(placed.artifacts, root=mixed.root).is_success


def test_jobs_and_sensors_know_python_transforms(mixed: Product) -> None:
    """A selection of a job knows them as `--select` does, and a sensor may wait for one."""
    mixed.write(
        "floe.yaml",
        MIXED["floe.yaml"]
        + "jobs: [{name: both, select: best scores}, {name: first, transforms: [staging]}]\n"
        + "sensors: [{name: scored, type: asset, asset: scores, job: first}]\n",
    )
    _, warnings = compile_request(CompileRequest(floe_file=mixed.root / "floe.yaml"))
    assert warnings == ()
    orchestration = mixed.artifacts.orchestration
    assert orchestration is not None
    assert orchestration.jobs[0].nodes == ("asset.scores", "model.shop_dbt.best")
    run(mixed)
    assert statuses(run(mixed, job="both")) == {
        "scores": "success",
        "best": "success",
        "not_null_best_score": "pass",
    }
