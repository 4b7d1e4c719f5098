"""An eye of its own, so that our code doesn't judge itself: `python -m tests.trust.lab.eye SPEC`.

SPEC is JSON, node -> `{"netns": name or path, "port", "addresses": [v4, v6], "listens": bool}`. It sends datagrams
between the nodes that the trial watches, both ways and in both families, each `TICK_S`, and says on stdout when a path
closed and when it opened: `{"path": "cp1>w1/6", "open": false, "at_s": 123.4}`, in seconds of the boot clock. Where it
is to listen, it does on each node's TCP port as well.
On stdin: a line of JSON, the pairs of nodes to watch from now on; it answers `{"watching": true}` when all is open.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.trust.lab.clock import now_s

CLONE_NEWNET = 0x40000000
TICK_S = 0.04
LOST = 4
"""That many datagrams in a row that did not arrive are a closed path."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass
class Path_:
    """One way from a node to another in one family."""

    name: str
    sender: socket.socket
    target: tuple[str, int]
    unanswered: int = 0
    first_lost_s: float = 0.0
    open: bool = False

    def send(self, tag: bytes) -> None:
        if not self.unanswered:
            self.first_lost_s = now_s()
        self.unanswered += 1
        with contextlib.suppress(
            OSError
        ):  # EPERM: the kernel tells the sender itself that it dropped the datagram
            self.sender.sendto(tag, self.target)
        if self.open and self.unanswered > LOST:
            self._turn(False, self.first_lost_s)

    def arrived(self) -> None:
        self.unanswered = 0
        if not self.open:
            self._turn(True, now_s())

    def _turn(self, is_open: bool, at_s: float) -> None:
        self.open = is_open
        say({"path": self.name, "open": is_open, "at_s": at_s})


@dataclass
class Node:
    addresses: tuple[str, ...]
    port: int
    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]


@dataclass
class Eye:
    nodes: dict[str, Node]
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    paths: list[Path_] = field(default_factory=list)
    asked: bool = False

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            for each in node.udp:
                self.selector.register(each, selectors.EVENT_READ, self._take)
            for each in node.tcp:
                self.selector.register(each, selectors.EVENT_READ, self._accept)
        os.set_blocking(0, False)
        self.selector.register(sys.stdin, selectors.EVENT_READ, self._command)

    def look(self) -> None:
        due_s = time.monotonic()
        while True:
            rests = not self.paths and not self.asked
            for key, _ in self.selector.select(None if rests else max(0.0, due_s - time.monotonic())):
                key.data(key.fileobj)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + TICK_S
                self._tick()

    def _tick(self) -> None:
        if self.asked and all(path.open for path in self.paths):
            self.asked = False
            say({"watching": True})
        for index, path in enumerate(self.paths):
            path.send(index.to_bytes(2, "big") + self._generation)

    _generation = b"\0"

    def _take(self, receiver: socket.socket) -> None:
        try:
            while True:
                tag = receiver.recv(64)
                if tag[2:] == self._generation:
                    self.paths[int.from_bytes(tag[:2], "big")].arrived()
        except BlockingIOError:
            pass

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            listener.accept()[0].close()

    def _command(self, _: object) -> None:
        line = os.read(0, 65536)
        if not line:
            raise SystemExit(0)
        pairs = json.loads(line.splitlines()[-1])
        self._generation = bytes([(self._generation[0] + 1) % 256])
        self.paths = [
            Path_(
                name=f"{a}>{b}/{4 if version == 0 else 6}",
                sender=self.nodes[a].udp[version],
                target=(self.nodes[b].addresses[version], self.nodes[b].port),
            )
            for a, b in pairs
            for version in range(min(len(self.nodes[a].udp), len(self.nodes[b].udp)))
        ]
        self.asked = True


def enter(netns: IO[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(netns.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {netns.name}")


def at_home(netns: str, port: int, addresses: list[str], listens: bool = True) -> Node:
    """The node's sockets; a socket stays in the namespace in which it was made."""
    with Path("/run/netns", netns).open() as handle:  # an absolute path stays one
        enter(handle)
    udp: list[socket.socket] = []
    tcp: list[socket.socket] = []
    kinds = [(socket.SOCK_DGRAM, udp), *([(socket.SOCK_STREAM, tcp)] if listens else [])]
    for family, address in zip(FAMILIES, addresses, strict=False):
        for kind, made in kinds:
            each = socket.socket(family, kind)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((address, port))
            each.setblocking(False)
            if kind == socket.SOCK_STREAM:
                each.listen(64)
            made.append(each)
    return Node(addresses=tuple(addresses), port=port, udp=tuple(udp), tcp=tuple(tcp))


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    with Path("/proc/self/ns/net").open() as home:
        eye = Eye({name: at_home(**spec) for name, spec in json.loads(sys.argv[1]).items()})
        enter(home)  # no process of the eye's is to be found on a node
    eye.look()
