"""The sentinels' watch plan, from the cluster's objects, and again when these change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.checks import dns_resolvable
from chaosext.checks.cluster_model import BgpSpeaker
from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.checks.pod_nameservers import by_config_map
from chaosext.checks.pod_reachability import target_of, targets_of
from chaosext.cluster.bgp_peers import expected_peers
from chaosext.cluster.client import NotFound
from chaosext.model.errors import Refused
from chaosext.model.result import Lane
from chaosext.run.agents.diagnosis import WITHOUT
from chaosext.sentinel.watch_plan import Named, PodTarget, Sidecar, WatchPlan
from chaosext.timeline.sample_windows import API_SERVER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.checks.cluster_model import BgpUse
    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Endpoint, Pod, Service

NAMESERVER = "nameserver of Pods"
"""The name of what kubelet hands out, where it is not the Service of cluster DNS."""

ISTIOD_XDS_PORT = 15012
"""Port from which sidecars get their configuration, over mutual TLS (istio.io, "Ports used by Istio")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What there is to watch. `known_name`: addresses that the API server's name must resolve to.

    `nameserver`: the address that Pods ask; that of `dns_service`, or of a cache on each node. `istiod` is None without
    a mesh. `bgp_peers`: node -> its peers by Calico's configuration; a node without one is left out.
    """

    nameserver: str
    dns_service: str
    dns_endpoints: tuple[Endpoint, ...]
    known_name: tuple[str, ...]
    api_servers: tuple[Endpoint, ...]
    istiod: Service | None
    services: tuple[Service, ...]
    pods: tuple[Pod, ...]
    dns_pods: tuple[Pod, ...]
    bgp_peers: Mapping[str, tuple[str, ...]]
    by_gobgp: bool


def gather(cluster: Cluster, namespaces: Sequence[str], bgp: BgpUse) -> Ground:
    """Read the API server; Pods and Services of `namespaces` (empty: all) count. `bgp`: who carries Pod routes by BGP.

    Raises `Refused` if there is no cluster DNS.
    """
    scope: Sequence[str | None] = tuple(namespaces) or (None,)
    service = _dns_service(cluster)
    return Ground(
        nameserver=next(iter(by_config_map(cluster)), service),
        dns_service=service,
        dns_endpoints=cluster.endpoint_slices(dns_resolvable.NAMESPACE, dns_resolvable.SERVICE),
        known_name=cluster.service("default", "kubernetes").cluster_ips,
        api_servers=cluster.endpoint_slices("default", "kubernetes"),
        istiod=_istiod(cluster),
        services=tuple(each for namespace in scope for each in cluster.services(namespace)),
        pods=tuple(pod for namespace in scope for pod in cluster.pods(namespace)),
        dns_pods=cluster.pods(dns_resolvable.NAMESPACE, KUBE_DNS_SELECTOR),
        bgp_peers=_bgp_peers(cluster, bgp),
        by_gobgp=bgp.speaker is BgpSpeaker.KUBE_ROUTER,
    )


def plan_for(ground: Ground, run: str, ends_after_s: float) -> WatchPlan:
    """The plan for the topology `ground`. `ends_after_s`: the longest duration of the run, seconds."""
    tcp = (*_api_servers(ground.api_servers), *_istiod_target(ground.istiod), *_applications(ground))
    plan = WatchPlan(
        run=run,
        dns_name=dns_resolvable.API_SERVER_NAME,
        dns_expected=ground.known_name,
        dns_servers=tuple(_nameservers(ground)),
        tcp=tcp,
        istiod="".join(each.target for each in _istiod_target(ground.istiod)),
        bgp_peers=ground.bgp_peers,
        by_gobgp=ground.by_gobgp,
        ends_after_s=ends_after_s,
    )
    pods = (*ground.pods, *ground.dns_pods)
    return planned_anew(plan, ground.dns_endpoints, filter(has_sidecar, ground.pods), pods)


def _nameservers(ground: Ground) -> Iterator[Named]:
    """Yield the nameserver that Pods ask, and the Service where that is another one."""
    if ground.nameserver != ground.dns_service:
        yield Named(target=ground.nameserver, label=NAMESERVER)
    yield Named(target=ground.dns_service, label=dns_resolvable.SERVICE)


def planned_anew(
    plan: WatchPlan, dns_endpoints: Iterable[Endpoint], meshed: Iterable[Pod], pods: Iterable[Pod]
) -> WatchPlan:
    """`plan` with these Pods behind kube-dns, these sidecars, and one of `pods` on each node.

    An endpoint of kube-dns that is not ready is watched only if it was before: whether it still answers matters.
    A duplicate address (reused by another Pod, or in overlapping slices) is watched once.
    """
    own = tuple(each for each in plan.dns_servers if each.label in (NAMESERVER, dns_resolvable.SERVICE))
    watched = {each.target for each in plan.dns_servers}
    by_address = {each.ip: each for each in sorted(dns_endpoints, key=lambda each: (each.ip, each.ready))}
    behind = tuple(
        Named(target=ip, label=pod_on(each)) for ip, each in by_address.items() if each.ready or ip in watched
    )
    return replace(
        plan,
        dns_servers=(*own, *behind),
        routes=behind if plan.bgp_peers else (),
        pods=tuple(_pod_targets(plan.pods, pods)),
        sidecars=tuple(sorted(map(_sidecar, meshed), key=lambda each: each.pod)),
    )


def absent_lanes(plan: WatchPlan) -> frozenset[Lane]:
    """Return the lanes of what the cluster does not have: BGP that carries Pod routes, or a mesh."""
    mesh = () if plan.istiod or plan.sidecars else (Lane.XDS, Lane.SIDECAR_READY)
    return frozenset((*mesh, *(() if plan.bgp_peers else (Lane.BGP, Lane.ROUTES))))


def _pod_targets(watched: Iterable[PodTarget], pods: Iterable[Pod]) -> Iterator[PodTarget]:
    """Yield a Pod for each node that has one: the same one for as long as it exists, even if its node is lost."""
    there = [pod for pod in sorted(pods, key=lambda pod: pod.subject) if _has_address(pod)]
    chosen = targets_of(there)
    kept = {each.node: each for each in watched}
    now = {(pod.node, str(target_of(pod))): pod for pod in there}
    for node in sorted({pod.node for pod in there}):
        before = kept.get(node)
        if before and (node, before.target) in now:
            yield before
        elif targets := chosen.get(node):
            target = str(targets[0])
            yield PodTarget(node=node, target=target, label=f"Pod {now[node, target].name} on {node}")


def _has_address(pod: Pod) -> bool:
    return pod.phase == "Running" and not pod.host_network and bool(pod.node and pod.ips)


def has_sidecar(pod: Pod, lost: Collection[str] = ()) -> bool:
    """Whether a sentinel should ask its sidecar.

    A Pod that is being deleted ends by design, except on a node that is `lost` to the control plane.
    """
    lives = pod.phase in ("Pending", "Running") and (not pod.terminating or pod.node in lost)
    return lives and pod.injected and not pod.host_network and bool(pod.node and pod.ips)


def _sidecar(pod: Pod) -> Sidecar:
    return Sidecar(node=pod.node, pod=pod.subject, address=pod.ips[0])


def pod_on(endpoint: Endpoint) -> str:
    """The name of an address behind kube-dns."""
    return f"{endpoint.pod.rpartition('/')[2] or dns_resolvable.SERVICE} on {endpoint.node or 'no node'}"


def _dns_service(cluster: Cluster) -> str:
    addresses = cluster.service(dns_resolvable.NAMESPACE, dns_resolvable.SERVICE).cluster_ips
    if not addresses:
        raise Refused(
            f"Service {dns_resolvable.NAMESPACE}/{dns_resolvable.SERVICE} has no address, "
            "so there is no cluster DNS to watch",
            f"give it a clusterIP, or {WITHOUT}",
        )
    return addresses[0]


def _istiod(cluster: Cluster) -> Service | None:
    try:
        return cluster.service("istio-system", "istiod")
    except NotFound:
        return None


def _bgp_peers(cluster: Cluster, bgp: BgpUse) -> Mapping[str, tuple[str, ...]]:
    """Return node -> its peers, as far as a sentinel can see their sessions; kube-router's with all other nodes."""
    if bgp.speaker in (BgpSpeaker.NOBODY, BgpSpeaker.CILIUM):
        return {}
    nodes = cluster.nodes()
    if bgp.speaker is BgpSpeaker.KUBE_ROUTER:
        return {node.name: expected_peers(node, nodes, (), mesh=True) for node in nodes} if bgp.meshed else {}
    try:
        peers, mesh = cluster.bgppeers(), cluster.node_to_node_mesh()
    except NotFound:
        return {}
    expected = {node.name: expected_peers(node, nodes, peers, mesh) for node in nodes}
    return {node: found for node, found in expected.items() if found}


