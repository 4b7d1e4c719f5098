"""The result of a run: the content of result.json, from which every report is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.model.bounded_json import Finite
from chaosext.model.errors import finite
from chaosext.model.findings import Status  # noqa: TC001  # msgspec reads it
from chaosext.model.known_unhealthy import KnownObject
from chaosext.model.names import RunId
from chaosext.model.stopped import Stopped
from chaosext.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from chaosext.model.timeline import Event

SCHEMA = "chaosext.result/v1"

Window = tuple[Finite, Finite | None]
"""Start and end in seconds from the cut; the end is None while the window is open."""


def length_s(window: Window, end_s: float) -> float:
    """Length of a window in seconds; an open one is counted up to `end_s`."""
    start_s, closed_s = window
    return max(0.0, (end_s if closed_s is None else closed_s) - start_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """The facts collected before the cut. `timings` as in `Timings.to_json`; `outlook`: lines for people."""

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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            context=str(value["context"]),
            timings=dict(value["timings"]),
            outlook=tuple(map(str, value["outlook"])),
            unpeered_nodes=tuple(map(str, value["nodes_without_bgp_peer"])),
            kube_dns_nodes=tuple(map(str, value["kube_dns_nodes_before"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRules:
    """How the rules of others changed from before the cut to after the last heal, over all cut nodes.

    `changed_by`: known author, such as `kube-proxy` -> number of lines added, removed or moved.
    `unattributed`: changes by unknown authors, as lines for people. `not_compared`: nodes whose rules could
    not be listed both times.
    """

    changed_by: Mapping[str, int]
    unattributed: tuple[str, ...]
    not_compared: tuple[str, ...]

    @property
    def identical(self) -> bool | None:
        """Whether they are byte for byte the same on every node; None: unknown."""
        if self.changed_by or self.unattributed:
            return False
        return None if self.not_compared else True

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons for the verdict to mention. The exact changes are in `unattributed`."""
        split = (line.partition(": ") for line in self.unattributed)
        nodes = ", ".join(dict.fromkeys(node for node, named, _ in split if named))
        changed = (
            f"foreign rules were changed by an unknown author on {nodes}: see foreign_rules in result.json"
        )
        missed = f"foreign rules could not be compared on {', '.join(self.not_compared)}"
        return (*([changed] if nodes else []), *([missed] if self.not_compared else []))

    def to_json(self) -> dict[str, Any]:
        return {
            "identical": self.identical,
            "changed_by": dict(self.changed_by),
            "unattributed": list(self.unattributed),
            "not_compared": list(self.not_compared),
        }


class Lane(StrEnum):
    """What can be out for a while, observed on objects such as `Node/<name>` or `Pod/<namespace>/<name>`."""

    DNS = "dns"
    """Lookups at the kube-dns Service address over UDP with a fresh socket."""
    DNS_TCP = "dns_tcp"
    DNS_KEPT_SOCKET = "dns_kept_socket"
    XDS = "xds"
    SIDECAR_READY = "sidecar_ready"
    TARGETS = "targets"
    BGP = "bgp"
    ROUTES = "routes"
    PODS = "pods"
    """TCP connects from a node to a Pod on another one, as far as nothing answers."""
    CUSTOMERS = "customers"
    """Requests through the load balancer in front of several clusters."""
    ENTRY = "entry"
    """Clusters that the load balancer sends no requests to, as it should while they cannot serve."""
    NODE_READY = "node_ready"
    KUBELET = "kubelet"
    """Kubelets that cannot reach an API server, according to their Lease renewals."""
    PROBES = "probes"


Outages = Mapping[Lane, Mapping[str, tuple[Window, ...]]]
"""Lane -> object -> windows in which it was out. A window also ends where observation ends: see `unobserved`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClock:
    """Offset of a node's clocks from the runner's.

    `offset_s`: the node's monotonic clock minus the runner's, known to within `error_s`. `wall_skew_s`: its
    wall clock minus the runner's. `boots`: number of boots seen; each has its own offset, and this one is the
    last boot's.
    """

    offset_s: Finite
    error_s: Finite
    wall_skew_s: Finite
    boots: int

    def to_json(self) -> dict[str, Any]:
        return {
            "offset_s": round(self.offset_s, 4),
            "error_s": round(self.error_s, 4),
            "wall_skew_s": round(self.wall_skew_s, 3),
            "boots": self.boots,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds; None: it did not happen, or was not observed.

    `detect_s`: from the cut until the control plane marked a node NotReady. `outage_s`: from the first outage
    that a user feels (DNS, xDS, probes) to the steady state. `heal_to_outage_s`: from the heal to the first
    DNS failure after it. `recover_s`: from the heal to the steady state. `rollback_s`: from the rollback to
    the steady state.
    """

    detect_s: Finite | None = None
    outage_s: Finite | None = None
    heal_to_outage_s: Finite | None = None
    recover_s: Finite | None = None
    rollback_s: Finite | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


