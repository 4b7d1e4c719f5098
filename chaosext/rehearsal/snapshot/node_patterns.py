"""Label selectors and node selector terms, with Kubernetes' semantics.

Source: k8s.io/apimachinery/pkg/labels/selector.go (`Requirement.Matches`),
k8s.io/component-helpers/scheduling/corev1/nodeaffinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.rehearsal.snapshot.world import (
        Affinity,
        Labels,
        LabelSelector,
        Node,
        NodeTerm,
        Pod,
        Requirement,
        Service,
    )


OVER = ("Succeeded", "Failed")
"""Phases of a Pod that has finished."""


def is_over(pod: Pod) -> bool:
    """Whether the Pod has finished, so that it uses no resources."""
    return pod.phase in OVER


def meets(requirement: Requirement, labels: Labels) -> bool:
    """Whether `labels` meet one expression; NotIn and DoesNotExist hold if the label is absent."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: Requirement, value: str | None) -> bool:
    try:
        left, right = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return left > right if requirement.operator == "Gt" else left < right


def selects(selector: LabelSelector | None, labels: Labels) -> bool:
    """Whether a Pod's labels match. None matches no Pod; an empty selector matches every Pod."""
    return selector is not None and all(meets(each, labels) for each in selector.requirements)


def templates(pods: Iterable[Pod]) -> list[Pod]:
    """Return one Pod of each template that is not finished; Pods of one template have one namespace and owner."""
    return list({id(pod.spec): pod for pod in pods if pod.phase not in OVER}.values())


def has_all(wanted: Labels, labels: Labels) -> bool:
    """Whether `labels` have every label of a Service's selector or a nodeSelector, with the same value."""
    return all(labels.get(key) == value for key, value in wanted.items())


def behind(service: Service | None, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the Pods that a Service selects, ready or not; an empty selector selects none."""
    if service is None or not service.selector:
        return ()
    return tuple(
        pod
        for pod in pods
        if pod.namespace == service.namespace
        and not is_over(pod)
        and has_all(service.selector, pod.spec.labels)
    )


def fits_term(term: NodeTerm, node: Node) -> bool:
    """Whether the node matches the term; an empty term matches no node."""
    if not term.requirements and not term.names:
        return False
    if term.names and node.name not in term.names:
        return False
    return all(meets(each, node.labels) for each in term.requirements)


def fits_node(node_selector: Labels, affinity: Affinity | None, node: Node) -> bool:
    """Whether the Pod's nodeSelector and required node affinity allow the node."""
    if not has_all(node_selector, node.labels):
        return False
    if affinity is None or affinity.required_nodes is None:
        return True
    return _any_fits(affinity.required_nodes, node)


def _any_fits(terms: Iterable[NodeTerm], node: Node) -> bool:
    return any(fits_term(term, node) for term in terms)
