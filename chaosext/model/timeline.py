"""The timeline: one vocabulary for what is observed and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.model.bounded_json import Finite

if TYPE_CHECKING:
    from collections.abc import Mapping


ON_NODES = "on the nodes' side: "
"""Prefix of a cut's detail if its rules are on the nodes that lose the control plane."""


class Kind(StrEnum):
    """What happened. Shared by the recorder (observed) and the rehearsal (predicted)."""

    CUT = "cut"
    NODE_NOT_READY = "node_not_ready"
    NODE_DELETED = "node_deleted"
    """The API server no longer has its Node object. Kubelet registers one only when it starts."""
    NODE_TAINTED = "node_tainted"
    OBJECT_MISSING = "object_missing"
    """It existed at the baseline, and is gone or reduced."""
    OBJECT_BACK = "object_back"
    NODE_REBOOTED = "node_rebooted"
    """It has a new boot ID, as reported by kubelet to the API server or seen in its sentinel's record."""
    KUBELET_LOST = "kubelet_lost"
    """It stopped renewing its Lease, so it cannot reach an API server."""
    KUBELET_RESTORED = "kubelet_restored"
    ZONE_STATE = "zone_state"
    POD_EVICTED = "pod_evicted"
    POD_CREATED = "pod_created"
    POD_BOUND = "pod_bound"
    POD_PENDING = "pod_pending"
    POD_READY = "pod_ready"
    POD_NOT_READY = "pod_not_ready"
    POD_DELETED = "pod_deleted"
    POD_GONE = "pod_gone"
    ENDPOINTS_CHANGED = "endpoints_changed"
    DNS_DEGRADED = "dns_degraded"
    DNS_DEAD = "dns_dead"
    DNS_RESTORED = "dns_restored"
    DNS_SOCKET_STALE = "dns_socket_stale"
    """A kept UDP socket gets no answers, although a fresh one does (Kubernetes #125467)."""
    DNS_ONLY_KEPT_SOCKET = "dns_only_kept_socket"
    """The reverse: only a socket kept from before still gets answers."""
    DNS_SOCKETS_AGREE = "dns_sockets_agree"
    XDS_LOST = "xds_lost"
    XDS_RESTORED = "xds_restored"
    SIDECAR_NOT_READY = "sidecar_not_ready"
    SIDECAR_READY = "sidecar_ready"
    TARGET_LOST = "target_lost"
    TARGET_RESTORED = "target_restored"
    BGP_LOST = "bgp_lost"
    BGP_RESTORED = "bgp_restored"
    ROUTE_LOST = "route_lost"
    ROUTE_RESTORED = "route_restored"
    ENTRY_DEGRADED = "entry_degraded"
    """Customer requests through a load balancer fail."""
    ENTRY_RESTORED = "entry_restored"
    ENTRY_DRAINED = "entry_drained"
    """A load balancer in front of several clusters stopped sending requests to one of them: by hand, or by
    its own check."""
    ENTRY_TAKEN_BACK = "entry_taken_back"
    PROBE_FAILING = "probe_failing"
    CRASH_LOOP = "crash_loop"
    CUT_LOST = "cut_lost"
    """A cut ended on a node before it was healed or its TTL was over: later observations prove nothing."""
    CUT_WEAKENED = "cut_weakened"
    """A part of an active cut is no longer as planned."""
    HEAL = "heal"
    NODE_READY = "node_ready"
    ROLLBACK = "rollback"
    STEADY = "steady"
    OBSERVATION_LOST = "observation_lost"
    OBSERVATION_RESTORED = "observation_restored"
    CLOCK = "clock"
    """The measured offset of a node's clocks from the runner's."""
    LOCK_LOST = "lock_lost"
    STOP_CONDITION = "stop_condition"
    """A stop condition was met: the run heals and ends."""
    ABORT = "abort"
    """An abort was requested: the run heals and ends."""


NO_LONGER_WATCHED = "no longer watched: "
"""Prefix of the detail of an intended `observation_lost`: the object has left the watch plan, or is gone."""

_BOOKKEEPING = frozenset({Kind.CLOCK, Kind.POD_CREATED, Kind.POD_GONE})
"""Kinds that repeat another event, or describe the observation itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the timeline. `t_s` is in seconds from the cut, negative before it."""

    t_s: Finite
    kind: Kind
    object: str
    detail: str
    source: str

    @property
    def is_bookkeeping(self) -> bool:
        """Whether it belongs in `timeline.jsonl` only, because it says nothing about the cluster's health."""
        planned = self.kind is Kind.OBSERVATION_LOST and self.detail.startswith(NO_LONGER_WATCHED)
        return planned or self.kind in _BOOKKEEPING

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes it is about or was seen from: both of `Node/cp-1,cp-2`, and w of `Node/w → istiod 10.2.0.5`."""
        kind, _, names = self.object.partition("/")
        return tuple(names.partition(" ")[0].split(",")) if kind == "Node" else ()

    def to_json(self) -> dict[str, Any]:
        return {
            "t_s": round(self.t_s, 3) + 0.0,  # avoids -0.0
            "kind": self.kind.value,
            "object": self.object,
            "detail": self.detail,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One line of a rehearsal: an event expected at `t_s`; depending on chance, between `t_min_s` and `t_max_s`.

    `probability` (0 to 1) that it happens at all; None if the rehearsal gives none.
    """

    event: Event
    t_min_s: float
    t_max_s: float
    probability: float | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for anything but a line of a `chaosext.rehearsal/v1`."""
        return cls(
            event=msgspec.convert(value, Event),
            t_min_s=msgspec.convert(value["t_min_s"], Finite),
            t_max_s=msgspec.convert(value["t_max_s"], Finite),
            probability=msgspec.convert(value.get("probability"), Finite | None),
        )
