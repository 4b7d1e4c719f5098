"""Sidecars get no configuration: istiod has no ready Pod, or they can't find or reach it.

A running sidecar goes on with what it has, and stays Ready; one that starts now never becomes Ready, and holds its
Pod's other containers back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.checks.xds_synced import ISTIO_NAMESPACE
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.rehearsal.network.routes import EvidenceKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient

ISTIOD = f"Service/{ISTIO_NAMESPACE}/istiod"


def find(patient: Patient) -> Iterator[Cause]:
    """Tell an istiod that is gone from one that sidecars don't reach; the latter has a cause of its own."""
    stuck = (*patient.of(SymptomKind.XDS), *patient.troubled(Trouble.SIDECAR))
    without = [
        each
        for each in (
            *patient.of(SymptomKind.SERVICE),
            *patient.of(SymptomKind.WORKLOAD, SymptomKind.NOT_CREATED),
        )
        if each.subject in (ISTIOD, f"Deployment/{ISTIO_NAMESPACE}/istiod")
    ]
    scaled_away = not without and _is_gone(patient, is_missed=bool(stuck))
    if without or scaled_away:
        yield Cause(
            subject=f"Deployment/{ISTIO_NAMESPACE}/istiod",
            said="istiod has no ready Pod: sidecars that start now never become Ready",
            grounds=keys(without) or frozenset({f"service: {ISTIOD}"}),
            explains=keys((*stuck, *patient.of(SymptomKind.NOT_CREATED))),
            since=min((each.since for each in without if each.since), default=None),
            evidence=tuple(f"{each.subject}: {each.said}" for each in without)
            or ("no ready address behind the Service istiod",),
            fixes=(
                FixCommand(
                    what="bring istiod back",
                    command=f"{patient.kubectl} -n {ISTIO_NAMESPACE} scale deploy istiod --replicas=1"
                    if scaled_away
                    else f"{patient.kubectl} -n {ISTIO_NAMESPACE} describe deploy,pod -l app=istiod",
                    risk="none",
                ),
            ),
        )
    elif stuck:
        yield Cause(
            subject="sidecars",
            said=f"{len(stuck)} sidecars or workloads get no configuration from istiod, though it is ready",
            grounds=keys(stuck),
            explains=keys(patient.troubled(Trouble.SIDECAR, Trouble.PROBE, Trouble.CRASH)),
            evidence=tuple(f"{each.subject}: {each.said}" for each in stuck[:3]),
            is_link=True,
        )


def _is_gone(patient: Patient, *, is_missed: bool) -> bool:
    """Whether no istiod of any revision serves, although sidecars need one: missed already, or by its empty Service.

    An istiod outside the cluster has no such Service.
    """
    sight = patient.sight
    if not sight.knows("EndpointSlice") or not any(pod.injected for pod in sight.pods):
        return False
    serves = any(
        each.ready
        for (namespace, name), found in sight.endpoints.items()
        if namespace == ISTIO_NAMESPACE and name.startswith("istiod")
        for each in found
    )
    own = any(
        (each.namespace, each.name) == (ISTIO_NAMESPACE, "istiod") and each.selector
        for each in sight.services
    )
    return not serves and (own or is_missed)


RULE = DiagnosisRule(
    name="sidecars_without_istiod",
    title="Sidecars get nothing from istiod",
    source="istio.io, Application Requirements; the incident (docs/incident.md)",
    find=find,
    seen=EvidenceKind.SEEN,
)
