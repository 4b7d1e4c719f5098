"""Mitigations: what each changes, that the patch says the same, and how they are ranked."""

from __future__ import annotations

import pickle
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from worlds import (
    CALICO,
    CONTROL_PLANE_LABEL,
    PRODUCTION,
    ROUTED,
    app_spec,
    cluster,
    dns_spec,
    spread_over,
    workers_of,
)

from chaosext.rehearsal.mitigate.mitigations import MITIGATIONS, mitigated
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.recommendations import advised, chance_of, passes, score, tried
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import NO_EFFECT, Dns, Forecast
from chaosext.rehearsal.snapshot.dns_detection import stale_s
from chaosext.rehearsal.snapshot.world import NodeTerm, Pod, PodSpec, Requirement

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World

STORY = cluster()
MANAGER = Pod(
    namespace="kube-system",
    name="kube-controller-manager-cp-1",
    node="cp-1",
    spec=PodSpec(),
    owner="Node/cp-1",
)
CACHE = Pod(
    namespace="kube-system",
    name="nodelocaldns-1",
    node="worker-1",
    spec=PodSpec(labels={"k8s-app": "nodelocaldns"}),
    owner="DaemonSet/nodelocaldns",
)
CACHED = cluster(network=replace(CALICO, nodelocal_dns=True), sidecar="holding")
CACHED = replace(CACHED, pods=(*CACHED.pods, CACHE))
MANAGED = replace(STORY, pods=(*STORY.pods, MANAGER))
_ZONED = cluster(workers=3, zones=("a",))
MESHED = cluster(sidecar="holding", network=CALICO)


def etcd(*nodes: str, zones: str = "", seconds: int = 20) -> World:
    """A quorum of three on these nodes, and two more nodes than the testbed has."""
    world = cluster(workers=4, zones=zones)
    spec = app_spec("etcd", seconds, "none")
    return replace(world, pods=(*world.pods, *spread_over(nodes, 3, "StatefulSet/etcd", "db", spec)))


TOGETHER = etcd("worker-1", "worker-1", "worker-2")
APPLIES = {
    "serve-stale": CACHED,
    "pause-evictions": MANAGED,
    "workload-tolerations": TOGETHER,
    "workload-spread": TOGETHER,
    "dns-capture": MESHED,
}
PLANS = {"workload-spread": Plan(cut_nodes=frozenset({"worker-1"}), cut_for_s=120.0, horizon_s=400.0)}


OF_A_DAEMONSET = replace(
    STORY,
    pods=tuple(replace(pod, owner="DaemonSet/dns") if "coredns" in pod.name else pod for pod in STORY.pods),
)
"""A DaemonSet's Pods can't be anywhere else."""


def plan_of(world: World, cut_for_s: float = 120.0) -> Plan:
    return Plan(cut_nodes=workers_of(world), cut_for_s=cut_for_s, horizon_s=400.0)


def with_(name: str, world: World = STORY) -> Prediction:
    return rehearse(mitigated(world, plan_of(world), [name]), plan_of(world), samples=12)


def patch_of(name: str, world: World = STORY) -> dict[str, Any]:
    """kube-dns' template as the patch would have it."""
    command = MITIGATIONS[name].how(world, plan_of(world))
    assert command.startswith("kubectl --namespace kube-system patch deployment coredns --type strategic")
    (patch,) = documents(command)
    found: dict[str, Any] = patch["spec"]["template"]["spec"]
    return found


def documents(command: str) -> list[dict[str, Any]]:
    """The YAML that a command gets as its input."""
    return list(yaml.safe_load_all(command.partition("<<'EOF'\n")[2].partition("\nEOF")[0]))


def reflected() -> World:
    """The control-plane node is the only route reflector."""
    world = cluster(workers=3)
    nodes = tuple(replace(node, reflector_cluster="1.0.0.1" * node.control_plane) for node in world.nodes)
    over = replace(CALICO.peers[0], peer_ip="", node_selector="", peer_selector=f"has({CONTROL_PLANE_LABEL})")
    return replace(world, nodes=nodes, network=replace(CALICO, peers=(over,)))


