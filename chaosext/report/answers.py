"""The first screen of every report: the six questions of whoever was asleep, answered from what was observed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.report.advice import what_to_do
from chaosext.report.story import causes
from chaosext.report.units import capital, count, duration, listed, names, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.result import RunResult, Window
    from chaosext.report.story import Step

FELT = (Lane.DNS, Lane.XDS, Lane.PROBES)
"""The lanes whose outages users of the cluster feel; the others are causes, or how it looks to the control plane."""

LOST = {
    Lane.DNS: "DNS failed on {}",
    Lane.DNS_KEPT_SOCKET: "UDP sockets that were kept open got no DNS answers on {}",
    Lane.DNS_TCP: "DNS over TCP failed on {}",
    Lane.XDS: "{} were without their configuration (xDS)",
    Lane.SIDECAR_READY: "sidecars said that they are not ready: {}",
    Lane.PROBES: "kubelet's probes failed on {}",
    Lane.TARGETS: "connections failed from {}",
    Lane.BGP: "BGP sessions were lost on {}",
    Lane.ROUTES: "routes were lost on {}",
}
"""What is said of a lane in which something was out. That nodes are NotReady is what a cut means: it is no news."""

UNTOUCHED = {
    Outcome.REFUSED: "Nothing was touched",
    Outcome.INCONCLUSIVE: "The run proved nothing",
    Outcome.NOT_KNOWN: "How it ended is not known",
    Outcome.UNSAFE: "Something of ours may be left",
}

Lost = Mapping[str, tuple["Window", ...]]
"""Object -> the windows in which it was out."""

FEW = 3
"""So many Pods are named; their names say little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question, and what can be said to it: at least one line, each a sentence."""

    question: str
    lines: tuple[str, ...]


def answers(result: RunResult) -> tuple[Answer, ...]:
    """What broke, why, for how long, for whom, is it over, what now: in this order."""
    asked = {
        "What broke?": _broke(result),
        "Why?": _why(result),
        "For how long?": _how_long(result),
        "For whom?": _whom(result),
        "Is it over?": (_over(result),),
        "What now?": what_to_do(result),
    }
    return tuple(Answer(question=question, lines=tuple(lines)) for question, lines in asked.items())


def headline(result: RunResult) -> str:
    """One sentence: what users felt, and for how long."""
    if result.verdict.outcome in UNTOUCHED:
        return f"{UNTOUCHED[result.verdict.outcome]}."
    felt = _felt(result)
    if not felt:
        return _CALM.get(result.verdict.outcome, "No outage was seen.")
    lane, lost = next(iter(felt.items()))
    return _sentence(f"{_lost(lane, lost)} for {duration(_seconds(_longest(result, lost), _last_s(result)))}")


_CALM = {
    Outcome.PASSED: "Nothing broke.",
    Outcome.INTERRUPTED: "The run was ended early; no outage was seen until then.",
}


def _broke(result: RunResult) -> Iterator[str]:
    """What users feel line by line, and whatever else was out in one."""
    lost = {lane: _lost(lane, found) for lane in LOST if (found := result.outages.get(lane))}
    yield from (_sentence(text) for lane, text in lost.items() if lane in FELT)
    looping = {event.object for event in result.events if event.kind is Kind.CRASH_LOOP}
    if looping:
        yield _sentence(f"containers crash-looped in {count(looping)}")
    beside = [text for lane, text in lost.items() if lane not in FELT]
    if beside:
        yield _sentence("; ".join(beside))
    if not (lost or looping):
        yield _SEEN_NOTHING[result.verdict.outcome]


_SEEN_NOTHING = {
    Outcome.PASSED: "Nothing: no outage was seen on anything that was watched.",
    Outcome.DEVIATED: "The steady state did not hold; no outage was seen on its way.",
    Outcome.REFUSED: "Nothing: the run was refused before anything was touched.",
    Outcome.INCONCLUSIVE: "Not known: the run proved nothing.",
    Outcome.NOT_KNOWN: "Not known: no outage is in what the run left.",
    Outcome.UNSAFE: "The clean-up: the cut could not be seen gone.",
    Outcome.INTERRUPTED: "Nothing that was seen: the run was ended before its time.",
}


def _why(result: RunResult) -> tuple[str, ...]:
    """The steps of the chain that led to what users felt, where that is what the run is about; else its reasons."""
    steps = causes(result)
    dead = _last(steps, Kind.DNS_DEAD) or _last(steps, Kind.XDS_LOST) or _last(steps, Kind.PROBE_FAILING)
    if result.verdict.outcome is not Outcome.DEVIATED or dead is None:
        return tuple(map(_sentence, result.verdict.reasons)) or ("No reason was given.",)
    moved = _last((step for step in steps if step.t_s < dead.t_s), Kind.POD_BOUND)
    return tuple(f"At {step.t_s:.1f} s {step.text}" for step in (moved, dead) if step)


def _last(steps: Iterable[Step], kind: Kind) -> Step | None:
    """The last of the steps that an event of `kind` is evidence of."""
    found = [step for step in steps if any(event.kind is kind for event in step.evidence)]
    return found[-1] if found else None


def _how_long(result: RunResult) -> Iterator[str]:
    felt = _felt(result)
    for lane, lost in felt.items():
        yield f"{SHORT[lane]}: {_at_most(result, lost)}."
    if not felt:
        yield "There was no outage to measure."
    if result.unobserved:
        last_s = _last_s(result)
        blind = sum(_seconds(each, last_s) for found in result.unobserved.values() for each in found)
        nodes = count([f"Node/{node}" for node in result.unobserved])
        yield f"{duration(blind)} of {nodes} were not observed: it may have been longer."


SHORT = {Lane.DNS: "DNS", Lane.XDS: "Mesh configuration (xDS)", Lane.PROBES: "Probes"}


def _at_most(result: RunResult, lost: Lost) -> str:
    """`82.2 s at the longest, 55.0 s to 137.2 s after the cut`."""
    longest = _longest(result, lost)
    over = "" if longest[1] is not None else "; not back when the run ended"
    many = " at the longest" if sum(map(len, lost.values())) > 1 else ""
    return f"{duration(_seconds(longest, _last_s(result)))}{many}, {window(longest)} after the cut{over}"


def _longest(result: RunResult, lost: Lost) -> Window:
    """The longest window of any object."""
    last_s = _last_s(result)
    return max((each for found in lost.values() for each in found), key=lambda each: _seconds(each, last_s))


def _lost(lane: Lane, lost: Lost) -> str:
    """What broke, and on how many; that sidecars are without xDS is also istiod's word, of which there is one."""
    pods = [name for name in lost if name.startswith("Pod/")]
    places = {name.partition(" → ")[0] for name in lost}
    if lane is Lane.XDS:
        return LOST[lane].format(f"sidecars of {count(pods)}" if pods else "sidecars")
    return LOST[lane].format(count(places))


