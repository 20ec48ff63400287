"""A PostgreSQL server for tests: from apt, on loopback, on a free port, gone when the test ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from floe_testing import apt
from floe_testing.ports import free_ports

_PACKAGED = "/usr/lib/postgresql/*/bin"


@dataclass(frozen=True)
class Server:
    """A running server; user `floe` owns the database `mart`."""

    host: str
    port: int
    password: str


def install() -> Path:
    """Find the folder of PostgreSQL's programs, installing the package as root where there is none.

    Raises:
        FileNotFoundError: if it is neither there nor can be installed.
    """
    found = _programs()
    if found is None and apt.install("postgresql"):
        found = _programs()
    if found is None:
        raise FileNotFoundError("PostgreSQL's initdb; install the package `postgresql`")
    return found


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    folders = sorted(Path("/").glob(_PACKAGED.lstrip("/")))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def server(password: str) -> Iterator[Server]:
    """Start a server whose user `floe` has this password, and stop it at the end."""
    programs = install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        account = "postgres" if os.geteuid() == 0 else None
        if account:
            shutil.chown(folder, account)
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        data = folder / "data"
        initdb = ["--username=floe", f"--pwfile={secret}", "--auth=scram-sha-256", f"-D{data}"]
        _run(account, programs / "initdb", *initdb)
        [port] = free_ports(1)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        control = [f"-D{data}", "-w", f"-l{folder / 'log'}", f"-o{options}"]
        _run(account, programs / "pg_ctl", "start", *control)
        try:
            started = Server("127.0.0.1", port, password)
            _create_database(started)
            yield started
        finally:
            _run(account, programs / "pg_ctl", "stop", f"-D{data}", "-m", "immediate")


def _run(account: str | None, program: Path, *arguments: str) -> None:
    subprocess.run(
        [program, *arguments],
        check=True,
        user=account,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _create_database(started: Server) -> None:
    import psycopg2

    connection = psycopg2.connect(
        host=started.host,
        port=started.port,
        user="floe",
        password=started.password,
        dbname="postgres",
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("create database mart")
    connection.close()
