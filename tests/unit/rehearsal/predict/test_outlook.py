"""What people read before a cut: what the rehearsal says of kube-dns, and nothing that it doesn't say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worlds import ACCELERATED, PRODUCTION, cluster, off_control_plane, unreachable_for, workers_of

from chaosext.rehearsal.predict.outlook import outlook
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.time_budget import TimeBudget

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World


def lines(world: World, cut_for_s: float = 60.0, budget_s: float = float("inf")) -> str:
    cut = workers_of(world)
    plan = Plan(cut_nodes=cut, cut_for_s=cut_for_s, horizon_s=cut_for_s + 300)
    return "\n".join(outlook(rehearse(world, plan, samples=40, budget=TimeBudget.of(budget_s)), world, cut))


def with_dns(world: World, **changes: object) -> World:
    """The world with kube-dns' Pods changed; `tolerations` are their template's."""
    spec = {key: changes.pop(key) for key in ("tolerations",) if key in changes}
    made = (
        replace(pod, spec=replace(pod.spec, **spec), **changes) if "coredns" in pod.name else pod  # type: ignore[arg-type]
        for pod in world.pods
    )
    return replace(world, pods=tuple(made))


def test_the_story_is_told() -> None:
    said = lines(cluster())
    assert said.startswith("rehearsal: deviated, it does not heal by itself (40 random simulations, seed 0)")
    assert "kube-dns on worker-1, worker-2: evicted" in said
    assert "the first to cp-1" in said
    assert "DNS after the heal, in 100%: dead" in said


def test_a_daemon_sets_kube_dns_stays_and_is_not_created_elsewhere() -> None:
    world = with_dns(cluster(), owner="DaemonSet/dns-default", tolerations=unreachable_for(None))
    said = lines(world)
    assert "kube-dns on worker-1, worker-2: not evicted, it stays there" in said
    assert "replacements" not in said


def test_a_toleration_of_no_time_is_heeded() -> None:
    """Default timings would evict after 350 s; a cut of a minute is long enough for such Pods."""
    usual, at_once = (
        cluster(control_plane=PRODUCTION),
        with_dns(cluster(control_plane=PRODUCTION), tolerations=unreachable_for(0)),
    )
    assert "not evicted, it stays there" in lines(usual, 70)
    assert "not evicted, it stays there" not in lines(at_once, 70)


def test_dns_that_was_down_before_is_not_expected_to_be_well() -> None:
    said = lines(with_dns(cluster(), ready=False), 15)
    assert said.startswith("rehearsal: unknown")
    assert "DNS after the heal, in 100%: unknown, nothing can be said" in said


def test_replacements_that_find_no_node_are_pending() -> None:
    said = lines(cluster(affinity=off_control_plane()))
    assert "its replacements are Pending" in said


def test_where_no_node_with_kube_dns_is_cut_none_of_it_is_evicted() -> None:
    said = lines(with_dns(cluster(), node="cp-1"))
    assert "kube-dns does not run on a cut node" in said


def test_evictions_that_chance_decides_are_told_with_how_often() -> None:
    said = lines(cluster(workers=3, control_plane=replace(ACCELERATED)), 90)
    assert "of the simulations" in said
    assert "zone (none) is PartialDisruption" in said


def test_where_nothing_was_simulated_nothing_is_said() -> None:
    assert lines(cluster(), budget_s=0.0).count("\n") == 0
    assert "no result, 0 of 40 random simulations" in lines(cluster(), budget_s=0.0)
