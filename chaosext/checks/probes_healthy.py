"""probes_healthy: are all Pods Ready, without recent probe failures?

The phase `Running` proves little: a crash-looping Pod is Running too. This check combines readiness, waiting
reasons and the kubelet's `Unhealthy` events, which also distinguish "refused" from "timed out". Events alone
are not enough: after 25 of them about one object the kubelet sends one in 5 minutes (client-go's
EventSourceObjectSpamFilter), so silence is not health. Deployments and StatefulSets reveal Pods that were
never re-created.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chaosext.checks.check_names import PROBES
from chaosext.model.findings import Evidence, Finding, Status, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import CoreV1Event, Pod

WINDOW_S = 10.0
"""Seconds after which a probe failure is history: twice the usual probe period of 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailure:
    """One `Unhealthy` event. `probe` is Readiness, Liveness or Startup; `cause` is such as "refused", "HTTP 503"."""

    pod_uid: str
    container: str
    probe: str
    cause: str
    count: int
    last_seen: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadAvailability:
    """The numbers of Pods wanted and available. `subject` is such as "Deployment/shop/catalog"."""

    subject: str
    wanted: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesEvidence:
    """Pods, probe failures of any age, and the time of reading, `now`, by the runner's clock."""

    pods: tuple[Pod, ...]
    failures: tuple[ProbeFailure, ...]
    now: datetime
    window_s: float
    workloads: tuple[WorkloadAvailability, ...] = ()


def gather(cluster: Cluster, *, namespaces: Sequence[str] = (), window_s: float = WINDOW_S) -> ProbesEvidence:
    """Collect Pods, workloads and `Unhealthy` events of `namespaces` (empty: all)."""
    scope: Sequence[str | None] = namespaces or (None,)
    pods = tuple(pod for namespace in scope for pod in cluster.pods(namespace))
    events = (event for namespace in scope for event in cluster.events(namespace, "reason=Unhealthy"))
    failures = tuple(failure for event in events if (failure := read_failure(event)))
    workloads = tuple(each for namespace in scope for each in _workloads(cluster, namespace))
    return ProbesEvidence(
        pods=pods, failures=failures, now=datetime.now(UTC), window_s=window_s, workloads=workloads
    )


def _workloads(cluster: Cluster, namespace: str | None) -> Iterable[WorkloadAvailability]:
    kinds = {"Deployment": cluster.deployments, "StatefulSet": cluster.stateful_sets}
    for kind, listed in kinds.items():
        for each in listed(namespace):
            subject = f"{kind}/{each.namespace}/{each.name}"
            yield WorkloadAvailability(subject=subject, wanted=each.replicas, available=each.available)


PROBE_MESSAGE = re.compile(
    r"(?P<probe>Readiness|Liveness|Startup) probe (?:failed|errored)[^:]*:?\s*(?P<said>.*)", re.S
)
"""Start of the kubelet's message (pkg/kubelet/prober/prober.go)."""

CAUSES = (
    (r"connection refused", "refused"),
    (r"no route to host|network is unreachable", "no route"),
    (r"connection reset by peer", "reset"),
    (r"deadline exceeded|Client\.Timeout|i/o timeout|timed out|TimeoutExceeded", "timed out"),
    (r"statuscode: (\d+)", "HTTP {0}"),
    (r"service unhealthy \(responded with \"(\w+)\"\)", "gRPC {0}"),
)
"""Pattern in a message of the kubelet's Go client -> cause; the first match counts."""


def read_failure(event: CoreV1Event) -> ProbeFailure | None:
    """Return the probe failure in an `Unhealthy` event of a Pod; None for another event."""
    match = PROBE_MESSAGE.match(event.message)
    if match is None or not event.involved.startswith("Pod/"):
        return None
    return ProbeFailure(
        pod_uid=event.involved_uid,
        container=event.container,
        probe=match["probe"],
        cause=cause_of(match["said"]),
        count=event.count,
        last_seen=event.last_seen,
    )


