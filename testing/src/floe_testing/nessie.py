"""Nessie for tests, on loopback: its Iceberg REST interface, with OpenID and rules of who may what.

0.99.0 is the newest release whose runnable jar can be had from Maven here.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from floe_testing import maven
from floe_testing.aws import ACCESS_KEY, SECRET_KEY, Aws
from floe_testing.ports import free_ports
from floe_testing.servers import ended, wait_until_open

_JAR = "org.projectnessie.nessie:nessie-quarkus:0.99.0:jar:runner"


@contextmanager
def server(aws: Aws, issuer: str, rules: Mapping[str, str]) -> Iterator[str]:
    """Start a server whose warehouse `lake` is in a bucket; gives the URL of its REST interface.

    It vends keys of a role to whoever wants them.

    Args:
        aws: Has the bucket `lake`, and gives the keys.
        issuer: URL of the OpenID provider whose tokens it takes.
        rules: What is allowed, in Nessie's expressions, by names of one's own.
    """
    port, management = free_ports(2)
    s3 = "nessie.catalog.service.s3.default-options"
    properties = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": management,
        "nessie.catalog.default-warehouse": "lake",
        "nessie.catalog.warehouses.lake.location": "s3://lake/nessie/",
        f"{s3}.endpoint": aws.url,
        f"{s3}.path-style-access": "true",
        f"{s3}.region": aws.region,
        f"{s3}.access-key": "urn:nessie-secret:quarkus:keys.s3",
        "keys.s3.name": ACCESS_KEY,
        "keys.s3.secret": SECRET_KEY,
        f"{s3}.sts-endpoint": aws.url,
        f"{s3}.client-iam.enabled": "true",
        f"{s3}.client-iam.assume-role": "arn:aws:iam::123456789012:role/Lake",
        "nessie.server.authentication.enabled": "true",
        "quarkus.oidc.auth-server-url": issuer,
        "quarkus.oidc.client-id": "nessie",
        "nessie.server.authorization.enabled": "true",
        **{f"nessie.server.authorization.rules.{name}": rule for name, rule in rules.items()},
    }
    given = [f"-D{key}={value}" for key, value in properties.items()]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [maven.java(), "-Xmx1g", *given, "-jar", maven.jar(_JAR)], stdout=out, stderr=out
            )
        with ended(process):
            wait_until_open(port, process)
            yield f"http://127.0.0.1:{port}/iceberg"


def speak_as_it_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add to schemas that are sent what 0.99.0 wants, and what Iceberg has dropped since."""
    import requests

    post = requests.Session.post

    def posted(
        session: requests.Session, url: str, data: Any = None, **options: Any
    ) -> requests.Response:
        if isinstance(data, bytes) and b'"add-schema"' in data:
            body = json.loads(data)
            for update in body["updates"]:
                if update["action"] == "add-schema":
                    update["last-column-id"] = max(_ids(update["schema"]))
            data = json.dumps(body).encode()
        return post(session, url, data=data, **options)

    monkeypatch.setattr(requests.Session, "post", posted)


def _ids(value: Any) -> Iterator[int]:
    """Every field id of a schema."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"id", "element-id", "key-id", "value-id"}:
                yield inner
            else:
                yield from _ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
