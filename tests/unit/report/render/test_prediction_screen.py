"""The first screen of a rehearsal: what it says on snapshots of many kinds, and that it always fits."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    PRODUCTION,
    ROUTED,
    app_spec,
    cluster,
    off_control_plane,
    spread_over,
    workers_of,
)

from chaosext.model.timeline import Kind
from chaosext.rehearsal.mitigate.mitigations import MITIGATIONS
from chaosext.rehearsal.network.routes import Proof
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.recommendations import advised
from chaosext.rehearsal.simulate.planned_cut import Flap, Plan, enough_s
from chaosext.rehearsal.simulate.prediction import (
    Advice,
    Dns,
    DnsOutage,
    DnsView,
    Forecast,
    PredictedEvent,
    PredictedOutcome,
    Simulated,
)
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Doubt, Network, Service
from chaosext.report.data.predicted_lanes import LaneMoment
from chaosext.report.render.prediction_screen import chance_by, prediction_screen, ticks
from chaosext.report.sentences.prediction_sentences import PRICES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World

GOLDEN = ROOT / "tests" / "golden" / "screens"
EXAMPLES = ROOT / "examples" / "snapshots"

ROWS, COLUMNS = 24, 100

Asked = tuple["World", Plan]


def planned(world: World, nodes: Sequence[str] = (), **more: object) -> Asked:
    plan = Plan(cut_nodes=frozenset(nodes) or workers_of(world), horizon_s=2000.0, **more)  # type: ignore[arg-type]
    return world, replace(plan, horizon_s=enough_s(plan.periods, plan.rollback_s))


def bundled(name: str) -> Asked:
    return planned(read_snapshot([EXAMPLES / name]))


def renamed(world: World, length: int) -> World:
    """All nodes with names as long as Kubernetes allows."""
    name_of = {node.name: f"{node.name}-{'x' * (length - len(node.name) - 1)}" for node in world.nodes}
    nodes = tuple(replace(node, name=name_of[node.name]) for node in world.nodes)
    return replace(world, nodes=nodes, pods=tuple(replace(pod, node=name_of[pod.node]) for pod in world.pods))


def with_quorum(world: World) -> World:
    names = sorted(workers_of(world))
    etcd = spread_over(names, 3, "StatefulSet/etcd", "db", app_spec("etcd", 20, "none"))
    services = (Service(namespace="db", name="etcd", selector={"app": "etcd"}),)
    return replace(world, pods=(*world.pods, *etcd), services=services)


def dns_down_before() -> World:
    world = cluster(network=ROUTED)
    pods = (replace(pod, ready=False) if "coredns" in pod.name else pod for pod in world.pods)
    return replace(world, pods=tuple(pods))


def shapes() -> dict[str, Callable[[], Asked]]:
    """The shapes of clusters, and of plans, that differ on the screen; not made before a test asks for one."""
    unproven = Network(doubts=(Doubt(subject="the snapshot", why="it shows no network plugin"),))
    flap = Flap(on_s=16, off_s=10, times=4)
    incident = cluster(sidecar="holding")
    return {
        "story": lambda: bundled("story.json"),
        "mitigated": lambda: bundled("mitigated.json"),
        "larger": lambda: bundled("larger.json.gz"),
        "routed": lambda: planned(cluster(network=ROUTED, apps=6)),
        "unproven-network": lambda: planned(cluster(network=unproven, apps=6)),
        "dns-down-before": lambda: planned(dns_down_before()),
        "dns-lost-on-uncut-nodes": lambda: planned(
            cluster(workers=4, network=ROUTED, control_plane=PRODUCTION), ["worker-1", "worker-2"]
        ),
        "quorum": lambda: planned(
            with_quorum(cluster(workers=3, network=ROUTED, affinity=off_control_plane()))
        ),
        "flapping": lambda: planned(incident, periods=flap.periods),
        "rolled-back": lambda: planned(incident, rollback_s=660.0),
        "twenty-minutes": lambda: planned(incident, cut_for_s=1200.0),
        "long-names": lambda: planned(renamed(with_quorum(incident), 253)),
        "two-hundred-nodes": lambda: planned(
            cluster(workers=200, control_planes=3, control_plane=PRODUCTION, apps=40)
        ),
    }


@cache
def made(name: str) -> Asked:
    return shapes()[name]()


NEXT = ("chaosext rehearse --snapshot cluster.json --timeline",)


@cache
def answered(name: str) -> tuple[Prediction, World, Plan]:
    world, plan = made(name)
    few = 3 if len(world.nodes) > 100 else 24
    found = rehearse(world, plan, samples=few)
    return advised(found, world, plan, samples=few), world, plan


def shown(found: Prediction, world: World, plan: Plan, next_steps: Sequence[str] = NEXT) -> list[str]:
    return [str(row) for row in prediction_screen(found, world, plan, next_steps)]


def assert_fits(lines: Sequence[str]) -> None:
    assert len(lines) <= ROWS
    assert max(map(len, lines)) <= COLUMNS
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("name", sorted(shapes()))
def test_the_screen_of_a_cluster(name: str) -> None:
    """`GOLDEN=write pytest …` writes the files anew."""
    lines = shown(*answered(name))
    assert_fits(lines)
    path, text = GOLDEN / f"{name}.txt", "".join(f"{line}\n" for line in lines)
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(shapes()))
def test_the_answer_comes_first_and_what_to_run_next_last(name: str) -> None:
    lines = shown(*answered(name))
    assert lines[0].startswith(("OK: ", "NOT OK: ", "UNKNOWN: "))
    assert lines[-1].endswith(NEXT[0])
    assert sum(line.startswith(("Cut", "Why", "Impact", "Recovery")) for line in lines) >= 3


def test_an_unknown_answer_begins_with_what_would_settle_it() -> None:
    lines = shown(*answered("unproven-network"))
    assert lines[0] == "UNKNOWN: the snapshot does not prove which nodes reach which Pods"
    assert lines[1].startswith("Settle    the snapshot: it shows no network plugin")


def test_dns_lost_for_minutes_is_not_ok_though_it_heals() -> None:
    found, world, plan = answered("dns-lost-on-uncut-nodes")
    assert found.verdict is Forecast.PASSED
    assert shown(found, world, plan)[0].startswith("NOT OK: 2 nodes that are not cut are without DNS for ")


def test_mixed_outcomes_are_said_as_shares() -> None:
    found, world, plan = answered("larger")
    mixed = replace(found, chances={Forecast.PASSED: 0.41, Forecast.DEVIATED: 0.59})
    assert shown(mixed, world, plan)[0].startswith("NOT OK: in ")


def test_missing_simulations_are_never_ok() -> None:
    found, world, plan = answered("routed")
    few = replace(found, simulations=Simulated(made=1, wanted=24), verdict=Forecast.UNKNOWN)
    assert shown(few, world, plan)[0].startswith("UNKNOWN: only 1 of 24 simulations")


def test_every_mitigation_has_a_price() -> None:
    assert PRICES.keys() == MITIGATIONS.keys()


def test_a_prediction_without_a_timeline_has_no_lanes() -> None:
    found, world, plan = answered("story")
    lines = shown(replace(found, timeline=()), world, plan)
    assert not any(line.startswith("kube-dns ") for line in lines)


@pytest.mark.parametrize(
    ("t_s", "chance"), [(9, 0.0), (10, 0.0), (15, 0.25), (20, 0.5), (40, 0.75), (60, 1.0), (61, 1.0)]
)
def test_a_moment_is_half_past_at_its_typical_time(t_s: float, chance: float) -> None:
    assert chance_by(LaneMoment(20.0, 10.0, 60.0), t_s) == pytest.approx(chance)


@given(st.floats(1, 86_400), st.integers(20, 48))
def test_the_axis_has_labels_that_do_not_touch(horizon_s: float, width: int) -> None:
    line = ticks(horizon_s, width)
    assert line.startswith("0s")
    assert len(line) <= width


@pytest.mark.parametrize("columns", [72, 80, 100])
def test_a_narrow_terminal_has_as_many_rows(columns: int) -> None:
    found, world, plan = answered("story")
    lines = [str(row) for row in prediction_screen(found, world, plan, NEXT, columns)]
    assert len(lines) <= ROWS
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith(("nodes ", "DNS ", "Pods ")) for line in lines) == 3


# -- it always fits --------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), max_size=300)
SHARES = st.floats(0, 1)
TIMES = st.tuples(*[st.floats(0, 90_000)] * 3).map(sorted)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """A prediction with any texts, shares, times and numbers of objects."""
    found = answered("story")[0]
    nodes = draw(st.lists(WORDS, min_size=1, max_size=30, unique=True))
    states = st.sampled_from(list(Dns))
    events = tuple(
        PredictedEvent(
            t_s=typical,
            t_min_s=first,
            t_max_s=last,
            probability=draw(st.floats(0.001, 1)),
            kind=draw(st.sampled_from(list(Kind))),
            object=draw(st.sampled_from(["Node/", "Pod/kube-system/", "Service/"]))
            + draw(st.sampled_from(nodes)),
            detail=draw(WORDS),
            source="",
            nodes=draw(st.dictionaries(st.sampled_from(nodes), SHARES, max_size=3)),
        )
        for first, typical, last in draw(st.lists(TIMES, max_size=25))
    )
    doubts = tuple(Doubt(subject=draw(WORDS), why=draw(WORDS)) for _ in range(draw(st.integers(0, 4))))
    return replace(
        found,
        timeline=tuple(sorted(events, key=lambda each: each.t_s)),
        dns=DnsView(during_cut=draw(states), after_heal=draw(states)),
        dns_per_node={name: DnsView(during_cut=draw(states), after_heal=draw(states)) for name in nodes},
        outcomes=tuple(
            PredictedOutcome(dns_after_heal=draw(states), probability=draw(SHARES), why=draw(WORDS))
            for _ in range(draw(st.integers(0, 3)))
        ),
        outages=tuple(
            DnsOutage(worst=Dns.DEAD, times_s=((draw(st.floats(0, 9999)), 1.0),), where=draw(WORDS))
            for _ in range(draw(st.integers(0, 2)))
        ),
        chances={each: draw(SHARES) for each in Forecast},
        verdict=draw(st.sampled_from(list(Forecast))),
        doubts=doubts,
        routes=Proof(doubts=doubts) if draw(st.booleans()) else found.routes,
        advice=tuple(
            Advice(mitigation=draw(WORDS), effect=draw(WORDS), how=draw(WORDS), passes=draw(SHARES))
            for _ in range(draw(st.integers(0, 9)))
        ),
        assumptions=tuple(draw(st.lists(WORDS, max_size=3))),
    )


@settings(max_examples=examples(150))
@given(predictions(), st.lists(WORDS, max_size=9))
def test_every_prediction_fits_on_the_screen(found: Prediction, commands: list[str]) -> None:
    world, plan = made("long-names")
    assert_fits(shown(found, world, plan, commands))
