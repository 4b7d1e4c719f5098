"""What a snapshot leaves out of DNS, a mesh or the control plane never turns no-go, or unknown, into go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from listings import AGENTS, CALICO, CONTROL_PLANE, SMALL, Item, agent, item, listed, node, pod, written

from chaosext.gate.cutover_plan import Acceptance, Cutover, Selection
from chaosext.gate.decision import Decision
from chaosext.gate.judge import judge
from chaosext.rehearsal.snapshot.reader import read_snapshot

NODES = ("cp-1", "worker-1", "worker-2")
EVERYTHING = [{"operator": "Exists"}]


def tolerating(seconds: int, *more: Item) -> list[Item]:
    """DefaultTolerationSeconds' own, and more."""
    keys = [f"node.kubernetes.io/{what}" for what in ("not-ready", "unreachable")]
    return [
        *(
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for key in keys
        ),
        *more,
    ]


ANYWHERE = {"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}


def served(
    name: str,
    *on: str,
    namespace: str = "kube-system",
    owner: str = "",
    seconds: int = 300,
    ip: str = "",
    **labels: str,
) -> tuple[Item, ...]:
    """A Service and its Pods, and their ReplicaSet or DaemonSet. `seconds` 0: they stay on lost nodes for good."""
    own = labels or {"app": name}
    kind, _, owned = (owner or f"ReplicaSet/{name}-1").partition("/")
    tolerations = EVERYTHING if kind == "DaemonSet" else tolerating(seconds, ANYWHERE)
    if not seconds:
        tolerations = [{"operator": "Exists", "effect": "NoExecute"}]
    return (
        item(
            "Service",
            name,
            namespace,
            spec={"clusterIP": ip or "10.96.0.10", "selector": own, "ports": [{"port": 53}]},
        ),
        item(
            kind,
            owned,
            namespace,
            "apps/v1",
            spec={"replicas": len(on)},
            status={"desiredNumberScheduled": len(on)},
        ),
        *(
            pod(
                f"{name}-{at}",
                at,
                namespace,
                f"{kind}/{owned}",
                own,
                tolerations=tolerations,
                containers=[{"name": "coredns" if "dns" in name else name}],
            )
            for at in on
        ),
    )


def app(*containers: str, on: str = "worker-1", name: str = "cart-1", **labels: str) -> Item:
    made = pod(name, on, "shop", "ReplicaSet/cart-5f", {"app": "cart", **labels}, tolerations=tolerating(300))
    made["spec"]["containers"] = [{"name": each} for each in ("main", *containers)]
    return made


def static(component: str, *command: str) -> Item:
    made = pod(f"{component}-cp-1", "cp-1", "kube-system", "Node/cp-1", tolerations=EVERYTHING)
    made["spec"]["containers"] = [{"name": component, "command": [component, *command]}]
    return made


def space(name: str, **labels: str) -> Item:
    return item("Namespace", name, metadata={"labels": labels})


def network(name: str) -> tuple[Item, ...]:
    made = tuple(agent(on, name) for on in NODES)
    for each in made:
        each["spec"]["tolerations"] = EVERYTHING
    return made


MACHINES = tuple(node(name, ip=f"10.0.0.{at}") for at, name in enumerate(NODES, 1))
SYSTEM = (space("kube-system"), space("shop"))
ROUTED = (*MACHINES, *SYSTEM, *network("aws-node"))
ANNOUNCED = (*MACHINES, *SYSTEM, *network("calico-node"), *CALICO)
"""Only workers announce their Pods' addresses."""

STEADY = served("kube-dns", *NODES[1:], seconds=0)
"""A DNS that stays on the workers, whatever happens."""
MOVING = served("kube-dns", *NODES[1:])
HASTY = served("kube-dns", *NODES[1:], seconds=20)
OTHER = served("coredns", "worker-1", ip="10.96.0.53")
EKS = tuple(
    node(name, version="v1.33.1-eks-a737599", **{"topology.kubernetes.io/zone": zone})
    for name, zone in zip(NODES, "abb", strict=True)
)

FAST = (
    static("kube-controller-manager", "--node-monitor-grace-period=20s"),
    static("kube-apiserver", "--default-unreachable-toleration-seconds=20"),
)
AMBIENT = (
    *(
        pod(
            f"ztunnel-{on}",
            on,
            "istio-system",
            "DaemonSet/ztunnel",
            {"app": "ztunnel"},
            tolerations=EVERYTHING,
        )
        for on in NODES
    ),
    item("DaemonSet", "ztunnel", "istio-system", "apps/v1"),
    space("istio-system"),
    space("shop", **{"istio.io/dataplane-mode": "ambient"}),
    app(),
    app(name="cart-2"),
)
LINKERD = (
    *served("linkerd-destination", "worker-2", namespace="linkerd", ip="10.96.0.70"),
    *served("linkerd-identity", "worker-2", namespace="linkerd", ip="10.96.0.71"),
    app("linkerd-proxy"),
    app("linkerd-proxy", name="cart-2"),
)
ISTIO = (
    *served("istiod", "worker-2", namespace="istio-system", ip="10.96.0.72"),
    item("MutatingWebhookConfiguration", "istio-sidecar-injector", webhooks=[{"failurePolicy": "Fail"}]),
    space("istio-system"),
    space("shop", **{"istio-injection": "enabled"}),
    *(app("istio-proxy", on=on, name=f"cart-{on}-{at}") for on in NODES[1:] for at in (1, 2)),
)
SCALER = (
    item("Deployment", "dns-autoscaler", "kube-system", "apps/v1"),
    pod(
        "dns-autoscaler-1",
        "worker-1",
        "kube-system",
        "ReplicaSet/dns-autoscaler-7c",
        tolerations=tolerating(300),
    ),
)

NOT_GO: dict[str, tuple[tuple[Item, ...], float]] = {
    "the story": (SMALL, 480.0),
    "accelerated timings": ((*ANNOUNCED, *HASTY, *FAST), 60.0),
    "two DNS": ((*ROUTED, *MOVING, *OTHER), 20.0),
    "a DNS that is not announced": (
        (*ANNOUNCED, *served("kube-dns", *NODES, owner="DaemonSet/kube-dns")),
        20.0,
    ),
    "a DNS that an autoscaler may move": ((*ANNOUNCED, *MOVING, *SCALER), 120.0),
    "ambient": ((*ROUTED, *STEADY, *AMBIENT), 480.0),
    "Linkerd": ((*ROUTED, *STEADY, *LINKERD), 480.0),
    "an istiod that moves out of reach": ((*ANNOUNCED, *STEADY, *ISTIO), 480.0),
    "EKS' node repair": ((*EKS, *SYSTEM, *network("aws-node"), *STEADY), 900.0),
}


def plan(cut_for_s: float) -> Cutover:
    return Cutover(
        title="t",
        selection=Selection(names=NODES[1:]),
        cut_for_s=cut_for_s,
        at_most_s=cut_for_s,
        accept=Acceptance(probability=0.9),
    )


def decided(items: tuple[Item, ...], cut_for_s: float) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        world = read_snapshot([written(Path(directory) / "c.json", listed(*items))])
    return judge(world, plan(cut_for_s))


def describes(each: Item) -> bool:
    """Whether it describes DNS, a mesh or the control plane, and not a node that is cut or its network."""
    return each["metadata"]["name"] not in NODES[1:] and each not in (*AGENTS, *CALICO)


@pytest.mark.parametrize("name", NOT_GO)
def test_none_of_them_is_a_go(name: str) -> None:
    assert decided(*NOT_GO[name]).decision is not Decision.GO


@pytest.mark.parametrize("items", [(*ROUTED, *STEADY), (*ROUTED, *MOVING), (*ANNOUNCED, *STEADY)])
def test_a_cut_that_changes_nothing_is_a_go(items: tuple[Item, ...]) -> None:
    found = decided(items, 20.0)
    assert found.decision is Decision.GO, [each.finding.summary for each in found.against]


@st.composite
def incomplete(draw: st.DrawFn) -> tuple[str, tuple[Item, ...], float]:
    """One of them, less one object."""
    name = draw(st.sampled_from(sorted(NOT_GO)))
    items, cut_for_s = NOT_GO[name]
    gone = draw(st.sampled_from([each for each in items if describes(each)]))
    return name, tuple(each for each in items if each is not gone), cut_for_s


@given(incomplete())
@settings(max_examples=examples(85))
def test_an_object_less_never_turns_it_to_go(case: tuple[str, tuple[Item, ...], float]) -> None:
    name, items, cut_for_s = case
    found = decided(items, cut_for_s)
    assert found.decision is not Decision.GO, name
