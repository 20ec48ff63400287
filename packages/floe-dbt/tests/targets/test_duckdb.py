from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import pytest

from floe_core.errors import QueryError, ServiceUnavailableError
from floe_core.plugins import QueryResult
from floe_core.schemas.platform import ComputeProfile
from floe_dbt.targets.duckdb import DuckDBTarget

TARGET = DuckDBTarget()
ROOT = "{{ env_var('FLOE_PROJECT_DIR') }}"


def compute(**properties: Any) -> ComputeProfile:
    return ComputeProfile.model_construct(type="duckdb", properties=properties)


def test_properties_are_those_of_the_adapter() -> None:
    """A new field of the adapter has to be decided on: a property, or one of these."""
    from dbt.adapters.duckdb.credentials import DuckDBCredentials

    left_out = {
        "filesystems",  # holds keys of object storage in clear
        "flights",  # MotherDuck
        "is_ducklake",  # dbt-duckdb sees it in the path
        "keep_open",  # floe closes the database after each command
        "motherduck_token",
        "remote",  # an experiment of dbt-duckdb
        "secrets",  # holds keys in clear
    }
    floes_own = {"memory_limit", "temp_directory", "timezone", "threads"}
    known = {field.name for field in fields(DuckDBCredentials)}
    assert set(TARGET.properties) - floes_own == known - left_out


def test_is_installed() -> None:
    assert TARGET.is_installed()


class TestOutput:
    def test_of_the_laptop_default(self) -> None:
        assert TARGET.output(compute(), "dev") == {
            "type": "duckdb",
            "path": f"{ROOT}/.floe/data/dev/engine.duckdb",
            "schema": "main",
            "threads": 4,
        }

    def test_of_all_properties(self) -> None:
        output = TARGET.output(
            compute(
                path="data/lake.duckdb",
                schema="core",
                threads=8,
                memory_limit="4GB",
                temp_directory="spill",
                timezone="UTC",
                settings={"preserve_insertion_order": False, "memory_limit": "8GB"},
                extensions=["httpfs"],
                external_root="/srv/out",
                attach=[{"path": "other.duckdb", "alias": "other"}, {"path": "s3://b/x.duckdb"}],
            ),
            "dev",
        )
        assert output == {
            "type": "duckdb",
            "path": f"{ROOT}/data/lake.duckdb",
            "schema": "core",
            "threads": 8,
            "settings": {
                "memory_limit": "8GB",
                "temp_directory": f"{ROOT}/spill",
                "TimeZone": "UTC",
                "preserve_insertion_order": False,
            },
            "extensions": ["httpfs"],
            "external_root": "/srv/out",
            "attach": [
                {"path": f"{ROOT}/other.duckdb", "alias": "other"},
                {"path": "s3://b/x.duckdb"},
            ],
        }

    def test_needs_no_secrets(self) -> None:
        assert TARGET.secrets(compute()) == {}


