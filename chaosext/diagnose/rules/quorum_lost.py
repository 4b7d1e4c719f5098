"""A quorum is lost: etcd's, so that no API server serves; or a workload's whose Pods were all deleted at the heal.

Evicted Pods are Terminating until their node reports again, then all of them are deleted at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind
from chaosext.report.units import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chaosext.cluster.objects import Pod
    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom

TOGETHER_S = 60.0
"""Seconds within which Pods must have been re-created to say that they were lost together."""

LEAST = 3
"""Members below which there is no quorum to lose."""


def find(patient: Patient) -> Iterator[Cause]:
    """Look at etcd on the nodes, and at StatefulSets that lack more than half of their Pods."""
    yield from _of_etcd(patient)
    for each in patient.of(SymptomKind.WORKLOAD, SymptomKind.NOT_CREATED):
        if each.subject.startswith("StatefulSet/") and (found := _of_workload(patient, each)):
            yield found


def _of_etcd(patient: Patient) -> Iterator[Cause]:
    asked = {name: seen for name, seen in patient.sight.nodes_seen.items() if seen.serves is not None}
    without = sorted(
        name
        for name, seen in asked.items()
        if seen.serves is False or any("etcd" in each for each in seen.failing)
    )
    if (
        not asked
        or 2 * len(without) <= len(asked)
        or not any("etcd" in each for seen in asked.values() for each in seen.failing)
    ):
        return
    yield Cause(
        subject="etcd",
        said=f"etcd has no quorum: {len(without)} of {len(asked)} control-plane nodes report it as failed "
        f"({listed(without)})",
        grounds=frozenset({"quorum: etcd"}),
        explains=keys(patient.of(SymptomKind.API, SymptomKind.NODE)),
        evidence=tuple(f"{name}: {', '.join(asked[name].failing) or 'no answer'}" for name in without),
        fixes=(
            FixCommand(
                what="bring back a majority of the control-plane nodes, or the network between them, first",
                risk="never force a new cluster (--force-new-cluster) while another majority may still exist",
            ),
        ),
    )


def _of_workload(patient: Patient, each: Symptom) -> Cause | None:
    sight = patient.sight
    _, namespace, name = each.subject.split("/")
    spec = next(
        (
            found
            for found in sight.items("StatefulSet")
            if (found["metadata"].get("namespace"), found["metadata"]["name"]) == (namespace, name)
        ),
        {},
    )
    wanted = int((spec.get("spec") or {}).get("replicas") or 0)
    pods = [pod for pod in sight.pods if pod.namespace == namespace and pod.owner == f"StatefulSet/{name}"]
    ready = sum(pod.ready and not pod.terminating and pod.node not in sight.lost for pod in pods)
    if wanted < LEAST or 2 * ready > wanted or not (back := _returns(patient)):
        return None
    anew = [pod for pod in pods if pod.created and _is_after(pod, back)]
    if 2 * len(anew) < wanted:
        return None
    return Cause(
        subject=each.subject,
        said=f"{name} has {ready} of {wanted} members, no majority: its Pods were deleted together at the heal",
        grounds=frozenset({each.key}),
        explains=keys(
            found
            for found in patient.of(SymptomKind.SERVICE)
            if set(found.pods) <= {pod.subject for pod in pods}
        ),
        since=min(pod.created for pod in anew if pod.created),
        evidence=(
            f"{len(anew)} of its Pods were re-created within {TOGETHER_S:g} s of the nodes' return",
            each.said,
        ),
        fixes=(
            FixCommand(
                what="let its members come up one after another; keep their volumes",
                command=f"{patient.kubectl} -n {namespace} rollout status statefulset/{name}",
                risk="none; deleting Pods or volumes now would lose data",
            ),
        ),
    )


def _returns(patient: Patient) -> list[datetime]:
    """Return when nodes reported again, by Events."""
    back = patient.sight.recent("NodeReady", within_s=3600.0)
    return [event.last_seen for event in back if event.last_seen]


def _is_after(pod: Pod, back: Sequence[datetime]) -> bool:
    soon = timedelta(seconds=TOGETHER_S)
    return any(pod.created is not None and timedelta(0) <= pod.created - at <= soon for at in back)


RULE = DiagnosisRule(
    name="quorum_lost",
    title="A quorum is lost",
    source="coreos/tectonic-installer #798; etcd's FAQ",
    find=find,
)
