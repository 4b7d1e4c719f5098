"""Chaos Toolkit actions: cut the control plane off, heal it, reschedule kube-dns, drain and restore a cluster.

Each takes the pinned cluster from `secrets` (chaostoolkit-kubernetes' `KUBERNETES_CONTEXT`) and its settings from the
`chaosext_*` keys of `configuration`. All guards are inside, so plain `chaos run` has them as well. Chaos Toolkit wraps
every error that an action raises in `ActivityFailed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.run.fault.state import fault_of

if TYPE_CHECKING:
    from chaoslib.types import Configuration, Secrets

__all__ = [
    "drain_cluster",
    "heal_control_plane",
    "reschedule_kube_dns",
    "restore_cluster",
    "set_entry_failover",
    "sever_control_plane",
]


def sever_control_plane(
    ttl_s: float,
    peers: list[str] | None = None,
    families: list[str] | None = None,
    uplinks: list[str] | None = None,
    dead_man_s: float | None = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Cut the control-plane nodes off from all other nodes and their Pods for at most `ttl_s` seconds.

    The kernel of each control-plane node drops the traffic between its uplinks and the peers: both directions,
    forwarded traffic too, IPv4 and IPv6, established flows included. After `ttl_s` the kernel drops the rules,
    even if every process has died.

    With `chaosext_cut_side: nodes` the kernels of the other nodes drop the control plane's addresses instead. If these
    nodes are entered by Pods, the cut cannot be healed before its TTL (docs/node-access.md, "Managed clusters"), and
    `dead_man_s` is refused.

    Args:
        ttl_s: seconds, from 1 to the limit `chaosext_max_ttl_s` (900 by default).
        peers: addresses and prefixes to drop; by default every address of the other nodes' uplinks, the Pods' prefixes
            (Calico's IPPools, else the nodes' podCIDRs), and the load balancers before the API servers that the other
            nodes' kubelets use.
        families: `ipv4`, `ipv6`; by default both. kubelet falls back to the family that is left open.
        uplinks: interface names; by default those that carry the node's InternalIP.
        dead_man_s: seconds, 3 or more, after which the kernel drops the rules if this process has died; the cut is
            renewed until `ttl_s`. By default, or with 0, there is no such switch: the kernel gets the whole `ttl_s` at
            once.
        prove: verify the cut from both sides; a cut that cannot be verified is healed at once.

    Returns:
        A JSON object with run, ttl_s, dead_man_s, expires_at (ISO 8601), nodes, peers, command_to_cut_s,
        foreign_rules_identical and finding (of cut_effective).

    Raises:
        Refused: nothing was touched.
        Inconclusive: the cut could not be verified.
        Unsafe: a cut may still be active; the message says how to remove it.
    """
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.settings import settings_from
    from chaosext.run.fault.inject import sever
    from chaosext.run.session.run_context import current

    wish = CutRequest.from_arguments(
        {
            "ttl_s": ttl_s,
            "peers": peers,
            "families": families,
            "uplinks": uplinks,
            "dead_man_s": dead_man_s,
        }
    )
    return sever(settings_from(configuration, secrets), wish, current(), prove=prove)


def heal_control_plane(configuration: Configuration = None, secrets: Secrets = None) -> dict[str, Any]:
    """Remove this run's cut from every node that it was meant for.

    Idempotent, limited in time, and independent of the API server. If the nodes cannot be reached before the TTL
    (`chaosext_cut_side: nodes`, entered by Pods), it waits for the cut to end.

    Returns:
        A JSON object with run, nodes (each with gone, was_there), elapsed_s and finding (whether the paths that were
        open before the cut are open again, measured once after the heal; null if this run made no cut).

    Raises:
        Unsafe: the rules of a node cannot be confirmed as removed before their TTL; the message names the node and the
            command that removes them.
        Inconclusive: the cut had ended, or was changed, before this heal.
    """
    from chaosext.run.fault.heal import heal_run, require_kept
    from chaosext.run.fault.verify import healed_finding, look_before_heal
    from chaosext.run.session.run_context import current

    look_before_heal(current())
    was_in_force = fault_of(current()).in_force
    report, finding = heal_run(current()), healed_finding(current())
    if was_in_force:  # otherwise the heal that removed it has already reported it
        require_kept(current())
    return {
        "run": report.run,
        "nodes": [
            {"node": node.node, "gone": node.gone, "was_there": node.was_there} for node in report.nodes
        ],
        "elapsed_s": round(report.elapsed_s, 3),
        "finding": finding.to_json() if finding else None,
    }


