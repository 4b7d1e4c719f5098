"""Which network carries Pod traffic: every sign of one, and the module that proves it or lists the doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks import clouds, overlays
from chaosext.rehearsal.snapshot.networks.calico import calico, policy_only
from chaosext.rehearsal.snapshot.networks.cilium import CONFIG as CILIUM_CONFIG
from chaosext.rehearsal.snapshot.networks.cilium import chained, cilium
from chaosext.rehearsal.snapshot.networks.flannel import canal, flannel, is_k3s
from chaosext.rehearsal.snapshot.networks.kube_router import kube_router, routes_nothing
from chaosext.rehearsal.snapshot.networks.signs import DECLARE, Shown, names_of, templates
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns
    from chaosext.rehearsal.snapshot.world import Pod

CALICO, CANAL, CILIUM, FLANNEL = "Calico", "Canal", "Cilium", "flannel"
AWS, AZURE, OPENSHIFT_SDN = "Amazon VPC CNI", "Azure CNI", "OpenShift SDN"
ANTREA, KUBE_OVN, OVN_KUBERNETES = "Antrea", "Kube-OVN", "OVN-Kubernetes"
KUBE_ROUTER = "kube-router"

SIGNS: Mapping[str, tuple[str, ...]] = {
    CALICO: ("calico-node",),
    CANAL: ("canal",),
    FLANNEL: ("flannel",),
    CILIUM: ("cilium", "anetd"),
    AWS: ("aws-node",),
    AZURE: ("azure-cns",),
    ANTREA: ("antrea",),
    "kindnet": ("kindnet",),
    KUBE_ROUTER: ("kube-router",),
    KUBE_OVN: ("kube-ovn", "ovs-ovn"),
    OPENSHIFT_SDN: ("sdn",),
    OVN_KUBERNETES: ("ovnkube",),
    "Terway": ("terway",),
    "Contrail": ("contrail", "tungsten"),
    "NSX": ("nsx-node-agent",),
    "Weave Net": ("weave-net",),
}
"""Network -> substrings of its agents' names."""

NO_SIGNS = ("aws-node-termination-handler",)
"""Names that have a sign in them, and are of something else."""

GROUPS: Mapping[str, str] = {
    "projectcalico.org": CALICO,
    "operator.tigera.io": CALICO,
    "cilium.io": CILIUM,
    "antrea.io": ANTREA,
    "kubeovn.io": KUBE_OVN,
    "k8s.ovn.org": OVN_KUBERNETES,
}
"""API group, or its suffix -> the network that defines it."""

OPENSHIFT_SDN_KINDS = ("ClusterNetwork", "HostSubnet", "NetNamespace")
"""Kinds of network.openshift.io that only OpenShift SDN has; OVN-Kubernetes uses others of this group."""

_PROOFS: Mapping[str, Callable[[NetworkSigns], Shown]] = {
    CALICO: calico,
    CANAL: canal,
    CILIUM: cilium,
    FLANNEL: flannel,
    AWS: clouds.amazon,
    AZURE: clouds.azure,
    OVN_KUBERNETES: overlays.ovn_kubernetes,
    OPENSHIFT_SDN: overlays.openshift_sdn,
    KUBE_OVN: overlays.kube_ovn,
    "Weave Net": overlays.weave,
    "kindnet": overlays.kindnet,
    ANTREA: overlays.antrea,
    KUBE_ROUTER: kube_router,
}
"""Network -> function that proves that it carries Pod traffic, and how, or lists the doubts."""


def detect(seen: NetworkSigns) -> Shown:
    """Return the network that carries Pod traffic if the snapshot has signs of only one, and the remaining doubts.

    Signs of two networks raise no doubt where one of them is known to leave Pod traffic to the other.
    """
    signs = dict(_signs(seen))
    if len(signs) > 1 and routes_nothing(seen):
        signs.pop(KUBE_ROUTER, None)
    cloud = _cloud(seen, frozenset(signs))
    if cloud:
        return cloud(seen)
    for network in _carriers(seen, frozenset(signs)):
        signs = {network: signs[network]}
    if len(signs) > 1:
        said = ", ".join(f"{network} ({sign})" for network, sign in sorted(signs.items()))
        why = (
            f"there are signs of several networks, {said}: it is not proven which of them routes Pod traffic; "
            f"{DECLARE}"
        )
        return Shown(plugin=Plugin.UNKNOWN, doubts=(Doubt(subject="the snapshot", why=why),))
    for network, sign in signs.items():
        return _PROOFS.get(network, _unmodelled(network, sign))(seen)
    return Shown(plugin=Plugin.UNKNOWN)


def _cloud(seen: NetworkSigns, signs: frozenset[str]) -> Callable[[NetworkSigns], Shown] | None:
    """Return the proof of a network that needs no agent: of a cloud, whatever its nodes run for policy, or of k3s."""
    if any(map(clouds.is_gke, seen.nodes)) and signs <= {CALICO, CILIUM}:
        return clouds.gke
    if any(map(clouds.is_aks, seen.nodes)) and not signs:
        return clouds.kubenet
    if not signs and all(map(clouds.is_eks_without_agent, seen.nodes)):
        return clouds.amazon
    if not signs and all(map(is_k3s, seen.nodes)):
        return flannel
    return None


def _carriers(seen: NetworkSigns, signs: frozenset[str]) -> Iterator[str]:
    """Yield the network of several that carries Pod traffic, if it is known which."""
    if CANAL in signs and signs <= {CANAL, CALICO, FLANNEL}:
        yield CANAL
    elif signs == {AWS, CALICO} and policy_only(seen, "AmazonVPC"):
        yield AWS
    elif signs == {AZURE, CALICO} and policy_only(seen, "AzureVNET"):
        yield AZURE
    elif signs == {AWS, CILIUM} and chained(seen, "aws-cni"):
        yield AWS
    elif signs == {AZURE, CILIUM} and all(map(clouds.is_aks, seen.nodes)):
        yield AZURE


def _unmodelled(network: str, sign: str) -> Callable[[NetworkSigns], Shown]:
    why = f"{network} carries Pod traffic, and its routes during a cut are not modelled; {DECLARE}"
    return lambda _: Shown(plugin=Plugin.UNKNOWN, doubts=(Doubt(subject=sign, why=why),))


def _signs(seen: NetworkSigns) -> Iterator[tuple[str, str]]:
    """Yield each network with the object that is a sign of it."""
    for group, network in GROUPS.items():
        yield from ((network, subject) for _, subject in seen.kinds_in(group))
    for kind, subject in seen.kinds_in("network.openshift.io"):
        if kind in OPENSHIFT_SDN_KINDS:
            yield OPENSHIFT_SDN, subject
    if seen.backends:
        yield FLANNEL, f"Node/{min(seen.backends)}"
    for subject, _ in seen.config(CILIUM_CONFIG):
        yield CILIUM, subject
    for name in seen.daemon_sets:
        yield from ((network, f"DaemonSet/{name}") for network in _named(name, partly=True))
    for pod in templates(seen.pods):
        yield from ((network, pod.subject) for network in _of_pod(pod))


def _of_pod(pod: Pod) -> Iterator[str]:
    is_agent = pod.spec.host_network or pod.owner.startswith("DaemonSet/")
    for name in names_of(pod):
        yield from _named(name, partly=is_agent)


def _named(name: str, *, partly: bool) -> Iterator[str]:
    if any(other in name for other in NO_SIGNS):
        return
    for network, signs in SIGNS.items():
        if any(sign == name or (partly and sign in name) for sign in signs):
            yield network
