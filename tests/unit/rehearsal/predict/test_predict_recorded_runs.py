"""Real runs on the testbed, event by event, against their rehearsal: the right events, nodes, times and verdict."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from recordings import KEPT, compare, read_kept, rehearsed
from worlds import cluster, workers_of

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Forecast

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.prediction import PredictedEvent

RECORDED = ROOT / "tests" / "golden" / "rehearsal"
RUNS = ("testbed-1+2.1.jsonl", "testbed-1+2.2.jsonl")
NODES = {"chaosext-control-plane": "cp-1", "chaosext-worker2": "worker-2", "chaosext-worker": "worker-1"}
APPS = {"storefront-6975d6b4c7": "storefront-1", "catalog-d98bdf558": "catalog-1"}
SEEN_AT_ONCE_ONLY = {"dns_degraded", "steady", "cut"}
"""What the recorder tells beside another line (degraded, then dead), or what no rehearsal predicts."""

POSSIBLE = 0.1
"""A verdict that chance decides, as of 1 + 3 nodes that are lost together, was no surprise."""

EVICTED = re.compile(r'"pod_evicted", "object": "(Pod/\S+-)(\w+)", "detail": "from worker-(\d)')


def recorded(run: str) -> list[dict[str, Any]]:
    """With the names of `worlds.cluster`, whose Pods of one owner are on worker-1 and worker-2 in turn."""
    text = (RECORDED / run).read_text()
    for real, ours in (NODES | APPS).items():
        text = text.replace(real, ours)
    turns: defaultdict[tuple[str, str], int] = defaultdict(int)
    for owner, suffix, worker in sorted(EVICTED.findall(text)):
        turn = 2 * turns[owner, worker] + int(worker) - 1
        turns[owner, worker] += 1
        text = text.replace(f"{owner}{suffix}", f"{owner}{turn}")
    return [event for event in map(json.loads, text.splitlines()) if event["kind"] not in SEEN_AT_ONCE_ONLY]


def predicted(events: list[dict[str, Any]]) -> tuple[PredictedEvent, ...]:
    world = cluster(sidecar="holding")
    heal, rollback = (
        next(each["t_s"] for each in events if each["kind"] == kind) for kind in ("heal", "rollback")
    )
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=heal, horizon_s=400.0, rollback_s=rollback)
    return rehearse(world, plan).timeline


def known(events: tuple[PredictedEvent, ...], name: str) -> str:
    """The predicted object that an observed one is: a Pod of the start by its name, a later one by its owner."""
    names = {event.object for event in events}
    return name if name in names else next((each for each in names if fnmatch(name, each)), name)


@pytest.mark.parametrize("run", RUNS)
def test_every_event_of_a_real_run_was_predicted_for_its_time_and_node(run: str) -> None:
    """Within 3 s or 10 % of the range that was predicted for the n-th event of its kind about its object."""
    seen_events = recorded(run)
    events, turns, misses = predicted(seen_events), Counter[tuple[str, str, str]](), []
    for seen in seen_events:
        subject = known(events, seen["object"])
        label = seen["detail"].rpartition(":")[2] if seen["kind"] == "node_tainted" else ""
        same = [e for e in events if (e.kind, e.object) == (seen["kind"], subject) and label in e.detail]
        if seen["kind"] == "endpoints_changed":
            ends_empty = "no ready" in seen["detail"]
            same = [e for e in same if ("no ready" in e.detail) == ends_empty]
        slack = max(3.0, seen["t_s"] / 10)
        at = [e for e in same if e.t_min_s - slack <= seen["t_s"] <= e.t_max_s + slack]
        node = seen["detail"].partition(" ")[2]
        right = [e for e in at if seen["kind"] not in ("pod_bound", "pod_ready") or node in e.nodes]
        if not right:
            misses.append(f"{seen['t_s']} {seen['kind']} {seen['object']} {seen['detail']}")
        turns[seen["kind"], subject, label] += 1
    assert misses == []


@pytest.mark.parametrize(
    "name", sorted(path.name.removesuffix(".json.gz") for path in KEPT.glob("*.json.gz"))
)
def test_a_real_run_came_as_it_is_rehearsed_from_its_own_snapshot(name: str) -> None:
    """What was seen was predicted for its time and node, in that order, and what is sure to come came."""
    run = read_kept(name)
    prediction = rehearsed(run)
    found = compare(run, prediction.timeline)
    assert (found.unforeseen, found.unseen, found.swapped()) == ([], [], [])
    assert len(found.right) > 60
    assert prediction.chances[Forecast(run.verdict)] > POSSIBLE


@pytest.mark.parametrize("run", RUNS)
def test_the_recording_is_whole(run: str) -> None:
    assert len(recorded(run)) > 80