# -- what they change ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dns-affinity", "bgp-on-control-plane", "longer-tolerations"])
def test_what_keeps_the_story_from_happening(name: str) -> None:
    assert rehearse(STORY, plan_of(STORY), samples=12).verdict is Forecast.DEVIATED
    found = with_(name)
    assert found.verdict is Forecast.PASSED
    assert chance_of(found, Dns.RESOLVABLE) == pytest.approx(1.0)
    assert f"assumes that {name} is in place" in found.assumptions


@pytest.mark.parametrize("name", ["nodelocal-dns", "spread"])
def test_what_makes_it_half_as_bad(name: str) -> None:
    assert chance_of(with_(name), Dns.PARTIAL) == pytest.approx(1.0)


def test_control_plane_nodes_in_the_nodes_zone_stop_evictions() -> None:
    world = cluster(workers=3, zones=("a",))
    assert rehearse(world, plan_of(world), samples=12).dns.after_heal is Dns.DEAD
    changed = MITIGATIONS["zones"].apply(world, plan_of(world))
    assert {node.zone for node in changed.nodes} == {":\x00:a"}
    assert chance_of(with_("zones", world), Dns.DEAD) < 0.5


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("dns-affinity", cluster(network=ROUTED)),
        ("dns-affinity", replace(STORY, dns=None)),
        ("bgp-on-control-plane", cluster(network=ROUTED)),
        ("bgp-on-control-plane", cluster(network=replace(CALICO, peers=()))),
        ("nodelocal-dns", cluster(network=replace(CALICO, nodelocal_dns=True))),
        (
            "longer-tolerations",
            replace(STORY, pods=tuple(replace(p, spec=dns_spec(None)) for p in STORY.pods)),
        ),
        ("zones", STORY),
        ("serve-stale", STORY),
        ("pause-evictions", STORY),
        (
            "pause-evictions",
            replace(MANAGED, control_plane=replace(MANAGED.control_plane, version="v1.28.9")),
        ),
        *((name, OF_A_DAEMONSET) for name in ("dns-affinity", "longer-tolerations", "spread")),
        ("zones", cluster(zones=("a", "b"))),
        ("spread", replace(STORY, dns=None)),
        ("workload-tolerations", STORY),
        ("workload-tolerations", etcd("worker-1", "worker-2", "worker-3", seconds=3600)),
        ("workload-spread", STORY),
        ("workload-spread", TOGETHER),  # all workers are cut, and the members may not run elsewhere
        ("dns-capture", STORY),
    ],
)
def test_what_does_not_apply_leaves_the_world_as_it_is_and_says_why(name: str, world: World) -> None:
    assert MITIGATIONS[name].apply(world, plan_of(world)) is world
    assert f"{name} changes nothing: " in mitigated(world, plan_of(world), [name]).assumptions[-1]


@pytest.mark.parametrize("name", MITIGATIONS)
def test_in_place_already_it_changes_nothing_more(name: str) -> None:
    world = reflected() if name == "reflectors-off-control-plane" else APPLIES.get(name, _ZONED)
    plan = PLANS.get(name, plan_of(world))
    once = MITIGATIONS[name].apply(world, plan)
    assert once is not world
    assert MITIGATIONS[name].apply(once, plan) is once


def test_reflectors_beside_the_cut_nodes_keep_their_routes() -> None:
    world = reflected()
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=300, horizon_s=700)
    assert rehearse(world, plan, samples=12).routes_lost.probability == pytest.approx(1.0)
    changed = mitigated(world, plan, ["reflectors-off-control-plane"])
    assert rehearse(changed, plan, samples=12).routes_lost.probability == 0
    said = MITIGATIONS["reflectors-off-control-plane"].how(world, plan)
    assert "kubectl label --overwrite node worker-1 worker-2 route-reflector=beside-control-plane" in said
    assert (
        "kubectl annotate --overwrite node worker-1 worker-2 projectcalico.org/RouteReflectorClusterID="
        in said
    )


def test_kube_dns_that_must_leave_is_elsewhere() -> None:
    pods = tuple(replace(pod, node="cp-1") if "coredns" in pod.name else pod for pod in STORY.pods)
    changed = mitigated(replace(STORY, pods=pods), plan_of(STORY), ["dns-affinity"])
    assert sorted(pod.node for pod in changed.pods if "coredns" in pod.name) == ["worker-1", "worker-2"]


# -- what to apply -------------------------------------------------------------------------------------------


def test_kube_dns_is_kept_off_by_the_label_that_only_those_nodes_have() -> None:
    affinity = patch_of("dns-affinity")["affinity"]["nodeAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": CONTROL_PLANE_LABEL, "operator": "DoesNotExist"}]}
    ]


