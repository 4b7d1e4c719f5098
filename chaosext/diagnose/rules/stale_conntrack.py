"""Stale conntrack entries: a client that keeps its UDP socket goes on asking a kube-dns Pod that is gone.

New sockets work, so that lookups by hand show nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand
from chaosext.diagnose.symptoms import SymptomKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient


def find(patient: Patient) -> Iterator[Cause]:
    """Name the nodes on which unanswered DNS flows are still in use, although their endpoint is gone."""
    for each in patient.of(SymptomKind.FLOW):
        flows = patient.sight.nodes_seen[each.node].stuck
        service = flows[0].service if flows else ""
        yield Cause(
            subject=each.subject,
            said=f"conntrack on {each.node} keeps DNS flows to {flows[0].endpoint}, which is no longer kube-dns",
            grounds=frozenset({each.key}),
            evidence=(each.said, "the entries were refreshed within 4 s, so a client still uses them"),
            fixes=(
                FixCommand(
                    what="delete the entries; the next query opens a new one",
                    command=f"docker exec {each.node} conntrack -D -p udp --orig-dst {service} --orig-port-dst 53",
                    risk="none: one query in flight is asked again (on a node that is no container: the same conntrack "
                    "command there, as root)",
                ),
            ),
        )


RULE = DiagnosisRule(
    name="stale_conntrack",
    title="Clients keep stale DNS flows",
    source="kubernetes/kubernetes #125467, #62070; conntrack(8)",
    find=find,
)
