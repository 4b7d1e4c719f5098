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
    "kube_dns_moved",
    "kube_dns_on_peered_nodes",
    "probes_healthy",
    "steady_state",
    "tcp_reachability",
    "xds_synced",
]


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
    from chaosext.run.context import current
    from chaosext.run.reading.settings import settings_from
    from chaosext.run.watch.asking import ask_cut

    return ask_cut(settings_from(configuration, secrets), current().before).to_json()


def tcp_reachability(
    targets: list[str], configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Connect from every node to each target (`host:port`): open, refused, timed out, reset or no route.

    Says what each means, and whose port it is where Envoy or istiod owns it. Returns a finding, healthy where all
    are open.
    """
    from chaosext.steady.tcp import parse_target

    return _check(
        "tcp_reachability",
        configuration,
        secrets,
        tcp_targets=tuple(parse_target(target) for target in targets),
    )


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
    from chaosext.run.context import current
    from chaosext.run.reading.settings import settings_from
    from chaosext.run.watch.asking import ask_steady_state

    settings = settings_from(configuration, secrets)
    return ask_steady_state(settings, current(), checks, settle_s=settle_s, dwell_s=dwell_s)


def kube_dns_moved(
    timeout_s: float, configuration: Configuration = None, secrets: Secrets = None
) -> dict[str, Any]:
    """Wait until the control plane has moved kube-dns off the nodes that it lost, `timeout_s` seconds at the most.

    Returns a JSON object: moved (`all`, `some`, `none`), settled, placement (Pod on node), waited_s. That nothing
    moved is an answer too, not a failure.
    """
    from chaosext.run.reach import connect
    from chaosext.run.reading.settings import settings_from
    from chaosext.run.watch.waiting import wait_for_movement

    seen, waited_s = wait_for_movement(connect(settings_from(configuration, secrets)), timeout_s)
    return {**seen.to_json(), "waited_s": round(waited_s, 1)}


def _check(name: str, configuration: Configuration, secrets: Secrets, **more: Any) -> dict[str, Any]:
    from chaosext.run.reading.settings import settings_from
    from chaosext.run.watch.asking import ask

    return ask(settings_from(configuration, secrets), name, **more).to_json()