def _seconds(found: Window, last_s: float) -> float:
    """How long a window is; one that lasts, to when the last was seen."""
    start_s, end_s = found
    return max(0.0, (last_s if end_s is None else end_s) - start_s)


def _last_s(result: RunResult) -> float:
    return max((event.t_s for event in result.events), default=0.0)


def _whom(result: RunResult) -> Iterator[str]:
    felt = _felt(result)
    for lane, lost in felt.items():
        yield f"{SHORT[lane]}: {_who(lost)}."
    if not felt:
        yield (
            "Nobody that was watched."
            if result.verdict.outcome is Outcome.PASSED
            else "Nobody that is known."
        )


def _who(lost: Lost) -> str:
    """By name where they are few; of many Pods how many there are in which namespace."""
    pods = Counter(name.split("/")[1] for name in lost if name.startswith("Pod/"))
    if pods.total() <= FEW:
        return names(lost)
    others = [names([name]) for name in lost if not name.startswith("Pod/")]
    return listed(
        [*others, *(f"{many} Pod{'s' * (many > 1)} in {namespace}" for namespace, many in pods.items())]
    )


def _over(result: RunResult) -> str:
    """Whether what broke is whole again, as far as somebody looked."""
    verified = result.verdict.rollback_verified
    steady = [event.t_s for event in result.events if event.kind is Kind.STEADY and event.t_s > 0]
    since = f", since {steady[-1]:.1f} s" if steady else ""
    match result.verdict.outcome:
        case Outcome.PASSED:
            return f"Yes{since}: the steady state held after the heal, without help."
        case Outcome.DEVIATED if verified:
            return f"Yes{since}: the rollback brought the steady state back, and it held."
        case Outcome.DEVIATED:
            return "No, or nobody knows: the steady state was not seen again."
        case Outcome.REFUSED:
            return "Yes: it never began."
        case Outcome.UNSAFE:
            return "No: rules of ours may still be in force. See why, and take them away."
        case Outcome.INCONCLUSIVE | Outcome.INTERRUPTED | Outcome.NOT_KNOWN:
            return _healed(result)


def _healed(result: RunResult) -> str:
    heals = [event.t_s for event in result.events if event.kind is Kind.HEAL]
    if heals:
        return f"The cut is: it was healed at {heals[-1]:.1f} s. Nobody asserted the steady state after it."
    cut = any(event.kind is Kind.CUT for event in result.events)
    return "Not known: no heal was seen." if cut else "Yes: nothing was cut."


def _felt(result: RunResult) -> dict[Lane, Lost]:
    return {lane: found for lane in FELT if (found := result.outages.get(lane))}


def _sentence(text: str) -> str:
    return f"{capital(text).rstrip('.')}."
