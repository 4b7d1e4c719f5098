"""nodes_reach_pods: an answer from a Pod's address proves the way there and back, silence proves that there is none."""

from __future__ import annotations

from typing import Any

import pytest
from check_worlds import NOW, ScriptedShell, node, pod
from hypothesis import given
from hypothesis import strategies as st

from chaosext.checks import pod_reachability
from chaosext.checks.pod_reachability import ReachEvidence, gather, judge, targets_of
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.sentinel.watch_plan import MOST_OTHERS, ring

NODES = (
    node("cp", "172.18.0.2", control_plane=True),
    node("w1", "172.18.0.3"),
    node("w2", "172.18.0.4"),
)


def on(name: str, where: str, ip: str, **more: Any) -> Any:
    return pod(name, node=where, ips=(ip,), **{"tcp_ports": (8080,), **more})


PODS = (on("cart", "w1", "10.244.1.2"), on("shop", "w2", "10.244.2.2"))


class FakeCluster:
    def __init__(self, pods: tuple[Any, ...] = PODS, nodes: tuple[Any, ...] = NODES) -> None:
        self._pods, self._nodes = pods, nodes

    def nodes(self) -> tuple[Any, ...]:
        return self._nodes

    def pods(self) -> tuple[Any, ...]:
        return self._pods


class Connecting:
    """A shell whose connects end as `reach` says, by the address."""

    def __init__(self, name: str, reach: dict[str, str]) -> None:
        self.node, self._reach = name, reach

    def run(self, _script: str, *, stdin: str, timeout_s: float) -> Any:
        from chaosext.nodes.shell import ShellResult

        rows = (line.split() for line in stdin.splitlines()[1:])
        answers = {"open": "0", "refused": "97 Connection refused", "timed out": "124"}
        said = (f"{index} {answers[self._reach.get(host, 'open')]}" for index, host, _ in rows)
        return ShellResult(0, "\n".join(said) + "\n", "")


def look(
    reach: dict[str, str] | None = None, pods: tuple[Any, ...] = PODS, peered: set[str] | None = None
) -> ReachEvidence:
    shells: Any = {each.name: Connecting(each.name, reach or {}) for each in NODES}
    return gather(FakeCluster(pods), shells, peered=peered)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_reachability, "PAUSE_S", 0.0)


def test_all_ways_that_work_are_healthy_and_nodes_without_pods_are_named() -> None:
    finding = judge(look())
    assert (finding.status, finding.summary) == (
        Status.HEALTHY,
        "2 of 2 ways from node to node's Pods work",
    )
    assert any(row.subject == "Pods on Node/cp" and not row.counts for row in finding.evidence)


def test_a_way_that_does_not_work_is_named_with_both_ends() -> None:
    finding = judge(look({"10.244.2.2": "timed out"}))
    assert finding.status is Status.UNHEALTHY
    assert "Node/w1 → Pods on Node/w2: 10.244.2.2:8080 timed out" in finding.summary


def test_a_refusal_comes_from_the_pods_address_and_so_proves_the_way() -> None:
    assert judge(look({"10.244.2.2": "refused"})).status is Status.HEALTHY


def test_one_pod_that_answers_is_enough() -> None:
    pods = (*PODS, on("silent", "w2", "10.244.2.3"))
    assert judge(look({"10.244.2.3": "timed out"}, pods)).status is Status.HEALTHY


def test_the_control_planes_own_connects_are_listed_and_do_not_decide() -> None:
    rows = [row for row in judge(look()).evidence if row.subject.startswith("Node/cp →")]
    assert rows
    assert not any(row.counts for row in rows)


def test_a_single_worker_is_judged_from_the_control_plane() -> None:
    shells: Any = {name: Connecting(name, {}) for name in ("cp", "w1")}
    finding = judge(gather(FakeCluster(PODS[:1], NODES[:2]), shells))  # type: ignore[arg-type]
    assert (finding.status, finding.summary[:6]) == (Status.HEALTHY, "1 of 1")


def test_pods_that_nobody_can_reach_by_configuration_do_not_count() -> None:
    pods = (*PODS, on("dns", "cp", "10.244.0.2"))
    silent = {"10.244.0.2": "timed out"}
    assert judge(look(silent, pods)).status is Status.UNHEALTHY
    finding = judge(look(silent, pods, peered={"w1", "w2"}))
    assert finding.status is Status.HEALTHY
    assert any("no BGP peer, by configuration" in row.detail for row in finding.evidence)


