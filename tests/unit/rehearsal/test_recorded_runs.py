"""A real run on the testbed, event by event, against its rehearsal: the right events, nodes and times."""

from __future__ import annotations

import json
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from worlds import cluster, workers_of

from chaosext.rehearsal.plan import Plan
from chaosext.rehearsal.rehearse import rehearse

if TYPE_CHECKING:
    from chaosext.rehearsal.prediction import PredictedEvent

RECORDED = Path(__file__).parents[2] / "golden" / "rehearsal" / "testbed-1+2.jsonl"
NODES = {"chaosext-control-plane": "cp-1", "chaosext-worker2": "worker-2", "chaosext-worker": "worker-1"}
PODS = {"66bc5c9577-tctz9": "66bc5c9577-1", "66bc5c9577-vhhl4": "66bc5c9577-0"}
APPS = {"storefront-6975d6b4c7": "storefront-1", "catalog-d98bdf558": "catalog-1"}
SEEN_AT_ONCE_ONLY = {"dns_degraded", "steady", "cut"}
"""What the recorder tells beside another line (degraded, then dead), or what no rehearsal predicts."""


def recorded() -> list[dict[str, Any]]:
    text = RECORDED.read_text()
    for real, ours in (NODES | PODS | APPS).items():
        text = text.replace(real, ours)
    return [event for event in map(json.loads, text.splitlines()) if event["kind"] not in SEEN_AT_ONCE_ONLY]


def predicted() -> tuple[PredictedEvent, ...]:
    world = cluster(sidecar="holding")
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=57.26, horizon_s=400.0, rollback_s=192.14)
    return rehearse(world, plan).timeline


def known(events: tuple[PredictedEvent, ...], name: str) -> str:
    """The predicted object that an observed one is: a Pod of the start by its name, a later one by its owner."""
    names = {event.object for event in events}
    return name if name in names else next((each for each in names if fnmatch(name, each)), name)


@pytest.fixture(scope="module")
def misses() -> list[str]:
    """Observed events that weren't predicted, or not for their time: within 3 s or 10 % of the range."""
    events, turns, found = predicted(), Counter[tuple[str, str]](), []
    for seen in recorded():
        if seen["kind"] in ("pod_evicted", "pod_gone", "pod_not_ready") and "/shop/" in seen["object"]:
            continue  # which of the shop's Pods ran where isn't in the recording
        name = (seen["kind"], known(events, seen["object"]))
        label = seen["detail"].rpartition(":")[2] if seen["kind"] == "node_tainted" else ""
        same = [e for e in events if (e.kind, e.object) == name and label in e.detail]
        if seen["kind"] == "endpoints_changed":
            ends_empty = "no ready" in seen["detail"]
            same = [e for e in same if ("no ready" in e.detail) == ends_empty]
        slack = max(3.0, seen["t_s"] / 10)
        if not any(e.t_min_s - slack <= seen["t_s"] <= e.t_max_s + slack for e in same):
            found.append(f"{seen['t_s']} {seen['kind']} {seen['object']} {seen['detail']}")
        turns[name] += 1
    return found


def test_every_event_of_the_real_run_was_predicted_for_its_time(misses: list[str]) -> None:
    assert misses == []


def test_the_recording_is_whole() -> None:
    assert len(recorded()) > 80
