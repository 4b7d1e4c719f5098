"""Routes by GoBGP: kube-router's sessions across a cut, and what Cilium's BGP announces to the fabric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worlds import cluster

from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.snapshot.world import Network, Plugin

if TYPE_CHECKING:
    from chaosext.rehearsal.network.routes import Periods, Routes

CP, ONE, TWO = 0, 1, 2
WORKERS = frozenset({"worker-1", "worker-2"})
CUT: Periods = ((0.0, 480.0),)
LOST = 1

MESH = Network(plugin=Plugin.KUBE_ROUTER, shown="kube-router", full_mesh=True, hold_s=90.0)
CILIUM = Network(plugin=Plugin.CILIUM_BGP, shown="Cilium's BGP", announcing=WORKERS)


def routes(network: Network, periods: Periods = CUT) -> Routes:
    return routes_of(cluster(network=network), WORKERS, periods=periods)


def early(low: float, _: float) -> float:
    return low


def late(_: float, high: float) -> float:
    return high


def test_kube_routers_mesh_loses_the_control_plane_when_the_hold_time_ends() -> None:
    found = routes(MESH)
    assert found.proof.holds
    assert found.reaches(ONE, CP)
    assert found.reaches(ONE, CP, LOST) is False
    assert found.reaches(ONE, TWO, LOST)
    assert found.reaches(ONE, CP, LOST + 1)
    assert unannounced(found, cluster(network=MESH).nodes) == ()


def test_its_sessions_end_with_the_hold_time_less_a_keepalive() -> None:
    """GoBGP's defaults: 90 s, a keepalive each 30 s, and up to 300 s until a connection gets through."""
    assert routes(MESH).changes_s(early) == (58.0, 480.0)
    assert routes(MESH).changes_s(late) == (92.0, 780.0)
    assert "end 58s to 1m32s after it (hold time 1m30s)" in routes(MESH).proof.rests_on


def test_graceful_restart_may_keep_their_routes_for_its_restart_time() -> None:
    graceful = replace(MESH, lingers_s=90.0)
    assert routes(graceful).changes_s(early) == (58.0, 480.0)
    assert routes(graceful).changes_s(late) == (182.0, 780.0)
    assert "graceful restart" in routes(graceful).proof.rests_on


def test_routes_that_linger_may_end_after_the_heal_before_their_session_is_back() -> None:
    drawn = iter((180.0, 150.0, 20.0))
    found = routes(replace(MESH, lingers_s=90.0), ((0.0, 100.0),))
    assert found.changes_s(lambda *_: next(drawn)) == (180.0, 200.0)


def test_a_cut_that_ends_before_the_hold_time_ends_no_session() -> None:
    assert routes(MESH, ((0.0, 28.0),)).changes_s(early) == ()


def test_a_mesh_that_the_cut_leaves_alone_stays() -> None:
    """k0s: its control plane is no node, so that no session crosses the cut."""
    world = cluster(workers=3, network=MESH)
    apart = replace(world, nodes=tuple(each for each in world.nodes if not each.control_plane))
    found = routes_of(apart, frozenset(each.name for each in apart.nodes), periods=CUT)
    assert found.changes_s(early) == ()
    assert found.proof.rests_on == "kube-router; none of its sessions crosses the cut"


def test_a_node_that_announces_to_the_fabric_is_reached_through_it() -> None:
    found = routes(replace(MESH, announcing=frozenset({"cp-1"})))
    assert found.reaches(ONE, CP, LOST)
    assert found.reaches(CP, ONE, LOST) is False
    assert found.kind(CP) != found.kind(ONE)


def test_whether_sessions_survive_short_gaps_between_cuts_is_unknown() -> None:
    found = routes(MESH, tuple((at * 30.0, at * 30.0 + 25.0) for at in range(10)))
    assert "10 cuts within 4m55s" in found.proof.why_not


def test_ciliums_sessions_do_not_cross_the_cut_and_leave_out_what_they_do_not_announce() -> None:
    found = routes(CILIUM)
    assert found.changes_s(early) == ()
    assert found.reaches(CP, TWO)
    assert found.reaches(ONE, CP) is False
    assert unannounced(found, cluster(network=CILIUM).nodes) == ("cp-1",)


def test_ciliums_agents_take_the_routes_to_their_nodes_with_them_where_they_need_the_api_server() -> None:
    found = routes(replace(CILIUM, announcing=frozenset({"cp-1", *WORKERS}), agents_end=True))
    assert found.changes_s(early) == (240.0, 480.0)
    assert found.changes_s(late) == (390.0, 900.0)
    assert found.reaches(ONE, TWO, LOST) is False
    assert found.reaches(ONE, CP, LOST)
    assert routes(replace(CILIUM, agents_end=True), ((0.0, 200.0),)).changes_s(early) == ()
    assert routes(replace(CILIUM, agents_end=True), (*CUT, (490.0, 900.0))).changes_s(late) == (390.0, 1320.0)
