"""`PostgresTarget`: dbt on a PostgreSQL server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floe_core.errors import QueryError, ServiceUnavailableError
from floe_core.masking import mask_values
from floe_core.plugins import Finding, Property, QueryResult
from floe_core.schemas.platform import ComputeProfile
from floe_core.schemas.secret import SecretRef, StaticCredentials
from floe_dbt.targets.output import below_project, in_project, is_installed, moved

if TYPE_CHECKING:
    import psycopg2
    import psycopg2.extensions

    from floe_core.lake import Lake
    from floe_core.plugins import ComputeTarget

THREADS = 4
PORT = 5432

_SECRET = "DBT_ENV_SECRET_FLOE_"
"""dbt keeps values of variables with this beginning of its name out of its logs."""

_FILES = ("sslcert", "sslkey", "sslrootcert")
_READS = re.compile(r"\s*\(*\s*(select|with|values|table|explain|show)\b", re.IGNORECASE)
_QUOTED = re.compile(
    r"""e'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/
      | (?P<tag>\$\w*\$).*?(?P=tag)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


class PostgresTarget:
    """Writes PostgreSQL's part of profiles.yml, and runs queries on the server."""

    adapter = "postgres"
    distribution = "dbt-postgres"
    properties: Mapping[str, Property] = {
        "host": Property((str, SecretRef), "Name or address of the server.", is_required=True),
        "port": Property(int, f"Port of the server; {PORT} when absent."),
        "dbname": Property(str, "Name of the database."),
        "database": Property(str, "Another spelling of `dbname`."),
        "schema": Property(str, "Schema of models that set none; `public` when absent."),
        "user": Property((str, SecretRef), "User name, when `credentials` does not hold it."),
        "password": Property(SecretRef, "Password, when `credentials` does not hold it."),
        "threads": Property(int, f"Models that dbt builds at once; {THREADS} when absent."),
        "connect_timeout": Property(int, "Seconds to wait for the server; 10 when absent."),
        "role": Property(str, "Role that the user takes on."),
        "search_path": Property(str, "Schemas that names without one are looked up in."),
        "keepalives_idle": Property(int, "Seconds without traffic before a keepalive is sent."),
        "sslmode": Property(str, "Whether the connection is encrypted, such as `verify-full`."),
        "sslcert": Property(str, "File of the client's certificate."),
        "sslkey": Property(str, "File of the client's key."),
        "sslrootcert": Property(str, "File of the certificate authority."),
        "application_name": Property(str, "Name that the server shows for floe's connections."),
        "retries": Property(int, "How often connecting is tried again; 1 when absent."),
    }

    stores_in_lake = False

    def is_installed(self) -> bool:
        """Whether the adapter can be imported here; does not import it."""
        return is_installed(self.distribution)

    def check(self, compute: ComputeProfile) -> Sequence[Finding]:
        """Look for what dbt on PostgreSQL cannot work with."""
        findings = []
        names = [key for key in ("dbname", "database") if key in compute.properties]
        if not names:
            findings.append(
                Finding(
                    "FLOE-R018", ("properties",), "needs the name of a database", "add `dbname:`"
                )
            )
        if len(names) == 2:
            field = ("properties", "database")
            message = "is another spelling of `dbname`: write one of them"
            findings.append(Finding("FLOE-R018", field, message, "remove it", on_key=True))
        return [*findings, *_credential_findings(compute)]

    def relocate(self, compute: ComputeProfile, move: Callable[[str], str]) -> ComputeProfile:
        """Move the paths of certificates and keys."""
        return moved(compute, _FILES, move)

    def output(
        self, compute: ComputeProfile, environment: str, lake: Lake | None = None
    ) -> dict[str, Any]:
        """Build the output of profiles.yml; user name and password are environment variables."""
        output: dict[str, Any] = {
            "type": self.adapter,
            "port": PORT,
            "schema": "public",
            "threads": THREADS,
        }
        for key, value in _values(compute).items():
            output[key] = _jinja(key) if isinstance(value, SecretRef) else value
        for key in _FILES:
            if key in output:
                output[key] = below_project(output[key])
        return output

    def secrets(self, compute: ComputeProfile) -> Mapping[str, SecretRef]:
        """Map each environment variable of `output` to the secret it holds."""
        return {
            _variable(key): value
            for key, value in _values(compute).items()
            if isinstance(value, SecretRef)
        }

    def query(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        sql: str,
        limit: int | None,
        lake: Lake | None = None,
    ) -> QueryResult:
        """Run one read-only statement on the server.

        Raises:
            QueryError: if the statement is wrong or would write.
            ServiceUnavailableError: if the server does not answer or does not let us in.
        """
        import psycopg2

        _check_statement(sql)
        connection = _connect(compute, root, secrets)
        try:
            connection.set_session(readonly=True)
            return _fetch(connection, compute, sql, limit)
        except psycopg2.Error as problem:
            raise QueryError(mask_values(str(problem).strip(), secrets.values())) from None
        finally:
            connection.close()

    @contextmanager
    def connect(
        self,
        compute: ComputeProfile,
        environment: str,
        root: Path,
        secrets: Mapping[str, str],
        lake: Lake | None = None,
    ) -> Iterator[psycopg2.extensions.connection]:
        """Open a connection that may write, in one transaction.

        Names without a schema mean those of the profile's, which is created where it is not there.

        Raises:
            ServiceUnavailableError: if the server does not answer or does not let us in.
        """
        schema = str(compute.properties.get("schema", "public"))
        connection = _connect(compute, root, secrets)
        try:
            with connection.cursor() as cursor:
                _take_role(cursor, compute)
                cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_identifier(schema)}")
            connection.commit()
            yield connection
            connection.commit()
        finally:
            connection.close()  # what is not committed is rolled back


