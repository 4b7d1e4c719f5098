"""The gate's record for a change ticket: the request, the cluster, and the basis of the decision. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.checks.check_names import BGP, DNS, KUBELETS, PROBES, XDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chaosext.gate.cutover_plan import Cutover, Selection, Tolerated
    from chaosext.gate.decision import Decision, Weighed
    from chaosext.gate.judge import Judgement
    from chaosext.gate.longest_cut import LongestCut
    from chaosext.gate.rehearsed import Rehearsed
    from chaosext.gate.remedies import Remedy
    from chaosext.rehearsal.simulate.planned_cut import Flap

SCHEMA = "chaosext.gate/v1"

MOST_EVIDENCE = 20
"""Maximum rows of evidence per finding; `evidence_left_off` counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request: which cluster, by whom, when, and with which inputs.

    Digests are SHA-256 in hex, of the plan's file and of the snapshot's text (uncompressed; several files
    concatenated). `context` and `uid` are "" if the source was snapshot files. `files`: those files, or where
    the live snapshot was saved; empty if it was not. `missed`: kinds that the live cluster did not return,
    and why.
    """

    at: datetime
    by: str
    plan: str
    plan_sha256: str
    snapshot_sha256: str
    files: tuple[str, ...] = ()
    taken_at: datetime | None = None
    context: str = ""
    uid: str = ""
    missed: tuple[tuple[str, str], ...] = ()

    @property
    def live(self) -> bool:
        return bool(self.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The whole record. `version` is Kubernetes' version; `node_count` counts all nodes; `meshed`: Istio is present.

    `untried`: mitigations that the time budget left no time for. `longest`: the longest safe cut of the plan's nodes,
    then those of parts of them; empty if it was not searched.
    """

    asked: Asked
    cutover: Cutover
    judgement: Judgement
    remedies: tuple[Remedy, ...]
    untried: tuple[str, ...]
    version: str
    node_count: int
    meshed: bool
    longest: tuple[LongestCut, ...] = ()

    @property
    def decision(self) -> Decision:
        return self.judgement.decision

    @property
    def assumptions(self) -> tuple[str, ...]:
        told = (each.prediction.assumptions for each in self.judgement.rehearsed)
        return tuple(dict.fromkeys(line for lines in told for line in lines))

    def not_checked(self) -> Iterator[tuple[str, str]]:
        """Yield what the gate does not check, and why."""
        yield DNS, "lookups from the nodes need a shell on the nodes"
        yield (
            BGP,
            "the state of the sessions needs a shell on nodes and leaf; only their configuration was read",
        )
        if self.untried:
            yield (
                "patches",
                f"the time budget ended before these were simulated: {', '.join(self.untried)}",
            )
        if not self.asked.live:
            yield KUBELETS, "only a live API server knows the age of the Leases; the source was a snapshot"
            if self.meshed:
                yield XDS, "only a live istiod knows; the source was a snapshot"
            yield PROBES, "snapshots contain no events of failed probes; the Pods' readiness was read"
            yield "the cluster now", f"the source was a snapshot, taken {self._taken()}"
        yield from ((f"kind {kind}", why) for kind, why in self.asked.missed)

    def _longest(self) -> dict[str, Any] | None:
        """Return the longest safe cuts, with points of no return by the plan's clock; None if not searched."""
        if not self.longest:
            return None
        plan, *domains = (each.to_json(self.cutover.start) for each in self.longest)
        return {"plan": plan, "domains": domains}

    def _taken(self) -> str:
        taken = self.asked.taken_at
        return taken.isoformat(timespec="seconds") if taken else "at an unknown time"

    def to_json(self) -> dict[str, Any]:
        """Return the form of `chaosext.gate/v1`."""
        asked, judgement = self.asked, self.judgement
        return {
            "schema": SCHEMA,
            "decision": "go" if self.decision.exit_code == 0 else "no-go",
            "known": self.decision.exit_code != 30,
            "exit_code": self.decision.exit_code,
            "asked": {
                "at": asked.at.isoformat(),
                "by": asked.by,
                "source": "live" if asked.live else "snapshot",
                "taken_at": asked.taken_at.isoformat() if asked.taken_at else None,
                "plan": asked.plan,
                "plan_sha256": asked.plan_sha256,
                "snapshot_files": list(asked.files),
                "snapshot_sha256": asked.snapshot_sha256,
            },
            "cluster": {
                "context": asked.context,
                "uid": asked.uid,
                "version": self.version,
                "nodes": self.node_count,
            },
            "cutover": _cutover(self.cutover, judgement.nodes),
            "reasons": [_reason(each) for each in judgement.against],
            "checks": [_check(each) for each in judgement.weighed],
            "rehearsed": [_rehearsed(each) for each in judgement.rehearsed],
            "longest": self._longest(),
            "remedies": [_remedy(each) for each in self.remedies],
            "unmatched": [str(entry) for entry in judgement.unmatched],
            "not_checked": dict(self.not_checked()),
            "assumptions": list(self.assumptions),
        }


