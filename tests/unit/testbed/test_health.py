"""What keeps a testbed from its steady state is named, thing by thing; nothing unknown counts as well."""

import pytest

from chaosext.nodes.frr import Peer
from chaosext.testbed.bed_options import recorded_options
from chaosext.testbed.bed_sessions import BedSessions
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.health import expected_workloads, make_status

NODES = {"bed-control-plane": "172.18.0.2", "bed-worker": "172.18.0.3", "bed-worker2": "172.18.0.4"}


def container(name):
    role = "control-plane" if "control" in name else "worker"
    return NodeContainer(
        name=name, role=role, running=True, image="node:1", ipv4=NODES[name], on_kind_network=True, labels={}
    )


def node(name, *, ready="True", cordoned=False):
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name, where, *, ready="True", labels=None, deleted=None):
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "kube-system",
            "name": name,
            "labels": labels or {},
            "deletionTimestamp": deleted,
        },
        "spec": {"nodeName": where},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "message": "why not"}],
        },
    }


def dns(name, where, **more):
    return pod(name, where, labels={"k8s-app": "kube-dns"}, **more)


def workload(space, name, *, ready=2, desired=2):
    kind = "DaemonSet" if name == "calico-node" else "Deployment"
    status = {"numberReady": ready, "desiredNumberScheduled": desired} if kind == "DaemonSet" else {}
    return {
        "kind": kind,
        "metadata": {"namespace": space, "name": name},
        "spec": {"replicas": desired},
        "status": status or {"readyReplicas": ready},
    }


def steady_objects(**record):
    return {
        **{name: node(name) for name in NODES},
        "dns-a": dns("dns-a", "bed-worker"),
        "dns-b": dns("dns-b", "bed-worker2"),
        **{name: workload(space, name) for space, name in expected_workloads(recorded_options(record))},
    }


def established():
    return {ip: Peer(ip=ip, states=("Established",), prefixes=1) for ip in ("172.18.0.3", "172.18.0.4")}


def status(objects=None, bgp=None, **record):
    return make_status(
        [each for each in (objects or steady_objects(**record)).values() if each],
        BedSessions(by_leaf=established() if bgp is None else bgp),
        name="bed",
        leaf_ip="172.18.0.5",
        record={"timings": "accelerated", **record},
        containers=[container(name) for name in NODES],
    )


def test_the_steady_state_misses_nothing():
    found = status()

    assert found.missing == ()
    assert found.steady
    assert found.to_json()["steady"] is True
    assert [each.bgp for each in found.nodes] == ["none by design", "Established", "Established"]


def test_a_network_without_agent_and_sessions_misses_neither():
    objects = {name: each for name, each in steady_objects().items() if name != "calico-node"}

    found = status(objects, bgp={}, network="macvlan")

    assert found.missing == ()
    assert {each.bgp for each in found.nodes} == {"none by design"}


def test_the_agent_of_the_recorded_network_is_missed():
    found = status(steady_objects(), bgp={}, network="flannel")

    assert "kube-flannel/kube-flannel-ds does not exist" in found.missing


@pytest.mark.parametrize(
    ("name", "instead", "said"),
    [
        ("bed-worker", None, "node bed-worker is not Ready"),
        ("bed-worker", node("bed-worker", ready="Unknown"), "node bed-worker is not Ready"),
        ("bed-control-plane", node("bed-control-plane", cordoned=True), "node bed-control-plane is cordoned"),
        ("dns-b", dns("dns-b", "bed-control-plane"), "kube-dns Pod dns-b is on bed-control-plane"),
        ("dns-b", dns("dns-b", "bed-worker"), "kube-dns is ready on 1 of 2 workers"),
        ("dns-b", dns("dns-b", "bed-worker2", ready="False"), "Pod kube-system/dns-b is not Ready: why not"),
        (
            "dns-b",
            dns("dns-b", "bed-worker2", deleted="2026-01-01T00:00:00Z"),
            "kube-dns is ready on 1 of 2 workers",
        ),
        ("istiod", None, "istio-system/istiod does not exist"),
        ("storefront", workload("shop", "storefront", ready=1), "shop/storefront has 1 of 2 Pods ready"),
        ("client", workload("clients", "client", ready=0, desired=0), "clients/client has 0 of 0 Pods ready"),
    ],
)
def test_whatever_is_not_as_it_should_be_is_named(name, instead, said):
    assert said in status({**steady_objects(), name: instead}).missing


@pytest.mark.parametrize("state", ["Active", "Idle", "OpenConfirm"])
def test_a_worker_without_an_established_session_is_named(state):
    bgp = {**established(), "172.18.0.4": Peer(ip="172.18.0.4", states=(state,), prefixes=0)}

    (line,) = status(bgp=bgp).missing
    assert "bed-worker2" in line
    assert state in line


def test_a_silent_leaf_is_not_a_healthy_one():
    assert len(status(bgp={}).missing) == 2


def test_what_a_job_has_left_is_no_pod_that_is_missing():
    failed = pod("night-x", "bed-worker", ready="False")
    failed["status"]["phase"] = "Failed"
    bare = {**failed, "metadata": {**failed["metadata"]}}
    failed["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "night", "controller": True}]

    assert status({**steady_objects(), "night-x": failed}).missing == ()
    assert status({**steady_objects(), "night-x": bare}).missing != ()


def test_a_testbed_without_a_mesh_misses_no_istiod():
    objects = steady_objects(mesh="none", sidecars="none")

    assert "istiod" not in objects
    assert status(objects, mesh="none", sidecars="none").steady
    assert not status(objects).steady


def test_a_missing_cache_is_named_where_pods_ask_it():
    assert "kube-system/node-local-dns does not exist" in status(steady_objects(), dns="nodelocal").missing


def test_kube_dns_on_the_control_plane_is_steady_where_it_belongs_there():
    peered = {"dns": "on-control-plane", "mitigations": "bgp-on-control-plane"}
    bgp = {ip: Peer(ip=ip, states=("Established",), prefixes=1) for ip in NODES.values()}
    there = {name: dns(name, "bed-control-plane") for name in ("dns-a", "dns-b")}

    assert status({**steady_objects(**peered), **there}, bgp, **peered).steady
    assert "kube-dns Pod dns-a is on bed-worker" in status(bgp=bgp, **peered).missing


def test_a_control_plane_node_that_should_peer_and_does_not_is_named():
    (line,) = status(mitigations="bgp-on-control-plane").missing

    assert "bed-control-plane (172.18.0.2) is not Established" in line
