"""An API server (or what sits in its place) that trickles, never ends, or leads elsewhere: bounded in time and size."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hostile_server import MIB, OK, Connection, HostileServer

from chaosext.cluster import bounded_http
from chaosext.cluster.bounded_http import allowed, connect, decoded, resolve, trusting
from chaosext.cluster.client import MOST_OBJECTS, Cluster
from chaosext.cluster.object_watch import watch
from chaosext.model.errors import Refused, TooLarge, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 0.6
AT_MOST_S = 6.0
"""Ten times the limit: a busy machine is no failure, and a server that drips is never done by then."""

MOST_GROWTH_MIB = 100.0


def write_kubeconfig(path: Path, server: str, certificate: Path, **more: Any) -> str:
    ca = base64.b64encode(certificate.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "hostile", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca, **more}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[HostileServer]:
    server = HostileServer(certificate)
    yield server
    server.close()


@pytest.fixture
def cluster(server: HostileServer, certificate: tuple[Path, Path], tmp_path: Path) -> Cluster:
    path = write_kubeconfig(tmp_path / "config", server.url, certificate[0])
    return Cluster.connect("hostile", path, request_timeout_s=LIMIT_S)


@contextmanager
def in_time() -> Iterator[None]:
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < AT_MOST_S


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


@contextmanager
def in_little_memory() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now (proc(5))
    before = peak_mib()
    yield
    assert peak_mib() - before < MOST_GROWTH_MIB


def ok(*headers: bytes) -> bytes:
    return OK + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
TRICKLES: dict[str, Callable[[Connection], None]] = {
    "the status line": lambda it: it.drip_for_ever(),
    "continue without end": lambda it: it.drip_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": lambda it: (it.say(OK), it.drip_for_ever(b"X-More: yes\r\n"))[0],
    "a body of known length": lambda it: (it.say(ok(b"Content-Length: 100000")), it.drip_for_ever())[0],
    "a body without length": lambda it: (it.say(ok()), it.drip_for_ever())[0],
    "chunks": lambda it: (it.say(ok(CHUNKED)), it.drip_for_ever(b"1\r\n{\r\n"))[0],
    "one chunk": lambda it: (it.say(ok(CHUNKED) + b"ffff\r\n"), it.drip_for_ever())[0],
    "a chunk's size": lambda it: (it.say(ok(CHUNKED)), it.drip_for_ever(b"0"))[0],
    "a refusal": lambda it: (it.say(b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n"), it.drip_for_ever())[
        0
    ],
}


@pytest.mark.parametrize("answer", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_is_left_when_its_time_is_up(
    server: HostileServer, cluster: Cluster, answer: Callable[[Connection], None]
) -> None:
    server.answer = answer
    with in_time(), pytest.raises(Unreachable, match=r"did not answer within 0\.6 s"):
        cluster.namespace_uid()


def test_a_handshake_that_trickles_is_left_when_its_time_is_up(
    server: HostileServer, cluster: Cluster
) -> None:
    server.raw = lambda it: it.drip_for_ever(b"\x16")
    with in_time(), pytest.raises(Unreachable):
        cluster.namespace_uid()


def test_a_request_that_is_never_read_is_left_when_its_time_is_up(
    server: HostileServer, cluster: Cluster
) -> None:
    server.answer = lambda it: time.sleep(20)
    with in_time(), pytest.raises(Unreachable):
        cluster.request("POST", "/apis", body={"much": "x" * (64 * MIB)})


ENDLESS: dict[str, Callable[[Connection], None]] = {
    "a body": lambda it: (it.say(ok()), it.pour())[0],
    "chunks": lambda it: (it.say(ok(CHUNKED)), it.pour(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"))[0],
    "a body of announced length": lambda it: (it.say(ok(b"Content-Length: 99999999999")), it.pour())[0],
    "a chunk of announced length": lambda it: (it.say(ok(CHUNKED) + b"fffffffffff\r\n"), it.pour())[0],
    "a refusal": lambda it: (it.say(b"HTTP/1.1 403 No\r\n\r\n"), it.pour())[0],
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_too_large_and_takes_little_memory(
    server: HostileServer, cluster: Cluster, answer: Callable[[Connection], None]
) -> None:
    server.answer, cluster.request_timeout_s = answer, 60.0
    with (
        in_little_memory(),
        pytest.raises(TooLarge, match="context hostile: the answer is larger than 8 MiB"),
    ):
        cluster.namespace_uid()


@pytest.mark.parametrize("head", [OK, b"HTTP/1.1 100 Continue\r\n"], ids=["headers", "a header"])
def test_an_endless_head_is_bounded(server: HostileServer, cluster: Cluster, head: bytes) -> None:
    server.answer, cluster.request_timeout_s = lambda it: (it.say(head + b"X: "), it.pour())[0], 60.0
    with in_little_memory(), in_time(), pytest.raises(Unreachable):
        cluster.namespace_uid()


def test_a_length_that_is_only_announced_takes_no_memory(server: HostileServer, cluster: Cluster) -> None:
    server.answer = lambda it: (it.say(ok(b"Content-Length: 99999999999") + b"{}"), it.drip_for_ever())[0]
    with in_little_memory(), pytest.raises(Unreachable, match="within"):
        cluster.namespace_uid()


def test_an_answer_that_would_be_huge_once_it_is_decoded_is_too_large(
    server: HostileServer, cluster: Cluster
) -> None:
    body = b'{"items":[' + b",".join([b'{"a":1}'] * 700_000) + b"]}"
    server.answer = lambda it: it.say(ok(b"Content-Length: %d" % len(body)) + body)
    cluster.request_timeout_s = 60.0
    with in_little_memory(), pytest.raises(TooLarge, match="96 MiB"):
        cluster.namespace_uid()


def test_nothing_that_was_compressed_is_blown_up(server: HostileServer, cluster: Cluster) -> None:
    import gzip

    body = gzip.compress(b" " * (256 * MIB), compresslevel=1)
    server.answer = lambda it: it.say(ok(b"Content-Encoding: gzip", b"Content-Length: %d" % len(body)) + body)
    cluster.request_timeout_s = 60.0
    with in_little_memory(), pytest.raises(Unreachable, match="not an API server"):
        cluster.namespace_uid()


def test_prose_is_no_list_without_items(server: HostileServer, cluster: Cluster) -> None:
    server.answer = lambda it: it.say(ok(b"Content-Length: 7") + b"welcome")
    with pytest.raises(Unreachable, match="not an API server"):
        cluster.nodes()


def test_a_redirect_is_not_followed_as_it_could_take_the_token_elsewhere(
    server: HostileServer, cluster: Cluster, certificate: tuple[Path, Path]
) -> None:
    elsewhere = HostileServer(certificate)
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % elsewhere.url.encode()
    server.answer = lambda it: it.say(moved)
    with pytest.raises(Refused, match="302"):
        cluster.namespace_uid()
    with pytest.raises(Unreachable):
        cluster.exec("shop", "cart", "cart", ["true"], timeout_s=LIMIT_S)
    assert elsewhere.requests == []
    elsewhere.close()


def pages(endless: bool, items: int, pad: int = 0) -> Callable[[Connection], None]:
    """A list whose every page names another one, of the same name or of a new one."""
    count = iter(range(10**9))

    def answer(it: Connection) -> None:
        limit = int(it.request.partition(b"limit=")[2].partition(b"&")[0].split()[0])
        objects = [{"metadata": {"name": "n"}, "pad": "x" * pad}] * min(items, limit)
        token = f"page{next(count)}" if endless else "the same"
        body = json.dumps({"metadata": {"continue": token}, "items": objects}).encode()
        it.say(ok(b"Content-Length: %d" % len(body), b"Connection: close") + body)

    return answer


def test_a_list_that_leads_back_to_the_same_page_has_no_end(server: HostileServer, cluster: Cluster) -> None:
    server.answer = pages(endless=False, items=1)
    with in_time(), pytest.raises(TooLarge, match="its list of nodes has no end"):
        cluster.nodes()
    assert len(server.requests) == 2


def test_a_list_without_end_is_left(
    server: HostileServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaosext.cluster.client.MOST_OBJECTS", 5)
    server.answer = pages(endless=True, items=2)
    with pytest.raises(TooLarge, match="has no end"):
        list(cluster.items("pods"))
    assert len(server.requests) == 3
    monkeypatch.setattr("chaosext.cluster.client.MOST_OBJECTS", MOST_OBJECTS)
    monkeypatch.setattr("chaosext.cluster.client.LISTED_S", 0.2)
    server.answer = pages(endless=True, items=0)
    with in_time(), pytest.raises(TooLarge, match="has no end"):
        list(cluster.items("pods"))


def test_large_objects_come_in_smaller_pages(server: HostileServer, cluster: Cluster) -> None:
    def answer(it: Connection) -> None:
        limit = int(it.request.partition(b"limit=")[2].partition(b"&")[0].split()[0])
        item = {"metadata": {"name": "n"}, "pad": "x" * 100_000}
        body = json.dumps({"metadata": {}, "items": [item] * min(limit, 200)}).encode()
        it.say(ok(b"Content-Length: %d" % len(body), b"Connection: close") + body)

    server.answer, cluster.request_timeout_s = answer, 60.0
    assert len(list(cluster.items("pods"))) == 50


class TestWatch:
    """A watch of a server that lists properly and then misbehaves."""

    @pytest.fixture
    def listing(self, server: HostileServer) -> Callable[[Callable[[Connection], None]], None]:
        def then(follow: Callable[[Connection], None]) -> None:
            def answer(it: Connection) -> None:
                if b"watch=true" in it.request:
                    it.say(ok())
                    follow(it)
                body = b'{"metadata":{"resourceVersion":"1"},"items":[]}'
                it.say(ok(b"Content-Length: %d" % len(body), b"Connection: close") + body)

            server.answer = answer

        return then

    def troubles(self, cluster: Cluster, for_s: float) -> list[str]:
        """What the watch complains of until it is told to stop; it must end soon after that."""
        stop, said = threading.Event(), []
        threading.Timer(for_s, stop.set).start()
        started_s = time.monotonic()
        for _ in watch(cluster, "pods", stop, on_trouble=said.append):
            pass
        assert time.monotonic() - started_s < for_s + 5 + AT_MOST_S
        return said

    def first_trouble(self, cluster: Cluster) -> str:
        """What the watch complains of first, however long a busy machine takes to get there."""
        stop, said = threading.Event(), []
        cluster.request_timeout_s = 60.0

        def heard(message: str) -> None:
            said.append(message)
            stop.set()

        for _ in watch(cluster, "pods", stop, on_trouble=heard):
            pass
        return said[0]

    def test_one_that_drips_ends_soon_after_it_was_told_to(
        self, cluster: Cluster, listing: Callable[[Callable[[Connection], None]], None]
    ) -> None:
        listing(lambda it: it.drip_for_ever(b" "))
        assert self.troubles(cluster, 0.5) == []

    def test_a_change_that_takes_too_long_to_come_is_left(
        self,
        cluster: Cluster,
        listing: Callable[[Callable[[Connection], None]], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("chaosext.cluster.object_watch.LINE_S", 0.3)
        listing(lambda it: it.drip_for_ever(b" "))
        assert "one change took more than 0.3 s to come" in self.first_trouble(cluster)

    def test_a_change_without_end_is_left(
        self, cluster: Cluster, listing: Callable[[Callable[[Connection], None]], None]
    ) -> None:
        listing(lambda it: it.pour())
        with in_little_memory():
            assert "the answer is larger than 4 MiB" in self.first_trouble(cluster)

    @pytest.mark.parametrize(
        "line", [b"[]", b"{}", b"1", b'{"type":"ADDED","object":{}}', b"x", b"[" * 100_000]
    )
    def test_what_is_no_change_is_trouble_and_no_crash(
        self, cluster: Cluster, listing: Callable[[Callable[[Connection], None]], None], line: bytes
    ) -> None:
        listing(lambda it: it.say(line + b"\n"))
        assert "can't be understood" in self.first_trouble(cluster)


def accepted(it: Connection) -> None:
    """The answer to a websocket's handshake (RFC 6455, 4.2.2)."""
    from hashlib import sha1

    lines = it.request.decode().split("\r\n")
    key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key"))
    digest = sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()  # noqa: S324
    it.say(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: "
        + base64.b64encode(digest)
        + b"\r\n\r\n"
    )


