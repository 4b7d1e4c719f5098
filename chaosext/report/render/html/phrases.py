"""The page's own texts: verdicts, states, moments. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from chaosext.model.result import VerdictRule
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.rehearsal.simulate.prediction import CERTAIN, said_share
from chaosext.report.data.lane_state import State
from chaosext.report.units import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.result import NodeClock, Timing
    from chaosext.model.verdict import Verdict
    from chaosext.report.sentences.answers import QuestionAnswer
    from chaosext.report.sentences.root_cause import Step

MEANS = {
    "passed": "The steady state held after the network came back, without help.",
    "deviated, rollback verified": "The outage outlasted the network fault; the rollback fixed it (verified).",
    "deviated, rollback not verified": "The outage outlasted the network fault; a recovery was not verified.",
    "deviated": "The steady state did not hold after the network came back.",
    "inconclusive": "The cut, or an observation, could not be verified: this says nothing about the cluster.",
    "refused": "A precondition was not met, so the run did not start.",
    "unsafe": "A cut may still be active. Remove it first:",
    "interrupted, rollback verified": "The run was stopped on purpose and healed; the rollback was verified.",
    "interrupted, rollback not verified": "The run was stopped on purpose and healed; a recovery was not verified.",
    "interrupted": "The run was stopped from outside before it reached a verdict; its cut was healed first.",
    "not known": "The run left no result: it was killed, or is still in progress.",
}
"""A verdict's headline -> what it means, for a first-time reader."""

TONES = {Outcome.PASSED: "good", Outcome.DEVIATED: "bad", Outcome.UNSAFE: "alarm"}

RULES = {
    VerdictRule.GATE: "Steady before the cut",
    VerdictRule.CUT: "Cut verified",
    VerdictRule.AFTER: "Steady after the heal, without help",
    VerdictRule.ROLLBACK: "Steady after the rollback",
    VerdictRule.COMPLETE: "Everything from the baseline is still there",
    VerdictRule.CLEAN: "Nothing of chaosext is left",
}

LEGEND = (
    (State.OUT, "out"),
    (State.UNSEEN, "not observed"),
    (State.FAILING, "customers' requests fail; the higher, the more"),
    (State.AWAY, "NotReady, which a cut is meant to cause"),
    (State.DRAINED, "the load balancer sends no customers there"),
    (State.GOOD, "healthy"),
    (State.QUIET, "no outage reported"),
    (State.HERE, "kube-dns is here; the number counts its Pods"),
    (State.ASTRAY, "kube-dns is here, on a node without BGP: no node learns a route to it"),
)

TIMES = {
    "detect_s": "from the cut until the control plane noticed",
    "heal_to_outage_s": "from the heal to the first DNS outage after it",
    "outage_s": "from the first outage to the steady state",
    "recover_s": "from the heal to the steady state",
    "rollback_s": "from the rollback to the steady state",
}

SKEWED_S = 1.0
"""A wall clock that is off by more than this misleads readers who compare logs."""

FLAVOURS = {
    Kind.CUT: "cut",
    Kind.CUT_LOST: "bad",
    Kind.CUT_WEAKENED: "bad",
    Kind.HEAL: "heal",
    Kind.ROLLBACK: "heal",
    Kind.STEADY: "good",
    Kind.ENTRY_DRAINED: "heal",
    Kind.ENTRY_TAKEN_BACK: "heal",
    Kind.ENTRY_RESTORED: "good",
    Kind.ENTRY_DEGRADED: "bad",
    Kind.DNS_RESTORED: "good",
    Kind.XDS_RESTORED: "good",
    Kind.DNS_DEAD: "bad",
    Kind.DNS_SOCKET_STALE: "bad",
    Kind.XDS_LOST: "bad",
    Kind.PROBE_FAILING: "bad",
    Kind.CRASH_LOOP: "bad",
    Kind.NODE_REBOOTED: "bad",
    Kind.NODE_DELETED: "bad",
    Kind.OBJECT_MISSING: "bad",
    Kind.OBJECT_BACK: "good",
    Kind.KUBELET_LOST: "bad",
    Kind.TARGET_LOST: "bad",
    Kind.OBSERVATION_LOST: "blind",
    Kind.STOP_CONDITION: "heal",
    Kind.ABORT: "heal",
}


