"""Detect the network that carries Pod traffic, with the evidence in the snapshot.

Detection is broad and proof is strict: any sign of another network is a doubt, and only a network's own
agents on every node, together with its own configuration, are a proof.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.snapshot.node_patterns import is_over
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.world import Node, Pod

    Values = Mapping[str, Any]


NAMING_LABELS = ("k8s-app", "app", "name", "app.kubernetes.io/name", "component")
"""Labels that hold the name of a plugin's agents."""

CALICO, CILIUM, FLANNEL, AWS, AZURE = "Calico", "Cilium", "flannel", "Amazon VPC CNI", "Azure CNI"

SIGNS: Mapping[str, tuple[str, ...]] = {
    CALICO: ("calico-node",),
    "Canal": ("canal",),
    FLANNEL: ("flannel",),
    CILIUM: ("cilium", "anetd"),
    AWS: ("aws-node",),
    AZURE: ("azure-cns",),
    "Antrea": ("antrea",),
    "kindnet": ("kindnet",),
    "kube-router": ("kube-router",),
    "Kube-OVN": ("kube-ovn", "ovs-ovn"),
    "OpenShift SDN": ("openshift-sdn", "sdn-controller"),
    "OVN-Kubernetes": ("ovnkube",),
    "Terway": ("terway",),
    "Contrail": ("contrail", "tungsten"),
    "NSX": ("nsx-node-agent",),
    "Weave Net": ("weave-net",),
}
"""Network -> substrings of its agents' names."""

GROUPS: Mapping[str, str] = {
    "projectcalico.org": CALICO,
    "operator.tigera.io": CALICO,
    "cilium.io": CILIUM,
    "antrea.io": "Antrea",
    "kubeovn.io": "Kube-OVN",
    "k8s.ovn.org": "OVN-Kubernetes",
    "network.openshift.io": "OpenShift SDN",
}
"""API group, or its suffix -> the network that defines it."""

CILIUM_CONFIG = "cilium-config"
CILIUM_KEYS = ("routing-mode", "tunnel", "enable-bgp-control-plane", "bgp-announce-pod-cidr", "ipam")
"""Cilium's ConfigMap, and its keys that control how Pod traffic is routed (docs.cilium.io, "Routing")."""

BACKEND = "flannel.alpha.coreos.com/backend-type"
"""Annotation in which flanneld records the backend type of its node (flannel, pkg/subnet/kube)."""

TUNNELS = ("vxlan", "wireguard", "udp")
"""flannel backends that encapsulate all Pod traffic."""

FLANNEL_AGENTS, K3S = ("kube-flannel-ds", "kube-flannel", "flannel"), "+k3s"
"""Names of flannel's agents, and the substring of a kubelet version where k3s runs flannel itself, without Pods."""

CLUSTER_IPAMS = ("", "cluster-pool", "cluster-pool-v2beta", "kubernetes", "multi-pool")
"""Cilium IPAM modes that give Pods addresses of their own instead of a cloud network's."""

SPEAKS_BGP = "Cilium announces routes by BGP, which isn't modelled"