def frame(payload: bytes, opcode: int = 2, announced: int | None = None) -> bytes:
    size = len(payload) if announced is None else announced
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8) + payload


BAD_EXECS: dict[str, Callable[[Connection], None]] = {
    "a handshake that drips": lambda it: it.drip(b"HTTP/1.1 101 Yes\r\n" + b"X: y\r\n" * 99),
    "a frame that drips": lambda it: (accepted(it), it.drip_for_ever(frame(b"\x01x")))[0],
    "pings without end": lambda it: (accepted(it), it.drip_for_ever(frame(b"", opcode=9)))[0],
    "silence": lambda it: (accepted(it), time.sleep(20))[0],
}


@pytest.mark.parametrize("answer", BAD_EXECS.values(), ids=BAD_EXECS)
def test_an_exec_is_bounded_as_a_whole(
    server: HostileServer, cluster: Cluster, answer: Callable[[Connection], None]
) -> None:
    server.answer = answer
    with in_time(), pytest.raises(Unreachable, match=r"0\.6 s"):
        cluster.exec("shop", "cart", "cart", ["true"], timeout_s=LIMIT_S)


def test_an_exec_whose_time_is_not_bounded_is_connected_in_time(
    server: HostileServer, cluster: Cluster
) -> None:
    server.answer = lambda it: it.drip(b"HTTP/1.1 101 Yes\r\n" + b"X: y\r\n" * 99)
    with in_time(), pytest.raises(Unreachable, match=r"within 0\.6 s"):
        cluster.open_exec("shop", "cart", "cart", ["true"], timeout_s=None)


