"""The cluster DNS that Pods really ask: the Service whose address kubelet hands out, whatever its name and workload.

Source: Kubernetes cmd/kubeadm/app/constants (`GetDNSIP`: the tenth address of the Service range) and
pkg/proxy/topology.go; OpenShift's cluster-dns-operator; CoreDNS' plugin `cache`; the NodeLocal DNSCache
manifests of Kubernetes and of Kubespray.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.node_patterns import behind, is_over, templates
from chaosext.rehearsal.snapshot.world import Alternative, Doubt, Nearness, Service, Toleration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot import documents as doc
    from chaosext.rehearsal.snapshot.world import Labels, Node, Pod, PodSpec, Workload, World

KNOWN = frozenset(
    {
        ("kube-system", "kube-dns"),
        ("kube-system", "coredns"),
        ("kube-system", "rke2-coredns-rke2-coredns"),
        ("openshift-dns", "dns-default"),
    }
)
"""(namespace, name) of the Services that installers give the cluster DNS."""

MARKS: Mapping[str, tuple[str, ...]] = {
    "k8s-app": ("kube-dns", "coredns"),
    "app.kubernetes.io/name": ("coredns", "rke2-coredns"),
    "dns.operator.openshift.io/owning-dns": ("default",),
    "dns.operator.openshift.io/daemonset-dns": ("default",),
}
"""Label -> values that mark a Service or a Pod of cluster DNS."""

CONTAINERS, HASH = ("coredns", "kubedns"), "pod-template-hash"
"""Names of the containers of cluster DNS, and the label that is not a name."""

HOMES = ("kube-system", "openshift-dns")
"""Namespaces in which such a label is as good as a known name; elsewhere it may be another project's CoreDNS."""

NODE_CACHES = ("node-local-dns", "nodelocaldns")
"""Names of NodeLocal DNSCache: Kubernetes' manifest, and Kubespray's."""

KUBELET_CONFIG = "kubelet-config"
"""kubeadm's ConfigMap in kube-system with kubelet's configuration; before 1.24 its name ended in the version."""

SETTLES = f"ConfigMap kube-system/{KUBELET_CONFIG} (clusterDNS) would settle it"

LOCAL_WITH_FALLBACK = "traffic-policy.network.alpha.openshift.io/local-with-fallback"
"""OpenShift's annotation: a node uses the endpoints on itself while there are any."""

TOPOLOGY = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
"""Annotations that ask for zone hints; the controller gives them only if they balance the load ("Auto")."""

DISTRIBUTIONS = {
    "PreferClose": Nearness.ZONE,
    "PreferSameZone": Nearness.ZONE,
    "PreferSameNode": Nearness.NODE,
}
"""Service spec.trafficDistribution -> the endpoints that kube-proxy uses while there are any."""

PORT = 53

_HANDED_OUT = re.compile(
    r"^[ \t]*\"?clusterDNS\"?:[ \t]*(?:\[([^\]]*)\]|((?:\n[ \t]*-[ \t]*\S+)+))", re.MULTILINE
)
_SERVER = re.compile(r"^([^\s#{}][^{}\n]*)\{", re.MULTILINE)
_STALE = re.compile(
    r"^\s*serve_stale(?:[ \t]+((?:\d+(?:\.\d+)?(?:ms|h|m|s))+))?(?:[ \t]+\w+)?[ \t]*$", re.MULTILINE
)
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

STALE_S = 3600.0
"""Default duration of CoreDNS' `serve_stale`."""

SOON_S = 10
"""Seconds after which an autoscaler may have removed Pods of a lost node: its default poll period."""


