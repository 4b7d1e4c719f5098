"""The worst cuts: each made cluster has one smallest cut that breaks something, and the search finds exactly it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import CALICO, ROUTED, app_spec, cluster, off_control_plane, spread_over

from chaosext.cluster.objects import BgpPeer
from chaosext.cluster.timings import Timings
from chaosext.gate.worst_cut import Harm, WorstCuts, lost_by, worst_cuts
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.world import Alternative, ControlPlane, Network, Pod, Service, Workload
from chaosext.report.sentences.worst_cut_text import worst_cut_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.rehearsal.snapshot.world import World

SLOW = ControlPlane(timings=Timings(grace_s=20.0, toleration_s=60.0, source="tests"), version="v1.34.4")
WEB = Service(namespace="web", name="web", selector={"app": "web"})
DURATIONS_S = (60.0, 240.0)


def base(
    *, network: Network = ROUTED, dns: int = 1, sidecar: str = "none", zones: Sequence[str] = ()
) -> World:
    return cluster(
        workers=5,
        control_planes=3,
        network=network,
        control_plane=SLOW,
        affinity=off_control_plane(),
        dns_replicas=dns,
        sidecar=sidecar,
        zones=zones,
    )


def labelled(world: World, key: str, values: Mapping[str, str]) -> World:
    nodes = (
        replace(node, labels={**node.labels, key: values[node.name]}) if node.name in values else node
        for node in world.nodes
    )
    return replace(world, nodes=tuple(nodes))


def with_web(world: World, nodes: Sequence[str]) -> World:
    pods = spread_over(nodes, len(nodes), "ReplicaSet/web-1", "web", app_spec("web", 60, "none"))
    return replace(world, pods=(*world.pods, *pods), services=(WEB,))


def with_quorum(world: World, nodes: Sequence[str]) -> World:
    spec = app_spec("etcd", 60, "none")
    pods = tuple(
        Pod(namespace="data", name=f"etcd-{at}", node=node, spec=spec, owner="StatefulSet/etcd")
        for at, node in enumerate(nodes)
    )
    owner = Workload(kind="StatefulSet", namespace="data", name="etcd", replicas=len(nodes))
    return replace(
        world, pods=(*world.pods, *pods), workloads={**world.workloads, ("data", "StatefulSet/etcd"): owner}
    )


def reflecting(names: Sequence[str]) -> World:
    """These nodes are route reflectors of all others; kube-dns is on worker-5."""
    peer = BgpPeer(
        name="reflectors",
        peer_ip="",
        node="",
        node_selector="",
        peer_selector="has(reflector)",
        as_number=64512,
    )
    world = base(network=replace(CALICO, peers=(peer,), hold_s=20.0))
    pods = (replace(pod, node="worker-5") if "coredns" in pod.name else pod for pod in world.pods)
    world = replace(labelled(world, "reflector", dict.fromkeys(names, "yes")), pods=tuple(pods))
    nodes = (replace(node, reflector_cluster="1.0.0.1" if node.name in names else "") for node in world.nodes)
    return replace(world, nodes=tuple(nodes))


RACKS = {"worker-1": "a", "worker-2": "a", "worker-3": "b", "worker-4": "b", "worker-5": "c"}

PLANTED: dict[str, tuple[World, Harm, str, set[str], str]] = {
    "DNS on one node": (base(), Harm.DNS, "", {"worker-1"}, "node worker-1"),
    "DNS on two nodes": (
        base(dns=2),
        Harm.DNS,
        "",
        {"worker-1", "worker-2"},
        "node worker-1 + worker-2",
    ),
    "DNS in one rack": (
        labelled(base(dns=2), "rack", RACKS),
        Harm.DNS,
        "",
        {"worker-1", "worker-2"},
        "rack a",
    ),
    "istiod on one node": (base(dns=3, sidecar="native"), Harm.MESH, "", {"worker-1"}, "node worker-1"),
    "a Service on one node": (
        with_web(base(dns=3), ["worker-3"]),
        Harm.SERVICE,
        "Service/web/web",
        {"worker-3"},
        "node worker-3",
    ),
    "a Service in one rack": (
        labelled(with_web(base(dns=3), ["worker-3", "worker-4"]), "example.com/rack", RACKS),
        Harm.SERVICE,
        "Service/web/web",
        {"worker-3", "worker-4"},
        "rack b",
    ),
    "a Service in one zone": (
        with_web(base(dns=3, zones=("a", "b", "c")), ["worker-1", "worker-4"]),
        Harm.SERVICE,
        "Service/web/web",
        {"worker-1", "worker-4"},
        "zone a",
    ),
    "a quorum on one node": (
        with_quorum(base(dns=3), ["worker-5", "worker-5", "worker-5"]),
        Harm.QUORUM,
        "StatefulSet/data/etcd",
        {"worker-5"},
        "node worker-5",
    ),
    "a quorum in two zones": (
        with_quorum(
            base(dns=3, zones=("a", "a", "b", "b", "c")),
            [f"worker-{number}" for number in (1, 1, 1, 2, 3, 3, 3, 4, 5)],
        ),
        Harm.QUORUM,
        "StatefulSet/data/etcd",
        {"worker-1", "worker-3"},
        "node worker-1 + node worker-3",
    ),
    "reflectors in one rack": (
        labelled(reflecting(["worker-1", "worker-2"]), "rack", RACKS),
        Harm.ROUTES,
        "",
        {"worker-1", "worker-2"},
        "rack a = route reflectors 1.0.0.1",
    ),
}


def smallest(found: WorstCuts, harm: Harm, name: str) -> list[tuple[set[str], str]]:
    """Return the smallest cuts that break this, apart from those of most of the control plane."""
    hits = [
        each
        for each in found.found
        if any(broken.key == (harm, name) for broken in each.broken) and not _takes_most(each.cut.nodes)
    ]
    least = min((len(each.cut.nodes) for each in hits), default=0)
    return [(set(each.cut.nodes), str(each.cut)) for each in hits if len(each.cut.nodes) == least]


def _takes_most(nodes: frozenset[str]) -> bool:
    return sum(name.startswith("cp-") for name in nodes) > 1


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_smallest_cut_is_found_and_no_other(name: str) -> None:
    world, harm, unit, nodes, said = PLANTED[name]
    found = worst_cuts(world, DURATIONS_S)
    assert smallest(found, harm, unit) == [(nodes, said)]


def test_each_node_that_breaks_the_same_is_found() -> None:
    """Reflectors on the control plane: whichever node is cut off loses its routes; worker-5 has kube-dns."""
    found = worst_cuts(reflecting(["cp-1", "cp-2", "cp-3"]), DURATIONS_S)
    assert smallest(found, Harm.ROUTES, "") == [
        ({"worker-1"}, "node worker-1 (and 3 alike)"),
        ({"worker-5"}, "node worker-5"),
    ]


def test_each_cut_has_its_chain_of_causes_and_its_probability() -> None:
    found = worst_cuts(PLANTED["DNS on one node"][0], DURATIONS_S)
    first = found.found[0]
    assert [each.harm for each in first.broken] == [Harm.DNS]
    assert first.broken[0].probability == first.broken[0].at_longest == 1.0
    told = [each.said for each in first.trace]
    assert told[0] == "worker-1 NotReady"
    assert any(each.startswith("DNS dead on worker-") for each in told)
    assert [each.t_s for each in first.trace] == sorted(each.t_s for each in first.trace)


def test_a_cut_that_a_smaller_one_explains_is_not_listed() -> None:
    """Each pair with worker-1 loses DNS, because of worker-1."""
    found = worst_cuts(PLANTED["DNS on one node"][0], DURATIONS_S)
    assert [str(each.cut) for each in found.found if "worker-1" in each.cut.nodes] == ["node worker-1"]


def test_what_is_unknown_is_never_harmless() -> None:
    found = worst_cuts(base(network=Network()), DURATIONS_S)
    assert [str(each.cut) for each in found.found] == [
        "node worker-1"
    ]  # whatever the routes, kube-dns has no Pod
    assert all("worker-1" not in each.cut.nodes for each in found.unknown)
    assert {"control-plane node cp-1 (and 2 alike)", "node worker-2 (and 3 alike)"} <= {
        str(each.cut) for each in found.unknown
    }
    assert "no network plugin" in found.unknown[0].why
    assert any(line.startswith("unknown, not harmless: ") for line in worst_cut_lines(found))


def test_an_answer_with_nothing_but_unknown_cuts_says_so() -> None:
    found = worst_cuts(base(network=Network(), dns=5), (60.0,))
    assert not found.found
    assert len(found.unknown) == found.domains + found.pairs
    assert next(worst_cut_lines(found)).startswith("unknown: of ")


def test_a_cut_that_an_assumption_would_turn_is_unknown() -> None:
    """Without kube-dns' affinity it may move to a control-plane node, whose Pods nobody reaches."""
    world = cluster(workers=2, control_plane=SLOW, affinity=off_control_plane())
    other = cluster(workers=2, control_plane=SLOW)
    turned = Alternative(name="a", assumed="it stays", settles="a flag", apply=lambda _: other)
    found = worst_cuts(replace(world, alternatives=(turned,)), (240.0,))
    assert any("it depends on an assumption: it stays" in each.why for each in found.unknown)


