"""Healthy but noisy clusters have no cause, and what can't be seen never makes one healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cluster import CP, W1, W2, MadeCluster, at
from test_rules import BROKEN

from chaosext.diagnose.cluster_sight import KINDS
from chaosext.diagnose.knowledge import Cause
from chaosext.diagnose.root_causes import ClusterCondition, diagnose, root_causes
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable


def finished_and_old(made: MadeCluster) -> None:
    """Completed and failed Jobs, old Warnings, restarts long ago, an evicted Pod's record."""
    job = {"kind": "Job", "name": "nightly", "controller": True}
    for number, phase in enumerate(("Succeeded", "Failed")):
        pod = made.pod("shop", f"nightly-{number}", W1, {"job": "nightly"}, job)
        pod["spec"]["restartPolicy"] = "Never"
        pod["status"] |= {"phase": phase, "conditions": [{"type": "Ready", "status": "False"}]}
    gone = made.pod(
        "shop",
        "cart-old",
        W2,
        {"app": "cart"},
        {"kind": "ReplicaSet", "name": "cart-66bc", "controller": True},
    )
    gone["status"] |= {
        "phase": "Failed",
        "reason": "Evicted",
        "conditions": [{"type": "Ready", "status": "False"}],
    }
    made.event("Unhealthy", "Pod/shop/cart-0", "Readiness probe failed: connection refused", ago=5000)
    made.event("BackOff", "Pod/shop/cart-0", "Back-off restarting failed container", ago=4000)
    made.event("NodeNotReady", f"Node/{W1}", "Node is not ready", ago=3000)
    for pod in made.pods_of("cart-"):
        pod["status"]["containerStatuses"][0]["restartCount"] = 41


def under_change(made: MadeCluster) -> None:
    """A rolling update, a cordoned node, Pods that have just begun, a Service without Pods."""
    made.find("Node", W2)["spec"]["unschedulable"] = True
    made.workload("Deployment", "shop", "front", {"app": "front"}, [W1, W1, W2], created=9000)
    front = made.find("Deployment", "front")
    front["metadata"]["generation"] = 2
    front["status"] |= {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 2}
    front["status"]["conditions"] = [
        {"type": "Available", "status": "False", "lastTransitionTime": at(20)},
        {"type": "Progressing", "status": "True", "lastUpdateTime": at(20)},
    ]
    made.unready(made.pods_of("front-2")[0], ago=15)
    made.service("shop", "nothing", {"app": "scaled-to-zero"}, "10.2.112.50")
    new = made.pod("shop", "tool", W1, {"app": "tool"}, created=10)
    made.unready(new, waiting="ContainerCreating", ago=10)


def short_of_room(made: MadeCluster) -> None:
    """Pods that a quota, or a lack of room, holds back; a StatefulSet that rolls."""
    made.workload("Deployment", "team", "batch", {"app": "batch"}, [W1, W2], created=9000, wanted=3)
    made.available("Deployment", "batch", 2)
    made.find("Deployment", "batch")["status"]["conditions"][0]["status"] = "False"
    quota = 'Error creating: pods "batch-66bc-x" is forbidden: exceeded quota: compute, requested: pods=1'
    made.event("FailedCreate", "ReplicaSet/team/batch-66bc", quota, ago=30)
    made.workload("Deployment", "team", "big", {"app": "big"}, [W1, ""], created=9000)
    pending = made.pods_of("big-1")[0]
    pending["status"] |= {
        "phase": "Pending",
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": at(9000)},
            {
                "type": "PodScheduled",
                "status": "False",
                "message": "0/3 nodes are available: 3 Insufficient cpu.",
            },
        ],
    }
    made.available("Deployment", "big", 1)
    made.workload("StatefulSet", "team", "db", {"app": "db"}, [CP, W1, W2], created=9000)
    made.available("StatefulSet", "db", 2)
    made.find("StatefulSet", "db")["status"] |= {"updateRevision": "b"}
    made.unready(made.pods_of("db-2")[0], ago=20)


NOISY = (finished_and_old, under_change, short_of_room)


