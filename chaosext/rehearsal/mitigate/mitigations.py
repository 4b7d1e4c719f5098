"""Mitigations that may keep a cut from becoming an outage: their effect on a world, and the patch for the cluster.

A mitigation that does not apply, or is already in place, returns the same world object.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import ZONE_LABEL, BgpPeer
from chaosext.model.errors import Refused
from chaosext.rehearsal.mitigate.nodelocal_dns import NAME, NAMESPACE, SERVE_STALE, manifests
from chaosext.rehearsal.mitigate.pod_templates import (
    APPLY,
    ROLLED_OUT_WITHIN,
    given,
    longer_s,
    moved,
    patched,
    template_of,
    tolerating,
    toleration_json,
)
from chaosext.rehearsal.mitigate.quorum_workloads import (
    how_to_spread_members,
    how_to_tolerate_longer,
    spread_members,
    tolerate_longer,
)
from chaosext.rehearsal.network.calico_routes import CalicoRoutes
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.simulate.dns_capture import meshed_nodes
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar
from chaosext.rehearsal.snapshot.control_plane_flags import TAINT_EVICTION_SINCE, minor
from chaosext.rehearsal.snapshot.dns_detection import NODE_CACHES, is_node_cache
from chaosext.rehearsal.snapshot.node_patterns import behind, templates
from chaosext.rehearsal.snapshot.reader import MANAGER
from chaosext.rehearsal.snapshot.world import (
    Affinity,
    LabelSelector,
    NodeTerm,
    PodSpec,
    Requirement,
    Spread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.snapshot.world import Node, World

HOSTNAME = "kubernetes.io/hostname"
REGION_LABEL = "topology.kubernetes.io/region"
ROLE_PREFIX = "node-role.kubernetes.io/"

STALE_S = 86_400.0
"""How long expired names are served with `serve-stale`, in seconds."""

MANIFEST = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
"""kubeadm's static Pod."""

CRD_GROUP = "crd.projectcalico.org/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigation:
    """A mitigation. `apply` returns the world with it in place; `how` the commands that apply it to the given world.

    `idle` says why it may have no effect. `reach` ranks the extent of the change: 1 kube-dns' own template, 2
    the fabric's routes or the templates of single workloads, 3 labels that control other things too, 4 every node.
    """

    name: str
    reach: int
    apply: Callable[[World, Plan], World]
    how: Callable[[World, Plan], str]
    idle: str


def mitigated(world: World, plan: Plan, names: Iterable[str]) -> World:
    """Return the world with these mitigations in place, and an assumption that says so for each."""
    for name in dict.fromkeys(names):
        each = MITIGATIONS[name]
        changed = each.apply(world, plan)
        said = (
            f"assumes that {name} is in place"
            if changed is not world
            else f"{name} changes nothing: {each.idle}"
        )
        world = replace(changed, assumptions=(*changed.assumptions, said))
    return world


def commands(world: World, plan: Plan, name: str) -> str:
    """Return the commands that put this mitigation in place. Raises `Refused` if it changes nothing here."""
    each = MITIGATIONS[name]
    if each.apply(world, plan) is world:
        raise Refused(
            f"{name} changes nothing here: {each.idle}",
            "name another mitigation; a rehearsal of the same cut lists those that help",
        )
    return f"{each.how(world, plan)}\n"


# -- kube-dns' own template ------------------------------------------------------------------------------------


def _with_dns(world: World, change: Callable[[PodSpec], PodSpec]) -> World:
    """Change the template of kube-dns' Pods, and move Pods that may no longer be on their node."""
    pods = behind(world.dns, world.pods)
    if any(pod.owner.startswith("DaemonSet/") for pod in pods):
        return world
    specs = {id(pod.spec): change(pod.spec) for pod in pods}
    if all(specs[id(pod.spec)] is pod.spec for pod in pods):
        return world
    taken = Counter(pod.node for pod in pods)
    changed = {id(pod): moved(world, replace(pod, spec=specs[id(pod.spec)]), taken) for pod in pods}
    return replace(world, pods=tuple(changed.get(id(pod), pod) for pod in world.pods))


def _patch_dns(world: World, spec: Mapping[str, Any]) -> str:
    """Return the commands that patch kube-dns' template and wait for the rollout."""
    pod = behind(world.dns, world.pods)[0]
    return patched(pod.namespace, *template_of(world, pod), {"spec": spec})


# -- dns-affinity ------------------------------------------------------------------------------------------------