def reschedule_kube_dns(
    timeout_s: float = 90.0,
    only_if_needed: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Delete the kube-dns Pods so that they are scheduled again; wait until they are Ready on nodes with a BGP peer.

    If the scheduler picks a node without BGP, the misplaced Pods are deleted once more.

    Args:
        timeout_s: seconds for each attempt, until all new Pods are Ready.
        only_if_needed: delete nothing if kube-dns is well placed and DNS resolves.

    Returns:
        A JSON object with deleted (Pod names), retried_because (reasons), placement and peered_nodes; or only skipped
        (the reason), if a plain `chaos run` did not meet its baseline.

    Raises:
        Refused: the context leads to another cluster than the pinned one.
        Inconclusive: kube-dns is not Ready in time, or still misplaced after the second attempt; the message names Pod
            and node.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.kube_dns import reschedule
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return reschedule(settings, current(), timeout_s=timeout_s, only_if_needed=only_if_needed)


def set_entry_failover(
    mode: str | None = None, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Set what may take this cluster out of the load balancer: its own health check, or a manual drain only.

    `restore_cluster` and the run's end restore the previous mode.

    Args:
        mode: `health_check` or `by_hand`; by default the setting `chaosext_failover`.

    Returns:
        A JSON object with cluster, failover and before.

    Raises:
        Refused: the mode is unknown, or no load balancer has this cluster.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.cluster_drain import failover_named, set_failover
    from chaosext.run.session.run_context import current

    return set_failover(settings_from(configuration, secrets), current(), failover_named(mode))


def drain_cluster(
    cluster: str | None = None,
    patience_s: float = 60.0,
    only_if_needed: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Stop new requests from the load balancer to a cluster; requests in flight finish normally. Idempotent.

    If the load balancer's own health check may take the cluster out, this waits for it first; the drain then keeps the
    cluster out until `restore_cluster`. A run that ends without that ends `unsafe`, and prints the way back.

    Args:
        cluster: the load balancer's name for it; by default the cluster of the context, without its `kind-`.
        patience_s: seconds to wait for the load balancer's own health check before draining.
        only_if_needed: do nothing if the cluster serves, and every customer was served in the last 5 s.

    Returns:
        A JSON object with cluster, by (`health_check` or `by_hand`) and waited_s; or skipped (the reason).

    Raises:
        Refused: no other cluster would serve.
        Unreachable: the load balancer does not answer.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.cluster_drain import drain
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return drain(settings, current(), cluster, patience_s=patience_s, only_if_needed=only_if_needed)


def restore_cluster(
    cluster: str | None = None,
    settle_s: float = 240.0,
    dwell_s: float = 15.0,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> dict[str, Any]:
    """Take a cluster back into the load balancer, but only once its steady state has held through a dwell. Idempotent.

    Args:
        cluster: the load balancer's name for it; only the cluster of the context, which is the default.
        settle_s: seconds for the steady state to begin.
        dwell_s: seconds for which it must then hold without a break.

    Returns:
        A JSON object with cluster, settled_after_s and dwelt_s; or skipped (the reason).

    Raises:
        Inconclusive: the cluster is not steady, and stays drained; or the load balancer's health check keeps it out.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.cluster_drain import restore
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return restore(settings, current(), cluster, settle_s=settle_s, dwell_s=dwell_s)
