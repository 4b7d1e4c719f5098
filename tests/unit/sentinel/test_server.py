"""The sentinel's HTTP face: who may ask what, how much, and that no stranger keeps the runner out."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from http.client import HTTPConnection
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.signal import Sample, StreamHead
from chaosext.sentinel.sample_log import Journal, parse_record
from chaosext.sentinel.sampler import Sentinel
from chaosext.sentinel.server import CONNECTIONS, LARGEST_HEAD_BYTES, Server
from chaosext.sentinel.watch_plan import Named, WatchPlan
from chaosext.timeline.sentinel_client import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORD = "a-token-of-the-tests"
PLAN = WatchPlan(run="run-1", interval_s=0.2, timeout_s=0.1)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, PLAN.run)


@pytest.fixture
def sentinel(journal: Journal) -> Sentinel:
    return Sentinel("w1", PLAN, journal)


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, sentinel: Sentinel, journal: Journal) -> Iterator[Server]:
    with Server(request.param, 0, WORD, sentinel, journal) as made:
        Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def sampling(sentinel: Sentinel) -> Iterator[None]:
    Thread(target=sentinel.run, daemon=True).start()
    yield
    sentinel.end()


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, token: str = WORD, **headers: str
) -> Any:
    connection = HTTPConnection(*server.server_address[:2], timeout=2)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {token}", **headers})
        answer = connection.getresponse()
        answer.said = answer.read()  # type: ignore[attr-defined]
        return answer
    finally:
        connection.close()


def wait_until_it_samples(server: Server) -> None:
    until_s = time.monotonic() + 5
    while ask(server, "GET", "/v1/health").status != 200:
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.mark.usefixtures("sampling")
def test_the_runners_reader_gets_record_clock_plan_and_end(server: Server, tmp_path: Path) -> None:
    reader = Reader("w1", str(server.server_address[0]), server.server_port, WORD)
    try:
        wait_until_it_samples(server)
        lines, size = reader.read_from(0)
        clock = reader.clock()
        assert isinstance(next(parse_record(lines.decode().splitlines())), StreamHead)
        assert (tmp_path / "record.jsonl").read_bytes().startswith(lines)
        assert clock.sent_s <= clock.mono_s <= clock.answered_s
        reader.put_plan(replace(PLAN, tcp=(Named(target="127.0.0.1:1"),)))
        time.sleep(0.5)
        more, bigger = reader.read_from(size)
        assert bigger == size + len(more)
        assert '{"kind":"tcp","target":"127.0.0.1:1","label":""}' in more.decode()
        reader.end()
        time.sleep(0.3)
        ended, _ = reader.read_from(0)
        time.sleep(0.5)
        assert reader.read_from(0)[0] == ended
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/record?offset=0"),
        ("GET", "/v1/clock"),
        ("PUT", "/v1/plan"),
        ("POST", "/v1/end"),
        ("GET", "/"),
    ],
)
@pytest.mark.parametrize("token", ["", "another-token-of-tests", WORD[:-1], WORD + "x", "é" * 20])
def test_who_has_no_token_gets_nothing(server: Server, method: str, path: str, token: str) -> None:
    answer = ask(
        server, method, path, b"{}" if method != "GET" else None, token=token.encode().decode("latin-1")
    )
    assert answer.status == 401
    assert server.sentinel.why_not() == "its first round is not over"


@pytest.mark.usefixtures("sampling")
def test_health_needs_no_token_and_says_whether_it_samples(server: Server, sentinel: Sentinel) -> None:
    wait_until_it_samples(server)
    assert ask(server, "GET", "/v1/health", token="").status == 200
    sentinel.end()
    answer = ask(server, "GET", "/v1/health", token="")
    assert (answer.status, json.loads(answer.said)["why_not"]) == (503, "it was stopped")


def test_a_sentinel_whose_rounds_have_stopped_is_not_healthy(server: Server) -> None:
    """Nothing runs it."""
    assert ask(server, "GET", "/v1/health").status == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/plan", 404),
        ("POST", "/v1/plan", 404),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/v1/record?offset=-1", 400),
        ("GET", "/v1/record?offset=1e3", 400),
        ("GET", "/v1/record?offset=99999999999999999999", 400),
        ("GET", "/v1/record?offset=123456", 200),
        ("DELETE", "/v1/record", 501),
    ],
)
def test_only_what_is_listed_is_answered(server: Server, method: str, path: str, status: int) -> None:
    assert ask(server, method, path).status == status


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (b"nonsense", "no plan of a sentinel"),
        (b"{}", "no plan of a sentinel"),
        (b"\xff", "utf-8"),
        (json.dumps(replace(PLAN, istiod="10.0.0.1:15012").to_json()).encode(), "istiod"),
        (json.dumps(replace(PLAN, tcp=(Named(target="istiod:15012"),)).to_json()).encode(), "istiod"),
        (json.dumps(replace(PLAN, interval_s=0.01).to_json()).encode(), "no round can be so"),
    ],
)
def test_a_plan_that_can_not_be_carried_out_is_refused_with_the_reason(
    server: Server, plan: bytes, why: str
) -> None:
    answer = ask(server, "PUT", "/v1/plan", plan)
    assert (answer.status, why in answer.said.decode()) == (400, True)


def test_a_plan_that_is_too_large_is_not_even_read(server: Server) -> None:
    answer = ask(server, "PUT", "/v1/plan", b"x", **{"Content-Length": str(1 << 30)})
    assert answer.status == 413
    assert ask(server, "PUT", "/v1/plan", b"x", **{"Content-Length": "-1"}).status == 413


def test_a_head_that_is_too_long_is_not_kept_in_memory(server: Server) -> None:
    """Whoever reaches the port may send one: 8 connections with what the standard library takes are 130 MiB."""
    with socket.create_connection(server.server_address[:2], timeout=2) as stranger:
        stranger.sendall(b"GET /v1/health HTTP/1.1\r\n" + b"X: %s\r\n" % (b"a" * LARGEST_HEAD_BYTES))
        assert stranger.recv(1 << 16).split()[1] == b"431"
    lines = {f"X-{number}": "a" * 1000 for number in range(8)}
    assert ask(server, "GET", "/v1/clock", **lines).status == 200


def test_strangers_who_hold_on_to_connections_do_not_keep_the_runner_out(server: Server) -> None:
    idle = [socket.create_connection(server.server_address[:2], timeout=2) for _ in range(3 * CONNECTIONS)]
    try:
        assert ask(server, "GET", "/v1/clock").status == 200
    finally:
        for each in idle:
            each.close()


def test_a_connection_is_kept_for_the_next_question(server: Server) -> None:
    connection = HTTPConnection(*server.server_address[:2], timeout=2)
    try:
        for _ in range(3):
            connection.request("GET", "/v1/clock", headers={"Authorization": f"Bearer {WORD}"})
            sock = connection.sock
            assert connection.getresponse().read()
            assert connection.sock is sock is not None
    finally:
        connection.close()


@pytest.mark.usefixtures("sampling")
def test_after_its_time_it_samples_no_more_until_another_plan_comes(
    server: Server, sentinel: Sentinel, journal: Journal
) -> None:
    sentinel.take(replace(PLAN, ends_after_s=0.5))
    time.sleep(1.2)
    assert sentinel.why_not() == "its 0.5 s are over"
    lines, size = journal.read(0)
    time.sleep(0.5)
    assert journal.read(size) == (b"", size)
    sentinel.take(PLAN)
    time.sleep(0.5)
    numbers = [
        each.n for each in parse_record(journal.read(0)[0].decode().splitlines()) if isinstance(each, Sample)
    ]
    assert len(journal.read(0)[0]) > len(lines)
    assert numbers == sorted(set(numbers))
