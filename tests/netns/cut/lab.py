"""A node with a Pod behind it, a peer and an outsider before it: four network namespaces on a real kernel.

pod ── pod0 node eth0 ──┬── eth0 peer
                        └── eth0 outsider
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.cut import FAMILIES, Cut, Family, NodeCut, peers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLONE_NEWNET = 0x40000000
NODE, PEER, OUTSIDER, POD = "node", "peer", "outsider", "pod"
PREFIX: dict[Family, dict[str, str]] = {
    "ipv4": {"wire": "10.77.0.", "pod": "10.88.0."},
    "ipv6": {"wire": "fd77::", "pod": "fd88::"},
}
ADDRESS: dict[Family, dict[str, str]] = {
    family: {NODE: p["wire"] + "1", PEER: p["wire"] + "2", OUTSIDER: p["wire"] + "3", POD: p["pod"] + "2"}
    for family, p in PREFIX.items()
}
POD_NETWORKS = ("10.88.0.0/24", "fd88::/64")
SILENCE_S = 0.25
"""A packet in these namespaces takes microseconds: what has not arrived by then was dropped."""

Answer = TypeVar("Answer")
_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=10, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@dataclass
class Namespaces:
    """Network namespaces with names of their own, all removed at the end."""

    tag: str
    made: list[str] = field(default_factory=list)

    def name(self, role: str) -> str:
        return f"cx{os.getpid()}-{self.tag}-{role}"

    def make(self, *roles: str) -> None:
        for role in roles:
            run("ip", "netns", "add", self.name(role))
            self.made.append(role)
            # Duplicate address detection would keep every new address silent for a second.
            for scope in ("all", "default"):
                self.sysctl(role, f"net.ipv6.conf.{scope}.accept_dad=0")
            self.ip(role, "link set lo up")

    def ip(self, role: str, *commands: str) -> None:
        run("ip", "-netns", self.name(role), "-batch", "-", stdin="\n".join(commands) + "\n")

    def sysctl(self, role: str, setting: str) -> None:
        self.inside_run(role, "sysctl", "-qw", setting)

    def inside_run(self, role: str, *argv: str, stdin: str = "") -> str:
        return run("ip", "netns", "exec", self.name(role), *argv, stdin=stdin)

    def nft(self, role: str, text: str) -> None:
        self.inside_run(role, "nft", "-f", "-", stdin=text)

    def rules(self, role: str) -> str:
        return self.inside_run(role, "nft", "list", "ruleset")

    def shell(self, role: str) -> NetnsShell:
        return NetnsShell(self.name(role))

    def remove(self) -> None:
        while self.made:
            run("ip", "netns", "del", self.name(self.made.pop()))

    def inside(self, role: str, work: Callable[[], Answer]) -> Answer:
        """Do `work` in the namespace. Only a thread of its own enters it; sockets stay where they were made."""
        answers: list[Answer] = []

        def enter() -> None:
            with Path("/run/netns", self.name(role)).open() as handle:
                assert _libc.setns(handle.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            answers.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return answers[0]

    def socket(
        self, role: str, family: Family, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> socket.socket:
        return self.inside(role, lambda: socket.socket(_AF[family], kind))


_AF: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass
class Lab(Namespaces):
    """The picture above, wired up, with a listener on port 7000 of every role and family."""

    listeners: dict[tuple[str, Family], socket.socket] = field(default_factory=dict)

    def up(self) -> None:
        self.make("wire", NODE, PEER, OUTSIDER, POD)
        self.ip("wire", "link add br0 type bridge", "link set br0 up")
        for role in (NODE, PEER, OUTSIDER):
            self._plug(role)
        self._put_pod_behind_node()
        self.listeners = {
            (role, f): self.listen(role, f) for role in (NODE, PEER, OUTSIDER, POD) for f in FAMILIES
        }

    def clear(self) -> None:
        """Forget all rules that a test has added."""
        self.nft(NODE, "flush ruleset\n")

    def down(self) -> None:
        for listener in self.listeners.values():
            listener.close()
        self.remove()

    def listen(self, role: str, family: Family, port: int = 7000) -> socket.socket:
        listener = self.socket(role, family)
        if family == "ipv6":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::" if family == "ipv6" else "0.0.0.0", port))
        listener.listen(64)
        listener.settimeout(2)
        return listener

    def connect(
        self, source: str, target: str, family: Family, port: int = 7000, timeout_s: float = 2.0
    ) -> socket.socket:
        """A connection from the role `source` to a role or address; raises OSError as connect does."""
        client = self.socket(source, family)
        client.settimeout(timeout_s)
        try:
            client.connect((ADDRESS[family].get(target, target), port))
        except OSError:
            client.close()
            raise
        return client

    def opens(
        self, source: str, target: str, family: Family, port: int = 7000, timeout_s: float = SILENCE_S
    ) -> bool:
        """Whether a new connection comes up; False says that the attempt was met with silence, nothing else."""
        try:
            self.connect(source, target, family, port, timeout_s).close()
        except TimeoutError:
            return False
        return True

    @contextlib.contextmanager
    def flow(self, source: str, target: str, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
        """An established TCP connection: both its ends."""
        listener = self.listeners[target, family]
        with self.connect(source, target, family) as client:
            while True:
                server, address = listener.accept()
                if address[1] == client.getsockname()[1]:
                    break
                server.close()  # left in the backlog by `opens`
            with server:
                yield client, server

    @contextlib.contextmanager
    def datagrams(
        self, source: str, target: str, family: Family, by_way_of: str = ""
    ) -> Iterator[tuple[socket.socket, socket.socket]]:
        """A UDP sender and its receiver: what goes one way without any answer."""
        sender = self.socket(source, family, socket.SOCK_DGRAM)
        receiver = self.socket(target, family, socket.SOCK_DGRAM)
        with sender, receiver:
            receiver.bind((ADDRESS[family][target], 0))
            sender.connect((by_way_of or ADDRESS[family][target], receiver.getsockname()[1]))
            yield sender, receiver

    def cut(self, run: str = "lab1", *, ttl_s: float = 30.0, families: tuple[Family, ...] = FAMILIES) -> Cut:
        """The node cut off from the peer and, to see that uplinks only are cut, from the Pod's network."""
        peers = peers_of((ADDRESS[family][PEER] for family in FAMILIES), POD_NETWORKS)
        nodes = (NodeCut(node=self.name(NODE), uplinks=("eth0",)),)
        return Cut(run=run, owner="test@lab", nodes=nodes, peers=peers, ttl_s=ttl_s, families=families)

    @property
    def shells(self) -> dict[str, NetnsShell]:
        return {self.name(NODE): self.shell(NODE)}

    def _plug(self, role: str) -> None:
        end = f"v-{role}"
        self.ip("wire", f"link add {end} type veth peer name eth0 netns {self.name(role)}")
        self.ip("wire", f"link set {end} master br0", f"link set {end} up")
        self.ip(
            role,
            "link set eth0 up",
            f"addr add {ADDRESS['ipv4'][role]}/24 dev eth0",
            f"addr add {ADDRESS['ipv6'][role]}/64 dev eth0 nodad",
        )
        if role != NODE:
            self.ip(role, f"route add 10.88.0.0/24 via {ADDRESS['ipv4'][NODE]}")
            self.ip(role, f"route add fd88::/64 via {ADDRESS['ipv6'][NODE]}")
        else:  # where the addresses of Services would go, were they not translated
            self.ip(role, "route add 10.96.0.0/16 dev eth0", "route add fd96::/64 dev eth0")

    def _put_pod_behind_node(self) -> None:
        self.ip(NODE, f"link add pod0 type veth peer name eth0 netns {self.name(POD)}")
        self.ip(
            NODE, "link set pod0 up", "addr add 10.88.0.1/24 dev pod0", "addr add fd88::1/64 dev pod0 nodad"
        )
        self.ip(
            POD, "link set eth0 up", "addr add 10.88.0.2/24 dev eth0", "addr add fd88::2/64 dev eth0 nodad"
        )
        self.ip(POD, "route add default via 10.88.0.1", "route add default via fd88::1")
        for knob in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.sysctl(NODE, f"{knob}=1")


def arrives(sender: socket.socket, receiver: socket.socket, timeout_s: float = SILENCE_S) -> bool:
    """Whether bytes sent now come out at the other end in time."""
    receiver.settimeout(timeout_s)
    try:
        sender.send(b"!")
        return receiver.recv(64) != b""
    except (
        TimeoutError,
        PermissionError,
    ):  # EPERM: what the kernel says to a sender whose own datagram it drops
        return False


def wait_until(condition: Callable[[], bool], within_s: float) -> float:
    """Seconds until `condition` came true. Fails when that takes longer than `within_s`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, f"not within {within_s} s"
    return time.monotonic() - started
