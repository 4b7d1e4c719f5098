"""What a run came to: the value that result.json holds and that every report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaosext.model.timeline import Event
    from chaosext.model.verdict import Verdict

SCHEMA = "chaosext.result/v1"

Window = tuple[float, float | None]
"""Start and end in seconds from the cut; the end is None while it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """What was known before the cut. `timings` as in `Timings.to_json`; `outlook` are lines for people."""

    context: str
    timings: Mapping[str, Any]
    outlook: tuple[str, ...]
    unpeered_nodes: tuple[str, ...]
    kube_dns_nodes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "context": self.context,
            "timings": dict(self.timings),
            "outlook": list(self.outlook),
            "nodes_without_bgp_peer": list(self.unpeered_nodes),
            "kube_dns_nodes_before": list(self.kube_dns_nodes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRules:
    """How the rules that aren't ours differ between before the cut and after the last heal, over all cut nodes.

    `changed_by`: known author, such as `kube-proxy` -> lines that came, went or moved. `unattributed`: what nobody is
    known for, as lines for people. `not_compared`: the nodes whose rules could not be listed both times.
    """

    changed_by: Mapping[str, int]
    unattributed: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def identical(self) -> bool | None:
        """Whether they are byte for byte what they were, on every node; None: not known."""
        if self.changed_by or self.unattributed:
            return False
        return None if self.not_compared else True

    @property
    def reasons(self) -> tuple[str, ...]:
        """What a verdict must not keep to itself."""
        unknown = [f"foreign rules were changed by nobody known: {line}" for line in self.unattributed]
        missed = ", ".join(self.not_compared)
        return (*unknown, *([f"foreign rules could not be compared on {missed}"] if missed else []))

    def to_json(self) -> dict[str, Any]:
        return {
            "identical": self.identical,
            "changed_by": dict(self.changed_by),
            "unattributed": list(self.unattributed),
            "not_compared": list(self.not_compared),
        }


class Lane(StrEnum):
    """What can be out for a while, each seen on objects of its own: `Node/<name>`, `Pod/<namespace>/<name>`, …"""

    DNS = "dns"
    """Lookups at kube-dns' Service address, over UDP with a fresh socket."""
    DNS_TCP = "dns_tcp"
    DNS_KEPT_SOCKET = "dns_kept_socket"
    XDS = "xds"
    SIDECAR_READY = "sidecar_ready"
    TARGETS = "targets"
    BGP = "bgp"
    ROUTES = "routes"
    NODE_READY = "node_ready"
    PROBES = "probes"


Outages = Mapping[Lane, Mapping[str, tuple[Window, ...]]]
"""Lane -> object -> the windows in which it was out. A window ends where nobody looked any more: see `unobserved`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClock:
    """How a node's clocks stood to the runner's.

    `offset_s`: the node's monotonic clock less the runner's, known to within `error_s`; `wall_skew_s`: its wall clock
    less the runner's. `boots`: how many boots of it were seen, each with an offset of its own (this is the last's).
    """

    offset_s: float
    error_s: float
    wall_skew_s: float
    boots: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "offset_s": round(self.offset_s, 4),
            "error_s": round(self.error_s, 4),
            "wall_skew_s": round(self.wall_skew_s, 3),
            "boots": self.boots,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long it took, in seconds; None: it did not happen, or nobody saw it.

    `detect_s`: from the cut until the control plane marked a node NotReady. `outage_s`: from the first outage that a
    user feels (DNS, xDS, probes) to the steady state. `heal_to_outage_s`: from the heal to the first DNS death after
    it. `recover_s`: from the heal to the steady state. `rollback_s`: from the rollback to the steady state.
    """

    detect_s: float | None = None
    outage_s: float | None = None
    heal_to_outage_s: float | None = None
    recover_s: float | None = None
    rollback_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run, whole. `duration_s` is wall clock.

    `outages`: what was out, where and when; `unobserved`: node -> the windows in which its sentinel's record has
    nothing, which is never healthy. `clocks`: node -> how its clocks stood to the runner's.

    `audit` is the number and hash of the run's last entry in the audit log (`seq`, `hash`); None: it has none there.
    """

    run: str
    experiment: str
    started_at: str
    duration_s: float
    verdict: Verdict
    events: tuple[Event, ...]
    outages: Outages = field(default_factory=dict)
    unobserved: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    clocks: Mapping[str, NodeClock] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    briefing: Briefing | None = None
    expected: str | None = None
    kube_dns_moved: str | None = None
    foreign_rules: ForeignRules | None = None
    audit: Mapping[str, Any] | None = None

    @property
    def dns_outages(self) -> Mapping[str, tuple[Window, ...]]:
        """`Node/<name>` -> the windows in which its DNS was dead."""
        return self.outages.get(Lane.DNS, {})

    @property
    def longest_dns_outage_s(self) -> float:
        """The longest window of any node; one that never ended is counted up to the last event."""
        end_s = max((event.t_s for event in self.events), default=0.0)
        windows = (window for found in self.dns_outages.values() for window in found)
        return max(((end_s if end is None else end) - start for start, end in windows), default=0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": self.run,
            "experiment": self.experiment,
            "started_at": self.started_at,
            "duration_s": round(self.duration_s, 1),
            **self.verdict.to_json(),
            "expected": self.expected,
            "kube_dns_moved": self.kube_dns_moved,
            "dns_outages_s": _windows(self.dns_outages),
            "outages_s": {lane.value: _windows(found) for lane, found in self.outages.items()},
            "unobserved_s": _windows(self.unobserved),
            "clocks": {node: clock.to_json() for node, clock in self.clocks.items()},
            "timing": self.timing.to_json(),
            "longest_dns_outage_s": round(self.longest_dns_outage_s, 1),
            "foreign_rules": self.foreign_rules.to_json() if self.foreign_rules else None,
            "audit": dict(self.audit) if self.audit else None,
            **(self.briefing.to_json() if self.briefing else {}),
        }


def _windows(found: Mapping[str, tuple[Window, ...]]) -> dict[str, list[list[float | None]]]:
    return {
        name: [[None if moment is None else round(moment, 3) for moment in window] for window in windows]
        for name, windows in found.items()
    }
