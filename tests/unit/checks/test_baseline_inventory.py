"""nothing_missing: whatever vanishes or shrinks is missed, and what only goes its usual way is not."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks.baseline_inventory import Inventory, gather, judge, lasting
from chaosext.checks.suite import STEADY_STATE, Surroundings, run_checks
from chaosext.cluster.client import Cluster, NotFound
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Object = dict[str, Any]
World = dict[str, list[Object]]


def named(name: str, namespace: str = "shop", **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, **more}}


def pod(
    name: str, owner: str = "", *, namespace: str = "shop", sidecar: bool = True, **labels: str
) -> Object:
    kind, _, of = owner.partition("/")
    owners = [{"kind": kind, "name": of, "controller": True}] if owner else []
    containers = [{"name": "app"}, *([{"name": "istio-proxy"}] if sidecar else [])]
    meta = named(name, namespace, ownerReferences=owners, labels=labels)
    return {**meta, "spec": {"containers": containers}, "status": {"phase": "Running"}}


def job(name: str) -> Object:
    made = pod(name, "Job/nightly", sidecar=False)
    return {**made, "spec": {**made["spec"], "restartPolicy": "OnFailure"}}


def replicas(name: str, wanted: int, namespace: str = "shop") -> Object:
    return {**named(name, namespace), "spec": {"replicas": wanted}}


def service(name: str, namespace: str = "shop", *ips: str) -> Object:
    return {**named(name, namespace), "spec": {"clusterIPs": list(ips or ("10.2.0.1",))}}


def slice_of(name: str, namespace: str = "shop", *, ready: int = 2) -> Object:
    labels = {"kubernetes.io/service-name": name}
    endpoints = [
        {"addresses": [f"10.244.1.{n}"], "conditions": {"ready": n < ready}, "targetRef": {"name": f"p{n}"}}
        for n in range(2)
    ]
    return {**named(f"{name}-x", namespace, labels=labels), "endpoints": endpoints}


def world() -> World:
    return {
        "nodes": [named("cp"), named("w")],
        "namespaces": [named("shop"), named("kube-system"), named("other")],
        "deployments": [
            replicas("cart", 2),
            replicas("coredns", 2, "kube-system"),
            replicas("x", 9, "other"),
        ],
        "statefulsets": [replicas("db", 1)],
        "daemonsets": [
            {**named("agent"), "status": {"desiredNumberScheduled": 2}},
            {**named("chaosext-sentinel", "kube-system", labels={"chaosext/run": "r"}), "status": {}},
        ],
        "pods": [
            pod("cart-77d-aaaaa", "ReplicaSet/cart-77d", **{"pod-template-hash": "77d"}),
            pod("cart-77d-bbbbb", "ReplicaSet/cart-77d", **{"pod-template-hash": "77d"}),
            pod("db-0", "StatefulSet/db", sidecar=False),
            pod("bare", sidecar=False),
            pod("blue-0", "CloneSet/blue", sidecar=False),
            pod("blue-1", "CloneSet/blue", sidecar=False),
            job("nightly-1"),
            pod("ours", sidecar=False, **{"chaosext/run": "r"}),
        ],
        "services": [
            service("cart"),
            service("kube-dns", "kube-system", "10.2.112.10", "fd00::10"),
            service("kubelet", "kube-system"),
        ],
        "endpointslices": [
            slice_of("cart"),
            slice_of("kube-dns", "kube-system"),
            slice_of("kubelet", "kube-system"),
        ],
    }


class Listed(Cluster):
    """A cluster that lists what a world holds."""

    def __init__(self, world: World) -> None:
        self.context, self._world = "kind-nowhere", world

    def items(self, kind: str, *, namespace: str | None = None, **_: str | None) -> Iterator[Object]:
        for each in self._world[kind]:
            if namespace in (None, each["metadata"]["namespace"]) or kind in ("nodes", "namespaces"):
                yield copy.deepcopy(each)


def counted(changed: World, namespaces: tuple[str, ...] = ("shop",)) -> Inventory:
    return gather(Listed(changed), namespaces)


def missing_after(
    change: Callable[[World], None], namespaces: tuple[str, ...] = ("shop",)
) -> set[tuple[str, str]]:
    now = world()
    change(now)
    finding = judge(counted(world(), namespaces), counted(now, namespaces))
    assert (finding.status is Status.HEALTHY) == (not finding.evidence)
    return {(row.subject, row.detail) for row in finding.evidence}


def without(kind: str, name: str) -> Callable[[World], None]:
    def change(now: World) -> None:
        now[kind] = [each for each in now[kind] if each["metadata"]["name"] != name]

    return change


def with_(kind: str, name: str, *path: str, value: Any) -> Callable[[World], None]:
    def change(now: World) -> None:
        (found,) = (each for each in now[kind] if each["metadata"]["name"] == name)
        *way, last = path
        for key in way:
            found = found.setdefault(key, {})
        found[last] = value

    return change


LOSSES: list[tuple[Callable[[World], None], tuple[str, str]]] = [
    (without("nodes", "w"), ("Node/w", "is gone")),
    (with_("nodes", "w", "spec", "unschedulable", value=True), ("Node/w", "is cordoned")),
    (without("deployments", "cart"), ("Deployment/shop/cart", "is gone")),
    (
        with_("deployments", "cart", "spec", "replicas", value=1),
        ("Deployment/shop/cart", "has 1 of 2 replicas wanted"),
    ),
    (
        with_("deployments", "cart", "spec", "replicas", value=0),
        ("Deployment/shop/cart", "has 0 of 2 replicas wanted"),
    ),
    (
        with_("deployments", "coredns", "spec", "replicas", value=1),
        ("Deployment/kube-system/coredns", "has 1 of 2 replicas wanted"),
    ),
    (
        with_("statefulsets", "db", "spec", "replicas", value=0),
        ("StatefulSet/shop/db", "has 0 of 1 replicas wanted"),
    ),
    (
        with_("daemonsets", "agent", "status", "desiredNumberScheduled", value=1),
        ("DaemonSet/shop/agent", "has 1 of 2 replicas wanted"),
    ),
    (without("pods", "bare"), ("Pod/shop/bare", "is gone")),
    (
        with_("pods", "bare", "status", "phase", value="Failed"),
        ("Pod/shop/bare", "has failed or is terminating"),
    ),
    (
        with_("pods", "bare", "metadata", "deletionTimestamp", value="2026-11-23T23:04:00Z"),
        ("Pod/shop/bare", "has failed or is terminating"),
    ),
    (without("pods", "blue-1"), ("CloneSet/shop/blue", "has 1 of 2 Pods")),
    (without("namespaces", "shop"), ("Namespace/shop", "is gone")),
    (without("services", "cart"), ("Service/shop/cart", "is gone")),
    (without("services", "kube-dns"), ("Service/kube-system/kube-dns", "is gone")),
    (
        with_("services", "kube-dns", "spec", "clusterIPs", value=["10.2.112.10"]),
        ("Service/kube-system/kube-dns", "has 1 of 2 cluster IPs"),
    ),
    (
        with_("pods", "cart-77d-aaaaa", "spec", "containers", value=[{"name": "app"}]),
        ("Deployment/shop/cart", "has 1 of 2 Pods with a sidecar"),
    ),
]


@pytest.mark.parametrize(("change", "missing"), LOSSES)
def test_what_vanishes_or_shrinks_is_missed(
    change: Callable[[World], None], missing: tuple[str, str]
) -> None:
    assert missing in missing_after(change)
    now = world()
    change(now)
    subject, detail = missing
    assert detail in lasting(judge(counted(world()), counted(now)))[subject]


@pytest.mark.parametrize(("name", "namespace"), [("cart", "shop"), ("kube-dns", "kube-system")])
@pytest.mark.parametrize("ready", [0, 1])
def test_fewer_ready_endpoints_are_missed_but_may_be_back_in_a_moment(
    name: str, namespace: str, ready: int
) -> None:
    now = world()
    now["endpointslices"] = [
        slice_of(name, namespace, ready=ready) if each["metadata"]["name"] == f"{name}-x" else each
        for each in now["endpointslices"]
    ]
    finding = judge(counted(world()), counted(now))
    assert finding.status is Status.UNHEALTHY
    assert finding.summary.startswith(f"Service/{namespace}/{name} has {ready} of 2 ready endpoints (1 of ")
    assert lasting(finding) == {}


def renamed(now: World) -> None:
    now["pods"] = [
        pod("cart-99f-ccccc", "ReplicaSet/cart-99f", **{"pod-template-hash": "99f"}),
        pod("cart-99f-ddddd", "ReplicaSet/cart-99f", **{"pod-template-hash": "99f"}),
        *now["pods"][2:],
    ]


def more(now: World) -> None:
    with_("deployments", "cart", "spec", "replicas", value=5)(now)
    now["nodes"].append(named("v"))
    now["pods"].append(pod("another", sidecar=False))


UNREMARKABLE: list[Callable[[World], None]] = [
    lambda now: None,
    renamed,
    more,
    without("pods", "nightly-1"),
    with_("pods", "nightly-1", "status", "phase", value="Failed"),
    with_("pods", "bare", "status", "phase", value="Succeeded"),
    without("pods", "ours"),
    without("daemonsets", "chaosext-sentinel"),
    without("deployments", "x"),
    without("services", "kubelet"),
    without("pods", "db-0"),
]


@pytest.mark.parametrize("change", UNREMARKABLE)
def test_what_goes_its_usual_way_is_no_loss(change: Callable[[World], None]) -> None:
    assert missing_after(change) == set()


def test_a_pod_that_runs_to_its_end_is_counted_of_no_owner() -> None:
    def finite(now: World) -> None:
        now["pods"].append(pod("step-1", "Workflow/w"))
        now["pods"][-1]["spec"]["restartPolicy"] = "Never"

    before = world()
    finite(before)
    assert judge(counted(before), counted(world())).status is Status.HEALTHY


def test_a_pod_that_had_failed_before_is_not_waited_for() -> None:
    before = world()
    with_("pods", "bare", "status", "phase", value="Failed")(before)
    now = world()
    without("pods", "bare")(now)
    assert judge(counted(before), counted(now)).status is Status.HEALTHY


def test_without_namespaces_all_of_them_count() -> None:
    assert missing_after(without("deployments", "x"), ()) == {("Deployment/other/x", "is gone")}
    assert missing_after(without("services", "kubelet"), ()) == {("Service/kube-system/kubelet", "is gone")}


def test_every_loss_is_in_the_evidence_and_the_first_are_in_the_summary() -> None:
    now = world()
    for kind, name in (("nodes", "w"), ("namespaces", "shop"), ("services", "cart"), ("pods", "bare")):
        without(kind, name)(now)
    finding = judge(counted(world()), counted(now))
    assert [row.subject for row in finding.evidence] == [
        "Node/w",
        "Namespace/shop",
        "Pod/shop/bare",
        "Service/shop/cart",
    ]
    assert finding.summary.startswith(
        "Node/w is gone, Namespace/shop is gone, Pod/shop/bare is gone, and 1 more ("
    )
    assert "; " not in finding.summary  # reasons of a verdict are parted there


def test_an_empty_baseline_says_nothing() -> None:
    nothing = Inventory(namespaces=(), counts={})
    assert judge(nothing, counted(world())).status is Status.UNKNOWN


def test_an_inventory_survives_being_kept() -> None:
    before = counted(world())
    again = Inventory.from_json(json.loads(json.dumps(before.to_json())))
    assert (again.namespaces, again.counts) == (before.namespaces, before.counts)


def test_the_check_compares_with_the_baseline_it_is_given() -> None:
    now = world()
    without("nodes", "w")(now)
    around = Surroundings(cluster=Listed(now), shells={}, baseline=counted(world()))
    (finding,) = run_checks(("nothing_missing",), around)
    assert (finding.status, finding.summary.partition(" (")[0]) == (Status.UNHEALTHY, "Node/w is gone")
    (unknown,) = run_checks(("nothing_missing",), Surroundings(cluster=Listed(now), shells={}))
    assert unknown.status is Status.UNKNOWN
    assert "chaosext baseline save" in unknown.summary
    assert "nothing_missing" not in STEADY_STATE  # there is none to compare with before a run


def test_what_may_not_be_listed_makes_it_unknown() -> None:
    class Forbidden(Listed):
        def items(self, kind: str, **query: Any) -> Iterator[Object]:
            if kind == "daemonsets":
                raise NotFound("no such kind")
            return super().items(kind, **query)

    around = Surroundings(cluster=Forbidden(world()), shells={}, baseline=counted(world()))
    (finding,) = run_checks(("nothing_missing",), around)
    assert finding.status is Status.UNKNOWN
