"""Runs as `read_run` gives them: the stories, with what the verdict was derived from, and one that was killed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from stories import CP, CUT, ONE, STORIES, TWO, result

from chaosext.model.findings import Status
from chaosext.model.result import Lane, Ruling, VerdictRule
from chaosext.model.signal import Mark, Signal, Watched
from chaosext.model.timeline import Event, Kind, Predicted
from chaosext.model.verdict import Outcome, Verdict
from chaosext.report.data.account import covers
from chaosext.report.data.activities import Activity, Phase
from chaosext.report.data.run_data import RunData
from chaosext.report.data.sentinel_spans import Stretch

if TYPE_CHECKING:
    from chaosext.model.result import RunResult

GOOD, BAD, UNKNOWN, NEVER = Status.HEALTHY, Status.UNHEALTHY, Status.UNKNOWN, None
WELL = "every probe of the hypothesis is within tolerance"
DEAD = "dns_resolvable: 0 of 2 nodes resolve (10.2.112.10:53 timed out)"

STATUSES: dict[str, tuple[Status | None, ...]] = {
    "passed": (GOOD, GOOD, GOOD, GOOD, GOOD, GOOD),
    "deviated-rollback-verified": (GOOD, GOOD, BAD, GOOD, GOOD, GOOD),
    "deviated-half-seen": (GOOD, GOOD, BAD, GOOD, GOOD, GOOD),
    "deviated-rollback-not-verified": (GOOD, GOOD, BAD, UNKNOWN, GOOD, GOOD),
    "inconclusive": (GOOD, UNKNOWN, NEVER, NEVER, GOOD, GOOD),
    "unsafe": (GOOD, GOOD, NEVER, NEVER, NEVER, BAD),
    "refused": (NEVER, NEVER, NEVER, NEVER, NEVER, GOOD),
    "interrupted": (GOOD, GOOD, NEVER, NEVER, NEVER, GOOD),
}
"""Story -> how each rule was met."""

SAID = {GOOD: "as it should be", BAD: DEAD, UNKNOWN: "no answer", NEVER: "never asked"}

FORESEEN = (
    Predicted(
        event=Event(t_s=20.0, kind=Kind.NODE_NOT_READY, object=f"Node/{ONE}", detail="", source="rehearsal"),
        t_min_s=15.0,
        t_max_s=25.0,
        probability=1.0,
    ),
    Predicted(
        event=Event(t_s=48.0, kind=Kind.DNS_DEAD, object=f"Node/{ONE}", detail="", source="rehearsal"),
        t_min_s=40.0,
        t_max_s=52.0,
        probability=0.9,
    ),
)

DNS = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")


def activity(phase: Phase, name: str, status: Status, said: str, *, ended: bool = True) -> Activity:
    return Activity(phase=phase, name=name, status=status, said=said, duration_s=1.5, ended=ended)


PLAYED = {
    "passed": (
        activity(Phase.GATE, "DNS resolves from every node", GOOD, "60 of 60 lookups answered"),
        activity(Phase.METHOD, "sever the control plane from the nodes", GOOD, "8 of 8 paths blocked"),
        activity(Phase.AFTER, "DNS resolves from every node", GOOD, "60 of 60 lookups answered"),
    ),
    "deviated-rollback-verified": (
        activity(Phase.GATE, "DNS resolves from every node", GOOD, "60 of 60 lookups answered"),
        activity(Phase.METHOD, "the cluster heals itself", BAD, DEAD),
        activity(Phase.AFTER, "DNS resolves from every node", BAD, DEAD),
        activity(Phase.ROLLBACKS, "reschedule kube-dns", GOOD, ""),
    ),
    "inconclusive": (
        activity(
            Phase.METHOD, "sever the control plane", UNKNOWN, "Inconclusive: ipv6 left open", ended=False
        ),
    ),
    "refused": (activity(Phase.METHOD, "sever the control plane", UNKNOWN, "Refused: ttl_s", ended=False),),
}


def rulings(story: str) -> tuple[Ruling, ...]:
    return tuple(
        Ruling(rule=rule, status=status, reason=SAID[status])
        for rule, status in zip(VerdictRule, STATUSES[story], strict=True)
    )


def run(story: str) -> RunData:
    judged = replace(STORIES[story], rulings=rulings(story))
    cut = story not in ("refused", "inconclusive")
    return RunData(
        result=judged,
        stretches={node: {DNS: stretches(judged, node)} for node in (CP, ONE, TWO)} if cut else {},
        sentinels=story != "inconclusive",
        prediction=FORESEEN if story.startswith("deviated") else (),
        activities=PLAYED.get(story, ()),
    )


def stretches(judged: RunResult, node: str) -> tuple[Stretch, ...]:
    """What the sentinel on `node` saw of DNS: what the run's result says of it, second by second."""
    dead = judged.outages.get(Lane.DNS, {}).get(f"Node/{node}", ())
    blind = judged.unobserved.get(node, ())
    last_s = end_s(judged)
    edges = {-5.0, last_s, *(last_s if at_s is None else at_s for each in (*dead, *blind) for at_s in each)}

    def mark(at_s: float) -> Mark:
        if any(covers(each, at_s) for each in blind):
            return Mark.UNKNOWN
        return Mark.TIMED_OUT if any(covers(each, at_s) for each in dead) else Mark.GOOD

    return tuple(Stretch(start_s, until_s, mark(start_s)) for start_s, until_s in pairwise(sorted(edges)))


def end_s(judged: RunResult) -> float:
    return max(event.t_s for event in judged.events)


def killed() -> RunData:
    """SIGKILL in the middle of the cut: a timeline, and nothing else."""
    verdict = Verdict(outcome=Outcome.NOT_KNOWN, reasons=("the run left no readable result.json",))
    left = replace(result(verdict, *CUT, duration_s=30.5), clocks={}, briefing=None)
    return RunData(result=left, missing=(f"{left.run} has no result.json", f"{left.run} has no journal.json"))


RUNS = {**{story: run(story) for story in STORIES}, "killed": killed()}
