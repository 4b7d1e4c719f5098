"""The interface to a load balancer in front of several clusters, and its implementation for Envoy.

To support another one (HAProxy, an appliance, DNS), implement the methods of `Entry`.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from chaosext.model.errors import MALFORMED, Refused, Unreachable, finite, understood
from chaosext.model.load_balancer_state import Failover, Member, Request, Second
from chaosext.model.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from chaosext.nodes.shell import NodeShell

ASSIGNMENT = "/etc/envoy/assignment.json"
ADMIN_PORT = 9901

ASK_S = 20.0
"""Seconds to wait for one answer: `docker exec` takes 0.3 s, and ten on an overloaded machine."""
TAKE_S = 5.0
"""Seconds that Envoy may take to apply a new assignment; inotify notifies it within milliseconds."""
POLL_S = 0.2
ATTEMPTS = 3

TAB = "\t"
CHANGED_MEANWHILE = 76

LOOK = f"""
look() {{
  tr -d '\\n' < {ASSIGNMENT} && printf '\\t' &&
  customers ask 'http://127.0.0.1:{ADMIN_PORT}/clusters?format=json' | tr -d '\\n' &&
  read -r up _ < /proc/uptime && printf '\\t%s\\n' "$up"
}}
"""
"""Prints one line: the assignment, Envoy's status of its addresses, and the time (seconds of uptime, which
cannot be set). They are separated by tabs, which JSON only contains escaped."""

PUT = f"""
exec 9> {ASSIGNMENT}.lock && flock -w 5 9 || exit 75
[ "$(sha256sum < {ASSIGNMENT} | cut -d ' ' -f 1)" = "$expected" ] || exit {CHANGED_MEANWHILE}
cat > {ASSIGNMENT}.new && mv {ASSIGNMENT}.new {ASSIGNMENT}
"""
"""Replaces the assignment with stdin atomically, unless it was changed since it was read."""

FOLLOW = """
customers follow & follower=$!
trap 'kill $follower 2>/dev/null' EXIT
while kill -0 $follower 2>/dev/null; do
  IFS= read -r -t 1 _
  (( $? > 128 )) || break
done
"""
LOOK_ON = """
while :; do
  look || exit
  IFS= read -r -t 1 _
  (( $? > 128 )) || break
