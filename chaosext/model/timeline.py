"""The timeline: one vocabulary for what is observed and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.errors import finite

if TYPE_CHECKING:
    from collections.abc import Mapping


ON_NODES = "on the nodes' side: "
"""How the detail of a cut begins whose rules are on the nodes that lose the control plane."""


class Kind(StrEnum):
    """What happened. Shared by the recorder (observed) and the rehearsal (predicted)."""

    CUT = "cut"
    NODE_NOT_READY = "node_not_ready"
    NODE_DELETED = "node_deleted"
    """The API server has its Node object no more; kubelet registers one only when it starts."""
    NODE_TAINTED = "node_tainted"
    OBJECT_MISSING = "object_missing"
    """It stood at the baseline, and is gone, or there is less of it."""
    OBJECT_BACK = "object_back"
    NODE_REBOOTED = "node_rebooted"
    """Its boot ID is another one, as kubelet reports it to the API server, or as its sentinel's record shows."""
    KUBELET_LOST = "kubelet_lost"
    """It renews its Lease no more, so it reaches no API server."""
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
    """A UDP socket that is kept gets no answers where a fresh one does (Kubernetes #125467)."""
    DNS_ONLY_KEPT_SOCKET = "dns_only_kept_socket"
    """The other way round: only who kept a socket from before still gets answers."""
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
    """Requests of an entry's customers fail."""
    ENTRY_RESTORED = "entry_restored"
    ENTRY_DRAINED = "entry_drained"
    """An entry in front of several clusters sends nobody to one of them any more, be it by hand or by its own check."""
    ENTRY_TAKEN_BACK = "entry_taken_back"
    PROBE_FAILING = "probe_failing"
    CRASH_LOOP = "crash_loop"
    CUT_LOST = "cut_lost"
    """A cut ended on a node before it was healed, or its time was over: what is seen from then on proves nothing."""
    CUT_WEAKENED = "cut_weakened"
    """Something of a cut in force is not as it was planned any more."""
    HEAL = "heal"
    NODE_READY = "node_ready"
    ROLLBACK = "rollback"
    STEADY = "steady"
    OBSERVATION_LOST = "observation_lost"
    OBSERVATION_RESTORED = "observation_restored"
    CLOCK = "clock"
    """How a node's clocks stand to the runner's, measured."""
    LOCK_LOST = "lock_lost"
    STOP_CONDITION = "stop_condition"
    """A stop condition came true: the run is healed and ends here."""
    ABORT = "abort"
    """Somebody asked for the run to be healed, and to end here."""


NO_LONGER_WATCHED = "no longer watched: "
"""Prefix of the detail of an `observation_lost` by design: the object has left the watch plan, or is gone."""

_BOOKKEEPING = frozenset({Kind.CLOCK, Kind.POD_CREATED, Kind.POD_GONE})
"""Kinds that repeat what another event says, or describe the observation itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the timeline. `t_s` is seconds from the cut; before the cut it is negative."""

    t_s: float
    kind: Kind
    object: str
    detail: str
    source: str

    @property
    def is_bookkeeping(self) -> bool:
        """Whether it belongs into `timeline.jsonl` only: it says nothing about how the cluster fares."""
        planned = self.kind is Kind.OBSERVATION_LOST and self.detail.startswith(NO_LONGER_WATCHED)
        return planned or self.kind in _BOOKKEEPING

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it is about, or seen from: of `Node/cp-1,cp-2` both, of `Node/w → istiod 10.2.0.5` w."""
        kind, _, names = self.object.partition("/")
        return tuple(names.partition(" ")[0].split(",")) if kind == "Node" else ()

    def to_json(self) -> dict[str, Any]:
        return {
            "t_s": round(self.t_s, 3) + 0.0,  # never -0.0
            "kind": self.kind.value,
            "object": self.object,
            "detail": self.detail,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        return cls(
            t_s=finite(value["t_s"]),
            kind=Kind(value["kind"]),
            object=str(value["object"]),
            detail=str(value["detail"]),
            source=str(value["source"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One line of a rehearsal: an event that is expected at `t_s`, and between `t_min_s` and `t_max_s` with luck.

    `probability` (0 to 1) is that it happens at all; None where the rehearsal gives none.
    """

    event: Event
    t_min_s: float
    t_max_s: float
    probability: float | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no line of a `chaosext.rehearsal/v1`."""
        chance = value.get("probability")
        return cls(
            event=Event.from_json(value),
            t_min_s=finite(value["t_min_s"]),
            t_max_s=finite(value["t_max_s"]),
            probability=None if chance is None else finite(chance),
        )
