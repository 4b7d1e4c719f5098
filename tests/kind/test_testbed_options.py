"""What `testbed up` was asked for is what runs: mesh, DNS and mitigations, by the testbed's own record.

For another choice bring up another testbed, such as `chaosext testbed up --name dns --dns nodelocal`, with
`CHAOSEXT_TESTBED=dns`; what a test needs and the testbed lacks, it skips.
"""

from __future__ import annotations

import json

import pytest

from chaosext.testbed import dns_install, node_local_cache
from chaosext.testbed.bed_choices import DnsChoice, StoryMitigation
from chaosext.testbed.bed_options import BedOptions, recorded_options
from chaosext.testbed.containers import find_container
from chaosext.testbed.leaf import leaf_name, recorded

from .conftest import NAME, docker, kubectl, node_names


@pytest.fixture(scope="module")
def options() -> BedOptions:
    leaf = find_container(leaf_name(NAME))
    assert leaf is not None
    return recorded_options(recorded(leaf) or {})


def listed(*words: str) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(kubectl("get", *words, "-ojson"))["items"]


def nameservers(namespace: str, pod: str) -> list[str]:
    """The servers in a Pod's resolv.conf, read on its node, as the images have no shell."""
    found = json.loads(kubectl("get", "pod", pod, f"-n{namespace}", "-ojson"))
    node, status = found["spec"]["nodeName"], found["status"]["containerStatuses"][0]
    container = status["containerID"].removeprefix("containerd://")
    tasks = docker("exec", node, "ctr", "--namespace=k8s.io", "tasks", "list").splitlines()
    (pid,) = (line.split()[1] for line in tasks if line.startswith(container))
    text = docker("exec", node, "cat", f"/proc/{pid}/root/etc/resolv.conf")
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]


def test_pods_ask_the_cache_on_their_node_where_there_is_one_or_else_kube_dns(options: BedOptions) -> None:
    service = kubectl("get", "service", "kube-dns", "-nkube-system", "-ojsonpath={.spec.clusterIP}")
    client = listed("pods", "-nclients")[0]["metadata"]["name"]

    wanted = "169.254.20.10" if options.caches_on_nodes else service
    assert nameservers("clients", client) == [wanted]


def test_every_node_has_its_cache(options: BedOptions) -> None:
    if not options.caches_on_nodes:
        pytest.skip("this testbed has no cache on its nodes")
    space, name = node_local_cache.WORKLOAD
    pods = listed("pods", f"-n{space}", f"-lk8s-app={name}")
    corefile = kubectl("get", "configmap", name, f"-n{space}", "-ojsonpath={.data.Corefile}")

    assert {each["spec"]["nodeName"] for each in pods} == set(node_names())
    assert ("serve_stale" in corefile) is (options.dns_in_force is DnsChoice.NODELOCAL_SERVE_STALE)


def test_kube_dns_is_the_workload_that_was_chosen(options: BedOptions) -> None:
    kinds = {
        kind
        for kind in ("deployment", "daemonset")
        if kubectl("get", kind, dns_install.DEPLOYMENT, "-nkube-system", "--ignore-not-found", "-oname")
    }

    is_daemon_set = options.dns_in_force is DnsChoice.DNS_DAEMONSET
    assert kinds == {"daemonset" if is_daemon_set else "deployment"}


def test_kube_dns_pods_have_the_mitigations(options: BedOptions) -> None:
    if not (patch := dns_install.deployment_patch(options.mitigations)):
        pytest.skip("this testbed has no mitigation of kube-dns' template")
    spec = json.loads(kubectl("get", *dns_install.TARGET[:2], "-nkube-system", "-ojson"))["spec"]["template"][
        "spec"
    ]

    for field, value in patch["spec"]["template"]["spec"].items():
        assert spec[field] == value


def test_sidecars_are_of_the_kind_that_was_chosen(options: BedOptions) -> None:
    pods = [each["spec"] for each in listed("pods", "-nshop")]
    beside = [any(c["name"] == "istio-proxy" for c in each["containers"]) for each in pods]
    before = [any(c["name"] == "istio-proxy" for c in each.get("initContainers", [])) for each in pods]

    is_native = options.sidecars.value == "native"
    assert all(before) is (options.is_meshed and is_native)
    assert all(beside) is (options.is_meshed and not is_native)
    assert (
        bool(kubectl("get", "namespace", "istio-system", "--ignore-not-found", "-oname")) is options.is_meshed
    )


def test_sidecars_answer_lookups_only_where_that_was_chosen(options: BedOptions) -> None:
    if not options.is_meshed:
        pytest.skip("this testbed has no mesh")
    texts = [json.dumps(each["spec"]) for each in listed("pods", "-nshop")]

    assert all("ISTIO_META_DNS_CAPTURE" in each for each in texts) is options.captures_dns


def test_evictions_are_paused_only_where_that_was_chosen(options: BedOptions) -> None:
    (manager,) = listed("pods", "-nkube-system", "-lcomponent=kube-controller-manager")[:1]
    flags = " ".join(manager["spec"]["containers"][0]["command"])

    assert ("-taint-eviction-controller" in flags) is (StoryMitigation.PAUSE_EVICTIONS in options.mitigations)