def _cutover(cutover: Cutover, nodes: frozenset[str]) -> dict[str, Any]:
    accept = cutover.accept
    return {
        "title": cutover.title,
        "change": cutover.change,
        "start": cutover.start.isoformat() if cutover.start else None,
        "timezone": cutover.timezone,
        "selection": _selection(cutover.selection),
        "nodes": sorted(nodes),
        "cut_for_s": cutover.cut_for_s,
        "at_most_s": cutover.at_most_s,
        "flap": _flap(cutover.flap),
        "rollback_after_heal_s": cutover.rollback_s,
        "accept": {
            "dns_after_heal": accept.dns_after_heal.value,
            "dns_during_cut": accept.dns_during_cut.value if accept.dns_during_cut else None,
            "self_heals": accept.self_heals,
            "pods_reachable": accept.pods_reachable,
            "dns_outage_at_most_s": accept.dns_outage_s,
            "evicted_pods_at_most": accept.evicted_pods,
            "quorum_lost": accept.quorum_lost,
            "services_without_endpoints": {
                "at_end": _tolerated(accept.services_at_end),
                "during_cut": _tolerated(accept.services_during_cut),
            },
            "all_at_once": accept.all_at_once,
            "pending_pods_at_most": accept.pending_pods,
            "probability_at_least": accept.probability,
            "evidence": accept.evidence.value,
        },
        "protect": [{"name": each.name, "at_least": each.at_least} for each in accept.protect],
        "quorums": list(cutover.quorums),
        "waived": dict(cutover.waived),
        "known_unhealthy": [entry.to_json() for entry in cutover.known],
        "required": list(cutover.required),
    }


def _flap(flap: Flap | None) -> dict[str, Any] | None:
    return {"on_s": flap.on_s, "off_s": flap.off_s, "times": flap.times} if flap else None


def _tolerated(value: Tolerated | None) -> int | list[str] | None:
    return sorted(value) if isinstance(value, frozenset) else value


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "nodes": list(selection.names),
        "selector": selection.selector,
        "zones": list(selection.zones),
        "racks": list(selection.racks),
        "rack_label": selection.rack_label,
    }


def _reason(each: Weighed) -> dict[str, Any]:
    said = {"check": each.finding.check, "status": each.finding.status.value, "summary": each.finding.summary}
    return said | ({} if each.cut_for_s is None else {"cut_for_s": each.cut_for_s})


def _check(each: Weighed) -> dict[str, Any]:
    rows = [row for row in each.finding.evidence if row.status.value != "healthy"]
    left_off = len(rows) - MOST_EVIDENCE
    return {
        **_reason(each),
        "weight": each.weight.value,
        "waiver": each.waiver,
        "evidence": [row.to_json() for row in rows[:MOST_EVIDENCE]],
        "evidence_left_off": max(0, left_off),
    }


def _rehearsed(each: Rehearsed) -> dict[str, Any]:
    found = each.prediction
    return {
        "cut_for_s": each.cut_for_s,
        "cuts": [list(period) for period in each.periods],
        "verdict": found.verdict.value,
        "self_heals": found.self_heals,
        "headline": found.headline,
        "chances": {verdict.value: round(chance, 6) for verdict, chance in sorted(found.chances.items())},
        "outcomes": [outcome.to_json() for outcome in found.outcomes],
        "dns": {**found.dns.to_json(), "outages": [outage.to_json() for outage in found.outages]},
        "workloads": dict(found.workloads) if found.simulations.made else None,
        "impact": found.impact.to_json() if found.impact else None,
        "method": found.method,
        "simulations": {"made": found.simulations.made, "wanted": found.simulations.wanted},
        "routes": found.routes.to_json(),
        "doubts": [each.to_json() for each in found.doubts],
        "unsettled": [each.to_json() for each in found.otherwise],
        "evidence": found.evidence_json(),
    }


def _remedy(each: Remedy) -> dict[str, Any]:
    return {
        "mitigations": list(each.mitigations),
        "commands": list(each.how),
        "decision": "go" if each.decision.exit_code == 0 else "no-go",
        "remains": list(each.remains),
    }
