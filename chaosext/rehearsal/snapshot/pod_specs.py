"""Pods of a snapshot in the engine's form; equal Pods share one `PodSpec`."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

import msgspec

from chaosext.rehearsal.snapshot.world import (
    Affinity,
    Container,
    LabelSelector,
    NodeTerm,
    Pod,
    PodSpec,
    PodTerm,
    Probe,
    Requirement,
    Resources,
    Spread,
    Toleration,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.rehearsal.snapshot import documents as doc

HOSTNAME = "metadata.name"
"""The only field that matchFields of a nodeSelectorTerm may name (k8s.io/api core/v1, NodeSelectorTerm)."""

OWN = frozenset({"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"})
"""Labels that differ between Pods of one template. No selector that a rehearsal evaluates needs them."""

_SUFFIXES = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
_SUFFIXES |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]?i?)")


def quantity(text: str | int) -> float:
    """Return a Kubernetes quantity ("100m", "64Mi", "1e3") as a number. Raises `ValueError` if it is not one."""
    match = _QUANTITY.fullmatch(str(text))
    if not match or match[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity")
    return float(match[1]) * _SUFFIXES[match[2]]


def resources(amounts: Mapping[str, str | int] | None) -> Resources:
    """Convert requests, or a node's allocatable. Raises `ValueError` for an amount that is not a quantity."""
    found = {name: quantity(amount) for name, amount in (amounts or {}).items()}
    cpu, memory = found.pop("cpu", 0.0), found.pop("memory", 0.0)
    found.pop("pods", None)
    extended = tuple(sorted((name, int(amount)) for name, amount in found.items()))
    return Resources(cpu_m=round(cpu * 1000), memory_bytes=int(memory), extended=extended)


class Specs:
    """Factory of Pods; those with the same labels and the same template share one `PodSpec`."""

    def __init__(self) -> None:
        self._known: dict[bytes, PodSpec] = {}
        self._encode = msgspec.json.Encoder(order="sorted").encode

    def pod(self, found: doc.Pod) -> Pod:
        """Return the Pod in the engine's form. Raises `ValueError` for an invalid quantity."""
        meta, node = found.metadata, found.spec.nodeName
        conditions = found.status.conditions or ()
        return Pod(
            namespace=meta.namespace,
            name=meta.name,
            node=node,
            spec=self._spec(meta, found.spec),
            owner=meta.owner,
            phase=found.status.phase,
            ready=any(each.type == "Ready" and each.status == "True" for each in conditions),
            terminating=meta.deletionTimestamp is not None,
        )

    def _spec(self, meta: doc.Meta, spec: doc.PodSpec) -> PodSpec:
        labels = {key: value for key, value in (meta.labels or {}).items() if key not in OWN}
        spec.nodeName = ""  # the only field that differs between Pods of one template
        key = self._encode((meta.namespace, meta.owner or meta.name, labels, spec))
        if key not in self._known:
            self._known[key] = _made(labels, spec)
        return self._known[key]


def _made(labels: dict[str, str], spec: doc.PodSpec) -> PodSpec:
    main, init = spec.containers or [], spec.initContainers or []
    ports = (port for each in (*main, *init) for port in each.ports or () if port.hostPort)
    return PodSpec(
        labels=labels,
        tolerations=tuple(map(_toleration, spec.tolerations or ())),
        node_selector=spec.nodeSelector or {},
        affinity=_affinity(spec.affinity) if spec.affinity else None,
        spreads=tuple(_spread(each, labels) for each in spec.topologySpreadConstraints or ()),
        requests=_requests(main, init, spec.overhead),
        priority=spec.priority,
        may_preempt=spec.preemptionPolicy != "Never",
        host_network=spec.hostNetwork,
        host_ports=tuple(sorted({(port.protocol, port.hostPort) for port in ports})),
        containers=(*(_container(each, init=True) for each in init), *map(_container, main)),
        restart_policy=spec.restartPolicy,
        termination_grace_s=spec.terminationGracePeriodSeconds,
        scheduler=spec.schedulerName,
        dns_policy=spec.dnsPolicy,
    )


def _requests(
    main: list[doc.Container], init: list[doc.Container], overhead: Mapping[str, str | int] | None
) -> Resources:
    """Return a Pod's total requests: all containers that run together, or an init container's turn if that is more.

    Source: Kubernetes staging/src/k8s.io/component-helpers/resource/helpers.go (PodRequests).
    """
    beside, turn = Resources(), Resources()
    for each in init:
        asked = _asked(each)
        if each.restartPolicy == "Always":
            beside = _sum(beside, asked)
            asked = beside
        else:
            asked = _sum(beside, asked)
        turn = _most(turn, asked)
    running = beside
    for each in main:
        running = _sum(running, _asked(each))
    return _sum(_most(running, turn), resources(overhead))


def _asked(container: doc.Container) -> Resources:
    return resources(container.resources.requests if container.resources else None)


def _sum(one: Resources, other: Resources) -> Resources:
    return _joined(one, other, operator.add)


def _most(one: Resources, other: Resources) -> Resources:
    return _joined(one, other, max)


