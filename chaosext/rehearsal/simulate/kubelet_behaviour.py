"""What kubelet does with Pods: how fast they start and stop, how a sidecar that gets no configuration fails.

Source: Kubernetes v1.34 pkg/kubelet/kuberuntime/kuberuntime_container.go (a postStart hook holds back the containers
after it; the container whose hook fails is killed) and pkg/kubelet/kubelet.go (back-off from 10 s, doubling, to 300 s);
Istio pilot/cmd/pilot-agent/app/wait.go (waits 60 s) and the sidecar's drain of 5 s. Ranges are what the testbed showed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.sidecar_kinds import Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARS_WITHIN_S = (0.0, 2.0)
"""From a node's connection to its kubelet's and its kube-proxy's knowing what changed meanwhile."""

STARTS_WITHIN_S = (0.3, 4.0)
"""From bound to Ready, with the image there, and no probe that asks for more."""

STOPS_WITHIN_S = (0.2, 6.0)
"""From kubelet's hearing of a deletion to the Pod's end, where its processes end when they are told to."""

STOPS_SLOWLY, KILLED_WITHIN_S = 0.02, 2.0
"""So few Pods are still there at the end of their grace period, when kubelet kills what runs, within so long
(pkg/kubelet/kuberuntime, `killContainer`); seen on a testbed whose nodes had no CPU to spare.
"""

KWOK_STOPS_WITHIN_S = 0.3
"""KWOK runs nothing that would have to end: a Pod is gone before its controller has made another, as seen."""

CAUGHT_UP_WITHIN_S = (0.1, 4.0)
"""After its node is Ready, until kubelet has reported a running Pod Ready again."""

RECONCILED_WITHIN_S = (0.0, 10.0)
"""Until kubelet mends what the API says of a Pod: it looks every 10 s (pkg/kubelet/status, `syncPeriod`).
"""

BACKOFF_S, BACKOFF_MAX_S = 10.0, 300.0

WAIT_S, KILL_S = 60.0, 8.0
"""pilot-agent's wait for Envoy; then the hook has failed and the container is stopped and started again."""

BEGINS_S = 3.0
"""From a container's start to Ready where nothing is missing."""

REFUSED_BEFORE_S = (2.0, 6.0)
"""A second life's end: the application, running by then, is refused so long before its sidecar's back-off is told."""

FIRST_PROBE_S = (8.0, 14.0)
"""After the failed wait, until the application's container runs and kubelet reports its first failed probe."""


def lives(started_s: float) -> Iterator[tuple[float, float]]:
    """A held application's sidecar without configuration: (it starts, it fails), again and again.

    The first restart comes at once, the next ones after 10 s, 20 s, … from the failure.
    """
    pause = 0.0
    while True:
        failed = started_s + WAIT_S + KILL_S
        yield started_s, failed
        started_s = failed + pause
        pause = min(BACKOFF_MAX_S, 2 * pause or BACKOFF_S)


def first_failure_s(sidecar: Sidecar) -> tuple[float, float]:
    """From a container's start to the first failing probe that kubelet reports.

    While a postStart hook runs kubelet probes nothing. A native or not holding sidecar's startup probe fails each
    second.
    """
    if sidecar is Sidecar.HOLDING:
        return WAIT_S + FIRST_PROBE_S[0], WAIT_S + FIRST_PROBE_S[1]
    return 1.0, 6.0


def crash_loop_s(sidecar: Sidecar, started_s: float) -> float | None:
    """CrashLoopBackOff, at the end of the second life; None where the sidecar just goes on failing."""
    if sidecar is not Sidecar.HOLDING:
        return None
    each = lives(started_s)
    next(each)
    return next(each)[1] + 1.0


def resumes_s(sidecar: Sidecar, started_s: float, configured_s: float) -> float:
    """When a sidecar that has failed since `started_s` is Ready, with configuration to be had from `configured_s` on:
    in the life in which it gets it, or in the next one, after a back-off.
    """
    if sidecar is not Sidecar.HOLDING:
        return max(configured_s, started_s + BEGINS_S)
    for begins, fails in lives(started_s):
        ready = max(configured_s, begins + BEGINS_S)
        if ready < fails - KILL_S:
            return ready
    raise AssertionError("lives never end")


def stops_after_s(share: float, grace_s: float, *, simulated: bool) -> float:
    """From kubelet's hearing of a deletion to the Pod's end: `share` 0 is as soon as can be, 1 as late as can be.

    `simulated`: on a node that KWOK plays.
    """
    if simulated:
        return KWOK_STOPS_WITHIN_S * share
    low_s, high_s = STOPS_WITHIN_S
    usual_s = low_s + (high_s - low_s) * share
    late = max(0.0, share - (1.0 - STOPS_SLOWLY)) / STOPS_SLOWLY
    return usual_s + late * max(0.0, grace_s + KILLED_WITHIN_S - high_s)