done
"""


Look = tuple[float, tuple[Member, ...]]
"""When a load balancer was observed (monotonic seconds), and the clusters behind it."""


@dataclass(slots=True)
class Times:
    """Converts times of another clock to the local one, from messages with a varying delay.

    A message never arrives early, so the one with the smallest delay gives the best estimate of the clocks'
    offset.
    """

    _ahead_s: float = math.inf

    def here(self, there_s: float, arrived_s: float) -> float:
        """Return the local time of `there_s`, a time of the other clock whose message arrived at `arrived_s`."""
        self._ahead_s = min(self._ahead_s, arrived_s - there_s)
        return there_s + self._ahead_s


class LoadBalancer(Protocol):
    """A load balancer in front of several clusters.

    All methods are bounded in time, and raise `Unreachable` if it does not answer.
    """

    @property
    def name(self) -> str: ...

    def look(self) -> tuple[Member, ...]:
        """The clusters behind it with their current state, sorted by name."""

    def change(self, cluster: str, *, drained: bool | None = None, failover: Failover | None = None) -> None:
        """Drain `cluster` (no new requests, those in flight complete) or undo that, and set how it fails over.

        None leaves a setting unchanged. The change is confirmed to be in force on return. Raises `Refused`
        for an unknown cluster.
        """

    def requests(self, window_s: float) -> tuple[Request, ...]:
        """The customer requests that ended within the last `window_s` seconds, oldest first."""

    def looks(self) -> AbstractContextManager[Iterator[Look]]:
        """Yield `look` once a second, each with its local monotonic time."""

    def seconds(self) -> AbstractContextManager[Iterator[Second]]:
        """Yield the outcome of the customer requests, second by second; `t_s` is local monotonic time."""


@dataclass(frozen=True, slots=True)
class EnvoyEntry:
    """Envoy in one container and the simulated customers in another, as on the testbed (docs/failover.md)."""

    envoy: NodeShell
    customers: NodeShell

    @property
    def name(self) -> str:
        return self.envoy.node

    def look(self) -> tuple[Member, ...]:
        members, _ = self._read()
        return members

    def change(self, cluster: str, *, drained: bool | None = None, failover: Failover | None = None) -> None:
        for _ in range(ATTEMPTS):
            members, text = self._read()
            wanted = tuple(changed(each, cluster, drained, failover) for each in members)
            if cluster not in {each.cluster for each in members}:
                raise _unknown(self.name, cluster, members)
            if wanted == members or self._put(wanted, text):
                return self._await(wanted)
        raise Unreachable(f"{self.name}: its assignment was changed by others, {ATTEMPTS} times in a row")

    def requests(self, window_s: float) -> tuple[Request, ...]:
        done = self.customers.run(f"customers results -within {window_s:g}s", timeout_s=ASK_S)
        if done.exit_code:
            raise Unreachable(f"{self.customers.node}: {_last_line(done.stderr)}")
        with understood(self.customers.node):
            return msgspec.convert(json.loads(done.stdout), tuple[Request, ...])

    @contextmanager
    def looks(self) -> Iterator[Iterator[Look]]:
        times = Times()
        with self.envoy.stream(LOOK + LOOK_ON) as lines:
            yield (self._dated(line, times) for line in lines)

    @contextmanager
    def seconds(self) -> Iterator[Iterator[Second]]:
        times = Times()
        with self.customers.stream(FOLLOW) as lines:
            yield (self._second(line, times) for line in lines)

    def _dated(self, line: str, times: Times) -> Look:
        members, _ = self._understood(line)
        with understood(self.name):
            return times.here(finite(line.rsplit(TAB, 1)[1]), time.monotonic()), members

    def _second(self, line: str, times: Times) -> Second:
        with understood(self.customers.node):
            value = json.loads(line)
            t_s = times.here(finite(value["up_s"]), time.monotonic())
            return msgspec.convert({**value, "t_s": t_s}, Second)

    def _read(self) -> tuple[tuple[Member, ...], str]:
        done = self.envoy.run(f"{LOOK}\nlook", timeout_s=ASK_S)
        if done.exit_code:
            raise Unreachable(f"{self.name}: {_last_line(done.stderr)}")
        return self._understood(done.stdout.rstrip("\n"))

    def _understood(self, line: str) -> tuple[tuple[Member, ...], str]:
        """Parse a line of `LOOK`: the members, and the assignment as text."""
        with understood(self.name):
            text, said, _ = line.split(TAB)
            healthy = parse_healthy(said)
            found = parse_assignment(text)
        return tuple(replace(each, healthy=healthy.get(each.cluster, 0)) for each in found), text

    def _put(self, members: tuple[Member, ...], before: str) -> bool:
        """Write a new assignment. Returns False if the current one is no longer `before`."""
        expected = f"expected={sha256(before.encode()).hexdigest()}\n"
        done = self.envoy.run(expected + PUT, stdin=assignment(members), timeout_s=ASK_S)
        if done.exit_code not in (0, CHANGED_MEANWHILE):
            raise Unreachable(f"{self.name}: {_last_line(done.stderr) or 'its assignment is locked'}")
        return done.exit_code == 0

    def _await(self, wanted: tuple[Member, ...]) -> None:
        """Wait until Envoy itself reports that exactly those addresses are draining."""
        out = {address for each in wanted if each.drained for address in each.addresses}

        def follows() -> bool:
            done = self.envoy.run(f"{LOOK}\nlook", timeout_s=ASK_S)
            return done.exit_code == 0 and _drains(done.stdout, out)

        if not poll(follows, within_s=TAKE_S, every_s=POLL_S, at_deadline=False):
            raise Unreachable(f"{self.name}: Envoy did not follow its new assignment within {TAKE_S:g} s")


def changed(member: Member, cluster: str, drained: bool | None, failover: Failover | None) -> Member:
    """Return `member` with the change applied if it is the one named `cluster`. Pure."""
    if member.cluster != cluster:
        return member
    return replace(
        member,
        drained=member.drained if drained is None else drained,
        failover=failover or member.failover,
    )


def when(
    entry: LoadBalancer, holds: Callable[[tuple[Member, ...]], bool], within_s: float
) -> tuple[Member, ...]:
    """Return the members as soon as `holds` is true for them, else as they are after `within_s` seconds.

    Retries while the load balancer does not answer; raises `Unreachable` if it still does not at the end.
    """
    return poll(entry.look, until=holds, within_s=within_s, every_s=POLL_S, tolerate=Unreachable)


def _drains(line: str, addresses: set[str]) -> bool:
    try:
        return parse_drained(line.split(TAB)[1]) == addresses
    except MALFORMED:
        return False


def _unknown(entry: str, cluster: str, members: tuple[Member, ...]) -> Refused:
    known = ", ".join(each.cluster for each in members)
    return Refused(f"cluster {cluster!r} is not behind the entry {entry}", f"behind it are: {known}")


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else "no answer"


SERVICE = "shop"
"""Envoy's name for all clusters together (in Envoy's terms, they are one cluster)."""

TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

METADATA = "envoy.lb"
"""Envoy's own metadata namespace for addresses; `%UPSTREAM_METADATA(envoy.lb:cluster)%` reads the key set here."""

