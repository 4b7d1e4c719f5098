"""The node's DNS cache: what is recommended, with plain CoreDNS and without what only NodeLocal DNSCache can do."""

from __future__ import annotations

import re

import pytest

from chaosext.rehearsal.mitigate.nodelocal_dns import LOCAL_IP, manifests
from chaosext.rehearsal.snapshot.dns_detection import is_node_cache_config, stale_s
from chaosext.testbed import config, node_local_cache
from chaosext.testbed.node_local_cache import cache_objects
from hack.images.recipes import COREDNS_PLUGINS

SUBNET = "10.2.112.0/20"


def objects(*, serves_stale=False):
    made = cache_objects(service_subnet=SUBNET, image="coredns:1", serves_stale=serves_stale)
    return {each["kind"]: each for each in made}


def corefile(**more):
    return objects(**more)["ConfigMap"]["data"]["Corefile"]


def test_pods_ask_the_address_that_kubelets_hand_out():
    assert config.KUBELET_PATCH["clusterDNS"] == [LOCAL_IP]
    assert set(re.findall(r"bind (.*)", corefile())) == {LOCAL_IP}
    assert f"{LOCAL_IP}/32 dev lo" in node_local_cache.ADDRESS_SCRIPT


def test_cluster_names_are_forwarded_to_kube_dns_pods_and_others_to_the_nodes_resolver():
    upstream = objects()["Service"]

    assert upstream["spec"]["clusterIP"] == "10.2.112.11"
    assert upstream["spec"]["selector"] == {"k8s-app": "kube-dns"}
    assert re.findall(r"forward \. (\S+)", corefile()) == ["10.2.112.11"] * 3 + ["/etc/resolv.conf"]
    assert "__PILLAR__" not in corefile()


@pytest.mark.parametrize(("serves_stale", "stale"), [(False, 0.0), (True, 86_400.0)])
def test_expired_names_are_served_only_if_asked_for(serves_stale, stale):
    assert stale_s(corefile(serves_stale=serves_stale)) == stale


def test_a_rehearsal_recognizes_the_cache():
    assert is_node_cache_config(objects()["ConfigMap"]["metadata"]["name"])
    assert objects()["DaemonSet"]["metadata"]["name"] == node_local_cache.WORKLOAD[1]


def test_the_testbeds_coredns_has_every_plugin_of_the_cache():
    lines = [line.strip() for line in corefile(serves_stale=True).splitlines()]
    inside = {"success", "denial", "serve_stale", "force_tcp", "}"}
    words = {line.split()[0] for line in lines if line and not line.endswith(":53 {")} - inside

    assert words <= {directive for directive, _ in COREDNS_PLUGINS}


def test_the_cache_runs_wherever_the_recommended_one_would():
    recommended = manifests("10.2.112.10", {"k8s-app": "kube-dns"})["items"][-1]["spec"]["template"]["spec"]
    pod = objects()["DaemonSet"]["spec"]["template"]["spec"]
    differing = {key for key in recommended if pod[key] != recommended[key]}

    assert differing == {"containers", "volumes"}
    assert [each["image"] for each in pod["containers"]] == ["coredns:1"]


def test_making_the_objects_twice_gives_the_same():
    assert objects() == objects()