def test_half_of_the_control_plane_cut_off_is_unknown_and_most_of_it_takes_the_others() -> None:
    world = base(dns=3)
    names = frozenset(node.name for node in world.nodes)
    assert lost_by(world, frozenset({"cp-1"})) == {"cp-1"}
    assert lost_by(world, frozenset({"cp-1", "cp-2"})) == names - {"cp-1", "cp-2"}
    four = cluster(workers=2, control_planes=4, network=ROUTED, affinity=off_control_plane())
    found = worst_cuts(four, (60.0,))
    halves = [each for each in found.unknown if " + cp-" in each.cut.names[0]]
    assert halves
    assert "no majority" in halves[0].why


def test_what_the_time_budget_left_no_time_for_is_unknown_and_left_out() -> None:
    found = worst_cuts(base(), DURATIONS_S, budget=TimeBudget.of(0.0))
    assert not found.found
    assert len(found.unknown) == found.domains + found.pairs
    assert any("for which the time budget left no time" in each for each in found.left_out)


def test_what_a_leaf_s_own_loss_does_is_left_out_by_name() -> None:
    found = worst_cuts(cluster(control_plane=SLOW), (60.0,))
    assert any("a leaf that fails" in each for each in found.left_out)


@pytest.mark.parametrize("name", ["a Service in one zone", "reflectors in one rack", "a quorum in two zones"])
def test_the_answer_fits_a_screen_and_begins_with_the_smallest_cut(name: str) -> None:
    lines = list(worst_cut_lines(worst_cuts(PLANTED[name][0], DURATIONS_S)))
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert " cut off for " in lines[0]
