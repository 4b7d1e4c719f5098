"""Real runs on the testbed beside what the rehearsal says of them: each from its own snapshot, event by event.

A recording is a run's directory in one file: `{"verdict", "rolled_back", "timeline", "snapshot"}`. To keep one:
`python recordings.py keep run/<id> NAME`; to compare one with the rehearsal: `python recordings.py show run/<id>…`.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from checkout import ROOT

from chaosext.model.timeline import Event, Kind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.report.data.prediction_review import is_about
from chaosext.run.course import CUT_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.rehearsal.simulate.prediction import PredictedEvent, Prediction

KEPT = ROOT / "tests" / "golden" / "rehearsal"

COMPARED = frozenset(Kind) & {
    *(Kind.NODE_NOT_READY, Kind.NODE_TAINTED, Kind.NODE_READY, Kind.ZONE_STATE),
    *(Kind.POD_EVICTED, Kind.POD_CREATED, Kind.POD_BOUND, Kind.POD_PENDING, Kind.POD_READY),
    *(Kind.POD_NOT_READY, Kind.POD_DELETED, Kind.POD_GONE, Kind.ENDPOINTS_CHANGED),
    *(Kind.DNS_DEAD, Kind.DNS_RESTORED, Kind.XDS_LOST, Kind.XDS_RESTORED),
    *(Kind.PROBE_FAILING, Kind.CRASH_LOOP),
}
PLACED = (Kind.POD_BOUND, Kind.POD_READY)

SLACK_S, SLACK_SHARE = 3.0, 0.1
"""What issue 6 allows beside a predicted range."""

EXPECTED = 0.99
"""What is predicted with less may stay away by chance."""

DNS = (Kind.DNS_DEAD, Kind.DNS_RESTORED)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A real run: the List that it took before its cut, what was seen, and how it ended."""

    name: str
    snapshot: dict[str, Any]
    events: tuple[Event, ...]
    verdict: str

    def first_s(self, kind: Kind) -> float | None:
        return next((event.t_s for event in self.events if event.kind is kind), None)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """`right`: (predicted, seen) that belong together; `unforeseen`: seen only; `unseen`: expected only."""

    right: list[tuple[PredictedEvent, Event]]
    unforeseen: list[Event]
    unseen: list[PredictedEvent]

    def swapped(self) -> list[tuple[Event, Event]]:
        """Pairs seen in another order than the only one that their predicted ranges allow."""
        return [
            (one, other)
            for first, one in self.right
            for second, other in self.right
            if first.t_max_s + SLACK_S < second.t_min_s and one.t_s > other.t_s
        ]


def read_run(directory: Path) -> Recording:
    result = json.loads((directory / "result.json").read_text())
    lines = (directory / "timeline.jsonl").read_text().splitlines()
    with gzip.open(directory / "snapshot.json.gz", "rt") as file:
        snapshot = json.load(file)
    return Recording(
        name=directory.name,
        snapshot=snapshot,
        events=msgspec.convert([json.loads(line) for line in lines], tuple[Event, ...]),
        verdict=result["verdict"],
    )


def read_kept(name: str) -> Recording:
    value = json.loads(gzip.decompress((KEPT / f"{name}.json.gz").read_bytes()))
    events = msgspec.convert([{"source": "", **line} for line in value["timeline"]], tuple[Event, ...])
    return Recording(name=name, snapshot=value["snapshot"], events=events, verdict=value["verdict"])


