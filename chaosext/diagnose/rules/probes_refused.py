"""Probes are refused at Envoy's ports: the sidecar has not started, so the Pod's own containers are not to blame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.checks.tcp_reachability import ISTIO_PORTS
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, keys
from chaosext.diagnose.symptoms import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient

_REFUSED = re.compile(r"(Readiness|Liveness|Startup) probe failed: .*:(15\d{3})/\S*.*connection refused")


def find(patient: Patient) -> Iterator[Cause]:
    """Read kubelet's Events: refused at 15021 or 15020 means that Envoy is not up."""
    seen = []
    for event in patient.sight.recent("Unhealthy"):
        match = _REFUSED.search(event.message)
        if match and int(match[2]) in ISTIO_PORTS:
            seen.append((event, int(match[2])))
    pods = {event.involved for event, _ in seen}
    stuck = [
        each
        for each in patient.troubled(Trouble.SIDECAR, Trouble.PROBE, Trouble.CRASH)
        if pods.intersection(each.pods)
    ]
    if not stuck:
        return
    event, port = seen[-1]
    yield Cause(
        subject=event.involved,
        said=f"kubelet's probes of {len(pods)} Pods are refused at port {port}, {ISTIO_PORTS[port]}: "
        "Envoy has not started",
        grounds=keys(stuck),
        since=seen[0][0].first_seen,
        evidence=(f"{event.involved}: {event.message}",),
        is_link=True,
    )


RULE = DiagnosisRule(
    name="probes_refused",
    title="Probes are refused at Envoy's ports",
    source="istio.io, Ports used by Istio; kubelet's Events (pkg/kubelet/prober)",
    find=find,
)
