"""How far a cut may go at the most, whoever asks for it. Pure: values in, a refusal out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.partition.cut import family_of
from chaosext.safety.hours import fits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from chaosext.cluster.objects import Node, Pod
    from chaosext.partition.cut import Cut, Network
    from chaosext.safety.hours import Hours

WIDEST_PREFIX = {"ipv4": 8, "ipv6": 16}
"""Shortest prefix length of a peer, by family. A /8 is the largest private network (RFC 1918): what is wider
holds addresses that are no nodes'."""

MAX_TTL_S = 900.0
"""Unless somebody sets another: production timings move kube-dns about 350 s after the cut."""

LONGEST_TTL_S = 3600.0
"""Whatever anybody sets."""

ENDED = ("Succeeded", "Failed")
"""Phases of a Pod that runs no more (Kubernetes, "Pod Lifecycle")."""

MAX_NODE_SHARE = 0.75
"""Unless the operator sets another: a cut belongs on the side with fewer nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a cut would touch, and when: whose nodes carry rules, who is cut off, whose Pods are there.

    `pods`: namespace -> one of its Pods that runs on a touched node or is itself among the peers, as `NAME on NODE`.
    It is made after `at`; `let_go`: when it is over, where that is later than its delay and TTL from `at` on.
    """

    cut: Cut
    total_nodes: int
    cut_off: frozenset[str]
    pods: Mapping[str, str]
    at: datetime
    let_go: datetime | None = None

    @property
    def until(self) -> datetime:
        """When it is over."""
        soonest = self.at + timedelta(seconds=self.cut.delay_s + self.cut.ttl_s)
        return max(soonest, self.let_go or soonest)


def footprint(
    cut: Cut,
    nodes: Collection[Node],
    pods: Iterable[Pod],
    at: datetime,
    let_go: datetime | None = None,
) -> Footprint:
    """The footprint of `cut` on a cluster of `nodes` (with all their addresses), among these `pods`."""
    cut_off = frozenset(node.name for node in nodes if _among(node.internal_ips, cut.dropped))
    touched = cut_off | {node.node for node in cut.nodes}
    running = (pod for pod in pods if pod.phase not in ENDED)
    hit = (pod for pod in running if pod.node in touched or _among(pod.ips, cut.dropped))
    return Footprint(
        cut=cut,
        total_nodes=len(nodes),
        cut_off=cut_off,
        pods={pod.namespace: f"{pod.name} on {pod.node}" for pod in hit},
        at=at,
        let_go=let_go,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that one place sets; None and empty: it says nothing about that.

    Where several places set limits all of them hold, so that none can loosen another's. A refusal names the limit as
    `prefix` and its key, in `place`. `protected_nodes` are names or shell patterns (fnmatch): those nodes carry no
    rules and are not cut off. `protected_namespaces`: no Pod of theirs is deleted, or runs on a node that is touched.
    """

    place: str
    prefix: str = ""
    max_ttl_s: float | None = None
    max_node_share: float | None = None
    protected_nodes: tuple[str, ...] = ()
    protected_namespaces: tuple[str, ...] = ()
    allowed_hours: tuple[Hours, ...] = ()

    def check(self, asked: Footprint) -> None:
        """Raise `Refused`, naming the limit, its value and where it is set, when a cut would go beyond one."""
        self._check_ttl(asked.cut)
        self._check_share(asked)
        self._check_nodes(asked)
        self._check_namespaces(asked)
        self._check_hours(asked)

    def check_deletion(self, namespace: str) -> None:
        """Raise `Refused` when no Pod of `namespace` may be deleted."""
        if namespace in self.protected_namespaces:
            what = f"Pods of namespace {namespace} may not be deleted"
            raise self._refused("protected_namespaces", namespace, what)

    def _check_ttl(self, cut: Cut) -> None:
        if self.max_ttl_s is not None and cut.ttl_s > self.max_ttl_s:
            raise self._refused("max_ttl_s", f"{self.max_ttl_s:g} s", f"ttl_s: {cut.ttl_s:g} s is too long")

    def _check_share(self, asked: Footprint) -> None:
        share, count = self.max_node_share, len(asked.cut.nodes)
        if share is not None and count > share * asked.total_nodes:
            raise self._refused(
                "max_node_share",
                f"{share:.0%}",
                f"nodes: rules on {count} of {asked.total_nodes} nodes are too many",
                "cut on the side with fewer nodes, such as the control plane's, or fewer of them",
            )

    def _check_nodes(self, asked: Footprint) -> None:
        ways = {"carry rules": {node.node for node in asked.cut.nodes}, "be cut off": asked.cut_off}
        for what, names in ways.items():
            for pattern in self.protected_nodes:
                if found := sorted(name for name in names if fnmatchcase(name, pattern)):
                    raise self._refused(
                        "protected_nodes", pattern, f"nodes: {', '.join(found)} may not {what}"
                    )

    def _check_namespaces(self, asked: Footprint) -> None:
        for namespace in self.protected_namespaces:
            if namespace in asked.pods:
                raise self._refused(
                    "protected_namespaces",
                    namespace,
                    f"nodes: the cut would touch {namespace}/{asked.pods[namespace]}",
                )

    def _check_hours(self, asked: Footprint) -> None:
        until = asked.until
        if self.allowed_hours and not fits(self.allowed_hours, asked.at, until):
            raise self._refused(
                "allowed_hours",
                "; ".join(hours.text for hours in self.allowed_hours),
                f"ttl_s: {asked.at:%a %H:%M:%S} to {until:%a %H:%M:%S} UTC is not all within the allowed hours",
                "come back then, or ask for a shorter cut",
            )

    def _refused(self, key: str, value: str, what: str, instead: str = "ask for less") -> Refused:
        limit = f"{self.prefix}{key} is {value} in {self.place}"
        return Refused(f"{what} ({limit})", f"{instead}, or change {self.prefix}{key} there if you may")


def in_force(experiment: Limits, *operator: Limits) -> tuple[Limits, ...]:
    """All that hold: the built-in ones, each of the operator's, and the experiment's; none of them loosens another.

    Of the built-in ones the TTL's gives way where anybody sets another, the share's where the operator does.
    """
    set_by = (*operator, experiment)
    ttl_is_set = any(each.max_ttl_s is not None for each in set_by)
    share_is_set = any(each.max_node_share is not None for each in operator)
    built_in = Limits(
        place="chaosext itself",
        max_ttl_s=LONGEST_TTL_S if ttl_is_set else MAX_TTL_S,
        max_node_share=1.0 if share_is_set else MAX_NODE_SHARE,
    )
    return (built_in, *set_by)


def check_peers(cut: Cut) -> None:
    """Raise `Refused` for a peer that holds more than nodes can; nobody sets this limit otherwise."""
    for peer in cut.peers:
        widest = WIDEST_PREFIX[family_of(peer)]
        if peer.prefixlen < widest:
            raise Refused(
                f"peers: {peer} is wider than the limit of /{widest} (built in)",
                "name the nodes' own prefixes or addresses",
            )


def _among(addresses: Iterable[str], peers: Collection[Network]) -> bool:
    return any(ip_address(address) in peer for address in addresses for peer in peers)
