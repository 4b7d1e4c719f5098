"""NodeLocal DNSCache is down on nodes whose Pods ask it: DNS fails there, whatever kube-dns does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.rehearsal.snapshot.dns_detection import NODE_CACHES
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient

LABELS = ("k8s-app", "app", "name")
"""Labels that carry its name (rehearsal/snapshot/dns_detection.py, `is_node_cache`)."""


def find(patient: Patient) -> Iterator[Cause]:
    """Name the nodes on which the cache's Pod is not Ready, or missing."""
    sight = patient.sight
    down = [
        each
        for each in patient.of(SymptomKind.WORKLOAD, SymptomKind.NOT_CREATED)
        if each.subject.startswith("DaemonSet/") and each.subject.rpartition("/")[2] in NODE_CACHES
    ]
    if not down:
        return
    caches = [pod for pod in sight.pods if any(pod.labels.get(key) in NODE_CACHES for key in LABELS)]
    there = {pod.node for pod in caches if pod.ready and pod.node not in sight.lost}
    lacking = {node.name for node in sight.nodes} - there - sight.lost
    nodes = sorted(lacking & {pod.node for pod in caches} or lacking)
    if not nodes:
        return
    clients = {pod.subject for pod in sight.pods if pod.node in nodes}
    suffering = [
        each
        for each in patient.troubled(Trouble.SIDECAR, Trouble.PROBE, Trouble.CRASH, Trouble.UNREADY)
        if each.pods and clients.issuperset(each.pods)
    ]
    lookups = [each for each in patient.of(SymptomKind.DNS) if each.node in nodes]
    sidecars = [each for each in patient.of(SymptomKind.XDS) if clients.issuperset(each.pods)]
    yield Cause(
        subject=down[0].subject,
        said=f"NodeLocal DNSCache is not ready on {names(nodes)}: Pods there ask it, and get no answer",
        grounds=keys(down),
        explains=keys((*suffering, *lookups, *sidecars)),
        since=down[0].since,
        evidence=tuple(f"{each.subject}: {each.said}" for each in down),
        fixes=(
            FixCommand(
                what="see why it does not run, and bring it back",
                command=f"{patient.kubectl} -n kube-system describe pod -l k8s-app=node-local-dns",
                risk="none",
            ),
        ),
    )


RULE = DiagnosisRule(
    name="nodelocal_down",
    title="NodeLocal DNSCache is down",
    source="Kubernetes documentation, Using NodeLocal DNSCache",
    find=find,
)