DRAINING, HEALTHY = "DRAINING", "HEALTHY"

FAILED = "failed_active_health_check"
"""In a host's `health_status` (envoy.admin.v3.HostHealthStatus)."""


def assignment(members: Iterable[Member]) -> str:
    """Format the file: one line of JSON. Each cluster is a locality of equal weight, whatever its size."""
    localities = [_locality(each) for each in members]
    resource = {"@type": TYPE, "cluster_name": SERVICE, "endpoints": localities}
    return json.dumps({"resources": [resource]})


def parse_assignment(text: str) -> tuple[Member, ...]:
    """Parse such a file into its members, sorted by name. It does not say how healthy they are.

    Raises KeyError, TypeError or ValueError (or another of `MALFORMED`) for anything else.
    """
    (resource,) = json.loads(text)["resources"]
    return tuple(sorted(map(_member, resource["endpoints"]), key=lambda each: each.cluster))


def parse_healthy(text: str) -> Mapping[str, int]:
    """Cluster -> number of its addresses that do not fail Envoy's check, from admin's `/clusters?format=json`.

    A cluster without such an address is omitted. Raises one of `MALFORMED` for another text.
    """
    (status,) = (each for each in json.loads(text)["cluster_statuses"] if each["name"] == SERVICE)
    hosts = status.get("host_statuses", [])
    return Counter(each["locality"]["zone"] for each in hosts if not each["health_status"].get(FAILED))


def parse_drained(text: str) -> frozenset[str]:
    """The addresses (`ip:port`) that Envoy itself reports as draining, which proves that it has read the file."""
    (status,) = (each for each in json.loads(text)["cluster_statuses"] if each["name"] == SERVICE)
    hosts = status.get("host_statuses", [])
    draining = (each for each in hosts if each["health_status"].get("eds_health_status") == DRAINING)
    return frozenset(_host_port(each["address"]) for each in draining)


def _locality(member: Member) -> dict[str, Any]:
    return {
        "locality": {"zone": member.cluster},
        "load_balancing_weight": 1,
        "lb_endpoints": [_endpoint(member, address) for address in member.addresses],
    }


def _endpoint(member: Member, address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {
        "endpoint": {
            "address": {"socket_address": {"address": host, "port_value": int(port)}},
            "health_check_config": {
                "disable_active_health_check": member.failover is Failover.BY_HAND,
            },
        },
        "health_status": DRAINING if member.drained else HEALTHY,
        "metadata": {"filter_metadata": {METADATA: {"cluster": member.cluster}}},
    }


def _member(locality: Mapping[str, Any]) -> Member:
    endpoints = locality["lb_endpoints"]
    unchecked = all(
        each["endpoint"]["health_check_config"]["disable_active_health_check"] for each in endpoints
    )
    return Member(
        cluster=str(locality["locality"]["zone"]),
        addresses=tuple(_host_port(each["endpoint"]["address"]) for each in endpoints),
        drained=all(each["health_status"] == DRAINING for each in endpoints),
        failover=Failover.BY_HAND if unchecked else Failover.HEALTH_CHECK,
    )


def _host_port(address: Mapping[str, Any]) -> str:
    socket = address["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"
