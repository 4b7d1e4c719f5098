"""CoreDNS itself fails: it crash-loops, is scaled to zero, or answers only a part of the queries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.checks.check_names import DNS
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble, dns_row
from chaosext.model.findings import Status
from chaosext.rehearsal.network.routes import EvidenceKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from chaosext.cluster.objects import Pod
    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom

ITSELF = frozenset(
    {Trouble.CRASH, Trouble.IMAGE, Trouble.CONFIG, Trouble.PROBE, Trouble.UNREADY, Trouble.MISSING}
)
"""Troubles of kube-dns' Pods that do not come from their nodes."""

_SOME = re.compile(r"\b[1-9]\d* of \d+ answered")


def find(patient: Patient) -> Iterator[Cause]:
    """Tell Pods that don't run from Pods that run and don't keep up."""
    sight = patient.sight
    if sight.dns is None:
        return
    broken = [each for each in _own(patient) if each.troubles and each.troubles <= ITSELF]
    has_ready = any(each.ready for each in sight.endpoints.get(sight.dns, ()))
    if broken:
        yield _cause(patient, broken, _why(sight.dns_pods, patient), serves=has_ready)
    elif not has_ready and not sight.dns_pods and sight.knows("EndpointSlice") and sight.knows("Pod"):
        yield _cause(patient, (), "there is no Pod of it (scaled to zero?)", serves=False)
    elif has_ready and (rows := _partial(patient)):
        yield _overloaded(patient, rows)


def _own(patient: Patient) -> Iterator[Symptom]:
    """Yield the symptoms of kube-dns' own Service and workload."""
    pods = {pod.subject for pod in patient.sight.dns_pods}
    service = f"Service/{'/'.join(patient.sight.dns or ())}"
    for each in patient.of(SymptomKind.SERVICE, SymptomKind.WORKLOAD, SymptomKind.NOT_CREATED):
        if each.subject == service or pods.intersection(each.pods):
            yield each


def _why(pods: Sequence[Pod], patient: Patient) -> str:
    for pod in pods:
        for container, ended in _ended(patient.sight.raw_pods.get(pod.subject, {})):
            if not pod.ready:
                reason = ended.get("reason") or f"exit code {ended.get('exitCode')}"
                return f"{container} ended with {reason}, {pod.restarts} restarts"
    return next((pod.ready_detail for pod in pods if not pod.ready), "its Pods are not Ready")


def _ended(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for each in (pod.get("status") or {}).get("containerStatuses") or ():
        if ended := (each.get("lastState") or {}).get("terminated"):
            yield str(each.get("name", "")), ended


def _cause(patient: Patient, broken: Sequence[Symptom], why: str, *, serves: bool) -> Cause:
    sight = patient.sight
    namespace = sight.dns[0] if sight.dns else "kube-system"
    dns = patient.of(SymptomKind.DNS, SymptomKind.DNS_ENDPOINT)
    injected = {pod.subject for pod in sight.pods if pod.injected}
    stuck = [
        each
        for each in patient.troubled(Trouble.SIDECAR, Trouble.PROBE, Trouble.CRASH, Trouble.UNREADY)
        if each.pods and injected.issuperset(each.pods)
    ]
    follows = () if serves else (*dns, *stuck, *patient.of(SymptomKind.XDS))
    what = "a part of kube-dns does not run" if serves else "kube-dns does not run"
    return Cause(
        subject="Service/" + "/".join(sight.dns or ()),
        said=f"{what}: {why}",
        grounds=keys(broken) or keys(dns) or frozenset({"service: kube-dns"}),
        explains=keys(follows),
        since=min((each.since for each in broken if each.since), default=None),
        evidence=tuple(f"{each.subject}: {each.said}" for each in broken[:3]),
        fixes=tuple(_fixes(patient, namespace, is_there=bool(broken))),
    )


SERVERS = ("coredns", "kube-dns")
"""Names of the Deployment (kubeadm's; GKE's and older ones)."""


def _is_scaled_to_zero(patient: Patient, namespace: str) -> bool:
    return any(
        each["metadata"]["name"] in SERVERS and (each.get("spec") or {}).get("replicas") == 0
        for each in patient.sight.items("Deployment")
        if each["metadata"].get("namespace") == namespace
    )


def _fixes(patient: Patient, namespace: str, *, is_there: bool) -> Iterator[FixCommand]:
    if not is_there or _is_scaled_to_zero(patient, namespace):
        yield FixCommand(
            what="scale it up again",
            command=f"{patient.kubectl} -n {namespace} scale deploy/coredns --replicas=2",
            risk="none",
        )
        return
    yield FixCommand(
        what="read why it ended",
        command=f"{patient.kubectl} -n {namespace} logs -l {patient.sight.dns_selector} --previous --tail=20",
        risk="none",
    )
    yield FixCommand(
        what="if its Corefile or Deployment was changed: undo that",
        command=f"{patient.kubectl} -n {namespace} rollout undo deploy/coredns",
        risk="undoes the Deployment's last change only; the ConfigMap coredns must be restored by hand",
    )


def _partial(patient: Patient) -> list[str]:
    """Return the endpoints that answer a part of the lookups, from every node that asked: not a matter of routes."""
    found: dict[str, list[str]] = {}
    behind = {each.ip for each in patient.sight.endpoints.get(patient.sight.dns or ("", ""), ())}
    for row in patient.sight.rows(DNS):
        _, address = dns_row(row.subject)
        if address in behind and row.status is not Status.UNKNOWN:
            partly = row.status is Status.UNHEALTHY and _SOME.search(row.detail) is not None
            found.setdefault(address, []).append(f"{row.subject}: {row.detail}" if partly else "")
    return [rows[0] for rows in found.values() if all(rows)]


def _overloaded(patient: Patient, rows: Sequence[str]) -> Cause:
    sight = patient.sight
    namespace = sight.dns[0] if sight.dns else "kube-system"
    return Cause(
        subject="Service/" + "/".join(sight.dns or ()),
        said="kube-dns answers only a part of the lookups, from every node: it does not keep up",
        grounds=keys(patient.of(SymptomKind.DNS, SymptomKind.DNS_ENDPOINT)),
        evidence=tuple(rows[:3]),
        fixes=(
            FixCommand(
                what="give it more replicas, and look at its CPU limit and upstream",
                command=f"{patient.kubectl} -n {namespace} scale deploy/coredns --replicas={2 * len(sight.dns_pods)}",
                risk="none; an autoscaler may undo it",
            ),
        ),
    )


RULE = DiagnosisRule(
    name="coredns_unhealthy",
    title="CoreDNS crash-loops, is gone, or does not keep up",
    source="Kubernetes documentation, Debugging DNS Resolution",
    find=find,
    seen=EvidenceKind.SEEN,
)