def test_it_is_kept_off_by_name_where_no_label_tells_them_apart() -> None:
    selector = "kubernetes.io/hostname == 'worker-1'"
    world = cluster(network=replace(CALICO, peers=(replace(CALICO.peers[0], node_selector=selector),)))
    terms = patch_of("dns-affinity", world)["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    wanted = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["cp-1", "worker-2"]}
    assert terms == [{"matchExpressions": [wanted]}]


def test_what_it_required_before_stays_required() -> None:
    linux = Requirement(key="kubernetes.io/os", operator="In", values=("linux",))
    spec = dns_spec()
    assert spec.affinity
    own = replace(spec, affinity=replace(spec.affinity, required_nodes=(NodeTerm(requirements=(linux,)),)))
    pods = tuple(replace(pod, spec=own) if "coredns" in pod.name else pod for pod in STORY.pods)
    affinity = patch_of("dns-affinity", replace(STORY, pods=pods))["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["key"] for each in term["matchExpressions"]] == ["kubernetes.io/os", CONTROL_PLANE_LABEL]


def test_longer_tolerations_keep_the_others() -> None:
    tolerations = patch_of("longer-tolerations")["tolerations"]
    assert {"key": CONTROL_PLANE_LABEL, "operator": "Equal", "effect": "NoSchedule"} in tolerations
    longer = [each for each in tolerations if "tolerationSeconds" in each]
    assert [each["tolerationSeconds"] for each in longer] == [3600, 3600]


def test_they_outlast_a_long_cut() -> None:
    world = cluster(control_plane=PRODUCTION)
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=7200, horizon_s=8000)
    assert "tolerationSeconds: 14460" in MITIGATIONS["longer-tolerations"].how(world, plan)


def test_the_peer_is_an_object_that_could_be_applied() -> None:
    command = MITIGATIONS["bgp-on-control-plane"].how(STORY, plan_of(STORY))
    (applied,) = documents(command)
    assert applied["kind"] == "BGPPeer"
    assert applied["spec"] == {
        "peerIP": "172.18.0.5",
        "asNumber": 64512,
        "nodeSelector": f"has({CONTROL_PLANE_LABEL})",
    }


def test_a_zone_is_a_label() -> None:
    world = cluster(workers=3, zones=("a",))
    assert "kubectl label node cp-1 topology.kubernetes.io/zone=a --overwrite" in MITIGATIONS["zones"].how(
        world, plan_of(world)
    )


def test_nodelocal_dns_is_given_kube_dns_address() -> None:
    how = MITIGATIONS["nodelocal-dns"].how(STORY, plan_of(STORY))
    assert how.splitlines()[1] == "kubectl apply --filename - <<'EOF'"
    objects = {each["kind"]: each for each in documents(how)}
    assert "bind 169.254.20.10 10.2.112.10\n" in objects["ConfigMap"]["data"]["Corefile"]
    (cache,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert "169.254.20.10,10.2.112.10" in cache["args"]
    assert objects["Service"]["spec"]["selector"] == STORY.dns.selector if STORY.dns else False


# -- advice --------------------------------------------------------------------------------------------------


def test_advice_begins_with_what_prevents_it() -> None:
    plan = plan_of(STORY)
    found = advised(rehearse(STORY, plan, samples=12), STORY, plan, samples=12)
    names = [each.mitigation for each in found.advice]
    assert names[:3] == ["dns-affinity", "bgp-on-control-plane", "longer-tolerations"]
    assert set(names[3:]) == {"nodelocal-dns", "spread"}
    assert "passed instead of deviated" in found.advice[0].effect
    assert all(each.how for each in found.advice)


def test_its_order_is_that_of_the_scores() -> None:
    plan = plan_of(STORY)
    found = advised(rehearse(STORY, plan, samples=12), STORY, plan, samples=12)
    scores = [score(with_(each.mitigation)) for each in found.advice]
    assert scores == sorted(scores, reverse=True)


def test_nothing_is_advised_where_it_heals_by_itself_or_nothing_is_known() -> None:
    healed = cluster(network=ROUTED)
    unknown = replace(STORY, dns=None)
    for world in (healed, unknown):
        plan = plan_of(world)
        assert advised(rehearse(world, plan, samples=8), world, plan).advice == ()


def test_advice_is_given_where_only_dns_is_lost_for_long_on_nodes_that_are_not_cut() -> None:
    """Both kube-dns Pods are on the cut nodes: the others have none until these are evicted, 300 s later."""
    world = cluster(workers=4, network=ROUTED, control_plane=PRODUCTION)
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}), cut_for_s=480.0, horizon_s=1200.0)
    found = advised(rehearse(world, plan, samples=8), world, plan, samples=8)
    assert (found.verdict, passes(found)) == (Forecast.PASSED, 0.0)
    effects = {each.mitigation: (each.passes, each.effect) for each in found.advice}
    assert effects["nodelocal-dns"] == (0.0, NO_EFFECT)  # a cache doesn't keep the cluster's own names


