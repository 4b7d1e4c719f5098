"""Calico as in the incident: Pod routes travel by BGP only, and only workers have a session with the leaf.

Overlays change upstream's calico.yaml, which is not copied into this repository. Pure.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from chaosext.testbed.kubectl import Manifest, parse_documents
from chaosext.testbed.leaf import AS_NUMBER, route_script
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.testbed.containers import NodeContainer

PEER_SELECTOR = "!has(node-role.kubernetes.io/control-plane)"
"""Selects the nodes with a BGP session: all but control-plane nodes, whose Pods no other node can reach."""

CRD_GROUP = "crd.projectcalico.org/v1"
LEFT_OUT = frozenset({"calico-kube-controllers"})
"""Releases the addresses of deleted nodes: not needed on a testbed that exists for hours."""

FRESH_INSTALL_LEFT_OUT = frozenset({"upgrade-ipam", "mount-bpffs"})
"""Init containers for an upgrade from host-local IPAM, and for the eBPF data plane."""
CNI_IS_USABLE = """\
grep --quiet server: /etc/cni/net.d/calico-kubeconfig
! grep --quiet '://\\[' /etc/cni/net.d/calico-kubeconfig
"""
"""A bash script for a node that fails until the CNI plugin is usable, a second or two after the node is Ready.

The installer writes the API server's URL as `https://[HOST]`, which Go since 1.25.2 accepts for IPv6 only;
calico-node writes a valid URL when it starts. A Pod that is bound in between fails, and is retried after ten
seconds.
"""
EBPF_VOLUMES = frozenset({"sys-fs", "bpffs", "nodeproc", "host-local-net-dir"})


def calico_objects(
    calico_yaml: str, *, pod_subnet: str, node_image: str, cni_image: str
) -> tuple[list[Manifest], list[Manifest]]:
    """Return upstream's calico.yaml, changed to pure BGP, as (custom resource definitions, other objects)."""
    objects = [each for each in parse_documents(calico_yaml) if each["metadata"]["name"] not in LEFT_OUT]
    definitions = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    others = [each for each in objects if each["kind"] != "CustomResourceDefinition"]
    images = {"calico-node": node_image, "install-cni": cni_image}
    return definitions, [
        _node_daemonset(each, pod_subnet, images) if each["kind"] == "DaemonSet" else each for each in others
    ]


def api_endpoint(host: str) -> Manifest:
    """Return the ConfigMap that leads calico-node and the CNI plugin to the API server without kube-proxy.

    Calico reads this ConfigMap if it exists (calico.yaml, `envFrom`). With several control-plane nodes it
    does not exist: Calico must then reach an API server through kube-proxy and not through the load balancer,
    which a cut blocks.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kubernetes-services-endpoint", "namespace": "kube-system"},
        "data": {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"},
    }


def bgp_objects(leaf_ip: str) -> list[Manifest]:
    """Return Calico's BGP objects: no node-to-node mesh, and a peering of every worker with the leaf."""
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
    """Return what calico-node reads at its first start to create the IP pool (node/pkg/lifecycle/startup)."""
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


def _bgp_batches(inputs: NetworkInputs) -> tuple[list[Manifest], list[Manifest]]:
    """Return Calico, then its BGP configuration.

    The latter needs Calico's definitions, and must exist before calico-node runs.
    """
    definitions, others = calico_objects(
        (inputs.images.calico_manifests / "calico.yaml").read_text(),
        pod_subnet=inputs.pod_subnet,
        node_image=inputs.images.calico_node_image,
        cni_image=inputs.images.calico_cni_image,
    )
    endpoints = [api_endpoint(inputs.api_host)] if inputs.api_host else []
    return [*definitions, *endpoints, *others], bgp_objects(inputs.leaf_ip)


def _route_through_leaf(inputs: NetworkInputs, _node: NodeContainer) -> str:
    return route_script(pod_subnet=inputs.pod_subnet, leaf_ip=inputs.leaf_ip)


def _is_worker(node: NodeContainer) -> bool:
    return node.role == "worker"


CALICO_BGP = NetworkSetup(
    batches=_bgp_batches,
    agent=("kube-system", "calico-node"),
    has_leaf_session=_is_worker,
    node_script=_route_through_leaf,
    cni_is_usable=CNI_IS_USABLE,
)
"""The incident's network: workers peer with the leaf, control-plane nodes have no session."""
