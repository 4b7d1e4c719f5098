"""kube-dns' endpoints as the nodes know them, and the state of lookups that follows.

Source: Kubernetes v1.34 pkg/proxy/topology.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.rehearsal.snapshot.world import Nearness

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from chaosext.rehearsal.simulate.reach import Epoch
    from chaosext.rehearsal.snapshot.world import World


class Clients(Protocol):
    """The nodes that look names up, as `SimulationInputs` has them."""

    @property
    def world(self) -> World: ...

    @property
    def kinds(self) -> Sequence[int]: ...

    @property
    def prefers_zone(self) -> bool: ...

    @property
    def answers(self) -> Callable[[int, int, bool, Epoch], bool | None]: ...


class DnsEndpoint(NamedTuple):
    """An endpoint: its node, whether it runs, and whether it uses its node's address."""

    node: int
    runs: bool
    own_address: bool


class Viewpoint(NamedTuple):
    """When and how endpoints are looked at: with names of the node's cache, and on which nodes sidecars answer."""

    epoch: Epoch
    cached: bool
    captured: frozenset[int]


class Endpoints:
    """kube-dns' endpoints as one kube-proxy knows them, grouped by the kind of their node."""

    def __init__(self, known: Iterable[DnsEndpoint], stage: Clients) -> None:
        self._stage, self._service = stage, stage.world.dns
        self._silent: set[int] = set()
        self._alike: dict[tuple[int, bool], dict[int, None]] = {}
        for each in known:
            if each.runs:
                self._alike.setdefault((stage.kinds[each.node], each.own_address), {})[each.node] = None
            else:
                self._silent.add(each.node)
        self.hosts = {number for numbers in self._alike.values() for number in numbers} | self._silent
        self._views: dict[Viewpoint, Views] = {}

    def views(self, seen: Viewpoint) -> Views:
        """Return the states of lookups from all nodes."""
        if seen not in self._views:
            self._views[seen] = Views(self._stage.kinds, self.hosts, lambda number: self._view(number, seen))
        return self._views[seen]

    def _view(self, number: int, seen: Viewpoint) -> Dns:
        return state(self._answers(number, seen.epoch), cached=seen.cached or number in seen.captured)

    def _answers(self, number: int, epoch: Epoch) -> set[bool | None]:
        """Return the answers of the endpoints that the node uses: all, or those near it (`CategorizeEndpoints`)."""
        service = self._service
        is_near = service is not None and service.prefers is Nearness.NODE and number in self.hosts
        if is_near or (service is not None and service.local_only):
            return self._own(number)
        if self._stage.prefers_zone:
            zone = self._stage.world.nodes[number].zone
            near = {host for host in self.hosts if self._stage.world.nodes[host].zone == zone}
            if near:
                return self._of(near, number, epoch)
        return self._of(self.hosts, number, epoch)

    def _own(self, number: int) -> set[bool | None]:
        runs = any(number in hosts for hosts in self._alike.values())
        return {answer for answer, there in ((True, runs), (False, number in self._silent)) if there}

    def _of(self, used: set[int], number: int, epoch: Epoch) -> set[bool | None]:
        found: set[bool | None] = {False} if self._silent & used else set()
        for (_, own), hosts in self._alike.items():
            if number in hosts:
                found.add(True)
            other = next((host for host in hosts if host != number and host in used), None)
            if other is not None:
                found.add(self._stage.answers(number, other, own, epoch))
        return found


class Views(dict[int, Dns]):
    """Node -> the state of its lookups, found when first asked for.

    Nodes of the same kind that host no endpoint share one result.
    """

    def __init__(self, kinds: Sequence[int], hosts: Collection[int], found: Callable[[int], Dns]) -> None:
        super().__init__()
        self._kinds, self._hosts, self._found = kinds, hosts, found
        self._of_kind: dict[int, Dns] = {}

    def __missing__(self, number: int) -> Dns:
        if number in self._hosts:
            view = self._found(number)
        else:
            kind = self._kinds[number]
            if kind not in self._of_kind:
                self._of_kind[kind] = self._found(number)
            view = self._of_kind[kind]
        self[number] = view
        return view


def state(answers: Collection[bool | None], *, cached: bool = False) -> Dns:
    """Return one node's state from `answers`: one entry per endpoint that its kube-proxy knows, None if unknown.

    With NodeLocal DNSCache (`cached`), names outside the cluster still resolve, and cluster names fail after
    their 30 s in the cache (its Corefile forwards cluster.local to kube-dns' own endpoints). With sidecars that
    answer for Services, it is the other way round.
    """
    if None in answers:
        return Dns.UNKNOWN
    if answers and all(answers):
        return Dns.RESOLVABLE
    return Dns.PARTIAL if any(answers) or cached else Dns.DEAD