def cause_of(said: str) -> str:
    """Return "refused", "timed out", "HTTP 503", …; for others (an exec probe's output) the first 80 characters."""
    for pattern, word in CAUSES:
        if found := re.search(pattern, said):
            return word.format(*found.groups())
    return " ".join(said.split())[:80] or "no reason given"


def judge(evidence: ProbesEvidence) -> Finding:
    """Judge: healthy if all wanted Pods exist and are Ready, none crash-loops, and no probe failed in the window.

    Terminating Pods, finished ones and records of replaced ones are listed but do not count.
    """
    counted = [pod for pod in evidence.pods if not _why_not_counted(pod)]
    by_pod: dict[str, list[ProbeFailure]] = {}
    for failure in evidence.failures:
        by_pod.setdefault(failure.pod_uid, []).append(failure)
    rows = [_evidence(pod, by_pod.get(pod.uid, ()), evidence) for pod in counted]
    short = [_shortfall(each) for each in evidence.workloads if each.available < each.wanted]
    others = [_bystander(pod) for pod in evidence.pods if _why_not_counted(pod)]
    return Finding(
        check=PROBES,
        status=worst(row.status for row in (*rows, *short)),
        summary=_summary(rows, short, evidence.window_s),
        evidence=(*rows, *short, *others),
    )


def _shortfall(workload: WorkloadAvailability) -> Evidence:
    detail = f"{workload.available} of {workload.wanted} available"
    share = (min(workload.available, workload.wanted), workload.wanted)
    return Evidence(subject=workload.subject, status=Status.UNHEALTHY, detail=detail, share=share)


def _why_not_counted(pod: Pod) -> str:
    if pod.terminating:
        return "terminating"
    if not pod.is_record:
        return ""
    failed = f"failed ({pod.reason or 'no reason given'}) and replaced by its owner"
    return "completed" if pod.phase == "Succeeded" else failed


def _bystander(pod: Pod) -> Evidence:
    detail = f"{_why_not_counted(pod)}: not counted"
    return Evidence(subject=pod.subject, status=Status.UNKNOWN, detail=detail, counts=False)


def _evidence(pod: Pod, failures: Iterable[ProbeFailure], evidence: ProbesEvidence) -> Evidence:
    recent = [each for each in failures if _is_recent(each, evidence)]
    loops = [name for name, reason in pod.waiting_reasons.items() if reason == "CrashLoopBackOff"]
    faults = [f"{name} in CrashLoopBackOff" for name in loops]
    if not pod.ready and not loops:
        faults.append(f"not Ready ({pod.phase}): {pod.ready_detail}")
    faults += _in_words(recent)
    status = Status.UNHEALTHY if faults else Status.HEALTHY
    well = 2 if not faults else int(pod.ready and not loops)
    return Evidence(subject=pod.subject, status=status, detail="; ".join(faults) or "Ready", share=(well, 2))


def _is_recent(failure: ProbeFailure, evidence: ProbesEvidence) -> bool:
    if failure.last_seen is None:
        return True
    return evidence.now - failure.last_seen <= timedelta(seconds=evidence.window_s)


def _in_words(failures: Iterable[ProbeFailure]) -> list[str]:
    """Return descriptions such as "Startup probe refused ×12 (istio-proxy)", one per probe, cause and container."""
    times: Mapping[tuple[str, str, str], int] = sum(
        (Counter({(each.probe, each.cause, each.container): each.count}) for each in failures), Counter()
    )
    return [
        f"{probe} probe {cause} ×{count}" + (f" ({container})" if container else "")
        for (probe, cause, container), count in times.items()
    ]


def _summary(rows: Sequence[Evidence], short: Sequence[Evidence], window_s: float) -> str:
    """Summarise the rows. A Pod's own problem comes first, since it explains why its workload is short of Pods."""
    if not rows and not short:
        return "no Pod to judge"
    sick = [row for row in rows if row.status is not Status.HEALTHY]
    bad = [*sick, *short]
    if not bad:
        return f"{len(rows)} of {len(rows)} Pods Ready, no probe failure in {window_s:g} s"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    counted = f"{len(rows) - len(sick)} of {len(rows)} Pods well"
    return f"{counted}; {bad[0].subject}: {bad[0].detail}{more}"
