"""SeaweedFS for tests: S3, STS and an Iceberg REST catalog, on loopback, gone when the test ends.

The catalog signs in with OAuth2 and vends credentials for each table. `ADMIN` may do everything,
`READER` may only read.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from floe_testing.ports import free_ports, is_listening

_ACCOUNT = "000000000000"
_ROLE = f"arn:aws:iam::{_ACCOUNT}:role/Vended"
_SECONDS_TO_START = 60.0
_ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@dataclass(frozen=True)
class Identity:
    """A pair of keys, which is an OAuth2 client too."""

    key: str
    secret: str


ADMIN = Identity("canary-admin-key", "canary-admin-secret-4711")
READER = Identity("canary-reader-key", "canary-reader-secret-4712")


@dataclass(frozen=True)
class Server:
    """A running server; the table bucket `lake` and the bucket `plain` are empty."""

    s3: str
    catalog: str
    warehouse: str = "s3://lake"
    bucket: str = "plain"


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start a server, and stop it at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("master.port", "volume.port", "filer.port", "s3.port", "s3.port.iceberg")
        grpc = ("master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc")
        ports = dict(zip((*names, *grpc), free_ports(len(names) + len(grpc)), strict=True))
        command: list[str | Path] = [
            _program(),
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-volume.max=200",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
            "-s3",
            f"-s3.config={_written(folder / 's3.json', _identities())}",
            f"-s3.iam.config={_written(folder / 'iam.json', _roles())}",
            f"-s3.iceberg.credentialRole={_ROLE}",
            "-s3.port.lance=0",
            *(f"-{option}={port}" for option, port in ports.items()),
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            master = f"127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}"
            made = f"s3tables.bucket -create -name lake -account {_ACCOUNT}"
            _until(folder, lambda: _shell(master, made), "the table bucket")
            _until(folder, lambda: _shell(master, "s3.bucket.create -name plain"), "the bucket")
            for option in ("s3.port", "s3.port.iceberg"):
                _until(folder, partial(is_listening, ports[option]), option)
            yield Server(
                f"http://127.0.0.1:{ports['s3.port']}",
                f"http://127.0.0.1:{ports['s3.port.iceberg']}",
            )
        finally:
            process.kill()  # it takes half a minute to stop by itself, and nothing is kept
            process.wait()


def _program() -> Path:
    return Path(sys.executable).parent / "weed"


def _shell(master: str, line: str) -> bool:
    done = subprocess.run(
        [_program(), "shell", "-master", master],
        input=line.encode(),
        check=False,
        capture_output=True,
        timeout=_SECONDS_TO_START,
    )
    return done.returncode == 0 and b"error" not in (done.stdout + done.stderr).lower()


def _until(folder: Path, attempt: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while not attempt():
        if time.monotonic() > end:
            log = (folder / "log").read_text(errors="replace")[-4000:]
            raise RuntimeError(f"SeaweedFS does not make {what}:\n{log}")
        time.sleep(0.5)


def _written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def _identities() -> dict[str, object]:
    def entry(identity: Identity, name: str, actions: list[str]) -> dict[str, object]:
        keys = {"accessKey": identity.key, "secretKey": identity.secret}
        return {
            "name": name,
            "credentials": [keys],
            "actions": actions,
            "account": {"id": _ACCOUNT, "displayName": name},
        }

    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    return {
        "identities": [entry(ADMIN, "admin", everything), entry(READER, "reader", ["Read", "List"])]
    }


def _roles() -> dict[str, object]:
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": "iceberg-catalog"},
        "Action": "sts:AssumeRoleWithCredentials",
    }
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs-sts",
            "signingKey": "Zm9yIHRlc3RzIG9ubHksIG9uIGxvb3BiYWNrIG9ubHk=",
        },
        "roles": [
            {
                "roleName": "Vended",
                "roleArn": _ROLE,
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
                "attachedPolicies": ["FullAccess"],
            }
        ],
        "policies": [
            {
                "name": "FullAccess",
                "document": {"Version": "2012-10-17", "Statement": [_ANYTHING]},
            }
        ],
    }
