"""Admission webhooks that fail closed: while the Pods that serve one are lost, no Pod that it watches is created.

ReplicaSets then back off, up to 1000 s, so that Pods may be missing long after the heal. A webhook that watches nodes
or their Leases also refuses what the control plane and kubelets write there. Istio's injector, which is modelled, is
left out.

Source: Kubernetes' documentation, "Dynamic Admission Control"; client-go util/workqueue/default_rate_limiters.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.node_patterns import meets, selects
from chaosext.rehearsal.snapshot.pod_specs import selector
from chaosext.rehearsal.snapshot.world import Service, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot import documents as doc
    from chaosext.rehearsal.snapshot.world import Labels, LabelSelector, Node, Pod

KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
INJECTORS = ("sidecar-injector", "istio-revision-tag")
"""Parts of the names of Istio's own webhooks."""

NEW_PODS = ("CREATE", "", frozenset({"pods", "*"}))
NODES = ("UPDATE", "", frozenset({"nodes", "nodes/status", "*"}))
LEASES = ("UPDATE", "coordination.k8s.io", frozenset({"leases", "*"}))
"""Operation, API group and resources in a webhook's rules."""

LEASES_IN = "kube-node-lease"

NAME_LABEL = "kubernetes.io/metadata.name"
"""Label that every namespace has, with its name."""


def webhooks(
    found: Iterable[tuple[str, doc.WebhookConfiguration]],
    services: Iterable[Service],
    pods: Sequence[Pod],
    nodes: Sequence[Node],
    namespaces: Mapping[str, Labels],
) -> Iterator[Webhook]:
    """Yield each webhook that fails closed and watches new Pods, nodes or Leases. `pods`: one of each template."""
    known = {(each.namespace, each.name): each for each in services}
    for kind, config in found:
        if any(part in config.metadata.name for part in INJECTORS):
            continue
        for hook in config.webhooks or ():
            server = hook.clientConfig.service
            if server is None or hook.failurePolicy != "Fail":
                continue
            watches_pods, guarded = (
                _watches(hook, *NEW_PODS),
                frozenset(_guarded(hook, [each.labels for each in nodes], namespaces)),
            )
            if not watches_pods and not guarded:
                continue
            key = server.namespace, server.name
            yield Webhook(
                subject=f"{kind}/{config.metadata.name}",
                service=known.get(key, Service(namespace=key[0], name=key[1], selector={})),
                members=frozenset(_members(hook, pods, namespaces)) if watches_pods else frozenset(),
                guarded=guarded,
            )


def _watches(hook: doc.Webhook, operation: str, group: str, resources: frozenset[str]) -> bool:
    return any(
        {operation, "*"} & set(rule.operations or ())
        and (resources | {"*/*"}) & set(rule.resources or ())
        and {group, "*"} & set(rule.apiGroups or ())
        for rule in hook.rules or ()
    )


def _guarded(hook: doc.Webhook, nodes: Iterable[Labels], namespaces: Mapping[str, Labels]) -> Iterator[str]:
    """Yield what the control plane and kubelets cannot write without the webhook."""
    spaces, objects = selector(hook.namespaceSelector), selector(hook.objectSelector)
    if _watches(hook, *NODES) and (objects is None or any(selects(objects, labels) for labels in nodes)):
        yield "nodes"
    is_there = _may_select(spaces, {**namespaces.get(LEASES_IN, {}), NAME_LABEL: LEASES_IN})
    if _watches(hook, *LEASES) and is_there and (objects is None or selects(objects, {})):
        yield "Leases of nodes"


def _members(
    hook: doc.Webhook, pods: Iterable[Pod], namespaces: Mapping[str, Labels]
) -> Iterator[tuple[str, str]]:
    """Yield (namespace, owner) of the Pods that the webhook is asked about."""
    spaces, objects = selector(hook.namespaceSelector), selector(hook.objectSelector)
    for pod in pods:
        labels = {**namespaces.get(pod.namespace, {}), NAME_LABEL: pod.namespace}
        if _may_select(spaces, labels) and (objects is None or selects(objects, pod.spec.labels)):
            yield pod.namespace, pod.owner


def _may_select(chosen: LabelSelector | None, labels: Labels) -> bool:
    """Whether a namespace may match; a label that it does not show here may have been left out of the snapshot."""
    return chosen is None or all(
        meets(each, labels) or (each.operator in ("In", "Exists") and each.key not in labels)
        for each in chosen.requirements
    )
