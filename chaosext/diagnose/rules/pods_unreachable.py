"""Nodes do not reach Pods on other nodes: the Pod network is broken there, whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient


def find(patient: Patient) -> Iterator[Cause]:
    """Name the nodes whose Pods are not reached. A session that is down, or a cut, lies deeper."""
    broken = patient.of(SymptomKind.ROUTE)
    if not broken:
        return
    hosts = sorted({each.node for each in broken})
    follows = (
        *patient.of(SymptomKind.DNS, SymptomKind.DNS_ENDPOINT, SymptomKind.XDS, SymptomKind.NOT_CREATED),
        *patient.troubled(Trouble.SIDECAR, Trouble.PROBE),
    )
    yield Cause(
        subject=f"Node/{hosts[0]}" if len(hosts) == 1 else f"{len(hosts)} nodes",
        said=f"Pods on {names(hosts)} are not reached from other nodes: the Pod network drops their packets",
        grounds=keys(broken),
        explains=keys(follows),
        evidence=tuple(f"{each.subject}: {each.said}" for each in broken[:4]),
        fixes=(
            FixCommand(
                what="look at the network's agent there, and at what changed in the fabric",
                command=f"{patient.kubectl} -n kube-system get pod -o wide --field-selector spec.nodeName={hosts[0]}",
                risk="none",
            ),
        ),
    )


RULE = DiagnosisRule(
    name="pods_unreachable",
    title="Pods on other nodes are not reached",
    source="measured: a TCP connect to a Pod tells refused (reached) from timed out (not reached)",
    find=find,
)
