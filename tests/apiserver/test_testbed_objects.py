"""What the testbed installs for its options is what a real API server accepts, with every field known to it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.testbed import dns_install
from chaosext.testbed.bed_choices import StoryMitigation
from chaosext.testbed.node_local_cache import cache_objects

if TYPE_CHECKING:
    from admission_bed import Bed


def deployment(**spec: Any) -> dict[str, Any]:
    """kubeadm's kube-dns in short, with `spec` in its Pods' template."""
    labels = {"k8s-app": "kube-dns"}
    pod = {"containers": [{"name": "coredns", "image": "coredns:1"}], **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": dns_install.DEPLOYMENT, "namespace": dns_install.NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest.mark.parametrize("serves_stale", [False, True])
def test_the_nodes_cache_is_accepted(bed: Bed, serves_stale: bool) -> None:
    (first,) = bed.admin.service("default", "kubernetes").cluster_ips
    subnet = str(ip_network(f"{first}/24", strict=False))
    objects = cache_objects(service_subnet=subnet, image="coredns:1", serves_stale=serves_stale)
    for each in objects:
        with bed.there(each):
            pass


@pytest.mark.parametrize("everywhere", [False, True])
def test_kube_dns_as_a_daemon_set_is_accepted(bed: Bed, everywhere: bool) -> None:
    with bed.there(dns_install.daemon_set(deployment(), everywhere=everywhere)):
        pass


@pytest.mark.parametrize("mitigation", ["dns-affinity", "longer-tolerations", "spread"])
def test_kube_dns_with_a_mitigation_is_accepted(bed: Bed, mitigation: str) -> None:
    patch = dns_install.deployment_patch((StoryMitigation(mitigation),))
    assert patch is not None
    with bed.there(deployment(**patch["spec"]["template"]["spec"])):
        pass