class TestCheck:
    @pytest.mark.parametrize("properties", [{}, {"path": "a/b.duckdb"}, {"path": "/srv/b.db"}])
    def test_accepts(self, properties: dict[str, Any]) -> None:
        assert TARGET.check(compute(**properties)) == []

    @pytest.mark.parametrize(
        ("properties", "field"),
        [
            ({"path": ":memory:"}, ("properties", "path")),
            ({"path": "md:mine"}, ("properties", "path")),
            ({"path": "ducklake:x.ducklake"}, ("properties", "path")),
            ({"path": "s3://bucket/x.duckdb"}, ("properties", "path")),
            ({"threads": 0}, ("properties", "threads")),
        ],
    )
    def test_refuses(self, properties: dict[str, Any], field: tuple[str, ...]) -> None:
        [finding] = TARGET.check(compute(**properties))
        assert (finding.code, finding.field) == ("FLOE-R018", field)

    def test_refuses_credentials(self) -> None:
        profile = ComputeProfile.model_validate(
            {"type": "duckdb", "credentials": {"mode": "service_account"}}
        )
        [finding] = TARGET.check(profile)
        assert finding.field == ("credentials",)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose environment `dev` has been built."""
    root = tmp_path_factory.mktemp("query")
    (root / ".floe/data/dev").mkdir(parents=True)
    with duckdb.connect(str(root / "other.duckdb")) as connection:
        connection.execute("create table facts as select 7 as n")
    (root / "file.csv").write_text("a\n1\n2\n")
    with duckdb.connect(str(root / ".floe/data/dev/engine.duckdb")) as connection:
        connection.execute("create table orders as select range as id from range(10)")
        connection.execute("create schema gold")
        connection.execute("create table gold.revenue as select 1.5::decimal(4,2) as amount")
        connection.execute(f"create view files as select * from '{root}/file.csv'")
    return root


Query = Callable[..., QueryResult]


@pytest.fixture
def query(root: Path) -> Query:
    def query(sql: str, limit: int | None = None, **properties: Any) -> QueryResult:
        return TARGET.query(compute(**properties), "dev", root, {}, sql, limit)

    return query


class TestQuery:
    def test_gives_names_types_and_rows(self, query: Query) -> None:
        result = query("select id, id::varchar as text from orders order by id", 2)
        assert result == QueryResult(("id", "text"), ("BIGINT", "VARCHAR"), [(0, "0"), (1, "1")])
        assert len(query("select * from orders").rows) == 10

    @pytest.mark.parametrize(
        "sql",
        [
            "select 1;",
            "-- all\nselect * from orders",
            "from orders",
            "values (1)",
            "with a as (select 1) from a",
            "describe orders",
            "summarize orders",
            "show tables",
            "show all tables",
            "explain select 1",
            "explain analyze select 1",
            "pivot orders on id % 2 using count(*)",
            "select * from files",
        ],
    )
    def test_reads(self, query: Query, sql: str) -> None:
        assert query(sql).rows

    @pytest.mark.parametrize(
        "sql",
        [
            "create table x as select 1",
            "insert into orders values (1)",
            "delete from orders",
            "drop table orders",
            "copy (select 1) to '{out}'",
            "explain analyze copy (select 1) to '{out}'",
            "explain analyze delete from orders",
            "/* x */ explain (analyze) copy (select 1) to '{out}'",
            "export database '{out}'",
            "attach '{out}'",
            "set threads = 1",
            "install httpfs",
            "checkpoint",
            "select 1; select 2",
            "create temp table x as select 1; select * from x",
            "select 1; drop table orders",
            "",
            "-- nothing",
        ],
    )
    def test_refuses_what_does_not_read(self, query: Query, tmp_path: Path, sql: str) -> None:
        with pytest.raises(QueryError):
            query(sql.format(out=tmp_path / "out"))
        assert list(tmp_path.iterdir()) == []
        assert query("select count(*) from orders").rows == [(10,)]

    def test_says_what_is_refused(self, query: Query) -> None:
        with pytest.raises(QueryError, match="`DELETE` is not a query") as caught:
            query("delete from orders")
        assert (caught.value.help or "").startswith("give one SELECT")

    def test_passes_on_what_the_database_says(self, query: Query) -> None:
        with pytest.raises(QueryError, match="Table with name nope does not exist"):
            query("select * from nope")
        with pytest.raises(QueryError, match="Parser Error"):
            query("from from")

    def test_uses_the_schema_of_the_profile(self, query: Query) -> None:
        assert query("from gold.revenue").types == ("DECIMAL(4,2)",)
        assert len(query("from revenue", schema="gold").rows) == 1
        assert len(query("from orders", schema="not_there_yet").rows) == 10

    def test_honours_settings_and_attached_databases(self, query: Query) -> None:
        attach = [{"path": "other.duckdb", "alias": "warehouse"}]
        assert query("from warehouse.facts", attach=attach).rows == [(7,)]
        setting = query(
            "select current_setting('TimeZone'), current_setting('threads')",
            timezone="Asia/Tokyo",
            settings={"threads": 3},
        )
        assert setting.rows == [("Asia/Tokyo", 3)]

    def test_before_anything_was_built(self, tmp_path: Path) -> None:
        with pytest.raises(QueryError) as caught:
            TARGET.query(compute(), "dev", tmp_path, {}, "select 1", None)
        assert caught.value.message == (
            "nothing has been built in environment `dev` yet: "
            "there is no .floe/data/dev/engine.duckdb"
        )
        assert caught.value.help == "run `floe run` first"
        assert list(tmp_path.iterdir()) == []

    def test_while_another_process_writes(self, query: Query, writer: int) -> None:
        with pytest.raises(ServiceUnavailableError) as caught:
            query("select 1")
        assert caught.value.message.startswith(
            f".floe/data/dev/engine.duckdb is in use by process {writer} ("
        )

    def test_while_this_process_writes(self, query: Query, root: Path) -> None:
        path = root / ".floe/data/dev/engine.duckdb"
        with (
            duckdb.connect(str(path)),
            pytest.raises(ServiceUnavailableError, match="in use by this process"),
        ):
            query("select 1")

    def test_a_file_that_is_not_a_database(self, tmp_path: Path) -> None:
        (tmp_path / "x.duckdb").write_text("not a database, though long enough to be looked at\n")
        with pytest.raises(QueryError, match=r"x\.duckdb cannot be opened"):
            TARGET.query(compute(path="x.duckdb"), "dev", tmp_path, {}, "select 1", None)


@pytest.fixture
def writer(root: Path) -> Iterator[int]:
    """Identifier of a process that has the database open."""
    code = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read()"
    )
    path = root / ".floe/data/dev/engine.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_a_connection_is_one_transaction(tmp_path: Path) -> None:
    profile = compute(schema="lab", threads=2)
    with TARGET.connect(profile, "dev", tmp_path, {}) as connection:
        connection.execute("create table numbers as select 1 as n")
    with (
        pytest.raises(duckdb.ConversionException),
        TARGET.connect(profile, "dev", tmp_path, {}) as connection,
    ):
        connection.execute("insert into numbers values (2); insert into numbers values ('two')")
    with TARGET.connect(profile, "dev", tmp_path, {}) as connection:
        connection.execute("insert into numbers values (3)")
        connection.commit()  # ends the transaction itself
    found = TARGET.query(profile, "dev", tmp_path, {}, "select n from lab.numbers", None)
    assert found.rows == [(1,), (3,)]


def test_a_connection_may_write_to_what_is_attached(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        duckdb.connect(tmp_path / f"{name}.duckdb").close()
    entries = [
        {"path": "open.duckdb", "alias": "open"},
        {"path": "closed.duckdb", "alias": "closed", "read_only": True},
    ]
    with TARGET.connect(compute(attach=entries), "dev", tmp_path, {}) as connection:
        connection.execute("create table open.numbers as select 1 as n")
    with (
        pytest.raises(duckdb.InvalidInputException, match="read-only"),
        TARGET.connect(compute(attach=entries), "dev", tmp_path, {}) as connection,
    ):
        connection.execute("create table closed.numbers as select 1 as n")


def test_a_file_in_use_cannot_be_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "busy.duckdb"
    code = f"import duckdb; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(ServiceUnavailableError, match="in use by process"),
            TARGET.connect(compute(path="busy.duckdb"), "dev", tmp_path, {}),
        ):
            pass
        holder.communicate("\n")