def test_cache_on_each_node_does_not_shorten_an_outage_of_the_cluster_names() -> None:
    """The same cut with NodeLocal DNSCache: names outside the cluster resolve, which no plan should accept as DNS."""
    plain = cluster(workers=4, network=ROUTED, control_plane=PRODUCTION)
    cached = replace(plain, network=replace(ROUTED, nodelocal_dns=True))
    stale = replace(cached, dns_stale_s=3600.0)
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}), cut_for_s=480.0, horizon_s=1200.0)
    within = [rehearse(world, plan, samples=8).dns.dead_within(30.0)[0] for world in (plain, cached, stale)]
    assert within == [0.0, 0.0, 1.0]


def test_what_changes_nothing_says_so() -> None:
    pods = tuple(replace(pod, node="cp-1") if "coredns" in pod.name else pod for pod in STORY.pods)
    world = replace(STORY, pods=pods)
    plan = plan_of(world)
    found = advised(rehearse(world, plan, samples=8), world, plan, samples=8)
    effects = {each.mitigation: each.effect for each in found.advice}
    assert effects["longer-tolerations"] == NO_EFFECT


# -- caches and evictions ------------------------------------------------------------------------------------


def test_without_evictions_kube_dns_stays_where_it_is() -> None:
    assert rehearse(MANAGED, plan_of(MANAGED), samples=12).verdict is Forecast.DEVIATED
    found = with_("pause-evictions", MANAGED)
    assert found.verdict is Forecast.PASSED
    assert not any("evicted" in row for row in found.workloads.values())


def test_the_controller_manager_is_changed_and_changed_back() -> None:
    how = MITIGATIONS["pause-evictions"].how(MANAGED, plan_of(MANAGED)).splitlines()
    assert how[1].startswith("ssh cp-1 \"sudo sed -i 's/--controllers=[*]/&,-taint-eviction-controller/'")
    assert how[2].startswith("# undo: ssh cp-1 ")


def test_sidecars_find_istiod_by_a_name_that_expired() -> None:
    without = rehearse(CACHED, plan_of(CACHED), samples=12)
    found = with_("serve-stale", CACHED)
    assert without.mesh["stuck_pods"] > found.mesh["stuck_pods"]


def test_a_corefile_is_changed_in_its_first_cache() -> None:
    """As the command does it: the text is piped through awk."""
    how = MITIGATIONS["serve-stale"].how(CACHED, plan_of(CACHED))
    assert "configmap nodelocaldns" in how
    program = re.search(r"awk '([^']*)'", how)
    assert program
    corefile = (
        "cluster.local:53 {\n    cache {\n        success 9984 30\n    }\n}\n.:53 {\n    cache {\n    }\n}\n"
    )
    done = subprocess.run(["awk", program[1]], input=corefile, capture_output=True, text=True, check=True)
    assert stale_s(done.stdout) == 86400.0
    assert done.stdout.count("serve_stale") == 1


# -- workloads -----------------------------------------------------------------------------------------------


def quorum_lost(world: World, plan: Plan) -> float:
    found = rehearse(world, plan, samples=12)
    assert found.impact
    return found.impact.quorum_lost.likely


def template_of(command: str) -> tuple[str, Any]:
    """The workload that a patch is for, and what it changes of its Pods."""
    match = re.search(r"kubectl --namespace (\S+) patch (\S+ \S+) --type strategic --patch-file", command)
    assert match
    (patch,) = documents(command)
    return f"{match[1]} {match[2]}", patch["spec"]["template"]["spec"]


