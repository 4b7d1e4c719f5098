"""A recording against its prediction: the outcome, each event, its time and its node. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.inputs import WATCH_ALL_PODS
from chaosext.rehearsal.simulate.prediction import Dns
from oracle.manifests import CONTROL_PLANE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.model.timeline import Event
    from chaosext.rehearsal.simulate.prediction import PredictedEvent, Prediction
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

OF_NODES = frozenset({Kind.NODE_NOT_READY, Kind.NODE_TAINTED, Kind.NODE_READY, Kind.ZONE_STATE})
"""All that is judged where a prediction counts most Pods instead of following them (`WATCH_ALL_PODS`)."""

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
    chances: tuple[tuple[float, bool], ...]
    """Of each event that was neither certain nor out of the recording's time: its probability, and whether it came."""
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
    follows = follows_pods(recording)
    seen = tuple(
        event for event in recording.events if _is_judged(event) and (follows or event.kind in OF_NODES)
    )
    match = _Match(recording, predicted.timeline, seen, follows=follows)
    return Comparison(
        scenario=recording.title,
        observed=outcome(recording),
        outcomes=tuple((each.dns_after_heal, each.probability) for each in predicted.outcomes),
        events=len(seen),
        misses=tuple(match.misses()),
        chances=tuple(match.chances()),
        late_s=recording.late_s,
    )


def follows_pods(recording: Recording) -> bool:
    """Whether the rehearsal follows each Pod on the cut nodes."""
    lost = set(recording.cut_nodes)
    return sum(pod.node in lost for pod in recording.world.pods) <= WATCH_ALL_PODS


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


class _Match:
    """Predicted lines and seen events by name, each in their turn."""

    def __init__(
        self,
        recording: Recording,
        predicted: Iterable[PredictedEvent],
        seen: Iterable[Event],
        *,
        follows: bool,
    ) -> None:
        known = {f"Pod/{each.namespace}/{each.name}" for each in recording.world.pods}
        self._until_s = recording.watched_s
        self._kinds = JUDGED if follows else OF_NODES
        self._lost_all = {each.name for each in recording.world.nodes} <= set(recording.cut_nodes)
        self._lines: dict[Name, list[PredictedEvent]] = defaultdict(list)
        self._seen: dict[Name, list[Event]] = defaultdict(list)
        for line in sorted(predicted, key=_turn):
            self._lines[_name(line, line.object)].append(line)
        for event in seen:
            self._seen[_name(event, _as_predicted(event.object, known))].append(event)

    def misses(self) -> Iterator[str]:
        for name, events in self._seen.items():
            for turn, event in enumerate(events):
                yield from _miss(event, self._lines.get(name, ()), turn)
        for line, came in self._judged():
            if line.probability >= CERTAIN and not came:
                yield f"{line.kind} {line.object} {line.detail}: certain by {line.t_max_s:.1f} s, never seen"

    def chances(self) -> Iterator[tuple[float, bool]]:
        return ((line.probability, came) for line, came in self._judged() if line.probability < CERTAIN)

    def _judged(self) -> Iterator[tuple[PredictedEvent, bool]]:
        """Each predicted line whose time is over before the recording is, and whether it came."""
        for name, lines in self._lines.items():
            for turn, line in enumerate(lines):
                if self._is_told(line) and line.t_max_s + SLACK_S < self._until_s:
                    yield line, turn < len(self._seen.get(name, ()))

    def _is_told(self, line: PredictedEvent) -> bool:
        """On leaving master disruption mode the controller says so, and no zone's state
        (node_lifecycle_controller.go, `handleDisruption`).
        """
        silent = (
            self._lost_all and line.kind is Kind.ZONE_STATE and not line.detail.endswith("FullDisruption")
        )
        return line.kind in self._kinds and not silent


def _miss(event: Event, lines: Sequence[PredictedEvent], turn: int) -> Iterator[str]:
    """The n-th time that it happens is the n-th predicted line of it."""
    said = f"{event.t_s:.2f} s {event.kind} {event.object} {event.detail}"
    if turn >= len(lines):
        yield f"{said}: not predicted" + (f" {turn + 1} times" if turn else "")
        return
    line = lines[turn]
    if not line.t_min_s - SLACK_S <= event.t_s <= line.t_max_s + SLACK_S:
        yield f"{said}: predicted from {line.t_min_s:.2f} to {line.t_max_s:.2f} s"
    node = event.detail.removeprefix("to ")
    if event.kind is Kind.POD_BOUND and line.nodes and node not in line.nodes:
        yield f"{said}: predicted {line.detail}"


def _turn(line: PredictedEvent) -> tuple[float, float]:
    """The second time is never likelier than the first, nor earlier."""
    return -round(line.probability, 6), line.t_s


def _name(event: Event | PredictedEvent, subject: str) -> Name:
    label = event.detail.rpartition(":")[2] if event.kind in WITH_LABEL else ""
    return event.kind, subject, label


def _as_predicted(subject: str, known: set[str]) -> str:
    """A Pod that was not there before the cut is named after its ReplicaSet."""
    if not subject.startswith("Pod/") or subject in known:
        return subject
    return f"{subject.rpartition('-')[0]}-*"
