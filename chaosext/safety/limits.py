"""Upper limits of a cut, for every requester. Pure: values in, a refusal out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from chaosext.model.errors import Refused
from chaosext.partition.cut import family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.cluster.objects import Node, Pod
    from chaosext.partition.cut import Cut, Network

WIDEST_PREFIX = {"ipv4": 8, "ipv6": 16}
"""Shortest prefix length of a peer, by family. A /8 is the largest private network (RFC 1918); anything
larger contains addresses that are not nodes'."""

MAX_TTL_S = 900.0
"""Default maximum in seconds: with production timings, kube-dns moves about 350 s after the cut."""

LONGEST_TTL_S = 3600.0
"""Absolute maximum in seconds, whatever is configured."""

ENDED = ("Succeeded", "Failed")
"""Phases of a Pod that has stopped running (Kubernetes, "Pod Lifecycle")."""

MAX_NODE_SHARE = 0.75
"""Default, unless the operator sets another: a cut belongs on the side with fewer nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a cut would touch, and when: the nodes with rules, the nodes cut off, and the Pods on them.

    `pods`: namespace -> one of its Pods that runs on a touched node or is a peer itself, as `NAME on NODE`.
    The cut is made after `at`. `let_go`: when it ends, if that is later than `at` plus its delay and TTL.
    """

    cut: Cut
    total_nodes: int
    cut_off: frozenset[str]
    pods: Mapping[str, str]
    at: datetime
    let_go: datetime | None = None

    @property
    def until(self) -> datetime:
        """When the cut ends."""
        soonest = self.at + timedelta(seconds=self.cut.delay_s + self.cut.ttl_s)
        return max(soonest, self.let_go or soonest)


def footprint(
    cut: Cut,
    nodes: Collection[Node],
    pods: Iterable[Pod],
    at: datetime,
    let_go: datetime | None = None,
) -> Footprint:
    """Return the footprint of `cut` on a cluster with `nodes` (including all their addresses) and `pods`."""
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
    """The limits from one source; None or empty: not set by this source.

    If several sources set limits, all of them apply, so none can loosen another's. A refusal names the limit
    as `prefix` plus its key, in `place`. `protected_nodes`: names or shell patterns (fnmatch) of nodes that
    may neither carry rules nor be cut off. `protected_namespaces`: their Pods may neither be deleted nor run
    on a touched node.
    """

    place: str
    prefix: str = ""
    max_ttl_s: float | None = None
    max_node_share: float | None = None
    protected_nodes: tuple[str, ...] = ()
    protected_namespaces: tuple[str, ...] = ()
    allowed_hours: tuple[Hours, ...] = ()

    def check(self, asked: Footprint) -> None:
        """Raise `Refused`, naming the limit, its value and its source, if a cut would exceed one."""
        self._check_ttl(asked.cut)
        self._check_share(asked)
        self._check_nodes(asked)
        self._check_namespaces(asked)
        self._check_hours(asked)

    def check_deletion(self, namespace: str) -> None:
        """Raise `Refused` if Pods of `namespace` may not be deleted."""
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
                f"nodes: rules on {count} of {asked.total_nodes} nodes exceed the limit",
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
                "run within the allowed hours, or request a shorter cut",
            )

    def _refused(self, key: str, value: str, what: str, instead: str = "request less") -> Refused:
        limit = f"{self.prefix}{key} is {value} in {self.place}"
        return Refused(f"{what} ({limit})", f"{instead}, or change {self.prefix}{key} there if you may")


def in_force(experiment: Limits, *operator: Limits) -> tuple[Limits, ...]:
    """Return all limits that apply: the built-in ones, each of the operator's, and the experiment's.

    A configured TTL limit replaces the built-in default, but not the absolute maximum. Only an operator's
    limit replaces the built-in share of nodes. Otherwise none of them loosens another.
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
    """Raise `Refused` for a prefix wider than any node network. This limit is not configurable."""
    for peer in cut.peers:
        widest = WIDEST_PREFIX[family_of(peer)]
        if peer.prefixlen < widest:
            raise Refused(
                f"peers: {peer} is wider than the limit of /{widest} (built in)",
                "list the nodes' own prefixes or addresses",
            )


def _among(addresses: Iterable[str], peers: Collection[Network]) -> bool:
    return any(ip_address(address) in peer for address in addresses for peer in peers)


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Mon-Fri 09:00-16:00 Europe/Berlin"

_FORM = re.compile(
    r"(?P<days>[A-Z][A-Za-z,-]{2,40}) (?P<start>[\d:]{5})-(?P<end>[\d:]{5}) (?P<zone>\S{1,60})"
)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Weekly hours in a time zone, in local time including daylight saving.

    `start` and `end` are minutes after midnight. If `end` is not after `start`, it is on the next day, and
    the whole window belongs to the day (Monday is 0) on which it starts.
    """

    text: str
    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `DAYS HH:MM-HH:MM ZONE`: days as `Mon-Fri`, `Sat,Sun` or `Fri-Mon`; the zone by its IANA name.

        Raises `Refused` for anything else.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise _refused(text, "the form is `DAYS HH:MM-HH:MM ZONE`")
        start, end = _minutes(text, found["start"]), _minutes(text, found["end"])
        if start in (end, 24 * 60):
            raise _refused(text, "the window is empty (all day is 00:00-24:00)")
        return cls(
            text=text, days=_days(text, found["days"]), start=start, end=end, zone=_zone(text, found["zone"])
        )

    def windows(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield every window that overlaps `since` to `until`, in UTC."""
        day, last = since.astimezone(self.zone).date() - timedelta(days=1), until.astimezone(self.zone).date()
        while day <= last:
            if day.weekday() in self.days:
                next_day = timedelta(days=int(self.end <= self.start))
                yield self._at(day, self.start), self._at(day + next_day, self.end)
            day += timedelta(days=1)

    def _at(self, day: date, minutes: int) -> datetime:
        """Convert local minutes to UTC. When clocks change, the offset before the change applies (PEP 495, fold=0)."""
        days, minutes = divmod(minutes, 24 * 60)
        clock = time(minutes // 60, minutes % 60)
        return datetime.combine(day + timedelta(days=days), clock, self.zone).astimezone(UTC)


def fits(hours: Iterable[Hours], since: datetime, until: datetime) -> bool:
    """Whether `since` to `until` lies within the hours; adjoining windows count as one."""
    reached = since
    for start, end in sorted(window for each in hours for window in each.windows(since, until)):
        if start <= reached < end:
            reached = end
    return reached >= until and reached > since


def _days(text: str, days: str) -> frozenset[int]:
    return frozenset(day for part in days.split(",") for day in _range(text, part))


def _range(text: str, part: str) -> Iterator[int]:
    first, dash, last = part.partition("-")
    try:
        begin, end = DAYS.index(first), DAYS.index(last if dash else first)
    except ValueError:
        raise _refused(text, f"days are {', '.join(DAYS)}") from None
    return (day % 7 for day in range(begin, end + 1 + 7 * (end < begin)))


def _minutes(text: str, clock: str) -> int:
    if not _CLOCK.fullmatch(clock):
        raise _refused(text, f"{clock} is not a time of day")
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _zone(text: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # unknown, or not a valid zone name at all
        raise _refused(text, f"unknown time zone {name} (on Debian, install tzdata)") from None


def _refused(text: str, why: str) -> Refused:
    return Refused(f"allowed_hours: {text!r}: {why}", f"write it as `{EXAMPLE}`")