class VerdictRule(StrEnum):
    """The criteria that a verdict is derived from, in the order in which a run reaches them."""

    GATE = "gate"
    """The steady state held before the cut."""
    CUT = "cut"
    """The cut was verified from both sides."""
    AFTER = "after"
    """The steady state held after the heal, without help."""
    ROLLBACK = "rollback"
    """The steady state held after the rollback."""
    COMPLETE = "complete"
    """Everything that existed at the baseline existed at the end."""
    CLEAN = "clean"
    """Everything that the run created was confirmed as removed at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Whether a rule was met, and why, in one line. `status` is None if the run never reached it or did not need it."""

    rule: VerdictRule
    status: Status | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The complete result of a run. `duration_s` is wall clock time.

    `cut_at`: the runner's wall clock at the first cut (ISO 8601), the zero of all times; "" if there was none.

    `outages`: what was out, where and when. `unobserved`: node -> windows that its sentinel's record does not
    cover, which never count as healthy. `clocks`: node -> offset of its clocks from the runner's. `rulings`:
    what the verdict was derived from; empty in results of versions that had none.

    `expected`: the verdict given with `--expect`. `stopped`: what stopped the run early, if anything.
    `known`: known unhealthy objects, and how they changed.

    `audit`: number and hash of the run's last entry in the audit log (`seq`, `hash`); None: no entry.
    """

    run: str
    experiment: str
    started_at: str
    duration_s: float
    verdict: Verdict
    events: tuple[Event, ...]
    rulings: tuple[Ruling, ...] = ()
    outages: Outages = field(default_factory=dict)
    unobserved: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    clocks: Mapping[str, NodeClock] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    briefing: Briefing | None = None
    expected: Outcome | None = None
    kube_dns_moved: str | None = None
    foreign_rules: ForeignRules | None = None
    audit: Mapping[str, Any] | None = None
    stopped: Stopped | None = None
    known: tuple[KnownObject, ...] = ()
    cut_at: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code of the run's process, from its verdict and what was expected. All outputs show this one."""
        return self.verdict.exit_code_for(self.expected)

    @property
    def ending(self) -> str:
        """The verdict with its exit code: `deviated, rollback verified (exit 0, as expected)`."""
        return self.verdict.ending(self.expected)

    @property
    def end_s(self) -> float:
        """Time of the last event, in seconds from the cut."""
        return max((event.t_s for event in self.events), default=0.0)

    @property
    def dns_outages(self) -> Mapping[str, tuple[Window, ...]]:
        """`Node/<name>` -> the windows in which its DNS was dead."""
        return self.outages.get(Lane.DNS, {})

    @property
    def longest_dns_outage_s(self) -> float:
        """The longest window of any node, in seconds; an open one is counted up to the last event."""
        end_s = self.end_s
        windows = (window for found in self.dns_outages.values() for window in found)
        return max((length_s(window, end_s) for window in windows), default=0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": self.run,
            "experiment": self.experiment,
            "started_at": self.started_at,
            "cut_at": self.cut_at,
            "duration_s": round(self.duration_s, 1),
            **self.verdict.to_json(),
            "exit_code": self.exit_code,
            "rules": [msgspec.to_builtins(ruling) for ruling in self.rulings],
            "expected": self.expected.value if self.expected else None,
            "kube_dns_moved": self.kube_dns_moved,
            "dns_outages_s": _windows(self.dns_outages),
            "outages_s": {lane.value: _windows(found) for lane, found in self.outages.items()},
            "unobserved_s": _windows(self.unobserved),
            "clocks": {node: clock.to_json() for node, clock in self.clocks.items()},
            "timing": self.timing.to_json(),
            "longest_dns_outage_s": round(self.longest_dns_outage_s, 1),
            "foreign_rules": self.foreign_rules.to_json() if self.foreign_rules else None,
            "audit": dict(self.audit) if self.audit else None,
            "stopped": msgspec.to_builtins(self.stopped),
            "known_unhealthy": [each.to_json() for each in self.known],
            **(self.briefing.to_json() if self.briefing else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], events: tuple[Event, ...]) -> Self:
        """Parse the output of `to_json`, and add the timeline that is stored beside it.

        Accepts results of versions before sentinels, which have fewer fields. Raises KeyError, TypeError,
        AttributeError or ValueError for anything else.
        """
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}, not {SCHEMA}")
        foreign, audit = value.get("foreign_rules"), value.get("audit")
        return cls(
            run=RunId(value["run"]),
            experiment=str(value["experiment"]),
            started_at=str(value["started_at"]),
            cut_at=str(value.get("cut_at", "")),
            duration_s=finite(value["duration_s"]),
            verdict=Verdict.from_json(value),
            events=events,
            rulings=msgspec.convert(value.get("rules", ()), tuple[Ruling, ...]),
            outages=_outages(value),
            unobserved=_windows_in(value.get("unobserved_s", {})),
            clocks=msgspec.convert(value.get("clocks", {}), dict[str, NodeClock]),
            timing=msgspec.convert(value.get("timing", {}), Timing),
            briefing=Briefing.from_json(value) if "context" in value else None,
            expected=Outcome(value["expected"]) if value.get("expected") else None,
            kube_dns_moved=_text(value.get("kube_dns_moved")),
            foreign_rules=msgspec.convert(foreign, ForeignRules) if foreign else None,
            audit=dict(audit) if audit else None,
            stopped=msgspec.convert(value.get("stopped"), Stopped | None),
            known=tuple(map(KnownObject.from_json, value.get("known_unhealthy", ()))),
        )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _outages(value: Mapping[str, Any]) -> Outages:
    lanes = value.get("outages_s", {Lane.DNS.value: value.get("dns_outages_s", {})})
    return {Lane(lane): _windows_in(found) for lane, found in lanes.items()}


def _windows_in(value: Mapping[str, Any]) -> dict[str, tuple[Window, ...]]:
    return {str(name): tuple(_window(*window) for window in found) for name, found in value.items() if found}


def _window(start_s: Any, end_s: Any) -> Window:
    start, end = finite(start_s), None if end_s is None else finite(end_s)
    if end is not None and end < start:
        raise ValueError(f"a window that ends before it begins: {start}, {end}")
    return start, end


def _windows(found: Mapping[str, tuple[Window, ...]]) -> dict[str, list[list[float | None]]]:
    return {
        name: [
            [None if moment is None else round(moment, 3) + 0.0 for moment in window] for window in windows
        ]
        for name, windows in found.items()
    }
