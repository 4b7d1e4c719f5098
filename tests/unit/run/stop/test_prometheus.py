"""What Prometheus answers, and all that is no answer."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosext.run.stop.condition_state import ConditionReply, Says
from chaosext.run.stop.prometheus import LONGEST, Query, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def said(kind: str, result: Any, **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def series(count: int) -> list[dict[str, Any]]:
    return [
        {"metric": {"__name__": "up", "job": "shop", "pod": f"p{n}"}, "value": [1.5, "0"]}
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("body", "says", "detail"),
    [
        (said("vector", []), Says.FALSE, "it yields nothing"),
        (said("vector", series(1)), Says.TRUE, 'up{job="shop",pod="p0"} 0'),
        (said("vector", series(5)), Says.TRUE, 'up{job="shop",pod="p2"} 0 and 2 more'),
        (said("vector", series(1), warnings=["w"]), Says.TRUE, "up{"),
        (said("vector", [], warnings=["store gone"]), Says.UNKNOWN, "the answer is incomplete: store gone"),
        (said("vector", [], infos=["i"]), Says.FALSE, "it yields nothing"),
        (said("scalar", [1.5, "1"]), Says.UNKNOWN, "it yields a scalar"),
        (said("matrix", []), Says.UNKNOWN, "it yields a matrix"),
        (
            b'{"status":"error","errorType":"bad_data","error":"parse error"}',
            Says.UNKNOWN,
            "bad_data: parse error",
        ),
        (b"<html>", Says.UNKNOWN, "not an answer of the Prometheus HTTP API"),
        (b"[]", Says.UNKNOWN, "not an answer of the Prometheus HTTP API"),
        (b'{"status":"success"}', Says.UNKNOWN, "not an answer of the Prometheus HTTP API"),
        (said("vector", [1]), Says.UNKNOWN, "not an answer of the Prometheus HTTP API"),
        (said("vector", [{}] * 600_000), Says.UNKNOWN, "larger than 96 MiB"),
    ],
)
def test_only_a_whole_answer_is_one(body: bytes, says: Says, detail: str) -> None:
    reply = judged(200, body)
    assert reply.says is says
    assert detail in reply.detail


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.answer, self.paths, self.tokens = answer, list[str](), list[str | None]()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.answer(self)


@contextmanager
def serving(
    answer: Callable[[BaseHTTPRequestHandler], None], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    server = Server(answer)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def nothing(handler: BaseHTTPRequestHandler) -> None:
    body = said("vector", [])
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
            f" -addext subjectAltName=DNS:localhost -keyout {made[1]} -out {made[0]}"
        ).split(),
        check=True,
        capture_output=True,
    )
    return made


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_the_expression_and_the_token_are_sent(
    tmp_path: Path, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    with serving(nothing, tls) as server:
        url = f"https://localhost:{server.server_port}/prometheus/"
        trusted = str(certificate[0])
        query = Query(
            promql='up{job="shop"} == 0', url=url, timeout_s=5.0, token_file=str(token), ca_file=trusted
        )
        assert query.ask().says is Says.FALSE
        token.write_text("two\n")
        assert query.ask().says is Says.FALSE
    parts = urlsplit(server.paths[0])
    assert (parts.path, parse_qs(parts.query)) == (
        "/prometheus/api/v1/query",
        {"query": ['up{job="shop"} == 0'], "timeout": ["5s"]},
    )
    assert server.tokens == ["Bearer one", "Bearer two"]


def test_a_redirect_is_not_followed_with_the_token(
    certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/api/v1/query?elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(elsewhere, tls) as server:
        url, trusted = f"https://localhost:{server.server_port}", str(certificate[0])
        query = Query(promql="up", url=url, timeout_s=5.0, token="t", ca_file=trusted)  # noqa: S106
        assert query.ask().says is Says.UNKNOWN
        assert len(server.paths) == 1


@pytest.mark.parametrize("how", ["token", "token_file"])
def test_a_token_is_never_sent_over_plain_http(how: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    with serving(nothing) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        given = {how: str(tmp_path / "token") if how == "token_file" else "t0ken"}
        assert Query(promql="up", url=url, timeout_s=5.0, **given).ask().says is Says.UNKNOWN
        assert server.paths == []


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.05)


def pour(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65536)


@pytest.mark.parametrize("answer", [lambda _: time.sleep(3), drip], ids=["hangs", "drips"])
def test_what_hangs_or_drips_is_left_in_time(answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with serving(answer) as server:
        began_s = time.monotonic()
        reply = Query(promql="up", url=f"http://127.0.0.1:{server.server_port}", timeout_s=0.5).ask()
        assert (reply.says, time.monotonic() - began_s < 5) == (Says.UNKNOWN, True)


def test_an_answer_without_end_is_unknown() -> None:
    with serving(pour) as server:
        reply = Query(promql="up", url=f"http://127.0.0.1:{server.server_port}", timeout_s=30).ask()
        assert reply == ConditionReply(Says.UNKNOWN, f"the answer is longer than {LONGEST} bytes")


def test_nobody_there_and_a_token_that_is_not_there_are_unknown(tmp_path: Path) -> None:
    assert Query(promql="up", url="http://127.0.0.1:9", timeout_s=1.0).ask().says is Says.UNKNOWN
    missing = Query(promql="up", url="http://h", timeout_s=1.0, token_file=str(tmp_path / "none"))
    assert "FileNotFoundError" in missing.ask().detail


def test_a_certificate_is_verified(certificate: tuple[Path, Path], tls: ssl.SSLContext) -> None:
    with serving(nothing, tls) as server:
        url = f"https://localhost:{server.server_port}"
        untrusted = Query(promql="up", url=url, timeout_s=5.0).ask()
        assert (untrusted.says, "Error" in untrusted.detail) == (Says.UNKNOWN, True)
        trusted = Query(promql="up", url=url, timeout_s=5.0, ca_file=str(certificate[0]))
        assert trusted.ask().says is Says.FALSE
