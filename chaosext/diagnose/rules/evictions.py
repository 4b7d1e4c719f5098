"""Evictions are under way: Pods of lost nodes go when the seconds that they tolerate are over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chaosext.cluster.objects import parse_time
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind
from chaosext.model.duration_text import short_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from chaosext.diagnose.knowledge import Patient

TAINTS = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
"""NoExecute taints of the node lifecycle controller (k8s.io/api core/v1/well_known_taints.go)."""

BY_DEFAULT_S = 300
"""tolerationSeconds that admission adds (DefaultTolerationSeconds) to a Pod without a toleration of its own."""


def find(patient: Patient) -> Iterator[Cause]:
    """Say when the first Pods of lost nodes go, kube-dns' in particular."""
    tainted = {
        each["metadata"]["name"]: found for each in patient.sight.items("Node") if (found := _tainted(each))
    }
    due = sorted((at, subject) for at, subject in _due(patient, tainted))
    if not due:
        return
    now = patient.sight.now
    dns = {pod.subject for pod in patient.sight.dns_pods}
    of_dns = [at for at, subject in due if subject in dns]
    first = due[0][0]
    left_s = (first - now).total_seconds()
    when = f"in {short_duration(left_s)}" if left_s > 0 else "now"
    said = f"{len(due)} Pods of lost nodes are evicted, the first {when}"
    if of_dns:
        left_dns_s = (of_dns[0] - now).total_seconds()
        said += f"; kube-dns {f'in {short_duration(left_dns_s)}' if left_dns_s > 0 else 'now'}"
    yield Cause(
        subject=f"{len(due)} Pods",
        said=said,
        grounds=keys(each for each in patient.of(SymptomKind.NODE) if each.node in tainted),
        since=first,
        evidence=tuple(f"{subject} goes at {at:%H:%M:%S} UTC" for at, subject in due[:3]),
        fixes=(
            FixCommand(
                what="end the cause before that; where kube-dns is re-created then decides how it ends",
                risk="none",
            ),
        ),
        is_link=True,
    )


def _tainted(node: Mapping[str, Any]) -> tuple[datetime, str] | None:
    """When the node got the taint that evicts, and its key; None if it has none."""
    taints = (node.get("spec") or {}).get("taints") or ()
    found = [
        (time, str(each["key"]))
        for each in taints
        if each.get("key") in TAINTS
        and each.get("effect") == "NoExecute"
        and (time := parse_time(each.get("timeAdded")))
    ]
    return min(found, default=None)


def _due(patient: Patient, tainted: Mapping[str, tuple[datetime, str]]) -> Iterator[tuple[datetime, str]]:
    for pod in patient.sight.pods:
        if pod.node not in tainted or pod.terminating or pod.is_record:
            continue
        since, taint = tainted[pod.node]
        seconds = _tolerates_s(patient.sight.raw_pods[pod.subject], taint)
        if seconds is not None:
            yield since + timedelta(seconds=seconds), pod.subject


def _tolerates_s(pod: Mapping[str, Any], taint: str) -> float | None:
    """Return for how long a Pod tolerates a lost node; None for ever."""
    found: list[float | None] = []
    for each in (pod.get("spec") or {}).get("tolerations") or ():
        fits = each.get("key") in (None, "", taint) and each.get("effect") in (None, "", "NoExecute")
        if fits and (each.get("key") or each.get("operator") == "Exists"):
            found.append(each.get("tolerationSeconds"))
    if not found:
        return 0.0 if (pod.get("spec") or {}).get("tolerations") is not None else float(BY_DEFAULT_S)
    limited = [float(each) for each in found if each is not None]
    return min(limited) if limited else None


RULE = DiagnosisRule(
    name="evictions",
    title="Pods of lost nodes are evicted",
    source="Kubernetes documentation, Taints and Tolerations; pkg/controller/tainteviction",
    find=find,
)
