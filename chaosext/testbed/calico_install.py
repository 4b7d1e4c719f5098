"""Calico as the story needs it: Pod routes travel by BGP alone, and only workers have a session with the
leaf.

Upstream's calico.yaml is changed by overlays here; none of it is kept in this repository. Pure.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from chaosext.testbed.apply_manifests import Manifest, parse_documents
from chaosext.testbed.config import Mitigation

if TYPE_CHECKING:
    from collections.abc import Iterable

AS_NUMBER = 64512
"""Calico's default AS (BGPConfiguration asNumber), shared with the leaf: the sessions are iBGP."""

PEER_SELECTOR = "!has(node-role.kubernetes.io/control-plane)"
"""Who has a BGP session: everybody but control-plane nodes. This is the trap of the story."""

CRD_GROUP = "crd.projectcalico.org/v1"
LEFT_OUT = frozenset({"calico-kube-controllers"})
"""Garbage collection of long-gone nodes' addresses: not needed on a testbed that lives for hours."""

FRESH_INSTALL_LEFT_OUT = frozenset({"upgrade-ipam", "mount-bpffs"})
"""Init containers that serve an upgrade from host-local IPAM and the eBPF data plane."""
CNI_IS_USABLE = """\
grep --quiet server: /etc/cni/net.d/calico-kubeconfig
! grep --quiet '://\\[' /etc/cni/net.d/calico-kubeconfig
"""
"""A bash script for a node: fails until the CNI plugin can be used, a second or two after the node is Ready.

The installer writes the API server as `https://[HOST]`, which Go since 1.25.2 takes for IPv6 only; calico-node writes
it again, well, when it starts. A Pod bound in between fails and waits ten seconds for its next try.
"""
EBPF_VOLUMES = frozenset({"sys-fs", "bpffs", "nodeproc", "host-local-net-dir"})


def calico_objects(
    calico_yaml: str, *, pod_subnet: str, node_image: str, cni_image: str
) -> tuple[list[Manifest], list[Manifest]]:
    """Upstream's calico.yaml as (custom resource definitions, all the rest), overlaid for pure BGP."""
    objects = [each for each in parse_documents(calico_yaml) if each["metadata"]["name"] not in LEFT_OUT]
    definitions = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    others = [each for each in objects if each["kind"] != "CustomResourceDefinition"]
    images = {"calico-node": node_image, "install-cni": cni_image}
    return definitions, [
        _node_daemonset(each, pod_subnet, images) if each["kind"] == "DaemonSet" else each for each in others
    ]


def api_endpoint(host: str) -> Manifest:
    """Where calico-node and the CNI plugin find the API server, without waiting for kube-proxy at every start.

    Calico reads this ConfigMap if there is one (calico.yaml, `envFrom`). With several control-plane nodes there is
    none: they shall find an API server through kube-proxy, not through the load balancer, which a cut takes away.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kubernetes-services-endpoint", "namespace": "kube-system"},
        "data": {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"},
    }


def bgp_objects(leaf_ip: str) -> list[Manifest]:
    """No node-to-node mesh; one peering, of every node that is no control plane, with the leaf."""
    return [
        {
            "apiVersion": CRD_GROUP,
            "kind": "BGPConfiguration",
            "metadata": {"name": "default"},
            "spec": {"nodeToNodeMeshEnabled": False, "asNumber": AS_NUMBER, "logSeverityScreen": "Info"},
        },
        {
            "apiVersion": CRD_GROUP,
            "kind": "BGPPeer",
            "metadata": {"name": "leaf"},
            "spec": {"peerIP": leaf_ip, "asNumber": AS_NUMBER, "nodeSelector": PEER_SELECTOR},
        },
    ]


def _node_daemonset(daemonset: Manifest, pod_subnet: str, images: dict[str, str]) -> Manifest:
    changed = copy.deepcopy(daemonset)
    pod = changed["spec"]["template"]["spec"]
    pod["initContainers"] = _kept(pod["initContainers"], FRESH_INSTALL_LEFT_OUT)
    pod["volumes"] = _kept(pod["volumes"], EBPF_VOLUMES)
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = images[container["name"]]
        container["volumeMounts"] = _kept(container["volumeMounts"], EBPF_VOLUMES)
        if container["name"] == "calico-node":
            container["env"] = _with_env(container["env"], _environment(pod_subnet))
            container["resources"] = {"requests": {"cpu": "50m"}}
    return changed


def _environment(pod_subnet: str) -> dict[str, str]:
    """What calico-node reads at its first start to make the IP pool (node/pkg/lifecycle/startup)."""
    return {
        "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip",
        "CALICO_IPV4POOL_CIDR": pod_subnet,
        "CALICO_IPV4POOL_IPIP": "Never",
        "CALICO_IPV4POOL_VXLAN": "Never",
        "CALICO_IPV4POOL_NAT_OUTGOING": "true",
    }


def _with_env(env: list[Manifest], values: dict[str, str]) -> list[Manifest]:
    kept = [each for each in env if each["name"] not in values]
    return [*kept, *({"name": name, "value": value} for name, value in values.items())]


def _kept(items: Iterable[Manifest], left_out: frozenset[str]) -> list[Manifest]:
    return [item for item in items if item["name"] not in left_out]


NAMESPACE = "kube-system"
DEPLOYMENT = "coredns"
TARGET = ("deployment", DEPLOYMENT, f"--namespace={NAMESPACE}")
"""kubectl's words for the Deployment."""
PODS = ("--selector=k8s-app=kube-dns", f"--namespace={NAMESPACE}")
"""kubectl's words for its Pods."""
REPLICAS = 2
"""kubeadm's number (cmd/kubeadm/app/phases/addons/dns)."""

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def deployment_patch(mitigations: tuple[Mitigation, ...]) -> dict[str, Any] | None:
    """A strategic merge patch of kubeadm's Deployment for the mitigations, None when it stays as it is."""
    if Mitigation.DNS_AFFINITY not in mitigations:
        return None
    peered_only = {"matchExpressions": [{"key": CONTROL_PLANE_LABEL, "operator": "DoesNotExist"}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [peered_only]}}
    return {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": required}}}}}


def deployment_patch_json(mitigations: tuple[Mitigation, ...]) -> str:
    """The same as JSON text, "" when there is nothing to patch."""
    patch = deployment_patch(mitigations)
    return json.dumps(patch) if patch else ""
