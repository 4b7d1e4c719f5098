"""Reading a sentinel: a real socket, a server that behaves, and servers that don't."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Unreachable
from chaosext.sentinel.watch_plan import WatchPlan
from chaosext.timeline import sentinel_client
from chaosext.timeline.sentinel_client import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = b'{"n":0}\n{"n":1}\n'


class Handler(BaseHTTPRequestHandler):
    """A sentinel's answers; `server.mood` spoils them."""

    protocol_version = "HTTP/1.1"
    server: Any

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        mood = self.server.mood
        self.server.asked.append((self.path, self.headers["Authorization"]))
        if mood == "silent":
            time.sleep(5)
        if mood == "trickle":
            return self._trickle()
        if self.path == "/v1/clock":
            value = {"boot": "b", "mono_s": 1.5, "wall_s": 1.7e9} if mood != "nonsense" else []
            return self._say(json.dumps(value).encode())
        offset = int(self.path.partition("offset=")[2])
        size = {} if mood == "nonsense" else {"X-Record-Size": str(len(RECORD))}
        return self._say(RECORD[offset:], 403 if mood == "stranger" else 200, size)

    def do_PUT(self) -> None:
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self._say(b"")

    do_POST = do_PUT

    def _say(self, body: bytes, status: int = 200, more: Any = ()) -> None:
        self.send_response(status)
        for key, value in dict(more).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.server.mood == "forgetful":  # closes the connection without having said so
            self.close_connection = True

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("X-Record-Size", "1000")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        made.mood, made.asked, made.connections = "", [], 0  # type: ignore[attr-defined]
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def asking(server: Any) -> Iterator[Reader]:
    made = Reader("w", "127.0.0.1", server.server_address[1], "secret")
    yield made
    made.close()


def test_the_record_is_read_from_where_one_was(asking: Reader, server: Any) -> None:
    assert asking.read_from(0) == (RECORD, len(RECORD))
    assert asking.read_from(8) == (RECORD[8:], len(RECORD))
    assert server.asked[0] == ("/v1/record?offset=0", "Bearer secret")


def test_the_clock_is_read_between_two_moments_of_ours(asking: Reader) -> None:
    before_s = time.monotonic()
    measured = asking.clock()
    assert before_s <= measured.sent_s <= measured.answered_s <= time.monotonic()
    assert (measured.boot, measured.mono_s, measured.wall_s) == ("b", 1.5, 1.7e9)
    assert measured.own_wall_s == pytest.approx(time.time(), abs=5)


def test_a_plan_and_the_end_are_told(asking: Reader, server: Any) -> None:
    plan = WatchPlan(run="r", dns_name="kubernetes.default.svc.cluster.local")
    asking.put_plan(plan)
    asking.end()
    (put, text), (end, _) = server.asked
    assert (put, WatchPlan.parse(text), end) == ("/v1/plan", plan, "/v1/end")


def test_one_connection_serves_all_calls(asking: Reader, server: Any) -> None:
    asking.read_from(0)
    asking.clock()
    asking.put_plan(WatchPlan(run="r"))
    asking.end()
    asking.read_from(0)
    assert server.connections == 1


def test_a_kept_connection_that_died_is_made_anew(asking: Reader, server: Any) -> None:
    server.mood = "forgetful"
    for _ in range(3):
        assert asking.read_from(0) == (RECORD, len(RECORD))


@pytest.mark.parametrize("mood", ["stranger", "nonsense"])
def test_whoever_is_no_sentinel_of_ours_is_unreachable(asking: Reader, server: Any, mood: str) -> None:
    server.mood = mood
    with pytest.raises(Unreachable, match=r"^w: "):
        asking.read_from(0)


def test_a_clock_that_is_none_is_unreachable(asking: Reader, server: Any) -> None:
    server.mood = "nonsense"
    with pytest.raises(Unreachable, match="clock"):
        asking.clock()


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="w: its sentinel did not answer"):
        Reader("w", "127.0.0.1", 9, "secret").read_from(0)


def test_silence_is_waited_for_no_longer_than_said(
    asking: Reader, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_client, "TIMEOUT_S", 0.2)
    quick = Reader("w", "127.0.0.1", server.server_address[1], "secret")
    server.mood = "silent"
    began_s = time.monotonic()
    with pytest.raises(Unreachable):
        quick.read_from(0)
    assert time.monotonic() - began_s < 2


def test_what_trickles_in_is_taken_as_far_as_it_came(
    asking: Reader, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_client, "TIMEOUT_S", 0.2)
    server.mood = "trickle"
    began_s = time.monotonic()
    said, size = asking.read_from(0)
    assert time.monotonic() - began_s < 1
    assert 0 < len(said) < size
    server.mood = ""
    assert asking.read_from(0) == (RECORD, len(RECORD))


def liar(said: bytes, *more: bytes, every_s: float = 0.0) -> int:
    """A port at which one connection is answered by `said`, and then `more` of it again and again."""

    def answer() -> None:
        with listening, listening.accept()[0] as connection, suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(said)
            for piece in cycle(more):
                connection.sendall(piece)
                time.sleep(every_s)

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, daemon=True).start()
    return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Record-Size: ", b"1"),
    ],
)
def test_an_answer_whose_head_never_ends_is_none(
    said: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_client, "TIMEOUT_S", 0.3)
    asking, began_s = Reader("w", "127.0.0.1", liar(said, more, every_s=0.1), "secret"), time.monotonic()
    with pytest.raises(Unreachable, match="w: its sentinel did not answer"):
        asking.read_from(0)
    assert time.monotonic() - began_s < 1


def test_an_answer_without_end_fills_no_memory() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Record-Size: 99999999999\r\nContent-Length: 99999999999\r\n\r\n"
    said, size = Reader("w", "127.0.0.1", liar(head, bytes(1 << 20)), "secret").read_from(0)
    assert len(said) < 2 * sentinel_client.LARGEST_BYTES < size
