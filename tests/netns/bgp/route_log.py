"""What the kernels' routes say over time: the events of `ip monitor route`, and who reaches whose Pods by them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MOST_HOPS = 8

EVENT = re.compile(
    r"\[(?P<at>[^\]]+)\] (?P<deleted>Deleted )?(?P<blackhole>blackhole )?"
    r"(?P<to>default|\d[\d./]+) (?P<rest>.*)"
)
"""A line of `ip -oneline -tshort -4 monitor route`. Other kinds (local, broadcast) don't match."""

GATEWAY = re.compile(r"via ([\d.]+)")


@dataclass(frozen=True, slots=True)
class NextHop:
    """`gateways` is empty for a network on the link, and for a blackhole, where a node's own Pods are."""

    gateways: tuple[str, ...] = ()
    blackhole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEvent:
    """`next_hop` is None if the route was removed; `at` is in seconds since the epoch."""

    at: float
    role: str
    to: IPv4Network
    next_hop: NextHop | None


@dataclass(slots=True)
class RouteLog:
    """One namespace's events, read from a file that grows."""

    role: str
    path: Path
    _read: int = 0

    def new(self) -> Iterator[RouteEvent]:
        """Yield the events in the lines completed since the last call."""
        with self.path.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole.encode())
        for line in whole.splitlines():
            if event := parse(self.role, line):
                yield event


def parse(role: str, line: str) -> RouteEvent | None:
    """Return the event in one line, or None if it is not about a route of the main table."""
    found = EVENT.match(line)
    if not found or " table " in found["rest"]:
        return None
    hop = NextHop(tuple(GATEWAY.findall(found["rest"])), bool(found["blackhole"]))
    to = "0.0.0.0/0" if found["to"] == "default" else found["to"]
    return RouteEvent(
        at=datetime.fromisoformat(found["at"]).timestamp(),
        role=role,
        to=IPv4Network(to),
        next_hop=None if found["deleted"] else hop,
    )


@dataclass(slots=True)
class Tables:
    """Every namespace's routes at one time. `owners`: address -> role."""

    owners: Mapping[str, str]
    routes: dict[str, dict[IPv4Network, NextHop]] = field(default_factory=dict)

    def apply(self, event: RouteEvent) -> None:
        table = self.routes.setdefault(event.role, {})
        if event.next_hop is None:
            table.pop(event.to, None)
        else:
            table[event.to] = event.next_hop

    def reach(self, client: str, host: str, pod: str) -> bool:
        """Whether packets from `client` to the address `pod` arrive at `host`, whichever of several paths they take."""
        return self._leads(client, host, IPv4Address(pod), MOST_HOPS)

    def _leads(self, at: str, host: str, pod: IPv4Address, hops: int) -> bool:
        fitting = [(net.prefixlen, net) for net in self.routes.get(at, {}) if pod in net]
        if not fitting or not hops:
            return False
        hop = self.routes[at][max(fitting)[1]]
        if hop.blackhole:
            return at == host
        following = [self.owners.get(gateway, "") for gateway in hop.gateways]
        return bool(following) and all(self._leads(each, host, pod, hops - 1) for each in following)


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on (seconds), a client reaches a host's Pods, or no longer."""

    at: float
    reaches: bool


def lasting(changes: Iterable[Change], shortest_s: float) -> tuple[Change, ...]:
    """Return the changes without those that are taken back within `shortest_s`.

    BIRD replaces a route in the kernel by removing it and adding the other.
    """
    kept: list[Change] = []
    for change in changes:
        if kept and kept[-1].reaches == change.reaches:
            continue
        if kept and change.at - kept[-1].at < shortest_s and len(kept) > 1:
            kept.pop()
        else:
            kept.append(change)
    return tuple(kept)