def _joined(one: Resources, other: Resources, join: Callable[[int, int], int]) -> Resources:
    first, second = dict(one.extended), dict(other.extended)
    return Resources(
        cpu_m=join(one.cpu_m, other.cpu_m),
        memory_bytes=join(one.memory_bytes, other.memory_bytes),
        extended=tuple(
            (name, join(first.get(name, 0), second.get(name, 0))) for name in sorted(first | second)
        ),
    )


def _container(found: doc.Container, *, init: bool = False) -> Container:
    return Container(
        name=found.name,
        init=init,
        native=init and found.restartPolicy == "Always",
        post_start=found.lifecycle is not None and found.lifecycle.postStart is not None,
        startup=_probe(found.startupProbe),
        readiness=_probe(found.readinessProbe),
        liveness=_probe(found.livenessProbe),
    )


def _probe(found: doc.Probe | None) -> Probe | None:
    if found is None:
        return None
    action = found.httpGet or found.tcpSocket or found.grpc
    return Probe(
        period_s=found.periodSeconds,
        timeout_s=found.timeoutSeconds,
        failure_threshold=found.failureThreshold,
        success_threshold=found.successThreshold,
        initial_delay_s=found.initialDelaySeconds,
        port=action.port if action and isinstance(action.port, int) else 0,
    )


def _toleration(found: doc.Toleration) -> Toleration:
    return Toleration(
        key=found.key,
        operator=found.operator or "Equal",
        value=found.value,
        effect=found.effect,
        seconds=found.tolerationSeconds,
    )


def selector(found: doc.Selector | None) -> LabelSelector | None:
    """Convert a metav1.LabelSelector. None, which selects nothing, stays None."""
    if found is None:
        return None
    labels = (
        Requirement(key=key, operator="In", values=(value,))
        for key, value in (found.matchLabels or {}).items()
    )
    return LabelSelector(requirements=(*labels, *_requirements(found.matchExpressions)))


def _requirements(found: Iterable[doc.Expression] | None) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(key=each.key, operator=each.operator, values=tuple(each.values or ()))
        for each in found or ()
    )


def _node_term(found: doc.NodeSelectorTerm) -> NodeTerm:
    names = (name for each in found.matchFields or () if each.key == HOSTNAME for name in each.values or ())
    return NodeTerm(requirements=_requirements(found.matchExpressions), names=tuple(names))


def _pod_term(found: doc.PodAffinityTerm) -> PodTerm:
    every = found.namespaceSelector is not None and not (
        found.namespaceSelector.matchLabels or found.namespaceSelector.matchExpressions
    )
    spaces = ("*",) if every else tuple(found.namespaces or ())
    return PodTerm(topology_key=found.topologyKey, selector=selector(found.labelSelector), namespaces=spaces)


def _affinity(found: doc.Affinity) -> Affinity:
    nodes, near, far = found.nodeAffinity, found.podAffinity, found.podAntiAffinity
    required = nodes.requiredDuringSchedulingIgnoredDuringExecution if nodes else None
    liked = (nodes.preferredDuringSchedulingIgnoredDuringExecution if nodes else None) or ()
    return Affinity(
        required_nodes=tuple(map(_node_term, required.nodeSelectorTerms or ())) if required else None,
        preferred_nodes=tuple((each.weight, _node_term(each.preference)) for each in liked),
        required_pods=_required(near),
        preferred_pods=_preferred(near),
        forbidden_pods=_required(far),
        avoided_pods=_preferred(far),
    )


def _required(found: doc.PodAffinity | None) -> tuple[PodTerm, ...]:
    terms = found.requiredDuringSchedulingIgnoredDuringExecution if found else None
    return tuple(map(_pod_term, terms or ()))


def _preferred(found: doc.PodAffinity | None) -> tuple[tuple[int, PodTerm], ...]:
    terms = found.preferredDuringSchedulingIgnoredDuringExecution if found else None
    return tuple((each.weight, _pod_term(each.podAffinityTerm)) for each in terms or ())


def _spread(found: doc.TopologySpreadConstraint, labels: Mapping[str, str]) -> Spread:
    return Spread(
        max_skew=found.maxSkew,
        topology_key=found.topologyKey,
        required=found.whenUnsatisfiable == "DoNotSchedule",
        selector=_also(selector(found.labelSelector), found.matchLabelKeys or (), labels),
        min_domains=found.minDomains or 1,
        honours_taints=found.nodeTaintsPolicy == "Honor",
        honours_affinity=found.nodeAffinityPolicy == "Honor",
    )


def _also(
    chosen: LabelSelector | None, keys: Iterable[str], labels: Mapping[str, str]
) -> LabelSelector | None:
    """Apply matchLabelKeys: match only Pods with the same values as the Pod's own labels for these keys."""
    own = {key: labels[key] for key in keys if key in labels}
    if chosen is None or not own:
        return chosen
    same = (Requirement(key=key, operator="In", values=(value,)) for key, value in own.items())
    return LabelSelector(requirements=(*chosen.requirements, *same))
