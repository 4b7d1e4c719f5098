"""Chaos Toolkit probes: each check as a probe, the steady state as one, and waiting for kube-dns to be moved.

A check returns a finding, `{"check": …, "status": "healthy|unhealthy|unknown", "summary": …, "evidence": […]}`; in a
hypothesis its tolerance is `[healthy]`. A probe never raises because a cluster does not answer: that is `unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    "nodes_ready",
    "nothing_missing",
    "probes_healthy",
    "steady_state",
    "tcp_reachability",
    "xds_synced",
]


def nodes_ready(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Does the control plane call every node Ready? Returns a finding that names the others, and cordoned ones."""
    return _check("nodes_ready", configuration, secrets)


def kubelets_connected(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Does every kubelet reach the API server: has it renewed its Lease while it held, and written its node's status?

    Ages are by the API server's clock. A node can be called Ready long after its kubelet was lost. Returns a finding.
    """
    return _check("kubelets_connected", configuration, secrets)


def nothing_missing(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Does everything still stand that stood when the run began: nodes, workloads with their replicas, Services, Pods?

    What is gone, or of what there is less, is named. `steady_state` asks this as well. Returns a finding; unknown where
    no run has begun.
    """
    return _check("nothing_missing", configuration, secrets)


def dns_resolvable(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Does cluster DNS answer on every node: by its ClusterIP and by each endpoint address, over UDP and TCP?

    `chaosext_lookups` (10) lookups per node and address, UDP and TCP in turn, each with a fresh socket. A finding.
    """
    return _check("dns_resolvable", configuration, secrets)


def xds_synced(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Is every injected Pod of `chaosext_namespaces` connected to an istiod and synced?

    A Pod that no istiod lists is not synced; no Pods at all is unknown. Returns a finding.
    """
    return _check("xds_synced", configuration, secrets)


def probes_healthy(
    window_s: float = 10.0, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Are the Pods of `chaosext_namespaces` Ready, none crash-looping, no probe failed within `window_s` seconds?

    Says "refused" or "timed out" for each failing probe. Returns a finding.
    """
    return _check("probes_healthy", configuration, secrets, window_s=window_s)


def bgp_established(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Has every node that Calico's BGPPeers select an established session, seen from the leaf and from the node?

    Names the nodes without a session. Returns a finding.
    """
    return _check("bgp_established", configuration, secrets)


def kube_dns_on_peered_nodes(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Is every Pod behind kube-dns on a node with a BGP peer? Returns a finding that names the misplaced ones."""
    return _check("kube_dns_on_peered_nodes", configuration, secrets)


def cut_effective(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Is every path between control plane and nodes cut, from both sides, over IPv4 and IPv6?

    Compared with what the paths were like before this run's cut; an open one is named. Returns a finding.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.steady_state import ask_cut
    from chaosext.run.session.run_context import current

    return ask_cut(settings_from(configuration, secrets), current().before).to_json()


def tcp_reachability(
    targets: list[str], configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Connect from every node to each target (`host:port`): open, refused, timed out, reset or no route.

    Says what each means, and whose port it is where Envoy or istiod owns it. Returns a finding, healthy where all
    are open.
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
    """How many of the customers' requests at the entry succeed (status 200 in time)? Asked until it is as wanted.

    Arguments:
        at_least: the success ratio (0 to 1) that is healthy.
        below: instead, a ratio below which it must fall: that customers feel an outage.
        window_s: seconds; requests that ended within them count.
        within_s: seconds that it may take.
        after_drain_s: instead of `window_s`, all requests count that ended since this run drained a cluster and as
            many seconds more.

    Returns a finding; without any request it is unknown.
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
    """Which share of the customers' answered requests did a cluster serve? Asked until it is as wanted.

    Arguments:
        cluster: what the entry calls it; by default the cluster of the context, without its `kind-`.
        at_least, at_most: the share (0 to 1) that is healthy; at most 0: it serves nobody.
        window_s: seconds; requests that ended within them count.
        within_s: seconds that it may take.

    Returns a finding; where no cluster answered any request it is unknown.
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
    """Does the whole steady state hold, within `settle_s` seconds, and then for `dwell_s` seconds on end?

    Arguments:
        settle_s: how long a cluster may take to heal itself; 0: it must be steady now.
        dwell_s: how long it must stay steady.
        checks: names of checks; by default all of the steady state.

    Returns a finding (check `steady_state`) with `settled_after_s` (seconds, null: never) and `findings`.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.monitor.steady_state import ask_steady_state
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return ask_steady_state(settings, current(), checks, settle_s=settle_s, dwell_s=dwell_s)


def kube_dns_moved(
    timeout_s: float, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Wait until the control plane has moved kube-dns off the nodes that it lost, `timeout_s` seconds at the most.

    Returns a JSON object: moved (`all`, `some`, `none`), settled, placement (Pod on node), waited_s. That nothing
    moved is an answer too, not a failure.
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
