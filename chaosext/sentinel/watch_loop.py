"""The signals of a plan with their measurements, and one round of all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark, Signal, Watched
from chaosext.sentinel import bird_sessions, gobgp_sessions, kernel_routes, sidecar_stats
from chaosext.sentinel.bird_sessions import BIRD6_SOCKET, BIRD_SOCKET
from chaosext.sentinel.resolver import PORT, DnsQuestion, KeptSockets, fresh_udp, over_tcp
from chaosext.sentinel.socket_loop import Probe, drive
from chaosext.sentinel.sockets import SocketAddress, answers, marked, tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaosext.sentinel.watch_plan import WatchPlan

SHORTEST_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """One measurement, which yields a mark for each of `signals`."""

    signals: tuple[Signal, ...]
    begin: Callable[[], Probe[Sequence[Mark]]]


@dataclass(slots=True)
class Memory:
    """State kept across rounds and plans: kept sockets, and the last stream of each sidecar."""

    sockets: KeptSockets = field(default_factory=KeptSockets)
    streams: sidecar_stats.Streams = field(default_factory=sidecar_stats.Streams)


class Watch:
    """Carries out `plan` on `node`. Raises `ValueError` for an invalid plan."""

    def __init__(self, plan: WatchPlan, node: str, memory: Memory) -> None:
        check(plan)
        self.plan = plan
        self.signals = plan.signals(node)
        self._istiod = next((each for each in self.signals if _is_istiod(each, plan)), None)
        self._looks = tuple(_looks(plan, self.signals, memory))
        memory.sockets.keep({SocketAddress.parse(each.target, PORT) for each in plan.dns_servers})

    def round(self) -> str:
        """Measure all signals in parallel within the plan's `timeout_s`. Returns one mark for each."""
        answers = drive((look.begin() for look in self._looks), time.monotonic() + self.plan.timeout_s)
        marks: dict[Signal, Mark] = {}
        for look, answer in zip(self._looks, answers, strict=True):
            marks.update(zip(look.signals, answer or [Mark.UNKNOWN] * len(look.signals), strict=True))
        return "".join(self._final(signal, marks) for signal in self.signals)

    def _final(self, signal: Signal, marks: dict[Signal, Mark]) -> Mark:
        if signal.kind is Watched.SIDECAR_XDS and self._istiod:
            return sidecar_stats.synced(marks[signal], marks[self._istiod])
        return marks[signal]


def check(plan: WatchPlan) -> None:
    """Raise `ValueError` for an invalid plan: names instead of addresses, or times that do not fit a round."""
    if not SHORTEST_INTERVAL_S <= plan.interval_s <= 60 or not 0 < plan.timeout_s <= plan.interval_s:
        raise ValueError(f"each {plan.interval_s} s, within {plan.timeout_s} s: no round can be so")
    if plan.istiod and plan.istiod not in {each.target for each in plan.tcp}:
        raise ValueError(f"istiod {plan.istiod!r} is not among the TCP targets")
    for each in plan.dns_servers:
        SocketAddress.parse(each.target, PORT)
    for target in (*(each.target for each in plan.tcp), *(each.target for each in plan.pods)):
        SocketAddress.parse(target)
    for text in (*(each.address for each in plan.sidecars), *(each.target for each in plan.routes)):
        ip_address(text)
    if plan.dns_servers:
        DnsQuestion.make(plan.dns_name, plan.dns_expected, ipv6=False)


def _is_istiod(signal: Signal, plan: WatchPlan) -> bool:
    return bool(plan.istiod) and signal.kind is Watched.TCP and signal.target == plan.istiod


def _looks(plan: WatchPlan, signals: Iterable[Signal], memory: Memory) -> Iterator[Look]:
    peers: list[Signal] = []
    targets: list[Signal] = []
    for signal in dict.fromkeys(signals):
        if signal.kind is Watched.BGP:
            peers.append(signal)
        elif signal.kind is Watched.ROUTE:
            targets.append(signal)
        else:
            yield Look((signal,), partial(_alone, _prober(plan, signal, memory)))
    yield from _gobgp(peers) if plan.by_gobgp else _bgp(peers)
    if targets:
        yield Look(tuple(targets), partial(kernel_routes.ask, [each.target for each in targets]))


def _bgp(peers: Sequence[Signal]) -> Iterator[Look]:
    for path, is_v6 in ((BIRD_SOCKET, False), (BIRD6_SOCKET, True)):
        if mine := tuple(each for each in peers if (":" in each.target) is is_v6):
            yield Look(mine, partial(bird_sessions.ask, path, [each.target for each in mine]))


def _gobgp(peers: Sequence[Signal]) -> Iterator[Look]:
    if peers:
        yield Look(tuple(peers), partial(gobgp_sessions.ask, [each.target for each in peers]))


def _alone(probe: Callable[[], Probe[Mark]]) -> Probe[Sequence[Mark]]:
    return [(yield from marked(probe()))]


def _prober(plan: WatchPlan, signal: Signal, memory: Memory) -> Callable[[], Probe[Mark]]:
    match signal.kind:
        case Watched.TCP:
            return partial(tcp, SocketAddress.parse(signal.target))
        case Watched.POD:
            return partial(answers, SocketAddress.parse(signal.target))
        case Watched.SIDECAR_READY:
            return partial(sidecar_stats.ready, signal.label)
        case Watched.SIDECAR_XDS:
            return partial(memory.streams.ask, signal.target, signal.label)
    server = SocketAddress.parse(signal.target, PORT)
    question = DnsQuestion.make(plan.dns_name, plan.dns_expected, ipv6=":" in server.host)
    ways = {
        Watched.DNS_UDP: fresh_udp,
        Watched.DNS_UDP_KEPT: memory.sockets.udp,
        Watched.DNS_TCP: over_tcp,
    }
    return partial(ways[signal.kind], server, question)