PIECE = b"\x00\x7e\xff\xff" + b"x" * 0xFFFF
"""A part of a message that goes on (RFC 6455, 5.4)."""

LARGE_EXECS: dict[str, Callable[[Connection], None]] = {
    "messages without end": lambda it: (accepted(it), it.pour(frame(b"\x01" + b"x" * 32768)))[0],
    "lines without end": lambda it: (accepted(it), it.pour(frame(b"\x01" + b"yy\n" * 10000)))[0],
    "errors without end": lambda it: (accepted(it), it.pour(frame(b"\x02" + b"x" * 32768)))[0],
    "a message of announced length": lambda it: (
        accepted(it),
        it.say(frame(b"", announced=1 << 40)),
        it.pour(),
    )[0],
    "a message in pieces": lambda it: (accepted(it), it.say(b"\x02\x01\x01"), it.pour(PIECE))[0],
    "a handshake": lambda it: (it.say(b"HTTP/1.1 101 Yes\r\nX: "), it.pour())[0],
    "a refusal": lambda it: (it.say(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n"), it.pour())[0],
}


@pytest.mark.parametrize("answer", LARGE_EXECS.values(), ids=LARGE_EXECS)
def test_an_exec_that_says_too_much_is_left_and_takes_little_memory(
    server: HostileServer, cluster: Cluster, answer: Callable[[Connection], None]
) -> None:
    server.answer, cluster.request_timeout_s = answer, 60.0
    with in_little_memory(), pytest.raises(TooLarge, match="exec in a container: the answer is larger than"):
        cluster.exec("shop", "cart", "cart", ["true"], timeout_s=60.0)


@pytest.mark.parametrize("status", [b"[]", b"x", b'{"details":{"causes":[1]}}', b"[" * 100_000])
def test_an_exec_that_ends_with_nonsense_is_no_result(
    server: HostileServer, cluster: Cluster, status: bytes
) -> None:
    server.answer = lambda it: (accepted(it), it.say(frame(b"\x03" + status)), time.sleep(1))[0]
    with pytest.raises(Unreachable, match="something else than a Status"):
        cluster.exec("shop", "cart", "cart", ["true"], timeout_s=30.0)


class TestNames:
    def test_a_resolver_that_hangs_is_left_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(30))
        with in_time(), pytest.raises(TimeoutError):
            resolve("api.example", 0.3)

    def test_a_cluster_whose_name_is_not_resolved_is_unreachable_in_time(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: tuple[Path, Path]
    ) -> None:
        path = write_kubeconfig(tmp_path / "config", "https://api.example:6443", certificate[0])
        found = Cluster.connect("hostile", path, request_timeout_s=LIMIT_S)
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(30))
        with in_time(), pytest.raises(Unreachable, match=r"within 0\.6 s"):
            found.namespace_uid()

    def test_many_silent_addresses_share_the_time(
        self, monkeypatch: pytest.MonkeyPatch, server: HostileServer
    ) -> None:
        waited_s = []

        def silent(address: tuple[str, int], timeout: float, **_: Any) -> socket.socket:
            waited_s.append(timeout)
            if address[0] == "192.0.2.9":
                return socket.create_connection(("127.0.0.1", server.port))
            time.sleep(timeout)
            raise TimeoutError("timed out")

        monkeypatch.setattr("urllib3.util.connection.create_connection", silent)
        monkeypatch.setattr(bounded_http, "resolve", lambda *_: ("192.0.2.7", "192.0.2.8", "192.0.2.9"))
        with allowed(LIMIT_S), pytest.raises(Exception, match=r"(?i)certificate"):
            connect(trusting(), f"https://api.example:{server.port}")
        assert len(waited_s) == 3
        assert sum(waited_s[:2]) < LIMIT_S

    def test_an_address_needs_no_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("asked the resolver"))
        assert resolve("127.0.0.1", 0.1) == ("127.0.0.1",)
        assert resolve("[::1]", 0.1) == ("::1",)


