"""Runs as they went on a 1 + 2 testbed, grace and tolerations 20 s: timelines after the story of the night.

`deviated-rollback-not-verified` is one of before there were sentinels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.model.result import Briefing, ForeignRules, NodeClock, RunResult
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.timeline.outages import outages, timing, unobserved

if TYPE_CHECKING:
    from collections.abc import Iterable

CP, ONE, TWO = "chaosext-control-plane", "chaosext-worker", "chaosext-worker2"
OLD, NEW, LAST = (
    "Pod/kube-system/coredns-7d764666f9-",
    "Pod/kube-system/coredns-7d764666f9-n",
    "Pod/kube-system/coredns-7d764666f9-r",
)
REFUSED = (
    'Startup probe failed: Get "http://10.244.12.5:15021/healthz/ready": '
    "dial tcp 10.244.12.5:15021: connect: connection refused"
)

BRIEFING = Briefing(
    context="kind-chaosext",
    timings={
        "node_monitor_grace_period_s": 20.0,
        "default_toleration_s": 20.0,
        "node_monitor_period_s": 5.0,
        "source": "arguments of the static Pods kube-controller-manager and kube-apiserver",
    },
    outlook=(
        "zone (none): 2 of 3 nodes lost → Normal: evictions go on, about one node every 10 s",
        f"kube-dns on {ONE}, {TWO}: all of it is expected to be evicted and re-created elsewhere",
        "evictions are due up to 45s after the cut; the cut lasts at most 2m",
    ),
    unpeered_nodes=(CP,),
    kube_dns_nodes=(ONE, TWO),
)


def event(t_s: float, kind: Kind, name: str, detail: str, source: str = "api-server") -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail=detail, source=source)


def seen(t_s: float, kind: Kind, node: str, name: str, detail: str) -> Event:
    """What the sentinel on `node` saw of `name`."""
    return event(t_s, kind, name, detail, f"sentinel on {node}")


CUT = (
    event(
        0.0,
        Kind.CUT,
        f"Node/{CP}",
        "drops 172.18.0.3/32, 172.18.0.4/32, 10.244.0.0/16 for 2m at most",
        "chaosext",
    ),
    event(20.4, Kind.NODE_NOT_READY, f"Node/{ONE}", "Ready is Unknown"),
    event(20.4, Kind.NODE_NOT_READY, f"Node/{TWO}", "Ready is Unknown"),
    event(20.5, Kind.NODE_TAINTED, f"Node/{ONE}", "node.kubernetes.io/unreachable:NoSchedule"),
    event(20.6, Kind.NODE_TAINTED, f"Node/{ONE}", "node.kubernetes.io/unreachable:NoExecute"),
    event(30.5, Kind.NODE_TAINTED, f"Node/{TWO}", "node.kubernetes.io/unreachable:NoExecute"),
)
MOVED = (
    event(40.8, Kind.POD_EVICTED, f"{OLD}2xkfq", f"from {ONE}, which is not ready"),
    event(40.9, Kind.POD_CREATED, f"{NEW}bq7m", "by ReplicaSet/coredns-7d764666f9"),
    event(40.9, Kind.POD_BOUND, f"{NEW}bq7m", f"to {CP}"),
    event(42.1, Kind.POD_READY, f"{NEW}bq7m", f"on {CP}"),
    event(50.7, Kind.POD_EVICTED, f"{OLD}8vhtr", f"from {TWO}, which is not ready"),
    event(50.8, Kind.POD_BOUND, f"{NEW}c4zd", f"to {CP}"),
    event(
        52.0,
        Kind.ENDPOINTS_CHANGED,
        "Service/kube-system/kube-dns",
        f"10.244.0.7 on {CP}, 10.244.0.8 on {CP}",
    ),
)
HEALED = (
    event(53.2, Kind.HEAL, f"Node/{CP}", "cut removed in 0.41s", "chaosext"),
    event(54.0, Kind.NODE_READY, f"Node/{ONE}", "Ready is True again"),
    event(54.9, Kind.NODE_READY, f"Node/{TWO}", "Ready is True again"),
)
DEAD = (
    event(55.0, Kind.DNS_DEGRADED, f"Node/{ONE}", "10.2.112.10:53/udp timed out", f"lookups on {ONE}"),
    event(55.0, Kind.DNS_DEAD, f"Node/{ONE}", "10.2.112.10:53/udp timed out", f"lookups on {ONE}"),
    event(56.1, Kind.DNS_DEAD, f"Node/{TWO}", "10.2.112.10:53/udp timed out", f"lookups on {TWO}"),
    event(
        60.3,
        Kind.XDS_LOST,
        "Service/istio-system/istiod",
        "8 of 8 sidecars are not synced; first Pod/shop/cart-6c9f",
        "istiod",
    ),
    event(64.0, Kind.PROBE_FAILING, "Pod/shop/cart-6c9f7d5b8-kx2vn", REFUSED, "kubelet"),
    event(
        66.0,
        Kind.PROBE_FAILING,
        "Pod/shop/front-5d8c9b7c4-p9w7t",
        REFUSED.replace(".12.5", ".99.3"),
        "kubelet",
    ),
    event(97.5, Kind.CRASH_LOOP, "Pod/shop/cart-6c9f7d5b8-kx2vn", "container istio-proxy: CrashLoopBackOff"),
)
ROLLBACK = (
    event(
        131.0,
        Kind.ROLLBACK,
        "Deployment/kube-system/coredns",
        "deleting coredns-7d764666f9-nbq7m, coredns-7d764666f9-nc4zd",
        "chaosext",
    ),
    event(131.9, Kind.POD_DELETED, f"{NEW}bq7m", f"on {CP}"),
    event(132.4, Kind.POD_BOUND, f"{LAST}5s8c", f"to {ONE}"),
    event(132.4, Kind.POD_BOUND, f"{LAST}x6ql", f"to {TWO}"),
)
BACK = (
    event(137.2, Kind.DNS_RESTORED, f"Node/{ONE}", "10.2.112.10:53/udp answered", f"lookups on {ONE}"),
    event(138.3, Kind.DNS_RESTORED, f"Node/{TWO}", "10.2.112.10:53/udp answered", f"lookups on {TWO}"),
    event(165.1, Kind.XDS_RESTORED, "Service/istio-system/istiod", "8 of 8 sidecars are synced", "istiod"),
    event(
        190.4,
        Kind.STEADY,
        "Cluster/kind-chaosext",
        "steady after 39.2s, and for a dwell of 15.3s",
        "chaosext",
    ),
)
API, ISTIOD = "API server 172.18.0.2:6443", "istiod 10.2.0.15:15012"
ASTRAY = f"coredns-7d764666f9-nbq7m on {CP} 10.244.0.7"
SERVICE = "kube-dns 10.2.112.10:53/tcp"
CART, FRONT = "Pod/shop/cart-6c9f7d5b8-kx2vn", "Pod/shop/front-5d8c9b7c4-p9w7t"
CUT_OFF = (
    seen(0.6, Kind.DNS_DEGRADED, CP, f"Node/{CP}", "10.2.112.10:53/udp timed out"),
    seen(0.6, Kind.DNS_DEAD, CP, f"Node/{CP}", "10.2.112.10:53/udp timed out"),
    seen(0.6, Kind.TARGET_LOST, CP, f"Node/{CP} → {ISTIOD}", "timed out"),
    seen(0.9, Kind.TARGET_LOST, ONE, f"Node/{ONE} → {API}", "timed out"),
    seen(1.2, Kind.TARGET_LOST, TWO, f"Node/{TWO} → {API}", "timed out"),
)
"""What the sentinels saw of the cut itself."""
NO_WAY = tuple(
    each
    for at_s, node in ((45.1, ONE), (45.4, TWO))
    for each in (
        seen(
            at_s,
            Kind.ROUTE_LOST,
            node,
            f"Node/{node} → {ASTRAY}",
            "no route of its own leads there",
        ),
        seen(at_s, Kind.TARGET_LOST, node, f"Node/{node} → {ASTRAY}:53/udp", "timed out"),
        seen(at_s, Kind.TARGET_LOST, node, f"Node/{node} → {ASTRAY}:53/tcp", "timed out"),
    )
)
"""That nobody advertises a route to kube-dns where it went."""
AGAIN = (
    seen(43.6, Kind.DNS_RESTORED, CP, f"Node/{CP}", "10.2.112.10:53/udp answered"),
    seen(53.6, Kind.TARGET_RESTORED, CP, f"Node/{CP} → {ISTIOD}", "open"),
    seen(53.9, Kind.TARGET_RESTORED, ONE, f"Node/{ONE} → {API}", "open"),
    seen(54.2, Kind.TARGET_RESTORED, TWO, f"Node/{TWO} → {API}", "open"),
)
"""What came back with the network."""
SIDECARS = (
    seen(55.0, Kind.TARGET_LOST, ONE, f"Node/{ONE} → {SERVICE}", "timed out"),
    seen(61.0, Kind.XDS_LOST, ONE, CART, "without istiod, 15021 refused"),
    seen(61.0, Kind.SIDECAR_NOT_READY, ONE, CART, "15021 refused"),
    seen(61.4, Kind.XDS_LOST, TWO, FRONT, "without istiod, though 15021 says ready"),
)
"""What the sidecars' own nodes saw of them."""
STALE = seen(
    137.2,
    Kind.DNS_SOCKET_STALE,
    ONE,
    f"Node/{ONE}",
    "10.2.112.10:53/udp: kept socket timed out, fresh socket answered",
)
WELL = (
    seen(
        133.0,
        Kind.OBSERVATION_LOST,
        ONE,
        f"Node/{ONE} → {ASTRAY} (routes)",
        "no longer watched: not in the plan",
    ),
    seen(
        133.0,
        Kind.OBSERVATION_LOST,
        TWO,
        f"Node/{TWO} → {ASTRAY} (routes)",
        "no longer watched: not in the plan",
    ),
    seen(137.2, Kind.TARGET_RESTORED, ONE, f"Node/{ONE} → {SERVICE}", "answered"),
    STALE,
    seen(
        158.2,
        Kind.DNS_SOCKETS_AGREE,
        ONE,
        f"Node/{ONE}",
        "10.2.112.10:53/udp: kept socket answered, fresh socket answered",
    ),
    seen(160.0, Kind.XDS_RESTORED, ONE, CART, "has its istiod, 15021 says ready"),
    seen(160.0, Kind.SIDECAR_READY, ONE, CART, "15021 says ready"),
    seen(162.4, Kind.XDS_RESTORED, TWO, FRONT, "has its istiod, 15021 says ready"),
)
"""How the sentinels saw it end."""
BLIND = (
    seen(48.4, Kind.OBSERVATION_LOST, TWO, f"Node/{TWO}", "the sentinel was restarted"),
    seen(75.9, Kind.OBSERVATION_RESTORED, TWO, f"Node/{TWO}", "the sentinel's record goes on"),
    seen(75.9, Kind.DNS_DEAD, TWO, f"Node/{TWO}", "10.2.112.10:53/udp timed out"),
)
"""A sentinel that was killed while it mattered."""


