"""What becomes worse or better by a change, and by which: routes, failure domains, the planned cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_snapshots import calico, deployment, leafed, node, reflected, written

from chaosext.model.errors import Refused
from chaosext.rehearsal.predict.cluster_changes import applied, changes_of
from chaosext.rehearsal.predict.cluster_state import NOW, PLANNED, VERDICT, Fact, Question
from chaosext.rehearsal.predict.consequences import Consequences, consequences
from chaosext.rehearsal.predict.differences import ROUTES, Difference, Direction, direction
from chaosext.rehearsal.predict.scenarios import Scenario
from chaosext.rehearsal.snapshot.object_changes import changes_in
from chaosext.rehearsal.snapshot.reader import world_of
from chaosext.rehearsal.snapshot.snapshot_changes import snapshot_changes
from chaosext.rehearsal.snapshot.snapshot_files import read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.rehearsal.snapshot.snapshot_files import Listed

    Objects = list[dict[str, Any]]
    Read = Callable[[Objects], Listed]

RELABELLED = "Node/rr-{}: {{metadata: {{labels: {{route-reflector: null}}}}}}"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(objects: Objects) -> Listed:
        reading.turn += 1  # type: ignore[attr-defined]
        return read_files([written(objects, tmp_path / f"{reading.turn}.json")])  # type: ignore[attr-defined]

    reading.turn = 0  # type: ignore[attr-defined]
    return reading


def question(**more: Any) -> Question:
    return Question(wanted=Scenario(cut_for_s=480.0, **more), samples=8)


def changed(listed: Listed, *texts: str, **more: Any) -> Consequences:
    """Return the consequences of changes that are written as on the command line."""
    wanted = list(changes_in([yaml.safe_load(text) for text in texts], "--change"))
    changes = changes_of(listed, wanted, world_of)
    other = applied(listed, changes)
    return consequences(listed, other, changes, world_of, question(**more), is_derived=True)


def compared(before: Listed, after: Listed) -> Consequences:
    return consequences(before, after, snapshot_changes(before, after), world_of, question())


def by_subject(found: Consequences, subject: str) -> Mapping[str, Difference]:
    return {each.what: each for each in found.differences if each.subject == subject}


# -- --change


def test_the_label_of_the_route_reflector_takes_all_cross_node_routes_along(read: Read):
    found = changed(read(reflected()), RELABELLED.format(1))
    assert found.routes[0].reached == found.routes[0].pairs == 20
    assert found.routes[1].reached == found.routes[1].unknown == 0
    (routes,) = by_subject(found, ROUTES).values()
    assert (routes.before, routes.after) == ("reached", "not reached")
    assert routes.by == ("Node/rr-1",)
    assert by_subject(found, PLANNED)[VERDICT].after == "deviates"
    assert found.is_worse


def test_one_of_two_route_reflectors_takes_no_route_along_but_the_other_becomes_vital(read: Read):
    found = changed(read(reflected(2)), RELABELLED.format(1))
    assert found.routes[0] == found.routes[1]
    assert {each.subject for each in found.differences} == {"node rr-2"}


def test_two_changes_that_are_harmless_alone_are_named_together(read: Read):
    found = changed(read(reflected(2)), RELABELLED.format(1), RELABELLED.format(2))
    (routes,) = by_subject(found, ROUTES).values()
    assert len(routes.by) == 2
    assert not routes.alone


def test_of_several_changes_only_the_cause_is_named(read: Read):
    found = changed(
        read(reflected(1, *deployment("shop", "cart", ["worker-3"], app="cart"))),
        "Deployment/cart: {spec: {replicas: 2}}",
        RELABELLED.format(1),
        "Node/worker-3: {metadata: {labels: {rack: c}}}",
    )
    (routes,) = by_subject(found, ROUTES).values()
    assert list(routes.by) == ["Node/rr-1"]
    assert routes.alone
    assert "rack c" in found.new


def test_a_bgp_peer_that_is_narrowed_leaves_known_routes_not_unknown_ones(read: Read):
    found = changed(read(reflected()), "BGPPeer/to-reflectors: {spec: {nodeSelector: \"rack == 'a'\"}}")
    assert found.routes[1].unknown == 0
    assert 0 < found.routes[1].reached < found.routes[0].reached


def test_a_leaf_that_is_removed_and_one_that_is_added(read: Read):
    listed = read(leafed())
    assert changed(listed, "BGPPeer/leaf: null").routes[1].reached == 0
    peer = calico("BGPPeer", "leaf-cp", peerIP="192.0.2.2", asNumber=64512, nodeSelector="!has(bgp)")
    found = changed(listed, yaml.safe_dump(peer))
    assert found.routes[1].reached == found.routes[1].pairs > found.routes[0].reached
    assert by_subject(found, PLANNED)[VERDICT].direction is Direction.BETTER
    assert not found.is_worse


def test_longer_tolerations_of_a_template_reach_its_pods(read: Read):
    longer = [
        {
            "key": f"node.kubernetes.io/{name}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 3600,
        }
        for name in ("not-ready", "unreachable")
    ]
    patch = {"Deployment/kube-dns": {"spec": {"template": {"spec": {"tolerations": longer}}}}}
    found = changed(read(leafed()), yaml.safe_dump(patch))
    assert by_subject(found, PLANNED)[VERDICT].after == "passes"


def test_a_drain_moves_pods_and_what_they_moved_to_becomes_vital(read: Read):
    listed = read(leafed(*deployment("shop", "cart", ["worker-3"], app="cart")))
    found = changed(listed, "drain: worker-3")
    gone = by_subject(found, "node worker-3")
    assert any(
        "Service/shop/cart" in what and each.direction is Direction.BETTER for what, each in gone.items()
    )
    assert any("Service/shop/cart" in each.what for each in found.of(Direction.WORSE))


def test_a_drain_that_moves_dns_to_an_unannounced_node_breaks_it_without_any_cut(read: Read):
    found = changed(read(leafed()), "drain: 'rack'")
    assert by_subject(found, NOW)["DNS fails on some nodes"].direction is Direction.WORSE


def test_pods_that_fit_nowhere_after_a_drain_are_worse_without_any_cut(read: Read):
    objects = leafed(*deployment("shop", "cart", ["worker-3"], app="cart"))
    cart = next(each for each in objects if each["kind"] == "Pod" and each["metadata"]["namespace"] == "shop")
    cart["spec"]["nodeSelector"] = {"rack": "b"}
    found = changed(read(objects), "drain: rack=b")
    now = by_subject(found, NOW)
    assert now["Service/shop/cart has no Ready Pod"].direction is Direction.WORSE
    assert now["Deployment/shop/cart has Pods that fit on no node"].after == "yes"


def test_a_pod_that_was_not_ready_is_not_made_ready_by_a_drain(read: Read):
    objects = leafed(*deployment("shop", "cart", ["worker-3"], app="cart"))
    cart = next(each for each in objects if each["kind"] == "Pod" and each["metadata"]["namespace"] == "shop")
    cart["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    listed = read(objects)
    changes = changes_of(listed, list(changes_in([{"drain": "worker-3"}], "--change")), world_of)
    (moved,) = (each for each in world_of(applied(listed, changes)).pods if each.namespace == "shop")
    assert moved.node not in ("", "worker-3")
    assert not moved.ready


def test_a_node_that_is_removed_leaves_no_pods_behind(read: Read):
    listed = read(leafed(*deployment("shop", "cart", ["worker-3"], app="cart")))
    changes = changes_of(listed, list(changes_in([{"Node/worker-3": None}], "--change")), world_of)
    world = world_of(applied(listed, changes))
    assert {each.node for each in world.pods} <= {each.name for each in world.nodes}
    assert sum(each.namespace == "shop" for each in world.pods) == 1


def test_a_new_node_has_the_pods_of_daemon_sets(read: Read):
    listed = read(leafed())
    new = node("worker-9", 29, rack="a", bgp="leaf")
    changes = changes_of(listed, list(changes_in([new], "--change")), world_of)
    world = world_of(applied(listed, changes))
    assert [each.owner for each in world.pods if each.node == "worker-9"] == ["DaemonSet/calico-node"]


def test_replicas_come_and_go_as_a_patch_says(read: Read):
    listed = read(leafed(*deployment("shop", "cart", ["worker-1", "worker-3"], app="cart")))
    for wanted in (0, 1, 2, 5):
        patch = {"Deployment/cart": {"spec": {"replicas": wanted}}}
        changes = changes_of(listed, list(changes_in([patch], "--change")), world_of)
        pods = [each for each in world_of(applied(listed, changes)).pods if each.namespace == "shop"]
        assert len(pods) == wanted
        assert all(each.node for each in pods)


def test_a_change_of_nothing_that_is_read_makes_nothing_worse_or_better(read: Read):
    found = changed(read(leafed()), "Node/worker-1: {metadata: {annotations: {team: blue}}}")
    assert found.differences == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BGPPeer/laef: null", "did you mean BGPPeer/leaf"),
        ("Nod/worker-1: null", "did you mean Node"),
        ("drain: nowhere", "--change drain"),
        ("worker-1: null", "neither Kind/name"),
        ("drain:", "names no node"),
        ("Node/worker-1: {spec: {taints: [{$patch: merge}]}}", "has no key"),
        ("Deployment/kube-dns: {spec: {replicas: many}}", "spec.replicas"),
        ("Deployment/kube-dns: {spec: [1]}", "Deployment/kube-dns"),
        ("Deployment/kube-dns: {spec: {template: {spec: {tolerations: [1]}}}}", "Deployment/kube-dns"),
        ("Node/worker-1: {metadata: 7}", "Node/worker-1"),
        ("Node/worker-1: {status: {addresses: none}}", "$.status.addresses"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_with_its_fix(read: Read, text: str, said: str):
    with pytest.raises(Refused) as error:
        changed(read(leafed()), text)
    assert said in f"{error.value.message} {error.value.fix}"


# -- two snapshots


def test_a_snapshot_compared_with_itself_differs_in_nothing(read: Read):
    found = compared(read(reflected()), read(reflected()))
    assert (found.changes, found.differences) == ((), ())


def test_noise_is_no_change(read: Read):
    objects = reflected()
    for number, each in enumerate(objects):
        each["metadata"] |= {"resourceVersion": f"{number}", "managedFields": [{"manager": "kubelet"}]}
        for condition in each.get("status", {}).get("conditions", ()):
            condition["lastHeartbeatTime"] = f"2026-11-30T00:00:{number:02}Z"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x"}, "spec": {}}
    assert compared(read(reflected()), read([*objects, lease])).changes == ()


def test_compare_mirrors_itself(read: Read):
    one, other = (
        read(reflected(2)),
        read([each for each in reflected(2) if each["metadata"]["name"] != "rr-1"]),
    )
    there, back = compared(one, other), compared(other, one)
    assert {(each.subject, each.what) for each in there.differences} == {
        (each.subject, each.what) for each in back.differences
    }
    opposite = {(each.subject, each.what): each.direction for each in back.differences}
    assert all(each.direction is not opposite[each.subject, each.what] for each in there.differences)
    assert {each.subject for each in there.changes} == {each.subject for each in back.changes}


def test_a_kind_that_is_missing_today_is_worse_and_named(read: Read):
    after = [each for each in reflected() if each["kind"] != "BGPPeer"]
    found = compared(read(reflected()), read(after))
    (routes,) = by_subject(found, ROUTES).values()
    assert (routes.before, routes.after, routes.direction) == ("reached", "unknown", Direction.WORSE)
    assert routes.by == ("BGPPeer/to-reflectors",)


def test_pods_of_a_workload_that_moved_are_one_change(read: Read):
    before = leafed(*deployment("shop", "cart", ["worker-1", "worker-2"], app="cart"))
    after = leafed(*deployment("shop", "cart", ["worker-3", "worker-3"], app="cart"))
    found = compared(read(before), read(after))
    assert [str(each) for each in found.changes] == ["Deployment/shop/cart (Pods: 2 changed)"]
    worse = {each.subject for each in found.of(Direction.WORSE)}
    assert "node worker-3" in worse


def test_what_there_was_no_time_for_counts_as_worse(read: Read):
    one, other = read(reflected()), read(reflected(2))
    over = Question(wanted=Scenario(), budget=question().budget.__class__.of(0.0))
    found = consequences(one, other, snapshot_changes(one, other), world_of, over)
    assert found.left_out
    assert found.is_worse


def test_snapshots_of_two_clusters_are_refused(read: Read):
    other = [each for each in leafed() if each["kind"] != "Node"] + [node("elsewhere", 99)]
    with pytest.raises(Refused, match="no node in common"):
        compared(read(leafed()), read(other))


def test_in_a_large_cluster_one_node_stands_for_those_that_are_alike(
    read: Read, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("chaosext.rehearsal.predict.differences.MOST_NODES", 3)
    found = changed(read(reflected()), RELABELLED.format(1))
    whole = len(read(reflected()).items["Node"]) + 3  # two racks, and the reflectors
    assert found.compared + found.alike == whole
    assert found.alike > 0
    assert any(each.subject == "node rr-1" for each in found.differences)


# -- facts

SHARES = st.floats(0.0, 1.0)


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    bad = draw(SHARES)
    return Fact(bad=bad, unknown=draw(st.floats(0.0, 1.0 - bad)), said="", noise=draw(st.floats(0.05, 0.5)))


@given(facts())
def test_a_fact_does_not_differ_from_itself(fact: Fact):
    assert direction(fact, fact) is None


@given(facts(), facts())
def test_directions_mirror_each_other_unless_known_bad_becomes_unknown(one: Fact, other: Fact):
    there, back = direction(one, other), direction(other, one)
    assert (there is None) is (back is None)
    if there is back is Direction.WORSE:
        noise = max(one.noise, other.noise)
        assert (one.bad - other.bad > noise and other.unknown - one.unknown > noise) or (
            other.bad - one.bad > noise and one.unknown - other.unknown > noise
        )
    assert Direction.WORSE in (there, back, Direction.WORSE if there is None else None)


@given(facts())
def test_what_is_unknown_now_is_worse(fact: Fact):
    known = Fact(bad=fact.bad, unknown=0.0, said="")
    assert direction(known, Fact(bad=0.0, unknown=1.0, said="")) is Direction.WORSE