def _keep_off(world: World, plan: Plan) -> World:
    shunned = unannounced(routes_of(world, plan.cut_nodes), world.nodes)
    if not shunned or len(shunned) == len(world.nodes):
        return world
    apart = _apart_from(world.nodes, frozenset(shunned))
    return _with_dns(world, lambda spec: _required(spec, apart))


def _apart_from(nodes: Sequence[Node], shunned: frozenset[str]) -> Requirement:
    """Return an expression that matches all nodes but these.

    It uses a label that only these nodes have, preferably a role, or else their hostnames.
    """
    theirs = [node.labels.keys() for node in nodes if node.name in shunned]
    others = {key for node in nodes if node.name not in shunned for key in node.labels}
    only = set.intersection(*map(set, theirs)) - others
    if only:
        return Requirement(
            key=min(only, key=lambda key: (not key.startswith(ROLE_PREFIX), key)), operator="DoesNotExist"
        )
    values = tuple(node.labels.get(HOSTNAME, node.name) for node in nodes if node.name in shunned)
    return Requirement(key=HOSTNAME, operator="NotIn", values=values)


def _required(spec: PodSpec, apart: Requirement) -> PodSpec:
    affinity = spec.affinity or Affinity()
    terms = affinity.required_nodes or (NodeTerm(),)
    if all(apart in term.requirements for term in terms):
        return spec
    wanted = tuple(replace(term, requirements=(*term.requirements, apart)) for term in terms)
    return replace(spec, affinity=replace(affinity, required_nodes=wanted))


def _how_to_keep_off(world: World, plan: Plan) -> str:
    affinity = behind(world.dns, _keep_off(world, plan).pods)[0].spec.affinity
    terms = [_term_json(term) for term in (affinity.required_nodes if affinity else None) or ()]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return _patch_dns(world, {"affinity": {"nodeAffinity": required}})


def _term_json(term: NodeTerm) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if term.requirements:
        found["matchExpressions"] = [_requirement_json(each) for each in term.requirements]
    if term.names:
        found["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": list(term.names)}]
    return found


def _requirement_json(each: Requirement) -> dict[str, Any]:
    said: dict[str, Any] = {"key": each.key, "operator": each.operator}
    return said | ({"values": list(each.values)} if each.values else {})


# -- bgp-on-control-plane ----------------------------------------------------------------------------------------


def _peer_all(world: World, plan: Plan) -> World:
    peer = _another_peer(world, plan)
    if peer is None:
        return world
    return replace(world, network=replace(world.network, peers=(*world.network.peers, peer)))


def _another_peer(world: World, plan: Plan) -> BgpPeer | None:
    """Return a BGPPeer with the leaf for nodes that lack one; None if there is no leaf, or no node lacks it."""
    routes = routes_of(world, plan.cut_nodes)
    lacking = unannounced(routes, world.nodes)
    if not isinstance(routes, CalicoRoutes) or not lacking or not routes.fabric_peers:
        return None
    leaf = routes.fabric_peers[0]
    return replace(leaf, name=f"{leaf.name}-for-all", node="", node_selector=_calico_selector(world, lacking))


def _calico_selector(world: World, lacking: Sequence[str]) -> str:
    apart = _apart_from(world.nodes, frozenset(lacking))
    if apart.operator == "DoesNotExist":
        return f"has({apart.key})"
    return f"{apart.key} in {{{', '.join(repr(value) for value in apart.values)}}}"


def _how_to_peer(world: World, plan: Plan) -> str:
    peer = _another_peer(world, plan)
    if peer is None:
        return ""
    spec = {"peerIP": peer.peer_ip, "asNumber": peer.as_number, "nodeSelector": peer.node_selector}
    named = {"apiVersion": CRD_GROUP, "kind": "BGPPeer", "metadata": {"name": peer.name}, "spec": spec}
    return (
        "# the leaf must accept them as neighbours; if each rack has its own leaf, name that one\n"
        + given(APPLY, named)
    )


# -- reflectors-off-control-plane --------------------------------------------------------------------------------

REFLECTOR_LABEL, REFLECTOR_VALUE = "route-reflector", "beside-control-plane"
REFLECTOR_CLUSTER_ID = "244.0.0.17"
REFLECTORS = 2
"""Reflectors to add: with one, a lost node takes all routes with it."""