READ: Mapping[str, frozenset[str]] = {
    "BGPPeer": frozenset({"peerIP", "node", "nodeSelector", "peerSelector", "asNumber"}),
    "BGPConfiguration": frozenset({"nodeToNodeMeshEnabled"}),
    "IPPool": frozenset({"cidr", "ipipMode", "vxlanMode", "disabled", "disableBGPExport"}),
    "CalicoNode": frozenset({"bgp"}),
    "FelixConfiguration": frozenset({"bpfEnabled", "vxlanEnabled"}),
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
    "IPPool": frozenset(
        {"allowedUses", "assignmentMode", "blockSize", "namespaceSelector", "natOutgoing", "nodeSelector"}
    ),
}
"""Kind -> fields of its spec that do not affect which node learns which Pod addresses (Calico's reference)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The evidence of networks in a snapshot.

    `others`: (API group, kind) -> one object of each, for groups that are not Kubernetes' own. `objects`:
    kind -> (name, spec) of Calico's objects. `configs`: (namespace, ConfigMap) -> its data. `backends`: node
    -> flanneld's annotation. `missed`: kind -> why it could not be read when the snapshot was taken.
    """

    nodes: Sequence[Node]
    pods: Iterable[Pod]
    daemon_sets: Iterable[str] = ()
    others: Mapping[tuple[str, str], str] = field(default_factory=dict)
    objects: Mapping[str, Sequence[tuple[str, Values]]] = field(default_factory=dict)
    configs: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    missed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The network that a snapshot shows, with the fields of `Network`."""

    plugin: Plugin
    shown: str = ""
    doubts: tuple[Doubt, ...] = ()
    bgp_doubts: tuple[Doubt, ...] = ()
    bgp_enabled: bool = True


def detect(seen: Sighting) -> Shown:
    """Return the network that carries Pod traffic if the snapshot has signs of only one, and the remaining doubts."""
    signs = dict(_signs(seen))
    if len(signs) > 1:
        said = ", ".join(f"{network} ({sign})" for network, sign in sorted(signs.items()))
        why = (
            f"there are signs of several networks, {said}: it is not proven which of them routes Pod traffic"
        )
        return Shown(plugin=Plugin.UNKNOWN, doubts=(Doubt(subject="the snapshot", why=why),))
    for network, sign in signs.items():
        return _PROOFS.get(network, _unmodelled(network, sign))(seen)
    return Shown(plugin=Plugin.UNKNOWN)


def _unmodelled(network: str, sign: str) -> Callable[[Sighting], Shown]:
    why = f"{network} carries Pod traffic, and its routes during a cut are not modelled"
    return lambda _: Shown(plugin=Plugin.UNKNOWN, doubts=(Doubt(subject=sign, why=why),))


# -- signs -----------------------------------------------------------------------------------------------------


def _signs(seen: Sighting) -> Iterator[tuple[str, str]]:
    """Yield each network with the object that is a sign of it."""
    for (group, _), subject in seen.others.items():
        for end, network in GROUPS.items():
            if group == end or group.endswith(f".{end}"):
                yield network, subject
    if seen.backends:
        yield FLANNEL, f"Node/{min(seen.backends)}"
    for namespace, name in seen.configs:
        yield CILIUM, f"ConfigMap/{namespace}/{name}"
    for name in seen.daemon_sets:
        yield from ((network, f"DaemonSet/{name}") for network in _named(name, partly=True))
    for pod in _templates(seen.pods):
        yield from ((network, pod.subject) for network in _of_pod(pod))


def _templates(pods: Iterable[Pod]) -> Iterable[Pod]:
    """Return one Pod of each template; all Pods of a template are agents of the same network, or none is."""
    return {id(pod.spec): pod for pod in pods if not is_over(pod)}.values()


def _of_pod(pod: Pod) -> Iterator[str]:
    is_agent = pod.spec.host_network or pod.owner.startswith("DaemonSet/")
    for name in _names(pod):
        yield from _named(name, partly=is_agent)


def _names(pod: Pod) -> Iterator[str]:
    yield from (pod.spec.labels[label] for label in NAMING_LABELS if label in pod.spec.labels)
    kind, _, owner = pod.owner.partition("/")
    if kind == "DaemonSet":
        yield owner


def _named(name: str, *, partly: bool) -> Iterator[str]:
    for network, signs in SIGNS.items():
        if any(sign == name or (partly and sign in name) for sign in signs):
            yield network


# -- agents on every node ----------------------------------------------------------------------------------------


def _agents_missing(seen: Sighting, *names: str, unless: str = "") -> tuple[Doubt, ...]:
    """Return a doubt if any node runs no agent with one of these names that belongs to a DaemonSet.

    Nodes whose kubelet version contains `unless` need no agent.
    """
    there: dict[str, set[str]] = defaultdict(set)
    agents = {id(pod.spec) for pod in _templates(seen.pods) if set(_names(pod)) & set(names)}
    for pod in seen.pods:
        if id(pod.spec) in agents and pod.owner.startswith("DaemonSet/"):
            there[pod.node].add(pod.phase)
    needing = [node.name for node in seen.nodes if not (unless and unless in node.kubelet_version)]
    lacking = [name for name in needing if "Running" not in there[name]]
    if not lacking:
        return ()
    said = f"none of its Pods runs on {_few(lacking)}, so it is not proven that it carries Pod traffic there"
    return (Doubt(subject=f"DaemonSet {names[0]}", why=said),)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


# -- proofs ------------------------------------------------------------------------------------------------------


def _calico(seen: Sighting) -> Shown:
    installed = seen.objects.get("Installation", ())
    return Shown(
        plugin=Plugin.CALICO,
        doubts=(*_agents_missing(seen, "calico-node"), *_unread(seen, "IPPool"), *_settings(seen)),
        bgp_doubts=tuple(_of_bgp(seen)),
        bgp_enabled=all(_text(spec, "calicoNetwork", "bgp") != "Disabled" for _, spec in installed),
    )


def _unread(seen: Sighting, kind: str) -> Iterator[Doubt]:
    """Report fields that may affect which node learns which route, as far as chaosext knows."""
    for name, spec in seen.objects.get(kind, ()):
        for key in sorted(spec.keys() - HARMLESS[kind] - READ[kind]):
            said = "what it does to routes isn't modelled"
            yield Doubt(subject=f"{kind}/{name}", key=f"spec.{key}", why=said)


def _of_bgp(seen: Sighting) -> Iterator[Doubt]:
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
        if spec.get("disableBGPExport"):
            said = "its addresses are not announced"
            yield Doubt(subject=f"IPPool/{name}", key="spec.disableBGPExport", why=said)


def _settings(seen: Sighting) -> Iterator[Doubt]:
    if why := seen.missed.get("FelixConfiguration"):
        said = f"it could not be read ({why}), and may disable VXLAN or enable eBPF"
        yield Doubt(subject="FelixConfiguration", why=said)
    for name, spec in seen.objects.get("FelixConfiguration", ()):
        if spec.get("bpfEnabled"):
            said = "what Felix' eBPF programs do in a cut isn't modelled"
            yield Doubt(subject=f"FelixConfiguration/{name}", key="spec.bpfEnabled", why=said)
        if spec.get("vxlanEnabled") is False:
            yield Doubt(
                subject=f"FelixConfiguration/{name}", key="spec.vxlanEnabled", why="VXLAN is turned off"
            )
    for name, spec in seen.objects.get("Installation", ()):
        yield from _installed(name, spec)


def _installed(name: str, spec: Values) -> Iterator[Doubt]:
    """Report doubts from Tigera's operator: Calico for policy only, or with another dataplane."""
    plugin, plane = _text(spec, "cni", "type"), _text(spec, "calicoNetwork", "linuxDataplane")
    if plugin not in ("", "Calico"):
        said = f"{plugin} carries Pod traffic, and Calico only its policy"
        yield Doubt(subject=f"Installation/{name}", key="spec.cni.type", why=said)
    if plane not in ("", "Iptables", "Nftables"):
        said = f"what the dataplane {plane} does in a cut isn't modelled"
        yield Doubt(subject=f"Installation/{name}", key="spec.calicoNetwork.linuxDataplane", why=said)


