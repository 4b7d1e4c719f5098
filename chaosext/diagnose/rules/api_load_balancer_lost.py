"""The load balancer before the API servers is lost: kubelets can't report, although the API servers are well.

In-cluster clients that use the Service `kubernetes` are not affected, so that kube-proxy may still follow the API and
empty every Service of the silent nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient


def find(patient: Patient) -> Iterator[Cause]:
    """Compare where kubelets look for the API server with where API servers are, and whether those serve."""
    sight = patient.sight
    failing = {name: seen for name, seen in sight.nodes_seen.items() if seen.reaches_api is False}
    serving = [name for name, seen in sight.nodes_seen.items() if seen.serves and not seen.failing]
    hosts = {urlsplit(seen.api_server).hostname or "" for seen in failing.values()}
    own = {ip for node in sight.nodes for ip in node.internal_ips} | {node.name for node in sight.nodes}
    own |= set(sight.nodes_seen)
    balancers = sorted(host for host in hosts if host and host not in own)
    if not balancers or not serving or any(seen.reaches_api for seen in sight.nodes_seen.values()):
        return
    nodes = sorted(failing)
    lost = [each for each in patient.symptoms if each.kind is SymptomKind.API or each.node in nodes]
    follows = [
        each
        for each in patient.symptoms
        if each.kind is SymptomKind.NODE
        or (Trouble.LOST_NODE in each.troubles and each.troubles <= {Trouble.LOST_NODE, Trouble.PENDING})
    ]
    yield Cause(
        subject=f"load balancer {balancers[0]}",
        said=f"the API servers' load balancer {balancers[0]} does not answer, while {names(serving)} "
        f"serve{'s' * (len(serving) == 1)} well",
        grounds=frozenset({f"load balancer: {balancers[0]}"}),
        explains=keys((*lost, *follows)),
        since=min((each.since for each in follows if each.since), default=None),
        evidence=tuple(f"{name} → {seen.api_server}: {seen.api}" for name, seen in list(failing.items())[:3])
        + tuple(f"{name}: its own API server answers /readyz" for name in serving[:2]),
        fixes=(
            FixCommand(
                what=f"bring {balancers[0]} back; nothing on the nodes needs a restart",
                risk="none: kubelets reconnect by themselves within seconds",
            ),
        ),
    )


RULE = DiagnosisRule(
    name="api_load_balancer_lost",
    title="The API servers' load balancer is lost",
    source="kubernetes/kubernetes #77864, #105617",
    find=find,
)