def _reflect_beside(world: World, plan: Plan) -> World:
    homes = _reflector_homes(world, plan)
    if not homes:
        return world
    label = {REFLECTOR_LABEL: REFLECTOR_VALUE}
    nodes = tuple(
        replace(node, labels={**node.labels, **label}, reflector_cluster=REFLECTOR_CLUSTER_ID)
        if node.name in homes
        else node
        for node in world.nodes
    )
    peers = (*world.network.peers, _reflector_peer())
    return replace(world, nodes=nodes, network=replace(world.network, peers=peers))


def _reflector_homes(world: World, plan: Plan) -> tuple[str, ...]:
    """Return nodes for reflectors on the cut side, in different zones if possible; none if no route would be lost."""
    routes = routes_of(world, plan.cut_nodes)
    if not isinstance(routes, CalicoRoutes) or not routes.proof.holds or not routes.ends_between_cut_nodes:
        return ()
    free = [node for node in world.nodes if node.name in plan.cut_nodes and not node.reflector_cluster]
    first_of_zone = {node.zone: node for node in reversed(free)}
    ranked = dict.fromkeys(node.name for node in (*first_of_zone.values(), *free))
    return tuple(ranked)[:REFLECTORS]


def _reflector_peer() -> BgpPeer:
    selector = f"{REFLECTOR_LABEL} == '{REFLECTOR_VALUE}'"
    name = f"reflectors-{REFLECTOR_VALUE}"
    return BgpPeer(name=name, peer_ip="", node="", node_selector="all()", peer_selector=selector, as_number=0)


def _how_to_reflect(world: World, plan: Plan) -> str:
    homes = " ".join(_reflector_homes(world, plan))
    peer = _reflector_peer()
    spec = {"nodeSelector": peer.node_selector, "peerSelector": peer.peer_selector}
    named = {"apiVersion": CRD_GROUP, "kind": "BGPPeer", "metadata": {"name": peer.name}, "spec": spec}
    return (
        "# a node's sessions restart when it becomes a reflector\n"
        f"kubectl label --overwrite node {homes} {REFLECTOR_LABEL}={REFLECTOR_VALUE}\n"
        f"kubectl annotate --overwrite node {homes} projectcalico.org/RouteReflectorClusterID={REFLECTOR_CLUSTER_ID}\n"
        + given(APPLY, named)
    )


# -- nodelocal-dns -----------------------------------------------------------------------------------------------


def _cache_locally(world: World, plan: Plan) -> World:
    if world.dns is None or world.network.nodelocal_dns:
        return world
    return replace(world, network=replace(world.network, nodelocal_dns=True))


def _how_to_cache(world: World, plan: Plan) -> str:
    address = next(iter(world.dns.cluster_ips), "") if world.dns else ""
    objects = manifests(address, dict(world.dns.selector) if world.dns else {})
    return "\n".join(
        (
            "# for kube-proxy in iptables or nftables mode; the nodes must be able to pull the image",
            given(APPLY, *objects["items"]),
            f"kubectl --namespace {NAMESPACE} rollout status daemonset/{NAME} --timeout {ROLLED_OUT_WITHIN}",
        )
    )


# -- serve-stale --------------------------------------------------------------------------------------------------


def _serve_stale(world: World, plan: Plan) -> World:
    if world.dns is None or not world.network.nodelocal_dns or world.dns_stale_s >= STALE_S:
        return world
    return replace(world, dns_stale_s=STALE_S)


def _how_to_serve_stale(world: World, plan: Plan) -> str:
    labels = (pod.spec.labels for pod in world.pods if is_node_cache(pod.spec))
    name = next((value for each in labels for value in each.values() if value in NODE_CACHES), NAME)
    kubectl = f"kubectl --namespace {NAMESPACE}"
    add = f'{{print}} /cache [{{]/ && !done {{print "        {SERVE_STALE}"; done = 1}}'
    name_of = f"configmap {name}"
    read, made = "jsonpath={.data.Corefile}", "--from-file Corefile=/dev/stdin --dry-run=client --output json"
    return "\n".join(
        (
            "# names that were looked up before are answered for a day; a platform that manages the cache may undo it",
            f"{kubectl} get {name_of} --output '{read}' | awk '{add}' \\\n"
            f"  | kubectl create {name_of} {made} \\\n"
            f"  | {kubectl} patch {name_of} --type merge --patch-file /dev/stdin",
            f"{kubectl} rollout restart daemonset/{name}",
            f"{kubectl} rollout status daemonset/{name} --timeout {ROLLED_OUT_WITHIN}",
        )
    )


# -- pause-evictions ----------------------------------------------------------------------------------------------


