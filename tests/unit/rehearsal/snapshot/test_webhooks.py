"""A webhook that fails closed and whose Pods are cut off keeps evicted Pods from being created again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from listings import Item, item, listed, written
from test_dns_detection import NODES, ROUTED, WORKERS, behind, service
from test_mesh_detection import DNS, app, space

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.rehearsal.snapshot.prune import WANTED, least
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]

PODS = [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda *items: read_snapshot([written(tmp_path / "c.json", listed(*items))])


def hook(kind: str = "Mutating", **fields: Any) -> Item:
    own = {
        "name": "h",
        "failurePolicy": "Fail",
        "rules": PODS,
        "clientConfig": {"caBundle": "s3cr3t", "service": {"namespace": "policy", "name": "policy"}},
    }
    api = "admissionregistration.k8s.io/v1"
    return item(f"{kind}WebhookConfiguration", "policy", api=api, webhooks=[{**own, **fields}])


def cluster(*on: str) -> tuple[Item, ...]:
    """An app on worker-1, and the webhook's Pods on these nodes."""
    servers = (behind("policy", each, "policy") for each in on)
    return (*ROUTED, *DNS, space("shop"), app(), service("policy", "policy", "10.96.0.50"), *servers)


def verdict(world: World, cut_for_s: float = 480.0) -> Forecast:
    return rehearse(world, Plan(cut_nodes=WORKERS, cut_for_s=cut_for_s), samples=4).verdict


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_evicted_pods_are_unknown_while_their_webhook_is_cut_off(read: Read, kind: str) -> None:
    world = read(*cluster("worker-2"), hook(kind))
    found = rehearse(world, Plan(cut_nodes=WORKERS), samples=4)
    assert found.verdict is Forecast.UNKNOWN
    assert f"{kind}WebhookConfiguration/policy" in str(found.doubts[0])
    of_the_app = hook(kind, objectSelector={"matchLabels": {"app": "cart"}})
    assert verdict(read(*cluster("worker-2"), of_the_app), 20.0) is Forecast.PASSED


def test_a_webhook_that_is_still_served_lets_pods_in(read: Read) -> None:
    assert verdict(read(*cluster("worker-2", "cp-1"), hook())) is Forecast.PASSED


@pytest.mark.parametrize(
    "fields",
    [
        {"failurePolicy": "Ignore"},
        {"rules": [{**PODS[0], "resources": ["deployments"]}]},
        {"rules": [{**PODS[0], "operations": ["DELETE"]}]},
        {"objectSelector": {"matchLabels": {"app": "other"}}},
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "NotIn",
                        "values": ["shop", "kube-system", "policy"],
                    }
                ]
            }
        },
    ],
)
def test_a_webhook_that_is_not_asked_keeps_nothing_out(read: Read, fields: Item) -> None:
    assert verdict(read(*cluster("worker-2"), hook(**fields))) is Forecast.PASSED


def test_a_label_that_the_snapshot_may_lack_does_not_keep_it_from_being_asked(read: Read) -> None:
    chosen = {"matchLabels": {"policy": "on"}}
    assert verdict(read(*cluster("worker-2"), hook(namespaceSelector=chosen))) is Forecast.UNKNOWN


GUARDS = {
    "nodes": {"apiGroups": [""], "operations": ["UPDATE"], "resources": ["nodes"]},
    "the status of nodes": {"apiGroups": ["*"], "operations": ["*"], "resources": ["nodes/status"]},
    "Leases": {"apiGroups": ["coordination.k8s.io"], "operations": ["UPDATE"], "resources": ["leases"]},
    "everything": {"apiGroups": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"]},
}


@pytest.mark.parametrize("name", GUARDS)
def test_what_the_control_plane_cannot_write_makes_the_outcome_unknown(read: Read, name: str) -> None:
    """Long before any Pod is evicted: nodes are not tainted, and kubelets elsewhere cannot renew their Leases."""
    hooked = hook("Validating", rules=[GUARDS[name]])
    assert verdict(read(*cluster("worker-2"), hooked), 60.0) is Forecast.UNKNOWN
    assert verdict(read(*cluster("worker-2"), hooked), 5.0) is Forecast.PASSED
    assert verdict(read(*cluster("worker-2", "cp-1"), hooked), 60.0) is Forecast.PASSED


@pytest.mark.parametrize(
    ("label", "verdict_is"), [("kubernetes.io/hostname", "unknown"), ("policy", "passed")]
)
def test_nodes_that_it_does_not_select_are_not_guarded(read: Read, label: str, verdict_is: str) -> None:
    chosen = {"matchExpressions": [{"key": label, "operator": "Exists"}]}
    hooked = hook(rules=[GUARDS["nodes"]], objectSelector=chosen)
    assert verdict(read(*cluster("worker-2"), hooked), 60.0) == verdict_is


def test_leases_outside_of_its_namespaces_are_not_guarded(read: Read) -> None:
    elsewhere = {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-node-lease"]}
        ]
    }
    hooked = hook(rules=[GUARDS["Leases"]], namespaceSelector=elsewhere)
    assert verdict(read(*cluster("worker-2"), hooked), 60.0) is Forecast.PASSED


def test_what_is_pruned_is_read_as_before(read: Read) -> None:
    known = {wanted.kind: wanted for wanted in WANTED}
    little = least(known["MutatingWebhookConfiguration"], hook())
    assert "s3cr3t" not in json.dumps(little)
    assert read(*cluster(*NODES), little).webhooks == read(*cluster(*NODES), hook()).webhooks
