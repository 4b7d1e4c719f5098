"""Calico: recognised by calico-node on every node, and what its objects leave open.

Source: Calico's reference (docs.tigera.io): "BGP peer", "BGP configuration", "IP pool", "Felix configuration", "Node",
and the operator's "Installation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import Shown, agents_missing, text
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Values

AGENT, TYPHA = "calico-node", "calico-typha"

READ: Mapping[str, frozenset[str]] = {
    "BGPPeer": frozenset({"peerIP", "node", "nodeSelector", "peerSelector", "asNumber"}),
    "BGPConfiguration": frozenset({"nodeToNodeMeshEnabled"}),
    "IPPool": frozenset({"cidr", "ipipMode", "vxlanMode", "disabled", "disableBGPExport", "allowedUses"}),
    "CalicoNode": frozenset({"bgp"}),
    "FelixConfiguration": frozenset({"bpfEnabled", "vxlanEnabled", "programClusterRoutes"}),
    "Installation": frozenset({"cni", "calicoNetwork"}),
}
"""Kind -> the fields of its spec that are read."""

HARMLESS: Mapping[str, frozenset[str]] = {
    "BGPPeer": frozenset(
        {
            "keepOriginalNextHop",
            "maxRestartTime",
            "numAllowedLocalASNumbers",
            "password",
            "reachableBy",
            "sourceAddress",
            "ttlSecurity",
        }
    ),
    "BGPConfiguration": frozenset(
        {
            "asNumber",
            "bindMode",
            "communities",
            "listenPort",
            "logSeverityScreen",
            "nodeMeshMaxRestartTime",
            "nodeMeshPassword",
            "prefixAdvertisements",
            "serviceClusterIPs",
            "serviceExternalIPs",
            "serviceLoadBalancerAggregation",
            "serviceLoadBalancerIPs",
        }
    ),
    "IPPool": frozenset({"assignmentMode", "blockSize", "namespaceSelector", "natOutgoing", "nodeSelector"}),
}
"""Kind -> fields of its spec that do not affect which node learns which Pod addresses (Calico's reference)."""


USED_FOR, WORKLOAD, USES = "allowedUses", "Workload", ("Workload", "Tunnel", "LoadBalancer")
"""Uses of an IPPool; one that names none is for Pods, too."""


def is_for_pods(spec: Values) -> bool:
    """Whether Pods may have addresses of an IPPool; others are for tunnels or load balancers only."""
    uses = spec.get(USED_FOR)
    return not uses or WORKLOAD in uses


def calico(seen: NetworkSigns) -> Shown:
    """Return Calico, with the doubts about it; its routes are `network.calico_routes`."""
    installed = seen.objects.get("Installation", ())
    felix = seen.objects.get("FelixConfiguration", ())
    return Shown(
        plugin=Plugin.CALICO,
        doubts=(
            *agents_missing(seen, AGENT),
            *_unread(seen, "IPPool"),
            *_settings(seen),
            *_typha_unseen(seen),
        ),
        bgp_doubts=tuple(_of_bgp(seen)),
        bgp_enabled=all(text(spec, "calicoNetwork", "bgp") != "Disabled" for _, spec in installed),
        felix_routes=any(spec.get("programClusterRoutes") == "Enabled" for _, spec in felix),
        ebpf=_is_ebpf(seen),
        typha=_typhas(seen),
    )


def _typhas(seen: NetworkSigns) -> frozenset[str]:
    """Return the nodes of Typha, which Felix connects to instead of the API server."""
    return frozenset(pod.node for pod in seen.pods if pod.spec.labels.get("k8s-app") == TYPHA)


def _typha_unseen(seen: NetworkSigns) -> Iterator[Doubt]:
    """Report a Typha without Pods: the operator always runs one."""
    is_said = bool(seen.objects.get("Installation")) or TYPHA in seen.deployments
    if _is_ebpf(seen) and is_said and not _typhas(seen):
        why = "none of its Pods is in the snapshot, and Felix, which forwards by eBPF, restarts when it loses it"
        yield Doubt(subject=f"Deployment/{TYPHA}", why=why)


def _is_ebpf(seen: NetworkSigns) -> bool:
    """Whether Felix forwards Pod traffic by eBPF, in place of kube-proxy."""
    felix, installed = seen.objects.get("FelixConfiguration", ()), seen.objects.get("Installation", ())
    planes = (text(spec, "calicoNetwork", "linuxDataplane") for _, spec in installed)
    return any(spec.get("bpfEnabled") for _, spec in felix) or "BPF" in planes


def policy_only(seen: NetworkSigns, plugin_type: str) -> bool:
    """Whether Calico leaves Pod traffic to a cloud's plugin that runs beside it.

    It does unless its operator says otherwise: the container runtime takes the first CNI configuration by
    name, and those of the clouds (10-aws.conflist, 10-azure.conflist) come before 10-calico.conflist.
    """
    types = {text(spec, "cni", "type") for _, spec in seen.objects.get("Installation", ())} - {""}
    return types <= {plugin_type}


def _unread(seen: NetworkSigns, kind: str) -> Iterator[Doubt]:
    """Report fields that may affect which node learns which route, as far as chaosext knows."""
    for name, spec in seen.objects.get(kind, ()):
        for key in sorted(spec.keys() - HARMLESS[kind] - READ[kind]):
            said = "what it does to routes isn't modelled"
            yield Doubt(subject=f"{kind}/{name}", key=f"spec.{key}", why=said)


def _of_bgp(seen: NetworkSigns) -> Iterator[Doubt]:
    yield from _unread(seen, "BGPPeer")
    yield from _unread(seen, "BGPConfiguration")
    for name, _ in seen.objects.get("BGPConfiguration", ()):
        if name != "default":
            said = "what a BGPConfiguration of a single node does to routes isn't modelled"
            yield Doubt(subject=f"BGPConfiguration/{name}", why=said)
    for name, spec in seen.objects.get("CalicoNode", ()):
        if not spec.get("bgp"):
            yield Doubt(subject=f"Calico's Node/{name}", key="spec.bgp", why="BGP is turned off on this node")
    for name, spec in seen.objects.get("IPPool", ()):
        if spec.get("disableBGPExport") and is_for_pods(spec):
            said = "its addresses are not announced"
            yield Doubt(subject=f"IPPool/{name}", key="spec.disableBGPExport", why=said)


def _settings(seen: NetworkSigns) -> Iterator[Doubt]:
    if why := seen.missed.get("FelixConfiguration"):
        said = f"it could not be read ({why}), and may disable VXLAN or enable eBPF"
        yield Doubt(subject="FelixConfiguration", why=said)
    for name, spec in seen.objects.get("FelixConfiguration", ()):
        if spec.get("vxlanEnabled") is False:
            yield Doubt(
                subject=f"FelixConfiguration/{name}", key="spec.vxlanEnabled", why="VXLAN is turned off"
            )
    for name, spec in seen.objects.get("Installation", ()):
        yield from _installed(name, spec)


def _installed(name: str, spec: Values) -> Iterator[Doubt]:
    """Report doubts from Tigera's operator: Calico for policy only, or with another dataplane."""
    plugin, plane = text(spec, "cni", "type"), text(spec, "calicoNetwork", "linuxDataplane")
    if plugin not in ("", "Calico"):
        said = f"{plugin} carries Pod traffic, and Calico only its policy"
        yield Doubt(subject=f"Installation/{name}", key="spec.cni.type", why=said)
    if plane not in ("", "Iptables", "Nftables", "BPF"):
        said = f"what the dataplane {plane} does in a cut isn't modelled"
        yield Doubt(subject=f"Installation/{name}", key="spec.calicoNetwork.linuxDataplane", why=said)