def _pause(world: World, plan: Plan) -> World:
    if not _managers(world) or not world.control_plane.evicts:
        return world
    return replace(world, control_plane=replace(world.control_plane, evicts=False))


def _managers(world: World) -> list[str]:
    """Return the nodes of kube-controller-manager's static Pods, if it can be run without taint evictions."""
    if minor(world.control_plane.version) < TAINT_EVICTION_SINCE:
        return []
    static = (pod for pod in world.pods if pod.name.startswith(MANAGER) and pod.owner.startswith("Node/"))
    return sorted({pod.node for pod in static if pod.namespace == NAMESPACE})


def _how_to_pause(world: World, plan: Plan) -> str:
    said = "# meanwhile no Pod leaves a failed node by itself, whatever its failure; undo it after the window"
    edits = (
        ("s/--controllers=[*]/&,-taint-eviction-controller/", ""),
        ("s/,-taint-eviction-controller//", "# undo: "),
    )
    lines = (
        f"{before}ssh {node} \"sudo sed -i '{edit}' {MANIFEST}\""
        for edit, before in edits
        for node in _managers(world)
    )
    return "\n".join((said, *lines))


# -- longer-tolerations ------------------------------------------------------------------------------------------


def _stay_longer(world: World, plan: Plan) -> World:
    return _with_dns(world, lambda spec: tolerating(spec, longer_s(plan)))


def _how_to_stay(world: World, plan: Plan) -> str:
    tolerations = behind(world.dns, _stay_longer(world, plan).pods)[0].spec.tolerations
    return _patch_dns(world, {"tolerations": [toleration_json(each) for each in tolerations]})


# -- zones -------------------------------------------------------------------------------------------------------


def _share_zones(world: World, plan: Plan) -> World:
    homes = _homes(world, plan)
    if not homes:
        return world
    return replace(world, nodes=tuple(_in_zone(node, homes.get(node.name)) for node in world.nodes))


def _homes(world: World, plan: Plan) -> dict[str, Node]:
    """Return control-plane node -> a node of the zone that it joins.

    Candidates are zones that the cut takes entirely, the largest first. With one remaining node, such a zone
    is no longer in FullDisruption, in which evictions continue.
    """
    sizes = Counter(node.zone for node in world.nodes)
    lost = Counter(node.zone for node in world.nodes if node.name in plan.cut_nodes)
    zones = sorted(
        (zone for zone in lost if lost[zone] == sizes[zone] > 1), key=lambda zone: (-sizes[zone], zone)
    )
    example = {node.zone: node for node in reversed(world.nodes)}
    stay = [node for node in world.nodes if node.control_plane and node.name not in plan.cut_nodes]
    return {node.name: example[zone] for node, zone in zip(stay, cycle(zones), strict=False)} if zones else {}


def _in_zone(node: Node, like: Node | None) -> Node:
    if like is None:
        return node
    return replace(node, zone=like.zone, labels={**node.labels, **_zone_labels(like)})


def _zone_labels(node: Node) -> dict[str, str]:
    return {key: node.labels[key] for key in (REGION_LABEL, ZONE_LABEL) if key in node.labels}


def _how_to_share(world: World, plan: Plan) -> str:
    lines = ["# zones also affect storage and spreading: only label a node that is, or will be, in that zone"]
    for name, like in _homes(world, plan).items():
        labels = " ".join(f"{key}={value}" for key, value in _zone_labels(like).items())
        lines.append(f"kubectl label node {name} {labels} --overwrite")
    return "\n".join(lines)


# -- spread ------------------------------------------------------------------------------------------------------


def _spread_out(world: World, plan: Plan) -> World:
    return _with_dns(world, lambda spec: _spreading(spec, world.dns.selector if world.dns else {}))


def _spreading(spec: PodSpec, labels: Mapping[str, str]) -> PodSpec:
    if any(each.required and each.topology_key == HOSTNAME for each in spec.spreads):
        return spec
    wanted = tuple(Requirement(key=key, operator="In", values=(value,)) for key, value in labels.items())
    spread = Spread(
        max_skew=1, topology_key=HOSTNAME, required=True, selector=LabelSelector(requirements=wanted)
    )
    others = tuple(each for each in spec.spreads if each.topology_key != HOSTNAME)
    return replace(spec, spreads=(*others, spread))


def _how_to_spread(world: World, plan: Plan) -> str:
    spread = {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": dict(world.dns.selector) if world.dns else {}},
    }
    return _patch_dns(world, {"topologySpreadConstraints": [spread]})