def test_a_node_that_cannot_be_entered_is_unknown() -> None:
    shells: Any = {"w1": Connecting("w1", {}), "w2": ScriptedShell("w2", Unreachable("no answer"))}
    finding = judge(gather(FakeCluster(), shells))  # type: ignore[arg-type]
    assert finding.status is Status.UNKNOWN
    assert "Node/w2 → Pods on Node/w1" in finding.summary


def test_without_any_pod_to_connect_to_nothing_is_known() -> None:
    assert judge(look(pods=())).status is Status.UNKNOWN


def test_a_single_node_has_nobody_to_reach() -> None:
    evidence = gather(FakeCluster(PODS[:1], NODES[1:2]), {})  # type: ignore[arg-type]
    assert judge(evidence).status is Status.NOT_APPLICABLE


def test_a_pod_that_came_and_went_is_looked_for_again() -> None:
    class Changing(FakeCluster):
        looks = 0

        def pods(self) -> tuple[Any, ...]:
            self.looks += 1
            return (*PODS[:1], on("old" if self.looks == 1 else "new", "w2", f"10.244.2.{self.looks}"))

    shells: Any = {each.name: Connecting(each.name, {"10.244.2.1": "timed out"}) for each in NODES}
    assert judge(gather(Changing(), shells)).status is Status.HEALTHY  # type: ignore[arg-type]


def test_pods_of_the_nodes_own_network_and_those_that_end_are_no_targets() -> None:
    unfit = (
        on("agent", "w1", "172.18.0.3", host_network=True),
        on("done", "w1", "10.244.1.3", phase="Succeeded"),
        on("leaving", "w1", "10.244.1.4", deletion=NOW),
        on("unbound", "", "10.244.1.5"),
        pod("young", node="w1", ips=()),
    )
    assert targets_of(unfit) == {}


def test_ready_pods_with_a_port_come_first_and_two_are_enough() -> None:
    pods = (
        on("a", "w1", "10.244.1.2", ready=False),
        on("b", "w1", "10.244.1.3", tcp_ports=()),
        on("c", "w1", "10.244.1.4"),
    )
    assert targets_of(pods) == {"w1": (Target("10.244.1.4", 8080), Target("10.244.1.3", 80))}


def test_what_is_left_out_in_a_large_cluster_is_said() -> None:
    names = [f"w{at:02}" for at in range(30)]
    nodes = tuple(node(name) for name in names)
    pods = tuple(on(name, name, f"10.244.1.{at}") for at, name in enumerate(names))
    shells: Any = {name: Connecting(name, {}) for name in names}
    finding = judge(gather(FakeCluster(pods, nodes), shells))  # type: ignore[arg-type]
    assert finding.summary == "240 of 240 ways from node to node's Pods work (each node tried 8 of 29 others)"


NAMES = st.lists(st.text("abc0", min_size=1, max_size=4), unique=True, min_size=1, max_size=30)


@given(NAMES, st.integers(1, 10))
def test_each_node_is_reached_for_by_as_many_others(names: list[str], most: int) -> None:
    chosen = {name: list(ring(name, names, most)) for name in names}
    expected = min(most, len(names) - 1)
    for name, others in chosen.items():
        assert len(others) == len(set(others)) == expected
        assert name not in others
        assert sum(name in each for each in chosen.values()) == expected


@given(NAMES)
def test_a_plan_of_the_chosen_ones_only_chooses_the_same(names: list[str]) -> None:
    chosen = list(ring(names[0], names, MOST_OTHERS))
    assert sorted(ring(names[0], chosen, MOST_OTHERS)) == sorted(chosen)


@given(st.lists(st.sampled_from(Reach), min_size=1, max_size=3))
def test_a_way_is_healthy_only_if_something_came_back(reaches: list[Reach]) -> None:
    connects = tuple(Connect(node="w1", target=Target("10.0.0.1", 80), reach=reach) for reach in reaches)
    evidence = ReachEvidence(
        nodes=("w1", "w2"),
        judged=("w1", "w2"),
        unpeered=frozenset(),
        targets={"w2": ()},
        connects={("w1", "w2"): connects},
    )
    healthy = judge(evidence).status is Status.HEALTHY
    assert healthy == any(reach in (Reach.OPEN, Reach.REFUSED, Reach.RESET) for reach in reaches)
