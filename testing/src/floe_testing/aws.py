"""AWS in one process: moto's server, which keeps what it is told in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe_testing.ports import free_ports
from floe_testing.servers import ended, wait_until_open

ACCESS_KEY = "AKIACANARY0CANARY0AA"
SECRET_KEY = "c4n4ry-aws-key-2f6e41b7"
SESSION_TOKEN = "c4n4ry-aws-session-51ab03"
"""moto takes all credentials; these must turn up nowhere."""


@dataclass(frozen=True)
class Aws:
    """A running server.

    Attributes:
        url: Where it listens.
        region: The region to speak of.
    """

    url: str
    region: str

    @property
    def variables(self) -> Mapping[str, str]:
        """What points every AWS SDK to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": SESSION_TOKEN,
        }

    def client(self, service: str) -> Any:
        """A client of boto3."""
        import boto3

        session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=self.region)
        return session.client(service, endpoint_url=self.url)  # type: ignore[call-overload]


@contextmanager
def moto_server(certificate: Path | None = None, key: Path | None = None) -> Iterator[Aws]:
    """Start moto's server on a free port of the loopback interface.

    Args:
        certificate: File of the certificate of `localhost`; plain HTTP when absent.
        key: File of its key.
    """
    [port] = free_ports(1)
    program = str(Path(sys.executable).with_name("moto_server"))
    encryption = ["-c", str(certificate), "-k", str(key)] if certificate is not None else []
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port), *encryption],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ended(process):
        wait_until_open(port, process)
        host = "http://127.0.0.1" if certificate is None else "https://localhost"
        yield Aws(f"{host}:{port}", "eu-central-1")