# -- dns-capture -------------------------------------------------------------------------------------------------


def _capture(world: World, plan: Plan) -> World:
    if world.mesh is None or world.mesh.captures_dns or not meshed_nodes(world):
        return world
    return replace(world, mesh=replace(world.mesh, captures_dns=True))


def _meshed(world: World) -> list[tuple[str, str]]:
    """Return (namespace, kind/name) of each workload with a sidecar."""
    found: dict[tuple[str, str], None] = {}
    for pod in templates(world.pods):
        if pod.owner and sidecar(pod.spec) is not SidecarKind.NONE:
            kind, name = template_of(world, pod)
            found[pod.namespace, f"{kind.lower()}/{name}"] = None
    return sorted(found)


def _how_to_capture(world: World, plan: Plan) -> str:
    """Return the commands that turn on DNS proxying of Istio's sidecars, for all of them, and restart these."""
    space = world.mesh.istiod.namespace if world.mesh else ""
    proxies = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "ProxyConfig",
        "metadata": {"name": "dns-capture", "namespace": space},
        "spec": {"environmentVariables": {"ISTIO_META_DNS_CAPTURE": "true"}},
    }
    lines = [
        "# restarts every workload with a sidecar; names outside the cluster, Pods without a sidecar and new sidecars,",
        "# which look up istiod, still need kube-dns",
        given(APPLY, proxies),
    ]
    for namespace, workload in _meshed(world):
        kubectl = f"kubectl --namespace {namespace} rollout"
        lines += (
            f"{kubectl} restart {workload}",
            f"{kubectl} status {workload} --timeout {ROLLED_OUT_WITHIN}",
        )
    return "\n".join(lines)


MITIGATIONS: Mapping[str, Mitigation] = {
    each.name: each
    for each in (
        Mitigation(
            name="dns-affinity",
            reach=1,
            apply=_keep_off,
            how=_how_to_keep_off,
            idle="kube-dns already avoids such nodes, or every node's Pods are announced",
        ),
        Mitigation(
            name="bgp-on-control-plane",
            reach=2,
            apply=_peer_all,
            how=_how_to_peer,
            idle="every node's Pods are announced, or the snapshot shows no leaf that could learn them",
        ),
        Mitigation(
            name="reflectors-off-control-plane",
            reach=2,
            apply=_reflect_beside,
            how=_how_to_reflect,
            idle="no route between cut nodes depends on a route reflector across the cut",
        ),
        Mitigation(
            name="nodelocal-dns",
            reach=4,
            apply=_cache_locally,
            how=_how_to_cache,
            idle="NodeLocal DNSCache is already running, or there is no kube-dns",
        ),
        Mitigation(
            name="serve-stale",
            reach=2,
            apply=_serve_stale,
            how=_how_to_serve_stale,
            idle="NodeLocal DNSCache is not running, or already serves expired names for that long",
        ),
        Mitigation(
            name="pause-evictions",
            reach=3,
            apply=_pause,
            how=_how_to_pause,
            idle="kube-controller-manager runs as no static Pod here, or is older than 1.29, or does not evict anyway",
        ),
        Mitigation(
            name="longer-tolerations",
            reach=1,
            apply=_stay_longer,
            how=_how_to_stay,
            idle="kube-dns already tolerates that long, or there is no kube-dns",
        ),
        Mitigation(
            name="zones",
            reach=3,
            apply=_share_zones,
            how=_how_to_share,
            idle="no zone would be lost as a whole, or no control-plane node remains that could be in it",
        ),
        Mitigation(
            name="spread",
            reach=1,
            apply=_spread_out,
            how=_how_to_spread,
            idle="kube-dns is already spread, or there is no kube-dns",
        ),
        Mitigation(
            name="workload-tolerations",
            reach=2,
            apply=tolerate_longer,
            how=how_to_tolerate_longer,
            idle="no quorum of a StatefulSet or Deployment would lose most of its members to evictions",
        ),
        Mitigation(
            name="workload-spread",
            reach=2,
            apply=spread_members,
            how=how_to_spread_members,
            idle="no quorum would lose most of its members to evictions, or no spread would leave it enough of them",
        ),
        Mitigation(
            name="dns-capture",
            reach=4,
            apply=_capture,
            how=_how_to_capture,
            idle="sidecars of Istio already answer lookups, or on every node some Pod has none",
        ),
    )
}
"""Name -> mitigation; equally good ones are recommended in this order."""
