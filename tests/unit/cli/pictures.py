"""Runs as they stood at some moment: the story of the night, and one of 100 nodes."""

from __future__ import annotations

from dataclasses import replace

from chaosext.model.result import Briefing, Lane
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.monitor.progress import Picture
from chaosext.timeline.outages import outages, unobserved

CP, ONE, TWO = "chaosext-control-plane", "chaosext-worker", "chaosext-worker2"
ADDRESS, KUBE_DNS = "10.2.112.10:53/udp", "Service/kube-system/kube-dns"
CART, FRONT = "Pod/shop/cart-6c9f7d5b8-kx2vn", "Pod/shop/front-5d8c9b7c4-p9w7t"

BRIEFING = Briefing(
    context="kind-chaosext",
    timings={},
    outlook=(),
    unpeered_nodes=(CP,),
    kube_dns_nodes=(ONE, TWO),
)
EVENTS = (
    (0.0, Kind.CUT, f"Node/{CP}", "drops 172.18.0.3/32, 172.18.0.4/32, 10.244.0.0/16 for 2m at most"),
    (0.6, Kind.DNS_DEAD, f"Node/{CP}", f"{ADDRESS} timed out"),
    (0.6, Kind.TARGET_LOST, f"Node/{CP} → kube-dns 10.2.112.10:53/tcp", "timed out"),
    (20.4, Kind.NODE_NOT_READY, f"Node/{ONE}", "Ready is Unknown"),
    (20.5, Kind.NODE_NOT_READY, f"Node/{TWO}", "Ready is Unknown"),
    (20.8, Kind.ENDPOINTS_CHANGED, KUBE_DNS, "no ready endpoint"),
    (40.8, Kind.POD_EVICTED, "Pod/kube-system/coredns-7d764666f9-2xkfq", f"from {ONE}, which is not ready"),
    (40.9, Kind.POD_BOUND, "Pod/kube-system/coredns-7d764666f9-nbq7m", f"to {CP}"),
    (42.1, Kind.POD_READY, "Pod/kube-system/coredns-7d764666f9-nbq7m", f"on {CP}"),
    (43.6, Kind.DNS_RESTORED, f"Node/{CP}", f"{ADDRESS} answered"),
    (43.6, Kind.TARGET_RESTORED, f"Node/{CP} → kube-dns 10.2.112.10:53/tcp", "answered"),
    (45.1, Kind.ROUTE_LOST, f"Node/{ONE} → coredns-7d764666f9-nbq7m on {CP} 10.244.0.7", "no route"),
    (45.4, Kind.ROUTE_LOST, f"Node/{TWO} → coredns-7d764666f9-nbq7m on {CP} 10.244.0.7", "no route"),
    (46.0, Kind.ENDPOINTS_CHANGED, KUBE_DNS, f"10.244.0.7 on {CP}"),
    (50.7, Kind.POD_EVICTED, "Pod/kube-system/coredns-7d764666f9-8vhtr", f"from {TWO}, which is not ready"),
    (50.8, Kind.POD_BOUND, "Pod/kube-system/coredns-7d764666f9-nc4zd", f"to {CP}"),
    (53.2, Kind.HEAL, f"Node/{CP}", "cut removed in 0.41s"),
    (54.0, Kind.NODE_READY, f"Node/{ONE}", "Ready is True again"),
    (54.9, Kind.NODE_READY, f"Node/{TWO}", "Ready is True again"),
    (55.0, Kind.DNS_DEAD, f"Node/{ONE}", f"{ADDRESS} timed out"),
    (56.1, Kind.DNS_DEAD, f"Node/{TWO}", f"{ADDRESS} timed out"),
    (60.3, Kind.XDS_LOST, "Service/istio-system/istiod", "8 of 8 sidecars are not synced"),
    (61.0, Kind.XDS_LOST, CART, "without istiod, 15021 refused"),
    (61.4, Kind.XDS_LOST, FRONT, "without istiod, though 15021 says ready"),
    (64.0, Kind.PROBE_FAILING, CART, 'Startup probe failed: Get "http://10.244.12.5:15021/healthz/ready"'),
    (97.5, Kind.CRASH_LOOP, CART, "container istio-proxy: CrashLoopBackOff"),
    (131.0, Kind.ROLLBACK, "Deployment/kube-system/coredns", "deleting coredns-7d764666f9-nbq7m"),
    (131.9, Kind.POD_DELETED, "Pod/kube-system/coredns-7d764666f9-nbq7m", f"on {CP}"),
    (131.9, Kind.POD_DELETED, "Pod/kube-system/coredns-7d764666f9-nc4zd", f"on {CP}"),
    (132.4, Kind.POD_BOUND, "Pod/kube-system/coredns-7d764666f9-r5s8c", f"to {ONE}"),
    (132.4, Kind.POD_BOUND, "Pod/kube-system/coredns-7d764666f9-rx6ql", f"to {TWO}"),
    (132.9, Kind.ENDPOINTS_CHANGED, KUBE_DNS, f"10.244.1.2 on {ONE}, 10.244.2.3 on {TWO}"),
    (133.0, Kind.ROUTE_RESTORED, f"Node/{ONE} → coredns-7d764666f9-nbq7m on {CP} 10.244.0.7", "a route"),
    (133.0, Kind.ROUTE_RESTORED, f"Node/{TWO} → coredns-7d764666f9-nbq7m on {CP} 10.244.0.7", "a route"),
    (137.2, Kind.DNS_RESTORED, f"Node/{ONE}", f"{ADDRESS} answered"),
    (137.2, Kind.DNS_SOCKET_STALE, f"Node/{ONE}", f"{ADDRESS}: kept socket timed out, fresh socket answered"),
    (138.3, Kind.DNS_RESTORED, f"Node/{TWO}", f"{ADDRESS} answered"),
    (158.2, Kind.DNS_SOCKETS_AGREE, f"Node/{ONE}", f"{ADDRESS}: kept socket answered, fresh socket answered"),
    (160.0, Kind.XDS_RESTORED, CART, "has its istiod, 15021 says ready"),
    (160.2, Kind.POD_READY, CART, f"on {ONE}"),
    (162.4, Kind.XDS_RESTORED, FRONT, "has its istiod, 15021 says ready"),
    (165.1, Kind.XDS_RESTORED, "Service/istio-system/istiod", "8 of 8 sidecars are synced"),
    (190.4, Kind.STEADY, "Cluster/kind-chaosext", "steady after 39.2s, and for a dwell of 15.3s"),
)
VERDICT = Verdict(outcome=Outcome.DEVIATED, reasons=("DNS died",), rollback_verified=True)


