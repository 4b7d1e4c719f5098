"""The watch plan of the sentinels: one plan for all nodes, of which each sentinel uses its part. Pure."""

from __future__ import annotations

import json
from bisect import bisect
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.errors import MALFORMED
from chaosext.model.signal import Signal, Watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SCHEMA = "chaosext.sentinel-plan/v1"

INTERVAL_S = 1.0
TIMEOUT_S = 0.9
"""A round ends before the next one begins. Slower answers count as timed out: resolvers wait 5 s
(resolv.conf(5)), but users do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An address (or `host:port`), and its name for people."""

    target: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A Pod with a sidecar on `node`. `pod` has the form `Pod/<namespace>/<name>`."""

    node: str
    pod: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTarget:
    """A Pod on `node` that sentinels on other nodes connect to; `target` is `host:port`."""

    node: str
    target: str
    label: str


MOST_OTHERS = 8
"""Other nodes whose Pods one sentinel connects to."""


def ring(node: str, others: Iterable[str], most: int) -> Iterator[str]:
    """Yield up to `most` of `others`: the next ones after `node` by name, and from the first again at the end.

    So each is reached for by as many, and a plan of these only yields the same ones.
    """
    names = sorted(set(others) - {node})
    begin = bisect(names, node)
    yield from islice((*names[begin:], *names[:begin]), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What to watch, how often, and until when.

    `dns_name` is looked up at each of `dns_servers` over UDP (a fresh and a kept socket) and TCP; the answer
    must contain one of `dns_expected` (empty: any). `tcp`: targets of TCP connects. `istiod`: the `host:port`
    in `tcp` without which no sidecar can be synced; "" without a mesh. `bgp_peers`: node -> the peers that it
    should have sessions with. `routes`: addresses that each of those nodes should have specific routes to.
    `by_gobgp`: GoBGP has these sessions, not BIRD. `pods`: one Pod of each node, for the sentinels on the others.
    After `ends_after_s`, a sentinel whose runner has died stops sampling.
    """

    run: str
    dns_name: str = ""
    dns_expected: tuple[str, ...] = ()
    dns_servers: tuple[Named, ...] = ()
    tcp: tuple[Named, ...] = ()
    istiod: str = ""
    sidecars: tuple[Sidecar, ...] = ()
    bgp_peers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_gobgp: bool = False
    routes: tuple[Named, ...] = ()
    pods: tuple[PodTarget, ...] = ()
    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S
    ends_after_s: float = 3600.0

    def only(self, node: str) -> Self:
        """The part of the plan that concerns `node`: short, however many other nodes there are."""
        mine = {node: self.bgp_peers[node]} if node in self.bgp_peers else {}
        sidecars = tuple(each for each in self.sidecars if each.node == node)
        return replace(self, sidecars=sidecars, bgp_peers=mine, pods=tuple(self._pods_for(node)))

    def _pods_for(self, node: str) -> Iterator[PodTarget]:
        """Yield the Pods that the sentinel on `node` connects to."""
        of = {each.node: each for each in self.pods}
        return (of[name] for name in ring(node, of, MOST_OTHERS))

    def signals(self, node: str) -> tuple[Signal, ...]:
        """What the sentinel on `node` watches, in the order of a sample's marks."""
        return tuple(self._signals(node))

    def _signals(self, node: str) -> Iterator[Signal]:
        for kind in (Watched.DNS_UDP, Watched.DNS_UDP_KEPT, Watched.DNS_TCP):
            for server in self.dns_servers:
                yield Signal(kind=kind, target=server.target, label=server.label)
        for each in self.tcp:
            yield Signal(kind=Watched.TCP, target=each.target, label=each.label)
        mine = [each for each in self.sidecars if each.node == node]
        for kind in (Watched.SIDECAR_READY, Watched.SIDECAR_XDS):
            for sidecar in mine:
                yield Signal(kind=kind, target=sidecar.pod, label=sidecar.address)
        for peer in self.bgp_peers.get(node, ()):
            yield Signal(kind=Watched.BGP, target=peer)
        for each in self.routes if self.bgp_peers.get(node) else ():
            yield Signal(kind=Watched.ROUTE, target=each.target, label=each.label)
        for pod in self._pods_for(node):
            yield Signal(kind=Watched.POD, target=pod.target, label=pod.label)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": self.run,
            "dns_name": self.dns_name,
            "dns_expected": list(self.dns_expected),
            "dns_servers": [_named(each) for each in self.dns_servers],
            "tcp": [_named(each) for each in self.tcp],
            "istiod": self.istiod,
            "sidecars": [
                {"node": each.node, "pod": each.pod, "address": each.address} for each in self.sidecars
            ],
            "bgp_peers": {node: list(peers) for node, peers in self.bgp_peers.items()},
            "by_gobgp": self.by_gobgp,
            "routes": [_named(each) for each in self.routes],
            "pods": [{"node": each.node, "target": each.target, "label": each.label} for each in self.pods],
            "interval_s": self.interval_s,
            "timeout_s": self.timeout_s,
            "ends_after_s": self.ends_after_s,
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the output of `to_json`. Raises `ValueError` for anything else."""
        try:
            value = json.loads(text)
            if value["schema"] != SCHEMA:
                raise ValueError(f"schema {value['schema']!r}, not {SCHEMA}")
            return cls(
                run=str(value["run"]),
                dns_name=str(value["dns_name"]),
                dns_expected=tuple(map(str, value["dns_expected"])),
                dns_servers=tuple(Named(**each) for each in value["dns_servers"]),
                tcp=tuple(Named(**each) for each in value["tcp"]),
                istiod=str(value["istiod"]),
                sidecars=tuple(Sidecar(**each) for each in value["sidecars"]),
                bgp_peers={node: tuple(peers) for node, peers in value["bgp_peers"].items()},
                by_gobgp=bool(value["by_gobgp"]),
                routes=tuple(Named(**each) for each in value["routes"]),
                pods=tuple(PodTarget(**each) for each in value["pods"]),
                interval_s=float(value["interval_s"]),
                timeout_s=float(value["timeout_s"]),
                ends_after_s=float(value["ends_after_s"]),
            )
        except MALFORMED as error:
            raise ValueError(f"no plan of a sentinel: {error!r:.200}") from error


def _named(each: Named) -> dict[str, str]:
    return {"target": each.target, "label": each.label}