def _credential_findings(compute: ComputeProfile) -> list[Finding]:
    credentials = compute.credentials
    if credentials is not None and not isinstance(credentials, StaticCredentials):
        message = f"PostgreSQL takes a user name and a password, not `{credentials.mode}`"
        help = "write `mode: static` with `username` and `password`"
        return [Finding("FLOE-R018", ("credentials", "mode"), message, help)]
    missing = {"user", "password"} - _values(compute).keys()
    if not missing:
        return []
    help = (
        "add `credentials: {mode: static, username: ..., "
        "password: {secret_ref: NAME, key: password}}`"
    )
    return [Finding("FLOE-R018", (), "needs a user name and a password", help)]


def _values(compute: ComputeProfile) -> dict[str, Any]:
    """Connection values by dbt's names, literal or as references to secrets."""
    values: dict[str, Any] = dict(compute.properties)
    if "database" in values:
        values["dbname"] = values.pop("database")
    if isinstance(compute.credentials, StaticCredentials):
        values["user"] = compute.credentials.username
        values["password"] = compute.credentials.password
    return values


def _variable(key: str) -> str:
    return _SECRET + {"user": "USERNAME"}.get(key, key.upper())


def _jinja(key: str) -> str:
    return f"{{{{ env_var('{_variable(key)}') }}}}"


def _connection(compute: ComputeProfile, root: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of psycopg2's `connect`."""
    values = _values(compute)
    for key, value in values.items():
        if isinstance(value, SecretRef):
            values[key] = secrets[_variable(key)]
    for key in _FILES:
        if key in values:
            values[key] = in_project(below_project(values[key]), root)
    schema = values.get("search_path") or f"{values.get('schema', 'public')},public"
    options = "-c search_path=" + str(schema).replace(" ", "\\ ")
    known = {
        key: values[key]
        for key in ("host", "dbname", "user", "password", "keepalives_idle", "sslmode", *_FILES)
        if values.get(key) not in (None, 0)
    }
    return {
        "port": values.get("port", PORT),
        "connect_timeout": values.get("connect_timeout", 10),
        "application_name": values.get("application_name", "floe"),
        "options": options,
        **known,
    }


def _connect(
    compute: ComputeProfile, root: Path, secrets: Mapping[str, str]
) -> psycopg2.extensions.connection:
    import psycopg2

    arguments = _connection(compute, root, secrets)
    try:
        connection: psycopg2.extensions.connection = psycopg2.connect(**arguments)
    except psycopg2.OperationalError as problem:
        raise _unavailable(arguments, str(problem), secrets) from None
    return connection


def _take_role(cursor: Any, compute: ComputeProfile) -> None:
    role = compute.properties.get("role")
    if role:
        cursor.execute(f"SET ROLE {_identifier(str(role))}")


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unavailable(
    arguments: Mapping[str, Any], message: str, secrets: Mapping[str, str]
) -> ServiceUnavailableError:
    where = f"{arguments.get('host', 'localhost')}:{arguments['port']}"
    parts = (where, " ".join(message.split()))
    where, reason = (mask_values(part, secrets.values()) for part in parts)
    return ServiceUnavailableError(f"PostgreSQL at {where} cannot be reached: {reason}")


def _check_statement(sql: str) -> None:
    """Refuse several statements, of which one could end the read-only transaction."""
    bare = _QUOTED.sub(" ", sql).strip().rstrip(";").rstrip()
    if not bare:
        raise QueryError("the query is empty")
    if ";" in bare:
        raise QueryError("these are several statements", "give one statement")
    if not _READS.match(bare):
        raise QueryError(
            f"`{bare.split()[0].upper()}` is not a query: floe reads data here and changes none",
            "give one SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN",
        )


def _fetch(connection: Any, compute: ComputeProfile, sql: str, limit: int | None) -> QueryResult:
    with connection.cursor() as cursor:
        _take_role(cursor, compute)
        cursor.execute(sql)
        rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
        columns = cursor.description or ()
        names = _type_names(cursor, sorted({column.type_code for column in columns}))
    return QueryResult(
        columns=tuple(column.name for column in columns),
        types=tuple(names.get(column.type_code, "unknown") for column in columns),
        rows=[tuple(row) for row in rows],
    )


def _type_names(cursor: Any, codes: list[int]) -> dict[int, str]:
    cursor.execute(
        "SELECT oid::integer, format_type(oid, NULL) FROM pg_type WHERE oid = ANY(%s::oid[])",
        (codes,),
    )
    return dict(cursor.fetchall())


if TYPE_CHECKING:
    _: type[ComputeTarget] = PostgresTarget
