"""Chaos Toolkit probes: each check, the steady state, the load balancer, and waiting for kube-dns to be moved.

A check returns a finding, `{"check": …, "status": "healthy|unhealthy|unknown|not applicable", "summary": …,
"evidence": […]}`; in a hypothesis its tolerance is `[healthy]`, or `[healthy, not applicable]` to accept that a cluster
has nothing of the kind, such as BGP or a mesh. If a cluster does not answer, a probe does not raise: the finding is
`unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.run.fault.state import fault_of

if TYPE_CHECKING:
    from chaoslib.types import Configuration, Secrets

__all__ = [
    "bgp_established",
    "cut_effective",
    "dns_resolvable",
    "entry_serves_from",
    "entry_success_ratio",
    "kube_dns_moved",
    "kube_dns_on_peered_nodes",
    "kubelets_connected",
    "nodes_reach_pods",
    "nodes_ready",
    "nothing_missing",
    "probes_healthy",
    "steady_state",
    "tcp_reachability",
    "xds_synced",
]


def nodes_ready(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that the control plane reports every node as Ready.

    Returns a finding that names the others, and cordoned nodes.
    """
    return _check("nodes_ready", configuration, secrets)


def kubelets_connected(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every kubelet reaches the API server: it renewed its Lease before expiry, and wrote its node's status.

    Ages are by the API server's clock. A node can be reported Ready long after its kubelet was lost. Returns a finding.
    """
    return _check("kubelets_connected", configuration, secrets)


def nothing_missing(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that what existed when the run began still exists: nodes, workloads with replicas, Services, Pods.

    Returns a finding that names each object that is missing, or smaller; unknown if no run has begun. `steady_state`
    includes this check.
    """
    return _check("nothing_missing", configuration, secrets)


def nodes_reach_pods(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every worker reaches Pods on the other nodes, measured by TCP connects, whatever the network.

    Each node connects to Pods on up to 8 others. Returns a finding that names each way that does not work.
    """
    return _check("nodes_reach_pods", configuration, secrets)


def dns_resolvable(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that cluster DNS answers on every node, over UDP and TCP: where Pods ask, at its ClusterIP and endpoints.

    Pods ask what kubelet hands out (clusterDNS), which may be a cache on their node.
    Makes `chaosext_lookups` (10) lookups per node and address, alternating UDP and TCP, each with a fresh socket.
    Returns a finding.
    """
    return _check("dns_resolvable", configuration, secrets)


def xds_synced(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every injected Pod of `chaosext_namespaces` is connected to an istiod and in sync.

    A Pod that no istiod lists is not in sync. Returns a finding; unknown without any Pod, not applicable
    without a mesh.
    """
    return _check("xds_synced", configuration, secrets)


def probes_healthy(
    window_s: float = 10.0, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Check that the Pods of `chaosext_namespaces` are Ready, not crash-looping, and failed no probe recently.

    Returns a finding that says "refused" or "timed out" for each failing probe.

    Args:
        window_s: seconds; probe failures within them count.
    """
    return _check("probes_healthy", configuration, secrets, window_s=window_s)


def bgp_established(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every BGP session that Calico's configuration wants is established, seen from nodes and leaf.

    Returns a finding that names the nodes without a session; not applicable where BGP carries no Pod routes.
    """
    return _check("bgp_established", configuration, secrets)


def kube_dns_on_peered_nodes(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every Pod behind kube-dns is on a node with a BGP peer.

    Returns a finding that names the misplaced Pods; not applicable where BGP carries no Pod routes.
    """
    return _check("kube_dns_on_peered_nodes", configuration, secrets)


def cut_effective(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Check that every path between control plane and nodes is cut, from both sides, over IPv4 and IPv6.

    The paths are compared with their state before this run's cut. Returns a finding that names each open path.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.steady_state import ask_cut
    from chaosext.run.session.run_context import current

    return ask_cut(settings_from(configuration, secrets), fault_of(current()).before).to_json()


def tcp_reachability(
    targets: list[str], configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Connect from every node to each target: open, refused, timed out, reset or no route.

    Returns a finding that says what each answer means, and names the owner of a port of Envoy or istiod; healthy if all
    targets are open.

    Args:
        targets: addresses as `host:port`.
    """
    from chaosext.checks.tcp_reachability import parse_target

    return _check(
        "tcp_reachability",
        configuration,
        secrets,
        tcp_targets=tuple(parse_target(target) for target in targets),
    )


def entry_success_ratio(
    at_least: float = 0.999,
    below: float | None = None,
    window_s: float = 5.0,
    within_s: float = 0.0,
    after_drain_s: float | None = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Measure the share of the customers' requests that succeed (status 200 in time); repeat until it is as wanted.

    Args:
        at_least: the success ratio (0 to 1) that is healthy.
        below: instead, a ratio below which it must fall: customers notice an outage.
        window_s: seconds; requests that ended within them count.
        within_s: seconds until the ratio must be as wanted.
        after_drain_s: instead of `window_s`, count all requests that ended more than this many seconds after this run
            drained a cluster.

    Returns:
        A finding; unknown without any request.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.drain_checks import ask_ratio
    from chaosext.run.session.run_context import current

    return ask_ratio(
        settings_from(configuration, secrets),
        current(),
        at_least=at_least,
        below=below,
        window_s=window_s,
        within_s=within_s,
        after_drain_s=after_drain_s,
    ).to_json()


def entry_serves_from(
    cluster: str | None = None,
    at_least: float = 0.0,
    at_most: float = 1.0,
    window_s: float = 5.0,
    within_s: float = 0.0,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Measure the share of the customers' answered requests that a cluster served; repeat until it is as wanted.

    Args:
        cluster: the load balancer's name for it; by default the cluster of the context, without its `kind-`.
        at_least: the lowest share (0 to 1) that is healthy.
        at_most: the highest share that is healthy; 0 means that the cluster must serve no request.
        window_s: seconds; requests that ended within them count.
        within_s: seconds until the share must be as wanted.

    Returns:
        A finding; unknown if no cluster answered any request.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.drain_checks import ask_serves

    return ask_serves(
        settings_from(configuration, secrets),
        cluster=cluster,
        at_least=at_least,
        at_most=at_most,
        window_s=window_s,
        within_s=within_s,
    ).to_json()


def steady_state(
    settle_s: float = 0.0,
    dwell_s: float = 0.0,
    checks: list[str] | None = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Check that the whole steady state begins within `settle_s` seconds, and then holds for `dwell_s` seconds.

    Args:
        settle_s: seconds that the cluster has to heal itself; 0 means that it must be steady now.
        dwell_s: seconds for which it must stay steady without a break.
        checks: names of checks; by default all of the steady state.

    Returns:
        A finding (check `steady_state`) with `settled_after_s` (seconds; null if never) and `findings`.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.steady_state import ask_steady_state
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return ask_steady_state(settings, current(), checks, settle_s=settle_s, dwell_s=dwell_s)


def kube_dns_moved(
    timeout_s: float, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Wait until the control plane has moved kube-dns off the nodes that it lost, for at most `timeout_s` seconds.

    Args:
        timeout_s: seconds.

    Returns:
        A JSON object with moved (`all`, `some`, `none`), settled, placement (Pod on node) and waited_s. `none` is an
        answer, too, not a failure.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.wait_steady import wait_for_movement
    from chaosext.run.session.connection import connect

    seen, waited_s = wait_for_movement(connect(settings_from(configuration, secrets)), timeout_s)
    return {**seen.to_json(), "waited_s": round(waited_s, 1)}


def _check(name: str, configuration: Configuration, secrets: Secrets, **more: Any) -> dict[str, Any]:
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.steady_state import ask

    return ask(settings_from(configuration, secrets), name, **more).to_json()
