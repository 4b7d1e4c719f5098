"""Services are empty because their Pods' nodes do not report: the Pods may well run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient


def find(patient: Patient) -> Iterator[Cause]:
    """Name the Services all of whose Pods are on nodes that the control plane takes for lost."""
    empty = [
        each
        for each in patient.of(SymptomKind.SERVICE)
        if Trouble.LOST_NODE in each.troubles and each.troubles <= {Trouble.LOST_NODE, Trouble.PENDING}
    ]
    if empty:
        yield Cause(
            subject=empty[0].subject,
            said=f"{len(empty)} Services have no endpoints ({names([each.subject for each in empty], 3)}): their Pods' "
            "nodes do not report",
            grounds=keys(empty),
            since=min((each.since for each in empty if each.since), default=None),
            evidence=tuple(f"{each.subject}: {each.said}" for each in empty[:3]),
            is_link=True,
        )


RULE = DiagnosisRule(
    name="empty_endpoints",
    title="Services are empty because nodes do not report",
    source="Kubernetes documentation, Services; pkg/controller/nodelifecycle (MarkPodsNotReady)",
    find=find,
)
