"""Entry point of the checks: runs them by name. A cluster that does not answer gives findings, never an exception."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.checks import check_names
from chaosext.model.errors import ChaosextError, Refused, did_you_mean
from chaosext.model.findings import Evidence, Finding, Status, not_applicable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaosext.checks.baseline_inventory import Inventory
    from chaosext.checks.cluster_model import ClusterModel
    from chaosext.checks.cut_effective import CutEvidence, Shut
    from chaosext.checks.tcp_reachability import Target
    from chaosext.cluster.client import Cluster
    from chaosext.model.known_unhealthy import Known
    from chaosext.nodes.load_balancer import LoadBalancer
    from chaosext.nodes.shell import NodeShell


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The inputs of the checks.

    - `shells`: node name -> a shell on it; observations on a node without one are unknown, never healthy.
    - `leaf`: a shell on the BGP switch, None without access (then only the nodes' side is judged).
    - `namespaces`: namespaces whose Pods `probes_healthy` and `xds_synced` judge; empty: all.
    - `window_s`: age in seconds beyond which a probe failure is history.
    - `dns_lookups`: lookups per node and address, alternating UDP and TCP.
    - `dns_names`: names to look up; empty: the API server's, and istiod's if present.
    - `tcp_targets`: targets of `tcp_reachability`, from every shell.
    - `cut_before`: measurements of `cut_effective` before the cut; without them a cut can't be proven.
    - `shut`: nodes that the cut makes inaccessible.
    - `entry`: the load balancer in front of several clusters.
    - `baseline`: counts that `nothing_missing` compares with; without them its finding is unknown.
    - `known`: objects that are accepted as unhealthy.
    - `model`: the cluster's network, mesh and DNS; None: `run_checks` reads them once for all checks that need it.
    """

    cluster: Cluster
    shells: Mapping[str, NodeShell]
    leaf: NodeShell | None = None
    namespaces: tuple[str, ...] = ()
    window_s: float = 10.0
    dns_lookups: int = 10
    dns_names: tuple[str, ...] = ()
    tcp_targets: tuple[Target, ...] = ()
    cut_before: CutEvidence | None = None
    shut: Shut | None = None
    entry: LoadBalancer | None = None
    baseline: Inventory | None = None
    known: Known | None = None
    model: ClusterModel | None = None


def run_checks(
    checks: Sequence[str], surroundings: Surroundings, *, timeout_s: float = 30.0
) -> tuple[Finding, ...]:
    """Run `checks` in parallel, within `timeout_s` in total, and return their findings in the same order.

    A check that can't reach something, lacks a permission, or does not end in time gives an `unknown` finding
    with the reason. Raises `Refused` for an unknown name, before any check runs.
    """
    require_known(checks)
    if surroundings.model is None and not MODELLED.isdisjoint(checks):
        from chaosext.checks.cluster_model import ClusterModel

        surroundings = replace(surroundings, model=ClusterModel(surroundings.cluster, surroundings.shells))
    pool = ThreadPoolExecutor(max_workers=len(checks) or 1, thread_name_prefix="check")
    running = [pool.submit(CHECKS[name], surroundings) for name in checks]
    wait(running, timeout=timeout_s)
    pool.shutdown(wait=False, cancel_futures=True)
    findings = [_finding_of(name, future, timeout_s) for name, future in zip(checks, running, strict=True)]
    if surroundings.known is None:
        return tuple(findings)
    known = replace(surroundings.known, dead=_dead_nodes(surroundings))
    return tuple(known.excuse(finding) for finding in findings)


def _dead_nodes(around: Surroundings) -> frozenset[str]:
    """Return the nodes that are NotReady and known to be so: failed observations there are expected."""
    named = [
        entry for entry in (around.known.entries if around.known else ()) if entry.check == check_names.NODES
    ]
    if not named:
        return frozenset()
    try:
        nodes = around.cluster.nodes()
    except ChaosextError:
        return frozenset()
    dead = (node.subject for node in nodes if node.ready != "True")
    return frozenset(subject for subject in dead if any(entry.covers(subject) for entry in named))


def require_known(checks: Sequence[str]) -> None:
    """Raise `Refused`, with the nearest name or a list of all, if any of `checks` is unknown."""
    unknown = [name for name in checks if name not in CHECKS]
    if unknown:
        raise Refused(f"unknown check {', '.join(unknown)}", did_you_mean(unknown[0], CHECKS))


def _finding_of(name: str, future: Future[Finding], timeout_s: float) -> Finding:
    if not future.done() or future.cancelled():
        return unknown(name, f"did not end within {timeout_s:g} s")
    error = future.exception()
    if isinstance(error, ChaosextError):
        return unknown(name, str(error))
    return future.result()


def unknown(name: str, why: str) -> Finding:
    """Return the finding of a check that could not run."""
    evidence = (Evidence(subject=name, status=Status.UNKNOWN, detail=why),)
    return Finding(check=name, status=Status.UNKNOWN, summary=why, evidence=evidence)


def _nodes(around: Surroundings) -> Finding:
    from chaosext.checks import nodes_ready

    return nodes_ready.judge_ready(around.cluster.nodes())


