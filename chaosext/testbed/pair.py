"""Two testbeds behind one load balancer: up, status and down of all but the first cluster."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.testbed import containers, leaf, lifecycle, load_balancer_nodes, shop_install
from chaosext.testbed.bed_lock import locked
from chaosext.testbed.config import SECOND_OF, second_name
from chaosext.testbed.kubectl import Kubectl, first_control_plane
from chaosext.testbed.node_images import ensure_entry_image
from chaosext.testbed.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.model.load_balancer_state import Member, Request
    from chaosext.testbed.health import BedStatus
    from chaosext.testbed.node_images import ImageSet
    from chaosext.testbed.stage_progress import Progress

STEADY_S = 90
WINDOW_S = 3.0
"""The load balancer is steady if all customers' requests of this many seconds succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryStatus:
    """The load balancer's status: `ok` of `requests` within `WINDOW_S` seconds were answered with 200."""

    name: str
    customers: str
    members: tuple[Member, ...]
    requests: int
    ok: int

    @property
    def missing(self) -> tuple[str, ...]:
        """One line for each deviation from the steady state; empty if there is none."""
        return tuple(_missing(self))

    @property
    def steady(self) -> bool:
        return not self.missing

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "customers": self.customers,
            "members": [each.to_json() for each in self.members],
            "requests": self.requests,
            "ok": self.ok,
            "steady": self.steady,
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatus:
    """The status of both clusters and of the load balancer in front of them."""

    first: BedStatus
    second: BedStatus
    entry: EntryStatus

    @property
    def steady(self) -> bool:
        return self.first.steady and self.second.steady and self.entry.steady

    def to_json(self) -> dict[str, Any]:
        """Return the first cluster's JSON, with the second cluster's and the load balancer's added."""
        parts = {"second": self.second.to_json(), "entry": self.entry.to_json()}
        return {**self.first.to_json(), **parts, "steady": self.steady}


def has_second(name: str) -> bool:
    """Return whether the testbed has a second cluster, even an incomplete one. Raises `CommandFailed`."""
    mark = containers.find_container(leaf.leaf_name(second_name(name)))
    return mark is not None and (leaf.recorded(mark) or {}).get(SECOND_OF) == name


def join(name: str, images: ImageSet, progress: Progress) -> EntryStatus:
    """Start the load balancer in front of both clusters, which are up, and wait until it serves from both.

    Raises `NotInTime`, which says what is missing, or `CommandFailed`.
    """
    clusters = (name, second_name(name))
    image = ensure_entry_image(images, progress)
    with _alone(name), progress.stage("Start the load balancer in front of both clusters"):
        for each in clusters:
            Kubectl(first_control_plane(each)).apply(shop_install.entry_objects())
        load_balancer_nodes.ensure_entry(name, image, load_balancer_nodes.members(clusters))
    with progress.stage("Wait until both clusters serve customers"):
        return wait_until(
            lambda: _steady(name),
            what=f"a load balancer that serves all customers from {' and '.join(clusters)}",
            look=f"see `chaosext testbed status --name {name}` "
            f"and `docker logs {load_balancer_nodes.entry_name(name)}`",
            timeout_s=STEADY_S, stop=Event(),
        )  # fmt: skip


def entry_status(name: str) -> EntryStatus:
    """Return the load balancer's status. Raises `Unreachable` if it, or its customers, do not answer."""
    door = load_balancer_nodes.door(name)
    if sorted(each.name for each in load_balancer_nodes.found(name) if each.running) != sorted(_names(name)):
        raise Unreachable(f"{' and '.join(_names(name))} are not both running", _up_again(name))
    return judged(name, door.look(), door.requests(WINDOW_S))


def judged(name: str, members: tuple[Member, ...], requests: Iterable[Request]) -> EntryStatus:
    """Return the status from the answers of the load balancer and its customers. Pure."""
    seen = tuple(requests)
    return EntryStatus(
        name=load_balancer_nodes.entry_name(name),
        customers=load_balancer_nodes.customers_name(name),
        members=members,
        requests=len(seen),
        ok=sum(each.ok for each in seen),
    )


def status(name: str) -> PairStatus:
    """Return the status of both clusters and the load balancer.

    Raises like `lifecycle.status` and `entry_status`.
    """
    second = lifecycle.status(second_name(name))
    return PairStatus(first=lifecycle.status(name), second=second, entry=entry_status(name))


def take_down(name: str, progress: Progress) -> bool:
    """Remove load balancer, customers and second cluster. Returns whether the second cluster was removed."""
    with _alone(name):
        if there := load_balancer_nodes.found(name):
            with progress.stage("Remove the load balancer"):
                containers.remove(reversed(there))
        return has_second(name) and lifecycle.down(second_name(name), progress)


def _steady(name: str) -> EntryStatus | None:
    try:
        found = entry_status(name)
    except ChaosextError:
        return None
    return found if found.steady else None


def _missing(status: EntryStatus) -> Iterable[str]:
    for each in status.members:
        if not each.serves:
            yield f"{status.name} sends no requests to {each.cluster}: {each.state}"
    if not status.requests:
        yield f"{status.customers} sends no requests"
    elif status.ok < status.requests:
        yield f"{status.requests - status.ok} of {status.requests} requests of {status.customers} failed"


def _names(name: str) -> tuple[str, str]:
    return load_balancer_nodes.entry_name(name), load_balancer_nodes.customers_name(name)


def _up_again(name: str) -> str:
    return f"run `chaosext testbed up --name {name} --clusters 2`"


def _alone(name: str) -> Any:
    return locked(f"testbed-{name}-entry")
