"""Sockets on loopback: TCP triage, lookups from fresh and kept sockets, and what errors mean."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from chaosext.model.signal import Mark
from chaosext.sentinel.resolver import DnsQuestion, KeptSockets, fresh_udp, over_tcp
from chaosext.sentinel.socket_loop import drive
from chaosext.sentinel.sockets import SocketAddress, mark_of, marked, tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaosext.sentinel.socket_loop import Probe

ADDRESS = bytes((192, 0, 2, 1))
QUESTION = DnsQuestion.make("name.test", ("192.0.2.1",), ipv6=False)


def look(probe: Probe[Mark], within_s: float = 0.5) -> Mark | None:
    return drive([marked(probe)], time.monotonic() + within_s)[0]


def reply_to(query: bytes) -> bytes:
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + ADDRESS
    return query[:2] + b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + query[12:] + record


@contextmanager
def udp_server(answer: Callable[[bytes], list[bytes]]) -> Iterator[tuple[SocketAddress, list[int]]]:
    """Answers each query with what `answer` says; the second value is the ports that asked."""
    ports: list[int] = []
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            query, whence = sock.recvfrom(1000)
            if query == b"end":
                return
            ports.append(whence[1])
            for each in answer(query):
                sock.sendto(each, whence)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield SocketAddress(*sock.getsockname()), ports
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", sock.getsockname())
        thread.join()
        sock.close()


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[SocketAddress]:
    """Accepts one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            with listening.accept()[0] as connection:
                serve(connection)

        thread = threading.Thread(target=once)
        thread.start()
        yield SocketAddress(*listening.getsockname())
        thread.join(timeout=5)


def unused() -> SocketAddress:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return SocketAddress(*listening.getsockname())


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_open_refused_and_reset_are_three_things() -> None:
    with tcp_server(lambda connection: None) as address:
        assert look(tcp(address)) is Mark.GOOD
    with tcp_server(lambda connection: time.sleep(0.2)) as address:
        assert look(tcp(address)) is Mark.GOOD
    with tcp_server(reset) as address:
        assert look(tcp(address)) is Mark.RESET
    assert look(tcp(unused())) is Mark.REFUSED


@pytest.mark.parametrize(
    ("number", "mark"),
    [
        (errno.ECONNREFUSED, Mark.REFUSED),
        (errno.ETIMEDOUT, Mark.TIMED_OUT),
        (errno.EPERM, Mark.TIMED_OUT),
        (errno.ECONNRESET, Mark.RESET),
        (errno.EPIPE, Mark.RESET),
        (errno.EHOSTUNREACH, Mark.NO_ROUTE),
        (errno.ENETUNREACH, Mark.NO_ROUTE),
        (errno.EINVAL, Mark.NO_ROUTE),
        (errno.EMFILE, Mark.UNKNOWN),
        (errno.ENOMEM, Mark.UNKNOWN),
    ],
)
def test_what_the_kernel_says_becomes_a_mark_and_our_own_trouble_none_of_the_others(
    number: int, mark: Mark
) -> None:
    assert mark_of(OSError(number, os.strerror(number))) is mark


def test_a_fresh_socket_is_another_one_each_time_and_a_kept_one_the_same() -> None:
    kept = KeptSockets()
    with udp_server(lambda query: [reply_to(query)]) as (server, ports):
        for _ in range(3):
            assert look(fresh_udp(server, QUESTION)) is Mark.GOOD
        assert len(set(ports)) == 3
        for _ in range(3):
            assert look(kept.udp(server, QUESTION)) is Mark.GOOD
        assert len(set(ports[3:])) == 1
        kept.keep({server})
        assert look(kept.udp(server, QUESTION)) is Mark.GOOD
        assert len(set(ports[3:])) == 1
        kept.keep(set())
        assert look(kept.udp(server, QUESTION)) is Mark.GOOD
        assert len(set(ports[3:])) == 2
        kept.keep(set())


def test_a_late_reply_to_an_older_query_is_no_answer_to_the_next_one() -> None:
    """The server is always one query late: none is ever answered."""
    held: list[bytes] = []

    def one_late(query: bytes) -> list[bytes]:
        held.append(reply_to(query))
        return held[-2:-1]

    kept = KeptSockets()
    with udp_server(one_late) as (server, ports):
        assert [look(kept.udp(server, QUESTION), 0.15) for _ in range(3)] == [Mark.TIMED_OUT] * 3
        assert len(ports) == 3
    kept.keep(set())


def test_over_tcp_a_reply_in_pieces_is_one_and_an_end_without_one_is_an_error() -> None:
    def in_pieces(connection: socket.socket) -> None:
        query = connection.recv(1000)
        reply = reply_to(query[2:])
        for piece in (len(reply).to_bytes(2)[:1], len(reply).to_bytes(2)[1:], reply[:20], reply[20:]):
            connection.sendall(piece)
            time.sleep(0.02)

    with tcp_server(in_pieces) as server:
        assert look(over_tcp(server, QUESTION)) is Mark.GOOD
    with tcp_server(lambda connection: connection.recv(1000) and None) as server:
        assert look(over_tcp(server, QUESTION)) is Mark.ERROR
    assert look(over_tcp(unused(), QUESTION)) is Mark.REFUSED


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "name.test:80", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:+80", ":80", ""]
)
def test_an_address_and_a_port_is_what_can_be_connected_to(text: str) -> None:
    with pytest.raises(ValueError):
        SocketAddress.parse(text)


def test_ipv6_is_written_in_brackets_with_its_port() -> None:
    assert SocketAddress.parse("[fd00::1]:53") == SocketAddress("fd00::1", 53)
    assert SocketAddress.parse("fd00::1", 53) == SocketAddress("fd00::1", 53)
    assert SocketAddress.parse("10.0.0.1:443") == SocketAddress("10.0.0.1", 443)