def _text(spec: Values, part: str, key: str) -> str:
    found = spec.get(part)
    return str(found.get(key) or "") if isinstance(found, dict) else ""


def _cilium(seen: Sighting) -> Shown:
    homes = {pod.namespace for pod in _templates(seen.pods) if "cilium" in _names(pod)} or {"kube-system"}
    doubts = [*_agents_missing(seen, "cilium")]
    for home in sorted(homes):
        config = seen.configs.get((home, CILIUM_CONFIG))
        doubts += _not_tunnelling(f"ConfigMap/{home}/{CILIUM_CONFIG}", config)
    for (_, kind), subject in seen.others.items():
        if kind.startswith("CiliumBGP"):
            doubts.append(Doubt(subject=subject, why=SPEAKS_BGP))
        if kind == "CiliumNodeConfig":
            doubts.append(Doubt(subject=subject, why="it may disable tunnels on some nodes"))
    if doubts:
        return _doubted(*doubts)
    return Shown(plugin=Plugin.OVERLAY, shown="Cilium's tunnels, by its ConfigMap cilium-config")


def _not_tunnelling(subject: str, config: Mapping[str, str] | None) -> Iterator[Doubt]:
    if config is None:
        said = "is not in the snapshot, so it is not proven that Cilium tunnels Pod traffic"
        yield Doubt(subject=subject, key="routing-mode", why=said)
        return
    mode, tunnel = config.get("routing-mode", ""), config.get("tunnel", "")
    if mode != "tunnel" and (mode or tunnel not in ("vxlan", "geneve")):
        said = f"says {mode!r}, not 'tunnel': routes of a native network aren't modelled"
        yield Doubt(subject=subject, key="routing-mode", why=said)
    if tunnel not in ("", "vxlan", "geneve"):
        yield Doubt(subject=subject, key="tunnel", why=f"says {tunnel!r}, neither vxlan nor geneve")
    for key in ("enable-bgp-control-plane", "bgp-announce-pod-cidr"):
        if config.get(key, "false") != "false":
            yield Doubt(subject=subject, key=key, why=SPEAKS_BGP)
    if config.get("ipam", "") not in CLUSTER_IPAMS:
        said = f"says {config['ipam']!r}: Pods have a cloud's addresses"
        yield Doubt(subject=subject, key="ipam", why=said)