def _api_servers(endpoints: Iterable[Endpoint]) -> Iterator[Named]:
    for each in endpoints:
        port = next((port.port for port in each.ports if port.name == "https"), 443)
        yield Named(target=_host_port(each.ip, port), label=API_SERVER)


def _istiod_target(istiod: Service | None) -> tuple[Named, ...]:
    if istiod is None or not istiod.cluster_ips:
        return ()
    return (Named(target=_host_port(istiod.cluster_ips[0], ISTIOD_XDS_PORT), label="istiod"),)


def _applications(ground: Ground) -> Iterator[Named]:
    """One Service with sidecars and one without, if they exist: a sidecar answers for the first one's Pods."""
    meshed = [pod for pod in ground.pods if pod.injected]
    for kind, wanted in (("meshed", True), ("unmeshed", False)):
        named = (_application(each, kind) for each in ground.services if _leads_to(each, meshed) is wanted)
        yield from [each for each in named if each][:1]


def _application(service: Service, kind: str) -> Named | None:
    port = next((each.port for each in service.ports if each.protocol == "TCP"), None)
    if port is None or not service.cluster_ips or service.namespace in PLATFORM:
        return None
    label = f"{service.namespace}/{service.name} ({kind})"
    return Named(target=_host_port(service.cluster_ips[0], port), label=label)


PLATFORM = ("default", "kube-system", "istio-system")
"""Namespaces of the cluster's own Services: those that count are watched by name."""


def _leads_to(service: Service, pods: Iterable[Pod]) -> bool:
    wanted = service.selector.items()
    return bool(wanted) and any(
        pod.namespace == service.namespace and wanted <= pod.labels.items() for pod in pods
    )


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