# -- what is found -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSighting:
    """The evidence of cluster DNS: Services with their labels, Pods, and `handed_out`, kubelet's clusterDNS."""

    services: Sequence[tuple[Service, Labels]]
    pods: Sequence[Pod]
    handed_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsShown:
    """The Service of cluster DNS, what is assumed for that, and why it may be another one."""

    service: Service | None = None
    assumed: str = ""
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A Service that may be the cluster DNS. `sure`: its name or its place says so. `made`: only its Pods are seen."""

    service: Service
    pods: frozenset[str]
    sure: bool
    mark: str = ""
    made: bool = False


def find_dns(seen: DnsSighting) -> DnsShown:
    """Return the cluster DNS: the Service that kubelet hands out, else the only one that looks like it."""
    asked = [each for each in seen.handed_out if not _is_link_local(each)]
    if asked and seen.services:
        found = next((each for each, _ in seen.services if set(asked) & set(each.cluster_ips)), None)
        return DnsShown(service=found) if found else _elsewhere(asked, seen)
    return _by_looks(seen)


def _elsewhere(asked: Sequence[str], seen: DnsSighting) -> DnsShown:
    why = f"kubelet hands out {', '.join(asked)}, which is not the address of a Service in the snapshot"
    return replace(_by_looks(seen), doubts=(Doubt(subject="clusterDNS", why=why),))


def _by_looks(seen: DnsSighting) -> DnsShown:
    candidates = _distinct([*_services(seen), *_orphans(seen)])
    sure = [each for each in candidates if each.sure]
    left = sure or candidates
    if not left:
        return DnsShown(assumed="no kube-dns in the snapshot: DNS is unknown")
    if len(left) == 1:
        return DnsShown(service=left[0].service, assumed=_assumed(left[0]))
    named = " and ".join(sorted(each.service.subject for each in left))
    why = f"each looks like the cluster DNS, and it is unknown which one kubelet hands to Pods; {SETTLES}"
    first = min(left, key=lambda each: (each.service.name != "kube-dns", each.service.subject))
    return DnsShown(service=first.service, doubts=(Doubt(subject=named, why=why),))


def _assumed(found: _Candidate) -> str:
    if found.made:
        return f"no Service of cluster DNS in the snapshot: assumed to be the Pods with {found.mark}"
    if (found.service.namespace, found.service.name) in KNOWN:
        return ""
    return f"cluster DNS is {found.service.subject}, by its {found.mark}"


def _services(seen: DnsSighting) -> Iterator[_Candidate]:
    """Yield the Services that look like cluster DNS. An address alone counts only with DNS' port."""
    tenth = _tenth(seen.services)
    for service, labels in seen.services:
        known, mark = (service.namespace, service.name) in KNOWN, _mark(labels)
        at_tenth = PORT in service.ports and tenth in service.cluster_ips
        if service.cluster_ips and (known or mark or at_tenth):
            yield _Candidate(
                service=service,
                pods=frozenset(pod.subject for pod in behind(service, seen.pods)),
                sure=known or at_tenth or service.namespace in HOMES,
                mark=f"label {mark}" if mark else "address",
            )


def _tenth(services: Iterable[tuple[Service, Labels]]) -> str:
    """Return the tenth address of the Service range, in which default/kubernetes has the first; "" if unknown."""
    for service, _ in services:
        if (service.namespace, service.name) == ("default", "kubernetes") and service.cluster_ips:
            try:
                return str(ip_address(service.cluster_ips[0]) + 9)
            except ValueError:
                return ""
    return ""


def _orphans(seen: DnsSighting) -> Iterator[_Candidate]:
    """Yield Pods that are marked as cluster DNS and that no Service in the snapshot selects."""
    groups: dict[tuple[str, str], list[Pod]] = defaultdict(list)
    marks = {id(pod.spec): mark for pod in templates(seen.pods) if (mark := _mark_of_pods(pod.spec))}
    for pod in seen.pods:
        if id(pod.spec) in marks and not is_over(pod) and not _is_selected(pod, seen.services):
            groups[pod.namespace, marks[id(pod.spec)]].append(pod)
    for (namespace, mark), pods in groups.items():
        key, _, value = mark.partition("=")
        yield _Candidate(
            service=Service(namespace=namespace, name="kube-dns", selector={key: value}),
            pods=frozenset(pod.subject for pod in pods),
            sure=namespace in HOMES,
            mark=mark,
            made=True,
        )


