"""What a run came to: the value that result.json holds and that every report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run, whole. `dns_outages`: node -> windows in which its DNS was dead; `duration_s` is wall clock.

    `audit` is the number and hash of the run's last entry in the audit log (`seq`, `hash`); None: it has none there.
    """

    run: str
    experiment: str
    started_at: str
    duration_s: float
    verdict: Verdict
    events: tuple[Event, ...]
    dns_outages: Mapping[str, tuple[Window, ...]]
    briefing: Briefing | None = None
    expected: str | None = None
    kube_dns_moved: str | None = None
    foreign_rules: ForeignRules | None = None
    audit: Mapping[str, Any] | None = None

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
            "dns_outages_s": {
                name: [list(window) for window in found] for name, found in self.dns_outages.items()
            },
            "longest_dns_outage_s": round(self.longest_dns_outage_s, 1),
            "foreign_rules": self.foreign_rules.to_json() if self.foreign_rules else None,
            "audit": dict(self.audit) if self.audit else None,
            **(self.briefing.to_json() if self.briefing else {}),
        }