def by_sentinels(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same, seen by sentinels where it was lookups that saw it before there were any."""
    return tuple(replace(each, source=each.source.replace("lookups on", "sentinel on")) for each in events)


DEAD_SEEN, BACK_SEEN = by_sentinels(DEAD), by_sentinels(BACK)
CLOCKS = {
    CP: NodeClock(offset_s=0.0, error_s=0.0004, wall_skew_s=0.0, boots=1),
    ONE: NodeClock(offset_s=0.0, error_s=0.0006, wall_skew_s=90.0, boots=1),
    TWO: NodeClock(offset_s=-812.5, error_s=0.0011, wall_skew_s=0.002, boots=2),
}
SELF_HEALED = (
    event(41.0, Kind.POD_EVICTED, f"{OLD}2xkfq", f"from {ONE}, which is not ready"),
    event(
        41.2,
        Kind.POD_PENDING,
        f"{NEW}bq7m",
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity",
    ),
    *HEALED,
    event(58.0, Kind.POD_BOUND, f"{NEW}bq7m", f"to {TWO}"),
    event(
        81.0,
        Kind.STEADY,
        "Cluster/kind-chaosext",
        "steady after 10.2s, and for a dwell of 15.1s",
        "chaosext",
    ),
)


def result(verdict: Verdict, *events: Event, duration_s: float = 236.0) -> RunResult:
    ordered = tuple(sorted(events, key=lambda each: each.t_s))
    return RunResult(
        run="20261123t230300ab12",
        experiment="Control plane severed from its nodes",
        started_at="2026-11-23T23:03:00+00:00",
        cut_at="2026-11-23T23:03:28.500+00:00" if any(each.kind is Kind.CUT for each in ordered) else "",
        duration_s=duration_s,
        verdict=verdict,
        events=ordered,
        outages=outages(ordered),
        unobserved=unobserved(ordered),
        clocks=CLOCKS if any(each.source.startswith("sentinel") for each in ordered) else {},
        timing=timing(ordered),
        briefing=BRIEFING,
    )


def verdict(
    outcome: Outcome, *reasons: str, verified: bool | None = None, number: int | None = None
) -> Verdict:
    return Verdict(outcome=outcome, reasons=reasons, rollback_verified=verified, signal_number=number)


DNS_IS_DEAD = "dns_resolvable: 0 of 2 nodes resolve (10.2.112.10:53 timed out)"

STORIES = {
    "passed": replace(
        result(
            verdict(Outcome.PASSED, "the steady state held after the heal"),
            *CUT,
            *SELF_HEALED,
            duration_s=113.0,
        ),
        foreign_rules=ForeignRules(changed_by={}, unattributed=(), not_compared=()),
        clocks=CLOCKS,
    ),
    "deviated-rollback-verified": result(
        verdict(
            Outcome.DEVIATED, DNS_IS_DEAD, "rollback verified: the steady state holds again", verified=True
        ),
        *CUT,
        *CUT_OFF,
        *MOVED,
        *NO_WAY,
        *HEALED,
        *AGAIN,
        *DEAD_SEEN,
        *SIDECARS,
        *ROLLBACK,
        *BACK_SEEN,
        *WELL,
    ),
    "deviated-half-seen": result(
        verdict(
            Outcome.DEVIATED, DNS_IS_DEAD, "rollback verified: the steady state holds again", verified=True
        ),
        *CUT,
        *MOVED,
        *NO_WAY,
        *HEALED,
        *(each for each in DEAD_SEEN if (each.kind, each.object) != (Kind.DNS_DEAD, f"Node/{TWO}")),
        *BLIND,
        *ROLLBACK,
        *BACK_SEEN,
        STALE,
    ),
    "deviated-rollback-not-verified": result(
        verdict(
            Outcome.DEVIATED,
            DNS_IS_DEAD,
            "rollback not verified: the steady state was not checked after it",
            verified=False,
        ),
        *CUT,
        *MOVED,
        *HEALED,
        *DEAD,
    ),
    "inconclusive": result(
        verdict(
            Outcome.INCONCLUSIVE,
            f"ipv6 left open: Node/{ONE} → [fc00:f853:ccd:e793::2]:6443 answers; 4 of 8 paths blocked",
        ),
        CUT[0],
        event(1.9, Kind.HEAL, f"Node/{CP}", "cut removed in 0.38s", "chaosext"),
        duration_s=14.0,
    ),
    "unsafe": result(
        verdict(
            Outcome.UNSAFE,
            f"the cut of run 20261123t230300ab12 may still be active on {CP} (no answer within 10 s), "
            "until 2026-11-23T23:05:10Z at the latest: "
            f"docker exec {CP} nft delete table inet chaosext_20261123t230300ab12",
        ),
        *CUT,
        duration_s=71.0,
    ),
    "refused": replace(
        result(
            verdict(
                Outcome.REFUSED,
                "ttl_s: 7200 s is beyond the limit of 900 s (max_ttl_s): "
                "ask for less, or raise configuration.chaosext_max_ttl_s",
            ),
            duration_s=0.0,
        ),
        briefing=None,
    ),
    "interrupted": result(
        verdict(Outcome.INTERRUPTED, "signal 15 ended the run; the cut was healed", number=15),
        *CUT[:3],
        event(23.0, Kind.HEAL, f"Node/{CP}", "cut removed in 0.40s", "chaosext"),
        duration_s=34.0,
    ),
}
"""Name -> the run's result."""