WIDE = ("Is it over?", "Next steps")
"""Questions whose answers have the whole width of the page."""

TWO_LINES = 125
"""Characters of two lines of half the page's width."""


COMMAND = re.compile(r"`((?:chaosext|conntrack|docker|kubectl) [^`]+)`")
"""A command in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortAnswer:
    """An answer in two lines; `more`: all of it, if that is longer; `commands`: those in it, to be copied."""

    question: str
    short: str
    more: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def is_wide(self) -> bool:
        return self.question in WIDE


def in_short(answer: QuestionAnswer) -> ShortAnswer:
    """Return the first sentences of an answer, as many as two lines hold."""
    most = TWO_LINES * (2 if answer.question in WIDE else 1)
    first, *others = answer.lines
    short = first
    for line in others:
        if len(short) + 1 + len(line) > most:
            break
        short = f"{short} {line}"
    if len(short) > most:
        short = _sentences(short, most)
    whole = short == " ".join(answer.lines)
    return ShortAnswer(
        question=answer.question,
        short=short,
        more=() if whole else answer.lines,
        commands=tuple(dict.fromkeys(each for line in answer.lines for each in COMMAND.findall(line))),
    )


def _sentences(text: str, most: int) -> str:
    """Return the first sentences of a text; of a single long one, its first words."""
    ends = [found.start() + 1 for found in re.finditer(r"\. ", text[:most])]
    if ends:
        return text[: ends[-1]]
    words, *_ = text[:most].rpartition(" ")
    return f"{words}…"


def tone(verdict: Verdict) -> str:
    """Return the tone of a verdict: good, bad, alarm, fixed or neutral."""
    return "fixed" if verdict.rollback_verified else TONES.get(verdict.outcome, "neutral")


def flavour(step: Step) -> str:
    """The CSS class of a step: that of its first evidence that has one."""
    return next((FLAVOURS[event.kind] for event in step.evidence if event.kind in FLAVOURS), "other")


def times(timing: Timing) -> tuple[tuple[str, float], ...]:
    """The durations that are known."""
    known = ((text, getattr(timing, name)) for name, text in TIMES.items())
    return tuple((text, seconds) for text, seconds in known if seconds is not None)


def skewed(clocks: Mapping[str, NodeClock]) -> str:
    """The nodes whose wall clock is off; "" for none."""
    off = {node: clock.wall_skew_s for node, clock in clocks.items() if abs(clock.wall_skew_s) > SKEWED_S}
    told = (
        f"{node} is {duration(abs(skew))} {'ahead' if skew > 0 else 'behind'}" for node, skew in off.items()
    )
    return ", ".join(told)


def at(t_s: float) -> str:
    """A moment, in seconds from the cut."""
    return duration(t_s)


def share(of_simulations: float) -> str:
    """A share of the simulations; 100% for all but for rounding."""
    return said_share(1.0 if of_simulations >= CERTAIN else of_simulations)


def day(when: str) -> str:
    """`23 November 2026, 23:03 UTC`; other text stays unchanged."""
    try:
        return f"{datetime.fromisoformat(when):%-d %B %Y, %H:%M %Z}".strip()
    except ValueError:
        return when


def prose(text: str) -> Markup:
    """A sentence in which paired `backquotes` mean code."""
    return Markup("").join(_prose(text))


def _prose(text: str) -> Iterator[Markup]:
    parts = text.split("`")
    if len(parts) % 2 == 0:
        yield escape(text)
        return
    for index, part in enumerate(parts):
        yield Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
