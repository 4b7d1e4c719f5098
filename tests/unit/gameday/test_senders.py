"""Results are sent on: bounded, tried again, over verified TLS, and the URL is never said."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from gamedays import settings

from chaosext.gameday import senders
from chaosext.gameday.notify import packed
from chaosext.gameday.senders import Addresses, read_url, send
from chaosext.model.errors import Refused
from chaosext.model.redact import veiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Receiver:
    """An HTTP server; `answers` are the statuses that it gives, the last one for ever."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    taken: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def status(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def serve(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.taken.append((self.command, self.path, dict(self.headers), body))
            status = receiver.status()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    receiver.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/hook?token=s3cr3t-t0ken"
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from serve(Receiver())


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that no system trusts; its key is beside it."""
    pem, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*words.split(), *names], check=True, capture_output=True)
    return pem


@pytest.fixture
def over_tls(authority: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    yield from serve(Receiver(), context)


JSON = {"Content-Type": "application/json"}


@contextmanager
def answering(head: bytes, rest: bytes, every_s: float = 0.0) -> Iterator[str]:
    """The URL of a server that says `head`, and then `rest` again and again."""

    def attend(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(4096)
            client.sendall(head)
            while True:
                client.sendall(rest)
                time.sleep(every_s)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=attend, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


class TestSending:
    def test_what_is_taken_is_taken_once(self, receiver: Receiver) -> None:
        assert send(receiver.url, b'{"a": 1}', JSON) == ""
        ((method, path, headers, body),) = receiver.taken
        assert (method, path, json.loads(body)) == ("POST", "/hook?token=s3cr3t-t0ken", {"a": 1})
        assert headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize("status", [500, 503, 429, 408])
    def test_what_may_pass_is_tried_again(self, receiver: Receiver, status: int) -> None:
        receiver.answers, paused = [status, status, 204], []
        assert send(receiver.url, b"{}", JSON, pause=paused.append) == ""
        assert (len(receiver.taken), paused) == (3, [1.0, 3.0])

    def test_in_the_end_it_is_given_up(self, receiver: Receiver) -> None:
        receiver.answers, paused = [500], []
        assert send(receiver.url, b"{}", JSON, pause=paused.append) == "HTTP 500"
        assert len(receiver.taken) == len(paused) + 1 == 4

    @pytest.mark.parametrize("status", [400, 403, 404, 410])
    def test_what_stays_wrong_is_not_tried_again(self, receiver: Receiver, status: int) -> None:
        receiver.answers = [status]
        assert send(receiver.url, b"{}", JSON, pause=lambda _: None) == f"HTTP {status}"
        assert len(receiver.taken) == 1

    def test_no_redirect_is_followed(self, receiver: Receiver) -> None:
        receiver.answers = [302, 200]
        assert send(receiver.url, b"{}", JSON, pause=lambda _: None) == "HTTP 302"
        assert [path for _, path, _, _ in receiver.taken] == ["/hook?token=s3cr3t-t0ken"]

    def test_nobody_there_is_told_without_the_url(self) -> None:
        said = send("http://127.0.0.1:1/hook?token=s3cr3t-t0ken", b"{}", JSON, pause=lambda _: None)
        assert said.startswith("no answer (")
        assert "s3cr3t" not in said
        assert "127.0.0.1" not in said

    def test_a_server_that_hangs_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(senders, "ANSWER_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            assert send(url, b"{}", JSON, pause=lambda _: None).startswith("no answer (")

    @pytest.mark.parametrize(
        "said", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
    )
    def test_a_server_that_drips_is_left(self, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
        monkeypatch.setattr(senders, "ANSWER_S", 0.3)
        started_s = time.monotonic()
        with answering(said, b"x", every_s=0.05) as url:
            assert send(url, b"{}", JSON, pause=lambda _: None).startswith("no answer (")
        assert time.monotonic() - started_s < 10

    def test_an_answer_without_end_is_left(self) -> None:
        with answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536) as url:
            assert send(url, b"{}", JSON, pause=lambda _: None).startswith("no answer (")

    def test_a_server_that_nobody_vouches_for_gets_nothing(self, over_tls: Receiver) -> None:
        assert "no answer (" in send(over_tls.url, b"{}", JSON, pause=lambda _: None)
        assert over_tls.taken == []

    def test_a_private_authority_is_trusted_where_it_is_named(
        self, over_tls: Receiver, authority: Path
    ) -> None:
        assert send(over_tls.url, b"{}", JSON, authority=authority, pause=lambda _: None) == ""
        assert len(over_tls.taken) == 1


class TestAddresses:
    def test_they_are_read_from_what_is_mounted_and_said_by_nobody(self, tmp_path: Path) -> None:
        mounted = tmp_path / "etc/chaosext/webhook"
        mounted.mkdir(parents=True)
        (mounted / "url").write_text("https://hooks.example.com/T0/abcdefgh\n")
        found = Addresses(settings=settings(webhook={"secret": "hook"}), root=tmp_path)
        found.read()
        assert found.webhook == "https://hooks.example.com/T0/abcdefgh"
        assert "abcdefgh" not in veiled(f"posting to {found.webhook} failed")

    def test_none_is_read_where_none_is_set(self, tmp_path: Path) -> None:
        found = Addresses(settings=settings(), root=tmp_path)
        found.read()
        assert (found.webhook, found.upload) == ("", "")

    def test_a_secret_that_is_not_there_is_refused_with_how_to_make_it(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match=r"webhook: the Secret has no readable key 'url'.*create secret"):
            Addresses(settings=settings(webhook={"secret": "hook"}), root=tmp_path).read()

    @pytest.mark.parametrize(
        "text", ["", "ftp://x", "http://hooks.example.com/x", "hooks.example.com/x", "file:///etc/passwd"]
    )
    def test_what_is_no_url_is_refused_without_saying_it(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "url").write_text(text)
        with pytest.raises(Refused, match="not an https URL") as refused:
            read_url(tmp_path, "url", "webhook")
        assert not text or text not in str(refused.value)


def test_a_run_is_packed_under_its_own_name(tmp_path: Path) -> None:
    run = tmp_path / "20261123t230300ab12"
    run.mkdir()
    (run / "result.json").write_text("{}")
    with tarfile.open(fileobj=BytesIO(packed(run))) as archive:
        assert archive.getnames() == ["20261123t230300ab12", "20261123t230300ab12/result.json"]
