"""kube-dns on the testbed: the mitigations are those that a rehearsal recommends, and its Pods have their places."""

from __future__ import annotations

import json

import pytest
from recommended_changes import recommended

from chaosext.testbed import dns_install
from chaosext.testbed.bed_choices import StoryMitigation
from chaosext.testbed.bed_options import make_options

DEPLOYMENT = {
    "metadata": {"name": "coredns", "labels": {"k8s-app": "kube-dns"}, "uid": "1"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
        "template": {
            "metadata": {"labels": {"k8s-app": "kube-dns"}, "creationTimestamp": None},
            "spec": {
                "containers": [{"name": "coredns", "image": "coredns:1"}],
                "affinity": {"podAntiAffinity": {}},
            },
        },
    },
}


@pytest.mark.parametrize("name", ["dns-affinity", "longer-tolerations", "spread"])
def test_a_mitigation_is_the_change_that_a_rehearsal_recommends(name):
    assert dns_install.deployment_patch((StoryMitigation(name),)) == recommended(name)


def test_several_mitigations_are_one_patch():
    patch = dns_install.deployment_patch((StoryMitigation.DNS_AFFINITY, StoryMitigation.SPREAD))

    assert patch is not None
    assert set(patch["spec"]["template"]["spec"]) == {"affinity", "topologySpreadConstraints"}


@pytest.mark.parametrize("name", ["pause-evictions", "nodelocal-dns", "dns-capture"])
def test_other_mitigations_leave_the_deployment_alone(name):
    assert dns_install.deployment_patch((StoryMitigation(name),)) is None
    assert dns_install.deployment_patch_json((StoryMitigation(name),)) == ""


def test_a_daemon_set_has_the_deployments_pods_and_is_never_evicted():
    before = json.dumps(DEPLOYMENT)
    made = dns_install.daemon_set(DEPLOYMENT, everywhere=True)
    pod = made["spec"]["template"]["spec"]

    assert (made["kind"], made["metadata"]["name"]) == ("DaemonSet", "coredns")
    assert made["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]
    assert pod["containers"] == DEPLOYMENT["spec"]["template"]["spec"]["containers"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "affinity" not in pod
    assert json.dumps(DEPLOYMENT) == before


def test_a_daemon_set_avoids_nodes_that_no_other_node_reaches():
    pod = dns_install.daemon_set(DEPLOYMENT, everywhere=False)["spec"]["template"]["spec"]

    assert pod["affinity"] == dns_install.off_control_plane()


CONTROL_PLANES, WORKERS = (
    ["bed-control-plane", "bed-control-plane2"],
    ["bed-worker", "bed-worker2", "bed-worker3"],
)
PEERED = ["bgp-on-control-plane"]


@pytest.mark.parametrize(
    ("dns", "mitigations", "nodes", "wanted"),
    [
        ("coredns", [], WORKERS, 2),
        ("nodelocal", [], WORKERS, 2),
        ("dns-daemonset", [], WORKERS, 3),
        ("dns-daemonset", PEERED, [*WORKERS, *CONTROL_PLANES], 5),
        ("on-control-plane", PEERED, ["bed-control-plane"], 1),
    ],
)
def test_kube_dns_belongs_where_the_choice_says(dns, mitigations, nodes, wanted):
    options = make_options(dns=dns, mitigations=mitigations)
    homes = dns_install.homes_of(options, CONTROL_PLANES, WORKERS)

    assert (homes.nodes, homes.wanted) == (frozenset(nodes), wanted)