def _is_selected(pod: Pod, services: Iterable[tuple[Service, Labels]]) -> bool:
    return any(
        service.namespace == pod.namespace and service.cluster_ips and behind(service, (pod,))
        for service, _ in services
    )


def _mark_of_pods(spec: PodSpec) -> str:
    """Return the label that marks a template as DNS, or any label if a container's name does; "" if neither does."""
    is_dns = any(each.name in CONTAINERS for each in spec.containers) and not is_node_cache(spec)
    own = next((f"{key}={value}" for key, value in sorted(spec.labels.items()) if key != HASH), "")
    return _mark(spec.labels) or (own if is_dns else "")


def _mark(labels: Labels) -> str:
    """Return the label that marks DNS, as "k8s-app=kube-dns"; "" if there is none."""
    found = ((key, labels.get(key)) for key in MARKS)
    return next((f"{key}={value}" for key, value in found if value in MARKS[key]), "")


def _distinct(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Merge candidates with the same Pods, such as kube-dns and kube-dns-upstream; known names come first."""
    ranked = sorted(
        candidates,
        key=lambda each: (
            each.made,
            (each.service.namespace, each.service.name) not in KNOWN,
            "upstream" in each.service.name,
        ),
    )
    found: dict[frozenset[str] | str, _Candidate] = {}
    for each in ranked:
        key = each.pods or each.service.subject
        known = found.setdefault(key, each)
        if each.sure and not known.sure:
            found[key] = replace(known, sure=True)
    return list(found.values())


def _is_link_local(address: str) -> bool:
    return _is_address(address) and ip_address(address).is_link_local


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


# -- settings ------------------------------------------------------------------------------------------------------


def nearness(found: doc.Service) -> Nearness:
    """Return which endpoints of a Service each node prefers."""
    notes = found.metadata.annotations or {}
    if LOCAL_WITH_FALLBACK in notes:
        return Nearness.NODE
    if any(notes.get(key, "").lower() == "auto" for key in TOPOLOGY):
        return Nearness.BALANCED
    return DISTRIBUTIONS.get(found.spec.trafficDistribution, Nearness.ANY)


def handed_out(configs: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Return the addresses of clusterDNS in kubeadm's ConfigMaps of kubelet's configuration, by name; () if unknown."""
    said = (
        data.get("kubelet", "") for name, data in sorted(configs.items()) if name.startswith(KUBELET_CONFIG)
    )
    found = (match for text in said for match in _HANDED_OUT.finditer(text))
    lines = (line for match in found for line in re.split(r"[,\n]", match[1] or match[2]))
    addresses = (line.strip(" \t\r-\"'") for line in lines)
    return tuple(dict.fromkeys(filter(_is_address, addresses)))


def stale_s(corefile: str) -> float:
    """Return how long a Corefile's cache of cluster names serves expired ones (`serve_stale`), in seconds; 0: never."""
    servers = _SERVER.split(corefile)[1:]
    blocks = list(zip(servers[::2], servers[1::2], strict=False))
    inside = [body for zones, body in blocks if _has_cluster_names(zones)] or [body for _, body in blocks]
    found = [_STALE.search(body) for body in inside]
    return max((_seconds(each[1]) for each in found if each), default=0.0)


def _has_cluster_names(zones: str) -> bool:
    names = (zone.partition("://")[2] or zone for zone in zones.split())
    return any(name.split(":")[0] not in ("", ".") and ".arpa" not in name for name in names)


def _seconds(text: str | None) -> float:
    if not text:
        return STALE_S
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def config_of_dns(name: str, data: Mapping[str, str]) -> dict[str, str] | None:
    """Return the settings that are read of a ConfigMap about cluster DNS, in its own form; None for any other."""
    if name.startswith(KUBELET_CONFIG):
        lines = (f"\n- {address}" for address in handed_out({name: data}))
        said = "".join(lines)
        return {"kubelet": f"clusterDNS:{said}\n"} if said else {}
    if is_node_cache_config(name):
        stale = stale_s(data.get("Corefile", ""))
        return {"Corefile": f"cluster.local {{\n  serve_stale {stale:g}s\n}}\n"} if stale else {}
    return None


# -- NodeLocal DNSCache --------------------------------------------------------------------------------------------


def is_node_cache_config(name: str) -> bool:
    """Whether a ConfigMap of kube-system holds the Corefile of NodeLocal DNSCache."""
    return name in NODE_CACHES


def is_node_cache(spec: PodSpec) -> bool:
    """Whether a template is NodeLocal DNSCache's."""
    return any(spec.labels.get(label) in NODE_CACHES for label in ("k8s-app", "app", "name"))


def runs_daemons(node: Node) -> bool:
    """Whether DaemonSets of Linux programs run on the node: it is Ready, and neither Windows nor a virtual node."""
    labels = node.labels
    is_virtual = (
        labels.get("type") == "virtual-kubelet" or labels.get("eks.amazonaws.com/compute-type") == "fargate"
    )
    return node.ready == "True" and labels.get("kubernetes.io/os") != "windows" and not is_virtual


def doubts_of_node_cache(
    nodes: Iterable[Node], pods: Sequence[Pod], asked: Iterable[str]
) -> tuple[Doubt, ...]:
    """Return a doubt if NodeLocal DNSCache is in use, and not ready on every node."""
    caches = [pod for pod in pods if is_node_cache(pod.spec)]
    if not caches and not any(map(_is_link_local, asked)):
        return ()
    there = {pod.node for pod in caches if pod.ready}
    lacking = sorted(node.name for node in nodes if node.name not in there and runs_daemons(node))
    if not lacking:
        return ()
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    why = (
        f"no Pod of it is ready on {', '.join(lacking[:3])}{more}, so that it is unknown what Pods there ask"
    )
    return (Doubt(subject="NodeLocal DNSCache", why=why),)


# -- what may be otherwise -----------------------------------------------------------------------------------------


def dns_alternatives(
    dns: Service | None, workloads: Iterable[Workload], pods: Iterable[Pod]
) -> Iterator[Alternative]:
    """Yield what may be otherwise about the cluster DNS."""
    if dns is None:
        return
    if dns.prefers is Nearness.BALANCED:
        yield Alternative(
            name="zone-hints",
            assumed=f"{dns.subject} has zone hints, which topology-mode Auto gives only if they balance the load",
            settles="look at the hints in its EndpointSlices",
            apply=_without_hints,
        )
    owners = {_owner(pod) for pod in templates(pods)}
    named = sorted({each.subject for each in workloads} | owners)
    scaler = next((name for name in named if "dns" in name and "autoscaler" in name), "")
    if scaler:
        yield Alternative(
            name="dns-autoscaler",
            assumed=f"{scaler} leaves kube-dns' Pods alone; newer versions of it count Ready nodes only",
            settles="scale it to 0 for the window",
            apply=_moved_soon,
        )


def _owner(pod: Pod) -> str:
    """Return the Pod's owner as a workload's name in the timeline."""
    kind, _, name = pod.owner.partition("/")
    return f"{kind}/{pod.namespace}/{name}"


def _without_hints(world: World) -> World:
    return replace(world, dns=replace(world.dns, prefers=Nearness.ANY)) if world.dns else world


def _moved_soon(world: World) -> World:
    """Return the world with kube-dns' Pods leaving a lost node at once, as if an autoscaler deleted them."""
    pods = {id(pod) for pod in behind(world.dns, world.pods) if not pod.owner.startswith("DaemonSet/")}
    specs: dict[int, PodSpec] = {}

    def moved(pod: Pod) -> Pod:
        if id(pod) not in pods:
            return pod
        spec = specs.setdefault(id(pod.spec), _leaving_soon(pod.spec))
        return replace(pod, spec=spec)

    return replace(world, pods=tuple(map(moved, world.pods)))


def _leaving_soon(spec: PodSpec) -> PodSpec:
    lost = "node.kubernetes.io/unreachable"
    others = tuple(each for each in spec.tolerations if each.key != lost)
    soon = Toleration(key=lost, operator="Exists", effect="NoExecute", seconds=SOON_S)
    return replace(spec, tolerations=(soon, *others))
