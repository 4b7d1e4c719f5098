"""Checks of a snapshot before a cut: one finding each, with the unhealthy objects as evidence.

`PROVEN` and `MUST` decide, and no plan can waive `PROVEN`; `REMARKS` decide only if the plan requires them.
Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.checks.check_names import KUBELETS, PLACEMENT, PROBES, XDS
from chaosext.checks.check_names import NODES as NODES_READY
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.simulate.doubts import doubts_of
from chaosext.rehearsal.simulate.roster import HERE_TO_STAY
from chaosext.rehearsal.simulate.taints import admits
from chaosext.rehearsal.snapshot.control_plane_flags import minor
from chaosext.rehearsal.snapshot.disruption_budgets import allowed, covered
from chaosext.rehearsal.snapshot.node_patterns import behind, fits_node, is_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.rehearsal.snapshot.world import DisruptionBudget, Node, Pod, Service, World

KUBE_DNS_READY = "kube_dns_ready"
ANNOUNCED = "cut_nodes_announced"
ROUTES = "pod_routes"
MODELLED = "cluster_modelled"
VERSION_SKEW = "version_skew"
TIMINGS = "timings_as_planned"

KUBE_DNS_REDUNDANT = "kube_dns_redundant"
ISTIOD_REDUNDANT = "istiod_redundant"
BUDGETS = "disruption_budgets"
PODS_MOVABLE = "pods_movable"

PROVEN = (ROUTES, MODELLED)
MUST = (NODES_READY, KUBELETS, KUBE_DNS_READY, PLACEMENT, ANNOUNCED, PROBES, XDS, VERSION_SKEW, TIMINGS)
REMARKS = (KUBE_DNS_REDUNDANT, ISTIOD_REDUNDANT, BUDGETS, PODS_MOVABLE)

KUBELET_SKEW, OLD_KUBELET_SKEW = 3, 2
"""Number of minor versions by which a kubelet may be older than the API server, the latter before 1.25.

It must not be newer (kubernetes.io, "Version Skew Policy").
"""


def findings(world: World, cutover: Cutover, nodes: frozenset[str]) -> tuple[Finding, ...]:
    """Run every check of the snapshot, in order; `nodes` are to be cut."""
    return tuple(check(world, cutover, nodes) for check in CHECKS)


# -- nodes ---------------------------------------------------------------------------------------------------


def nodes_ready(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that every node is Ready; list cordoned ones."""
    rows = [
        _row(node.subject, "" if node.ready == "True" else f"Ready is {node.ready}") for node in world.nodes
    ]
    cordoned = [node.name for node in world.nodes if node.unschedulable]
    more = f"; cordoned: {', '.join(cordoned)}" if cordoned else ""
    return _found(NODES_READY, rows, f"{len(world.nodes)} nodes Ready{more}")