def keep(run: Recording, name: str) -> None:
    """Only what is compared, and the plan's own moments, in the same bytes each time."""
    told = sorted(
        [*news(run.events), *(event for event in run.events if event.kind in (Kind.HEAL, Kind.ROLLBACK))],
        key=lambda event: event.t_s,
    )
    lines = [
        {"t_s": e.to_json()["t_s"], "kind": e.kind.value, "object": e.object, "detail": e.detail[:160]}
        for e in told
    ]
    value = {"verdict": run.verdict, "timeline": lines, "snapshot": run.snapshot}
    text = json.dumps(value, separators=(",", ":"))
    (KEPT / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def rehearsed(run: Recording) -> Prediction:
    """What the rehearsal says of the same cluster, healed and rolled back when the run was."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "snapshot.json"
        path.write_text(json.dumps(run.snapshot))
        world = read_snapshot([path])
    heal_s, rollback_s = run.first_s(Kind.HEAL), run.first_s(Kind.ROLLBACK)
    assert heal_s is not None
    plan = Plan(
        cut_nodes=cut_nodes(world),
        cut_for_s=heal_s,
        horizon_s=max(event.t_s for event in run.events) + 30.0,
        rollback_s=rollback_s,
        cut_at=world.taken_at,
        cut_within_s=CUT_WITHIN_S,
    )
    return rehearse(world, plan)


def news(events: Iterable[Event]) -> Iterator[Event]:
    """What is compared, in order. That a node's DNS is still as it was is told again after each gap: no news."""
    views: dict[str, Kind] = {}
    for event in sorted(filter(is_comparable, events), key=lambda event: event.t_s):
        if event.kind not in DNS or views.get(event.object) is not event.kind:
            yield event
        if event.kind in DNS:
            views[event.object] = event.kind


def is_comparable(event: Event) -> bool:
    """Of xDS a rehearsal tells for all sidecars at once, by their istiod; sentinels tell it of each Pod, too."""
    of_one_pod = event.kind in (Kind.XDS_LOST, Kind.XDS_RESTORED) and event.object.startswith("Pod/")
    return event.kind in COMPARED and event.t_s >= 0 and not of_one_pod


def compare(run: Recording, events: tuple[PredictedEvent, ...]) -> Compared:
    """Each that was seen takes one of what was predicted for its time; what is left over differs.

    Where one of two kube-dns Pods is unreachable DNS comes and goes with the lookups' luck: each change is foreseen
    while the first is, however many there are.
    """
    seen = list(news(run.events))
    free = [event for event in events if event.kind in COMPARED]
    right, unforeseen = [], []
    for event in seen:
        found = min((e for e in free if _fits(e, event)), key=_soonest, default=None)
        again = next((e for e in events if event.kind in DNS and _fits(e, event)), None)
        if found is None and again is None:
            unforeseen.append(event)
        elif found is not None:
            free.remove(found)
            right.append((found, event))
    watched = {_place(event.object) for event in seen}
    end_s = max(event.t_s for event in run.events)
    unseen = [
        event
        for event in free
        if event.probability >= EXPECTED and event.t_max_s < end_s and _place(event.object) in watched
    ]
    return Compared(right=right, unforeseen=unforeseen, unseen=unseen)


def _fits(predicted: PredictedEvent, seen: Event) -> bool:
    slack_s = max(SLACK_S, SLACK_SHARE * seen.t_s)
    return (
        predicted.kind is seen.kind
        and is_about(predicted.object, seen.object)
        and _label(predicted) == _label(seen)
        and predicted.t_min_s - slack_s <= seen.t_s <= predicted.t_max_s + slack_s
        and (seen.kind not in PLACED or seen.detail.partition(" ")[2] in predicted.nodes)
    )


def _soonest(predicted: PredictedEvent) -> tuple[bool, float]:
    """What is likely comes before what is rare."""
    return predicted.probability < EXPECTED, predicted.t_max_s


def _label(event: Event | PredictedEvent) -> str:
    """What tells events of one kind about one object apart: a taint's effect, a zone's state, endpoints' nodes."""
    match event.kind:
        case Kind.NODE_TAINTED:
            return event.detail.rpartition(":")[2]
        case Kind.ZONE_STATE:
            return event.detail.removeprefix("is ").partition(",")[0]
        case Kind.ENDPOINTS_CHANGED:
            return ",".join(sorted(each.rpartition(" ")[2] for each in event.detail.split(", ")))
    return ""


def _place(name: str) -> str:
    """`Pod/shop` for a Pod, `Node` for a node; of kube-system's Pods, of which a run watches kube-dns', the owner."""
    place, _, own = name.rpartition("/")
    return f"{place}/{own.rpartition('-')[0]}" if place == "Pod/kube-system" else place


def _show(run: Recording) -> None:
    prediction = rehearsed(run)
    found = compare(run, prediction.timeline)
    print(
        f"{run.name}: {len(found.right)} in range, {len(found.unforeseen)} unforeseen, {len(found.unseen)} unseen"
    )
    print(f"  verdict {dict(prediction.chances)}, run {run.verdict}; self_heals {prediction.self_heals}")
    for outcome in prediction.outcomes:
        print("  ", outcome)
    for event in found.unforeseen:
        same = [e for e in prediction.timeline if e.kind is event.kind and is_about(e.object, event.object)]
        spans = ", ".join(f"{e.t_min_s:.1f}..{e.t_max_s:.1f} {e.probability:.2f} {_label(e)}" for e in same)
        print(
            f"  unforeseen {event.t_s:.1f} {event.kind} {event.object} {event.detail[:80]}; predicted {spans}"
        )
    for each in found.unseen:
        span = f"{each.t_min_s:.1f}..{each.t_max_s:.1f} p {each.probability:.2f}"
        print(f"  unseen {span} {each.kind} {each.object} {each.detail}")
    for one, other in found.swapped():
        print(
            f"  swapped {one.t_s:.1f} {one.kind} {one.object} / {other.t_s:.1f} {other.kind} {other.object}"
        )


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "keep":
        keep(read_run(Path(arguments[0])), arguments[1])
    else:
        for each in arguments:
            _show(read_run(Path(each)) if Path(each).is_dir() else read_kept(each))
