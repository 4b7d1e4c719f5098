"""Rescheduling kube-dns: what is refused before a Pod is touched, what is tried twice, and what it then says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from overviews import DEAD, ELSEWHERE, lock

from chaosext.cluster.client import NotFound
from chaosext.cluster.objects import Deployment, Node, Pod
from chaosext.experiment.settings import Settings
from chaosext.model.errors import Inconclusive, Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.run.fault.state import fault_of
from chaosext.run.rollback import kube_dns
from chaosext.run.session import run_context as contexts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NO_NODE = "0/2 nodes are available: 2 node(s) had untolerated taints"
SETTINGS = Settings(context="kind-nowhere")


def pod(name: str, on: str, *, ready: bool = True) -> Pod:
    conditions = [{"type": "Ready", "status": str(ready), "reason": "" if ready else "ContainersNotReady"}]
    if not on:
        conditions = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}
        ]
    return Pod.from_json(
        {
            "metadata": {"name": name, "namespace": "kube-system", "uid": name},
            "spec": {"nodeName": on} if on else {},
            "status": {"phase": "Running" if on else "Pending", "conditions": conditions},
        }
    )


class Bench:
    """A cluster of two nodes, `w` with a BGP peer and `cp` without; `rounds` are kube-dns' Pods, one a deletion."""

    def __init__(self, *rounds: Sequence[Pod]) -> None:
        self.rounds = list(rounds)
        self.deployed = True
        self.deleted: list[str] = []

    context = "kind-nowhere"
    environment_said = ""

    def environment(self) -> str:
        return self.environment_said

    def pods(self, *_: Any) -> tuple[Pod, ...]:
        return tuple(self.rounds[0])

    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node.from_json({"metadata": {"name": name}}) for name in ("cp", "w"))

    def deployment(self, namespace: str, name: str) -> Deployment:
        if not self.deployed:
            raise NotFound(f"Deployment/{namespace}/{name}")
        return Deployment.from_json({"metadata": {"name": name}, "spec": {"replicas": 2}})

    def delete(self, _settings: Any, _context: Any, victims: Sequence[Pod]) -> list[str]:
        self.rounds.pop(0)
        names = [victim.name for victim in victims]
        self.deleted += names
        return names


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[contexts.RunContext]:
    monkeypatch.setattr(contexts, "_current", None)
    monkeypatch.setattr(kube_dns, "POLL_S", 0.001)
    monkeypatch.setattr(kube_dns, "peered_names", lambda _cluster: frozenset({"w"}))
    monkeypatch.setattr(kube_dns, "look_at_lease", lambda _cluster: None)
    made = contexts.start(root=tmp_path / "run")
    yield made
    made.recorder.close()


def reschedule(bench: Bench, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(kube_dns, "connect_to_act", lambda _settings: bench)
    monkeypatch.setattr(kube_dns, "_delete", bench.delete)
    return kube_dns.reschedule(SETTINGS, run, timeout_s=0.02, only_if_needed=True)


BEFORE = (pod("a", "cp"), pod("b", "cp"))


def test_on_a_production_cluster_an_unknown_experiment_moves_no_pod_unless_it_cut_before(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(BEFORE, (pod("c", "w"), pod("d", "w")))
    bench.environment_said = "production"
    with pytest.raises(Refused, match="only approved experiments may act"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == []
    fault_of(run).cuts.append(SimpleNamespace())  # type: ignore[arg-type]
    assert reschedule(bench, run, monkeypatch)["deleted"] == ["a", "b"]


def test_without_its_deployment_nothing_is_touched(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(BEFORE)
    bench.deployed = False
    with pytest.raises(Refused, match="coredns"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == []


def test_a_misplaced_pod_that_is_never_ready_is_deleted_once_more(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(BEFORE, (pod("c", "w"), pod("d", "cp", ready=False)), (pod("c", "w"), pod("e", "w")))
    answer = reschedule(bench, run, monkeypatch)
    assert answer["deleted"] == ["a", "b", "d"]
    assert answer["retried_because"] == ["d was placed on cp, which has no BGP peer"]
    assert answer["placement"] == ["c on w", "e on w"]


def test_a_pod_without_a_node_is_tried_twice_and_named(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = (pod("c", "w"), pod("d", "", ready=False))
    bench = Bench(BEFORE, pending, (pod("c", "w"), pod("e", "", ready=False)))
    with pytest.raises(Inconclusive, match=r"after 2 attempts .*e was not scheduled \(.*0/2 nodes"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == ["a", "b", "d"]


@pytest.mark.parametrize("left", [(pod("c", "w"), pod("d", "w", ready=False)), (pod("c", "w"),), ()])
def test_well_placed_pods_that_are_not_ready_are_not_deleted_again(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, left: tuple[Pod, ...]
) -> None:
    bench = Bench(BEFORE, left)
    with pytest.raises(Inconclusive, match="not Ready"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == ["a", "b"]


def test_pods_of_a_protected_namespace_are_not_touched(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("protected_namespaces: [kube-system]")
    monkeypatch.setenv("CHAOSEXT_LIMITS", str(limits))
    bench = Bench([pod("a", on="cp")])
    with pytest.raises(Refused, match="Pods of namespace kube-system may not be deleted"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == []


def test_in_the_middle_of_another_runs_cut_nothing_is_deleted(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has made DNS fail, and stock `chaos run` plays the rollbacks of an experiment whose cut was refused."""
    bench = Bench(BEFORE, (pod("c", "w"), pod("d", "w")))
    monkeypatch.setattr(kube_dns, "look_at_lease", lambda _cluster: lock("other", ELSEWHERE))
    with pytest.raises(Refused, match="run other of alice@laptop holds Lease kube-system/chaosext"):
        reschedule(bench, run, monkeypatch)
    assert bench.deleted == []
    for free in (lock("other", ELSEWHERE, 0), lock("other", DEAD), lock(run.id, ELSEWHERE)):
        monkeypatch.setattr(kube_dns, "look_at_lease", lambda _cluster, free=free: free)
        assert reschedule(Bench(BEFORE, (pod("c", "w"), pod("d", "w"))), run, monkeypatch)["deleted"] == [
            "a",
            "b",
        ]


def test_after_a_cut_of_our_own_the_cluster_is_brought_back_whoever_came_meanwhile(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_dns, "look_at_lease", lambda _cluster: lock("other", ELSEWHERE))
    fault_of(run).cuts.append(cut_of(run))
    assert reschedule(Bench(BEFORE, (pod("c", "w"), pod("d", "w"))), run, monkeypatch)["deleted"] == [
        "a",
        "b",
    ]


def cut_of(run: contexts.RunContext) -> Cut:
    node = NodeCut(node="cp", uplinks=("eth0",))
    return Cut(run=run.id, owner="a@b", nodes=(node,), peers=peers_of(["172.18.0.3"]), ttl_s=60)


def test_where_the_context_leads_is_looked_up_right_before_each_deletion(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def elsewhere(settings: Settings) -> None:
        asked.append(settings.context)
        raise Refused("leads to another cluster")

    monkeypatch.setattr(kube_dns, "connect_to_act", elsewhere)
    with pytest.raises(Refused, match="another cluster"):
        kube_dns._delete(SETTINGS, run, [pod("a", on="cp")])
    assert asked == ["kind-nowhere"]
