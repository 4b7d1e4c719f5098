"""Each rule of the knowledge base: found where it is true, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator
from made_cluster import CP, DNS_IP, W1, W2, MadeCluster, at

from chaosext.diagnose.diagnosis_text import chain
from chaosext.diagnose.knowledge import all_rules
from chaosext.diagnose.root_causes import ClusterCondition, Diagnosis, diagnose

if TYPE_CHECKING:
    from collections.abc import Callable


def made(*changes: Callable[[MadeCluster], None]) -> Diagnosis:
    cluster = MadeCluster()
    for change in changes:
        change(cluster)
    return diagnose(cluster.sight())


def rules_of(found: Diagnosis) -> list[str]:
    return [root.cause.rule for root in found.roots]


def story(made: MadeCluster) -> None:
    """The incident, after the heal."""
    made.move_dns(CP)
    made.measure()
    made.fail("dns_resolvable", f"Node/{W1} →")
    made.fail("dns_resolvable", f"Node/{W2} →")
    made.fail("xds_synced", "cart", "absent from every istiod's list")
    for pod in made.pods_of("cart-"):
        made.unready(pod, "istio-proxy")
        refused = (
            'Startup probe failed: Get "http://10.244.1.9:15021/healthz/ready": connect: connection refused'
        )
        made.event("Unhealthy", f"Pod/shop/{pod['metadata']['name']}", refused, ago=20)
    made.available("Deployment", "cart", 0)


def leaf_down(made: MadeCluster) -> None:
    made.fail("nodes_reach_pods", f"Node/{W1} → Pods", "10.244.2.6:80 timed out")
    made.fail("bgp_established", "", "Active")
    made.fail("dns_resolvable", f"Node/{W1} →", "2 of 4 answered: 2 timed out")
    made.fail("dns_resolvable", f"Node/{W2} →", "2 of 4 answered: 2 timed out")


def fabric_drops_pods(made: MadeCluster) -> None:
    made.fail("nodes_reach_pods", f"Pods on Node/{W2}", "10.244.2.6:80 timed out")
    made.fail("dns_resolvable", f"Node/{W1} → {DNS_IP}", "2 of 4 answered: 2 timed out")


def peers_selected_by_a_lost_label(made: MadeCluster) -> None:
    made.find("BGPPeer", "leaf")["spec"] = {"peerSelector": "has(route-reflector)"}
    made.checks["bgp_established"] = [("BGPPeer", "unhealthy", "no node has a BGP peer")]
    made.fail("dns_resolvable", f"Node/{W1} →")


def cut_off(made: MadeCluster) -> None:
    for node in (W1, W2):
        made.lose(node)
        made.sights[node]["api"] = "timed out"
    for name, lost in (("cart", 0), ("coredns", 0), ("istiod", 0)):
        made.available("Deployment", name, lost)
    made.available("DaemonSet", "calico-node", 1)


def own_cut(made: MadeCluster) -> None:
    cut_off(made)
    made.sights[CP]["cuts"] = [{"run": "20261130-1", "remaining_s": 61, "dropped_packets": 1234}]


def istiod_scaled_to_zero(made: MadeCluster) -> None:
    made.remove("Pod", "istiod-")
    made.find("Deployment", "istiod")["spec"]["replicas"] = 0
    made.available("Deployment", "istiod", 0)
    made.find("Deployment", "istiod")["status"]["conditions"] = []
    made.fail("xds_synced", "cart", "no istiod is ready")


def injector_fails_closed(made: MadeCluster) -> None:
    for pod in made.pods_of("istiod-"):
        made.unready(pod, waiting="CrashLoopBackOff")
    made.available("Deployment", "istiod", 0)
    made.remove("Pod", "cart-1")
    made.available("Deployment", "cart", 1)
    made.fail("xds_synced", "cart", "no istiod is ready")
    made.checks["xds_synced"] = made.checks["xds_synced"][:1]
    made.add(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        {"name": "istio-sidecar-injector"},
        webhooks=[
            {
                "name": "namespace.sidecar-injector.istio.io",
                "failurePolicy": "Fail",
                "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod"}},
            }
        ],
    )
    failed = (
        'Error creating: Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": '
        'failed to call webhook: Post "https://istiod.istio-system.svc:443/inject": connect: connection refused'
    )
    made.event("FailedCreate", "ReplicaSet/shop/cart-66bc", failed, ago=60)


def webhook_of_others(made: MadeCluster) -> None:
    made.service("policy", "guard", {"app": "guard"}, "10.2.112.40")
    made.remove("Pod", "cart-1")
    made.available("Deployment", "cart", 1)
    made.measure()
    made.event(
        "FailedCreate",
        "ReplicaSet/shop/cart-66bc",
        'Error creating: failed calling webhook "check.guard.io": no endpoints available for service "guard"',
        ago=60,
    )


def stale_conntrack(made: MadeCluster) -> None:
    flow = {"client": "10.244.1.8", "service": DNS_IP, "endpoint": "10.244.0.99"}
    made.sights[W1]["stuck"] = [flow]


def stale_nat(made: MadeCluster) -> None:
    made.sights[W2]["nat"] = {"kube-system/kube-dns:dns": ["10.244.0.77:53"]}
    made.fail("dns_resolvable", f"Node/{W2} → {DNS_IP}")


def nodelocal_down(made: MadeCluster) -> None:
    made.workload(
        "DaemonSet",
        "kube-system",
        "node-local-dns",
        {"k8s-app": "node-local-dns"},
        [CP, W1, W2],
        created=9000,
    )
    made.unready(made.pods_of("node-local-dns-1")[0], waiting="CrashLoopBackOff")
    made.available("DaemonSet", "node-local-dns", 2)


def coredns_crash_loops(made: MadeCluster) -> None:
    for pod in made.pods_of("coredns-"):
        made.unready(pod, waiting="CrashLoopBackOff")
        pod["status"]["containerStatuses"][0]["lastState"] = {
            "terminated": {"reason": "Error", "exitCode": 1}
        }
    made.available("Deployment", "coredns", 0)
    made.fail("dns_resolvable", "")


def coredns_scaled_to_zero(made: MadeCluster) -> None:
    made.remove("Pod", "coredns-")
    made.find("Deployment", "coredns")["spec"]["replicas"] = 0
    made.measure()
    made.fail("dns_resolvable", f"→ {DNS_IP}")


def coredns_overloaded(made: MadeCluster) -> None:
    made.fail("dns_resolvable", "", "3 of 4 answered: 1 timed out")


def load_balancer_lost(made: MadeCluster) -> None:
    cut_off(made)
    for node in (CP, W1, W2):
        made.sights[node] |= {"api_server": "https://172.18.0.7:6443", "api": "refused"}
    made.lose(CP)


def etcd_without_quorum(made: MadeCluster) -> None:
    made.sights[CP] |= {"failing": ["etcd"], "serves": True}


def quorum_lost_at_the_heal(made: MadeCluster) -> None:
    made.workload("StatefulSet", "shop", "vault", {"app": "vault"}, [W1, W1, W2], created=100)
    for pod in made.pods_of("vault-"):
        made.unready(pod, ago=95)
    made.available("StatefulSet", "vault", 0)
    for node in (W1, W2):
        made.event("NodeReady", f"Node/{node}", "Node is Ready", ago=110, kind="Normal")


def unreachable_from_here(made: MadeCluster) -> None:
    made.api = "timed out"
    made.missed = dict.fromkeys(made.objects, "timed out")


BROKEN = {
    "kube_dns_unreachable": story,
    "bgp_sessions_down": leaf_down,
    "bgp_sessions_down, no peers": peers_selected_by_a_lost_label,
    "pods_unreachable": fabric_drops_pods,
    "nodes_cut_off": cut_off,
    "own_cut": own_cut,
    "sidecars_without_istiod": istiod_scaled_to_zero,
    "webhook_fails_closed, of others": webhook_of_others,
    "stale_conntrack": stale_conntrack,
    "stale_nat": stale_nat,
    "nodelocal_down": nodelocal_down,
    "coredns_unhealthy": coredns_crash_loops,
    "coredns_unhealthy, scaled": coredns_scaled_to_zero,
    "coredns_unhealthy, overloaded": coredns_overloaded,
    "api_load_balancer_lost": load_balancer_lost,
    "quorum_lost": etcd_without_quorum,
    "quorum_lost, workload": quorum_lost_at_the_heal,
    "api_out_of_reach": unreachable_from_here,
}


SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schemas/diagnosis.schema.json").read_text()))


@pytest.mark.parametrize("name", BROKEN)
def test_incident_is_written_as_the_schema_says(name: str) -> None:
    found = json.loads(json.dumps(made(BROKEN[name]).to_json()))
    assert [f"{each.json_path}: {each.message}" for each in SCHEMA.iter_errors(found)] == []


@pytest.mark.parametrize("name", BROKEN)
def test_incident_has_its_one_root_cause_and_leaves_no_symptom(name: str) -> None:
    found = made(BROKEN[name])
    assert rules_of(found) == [name.partition(",")[0]]
    assert found.unexplained == ()
    assert found.condition is ClusterCondition.EXPLAINED


def test_injector_without_istiod_is_a_link_and_not_a_root() -> None:
    found = made(injector_fails_closed)
    assert rules_of(found) == ["sidecars_without_istiod"]
    assert "webhook_fails_closed" in [each.rule for each in found.roots[0].led_to]
    assert found.condition is ClusterCondition.EXPLAINED


def test_story_shows_the_whole_chain_the_right_command_and_who_is_affected() -> None:
    (root,) = made(story).roots
    assert [each.rule for each in root.led_to] == ["probes_refused", "sidecars_without_istiod"]
    assert (
        "kubectl --context kind-x -n kube-system delete pod -l k8s-app=kube-dns"
        in root.cause.fixes[0].command
    )
    assert f"cordon {CP}" in root.cause.fixes[0].command
    assert "Deployment/shop/cart" in root.affected


def test_kube_dns_scaled_to_zero_is_scaled_up_also_while_its_pods_still_end() -> None:
    def ending(cluster: MadeCluster) -> None:
        coredns_crash_loops(cluster)
        cluster.find("Deployment", "coredns")["spec"]["replicas"] = 0

    assert "scale deploy/coredns --replicas=2" in made(ending).roots[0].cause.fixes[0].command


def test_evictions_name_the_time_that_kube_dns_has_left() -> None:
    (root,) = made(cut_off).roots
    (link,) = (each for each in root.led_to if each.rule == "evictions")
    assert "kube-dns in 3m50s" in link.said
    assert "empty_endpoints" in [each.rule for each in root.led_to]


def test_own_cut_is_never_blamed_on_the_network() -> None:
    found = made(own_cut)
    assert "chaosext's own run 20261130-1" in found.roots[0].cause.said
    assert found.roots[0].cause.fixes[0].command == "chaosext abort --run 20261130-1"


def test_story_begins_with_the_nodes_that_did_not_report() -> None:
    def with_events(cluster: MadeCluster) -> None:
        story(cluster)
        cluster.event("NodeNotReady", f"Node/{W1}", "Node is not ready", ago=260)
        cluster.event("NodeNotReady", "Pod/shop/cart-0", "Node is not ready", ago=260)
        cluster.event("NodeReady", f"Node/{W1}", "Node is ready", ago=150)

    found = made(with_events)
    first, *_, last = [line for line in chain(found.roots[0], found) if line[:2].isdecimal()]
    assert first == "11:55:40 w1 did not report (NodeNotReady)"
    assert last.startswith("11:57:30 the nodes report again")


def cordon_workers(made: MadeCluster) -> None:
    for node in (W1, W2):
        made.find("Node", node)["spec"]["unschedulable"] = True


def test_kube_dns_is_not_moved_to_where_nobody_reaches_it_either() -> None:
    found = made(story, cordon_workers)
    assert found.roots[0].cause.fixes[0].command == ""


def test_reach_that_nothing_proves_is_unsettled() -> None:
    def without_objects(cluster: MadeCluster) -> None:
        story(cluster)
        cluster.blind_to_nodes()
        cluster.missed = {"BGPPeer": "missing permission"}

    found = made(without_objects)
    assert "kube_dns_unreachable" not in rules_of(found)
    assert found.condition is ClusterCondition.UNEXPLAINED
    assert any("kube-dns" in each.what for each in found.unsettled)


def test_unrelated_failure_beside_a_cause_stays_unexplained() -> None:
    def and_an_image(cluster: MadeCluster) -> None:
        story(cluster)
        cluster.workload("Deployment", "dev", "job", {"app": "job"}, [W1], created=4000)
        cluster.unready(cluster.pods_of("job-")[0], waiting="ImagePullBackOff")
        cluster.available("Deployment", "job", 0)

    found = made(and_an_image)
    assert found.condition is ClusterCondition.UNEXPLAINED
    assert [each.subject for each in found.unexplained] == ["Deployment/dev/job"]
    assert rules_of(found) == ["kube_dns_unreachable"]


def test_stuck_sidecars_alone_have_no_known_cause() -> None:
    def stuck(cluster: MadeCluster) -> None:
        cluster.fail("xds_synced", "cart", "absent from every istiod's list")

    found = made(stuck)
    assert found.roots == ()
    assert found.condition is ClusterCondition.UNEXPLAINED


def test_old_event_of_a_webhook_is_no_cause() -> None:
    def old(cluster: MadeCluster) -> None:
        webhook_of_others(cluster)
        cluster.available("Deployment", "cart", 2)
        cluster.pod(
            "shop",
            "cart-9",
            W2,
            {"app": "cart"},
            {"kind": "ReplicaSet", "name": "cart-66bc", "controller": True},
        )

    assert made(old).condition is ClusterCondition.HEALTHY


def test_every_rule_names_its_source_and_has_an_incident() -> None:
    covered = {name.partition(",")[0] for name in BROKEN}
    links = {"evictions", "empty_endpoints", "probes_refused", "webhook_fails_closed"}
    assert {rule.name for rule in all_rules()} == covered | links
    assert all(rule.source and rule.title for rule in all_rules())


def test_timings_of_lost_nodes_are_dated_from_their_last_renewal() -> None:
    found = made(cut_off)
    assert found.roots[0].cause.since is not None
    assert found.roots[0].cause.since.isoformat() == at(120).replace("Z", "+00:00")
