"""Chaos Toolkit actions: sever the control plane, heal it, reschedule kube-dns; drain a cluster from the entry.

Each takes the pinned cluster from `secrets` (chaostoolkit-kubernetes' `KUBERNETES_CONTEXT`) and its settings from the
`chaosext_*` keys of `configuration`. All guards are inside, so plain `chaos run` has them as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Cut the control-plane nodes off from all other nodes and their Pods, for `ttl_s` seconds at the most.

    The kernel of each control-plane node drops what its uplinks exchange with the peers: both directions, forwarded
    traffic too, IPv4 and IPv6, established flows included. At `ttl_s` the kernel lets go, whatever has died.

    With `chaosext_cut_side: nodes` the others' kernels drop the control plane's addresses instead. Where they are
    entered by Pods nobody can heal that before its TTL is over (docs/safety.md, "Managed clusters"); `dead_man_s` is
    refused then.

    Arguments:
        ttl_s: seconds, 1 to the limit `chaosext_max_ttl_s` (900 by default).
        peers: addresses and prefixes to drop; by default every address of the other nodes' uplinks, the Pods' prefixes
            (Calico's IPPools), and the load balancers before the API servers that the other nodes' kubelets use.
        families: `ipv4`, `ipv6`; by default both. kubelet falls back to the family that is left open.
        uplinks: interface names; by default those that carry the node's InternalIP.
        dead_man_s: seconds, 3 or more, after which the kernel lets go when this process has died; the cut is renewed
            until `ttl_s`. By default, or with 0, there is no such switch: the kernel is asked once, for the whole of
            `ttl_s`.
        prove: prove the cut from both sides; a cut that can't be proven is healed at once.

    Returns a JSON object: run, ttl_s, dead_man_s, expires_at (ISO 8601), nodes, peers, command_to_cut_s,
    foreign_rules_identical, finding (of cut_effective).

    Raises (as ActivityFailed): Refused, when nothing was touched; Inconclusive, when the cut could not be proven;
    Unsafe, when something may be left, with how to remove it.
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
    """Take this run's cut away, on every node that it was meant for. Idempotent, bounded, asks no API server.

    A cut whose nodes nobody reaches meanwhile (`chaosext_cut_side: nodes`, by Pods) is waited for: it ends at its TTL.

    Returns a JSON object: run, nodes (each with gone, was_there), elapsed_s, finding (whether the paths that were
    open before the cut are open again, measured once after the heal; null where this run cut nothing).

    Raises (as ActivityFailed): Unsafe, when a node's rules can't be seen gone before their TTL, naming the node and
    the command that removes them; Inconclusive, when the cut had ended, or was changed, before this heal.
    """
    from chaosext.run.fault.heal import heal_run, require_kept
    from chaosext.run.fault.verify import healed_finding, look_before_heal
    from chaosext.run.session.run_context import current

    look_before_heal(current())
    was_in_force = current().in_force
    report, finding = heal_run(current()), healed_finding(current())
    if was_in_force:  # else the heal that ended it has reported it
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
    """Delete kube-dns' Pods so that they are placed anew, and see them Ready on nodes with a BGP peer.

    Where the scheduler picks a node without BGP, the misplaced Pods are deleted once more.

    Arguments:
        timeout_s: seconds that each attempt may take until all new Pods are Ready.
        only_if_needed: delete nothing where kube-dns is well placed and DNS resolves.

    Returns a JSON object: deleted (Pod names), retried_because (reasons), placement, peered_nodes; or only skipped
    (why), where the gate of a plain `chaos run` was not met.

    Raises (as ActivityFailed): Refused for the wrong cluster; Inconclusive, when kube-dns is not Ready in time or
    still misplaced after the second attempt, naming Pod and node.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.kube_dns import reschedule
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return reschedule(settings, current(), timeout_s=timeout_s, only_if_needed=only_if_needed)


def set_entry_failover(
    mode: str | None = None, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Say who may take this cluster out of the entry in front of several: its own health check, or people only.

    Put back as it was by `restore_cluster`, and at the run's end.

    Arguments:
        mode: `health_check` or `by_hand`; by default what the setting `chaosext_failover` says.

    Returns a JSON object: cluster, failover, before.

    Raises (as ActivityFailed): Refused for an unknown mode, or where there is no entry with that cluster.
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
    """See that the entry sends no new request to a cluster; those in flight end as they would. Idempotent.

    Where the entry's own health check may take the cluster out, that is waited for first; the drain then keeps it out
    until `restore_cluster`. A run that ends without that ends `unsafe`, saying how to put it back.

    Arguments:
        cluster: what the entry calls it; by default the cluster of the context, without its `kind-`.
        patience_s: seconds that the entry's own health check has to take it out before hands do.
        only_if_needed: do nothing where the cluster serves and every customer was served in the last 5 s.

    Returns a JSON object: cluster, by (`health_check` or `by_hand`), waited_s; or skipped (why).

    Raises (as ActivityFailed): Refused where no other cluster would serve; Unreachable where the entry does not answer.
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
    """Take a cluster back in at the entry, but only once its steady state has held through a dwell. Idempotent.

    Arguments:
        cluster: what the entry calls it; by default, and at most, the cluster of the context.
        settle_s: seconds that its steady state may take to come.
        dwell_s: seconds on end that it must then hold.

    Returns a JSON object: cluster, settled_after_s, dwelt_s; or skipped (why).

    Raises (as ActivityFailed): Inconclusive where it is not steady, and then it stays drained; or where the entry's
    own health check does not let it in.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.run.rollback.cluster_drain import restore
    from chaosext.run.session.run_context import current

    settings = settings_from(configuration, secrets)
    return restore(settings, current(), cluster, settle_s=settle_s, dwell_s=dwell_s)