class Proxy:
    """An HTTP proxy on loopback: tunnels where CONNECT asks for it, or says `instead`."""

    def __init__(self, instead: Callable[[Connection], None] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self._instead = instead
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._attend, args=(Connection(client),), daemon=True).start()

    def _attend(self, it: Connection) -> None:
        try:
            it.read_head()
            self.asked.append(it.request.split(b"\r\n")[0])
            if self._instead:
                self._instead(it)
            host, _, port = it.request.split()[1].decode().partition(":")
            with socket.create_connection((host, int(port))) as there:
                it.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=_pump, args=(there, it.sock), daemon=True).start()
                _pump(it.sock, there)
        except OSError:
            pass
        finally:
            it.sock.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
    except OSError:
        pass


class TestProxy:
    def cluster(self, server: HostileServer, certificate: Path, tmp_path: Path, proxy: str) -> Cluster:
        path = write_kubeconfig(tmp_path / "config", server.url, certificate, **{"proxy-url": proxy})
        return Cluster.connect("hostile", path, request_timeout_s=LIMIT_S)

    @staticmethod
    def answer(it: Connection) -> None:
        if b"websocket" in it.request:
            accepted(it)
            it.say(frame(b"\x01hello") + frame(b'\x03{"status":"Success"}'))
            time.sleep(1)
        body = b'{"metadata":{"uid":"u-1"}}'
        it.say(ok(b"Content-Length: %d" % len(body)) + body)

    def test_requests_and_execs_go_through_the_kubeconfigs_proxy(
        self, server: HostileServer, certificate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        proxy = Proxy()
        server.answer = self.answer
        found = self.cluster(server, certificate[0], tmp_path, proxy.url)
        found.request_timeout_s = 30.0
        assert found.namespace_uid() == "u-1"
        assert found.exec("shop", "cart", "cart", ["true"], timeout_s=30.0).stdout == "hello"
        assert proxy.asked == [b"CONNECT 127.0.0.1:%d HTTP/1.0" % server.port] * 2
        proxy.close()

    def test_neither_goes_through_a_proxy_that_is_not_for_that_server(
        self,
        server: HostileServer,
        certificate: tuple[Path, Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        proxy = Proxy()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.answer = self.answer
        found = self.cluster(server, certificate[0], tmp_path, proxy.url)
        found.request_timeout_s = 30.0
        assert found.namespace_uid() == "u-1"
        assert found.exec("shop", "cart", "cart", ["true"], timeout_s=30.0).stdout == "hello"
        assert proxy.asked == []
        proxy.close()

    def test_a_proxy_that_drips_is_left_when_the_time_is_up(
        self, server: HostileServer, certificate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        proxy = Proxy(instead=lambda it: it.drip(OK + b"X: y\r\n" * 99))
        found = self.cluster(server, certificate[0], tmp_path, proxy.url)
        with in_time(), pytest.raises(Unreachable, match=r"within 0\.6 s"):
            found.namespace_uid()
        with in_time(), pytest.raises(Unreachable, match=r"within 0\.6 s"):
            found.exec("shop", "cart", "cart", ["true"], timeout_s=LIMIT_S)
        proxy.close()

    def test_a_proxy_of_an_unknown_kind_is_refused(
        self, server: HostileServer, certificate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        with pytest.raises(Refused, match="proxy"):
            self.cluster(server, certificate[0], tmp_path, "ftp://127.0.0.1:1")


def test_ordinary_json_is_decoded() -> None:
    assert decoded(b'{"a":[1,2,{"b":null}]}', "it") == {"a": [1, 2, {"b": None}]}
