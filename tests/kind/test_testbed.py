"""The running testbed, seen from outside: is it the one of the story, and is a second `up` only a look?"""

import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHAOSEXT = str(Path(sys.executable).parent / "chaosext")
NAME = os.environ.get("CHAOSEXT_TESTBED", "chaosext")
CONTROL_PLANE = f"{NAME}-control-plane"
LEAF = f"{NAME}-leaf"
POD_SUBNET = "10.244.0.0/16"

pytestmark = pytest.mark.kind


def command(*words, check=True):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=check)


def kubectl(*words):
    return command(
        "docker", "exec", CONTROL_PLANE, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *words
    ).stdout


def pods(namespace, selector=""):
    return json.loads(kubectl("get", "pods", f"--namespace={namespace}", f"--selector={selector}", "-ojson"))[
        "items"
    ]


def pod_routes(container):
    """Destination -> gateway ("" when there is none) of a container's ways to Pods; black holes lead nowhere."""
    listed = json.loads(command("docker", "exec", container, "ip", "-json", "route").stdout)
    return {
        each["dst"]: each.get("gateway", "")
        for each in listed
        if each["dst"].startswith("10.244.") and each.get("type") != "blackhole"
    }


def bgp_routes(container):
    """Those of single blocks, without the way to the whole Pod network through the leaf."""
    return {dst: gateway for dst, gateway in pod_routes(container).items() if dst != POD_SUBNET}


@pytest.fixture(scope="module")
def status():
    shown = command(CHAOSEXT, "testbed", "status", f"--name={NAME}", "--json", check=False)
    if shown.returncode not in (0, 10):
        pytest.skip(f"no testbed {NAME} (chaosext testbed up): {shown.stderr.strip()}")
    return json.loads(shown.stdout)


def images(status):
    """The option with which `up` finds the images that the testbed was brought up with."""
    return "--images=registry" if status["record"]["images"] == "registry" else "--images=auto"


def workers(status):
    return [node for node in status["nodes"] if node["role"] == "worker"]


def test_the_steady_state_holds(status):
    assert status["missing"] == []
    assert status["steady"] is True


def test_kube_dns_has_the_storys_address_and_stands_on_different_workers(status):
    assert (
        kubectl("get", "service", "kube-dns", "-nkube-system", "-ojsonpath={.spec.clusterIP}")
        == "10.2.112.10"
    )
    places = [pod["spec"]["nodeName"] for pod in pods("kube-system", "k8s-app=kube-dns")]

    assert set(places) <= {node["name"] for node in workers(status)}
    assert len(set(places)) == min(2, len(workers(status)))


def test_workers_reach_each_others_pods_directly_because_the_next_hop_is_kept(status):
    leaf_ip = status["leaf_ip"]
    for node in workers(status):
        gateways = {gateway for gateway in bgp_routes(node["name"]).values() if gateway}
        assert gateways
        assert leaf_ip not in gateways


def test_nobody_has_a_route_to_the_control_planes_pods(status):
    affinities = json.loads(kubectl("get", "blockaffinities.crd.projectcalico.org", "-ojson"))["items"]
    own = [
        ipaddress.ip_network(each["spec"]["cidr"])
        for each in affinities
        if each["spec"]["node"] == CONTROL_PLANE
    ]
    for container in (LEAF, *(node["name"] for node in workers(status))):
        known = [ipaddress.ip_network(each) for each in bgp_routes(container)]
        assert not [block for block in own for route in known if route.overlaps(block)]


def test_every_nodes_way_to_unknown_pods_leads_through_the_leaf_and_survives_a_restart(status):
    for node in status["nodes"]:
        assert pod_routes(node["name"])[POD_SUBNET] == status["leaf_ip"]
        enabled = command(
            "docker", "exec", node["name"], "systemctl", "is-enabled", "chaosext-pod-route.service"
        )
        assert enabled.stdout.strip() == "enabled"


def test_the_shop_is_meshed_and_its_clients_are_not():
    def containers(pod):
        return {each["name"] for each in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", []))}

    assert all("istio-proxy" in containers(pod) for pod in pods("shop"))
    assert not any("istio-proxy" in containers(pod) for pod in pods("clients"))


def test_there_is_more_than_one_replica_of_each_service_per_worker(status):
    for service in ("storefront", "catalog"):
        assert len(pods("shop", f"app={service}")) == 2 * len(workers(status))


def test_an_unmeshed_client_is_served_by_a_service_that_calls_the_other():
    (pod, *_) = pods("clients")
    line = json.loads(kubectl("logs", "-nclients", pod["metadata"]["name"], "--tail=1"))

    assert line["status"] == 200
    assert line["url"].endswith("/call")


def test_calico_lives_through_its_own_probes():
    """Kubelet says so when it kills for a probe; such a container ends in 137 or 143.

    A restart of the node (255), or a start while no API server answers (1), is no failed probe.
    """
    statuses = [
        status
        for pod in pods("kube-system", "k8s-app=calico-node")
        for status in pod["status"]["containerStatuses"]
    ]
    ends = {status.get("lastState", {}).get("terminated", {}).get("exitCode") for status in statuses}
    killed = kubectl("get", "events", "-nkube-system", "--field-selector=reason=Killing", "-ojson")

    assert statuses
    assert not ends & {137, 143}
    assert not [
        event["message"]
        for event in json.loads(killed)["items"]
        if event["involvedObject"]["name"].startswith("calico-node") and "liveness" in event["message"]
    ]


def test_up_again_only_looks(status):
    before = {pod["metadata"]["uid"] for pod in pods("kube-system")}
    started = time.monotonic()
    again = command(CHAOSEXT, "testbed", "up", f"--name={NAME}", images(status))

    assert "up and steady" in again.stderr
    assert time.monotonic() - started < 15
    assert {pod["metadata"]["uid"] for pod in pods("kube-system")} == before


def test_another_configuration_is_refused_with_the_difference_and_the_fix(status):
    options = (f"--name={NAME}", images(status), "--workers=7")
    refused = command(CHAOSEXT, "testbed", "up", *options, check=False)

    assert refused.returncode == 20
    assert "→ 7" in refused.stderr
    assert f"chaosext testbed down --name {NAME}" in refused.stderr


def test_a_standalone_kubeconfig_reaches_the_cluster_from_outside(tmp_path):
    from kubernetes import client, config

    path = tmp_path / "kubeconfig"
    path.write_text(command(CHAOSEXT, "testbed", "kubeconfig", f"--name={NAME}").stdout)
    with config.new_client_from_config(str(path)) as api:
        names = [node.metadata.name for node in client.CoreV1Api(api).list_node(_request_timeout=10).items]

    assert CONTROL_PLANE in names