@pytest.mark.parametrize("noise", NOISY)
def test_noisy_but_healthy_cluster_is_healthy(noise: Callable[[MadeCluster], None]) -> None:
    made = MadeCluster()
    noise(made)
    found = diagnose(made.sight())
    assert found.symptoms == ()
    assert found.roots == ()
    assert found.condition is ClusterCondition.HEALTHY


@pytest.mark.parametrize("noise", NOISY)
def test_noisy_but_healthy_cluster_without_measurements_is_unknown_and_has_no_cause(
    noise: Callable[[MadeCluster], None],
) -> None:
    made = MadeCluster()
    noise(made)
    made.blind_to_nodes()
    found = diagnose(made.sight())
    assert (found.roots, found.symptoms, found.condition) == ((), (), ClusterCondition.UNKNOWN)


@pytest.mark.parametrize("noise", NOISY)
@pytest.mark.parametrize("name", BROKEN)
def test_noise_changes_no_diagnosis(name: str, noise: Callable[[MadeCluster], None]) -> None:
    quiet, noisy = MadeCluster(), MadeCluster()
    noise(noisy)
    noisy.measure()
    for made in (quiet, noisy):
        BROKEN[name](made)
    before, after = diagnose(quiet.sight()), diagnose(noisy.sight())
    assert [root.cause.rule for root in after.roots] == [root.cause.rule for root in before.roots]


PARTS = (
    *KINDS,
    "dns_resolvable",
    "bgp_established",
    "xds_synced",
    "nodes_reach_pods",
    *(f"node {name}" for name in (CP, W1, W2)),
)


def hide(made: MadeCluster, parts: set[str]) -> None:
    for part in parts:
        if part in made.checks:
            del made.checks[part]
        elif part.startswith("node "):
            name = part.removeprefix("node ")
            made.sights.pop(name, None)
            made.blind[name] = "no access"
        else:
            made.missed[part] = "missing permission"


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from([*BROKEN, ""]), parts=st.sets(st.sampled_from(PARTS)))
def test_what_cannot_be_seen_never_makes_a_cluster_healthy(name: str, parts: set[str]) -> None:
    made = MadeCluster()
    BROKEN.get(name, lambda _: None)(made)
    hide(made, parts)
    found = diagnose(made.sight())
    assert (found.condition is ClusterCondition.HEALTHY) == (not name and not parts)


KEYS = st.frozensets(st.sampled_from("abcde"), min_size=1)


@given(st.lists(st.builds(lambda grounds, more: (grounds, more), KEYS, KEYS), max_size=6))
def test_some_cause_is_a_root_if_there_is_any(made: list[tuple[frozenset[str], frozenset[str]]]) -> None:
    causes = [
        Cause(subject=str(number), said="", grounds=grounds, explains=more)
        for number, (grounds, more) in enumerate(made)
    ]
    assert bool(root_causes(causes, ())) == bool(causes)


def test_cause_that_explains_anothers_grounds_outranks_it() -> None:
    shallow = Cause(subject="sidecars", said="", grounds=frozenset("b"), explains=frozenset("c"))
    deep = Cause(subject="dns", said="", grounds=frozenset("a"), explains=frozenset("b"))
    (root,) = root_causes([shallow, deep], ())
    assert root.cause is deep
    assert root.led_to == (shallow,)


@pytest.mark.parametrize(
    ("kind", "name", "part", "value"),
    [
        ("Deployment", "cart", "spec", {"replicas": "many"}),
        ("Deployment", "cart", "status", {"observedGeneration": 1, "conditions": "none"}),
        (
            "Node",
            W1,
            "spec",
            {
                "taints": [
                    {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "soon"}
                ]
            },
        ),
        ("StatefulSet", "db", "spec", {"replicas": []}),
    ],
)
def test_value_that_is_not_valid_is_refused_or_a_gap_and_never_healthy(
    kind: str, name: str, part: str, value: dict[str, object]
) -> None:
    made = MadeCluster()
    made.workload("StatefulSet", "team", "db", {"app": "db"}, [W1], created=9000)
    made.find(kind, name)[part] |= value
    try:
        found = diagnose(made.sight())
    except Refused:
        return
    assert found.condition is not ClusterCondition.HEALTHY
    assert any("invalid value" in each for each in found.gaps)