def night(now_s: float | None, **more: object) -> Picture:
    """The night `now_s` after the cut; a sentinel on each node is heard of, and what comes later is not known."""
    known = (each for each in EVENTS if now_s is not None and each[0] <= now_s)
    events = tuple(
        Event(t_s=t_s, kind=kind, object=name, detail=detail, source="story")
        for t_s, kind, name, detail in known
    )
    picture = Picture(
        run="20261123t230300ab12",
        experiment="Control plane severed from its nodes",
        doing="method: the control plane has moved kube-dns",
        doing_s=12.4,
        now_s=now_s,
        ready=dict.fromkeys((CP, ONE, TWO), True),
        heard_s=dict.fromkeys((CP, ONE, TWO), 0.8),
        api_server_heard_s=1.2,
        briefing=BRIEFING,
        events=events,
        outages=outages(events),
        unobserved=unobserved(events),
    )
    return replace(picture, **more)  # type: ignore[arg-type]


def hundred(now_s: float) -> Picture:
    """100 nodes, of which 53 have no DNS, 12 are not heard of any more, and the rest has it again or always had."""
    nodes = [f"worker-{number}" for number in range(1, 101)]
    dead = {
        f"Node/{node}": ((55.0 + number / 50, None if number < 60 else 200.0 + number),)
        for number, node in enumerate(nodes[:80])
    }
    lost = {f"Node/{node}": ((20.4, 54.0 + number / 10),) for number, node in enumerate(nodes)}
    return night(
        now_s,
        ready=dict.fromkeys((CP, *nodes), True),
        heard_s={node: 40.0 if number % 9 == 0 else 0.3 for number, node in enumerate((CP, *nodes))},
        outages={Lane.DNS: dead, Lane.NODE_READY: lost},
    )


PICTURES = {
    "before": night(None, doing="gate: BGP is established"),
    "cut": night(47.3, in_force=True, ttl_s=72.7, let_go_s=24.1),
    "one-unseen": night(
        50.0, in_force=True, ttl_s=70.0, let_go_s=70.0, heard_s={CP: 0.4, ONE: 0.4, TWO: 21.0}
    ),
    "dns-dead": night(120.0, doing="method: the cluster heals itself, and stays well"),
    "over": night(190.4, doing="", verdict=VERDICT),
    "hundred": hundred(480.0),
}
SIZES = {"80x24": (80, 24), "60x16": (60, 16), "120x45": (120, 45)}