def _kubelets(around: Surroundings) -> Finding:
    from chaosext.checks import nodes_ready

    return nodes_ready.judge_kubelets(nodes_ready.gather_kubelets(around.cluster))


def _missing(around: Surroundings) -> Finding:
    from chaosext.checks import baseline_inventory

    if around.baseline is None:
        return unknown(
            check_names.MISSING, "no baseline: no run and no `chaosext baseline save` recorded one"
        )
    return baseline_inventory.judge(
        around.baseline, baseline_inventory.gather(around.cluster, around.baseline.namespaces)
    )


def _dns(around: Surroundings) -> Finding:
    from chaosext.checks import dns_resolvable

    evidence = dns_resolvable.gather(
        around.cluster, around.shells, lookup_names=around.dns_names, lookups=around.dns_lookups
    )
    return dns_resolvable.judge(evidence)


def _xds(around: Surroundings) -> Finding:
    from chaosext.checks import xds_synced
    from chaosext.checks.cluster_model import no_mesh

    evidence = xds_synced.gather(around.cluster, namespaces=around.namespaces)
    if not evidence.pods and (why := no_mesh(_model(around).world)):
        return not_applicable(check_names.XDS, why)
    return xds_synced.judge(evidence)


def _probes(around: Surroundings) -> Finding:
    from chaosext.checks import probes_healthy

    evidence = probes_healthy.gather(around.cluster, namespaces=around.namespaces, window_s=around.window_s)
    return probes_healthy.judge(evidence)


def _pods(around: Surroundings) -> Finding:
    from chaosext.checks import pod_reachability
    from chaosext.checks.cluster_model import BgpSpeaker

    model = _model(around)
    peered = None if model.bgp.speaker is BgpSpeaker.UNKNOWN else model.peered
    return pod_reachability.judge(pod_reachability.gather(around.cluster, around.shells, peered=peered))


def _bgp(around: Surroundings) -> Finding:
    from chaosext.checks import bgp_established, kube_router_sessions
    from chaosext.checks.cluster_model import BgpSpeaker

    model = _model(around)
    used = model.bgp
    if used.speaker is BgpSpeaker.NOBODY:
        return not_applicable(check_names.BGP, used.why)
    if used.speaker is BgpSpeaker.CALICO:
        return bgp_established.judge(bgp_established.gather(around.cluster, around.shells, around.leaf))
    if used.speaker is BgpSpeaker.KUBE_ROUTER:
        said = kube_router_sessions.sessions_of(around.shells, model.world)
        return kube_router_sessions.judge(model.world, said)
    is_cilium = used.speaker is BgpSpeaker.CILIUM
    return unknown(check_names.BGP, bgp_established.CILIUM_UNREAD if is_cilium else used.why)


def _placement(around: Surroundings) -> Finding:
    from chaosext.checks import kube_dns_placement
    from chaosext.checks.cluster_model import BgpSpeaker

    model = _model(around)
    if model.bgp.speaker is BgpSpeaker.NOBODY:
        return not_applicable(check_names.PLACEMENT, model.bgp.why)
    if model.bgp.speaker is BgpSpeaker.UNKNOWN:
        return unknown(check_names.PLACEMENT, model.bgp.why)
    return kube_dns_placement.judge(kube_dns_placement.gather(around.cluster, model.peered))


def _model(around: Surroundings) -> ClusterModel:
    if around.model is None:
        raise ValueError("run_checks reads the model of every check in MODELLED")
    return around.model


def _cut(around: Surroundings) -> Finding:
    from chaosext.checks import cut_effective

    if around.cut_before is None:
        return unknown(check_names.CUT, "nothing was measured before the cut, so nothing can be proven")
    shut = around.shut or cut_effective.NOTHING_SHUT
    return cut_effective.judge(
        around.cut_before, cut_effective.gather_again(around.cut_before, around.shells, shut=shut)
    )


def _tcp(around: Surroundings) -> Finding:
    from chaosext.checks import tcp_reachability

    return tcp_reachability.judge(tcp_reachability.gather(around.shells, around.tcp_targets))


CHECKS: Mapping[str, Callable[[Surroundings], Finding]] = {
    check_names.PODS: _pods,
    check_names.DNS: _dns,
    check_names.XDS: _xds,
    check_names.PROBES: _probes,
    check_names.BGP: _bgp,
    check_names.PLACEMENT: _placement,
    check_names.CUT: _cut,
    check_names.TCP: _tcp,
    check_names.NODES: _nodes,
    check_names.KUBELETS: _kubelets,
    check_names.MISSING: _missing,
}
"""Name -> check."""

MODELLED = frozenset({check_names.PODS, check_names.XDS, check_names.BGP, check_names.PLACEMENT})
"""Checks that depend on what the cluster is made of."""

STEADY_STATE = (
    check_names.NODES,
    check_names.KUBELETS,
    check_names.PODS,
    check_names.DNS,
    check_names.XDS,
    check_names.PROBES,
    check_names.BGP,
    check_names.PLACEMENT,
)
"""The steady state: what must hold before a cut, and again after it."""
