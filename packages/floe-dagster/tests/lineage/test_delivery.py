"""Delivery to servers that take events, and to those that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from floe_core.errors import ArtifactsError
from floe_dagster.lineage import delivery
from floe_dagster.lineage.delivery import Counts, open_delivery
from floe_dagster.lineage.settings import LineageSettings, completed
from floe_dagster.lineage.spool import Spool
from floe_testing.lineage import Sink, lineage_sink
from floe_testing.ports import free_ports
from floe_testing.shop import RUN_ID

KEY = "lineage_canary_5f0c"
SLACK = 3.0
"""Seconds; only to catch hanging."""


def event(number: int, job: str = "job") -> RunEvent:
    return RunEvent(
        eventType=RunState.START if number % 2 == 0 else RunState.COMPLETE,
        eventTime=f"2026-03-01T06:00:00.{number:06}+00:00",
        run=Run(RUN_ID),
        job=Job("acme", f"{job}{number // 2}"),
        producer="https://floe.dev/floe",
    )


def events(first: int, last: int) -> list[RunEvent]:
    return [event(number) for number in range(first, last)]


def told(first: int, last: int) -> list[tuple[str, str]]:
    return [(f"job{n // 2}", "COMPLETE" if n % 2 else "START") for n in range(first, last)]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with lineage_sink(key=KEY) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, sink: Sink) -> LineageSettings:
    spool = tmp_path / ".floe/lineage/prod.undelivered.jsonl"
    return LineageSettings(endpoint=sink.url, api_key=KEY, deadline_seconds=10, spool=spool)


def deliver(settings: LineageSettings, *sent: RunEvent, seconds: float | None = None) -> Counts:
    sender = open_delivery(settings)
    for item in sent:
        sender.send([item])
    return sender.close(seconds)


def spooled(settings: LineageSettings) -> list[str]:
    assert settings.spool is not None
    if not settings.spool.is_file():
        return []
    lines = settings.spool.read_text().splitlines()
    return [json.loads(line)["eventTime"][-12:-6] for line in lines]


def test_events_arrive_in_order(settings: LineageSettings, sink: Sink) -> None:
    counts = deliver(settings, *events(0, 8))
    assert counts == Counts(delivered=8, destination=sink.url)
    assert counts.warning() is None
    assert sink.told == told(0, 8)
    assert sink.paths == {"/api/v1/lineage"}
    assert spooled(settings) == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/api/v1/lineage"), ("/", "/api/v1/lineage"), ("/api/gms/ol?x=1", "/api/gms/ol?x=1")],
)
def test_endpoints(settings: LineageSettings, sink: Sink, path: str, asked: str) -> None:
    deliver(replace(settings, endpoint=sink.url + path), event(0))
    assert sink.paths == {asked}


@pytest.mark.parametrize(
    ("mood", "problem"),
    [
        ("absent", "it cannot be reached"),
        ("unauthorized", "it answered 401"),
        ("broken", "it failed again and again"),
        ("hanging", "it did not answer in time"),
        ("dripping", "it did not answer in time"),
    ],
)
def test_hostile_servers(settings: LineageSettings, sink: Sink, mood: Any, problem: str) -> None:
    deadline = 0.5
    url = f"http://127.0.0.1:{free_ports(1)[0]}" if mood == "absent" else sink.url
    if mood != "absent":
        sink.mood = mood
    hostile = replace(settings, endpoint=url, deadline_seconds=deadline)
    begun = time.monotonic()
    counts = deliver(hostile, *events(0, 6))
    assert time.monotonic() - begun < deadline + SLACK
    assert counts == Counts(kept=6, destination=url, problem=problem)
    assert counts.warning() == (
        f"Lineage was not delivered to {url} ({problem}): 6 kept for the next run."
    )
    assert spooled(settings) == [f"{number:06}" for number in range(6)]

    sink.mood = "good"
    counts = deliver(settings, *events(6, 8))
    assert counts == Counts(delivered=2, resent=6, destination=sink.url)
    assert sink.told == told(0, 8)
    assert spooled(settings) == []


def test_a_server_that_comes_back_at_the_end(
    settings: LineageSettings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_AGAIN_SECONDS", 0.0)
    sink.mood = "unauthorized"
    sender = open_delivery(settings)
    sender.send(events(0, 2))
    while sender._failed_at is None:
        time.sleep(0.01)
    sink.mood = "good"
    assert sender.close().delivered == 2


def test_an_event_that_is_refused_holds_up_no_other(settings: LineageSettings, sink: Sink) -> None:
    sink.mood = "picky"
    counts = deliver(settings, event(0), event(1, "bad"), event(2))
    assert (counts.delivered, counts.kept, counts.dropped) == (2, 0, 1)
    assert counts.problem == "it answered 422"


def test_an_event_that_was_kept_and_is_refused_is_dropped(
    settings: LineageSettings, sink: Sink
) -> None:
    sink.mood = "unauthorized"
    deliver(settings, event(1, "bad"), event(2))
    sink.mood = "picky"
    counts = deliver(settings, event(4))
    assert (counts.delivered, counts.resent) == (1, 1)
    assert spooled(settings) == []


def test_events_of_earlier_runs_leave_time_for_those_of_this_one(
    settings: LineageSettings, sink: Sink
) -> None:
    assert settings.spool is not None
    spool = Spool(settings.spool)
    spool.settle([], [delivery._line(item) for item in events(0, 2000)])
    counts = deliver(settings, event(3000), seconds=0.6)
    assert counts.delivered == 1
    assert len(spooled(settings)) == 2000 - counts.resent


def test_a_spool_is_bounded(tmp_path: Path) -> None:
    lines = [delivery._line(item) for item in events(0, 10)]
    spool = Spool(tmp_path / "s.jsonl", limit=4 * (len(lines[0]) + 20))
    assert spool.settle([], lines[:3]) == 0
    assert spool.settle([], lines[3:]) == 6
    assert spool.claim() == lines[6:]


def test_a_spool_forgets_lines_that_are_damaged(settings: LineageSettings, sink: Sink) -> None:
    assert settings.spool is not None
    settings.spool.parent.mkdir(parents=True)
    settings.spool.write_bytes(b"{\n[]\n" + delivery._line(event(0)) + b"\n\xff\n")
    counts = deliver(settings, event(2))
    assert (counts.delivered, counts.resent) == (1, 1)
    assert spooled(settings) == []


def test_one_process_at_a_time_sends_what_was_kept(settings: LineageSettings, sink: Sink) -> None:
    assert settings.spool is not None
    first = Spool(settings.spool)
    first.settle([], [delivery._line(event(0))])
    assert len(first.claim()) == 1
    sink.mood = "unauthorized"
    counts = deliver(settings, event(2))
    assert (counts.resent, counts.kept) == (0, 1)
    assert spooled(settings) == ["000000", "000002"]
    first.settle([delivery._line(event(0))], [])
    assert spooled(settings) == ["000002"]


def test_memory_is_bounded(
    settings: LineageSettings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LIMIT_EVENTS", 4)
    sink.mood = "hanging"
    counts = deliver(settings, *events(0, 20), seconds=0.2)
    assert counts.kept in {4, 5}
    assert counts.kept + counts.dropped == 20


def test_events_are_dropped_where_they_cannot_be_kept(
    settings: LineageSettings, sink: Sink, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    sink.mood = "unauthorized"
    counts = deliver(replace(settings, spool=tmp_path / "file/spool.jsonl"), event(0))
    assert (counts.kept, counts.dropped) == (0, 1)
    assert deliver(replace(settings, spool=None), event(0)).dropped == 1


def test_the_key_is_sent_and_seen_nowhere_else(
    settings: LineageSettings, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    deliver(settings, event(0))
    assert sink.headers["authorization"] == f"Bearer {KEY}"
    sink.mood = "unauthorized"
    counts = deliver(settings, event(2))
    assert settings.spool is not None
    for text in (caplog.text, repr(settings), repr(counts), settings.spool.read_text()):
        assert KEY not in text


def test_a_program_ends_while_a_server_hangs(sink: Sink) -> None:
    sink.mood = "dripping"
    script = (
        "from floe_dagster.lineage.delivery import open_delivery\n"
        "from floe_dagster.lineage.settings import LineageSettings\n"
        f"sender = open_delivery(LineageSettings(endpoint={sink.url!r}))\n"
        "sender.send([{'eventTime': 'x'}])\n"
        "print(sender.close(0.2).dropped)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "1\n"


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    counts = deliver(LineageSettings("file", path=path), *events(0, 3))
    assert counts.delivered == 3
    assert len(path.read_text().splitlines()) == 3


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    counts = deliver(LineageSettings("file", path=tmp_path / "no/events.jsonl"), event(0))
    assert (counts.delivered, counts.dropped) == (0, 1)


def test_console(capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(LineageSettings("console"), event(0)).delivered == 1
    captured = capfd.readouterr()
    assert json.loads(captured.err)["eventType"] == "START"
    assert captured.out == ""


def test_noop() -> None:
    assert deliver(LineageSettings("noop"), event(0)).warning() is None


@pytest.mark.parametrize(("left", "delivered", "kept"), [(0, 3, 0), (1, 0, 3)])
def test_kafka(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, delivered: int, kept: int
) -> None:
    """With a stand-in for confluent-kafka; `left` is what a flush leaves in its buffer."""
    produced: list[dict[str, Any]] = []

    class Producer:
        def __init__(self, config: dict[str, str]) -> None:
            assert config == {"bootstrap.servers": "broker:9092"}

        def produce(self, **message: Any) -> None:
            produced.append(message)

        def flush(self, timeout: float) -> int:
            assert 0 <= timeout <= 5
            return left

    stand_in = types.ModuleType("confluent_kafka")
    monkeypatch.setattr(stand_in, "Producer", Producer, raising=False)
    monkeypatch.setitem(sys.modules, "confluent_kafka", stand_in)
    settings = LineageSettings(
        "kafka",
        topic="lineage",
        namespace="acme",
        properties={"bootstrap.servers": "broker:9092"},
        spool=tmp_path / "spool.jsonl",
    )
    counts = deliver(settings, *events(0, 3))
    assert (counts.delivered, counts.kept) == (delivered, kept)
    assert {(message["topic"], message["key"]) for message in produced} == {("lineage", "run:acme")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LineageSettings("http"), "`observability.lineage` has no `endpoint`"),
        (LineageSettings("http", endpoint="marquez:5000"), "is not a URL"),
        (LineageSettings("http", endpoint="http://[x"), "is not a URL"),
        (LineageSettings("file"), "`observability.lineage` has no `path`"),
        (LineageSettings("kafka"), "`observability.lineage` has no `topic`"),
        (LineageSettings("kafka", topic="t"), "confluent-kafka is not installed"),
    ],
)
def test_settings_that_lack_something(settings: LineageSettings, message: str) -> None:
    with pytest.raises(ArtifactsError) as caught:
        open_delivery(settings)
    assert message in caught.value.message
    assert caught.value.help


URL = {"OPENLINEAGE_URL": "http://env:1", "OPENLINEAGE_API_KEY": "k"}


@pytest.mark.parametrize(
    ("settings", "environ", "url", "key"),
    [
        (LineageSettings(), URL, "http://env:1/api/v1/lineage", "k"),
        (
            LineageSettings(),
            {**URL, "OPENLINEAGE_ENDPOINT": "/v2/ol"},
            "http://env:1/v2/ol",
            "k",
        ),
        (LineageSettings(endpoint="http://own"), URL, "http://own/api/v1/lineage", None),
        (
            LineageSettings(endpoint="http://own"),
            {"OPENLINEAGE_API_KEY": "k"},
            "http://own/api/v1/lineage",
            "k",
        ),
        (LineageSettings(api_key="own"), URL, "http://env:1/api/v1/lineage", "own"),
        (LineageSettings("console"), URL, None, None),
    ],
)
def test_environment_fills_what_is_not_set(
    settings: LineageSettings, environ: dict[str, str], url: str | None, key: str | None
) -> None:
    found = completed(settings, environ)
    assert (found.url, found.api_key) == (url, key)


def test_variables_stay_as_they_are(settings: LineageSettings, sink: Sink) -> None:
    before = dict(os.environ)
    deliver(settings, event(0))
    assert dict(os.environ) == before


def test_the_key_is_not_replaced_by_a_file_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with lineage_sink(key="own") as sink:
        sent = deliver(LineageSettings(endpoint=sink.url, api_key="own"), event(1))
        assert sent.delivered == 1
        assert sink.headers["authorization"] == "Bearer own"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with lineage_sink() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        sent = deliver(LineageSettings(endpoint="http://marquez.invalid:5000"), event(1))
        assert sent.delivered == 1
    assert proxy.paths == {"http://marquez.invalid:5000/api/v1/lineage"}
