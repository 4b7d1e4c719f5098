"""The longest safe cut: as found by trying every duration, and never longer than what is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import (
    CALICO,
    CONTROL_PLANE_LABEL,
    ROUTED,
    app_spec,
    cluster,
    off_control_plane,
    spread_over,
    workers_of,
)

from chaosext.cluster.objects import BgpPeer
from chaosext.cluster.timings import Timings
from chaosext.gate.cutover_plan import Acceptance, Cutover, Protected, Selection
from chaosext.gate.longest_cut import CutLimit, LongestCut, Range, clock, first_bad, longest_cut
from chaosext.gate.rehearsed import counted, rehearsed
from chaosext.gate.turning_points import TurningPoints
from chaosext.model.findings import Status, worst
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.world import (
    Alternative,
    ControlPlane,
    Doubt,
    Network,
    NodeRepair,
    Pod,
    Service,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.rehearsal.snapshot.world import World

SLOW = ControlPlane(timings=Timings(grace_s=30.0, toleration_s=60.0, source="tests"), version="v1.34.4")
MESH = replace(CALICO, peers=(), full_mesh=True, hold_s=30.0)
REFLECTED = replace(
    CALICO,
    peers=(
        BgpPeer(
            name="reflectors",
            peer_ip="",
            node="",
            node_selector="",
            peer_selector=f"has({CONTROL_PLANE_LABEL})",
            as_number=64512,
        ),
    ),
    hold_s=40.0,
)
WEB = Service(namespace="web", name="web", selector={"app": "web"})


def plan(**accept: object) -> Cutover:
    return Cutover(
        title="t",
        selection=Selection(),
        cut_for_s=60,
        at_most_s=60,
        accept=Acceptance(**{"probability": 0.9, **accept}),  # type: ignore[arg-type]
    )


def with_quorum(world: World, nodes: Sequence[str]) -> World:
    pods = tuple(
        Pod(
            namespace="data",
            name=f"etcd-{at}",
            node=node,
            spec=app_spec("etcd", 20, "none"),
            owner="StatefulSet/etcd",
        )
        for at, node in enumerate(nodes)
    )
    owner = Workload(kind="StatefulSet", namespace="data", name="etcd", replicas=len(nodes))
    return replace(
        world, pods=(*world.pods, *pods), workloads={**world.workloads, ("data", "StatefulSet/etcd"): owner}
    )


def with_service(world: World, nodes: Sequence[str], count: int = 2) -> World:
    pods = spread_over(nodes, count, "ReplicaSet/web-1", "web", app_spec("web", 20, "none"))
    return replace(world, pods=(*world.pods, *pods), services=(WEB,))


def with_alternative(world: World) -> World:
    """The grace period is 60 s, or perhaps 20 s."""
    fast, slow = (
        replace(world.control_plane, timings=Timings(grace_s=grace_s, toleration_s=20.0, source="tests"))
        for grace_s in (20.0, 60.0)
    )
    turned = Alternative(
        name="timings",
        assumed="the timings are slow",
        settles="the flags",
        apply=lambda each: replace(each, control_plane=fast),
    )
    return replace(world, control_plane=slow, alternatives=(turned,))


def reflecting(world: World) -> World:
    """Nodes of the control plane are route reflectors."""
    nodes = (replace(each, reflector_cluster="1.0.0.1" * each.control_plane) for each in world.nodes)
    return replace(world, nodes=tuple(nodes))


def repaired(world: World, after_s: float) -> World:
    nodes = frozenset(workers_of(world))
    return replace(world, repairs=(NodeRepair(by="node repair", after_s=after_s, nodes=nodes),))


ONE = frozenset({"worker-1"})
TWO = frozenset({"worker-1", "worker-2"})

CASES: dict[str, tuple[World, Cutover, frozenset[str]]] = {
    "the story": (cluster(), plan(), TWO),
    "one of two nodes": (cluster(), plan(), ONE),
    "slow timings": (cluster(control_plane=SLOW), plan(), TWO),
    "mitigated": (cluster(affinity=off_control_plane(), control_plane=SLOW), plan(), TWO),
    "any network": (cluster(network=ROUTED), plan(), TWO),
    "any network, no time without DNS": (cluster(network=ROUTED), plan(dns_outage_s=0.0), ONE),
    "an unknown network": (cluster(network=Network()), plan(), TWO),
    "a doubt": (replace(cluster(), doubts=(Doubt(subject="s", why="w"),)), plan(), TWO),
    "DNS on one node": (cluster(dns_replicas=1, network=ROUTED, control_plane=SLOW), plan(), ONE),
    "a mesh of sessions": (cluster(network=MESH, control_planes=3, control_plane=SLOW), plan(), TWO),
    "reflectors on the control plane": (
        reflecting(cluster(network=REFLECTED, control_plane=SLOW)),
        plan(),
        ONE,
    ),
    "a quorum in the cut": (
        with_quorum(cluster(workers=3, network=ROUTED), ["worker-1", "worker-2", "worker-3"]),
        plan(dns_outage_s=None),
        TWO,
    ),
    "a Service in the cut": (with_service(cluster(network=ROUTED), ["worker-1"]), plan(), ONE),
    "no Service in the cut without endpoints": (
        with_service(cluster(workers=3, network=ROUTED, control_plane=SLOW), ["worker-1"]),
        plan(services_during_cut=0, dns_outage_s=None),
        ONE,
    ),
    "a protected workload": (
        with_service(cluster(workers=3, network=ROUTED, control_plane=SLOW), ["worker-1", "worker-3"]),
        plan(protect=(Protected(name="Deployment/web/web", at_least=2),), dns_outage_s=None),
        ONE,
    ),
    "few evictions": (
        with_service(cluster(control_plane=SLOW, affinity=off_control_plane()), ["worker-1"], 4),
        plan(evicted_pods=3, dns_outage_s=None),
        ONE,
    ),
    "node repair": (
        repaired(cluster(network=ROUTED, dns_replicas=1), 100.0),
        plan(),
        frozenset({"worker-2"}),
    ),
    "an assumption": (with_alternative(cluster()), plan(), TWO),
    "sidecars": (cluster(sidecar="native", affinity=off_control_plane()), plan(), TWO),
    "five nodes": (
        cluster(workers=5, control_plane=SLOW),
        plan(),
        frozenset(f"worker-{n}" for n in range(1, 6)),
    ),
    "zones": (
        cluster(workers=6, zones=("a", "b", "c"), control_plane=SLOW),
        plan(),
        frozenset({"worker-1", "worker-2", "worker-4", "worker-5"}),
    ),
}

TRIED = Range(step_s=20.0, up_to_s=160.0)


def by_brute_force(
    world: World, cutover: Cutover, nodes: frozenset[str], tried: Range
) -> tuple[float, Status]:
    """Judge every duration, as the gate does; return the longest safe one, and what follows."""
    safe_s = 0.0
    for duration_s in tried.durations_s:
        (found,) = rehearsed(world, replace(cutover, cut_for_s=duration_s, at_most_s=duration_s), nodes)
        status = worst(each.status for each in counted(found.findings, cutover.accept))
        if status is not Status.HEALTHY:
            return safe_s, status
        safe_s = duration_s
    return safe_s, Status.HEALTHY


STATUSES = {
    CutLimit.NONE: Status.HEALTHY,
    CutLimit.BREAKS: Status.UNHEALTHY,
    CutLimit.UNKNOWN: Status.UNKNOWN,
}


@pytest.mark.parametrize("name", CASES)
def test_the_search_finds_what_trying_every_duration_finds(name: str) -> None:
    world, cutover, nodes = CASES[name]
    safe_s, status = by_brute_force(world, cutover, nodes, TRIED)
    found = longest_cut(world, cutover, nodes, TRIED)
    assert (found.safe_s, STATUSES[found.limit]) == (safe_s, status), found.answer


# -- the search ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6))
def test_first_bad_agrees_with_a_scan_where_each_span_only_gets_worse(parts: list[tuple[int, int]]) -> None:
    good: list[bool] = []
    spans = []
    for well, ill in parts:
        if well + ill:
            spans.append(range(len(good), len(good) + well + ill))
            good += [True] * well + [False] * ill
    wanted = good.index(False) if False in good else None
    assert first_bad(spans, good.__getitem__) == wanted


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=5),
    st.lists(st.floats(0, 150), max_size=3),
    st.sampled_from((40.0, float("inf"))),
)
def test_spans_have_each_duration_once_and_never_reach_into_a_busy_time(
    busy: list[tuple[float, float]], steps_s: list[float], slow_s: float
) -> None:
    points = TurningPoints(
        busy=tuple((begin, begin + length) for begin, length in busy), steps_s=tuple(steps_s), slow_s=slow_s
    )
    durations_s = Range(step_s=5.0, up_to_s=300.0).durations_s
    spans = list(points.spans(durations_s))
    assert [at for span in spans for at in span] == list(range(len(durations_s)))
    for span in spans:
        first, last = durations_s[span[0]], durations_s[span[-1]]
        if first < last:
            assert not any(begin <= last and first <= end for begin, end in points.busy)
            assert not any(first < step_s <= last for step_s in steps_s)


def test_where_nothing_happens_few_durations_are_judged() -> None:
    quiet = TurningPoints(busy=((30.0, 50.0),))
    spans = list(quiet.spans(Range(step_s=5.0, up_to_s=3600.0).durations_s))
    assert len([span for span in spans if len(span) > 1]) == 2
    assert len(spans) < 10


def test_no_time_means_nothing_is_known_to_be_safe() -> None:
    world, cutover, nodes = CASES["any network"]
    found = longest_cut(world, cutover, nodes, TRIED, budget=TimeBudget.of(0.0))
    assert (found.safe_s, found.limit) == (0.0, CutLimit.TIME)
    assert found.answer == "unknown: the time budget ended before any duration was tried"


# -- the answer ------------------------------------------------------------------------------------------------


def answer(name: str) -> LongestCut:
    return longest_cut(*CASES[name], TRIED)


def test_the_answer_names_what_happens_first_after_the_longest_safe_cut() -> None:
    found = answer("the story")
    assert found.answer.startswith(
        "safe up to 20s (90%); at 40s the first kube-dns Pod moves to cp-1 (30s to 51s after the cut"
    )


def test_the_answer_says_where_the_search_ended() -> None:
    assert answer("any network").answer == "safe up to 2m40s, the longest tried (90%)"


def test_the_answer_is_unknown_with_what_would_settle_it() -> None:
    found = answer("an unknown network")
    assert (found.safe_s, found.limit) == (0.0, CutLimit.UNKNOWN)
    assert found.answer.startswith(
        "unknown: which node reaches which Pods is unknown: "
        "the snapshot: it contains no network plugin that chaosext knows"
    )
    assert "To settle it: the flags" in answer("an assumption").answer
    assert answer("node repair").answer.startswith(
        "safe up to 1m20s (90%); from 1m40s on unknown: node repair: may"
    )


def test_a_time_without_dns_is_said_with_its_limit() -> None:
    assert (
        "Node/worker-2 cannot reach any kube-dns endpoint for more than 30s"
        in answer("DNS on one node").answer
    )


def test_the_point_of_no_return_is_by_the_clock_of_the_plan() -> None:
    found = replace(answer("the story"), safe_s=330.0)
    start = datetime(2036, 10, 26, 2, 58, tzinfo=ZoneInfo("Europe/Berlin"))
    assert clock(found.no_return(start)) == "2036-10-26 02:03:30 CET"  # clocks are put back meanwhile
    assert found.to_json(start)["no_return"] == "2036-10-26T02:03:30+01:00"
    assert found.no_return(None) is None
    assert replace(found, safe_s=0.0).no_return(datetime(2036, 1, 1, tzinfo=UTC)) is None