def version_skew(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that no kubelet is newer than the API server, or older than supported."""
    server = world.control_plane.version
    if minor(server) == (0, 0):
        return _unknown(VERSION_SKEW, "the API server's version is unknown")
    rows = (_skew(node, server) for node in world.nodes)
    kubelets = sorted({node.kubelet_version for node in world.nodes})
    good = f"API server {server}, kubelets {', '.join(kubelets)}"
    return _found(VERSION_SKEW, (row for row in rows if row), good)


def _skew(node: Node, server: str) -> Evidence | None:
    own, its = minor(node.kubelet_version), minor(server)
    if own == (0, 0):
        return _unsure(node.subject, "its kubelet's version is unknown")
    behind_by = its[1] - own[1]
    if 0 <= behind_by <= (KUBELET_SKEW if own >= (1, 25) else OLD_KUBELET_SKEW):
        return None
    side = "newer" if behind_by < 0 else f"{behind_by} minor versions older"
    return _bad(node.subject, f"kubelet {node.kubelet_version} is {side} than the API server {server}")


def pod_routes(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that the snapshot's network configuration proves which node reaches which Pods, in the cut and after it."""
    proof = routes_of(world, nodes).proof
    if proof.holds:
        return _found(ROUTES, (), proof.rests_on)
    rows = tuple(_unsure(f"{each.subject} {each.key}".strip(), each.why) for each in proof.doubts)
    return Finding(check=ROUTES, status=Status.UNKNOWN, summary=proof.why_not, evidence=rows)


def modelled(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that nothing acts on the cut that isn't modelled, and that it is known what DNS the nodes ask."""
    doubts = (*world.dns_doubts, *doubts_of(world, nodes, cutover.at_most_s))
    if not doubts:
        return _found(MODELLED, (), "the snapshot shows nothing that would act on the cut and isn't modelled")
    rows = tuple(_unsure(f"{each.subject} {each.key}".strip(), each.why) for each in doubts)
    return Finding(check=MODELLED, status=Status.UNKNOWN, summary=f"{next(_first(rows))}", evidence=rows)


def announced(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that the network announces the Pod addresses of the nodes to be cut."""
    routes = routes_of(world, nodes)
    if not routes.proof.holds:
        return _unknown(ANNOUNCED, routes.proof.why_not)
    silent = unannounced(routes, world.nodes)
    bad = [_bad(f"Node/{name}", "its Pods' addresses are not announced") for name in silent if name in nodes]
    others = [name for name in silent if name not in nodes]
    more = f"; not announced: those of {', '.join(others)}" if others else ""
    return _found(ANNOUNCED, bad, f"{len(nodes)} nodes' Pod addresses are announced{more}")


# -- kube-dns ------------------------------------------------------------------------------------------------


def kube_dns_ready(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that all wanted kube-dns Pods are Ready and share one template, so that no rollout is in progress.

    Terminating Pods are ignored: a finished rollout leaves them for their grace period, but they no longer
    serve.
    """
    if world.dns is None:
        return _unknown(KUBE_DNS_READY, "the snapshot contains no kube-dns")
    pods = _staying(world)
    rows = [_row(pod.subject, _ailment(pod)) for pod in pods]
    ready = sum(not _ailment(pod) for pod in pods)
    wanted = _wanted(world, pods)
    if ready < wanted:
        short = _bad(world.dns.subject, f"{ready} of {wanted} Pods behind it are Ready")
        rows.append(replace(short, share=(ready, wanted), vital=ready == 0))
    if _rolls_out(world, pods):
        rows.append(_bad(world.dns.subject, "its Pods have several templates: a rollout is in progress"))
    leaving = len(behind(world.dns, world.pods)) - len(pods)
    more = f"; {leaving} more terminating" if leaving else ""
    return _found(KUBE_DNS_READY, rows, f"{ready} of {wanted} kube-dns Pods Ready{more}")


def _staying(world: World) -> tuple[Pod, ...]:
    """Return kube-dns' Pods that are not terminating."""
    return tuple(pod for pod in behind(world.dns, world.pods) if not pod.terminating)


def _wanted(world: World, pods: Iterable[Pod]) -> int:
    """Return the number of Pods that their controllers want, at least one."""
    owners = {(pod.namespace, pod.owner) for pod in pods}
    return max(1, sum(world.workloads[owner].replicas for owner in owners if owner in world.workloads))


def _rolls_out(world: World, pods: Iterable[Pod]) -> bool:
    """Whether several ReplicaSets of one Deployment have Pods."""
    sets = {(pod.namespace, pod.owner) for pod in pods}
    owners = Counter(world.workloads[each].owner for each in sets if each in world.workloads)
    return any(count > 1 for owner, count in owners.items() if owner)


def _ailment(pod: Pod) -> str:
    if pod.terminating:
        return "is terminating"
    if not pod.node:
        return "is not scheduled yet"
    return "" if pod.ready else f"is not Ready ({pod.phase})"


def placement(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that every kube-dns Pod is on a node whose Pod addresses are announced."""
    routes, pods = routes_of(world, nodes), _staying(world)
    if not routes.proof.holds or not pods:
        return _unknown(PLACEMENT, routes.proof.why_not or "the snapshot contains no kube-dns Pod")
    silent = set(unannounced(routes, world.nodes))
    bad = [
        _bad(pod.subject, f"on Node/{pod.node}: its address is not announced")
        for pod in pods
        if pod.node in silent
    ]
    where = ", ".join(sorted({pod.node for pod in pods if pod.node}))
    return _found(PLACEMENT, bad, f"{len(pods)} kube-dns Pods on {where}, whose addresses are announced")


def kube_dns_redundant(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    return _redundant(KUBE_DNS_REDUNDANT, world, world.dns, "kube-dns")


def istiod_redundant(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    if world.mesh is None:
        return _found(ISTIOD_REDUNDANT, (), "Istio is not installed")
    return _redundant(ISTIOD_REDUNDANT, world, world.mesh.istiod, "istiod")


def _redundant(check: str, world: World, service: Service | None, name: str) -> Finding:
    """Check that Ready Pods are on at least two nodes."""
    if service is None:
        return _unknown(check, f"the snapshot contains no {name}")
    ready = [pod for pod in behind(service, world.pods) if not _ailment(pod)]
    places = {pod.node for pod in ready}
    said = f"{len(ready)} Ready on {len(places)} node{'s' * (len(places) != 1)}"
    bad = [] if len(places) > 1 else [_bad(service.subject, f"{said}: if that node is lost, so is {name}")]
    return _found(check, bad, f"{name}: {said}")


# -- workloads -----------------------------------------------------------------------------------------------


def probes_healthy(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that every Pod that should run is Ready, in the plan's namespaces or in all."""
    pods = [pod for pod in world.pods if _counts(pod, cutover)]
    rows = [_row(pod.subject, _ailment(pod)) for pod in pods]
    return (
        _found(PROBES, rows, f"{len(pods)} Pods Ready")
        if pods
        else _unknown(PROBES, "there are no Pods to check")
    )


def _counts(pod: Pod, cutover: Cutover) -> bool:
    named = not cutover.namespaces or pod.namespace in cutover.namespaces
    return named and not is_over(pod) and not pod.terminating


def budgets(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that no PodDisruptionBudget is exhausted: it would block a drain, a common plan B, indefinitely."""
    if "PodDisruptionBudget" in world.missing:
        return _unknown(BUDGETS, "the snapshot contains no PodDisruptionBudgets")
    rows = (_standing(world, each) for each in world.budgets)
    good = f"{len(world.budgets)} PodDisruptionBudgets, none used up"
    return _found(BUDGETS, (row for row in rows if row), good)


def _standing(world: World, budget: DisruptionBudget) -> Evidence | None:
    pods = covered(budget, world.pods)
    subject = f"PodDisruptionBudget/{budget.namespace}/{budget.name}"
    try:
        return _bad(subject, "currently allows no disruption") if allowed(budget, pods) <= 0 else None
    except ValueError as error:
        return _unsure(subject, f"cannot be read ({error})")


def pods_movable(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that Pods of the cut nodes could run elsewhere and have a controller that would recreate them there."""
    left = [node for node in world.nodes if node.name not in nodes]
    bound: Counter[tuple[str, str]] = Counter()
    for pod in world.pods:
        if pod.node in nodes and not is_over(pod) and (why := _bound(pod, left)):
            bound[f"{pod.namespace}/{pod.owner}" if pod.owner else pod.subject, why] += 1
    bad = [_bad(name, f"{count} Pods: {why}") for (name, why), count in sorted(bound.items())]
    return _found(PODS_MOVABLE, bad, "all Pods on the cut nodes could run elsewhere")


def _bound(pod: Pod, left: Iterable[Node]) -> str:
    """Return why the Pod cannot move; "" if it can, or need not."""
    if pod.owner.partition("/")[0] in HERE_TO_STAY:
        return ""
    if not pod.owner:
        return "no controller recreates it after an eviction"
    spec = pod.spec
    fitting = (node for node in left if fits_node(spec.node_selector, spec.affinity, node))
    if any(admits(spec.tolerations, node.taints) and not node.unschedulable for node in fitting):
        return ""
    return "no remaining node accepts them: after an eviction they are Pending until the heal"


# -- the plan ------------------------------------------------------------------------------------------------


def timings_as_planned(world: World, cutover: Cutover, nodes: frozenset[str]) -> Finding:
    """Check that the timings in force are those that the plan was made for."""
    timings = world.control_plane.timings
    found = {
        "node-monitor-grace-period": (timings.grace_s, cutover.grace_s),
        "default-unreachable-toleration-seconds": (timings.toleration_s, cutover.toleration_s),
    }
    bad = [
        _bad(name, f"{short_duration(is_s)} in force, {short_duration(planned_s)} planned")
        for name, (is_s, planned_s) in found.items()
        if planned_s is not None and planned_s != is_s
    ]
    good = (
        f"a silent node becomes NotReady after {short_duration(timings.grace_s)}; "
        f"its Pods are evicted {short_duration(timings.toleration_s)} later"
    )
    return _found(TIMINGS, bad, good)


CHECKS: tuple[Callable[[World, Cutover, frozenset[str]], Finding], ...] = (
    nodes_ready,
    kube_dns_ready,
    placement,
    pod_routes,
    modelled,
    announced,
    probes_healthy,
    version_skew,
    timings_as_planned,
    kube_dns_redundant,
    istiod_redundant,
    budgets,
    pods_movable,
)


# -- findings ------------------------------------------------------------------------------------------------


def _found(check: str, found: Iterable[Evidence], good: str) -> Finding:
    """Return a finding with the worst status of its rows, healthy if there are none; `good` is the healthy summary."""
    rows = tuple(found)
    status = worst(row.status for row in rows) if rows else Status.HEALTHY
    bad = tuple(row for row in rows if row.status is not Status.HEALTHY)
    return Finding(check=check, status=status, summary="; ".join(_first(bad)) or good, evidence=rows)


def _first(rows: tuple[Evidence, ...]) -> Iterator[str]:
    if rows:
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        yield f"{rows[0].subject}: {rows[0].detail}{more}"


def _unknown(check: str, why: str) -> Finding:
    return Finding(check=check, status=Status.UNKNOWN, summary=why)


def _row(subject: str, ailment: str) -> Evidence:
    """Return a row of evidence. Healthy objects get one too, for the comparison with known unhealthy objects."""
    status = Status.UNHEALTHY if ailment else Status.HEALTHY
    return Evidence(subject=subject, status=status, detail=ailment or "Ready")


def _bad(subject: str, detail: str) -> Evidence:
    return Evidence(subject=subject, status=Status.UNHEALTHY, detail=detail)


def _unsure(subject: str, detail: str) -> Evidence:
    return Evidence(subject=subject, status=Status.UNKNOWN, detail=detail)
