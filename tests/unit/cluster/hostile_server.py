"""A TLS server on loopback that answers as nobody should: a byte at a time, without an end, or elsewhere."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Answer = Callable[["Connection"], None]

OK = b"HTTP/1.1 200 OK\r\n"
DRIP_S = 0.05
MIB = 1 << 20


class Connection:
    """One connection, whose request was read: what `answer` says over it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.request = sock, b""

    def read_head(self) -> None:
        while b"\r\n\r\n" not in self.request and (piece := self.sock.recv(4096)):
            self.request += piece

    def say(self, text: bytes) -> None:
        self.sock.sendall(text)

    def drip(self, text: bytes) -> None:
        """A byte now and then, each well within any time limit of a single read."""
        for index in range(len(text)):
            self.sock.sendall(text[index : index + 1])
            time.sleep(DRIP_S)

    def drip_for_ever(self, text: bytes = b"x") -> None:
        while True:
            self.drip(text)

    def pour(self, text: bytes = b"x" * 65536) -> None:
        """Without an end."""
        while True:
            self.sock.sendall(text)


class HostileServer:
    """Answers every connection by `answer`; `raw` before TLS, where it is set."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.answer: Answer = lambda connection: None
        self.raw: Answer | None = None
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def _attend(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError), client:
            client.settimeout(30)
            if self.raw:
                self.raw(Connection(client))
                return
            with self._tls.wrap_socket(client, server_side=True) as sock:
                connection = Connection(sock)
                connection.read_head()
                self.requests.append(connection.request)
                self.answer(connection)
