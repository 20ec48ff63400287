"""A product whose telemetry is on, in an environment that says nothing of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from floe_core.artifacts import load_artifacts
from floe_core.otel import Telemetry, setup
from floe_core.schemas.artifacts import CompiledArtifacts
from floe_testing.otlp import Certificates, make_certificates

SAMPLE = Path(__file__).parents[1] / "contract" / "1.1.0" / "sample.json"
OFF = {"traces": False, "metrics": False, "logs": False, "otlp_endpoint": None}
UNSET = {"exporter": None, "otlp_protocol": None}

Product = Callable[..., CompiledArtifacts]
Start = Callable[..., Telemetry]


@pytest.fixture(autouse=True)
def _silent_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("OTEL_") or name in {"TRACEPARENT", "TRACESTATE", "BAGGAGE"}:
            monkeypatch.delenv(name)
    monkeypatch.delenv("FLOE_NO_TELEMETRY", raising=False)
    monkeypatch.setenv("FLOE_SECRETS_DIR", str(tmp_path))


@pytest.fixture
def product() -> Product:
    """Makes artifacts of which these signals are on, with these fields of `observability`."""

    def make(*signals: str, **fields: Any) -> CompiledArtifacts:
        data = load_artifacts(SAMPLE).model_dump(mode="json", exclude_none=True)
        on = dict.fromkeys(signals, True)
        data["observability"] |= OFF | UNSET | on | {"deadline_seconds": 10} | fields
        return CompiledArtifacts.model_validate(data).model_copy(update={"plugins": None})

    return make


@pytest.fixture
def start(product: Product) -> Iterator[Start]:
    """Sets such a product's telemetry up, and shuts down what a test leaves."""
    started: list[Telemetry] = []

    def make(*signals: str, run_id: str | None = None, **fields: Any) -> Telemetry:
        started.append(setup(product(*signals, **fields), run_id=run_id))
        return started[-1]

    yield make
    for telemetry in started:
        telemetry.shutdown(0)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of a server, of a client and of their authority."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
