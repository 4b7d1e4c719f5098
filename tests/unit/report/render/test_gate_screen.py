"""The first screen of the gate: what decides, the predicted cut, the fixes; it always fits."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from checkout import ROOT
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import cluster, off_control_plane

from chaosext.gate.cutover_plan import Cutover, Selection
from chaosext.gate.decision import Decision, Weighed, Weight
from chaosext.gate.judge import judge
from chaosext.gate.remedies import Remedy, Search
from chaosext.gate.ticket import Asked, Sheet
from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.snapshot.world import Doubt, Network, World
from chaosext.report.data.predicted_lanes import LaneFacts
from chaosext.report.render.gate_screen import gate_screen

GOLDEN = ROOT / "tests" / "golden" / "screens"
AT = datetime(2026, 11, 23, 21, tzinfo=UTC)
PLAN = Cutover(
    title="Core switches are replaced",
    change="CHG-4711",
    selection=Selection(selector="!node-role.kubernetes.io/control-plane"),
    cut_for_s=480.0,
    at_most_s=480.0,
)
NEXT = ("chaosext gate --cutover plan.yaml --snapshot cluster.json -v",)


def versioned(world: World) -> World:
    nodes = tuple(replace(node, kubelet_version="v1.34.4") for node in world.nodes)
    return replace(world, nodes=nodes)


def sick(world: World) -> World:
    pods = tuple(replace(pod, ready=pod.name != "web-1-0") for pod in world.pods)
    return replace(world, pods=pods)


@cache
def made() -> dict[str, tuple[World, Cutover]]:
    unproven = Network(doubts=(Doubt(subject="the snapshot", why="it shows no network plugin"),))
    fixed = versioned(cluster(affinity=off_control_plane(), apps=3))
    return {
        "gate-no-go": (versioned(cluster(sidecar="holding")), PLAN),
        "gate-go": (fixed, PLAN),
        "gate-unknown": (versioned(cluster(network=unproven)), PLAN),
        "gate-sick-before": (sick(fixed), PLAN),
        "gate-two-durations": (versioned(cluster()), replace(PLAN, cut_for_s=20.0, at_most_s=240.0)),
    }


@cache
def answered(name: str) -> tuple[Sheet, tuple[LaneFacts, ...]]:
    world, plan = made()[name]
    found = judge(world, plan)
    search = Search(world=world, cutover=plan, before=found, live={}).search()
    sheet = Sheet(
        asked=Asked(
            at=AT, by="network team", plan="plan.yaml", plan_sha256="", snapshot_sha256="", files=("c.json",)
        ),
        cutover=plan,
        judgement=found,
        remedies=search.remedies,
        untried=search.untried,
        version="v1.34.4",
        node_count=len(world.nodes),
        meshed=world.mesh is not None,
    )
    return sheet, tuple(
        LaneFacts.of(world, plan.plan(found.nodes, each.cut_for_s)) for each in found.rehearsed
    )


def shown(sheet: Sheet, lanes: tuple[LaneFacts, ...]) -> list[str]:
    return [str(row) for row in gate_screen(sheet, lanes, NEXT)]


def assert_fits(lines: list[str]) -> None:
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", sorted(made()))
def test_the_gate_s_screen(name: str) -> None:
    """`GOLDEN=write pytest …` writes the files anew."""
    lines = shown(*answered(name))
    assert_fits(lines)
    path, text = GOLDEN / f"{name}.txt", "".join(f"{line}\n" for line in lines)
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_decision_and_its_exit_code_come_first() -> None:
    first = {name: shown(*answered(name))[0] for name in made()}
    assert first["gate-go"].startswith("GO (exit 0): it heals by itself")
    assert first["gate-no-go"].startswith("NO-GO (exit 10): DNS stays down on both nodes")
    assert first["gate-unknown"].startswith("NO-GO, as it is unknown (exit 30): the snapshot does not prove")
    assert first["gate-sick-before"].startswith("NO-GO (exit 10): probes_healthy: Pod/web/web-1-0")


TEXTS = st.text(max_size=400)


@settings(max_examples=examples(60))
@given(
    st.lists(
        st.tuples(TEXTS, TEXTS, st.sampled_from([Status.UNHEALTHY, Status.UNKNOWN])), min_size=1, max_size=20
    ),
    st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), max_size=9),
    TEXTS,
)
def test_every_decision_fits_on_the_screen(
    against: list[tuple[str, str, Status]], remedies: list[tuple[list[str], str]], title: str
) -> None:
    sheet, lanes = answered("gate-no-go")
    weighed = tuple(
        Weighed(finding=Finding(check=check, status=status, summary=said), weight=Weight.COUNTS)
        for check, said, status in against
    )
    fixes = tuple(
        Remedy(mitigations=tuple(names), how=(), decision=Decision.NO_GO, remains=(remains,))
        for names, remains in remedies
    )
    judgement = replace(sheet.judgement, weighed=weighed, decision=Decision.NO_GO)
    cutover = replace(sheet.cutover, title=title, change=title)
    assert_fits(shown(replace(sheet, judgement=judgement, remedies=fixes, cutover=cutover), lanes))
