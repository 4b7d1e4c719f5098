"""kube-proxy on a node forwards a Service to addresses that the Service no longer has."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom


def find(patient: Patient) -> Iterator[Cause]:
    """Name the nodes whose kube-proxy is behind; it explains failed lookups there if kube-dns is concerned."""
    by_node: dict[str, list[Symptom]] = defaultdict(list)
    for each in patient.of(SymptomKind.NAT):
        by_node[each.node].append(each)
    dns = f"Service/{'/'.join(patient.sight.dns or ())}"
    for node, found in by_node.items():
        is_dns = any(each.subject.endswith(dns) for each in found)
        services = ", ".join(each.subject.partition(" → ")[2] for each in found[:3])
        yield Cause(
            subject=f"Node/{node}",
            said=f"kube-proxy on {node} does not follow the API: {services} is forwarded to addresses that are gone",
            grounds=keys(found),
            explains=keys(patient.of(SymptomKind.DNS, SymptomKind.FLOW, node=node))
            if is_dns
            else frozenset(),
            since=min((each.since for each in found if each.since), default=None),
            evidence=tuple(f"{each.subject}: {each.said}" for each in found[:3]),
            fixes=(
                FixCommand(
                    what="restart kube-proxy there",
                    command=f"{patient.kubectl} -n kube-system delete pod -l k8s-app=kube-proxy "
                    f"--field-selector spec.nodeName={node}",
                    risk="its rules stay in the kernel until the new one has synced",
                ),
            ),
        )


RULE = DiagnosisRule(
    name="stale_nat",
    title="kube-proxy forwards to addresses that are gone",
    source="Kubernetes documentation, Virtual IPs and Service Proxies; cilium/cilium #48050",
    find=find,
)