def _flannel(seen: Sighting) -> Shown:
    doubts = (*_not_encapsulating(seen), *_agents_missing(seen, *FLANNEL_AGENTS, unless=K3S))
    if doubts:
        return _doubted(*doubts)
    said = f"flannel's tunnels ({', '.join(sorted(set(seen.backends.values())))}), by the annotation of every node"
    return Shown(plugin=Plugin.OVERLAY, shown=said)


def _not_encapsulating(seen: Sighting) -> Iterator[Doubt]:
    of: dict[str, list[str]] = defaultdict(list)
    for node in seen.nodes:
        of[seen.backends.get(node.name, "")].append(node.name)
    for backend, names in sorted(of.items()):
        if backend not in TUNNELS:
            said = f"says {backend!r}, not {' or '.join(TUNNELS)}" if backend else "is missing"
            why = f"{said}, so it is not proven that flannel tunnels all Pod traffic"
            yield Doubt(subject=f"Node/{_few(names)}", key=f"annotation {BACKEND}", why=why)


def _fabric(name: str, agent: str) -> Callable[[Sighting], Shown]:
    def proof(seen: Sighting) -> Shown:
        doubts = _agents_missing(seen, agent)
        if doubts:
            return _doubted(*doubts)
        said = f"{name}: Pods have addresses of the cloud's own network, by {agent} on every node"
        return Shown(plugin=Plugin.ROUTED, shown=said)

    return proof


def _doubted(*doubts: Doubt) -> Shown:
    return Shown(plugin=Plugin.UNKNOWN, doubts=doubts)


_PROOFS: Mapping[str, Callable[[Sighting], Shown]] = {
    CALICO: _calico,
    CILIUM: _cilium,
    FLANNEL: _flannel,
    AWS: _fabric(AWS, "aws-node"),
    AZURE: _fabric(AZURE, "azure-cns"),
}
"""Network -> function that proves that it carries Pod traffic, and how, or lists the doubts."""
