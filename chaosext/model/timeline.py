"""The timeline: one vocabulary for what is observed and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened. Shared by the recorder (observed) and the rehearsal (predicted)."""

    CUT = "cut"
    NODE_NOT_READY = "node_not_ready"
    NODE_TAINTED = "node_tainted"
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
    XDS_LOST = "xds_lost"
    XDS_RESTORED = "xds_restored"
    PROBE_FAILING = "probe_failing"
    CRASH_LOOP = "crash_loop"
    HEAL = "heal"
    NODE_READY = "node_ready"
    ROLLBACK = "rollback"
    STEADY = "steady"
    OBSERVATION_LOST = "observation_lost"
    LOCK_LOST = "lock_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the timeline. `t_s` is seconds from the cut; before the cut it is negative."""

    t_s: float
    kind: Kind
    object: str
    detail: str
    source: str

    def to_json(self) -> dict[str, Any]:
        return {
            "t_s": round(self.t_s, 3),
            "kind": self.kind.value,
            "object": self.object,
            "detail": self.detail,
            "source": self.source,
        }
