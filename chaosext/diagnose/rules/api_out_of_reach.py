"""Only we don't reach the API server: nodes do, so that the cluster works and our own way to it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand
from chaosext.diagnose.symptoms import SymptomKind
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient


def find(patient: Patient) -> Iterator[Cause]:
    """Compare our own connection with those of kubelets."""
    sight = patient.sight
    seen = [name for name, node in sight.nodes_seen.items() if node.reaches_api]
    ours = [each for each in patient.of(SymptomKind.API) if not each.node]
    if not ours or not seen or len(seen) < len(sight.nodes_seen):
        return
    yield Cause(
        subject="this machine",
        said="this machine does not reach the API server, but every node does",
        grounds=frozenset(each.key for each in ours),
        evidence=(f"here: {sight.api}", f"kubelets on {names(sorted(seen))} reach it"),
        fixes=(
            FixCommand(
                what="check the server of this context, and the way to it",
                command=f"{patient.kubectl} config view --minify",
                risk="none",
            ),
        ),
    )


RULE = DiagnosisRule(
    name="api_out_of_reach",
    title="Only this machine does not reach the API server",
    source="the nodes' own connections",
    find=find,
)