def test_a_quorum_that_tolerates_the_cut_is_kept() -> None:
    world = replace(etcd("worker-1", "worker-2", "worker-3", zones="abcd"), network=ROUTED)
    plan = plan_of(world)
    assert quorum_lost(world, plan) == pytest.approx(1.0)
    assert quorum_lost(mitigated(world, plan, ["workload-tolerations"]), plan) == 0
    about, spec = template_of(MITIGATIONS["workload-tolerations"].how(world, plan))
    assert about == "db statefulset etcd"
    assert [each["tolerationSeconds"] for each in spec["tolerations"]] == [3600, 3600]


def test_a_quorum_is_spread_over_the_domains_of_which_the_cut_takes_too_few() -> None:
    """Two of three members are on the node that is cut off: a node each leaves two."""
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}), cut_for_s=120.0, horizon_s=400.0)
    one = replace(plan, cut_nodes=frozenset({"worker-1"}))
    world = replace(TOGETHER, network=ROUTED)
    assert quorum_lost(world, one) == pytest.approx(1.0)
    changed = mitigated(world, one, ["workload-spread"])
    assert sorted(pod.node for pod in changed.pods if "etcd" in pod.name) == [
        "worker-1",
        "worker-2",
        "worker-3",
    ]
    assert quorum_lost(changed, one) == 0
    about, spec = template_of(MITIGATIONS["workload-spread"].how(world, one))
    assert about == "db statefulset etcd"
    (constraint,) = spec["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["labelSelector"] == {"matchLabels": {"app": "etcd"}}
    assert MITIGATIONS["workload-spread"].apply(world, plan) is world, (
        "two of four nodes may take two members"
    )


def test_a_zone_of_three_is_the_domain_before_a_node() -> None:
    world = etcd("worker-1", "worker-4", "worker-2", zones="abca")
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-4"}), cut_for_s=120.0, horizon_s=400.0)
    _, spec = template_of(MITIGATIONS["workload-spread"].how(world, plan))
    assert spec["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
    changed = mitigated(world, plan, ["workload-spread"])
    zones = {node.name: node.zone for node in changed.nodes}
    assert len({zones[pod.node] for pod in changed.pods if "etcd" in pod.name}) == 3


def test_an_operators_quorum_is_not_patched() -> None:
    owned = tuple(
        replace(pod, owner=pod.owner.replace("StatefulSet", "StrimziPodSet")) if "etcd" in pod.name else pod
        for pod in TOGETHER.pods
    )
    world = replace(TOGETHER, pods=owned)
    assert MITIGATIONS["workload-tolerations"].apply(world, plan_of(world)) is world


def test_sidecars_that_answer_for_services_make_dead_dns_partial_where_every_pod_has_one() -> None:
    """Not on worker-1, where istiod is, which has no sidecar."""
    plan = plan_of(MESHED)
    assert rehearse(MESHED, plan, samples=12).to_json()["dns"]["per_node"]["worker-2"]["after_heal"] == "dead"
    found = rehearse(mitigated(MESHED, plan, ["dns-capture"]), plan, samples=12)
    per_node = found.to_json()["dns"]["per_node"]
    assert (per_node["worker-1"]["after_heal"], per_node["worker-2"]["after_heal"]) == ("dead", "partial")
    assert found.verdict is Forecast.DEVIATED


def test_new_sidecars_still_look_up_istiod() -> None:
    plan = plan_of(MESHED)
    before = rehearse(MESHED, plan, samples=12).mesh["stuck_pods"]
    assert rehearse(mitigated(MESHED, plan, ["dns-capture"]), plan, samples=12).mesh["stuck_pods"] == before


def test_dns_proxying_is_turned_on_for_the_whole_mesh() -> None:
    how = MITIGATIONS["dns-capture"].how(MESHED, plan_of(MESHED))
    (made,) = documents(how)
    assert (made["kind"], made["metadata"]["namespace"]) == ("ProxyConfig", "istio-system")
    assert made["spec"]["environmentVariables"] == {"ISTIO_META_DNS_CAPTURE": "true"}
    assert "kubectl --namespace shop rollout restart deployment/catalog-1" in how.splitlines()


def test_what_was_tried_can_be_sent_from_another_process() -> None:
    every = tried(STORY, plan_of(STORY), samples=2)
    assert pickle.loads(pickle.dumps(every)) == every  # noqa: S301  # our own bytes
