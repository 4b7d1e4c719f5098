"""Calico, as changed by overlays; and as in the incident: only workers peer with the leaf, and there is no overlay.

Upstream's calico.yaml is not copied into this repository. Pure.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.testbed.kubectl import Manifest, parse_documents
from chaosext.testbed.leaf import AS_NUMBER, route_script
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup, every_node, is_worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.node_images import ImageSet

CONTROL_PLANE_SELECTOR = "has(node-role.kubernetes.io/control-plane)"
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
PROBES = frozenset({"livenessProbe", "readinessProbe"})
BIRD_PROBES = frozenset({"-bird-live", "-bird-ready"})
EBPF_VOLUMES = frozenset({"sys-fs", "bpffs", "nodeproc", "host-local-net-dir"})


def calico_objects(
    calico_yaml: str, *, pod_subnet: str, node_image: str, cni_image: str, vxlan: bool = False
) -> tuple[list[Manifest], list[Manifest]]:
    """Return upstream's calico.yaml as (custom resource definitions, other objects).

    It is changed to BGP without an overlay or, with `vxlan`, to VXLAN without BGP.
    """
    objects = [each for each in parse_documents(calico_yaml) if each["metadata"]["name"] not in LEFT_OUT]
    definitions = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    others = [each for each in objects if each["kind"] != "CustomResourceDefinition"]
    images = {"calico-node": node_image, "install-cni": cni_image}
    overlaid = [
        _node_daemonset(each, pod_subnet, images, vxlan=vxlan) if each["kind"] == "DaemonSet" else each
        for each in others
    ]
    return definitions, [_without_bird(each) for each in overlaid] if vxlan else overlaid


def _without_bird(each: Manifest) -> Manifest:
    """Return an object of calico.yaml as upstream's calico-vxlan.yaml has it: no BIRD, and no probe of it."""
    changed = copy.deepcopy(each)
    if each["kind"] == "ConfigMap":
        changed["data"] = {**each["data"], "calico_backend": "vxlan"}
    if each["kind"] == "DaemonSet":
        for container in changed["spec"]["template"]["spec"]["containers"]:
            for probe in PROBES & container.keys():
                command = container[probe]["exec"]["command"]
                container[probe]["exec"]["command"] = [word for word in command if word not in BIRD_PROBES]
    return changed


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
        mesh_off(),
        bgp_peer("leaf", peerIP=leaf_ip, asNumber=AS_NUMBER, nodeSelector=PEER_SELECTOR),
    ]


def mesh_off() -> Manifest:
    """Return the BGPConfiguration that turns Calico's node-to-node mesh off."""
    return {
        "apiVersion": CRD_GROUP,
        "kind": "BGPConfiguration",
        "metadata": {"name": "default"},
        "spec": {"nodeToNodeMeshEnabled": False, "asNumber": AS_NUMBER, "logSeverityScreen": "Info"},
    }


def bgp_peer(name: str, **spec: str | int) -> Manifest:
    """Return a BGPPeer."""
    return {"apiVersion": CRD_GROUP, "kind": "BGPPeer", "metadata": {"name": name}, "spec": spec}


def _node_daemonset(daemonset: Manifest, pod_subnet: str, images: dict[str, str], *, vxlan: bool) -> Manifest:
    changed = copy.deepcopy(daemonset)
    pod = changed["spec"]["template"]["spec"]
    pod["initContainers"] = _kept(pod["initContainers"], FRESH_INSTALL_LEFT_OUT)
    pod["volumes"] = _kept(pod["volumes"], EBPF_VOLUMES)
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = images[container["name"]]
        container["volumeMounts"] = _kept(container["volumeMounts"], EBPF_VOLUMES)
        if container["name"] == "calico-node":
            container["env"] = _with_env(container["env"], _environment(pod_subnet, vxlan=vxlan))
            container["resources"] = {"requests": {"cpu": "50m"}}
    return changed


def _environment(pod_subnet: str, *, vxlan: bool) -> dict[str, str]:
    """Return what calico-node reads at its first start to create the IP pool (node/pkg/lifecycle/startup)."""
    return {
        "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip",
        "CALICO_IPV4POOL_CIDR": pod_subnet,
        "CALICO_IPV4POOL_IPIP": "Never",
        "CALICO_IPV4POOL_VXLAN": "Always" if vxlan else "Never",
        "CALICO_IPV4POOL_NAT_OUTGOING": "true",
    }


def _with_env(env: list[Manifest], values: dict[str, str]) -> list[Manifest]:
    kept = [each for each in env if each["name"] not in values]
    return [*kept, *({"name": name, "value": value} for name, value in values.items())]


def _kept(items: Iterable[Manifest], left_out: frozenset[str]) -> list[Manifest]:
    return [item for item in items if item["name"] not in left_out]


def calico_batches(
    inputs: NetworkInputs, bgp: Sequence[Manifest] = (), *, vxlan: bool = False
) -> list[Sequence[Manifest]]:
    """Return Calico, then its BGP configuration.

    The latter needs Calico's definitions, and must exist before calico-node runs.
    """
    definitions, others = calico_objects(
        (inputs.images.calico_manifests / "calico.yaml").read_text(),
        pod_subnet=inputs.pod_subnet,
        node_image=inputs.images.calico_node_image,
        cni_image=inputs.images.calico_cni_image,
        vxlan=vxlan,
    )
    endpoints = [api_endpoint(inputs.api_host)] if inputs.api_host else []
    calico = [*definitions, *endpoints, *others]
    return [calico, bgp] if bgp else [calico]


AGENT = ("kube-system", "calico-node")


def _story_batches(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    return calico_batches(inputs, bgp_objects(inputs.leaf_ip))


def images_of(images: ImageSet) -> tuple[str, ...]:
    """Return the images of Calico's Pods."""
    return images.calico_node_image, images.calico_cni_image


def route_through_leaf(inputs: NetworkInputs, _node: NodeContainer) -> str:
    """Return the script that sends traffic for unknown Pod addresses to the leaf, which drops it silently."""
    return route_script(pod_subnet=inputs.pod_subnet, leaf_ip=inputs.leaf_ip)


CALICO_BGP = NetworkSetup(
    batches=_story_batches,
    agent=AGENT,
    agent_images=images_of,
    has_leaf_session=is_worker,
    node_script=route_through_leaf,
    cni_is_usable=CNI_IS_USABLE,
)
"""The incident's network: workers peer with the leaf, control-plane nodes have no session."""


def _batches_for_all(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    peer = bgp_peer(
        "leaf-for-all", peerIP=inputs.leaf_ip, asNumber=AS_NUMBER, nodeSelector=CONTROL_PLANE_SELECTOR
    )
    return calico_batches(inputs, [*bgp_objects(inputs.leaf_ip), peer])


CALICO_BGP_FOR_ALL = replace(CALICO_BGP, batches=_batches_for_all, has_leaf_session=every_node)
"""The same with the mitigation bgp-on-control-plane: control-plane nodes peer with the leaf, too."""
