"""A recording against its prediction: the outcome, each event, its time and its node. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind
from chaosext.rehearsal.prediction import Dns
from chaosext.rehearsal.rehearse import rehearse
from oracle.manifests import CONTROL_PLANE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.timeline import Event
    from chaosext.rehearsal.prediction import PredictedEvent, Prediction
    from oracle.recording import Recording

SLACK_S = 1.5
"""What a recorder, a busy machine and a control plane's own milliseconds may add to a predicted range."""

CERTAIN = 0.9995
"""What is predicted so surely must be seen, where its range ends before the recording does."""

JUDGED = frozenset(
    {
        Kind.NODE_NOT_READY,
        Kind.NODE_TAINTED,
        Kind.NODE_READY,
        Kind.ZONE_STATE,
        Kind.POD_EVICTED,
        Kind.POD_CREATED,
        Kind.POD_BOUND,
        Kind.POD_PENDING,
        Kind.POD_READY,
        Kind.POD_NOT_READY,
        Kind.POD_GONE,
    }
)
"""kube-dns' endpoints are judged by where they end (the outcome) and by the Pods behind them."""

WITH_LABEL = frozenset({Kind.NODE_TAINTED, Kind.ZONE_STATE})
"""Kinds whose detail says which one of several lines about an object it is."""

UNREACHABLE = "node.kubernetes.io/unreachable:"

Name: TypeAlias = tuple[Kind, str, str]
"""(kind, object, label)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`misses`: what was seen and not predicted so, or predicted for certain and not seen, in words.

    `outcomes` are the predicted ones with their probabilities, likeliest first; `events`: how many were judged.
    """

    scenario: str
    observed: Dns
    outcomes: tuple[tuple[Dns, float], ...]
    events: int
    misses: tuple[str, ...]
    late_s: float

    @property
    def is_foreseen(self) -> bool:
        return self.observed in (state for state, _ in self.outcomes)

    @property
    def is_likeliest(self) -> bool:
        return self.observed is self.outcomes[0][0]


def compare(recording: Recording, prediction: Prediction | None = None) -> Comparison:
    """A recording against what the engine makes of its snapshot (or against `prediction`)."""
    predicted = prediction or rehearse(recording.world, recording.plan)
    seen = tuple(event for event in recording.events if _is_judged(event))
    return Comparison(
        scenario=recording.scenario,
        observed=outcome(recording),
        outcomes=tuple((each.dns_after_heal, each.probability) for each in predicted.outcomes),
        events=len(seen),
        misses=tuple(_misses(recording, predicted.timeline, seen)),
        late_s=recording.late_s,
    )


def outcome(recording: Recording) -> Dns:
    """DNS at the end, by the story's network: Pods on control-plane nodes are announced to nobody."""
    alone = {each.name for each in recording.world.nodes if CONTROL_PLANE in each.labels}
    reached = [host not in alone for host in recording.dns_hosts]
    if not any(reached):
        return Dns.DEAD
    return Dns.RESOLVABLE if all(reached) else Dns.PARTIAL


def _is_judged(event: Event) -> bool:
    if event.kind is Kind.NODE_TAINTED:
        return event.detail.startswith(UNREACHABLE)
    return event.kind in JUDGED


def _misses(
    recording: Recording, predicted: Iterable[PredictedEvent], seen: Iterable[Event]
) -> Iterator[str]:
    known = {f"Pod/{each.namespace}/{each.name}" for each in recording.world.pods}
    lines: dict[Name, list[PredictedEvent]] = {}
    for line in predicted:
        lines.setdefault(_name(line, line.object), []).append(line)
    turns: Counter[Name] = Counter()
    for event in seen:
        name = _name(event, _as_predicted(event.object, known))
        yield from _miss(event, lines.get(name, ()), turns[name])
        turns[name] += 1
    for name, expected in lines.items():
        for line in expected[turns[name] :]:
            if _is_missed(line, recording.watched_s) and name[0] in JUDGED:
                yield f"{line.kind} {line.object} {line.detail}: certain by {line.t_max_s:.1f} s, never seen"


def _miss(event: Event, lines: Iterable[PredictedEvent], turn: int) -> Iterator[str]:
    """The n-th time that it happens is the n-th predicted line of it."""
    said = f"{event.t_s:.2f} s {event.kind} {event.object} {event.detail}"
    expected = sorted(lines, key=lambda line: (-line.probability, line.t_s))
    if turn >= len(expected):
        yield f"{said}: not predicted" + (f" {turn + 1} times" if turn else "")
        return
    line = expected[turn]
    if not line.t_min_s - SLACK_S <= event.t_s <= line.t_max_s + SLACK_S:
        yield f"{said}: predicted from {line.t_min_s:.2f} to {line.t_max_s:.2f} s"
    node = event.detail.removeprefix("to ")
    if event.kind is Kind.POD_BOUND and line.nodes and node not in line.nodes:
        yield f"{said}: predicted {line.detail}"


def _is_missed(line: PredictedEvent, until_s: float) -> bool:
    return line.probability >= CERTAIN and line.t_max_s + SLACK_S < until_s


def _name(event: Event | PredictedEvent, subject: str) -> Name:
    label = event.detail.rpartition(":")[2] if event.kind in WITH_LABEL else ""
    return event.kind, subject, label


def _as_predicted(subject: str, known: set[str]) -> str:
    """A Pod that was not there before the cut is named after its ReplicaSet."""
    if not subject.startswith("Pod/") or subject in known:
        return subject
    return f"{subject.rpartition('-')[0]}-*"
